"""The differential's presenter: nothing ranks by itself, nothing moves under a finger, every state has its words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.app.engine.messages import (
    Cancel,
    DeviceReading,
    Died,
    Failed,
    Loading,
    Progress,
    Ready,
    Refused,
    Result,
    Unreadable,
)
from edge.app.engine.scripted import FACTS, After, quiet
from edge.app.i18n import translator
from edge.app.presenters.differential import EYE, GENERAL, DifferentialPresenter, shared_differential
from edge.app.presenters.differential_view import DifferentialView
from edge.app.presenters.places import Jump, place_of, words_of
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import Eye, Presence, Ref, VisitText, Vital
from tests.app.desk import Desk
from tests.app.presenters.exam_desk import FEVER, HALOS, PAIN, found, open_desk, ranking_answer

OPTIONS = ("Acute angle-closure glaucoma", "Anterior uveitis")


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A painful eye with a pressure of 52 mmHg."""
    made = open_desk(tmp_path)
    found(made, PAIN, eye=Eye.OD)
    found(made, HALOS, eye=Eye.OD)
    made.workspace.edit(edits.set_eye_field, Eye.OD, "iop_mmhg", 52)
    yield made
    translator.language = "en"
    made.close()


def see(presenter: DifferentialPresenter) -> DifferentialView:
    """The snapshot now."""
    presenter.refresh()
    return presenter.view


def ranked(desk: Desk, presenter: DifferentialPresenter) -> DifferentialView:
    """Run to its end."""
    presenter.rank()
    desk.wait(1.0)
    return see(presenter)


def names(view: DifferentialView) -> list[str]:
    """Rows in the order in which they are shown."""
    return [row.name for row in view.rows]


def test_nothing_ranks_by_itself(desk: Desk) -> None:
    """Entering findings must not start the model."""
    view = see(DifferentialPresenter(desk.workspace))
    desk.wait(2.0)
    assert view.not_ranked and not view.rows and not desk.engine.requests


def test_ranking_with_its_reasons(desk: Desk) -> None:
    """Rows come with code, score, whose they are, and reasons that lead back to the entries."""
    presenter = DifferentialPresenter(desk.workspace)
    view = ranked(desk, presenter)
    first = view.rows[0]
    assert (first.name, first.eye, first.icd10, first.score, first.rank) == (OPTIONS[0], "OD", "H40.211", "0.68", 1)
    assert "table" in first.origin and first.opened and not view.rows[1].opened
    refs = {(one.ref.kind, one.ref.key) for one in first.supports}
    assert refs == {("finding", f"{PAIN}-OD"), ("finding", f"{HALOS}-OD"), ("eye", "OD.iop_mmhg")}
    assert [(one.text, one.ref.kind) for one in first.missing] == [
        ("Mid-dilated pupil", "eye"),
        ("Gonioscopy", "finding"),
    ]
    assert [(one.text, one.ref.key) for one in view.missing] == [
        ("Fundus", "OD.fundus.disc"),
        ("Heart rate", "heart_rate"),
    ]
    assert view.notices == ("The table knows nothing of some findings.",)
    assert view.status.startswith("Done in") and view.status.endswith("Check each item.")


def test_a_score_is_never_a_percentage(desk: Desk) -> None:
    """Uncalibrated shares must not look like probabilities."""
    view = ranked(desk, DifferentialPresenter(desk.workspace))
    assert all("%" not in row.score and 0 <= row.fraction <= 1 for row in view.rows)


def test_task_follows_what_was_found(desk: Desk) -> None:
    """Only eye findings: the eye's task; anything else: the general one; a choice beats both."""
    presenter = DifferentialPresenter(desk.workspace)
    assert presenter.task == EYE
    found(desk, FEVER)
    assert presenter.task == GENERAL
    presenter.choose_task(EYE)
    assert [one.selected for one in see(presenter).tasks] == [False, True]


def test_stop_in_the_same_call(desk: Desk) -> None:
    """Cancel goes out at the tap; the view says so; nothing of the run enters."""
    presenter = DifferentialPresenter(desk.workspace)
    presenter.rank()
    desk.wait(0.2)
    assert see(presenter).running and see(presenter).progress
    presenter.stop()
    assert isinstance(desk.engine.requests[-1], Cancel)
    assert presenter.view.status == "Stopped. Partial result, not for use." and not presenter.view.running
    desk.wait(3.0)
    assert desk.workspace.encounter is not None and desk.workspace.encounter.differential is None
    assert see(presenter).status == "Stopped. Partial result, not for use."


def test_progress_is_told(desk: Desk) -> None:
    """A minute without a word looks like a crash."""
    presenter = DifferentialPresenter(desk.workspace)
    presenter.rank()
    desk.wait(0.3)
    view = see(presenter)
    assert view.status.startswith("Comparing") and 0 < (view.progress or 0) < 1


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Refused("missing", "none"), "No model on this device"),
        (Refused("mismatch", "changed"), "The model file was changed. Suggestions are off."),
        (Refused("unverified", "no"), "This build has not passed its device test."),
        (
            Refused("low_memory", "full", 900_000_000, 1_600_000_000),
            "Not enough free memory (0.9 of 1.6 GB). Close other apps or use the small model.",
        ),
        (Died(-11), "The suggestion engine stopped. Your entries are saved. Try again."),
    ],
)
def test_states_of_the_engine_have_their_words(desk: Desk, event: object, words: str) -> None:
    """What happened, what is kept, what to do: for each way an engine can fail."""
    presenter = DifferentialPresenter(desk.workspace)
    desk.workspace.runs.start_engines()
    desk.wait(0.1)
    desk.engine.push(event)  # type: ignore[arg-type]
    desk.wait(0.1)
    view = see(presenter)
    assert view.status.startswith(words)
    off = not isinstance(event, Died) and event.code != "low_memory"  # type: ignore[attr-defined]
    assert bool(view.off) is off  # what a second try may mend can be tried
    assert len(desk.workspace.encounter.findings) == 2  # type: ignore[union-attr]


def test_loading_then_ranking(desk: Desk) -> None:
    """A run that is asked for while the model loads waits for it, and says so."""
    desk.engine.loading = (After(0.0, Loading(0.1, 12.0)), After(1.0, Ready(FACTS)))
    desk.engine.answer = quiet
    presenter = DifferentialPresenter(desk.workspace)
    presenter.rank()
    desk.wait(0.1)
    assert see(presenter).status.startswith("Loading model, about 12 s") and see(presenter).running


def test_unreadable_failed_and_hot(desk: Desk) -> None:
    """An answer that cannot be read adds nothing."""
    desk.engine.answer = lambda request: [
        After(0.1, Unreadable(request.run_id)),  # type: ignore[union-attr]
        After(0.1, Result(request.run_id, request.encounter_id, request.task, {})),  # type: ignore[union-attr]
    ]
    presenter = DifferentialPresenter(desk.workspace)
    assert ranked(desk, presenter).status == "The model's answer could not be read. Nothing was added."
    desk.engine.answer = lambda request: [After(0.1, Failed(request.run_id, "no"))]  # type: ignore[union-attr]
    assert ranked(desk, presenter).status.startswith("The suggestion could not be made.")
    desk.engine.push(DeviceReading(81.0, True, 10**9, 10**8))
    desk.wait(0.1)
    assert see(presenter).overlay == "Device is hot (81 C). Slower than usual."
    assert desk.workspace.encounter is not None and desk.workspace.encounter.differential is None


def test_a_stale_run_is_dropped(desk: Desk) -> None:
    """A ranking of the last patient must never appear with the next one."""
    presenter = DifferentialPresenter(desk.workspace)
    presenter.rank()
    desk.wait(0.2)
    old = desk.engine.requests[-1]
    desk.with_patient(visit="")
    desk.engine.push(Progress(old.run_id, 5, 5))  # type: ignore[union-attr]
    desk.wait(2.0)
    assert see(presenter).not_ranked and not see(presenter).rows


def test_changed_findings_make_it_stale(desk: Desk) -> None:
    """An old ranking beside new findings must say that it is old; taking the change back makes it current."""
    presenter = DifferentialPresenter(desk.workspace)
    assert ranked(desk, presenter).stale == ""
    desk.workspace.edit(edits.set_eye_field, Eye.OD, "iop_mmhg", 18)
    assert see(presenter).stale == "Findings changed since this ranking. Rank again."
    desk.workspace.edit(edits.set_eye_field, Eye.OD, "iop_mmhg", 52)
    assert see(presenter).stale == ""


def test_no_row_moves_under_a_finger(desk: Desk) -> None:
    """A new order waits until the finger is lifted, then says which rows moved."""
    presenter = DifferentialPresenter(desk.workspace)
    ranked(desk, presenter)
    desk.engine.answer = ranking_answer("New option", *reversed(OPTIONS))
    presenter.rank()
    presenter.touch_down()
    desk.wait(1.0)
    held = see(presenter)
    assert names(held) == list(OPTIONS) and held.waiting
    presenter.touch_up()
    view = presenter.view
    assert names(view) == ["New option", "Anterior uveitis", OPTIONS[0]] and not view.waiting
    assert [row.way for row in view.rows] == ["new", "", "new"]  # the eye is part of what a row is


def test_moves_are_told(desk: Desk) -> None:
    """Who looks away for a moment sees what changed its place."""
    presenter = DifferentialPresenter(desk.workspace)
    desk.engine.answer = ranking_answer("A", "B", "C")
    ranked(desk, presenter)
    desk.engine.answer = ranking_answer("A", "C", "B")
    view = ranked(desk, presenter)
    assert [(row.name, row.way, row.moved) for row in view.rows] == [
        ("A", "", ""),
        ("C", "up", "up 1"),
        ("B", "down", "down 1"),
    ]


def test_pins_and_dismissals(desk: Desk) -> None:
    """A pin does not move its row; a dismissal needs a reason, is kept with it, and can be taken back."""
    presenter = DifferentialPresenter(desk.workspace)
    second = ranked(desk, presenter).rows[1].key
    presenter.pin(second, True)
    assert names(see(presenter)) == list(OPTIONS) and presenter.view.rows[1].pinned
    assert not presenter.dismiss(second, "  ")
    assert presenter.dismiss(second, "Excluded by a test")
    view = see(presenter)
    assert names(view) == [OPTIONS[0]]
    assert [one.why for one in view.dismissed] == ["Dismissed: Excluded by a test"] and view.dismissed_title
    presenter.restore(second)
    assert names(see(presenter)) == list(OPTIONS)


def test_no_option_is_an_answer(desk: Desk) -> None:
    """An empty list must not look like a failure."""
    desk.engine.answer = ranking_answer("")
    view = ranked(desk, DifferentialPresenter(desk.workspace))
    assert view.empty == "No option: nothing in the input points to one." and not view.rows


def test_reasons_why_not(desk: Desk) -> None:
    """A dead button says why it is dead."""
    presenter = DifferentialPresenter(desk.workspace)
    assert see(presenter).off == ""
    desk.with_patient(visit="")
    assert see(presenter).off == "Record a finding first."
    desk.workspace.services.engines.pop("ophthalmology")  # type: ignore[attr-defined]
    found(desk, FEVER)
    presenter.choose_task(EYE)
    assert see(presenter).off == "The model on this device does not do this task."
    desk.workspace.edit(edits.sign, by="Dr Test", digests=(), undoable=False)
    assert see(presenter).off == "Signed. Nothing can be changed."
    desk.workspace.close()
    assert see(presenter).off == "Open a patient first."


def test_unconfirmed_findings_rank_nothing(desk: Desk) -> None:
    """What speech misheard must not be compared."""
    desk.with_patient(visit="")
    found(desk, FEVER, confirmed=False)
    found(desk, HALOS, Presence.UNKNOWN, Eye.OD)
    assert see(DifferentialPresenter(desk.workspace)).off == "Record a finding first."


def test_red_flags_first_with_source_and_entries(desk: Desk) -> None:
    """Rules, not the model; each leads to what it rests on."""
    presenter = DifferentialPresenter(desk.workspace)
    flag = see(presenter).flags[0]
    assert "IOP 52 mmHg OD" in flag.title and flag.severe and not flag.opened
    presenter.toggle_flag(flag.key)
    flag = see(presenter).flags[0]
    assert flag.opened and "source" in flag.source
    jumps: list[Jump] = []
    presenter.on_jump = jumps.append
    presenter.jump(flag.links[0])
    assert jumps[0].ref == Ref("eye", "OD.iop_mmhg") and jumps[0].screen == "eye"
    assert presenter.take_jump("exam") is None
    assert presenter.take_jump("eye") == jumps[0] and presenter.take_jump("eye") is None


def test_german_reasons(desk: Desk) -> None:
    """The case is English, the screen is not."""
    presenter = DifferentialPresenter(desk.workspace)
    ranked(desk, presenter)
    translator.language = "de"
    told = [one.text for one in see(presenter).rows[0].supports]
    assert "IOD 52 mmHg OD" in told and all("Halos around" not in one for one in told)
    assert presenter.view.flags[0].title.startswith("Sehr hoher Augendruck")


@pytest.mark.parametrize(
    ("what", "eye", "ref"),
    [
        ("temperature", None, Ref("vital", "temperature_c")),
        ("age", None, Ref("patient", "age")),
        ("history", None, Ref("history")),
        ("IOP OS", None, Ref("eye", "OS.iop_mmhg")),
        ("visual acuity OD", None, Ref("eye", "OD.va")),
        ("slit lamp", Eye.OS, Ref("eye", "OS.slit_lamp.cornea")),
        ("very high eye pressure", Eye.OS, Ref("eye", "OS.iop_mmhg")),
        ("keratic precipitates", Eye.OD, Ref("eye", "OD.slit_lamp.cornea")),
        ("gonioscopy", Eye.OS, Ref("finding")),
    ],
)
def test_every_missing_input_has_a_place(what: str, eye: Eye | None, ref: Ref) -> None:
    """A missing input that leads nowhere is a dead end at the bedside."""
    assert place_of(what, eye) == ref


def test_words_of_every_kind_of_place(desk: Desk) -> None:
    """A flag names its evidence in a line, whatever that is."""
    desk.workspace.edit(edits.set_vital, Vital("spo2", 88))
    desk.workspace.edit(edits.set_visit, VisitText("[patient] my eye hurts"))
    encounter = desk.workspace.encounter
    assert encounter is not None
    told = [
        words_of(ref, encounter) for ref in (Ref("vital", "spo2"), Ref("transcript", "", 10, 22), Ref("finding", "no"))
    ]
    assert told == ["SpO2 88 %", "“my eye hurts”", ""]


def test_exam_and_eye_share_one_pane(desk: Desk) -> None:
    """A row that was opened beside Exam is open beside Eye."""
    assert shared_differential(desk.workspace) is shared_differential(desk.workspace)
