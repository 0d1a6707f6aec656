"""The print. When these fail, a page without a name, a draft without its mark, or a model's line without its origin is
put into a patient's file.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from edge.app.export.glyphs import MISSING, Glyphs
from edge.app.export.pdf import pdf
from edge.app.export.sheet import FlagRow
from edge.app.i18n import catalogue
from edge.clinical.encounter.eye_fields import IOP_METHODS, PUPIL_REACTIONS, VA_CORRECTIONS
from edge.clinical.encounter.model import Encounter, Note, Patient
from edge.clinical.encounter.vitals import VITALS
from edge.clinical.sections import SECTIONS
from tests.clinical.fhir.encounters import EXAMPLE, encounters, line, signed

FLAGS = (FlagRow("Possible acute angle closure", "NICE NG81"),)
needs_poppler = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler-utils is not installed")


def read(data: bytes) -> list[str]:
    """The text of each page."""
    done = subprocess.run(["pdftotext", "-layout", "-", "-"], input=data, capture_output=True, check=True)
    return done.stdout.decode().split("\f")[:-1]


def joined(data: bytes) -> str:
    """All text with single spaces."""
    return " ".join(" ".join(read(data)).split())


def long() -> Encounter:
    """A note of several pages."""
    lines = tuple(line(number, "HPI", f"Line {number} of a long history. " * 4) for number in range(60))
    return replace(EXAMPLE, note=Note(lines, EXAMPLE.note.run if EXAMPLE.note else None))


@needs_poppler
@pytest.mark.parametrize("paper", ["a4", "letter"])
def test_every_page_names_the_patient_and_its_number(paper: str) -> None:
    """If not: a page that falls out of a file belongs to nobody, or one is missing and nobody sees it."""
    pages = read(pdf(long(), FLAGS, paper=paper))
    assert len(pages) >= 3
    for number, page in enumerate(pages, 1):
        assert "Änne Müller-Weiß" in page
        assert "Allergies: penicillin" in page
        assert f"Page {number} of {len(pages)}" in page
        assert "DRAFT - not signed" in page
        assert "The clinician decides." in page
    assert "DRAFT" not in joined(pdf(signed(long()), paper=paper))


@needs_poppler
def test_what_is_printed_and_what_is_not() -> None:
    """If not: removed, dismissed or unconfirmed words are on paper; open ones are on a signed page."""
    draft, final = joined(pdf(EXAMPLE, FLAGS)), joined(pdf(signed(), FLAGS))
    for text in (draft, final):
        assert "Secret removed" not in text
        assert "migraine" not in text
        assert "cough unheard" not in text
        assert "fever" not in text
        assert "Possible acute angle closure (rule after: NICE NG81)" in text
        assert "Found by rules, not by the model" in text
        assert "Model score, not a probability" in text
        assert "halos OS: present" in text
        assert "vomiting: absent" in text
        assert "Pain for 6 hours <b>& nausea</b>." in text
    assert "Secret open line. [model, NOT CHECKED]" in draft
    assert "Secret open" not in final


@needs_poppler
def test_each_model_line_is_marked() -> None:
    """If not: a reader cannot tell a colleague's sentence from a model's."""
    text = joined(pdf(signed()))
    assert "Drafted by a model, checked by Dr. Ada Beispiel." in text
    assert "Painful left eye with halos. [model]" in text
    assert "[model, edited]" in text
    assert re.search(r"Acute angle closure suspected\. (?!\[)", text)
    assert "Signed by Dr. Ada Beispiel" in text
    assert "c" * 64 in text
    assert "b" * 64 in text.replace(" ", "")
    assert "2026-03-04T10:20:00+00:00" in text
    assert "d" * 64 in joined(pdf(signed(), audit_head="d" * 64))
    assert "[model, transcript line 1]" in joined(pdf(signed(), evidence=True))


@needs_poppler
def test_an_untested_build_is_told() -> None:
    """If not: lines of a build that failed its device test look like those of one that passed."""
    note = replace(EXAMPLE.note, run=replace(EXAMPLE.note.run, verified=False))
    assert "had not passed its device test" in joined(pdf(replace(EXAMPLE, note=note)))
    assert "had not passed its device test" not in joined(pdf(EXAMPLE))


@needs_poppler
def test_the_eyes_are_side_by_side() -> None:
    """If not: the columns are swapped, or an empty field reads as normal."""
    (row,) = [one for one in "\n".join(read(pdf(EXAMPLE))).splitlines() if one.startswith("Pressure")]
    assert re.search(r"16 mmHg \(Goldmann\)\s+52 mmHg \(Goldmann\)", row)
    text = "\n".join(read(pdf(EXAMPLE)))
    assert re.search(r"Field\s+OD \(right\)\s+OS \(left\)", text)
    assert re.search(r"RAPD\s+absent\s+not examined", text)


@needs_poppler
def test_a_long_list_of_allergies_is_whole() -> None:
    """If not: the one allergy that matters is cut off at the end of the header."""
    names = tuple(f"medicine number {number}" for number in range(40))
    text = joined(pdf(replace(EXAMPLE, patient=replace(EXAMPLE.patient, allergies=names))))
    assert all(name in text for name in names)


@needs_poppler
def test_a_long_name_keeps_its_number() -> None:
    """If not: a page names half a patient and no number."""
    name = "Maximiliane " * 12 + "Ende"
    pages = read(pdf(replace(long(), patient=replace(EXAMPLE.patient, name=name))))
    assert all("MRN MRN-77" in page for page in pages)
    assert "Ende" in pages[0]


@needs_poppler
def test_german() -> None:
    """If not: a German ward prints English headings or broken umlauts."""
    text = joined(pdf(signed(), FLAGS, language="de"))
    for words in ("Von einem Modell entworfen, geprüft von", "Hornhaut", "Modellwert, keine Wahrscheinlichkeit"):
        assert words in text
    assert "print." not in text


@needs_poppler
def test_other_scripts_are_seen_to_be_missing() -> None:
    """If not: a name in another script vanishes, or the print fails."""
    odd = replace(EXAMPLE, patient=Patient("Ωμέγα кровь 患者 مريض Äß"))
    text = joined(pdf(odd))
    assert MISSING in text
    assert "Allergies not asked" in text
    assert f"each stands as {MISSING}" in text
    assert "Äß" in text
    assert "each stands as" not in joined(pdf(EXAMPLE))
    glyphs = Glyphs()
    assert glyphs.text("a\u00a0b\u2011c\x00d\n e") == "a b-c d e"
    assert glyphs.lost == 0
    assert glyphs.text("ж患") == MISSING * 2
    assert glyphs.lost == 2


def test_the_same_bytes_and_no_patient_in_the_properties() -> None:
    """If not: prints cannot be compared, and a name stands in a printer's queue."""
    data = pdf(signed(), FLAGS)
    assert data == pdf(signed(), FLAGS)
    assert b"(Visit note)" in data
    properties = data[: data.index(b"%%EOF")]
    for word in ("Müller", "MRN-77", "Ada"):
        assert word.encode() not in properties
        assert word.encode("utf-16-be") not in properties
    assert data != pdf(signed(), FLAGS, paper="letter")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(encounters())
def test_every_encounter_prints(encounter: Encounter) -> None:
    """If not: mark-up, control characters or a long word in a note stop the print."""
    assert pdf(encounter).startswith(b"%PDF-")


def test_a_word_longer_than_a_page() -> None:
    """If not: one pasted blob stops the print or runs off the page."""
    huge = replace(EXAMPLE, note=Note((line(1, "HPI", "x" * 20_000), line(2, "PLAN", "word " * 5_000))))
    huge = replace(huge, eye=replace(huge.eye, od=replace(huge.eye.od, fundus={"disc": "y" * 9_000})))
    assert pdf(huge).startswith(b"%PDF-")


def test_every_word_is_in_the_catalogues() -> None:
    """If not: a key is printed instead of a word."""
    for language in ("en", "de"):
        words = catalogue(language)
        wanted = [f"section_{key.lower()}" for key in SECTIONS if key not in ("ASSESSMENT", "PLAN")]
        wanted += [f"vital_{name}" for name in VITALS]
        wanted += [f"iop_{name.replace('-', '_')}" for name in IOP_METHODS]
        wanted += [f"va_{name}" for name in VA_CORRECTIONS]
        wanted += [f"pupil_{name}" for name in PUPIL_REACTIONS]
        assert [name for name in wanted if f"print.{name}" not in words] == []


def test_the_app_starts_without_reportlab() -> None:
    """If not: every start of the app loads a PDF library."""
    code = (
        "import sys, edge.app.export.folder;"
        "print(*(m for m in ('reportlab', 'fhir', 'kivy', 'onnxruntime') if m in sys.modules))"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == ""
