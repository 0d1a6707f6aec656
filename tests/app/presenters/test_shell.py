"""What stands around the screens, without a screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.app.engine.messages import DeviceReading, Died, Ready, Refused
from edge.app.engine.scripted import FACTS, After, ScriptedClient, differential_answer
from edge.app.i18n import translator
from edge.app.presenters.shell import LOOKS, ShellPresenter
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import FoundItem, Patient, Presence
from edge.errors import ResourceError
from tests.app.presenters.bedside_desk import ANA, BEN, EVA, Clock, Desk


@pytest.fixture()
def clock() -> Clock:
    return Clock()


@pytest.fixture()
def engine(clock: Clock) -> ScriptedClient:
    return ScriptedClient(clock.monotonic, differential_answer({}, step_s=1.0, total=30))


@pytest.fixture()
def desk(tmp_path: Path, clock: Clock, engine: ScriptedClient) -> Iterator[Desk]:
    made = Desk(tmp_path, clock=clock, engines={"note": engine, "differential": engine})
    made.open()
    made.workspace.runs.start_engines()
    made.workspace.tick()
    yield made
    made.close()
    translator.language = "en"


def run(desk: Desk) -> None:
    """Start a differential for the open patient."""
    desk.workspace.edit(edits.set_finding, FoundItem("f1", "Eye pain", Presence.PRESENT))
    desk.workspace.runs.start_differential()
    desk.workspace.tick()


@pytest.mark.parametrize(
    "patient, words, tone",
    [
        (ANA, "Allergy: sulfa", "soft_danger"),
        (BEN, "No known allergies", "support"),
        (EVA, "Allergies not asked", "warning"),
        (replace(ANA, allergies=("sulfa", "latex")), "Allergy: sulfa, latex", "soft_danger"),
    ],
)
def test_allergies_are_always_said(desk: Desk, patient: Patient, words: str, tone: str) -> None:
    """Fails when 'nobody asked' could be read as 'none', or an allergy is not shown."""
    shell = ShellPresenter(desk.workspace)
    desk.workspace.new_encounter(patient)
    bar = shell.view.patient
    assert bar is not None and (bar.allergy, bar.allergy_tone) == (words, tone)


def test_the_patient_is_said_in_short(desk: Desk) -> None:
    """Fails when the whole record number is on the screen, or a part is missing."""
    desk.workspace.new_encounter(ANA)
    bar = ShellPresenter(desk.workspace).view.patient
    assert bar is not None
    assert (bar.name, bar.details) == ("MORALES, Ana", ("F 68", "MRN ••4821", "Bed 12"))


def test_a_patient_without_anything_has_a_bar(desk: Desk) -> None:
    """Fails when an unknown patient makes an empty bar or 'None'."""
    desk.workspace.new_encounter(Patient())
    bar = ShellPresenter(desk.workspace).view.patient
    assert bar is not None and (bar.name, bar.details) == ("No name", ())


def test_places_that_need_a_patient_are_blocked(desk: Desk) -> None:
    """Fails when an exam can be opened for nobody, or the tap is silent."""
    shell = ShellPresenter(desk.workspace)
    blocked = [place.name for place in shell.view.places if place.reason]
    assert blocked == ["exam", "eye", "note", "review"]
    assert not shell.go("exam") and shell.view.hint == "Open a patient in the worklist first."
    assert shell.view.place == "worklist"
    shell.hint_read()
    assert shell.view.hint == ""
    desk.workspace.new_encounter(ANA)
    assert not any(place.reason for place in shell.view.places)
    assert shell.go("exam") and shell.view.place == "exam" and not shell.go("nowhere")


def test_closing_the_patient_leads_to_the_worklist(desk: Desk) -> None:
    """Fails when the exam of nobody stays on the screen."""
    shell = ShellPresenter(desk.workspace)
    desk.workspace.new_encounter(ANA)
    shell.go("exam")
    desk.workspace.close()
    assert shell.view.place == "worklist" and shell.view.patient is None


def test_stop_is_there_while_anything_runs(desk: Desk) -> None:
    """Fails when a run has no Stop, or Stop needs an engine's answer to show."""
    shell = ShellPresenter(desk.workspace)
    desk.workspace.new_encounter(ANA)
    assert shell.view.engine.action == "" and shell.view.engine.words == "Ready"
    run(desk)
    assert shell.view.engine.action == "stop" and shell.view.engine.words == "Comparing 0 of 30"
    desk.clock.pass_s(15)
    desk.workspace.tick()
    assert shell.view.engine.fraction == pytest.approx(0.5)
    shell.act()
    assert shell.view.engine.words == "Stopped. Partial result, not for use."
    assert shell.view.engine.action == "dismiss" and shell.view.engine.tone == "warning"
    shell.act()
    assert shell.view.engine.words == "Ready"


def test_a_dead_engine_can_be_started_again(desk: Desk, engine: ScriptedClient) -> None:
    """Fails when nobody sees that the engine died, or it cannot be tried again."""
    shell = ShellPresenter(desk.workspace)
    engine.push(Died(-9))
    desk.workspace.tick()
    assert shell.view.engine.action == "restart" and shell.view.engine.tone == "danger"
    assert "Your entries are saved" in shell.view.engine.words
    shell.act()
    desk.workspace.tick()
    assert engine.starts == 2 and shell.view.engine.words == "Ready"


def test_a_refused_bundle_is_said_first(tmp_path: Path, clock: Clock) -> None:
    """Fails when a changed model is hidden behind another engine that is well."""
    well = ScriptedClient(clock.monotonic)
    changed = ScriptedClient(clock.monotonic, loading=(After(0.0, Refused("mismatch", "")),))
    desk = Desk(tmp_path, clock=clock, engines={"note": well, "differential": changed})
    desk.open()
    shell = ShellPresenter(desk.workspace)
    desk.workspace.runs.start_engines()
    desk.workspace.tick()
    assert shell.view.engine.words == "The model file was changed. Suggestions are off."
    desk.close()


@pytest.mark.parametrize(
    "verified, words", [("passed", "Device test passed"), ("none", "This build has not passed its device test.")]
)
def test_the_build_is_named(tmp_path: Path, clock: Clock, verified: str, words: str) -> None:
    """Fails when digest or device test of the build that serves are not on the screen."""
    facts = replace(FACTS, verified=verified)
    engine = ScriptedClient(clock.monotonic, loading=(After(0.0, Ready(facts)),))
    desk = Desk(tmp_path, clock=clock, engines={"note": engine})
    desk.open()
    shell = ShellPresenter(desk.workspace)
    assert shell.view.model is None
    desk.workspace.runs.start_engines()
    desk.workspace.tick()
    model = shell.view.model
    assert model is not None
    assert (model.words, model.digest, model.verified) == ("Scripted 135M int4", "0123456789ab", words)
    desk.close()


def test_heat_is_said_beside_the_status(desk: Desk, engine: ScriptedClient) -> None:
    """Fails when a hot device is silent, or its reading is not in the figures."""
    shell = ShellPresenter(desk.workspace)
    engine.push(DeviceReading(81.2, True, 1_400_000_000, 1_200_000_000))
    desk.workspace.tick()
    shell.refresh()
    assert shell.view.engine.note == "Device is hot (81 C). Slower than usual."
    assert shell.view.figures == ("1.2 GB", "81 °C")


def test_what_could_not_be_saved_is_said(desk: Desk) -> None:
    """Fails when a full disk is silent."""
    shell = ShellPresenter(desk.workspace)
    assert shell.view.save_error == ""
    desk.workspace.save_error = ResourceError("no space left on the device")
    desk.workspace.changed()
    assert shell.view.save_error.startswith("Not saved")


def test_a_locked_desk_shows_nobody(desk: Desk) -> None:
    """Fails when the bar keeps a name behind the lock."""
    shell = ShellPresenter(desk.workspace)
    desk.workspace.new_encounter(ANA)
    shell.go("exam")
    shell.lock()
    assert shell.view.locked and shell.view.patient is None
    assert "MORALES" not in str(shell.view) and "4821" not in str(shell.view)


def test_no_patient_in_a_traceback(desk: Desk) -> None:
    """Fails when the snapshot prints a patient's words."""
    shell = ShellPresenter(desk.workspace)
    desk.workspace.new_encounter(ANA)
    assert "MORALES" not in repr(shell.view) and "sulfa" not in repr(shell.view)


def test_night_undo_and_redo(desk: Desk) -> None:
    """Fails when one tap does not change the palette, or undo does not reach the desk."""
    shell = ShellPresenter(desk.workspace)
    desk.workspace.new_encounter(ANA)
    shell.night()
    assert shell.view.night
    desk.workspace.edit(edits.set_finding, FoundItem("f1", "Eye pain", Presence.PRESENT))
    assert shell.view.can_undo
    shell.undo()
    assert desk.workspace.encounter is not None and desk.workspace.encounter.findings == ()
    shell.redo()
    assert len(desk.workspace.encounter.findings) == 1


def test_words_are_in_the_language_in_use(desk: Desk) -> None:
    """Fails when the frame stays English."""
    shell = ShellPresenter(desk.workspace)
    translator.language = "de"
    assert shell.refresh() and shell.view.rule.startswith("Entscheidungshilfe")


def test_every_status_has_a_look() -> None:
    """Fails when the engine learns a status that the shell cannot draw."""
    from typing import get_args

    from edge.app.engine.state import Status

    assert set(LOOKS) == set(get_args(Status))
