"""Options by eye: codes with their side, nothing of one eye held against the other, the wrong eye told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.clinical.differential import SCHEMAS
from edge.clinical.ophthalmology import (
    OPHTHALMOLOGY_TASK,
    EyeDifferential,
    answer_mcq,
    asked_eye,
    ophthalmology,
    read_ophthalmology_task,
    task_files,
)
from edge.clinical.schema_check import misfit
from edge.clinical.selftest import check_golden, golden_cases, stray_evidence
from edge.errors import InputError
from tests.clinical.tiny_reader import TinyReader, tiny_reader

ATTACK = (
    "VA OD HM, OS 20/20. IOP 52 OD, 15 OS. Right eye pain, halos around lights. "
    "Slit lamp OD: corneal edema, mid-dilated pupil, shallow anterior chamber."
)
SCHEMA = json.loads((SCHEMAS / "ophthalmology.schema.json").read_text())


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> TinyReader:
    return tiny_reader(tmp_path_factory.mktemp("eye"))


def checked(told: EyeDifferential) -> dict[str, Any]:
    value = json.loads(json.dumps(told.to_json(), ensure_ascii=False))
    assert misfit(value, SCHEMA) == ""
    assert stray_evidence(value, told.base.case.text) == ""
    return value


@pytest.mark.parametrize(
    ("text", "eye", "code"),
    [
        (ATTACK, "OD", "H40.211"),
        (ATTACK.replace("OD", "XX").replace("OS", "OD").replace("XX", "OS").replace("Right", "Left"), "OS", "H40.212"),
        ("IOP 52 OU. Both eyes hurt, corneal edema OU, halos around lights.", "OU", "H40.213"),
        ("IOP 52. Corneal edema, halos around lights.", None, "H40.21"),
    ],
)
def test_the_code_has_the_side_of_its_evidence(reader: TinyReader, text: str, eye: str | None, code: str) -> None:
    """Where no eye is told the code stays without one."""
    value = checked(ophthalmology(reader, text, ["Acute angle-closure glaucoma", "Allergic conjunctivitis"]))
    option = next(one for one in value["options"] if one["name"].startswith("Acute"))
    assert (option["eye"], option["icd10"]["code"]) == (eye, code)


def test_the_fellow_eye_denies_nothing(reader: TinyReader) -> None:
    """A normal left eye is no evidence against a disease of the right one."""
    value = checked(ophthalmology(reader, ATTACK, ["Acute angle-closure glaucoma"]))
    assert value["options"][0]["against"] == []
    assert {one["text"] for one in value["options"][0]["supports"]} <= {
        "52", "HM", "Right eye pain", "halos around lights", "Slit lamp OD: corneal edema", "mid-dilated pupil",
        "shallow anterior chamber",
    }  # fmt: skip


def test_the_question_may_name_an_eye() -> None:
    """The last question counts; both eyes are none."""
    assert asked_eye("Left eye red. What about the right eye?") == "OD"
    assert asked_eye("Which drop for OS?") == "OS"
    assert asked_eye("What of the right eye and the left eye?") is None
    assert asked_eye("Right eye red.") is None


def test_the_wrong_eye_is_told_and_not_answered(reader: TinyReader) -> None:
    """Findings of the left eye must not become options for the right one."""
    text = "Left eye: flashes, floaters, curtain over the vision. IOP 14 OD."
    told = ophthalmology(reader, text, eye="OD")
    value = checked(told)
    assert value["options"] == []
    assert "wrong-eye" in {one["code"] for one in value["notices"]}
    own = checked(ophthalmology(reader, text, eye="OS"))
    assert own["options"]
    assert {option["eye"] for option in own["options"]} == {"OS"}
    assert "wrong-eye" not in {one["code"] for one in own["notices"]}
    with pytest.raises(InputError, match="neither OD nor OS"):
        ophthalmology(reader, text, eye="left")


def test_an_open_question_and_what_is_missing(reader: TinyReader) -> None:
    """Options from the eye table; parts of the examination that were not told are named by eye."""
    told = ophthalmology(reader, "Right eye: dendritic ulcer, tearing. VA OD 20/60.")
    checked(told)
    assert "Herpes simplex keratitis" in told.ranking
    assert {"visual acuity OS", "IOP OD", "IOP OS", "fundus", "pupils"} <= set(told.base.missing)
    assert ophthalmology(reader, "").ranking == ()


def test_the_task_files(tmp_path: Path) -> None:
    """The multiple-choice form travels with the task."""
    files = task_files()
    assert sorted(files) == ["mcq.json", "mcq.schema.json", "ophthalmology.json", "ophthalmology.schema.json"]
    (tmp_path / "tasks").mkdir()
    for name, data in files.items():
        (tmp_path / "tasks" / name).write_bytes(data)
    assert read_ophthalmology_task(tmp_path) == OPHTHALMOLOGY_TASK


def test_multiple_choice_is_letters(reader: TinyReader) -> None:
    """One letter where one is right; a sorted set where several may be; always of the given options."""
    options = {"A": "Glaucoma", "B": "Cataract", "C": "Keratitis", "D": "Uveitis"}
    one = answer_mcq(reader, "Which is a lens opacity?", options, multiple=False)
    assert len(one.letters) == 1
    assert one.mapping == "exact"
    several = answer_mcq(reader, "Which is a lens opacity?", options, multiple=True)
    assert set(several.letters) <= set(options)
    assert list(several.letters) == sorted(several.letters)
    best = max(several.scores, key=lambda letter: several.scores[letter])
    assert best in several.letters


@pytest.mark.parametrize("options", [{}, {"1": "x"}, {"AB": "x"}, {"A": " "}])
def test_multiple_choice_without_letters_is_refused(reader: TinyReader, options: dict[str, str]) -> None:
    """Before the model is asked."""
    with pytest.raises(InputError):
        answer_mcq(reader, "Which?", options, multiple=True)


@pytest.mark.parametrize("case", golden_cases("ophthalmology"), ids=lambda case: case.name)
def test_golden_cases_hold_for_any_weights(reader: TinyReader, case: Any) -> None:
    """The power-on self-test fails for a broken build only."""
    assert check_golden(reader, case).reason == ""
