"""Notes cut into lines and given to the parts of a visit, on a visit of our own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from edge.adapt.alignment import Aligner
from edge.adapt.note_data import aci_examples, anonymous, mts_examples, note_sentences
from edge.clinical.sections import NOTHING

DIALOGUE = (
    "[doctor] hi , mrs. reed , what brings you in today ?\n"
    "[patient] my left knee has been swollen for three weeks since i fell off a ladder .\n"
    "[doctor] are you taking anything for it ?\n"
    "[patient] just ibuprofen four hundred milligrams .\n"
)
NOTE = (
    "CHIEF COMPLAINT\n\nLeft knee swelling.\n\nMEDICATIONS\n\nTakes ibuprofen 400 milligrams.\n\n"
    "VITALS\n\nTemperature 38.9.\n\n"
    "ASSESSMENT AND PLAN\n\nLeft knee swelling after a fall.\nMedical Treatment: We will order an MRI.\n"
)


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_sections_and_sentences() -> None:
    """Headings decide the section, actions are plan; a wrong label teaches a wrong section."""
    found = list(note_sentences(NOTE))
    assert ("CC", "Left knee swelling.") in found
    assert ("MEDICATIONS", "Takes ibuprofen 400 milligrams.") in found
    assert ("ASSESSMENT", "Left knee swelling after a fall.") in found
    assert ("PLAN", "We will order an MRI.") in found


def test_only_what_was_said_is_learned(tmp_path: Path) -> None:
    """The temperature and the MRI that nobody mentions are left out: no source, no assertion."""
    path = write(tmp_path / "aci.csv", [{"encounter_id": "V1", "dialogue": DIALOGUE, "note": NOTE}])
    aligner = Aligner(["another visit about a cough"])
    examples = aci_examples(path, aligner, part_words=130)
    answers = "\n".join(example.answer for example in examples)
    assert "Takes ibuprofen 400 milligrams." in answers and "Left knee swelling." in answers
    assert "38.9" not in answers and "MRI" not in answers
    assert examples == aci_examples(path, aligner, part_words=130)


def test_sections_without_a_source_teach_nothing(tmp_path: Path) -> None:
    """A section of the short set that no sentence comes from is left out, not learned as silence."""
    said = {
        "ID": "1",
        "section_header": "MEDICATIONS",
        "section_text": "Takes ibuprofen 400 milligrams.",
        "dialogue": DIALOGUE,
    }
    unsaid = said | {"ID": "2", "section_text": "Warfarin 5 mg daily."}
    path = write(tmp_path / "mts.csv", [said, unsaid])
    examples = mts_examples(path, Aligner(["another visit about a cough"]), part_words=130)
    assert {example.visit for example in examples} == {"1"}
    assert all(example.answer != NOTHING for example in examples)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Mrs. Reed is here for her knee.", "The patient is here for her knee."),
        ("I told Mr. Jon Hill to rest.", "I told the patient to rest."),
        ("Anna Reed is a 40-year-old female.", "The patient is a 40-year-old female."),
    ],
)
def test_names_go(before: str, after: str) -> None:
    """A draft must not carry a name that nobody said in this visit."""
    assert anonymous(before) == after
