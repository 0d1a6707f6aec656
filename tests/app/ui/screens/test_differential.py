"""The pane of the ranked differential: every state has its words, Stop stops in its frame, rows stay under a finger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.engine.messages import Cancel, DeviceReading, Died, Failed, Loading, Ready, Refused, Result, Unreadable
from edge.app.engine.scripted import FACTS, After, quiet
from edge.app.presenters.exam import ExamPresenter
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import Eye
from tests.app.desk import Desk
from tests.app.presenters.exam_desk import FEVER, HALOS, PAIN, found, open_desk, ranking_answer
from tests.app.ui.driver import Driver
from tests.app.ui.screens.case_screen import run

DONE = "Check each item."
FACING = ("Acute angle-closure glaucoma OD", "Anterior uveitis")


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A painful eye with a pressure of 52 mmHg."""
    made = open_desk(tmp_path)
    found(made, PAIN, eye=Eye.OD)
    found(made, HALOS, eye=Eye.OD)
    made.workspace.edit(edits.set_eye_field, Eye.OD, "iop_mmhg", 52)
    yield made
    made.close()


@pytest.fixture()
def pane(ui: Driver, desk: Desk) -> Any:
    """The pane on its screen."""
    from edge.app.ui.screens.exam import ExamScreen

    root = ui.mount(lambda: ExamScreen(ExamPresenter(desk.workspace), desk.workspace))
    root.show()
    ui.frame(4)
    return root.ids.ranking


def rows(pane: Any) -> list[str]:
    """Names from top to bottom."""
    return [row.name for row in reversed(pane.ids.rows.children)]


def said(ui: Driver, pane: Any, words: str) -> int:
    """How many labels and banners say it."""
    from edge.app.ui.kit import EdgeLabel
    from edge.app.ui.kit.face import EdgeFace

    return sum(words in w.text for w in ui.walk(pane) if isinstance(w, EdgeLabel | EdgeFace))


def rank(ui: Driver, desk: Desk, pane: Any) -> None:
    """Tap Rank and wait for the end."""
    ui.tap(pane.ids.go)
    run(desk, ui)


def test_rank_shows_rows_with_reasons(ui: Driver, desk: Desk, pane: Any) -> None:
    """Fails when a ranking is not drawn, or its first row does not tell why it is there."""
    assert pane.ids.go.text == "Rank" and pane.ids.go.height >= 56
    rank(ui, desk, pane)
    assert rows(pane) == list(FACING)
    told = ui.words(pane)
    for words in ("0.68", "H40.211", "Supports", "Against", "Missing", "Option from the table", "Model score", DONE):
        assert words in told
    assert "%" not in "".join(row.score_text for row in pane.ids.rows.children)


def test_stop_within_one_frame(ui: Driver, desk: Desk, pane: Any) -> None:
    """Fails when Stop is not sent in the frame of the tap, or the screen does not say so in the next."""
    ui.tap(pane.ids.go)
    run(desk, ui, 0.2)
    assert pane.ids.go.text == "Stop" and pane.ids.bar.opacity == 1
    pane.ids.go.dispatch("on_release")
    assert isinstance(desk.engine.requests[-1], Cancel)  # before any frame
    ui.frame(1)
    assert pane.ids.status.text == "Stopped. Partial result, not for use."
    assert pane.ids.go.text == "Rank" and pane.ids.bar.opacity == 0
    run(desk, ui, 3.0)
    assert rows(pane) == [] and desk.workspace.encounter.differential is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Refused("missing", "none"), "No model on this device"),
        (Refused("mismatch", "changed"), "The model file was changed. Suggestions are off."),
        (Refused("untrusted", "key"), "The model is not signed by a key that this device trusts."),
        (Refused("unverified", "no"), "This build has not passed its device test."),
        (Refused("low_memory", "full", 900_000_000, 1_600_000_000), "Not enough free memory (0.9 of 1.6 GB)."),
        (Died(-11), "The suggestion engine stopped. Your entries are saved. Try again."),
        (DeviceReading(81.0, True, 10**9, 10**8), "Device is hot (81 C). Slower than usual."),
    ],
)
def test_states_in_words(ui: Driver, desk: Desk, pane: Any, event: Any, words: str) -> None:
    """Fails when a state of the engine is not told, or is told twice."""
    desk.workspace.runs.start_engines()
    run(desk, ui, 0.1)
    desk.engine.push(event)
    run(desk, ui, 0.1)
    assert said(ui, pane, words) == 1


def test_states_of_a_run_in_words(ui: Driver, desk: Desk, pane: Any) -> None:
    """Fails when loading, comparing, an unreadable or a failed answer is not told."""
    assert pane.ids.status.text == "Ready"
    desk.engine.loading = (After(0.0, Loading(0.1, 12.0)),)
    desk.engine.answer = quiet
    ui.tap(pane.ids.go)
    run(desk, ui, 0.1)
    assert pane.ids.status.text == "Loading model, about 12 s" and pane.ids.go.text == "Stop"
    ui.tap(pane.ids.go)
    desk.engine.push(Ready(FACTS))
    run(desk, ui, 0.2)
    desk.engine.answer = ranking_answer()
    ui.tap(pane.ids.go)
    run(desk, ui, 0.3)
    assert pane.ids.status.text.startswith("Comparing")
    run(desk, ui)
    assert pane.ids.status.text.endswith(DONE)
    desk.engine.answer = lambda request: [
        After(0.1, Unreadable(request.run_id)),  # type: ignore[union-attr]
        After(0.1, Result(request.run_id, request.encounter_id, request.task, {})),  # type: ignore[union-attr]
    ]
    rank(ui, desk, pane)
    assert pane.ids.status.text == "The model's answer could not be read. Nothing was added."
    desk.engine.answer = lambda request: [After(0.1, Failed(request.run_id, "no"))]  # type: ignore[union-attr]
    rank(ui, desk, pane)
    assert pane.ids.status.text.startswith("The suggestion could not be made.")
    assert rows(pane) == list(FACING)  # the last good one stays


def test_a_stale_run_is_dropped(ui: Driver, desk: Desk, pane: Any) -> None:
    """Fails when a ranking of the last patient appears with the next one."""
    ui.tap(pane.ids.go)
    run(desk, ui, 0.2)
    desk.with_patient(visit="")
    run(desk, ui, 2.0)
    assert rows(pane) == [] and "Acute angle" not in ui.words(pane)


def test_rows_stay_under_a_finger(ui: Driver, desk: Desk, pane: Any) -> None:
    """Fails when a new ranking moves rows while one is touched."""
    rank(ui, desk, pane)
    before = {row.name: row.pos[:] for row in pane.ids.rows.children}
    desk.engine.answer = ranking_answer("New option", "Anterior uveitis")
    ui.tap(pane.ids.go)

    def ranked() -> bool:
        desk.wait(1.0)
        return bool(desk.workspace.encounter.differential.rows[0].name == "New option")  # type: ignore[union-attr]

    seen: list[Any] = []

    def held() -> bool:
        if not ranked():
            return False
        ui.frame(2)
        seen.append(rows(pane))
        return True

    ui.tap(pane.ids.rows.children[0], hold=held)
    assert seen == [list(FACING)] and before.keys() == set(FACING)
    ui.frame(3)
    assert rows(pane) == ["New option OD", "Anterior uveitis"]
    assert "new" in ui.words(pane)


def test_changed_findings_are_told(ui: Driver, desk: Desk, pane: Any) -> None:
    """Fails when an old ranking stands beside new findings without a word."""
    rank(ui, desk, pane)
    found(desk, FEVER)
    ui.frame(2)
    assert "Findings changed since this ranking. Rank again." in ui.words(pane)


def test_dismiss_asks_why_and_restore_brings_back(ui: Driver, desk: Desk, pane: Any) -> None:
    """Fails when an option can vanish without a reason, or for ever."""
    from edge.app.ui.kit import EdgeDialog

    rank(ui, desk, pane)
    ui.find(text="Dismiss").dispatch("on_release")
    dialog = EdgeDialog.shown[-1]
    ui.frame(2)
    dialog.act("dismiss")
    assert dialog.is_open and dialog.field.error == "A reason is needed."
    ui.tap(ui.find(text="Excluded by a test"))
    dialog.act("dismiss")
    ui.frame(2)
    assert not dialog.is_open and rows(pane) == [FACING[1]]
    assert "Dismissed: Excluded by a test" in ui.words(pane)
    ui.find(text="Restore").dispatch("on_release")
    ui.frame(2)
    assert rows(pane) == list(FACING)


def test_pin_is_told_and_moves_nothing(ui: Driver, desk: Desk, pane: Any) -> None:
    """Fails when pinning moves the row that was just tapped."""
    rank(ui, desk, pane)
    row = pane.ids.rows.children[0]
    row.dispatch("on_toggle")
    ui.frame(2)
    places = rows(pane)
    pane.presenter.pin(row.view.key, True)
    ui.frame(2)
    assert rows(pane) == places and row.pinned and "Pinned" in ui.words(pane)


def test_flags_stand_first_and_open(ui: Driver, desk: Desk, pane: Any) -> None:
    """Fails when a red flag is below the ranking, has no source, or leads nowhere."""
    rank(ui, desk, pane)
    banner = ui.find(text="Very high eye pressure with pain: IOP 52 mmHg OD")
    head = pane.ids.title
    assert banner.to_window(*banner.pos)[1] > head.to_window(*head.pos)[1]
    ui.tap(banner)
    told = ui.words(pane)
    assert "By rule, not by the model" in told and "Rule, source:" in told
    went: list[str] = []
    pane.parent.parent.parent.go = went.append
    ui.find(text="IOP 52 mmHg OD", icon="link").dispatch("on_release")
    assert went == ["eye"]


def test_empty_answer(ui: Driver, desk: Desk, pane: Any) -> None:
    """Fails when an empty list looks like a failure."""
    desk.engine.answer = ranking_answer("")
    rank(ui, desk, pane)
    assert "No option: nothing in the input points to one." in ui.words(pane)


def test_a_dead_button_says_why(ui: Driver, desk: Desk, pane: Any) -> None:
    """Fails when Rank is off without a reason on the screen."""
    desk.with_patient(visit="")
    ui.frame(2)
    assert pane.ids.go.disabled and "Record a finding first." in ui.words(pane)


def test_task_toggle(ui: Driver, desk: Desk, pane: Any) -> None:
    """Fails when the chosen task is not the one that is asked."""
    ui.tap(ui.find(text="General", key="differential"))
    rank(ui, desk, pane)
    assert desk.engine.requests[-1].task == "differential"  # type: ignore[union-attr]
    ui.tap(ui.find(text="Eye", key="ophthalmology"))
    rank(ui, desk, pane)
    assert desk.engine.requests[-1].task == "ophthalmology"  # type: ignore[union-attr]
