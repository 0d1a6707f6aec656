"""The exam's presenter: what a tap records, what it never records by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.app.i18n import translator
from edge.app.presenters.exam import RECORDED, ChipView, ExamPresenter, ExamView
from edge.app.presenters.measures import Measures
from edge.app.presenters.places import Jump, place_of
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import Eye, FoundItem, Origin, Presence, Ref, Vital
from edge.errors import InputError
from tests.app.desk import Desk
from tests.app.presenters.exam_desk import FEVER, HALOS, found, open_desk


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An open patient with nothing found."""
    made = open_desk(tmp_path)
    yield made
    translator.language = "en"
    made.close()


def see(presenter: ExamPresenter) -> ExamView:
    """The snapshot now."""
    presenter.refresh()
    return presenter.view


def chip(presenter: ExamPresenter, concept: str, eye: str | None = None) -> ChipView:
    """A chip of the tab that is shown."""
    return next(c for c in see(presenter).chips if c.concept == concept and (eye is None or c.eye == eye))


def test_nothing_is_recorded_before_a_touch(desk: Desk) -> None:
    """A value or finding that nobody entered would be read as measured."""
    view = see(ExamPresenter(desk.workspace))
    assert [one.value for one in view.vitals] == [""] * len(view.vitals)
    assert all(one.presence is Presence.UNKNOWN for one in view.chips)
    assert desk.workspace.encounter is not None and not desk.workspace.encounter.findings


def test_tap_goes_around(desk: Desk) -> None:
    """Unknown, present, absent, unknown; and unknown leaves nothing behind that could count as absent."""
    presenter = ExamPresenter(desk.workspace)
    presenter.choose_tab("general")
    seen = []
    for _ in range(3):
        presenter.tap(chip(presenter, FEVER))
        seen.append(chip(presenter, FEVER).presence)
    assert seen == [Presence.PRESENT, Presence.ABSENT, Presence.UNKNOWN]
    assert desk.workspace.encounter is not None and desk.workspace.encounter.findings == ()


def test_hold_is_unknown_at_once(desk: Desk) -> None:
    """A slip must be one gesture to take back."""
    presenter = ExamPresenter(desk.workspace)
    presenter.choose_tab("general")
    presenter.tap(chip(presenter, FEVER))
    presenter.hold(chip(presenter, FEVER))
    assert chip(presenter, FEVER).presence is Presence.UNKNOWN


def test_the_eye_is_locked_to_its_finding(desk: Desk) -> None:
    """Selecting the other eye later must not move what was recorded."""
    presenter = ExamPresenter(desk.workspace)
    presenter.choose_tab("eye")
    presenter.show_all()
    presenter.tap(chip(presenter, HALOS))
    presenter.choose_eye(Eye.OS)
    assert chip(presenter, HALOS, "OD").presence is Presence.PRESENT
    presenter.tap(chip(presenter, HALOS, ""))
    encounter = desk.workspace.encounter
    assert encounter is not None
    assert [(one.concept, one.eye) for one in encounter.findings] == [(HALOS, Eye.OD), (HALOS, Eye.OS)]


def test_a_chip_stays_under_the_finger(desk: Desk) -> None:
    """A chip that vanishes when it becomes unknown would put another one under the next tap."""
    found(desk, HALOS, eye=Eye.OS)
    presenter = ExamPresenter(desk.workspace)
    before = [one.key for one in see(presenter).chips]
    presenter.hold(chip(presenter, HALOS))
    assert [one.key for one in see(presenter).chips] == before
    presenter.tap(chip(presenter, HALOS))
    assert chip(presenter, HALOS).eye == "OS"


def test_general_findings_take_no_eye(desk: Desk) -> None:
    """'Fever OD' is nonsense that the case text would pass on."""
    presenter = ExamPresenter(desk.workspace)
    presenter.choose_tab("general")
    presenter.tap(chip(presenter, FEVER))
    assert chip(presenter, FEVER).eye == ""


def test_speech_is_confirmed_before_anything_else(desk: Desk) -> None:
    """A tap on what speech made says 'right', it must not change it to absent."""
    found(desk, FEVER, origin=Origin.SPEECH, confirmed=False)
    desk.workspace.edit(edits.set_vital, Vital("heart_rate", 88, Origin.SPEECH, False))
    presenter = ExamPresenter(desk.workspace)
    assert "2" in see(presenter).to_confirm and chip(presenter, FEVER).unconfirmed
    presenter.tap(chip(presenter, FEVER))
    assert (chip(presenter, FEVER).presence, chip(presenter, FEVER).unconfirmed) == (Presence.PRESENT, False)
    presenter.measures.confirm("heart_rate")
    assert see(presenter).to_confirm == ""


def test_search_finds_synonyms_and_slips(desk: Desk) -> None:
    """A clinician types what patients say, in a hurry."""
    presenter = ExamPresenter(desk.workspace)
    for typed in ("pyrexia", "feever"):
        presenter.find(typed)
        assert see(presenter).chips[0].concept == FEVER


def test_free_words_with_and_without_an_eye(desk: Desk) -> None:
    """The side of a free finding is chosen, never guessed."""
    presenter = ExamPresenter(desk.workspace)
    for with_eye in (False, True):
        presenter.find("  zzz  sign ")
        assert see(presenter).add == "zzz sign"
        presenter.add_text(with_eye)
    encounter = desk.workspace.encounter
    assert encounter is not None
    assert [(one.name, one.eye) for one in encounter.findings] == [("zzz sign", None), ("zzz sign", Eye.OD)]
    assert see(presenter).query == "" and next(one.selected for one in see(presenter).tabs)


def test_history_is_added_and_taken_out(desk: Desk) -> None:
    """History feeds the ranking as much as findings."""
    presenter = ExamPresenter(desk.workspace)
    presenter.add_history(" Hypertension ")
    presenter.add_history("   ")
    assert [(one.name, one.presence) for one in see(presenter).history] == [("Hypertension", Presence.PRESENT)]
    presenter.hold(see(presenter).history[0])
    assert desk.workspace.encounter is not None and desk.workspace.encounter.history == ()


def test_history_in_german_is_recorded_in_english(desk: Desk) -> None:
    """A word that the catalogue knows is read by the ranking, whatever language it was typed in."""
    presenter = ExamPresenter(desk.workspace)
    presenter.add_history("fieber")
    encounter = desk.workspace.encounter
    assert encounter is not None and (encounter.history[0].name, encounter.history[0].concept) == ("Fever", FEVER)


def test_first_touch_then_steps_within_limits(desk: Desk) -> None:
    """The first touch puts in a plain start; holding the button never leaves what can be."""
    measures = Measures(desk.workspace)
    measures.step("heart_rate", 1)
    assert measures.value("heart_rate") == 80
    for _ in range(40):
        desk.now_s += 1
        measures.step("heart_rate", 1, big=True)
    assert measures.value("heart_rate") == 250


def test_one_long_press_is_one_undo(desk: Desk) -> None:
    """Fifty steps of a held button would use up all of undo."""
    presenter = ExamPresenter(desk.workspace)
    presenter.measures.enter("iop_od", "20")
    for _ in range(30):
        desk.now_s += 0.1
        presenter.measures.step("iop_od", 1)
    assert presenter.measures.value("iop_od") == 50
    presenter.undo()
    assert presenter.measures.value("iop_od") == 20
    presenter.redo()
    assert presenter.measures.value("iop_od") == 50


@settings(max_examples=60, deadline=None)
@given(typed=st.text(alphabet="0123456789.,-e", max_size=6))
def test_typed_numbers_are_in_range_or_refused(typed: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is typed: a value that can be, or nothing."""
    desk = _shared(tmp_path_factory)
    measures = Measures(desk.workspace)
    measures.clear("spo2")
    entered = measures.enter("spo2", typed)
    value = measures.value("spo2")
    assert (value is not None and 50 <= value <= 100) if entered else value is None


_kept: list[Desk] = []


def _shared(factory: pytest.TempPathFactory) -> Desk:
    if not _kept:
        _kept.append(open_desk(factory.mktemp("desk")))
    return _kept[0]


def test_fahrenheit_is_entered_and_shown(desk: Desk) -> None:
    """A person who sees F types F; the record stays in C."""
    desk.workspace.set_setting("temperature_unit", "F")
    measures = Measures(desk.workspace)
    assert measures.enter("temperature_c", "100.4")
    assert measures.value("temperature_c") == 38.0
    view = measures.view("temperature_c")
    assert (view.value, view.unit) == ("100.4", "°F")
    assert not measures.enter("temperature_c", "38")


def test_grades_have_words(desk: Desk) -> None:
    """Colour alone is invisible to one man in twelve."""
    measures = Measures(desk.workspace)
    measures.enter("iop_od", "52")
    measures.enter("heart_rate", "120")
    measures.enter("spo2", "94")
    words = [measures.view(name).word for name in ("iop_od", "heart_rate", "spo2")]
    assert words == ["critical", "high", "low"]


def test_signed_refuses_every_touch(desk: Desk) -> None:
    """What was signed stays as it was signed, and the view says so."""
    found(desk, FEVER)
    presenter = ExamPresenter(desk.workspace)
    assert not see(presenter).signed
    desk.workspace.edit(edits.sign, by="Dr Test", digests=(), undoable=False)
    assert see(presenter).signed and not see(presenter).can_undo
    with pytest.raises(InputError):
        presenter.tap(chip(presenter, FEVER))


def test_jump_to_a_finding_and_to_what_is_missing(desk: Desk) -> None:
    """A reason leads to its chip, a missing input to where it can be entered."""
    item = found(desk, HALOS, eye=Eye.OD)
    presenter = ExamPresenter(desk.workspace)
    presenter.choose_tab("general")
    presenter.reveal(Jump(Ref("finding", item), "", 1))
    view = see(presenter)
    assert view.lit in {one.key for one in view.chips}
    presenter.reveal(Jump(place_of("gonioscopy"), "gonioscopy", 2))
    assert (see(presenter).query, see(presenter).lit) == ("gonioscopy", "search")
    presenter.reveal(Jump(place_of("heart rate"), "heart rate", 3))
    assert see(presenter).lit == "heart_rate"


def test_another_patient_starts_clean(desk: Desk) -> None:
    """A search or a tab of the last patient must not greet the next one."""
    presenter = ExamPresenter(desk.workspace)
    presenter.find("halos")
    found(desk, FEVER)
    desk.with_patient(visit="")
    view = see(presenter)
    assert view.query == "" and not view.can_undo
    assert all(one.presence is Presence.UNKNOWN for one in view.chips)


def test_german_names_english_record(desk: Desk) -> None:
    """The ranking reads English whatever the screen says."""
    translator.language = "de"
    presenter = ExamPresenter(desk.workspace)
    presenter.choose_tab("general")
    assert chip(presenter, FEVER).name == "Fieber"
    presenter.tap(chip(presenter, FEVER))
    assert desk.workspace.encounter is not None and desk.workspace.encounter.findings[0].name == "Fever"


def test_no_patient_word_in_reprs(desk: Desk) -> None:
    """A view in a traceback must not tell of the patient."""
    presenter = ExamPresenter(desk.workspace)
    desk.workspace.edit(edits.set_history, FoundItem("h", "Secretword", Presence.PRESENT))
    presenter.measures.enter("iop_od", "47")
    presenter.find("secretword")
    told = repr(see(presenter))
    assert "ecretword" not in told and "'47'" not in told
    assert RECORDED in told
