"""The exam's screen, touched as a clinician touches it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.presenters.exam import ExamPresenter
from edge.clinical.encounter import edits
from edge.clinical.encounter.findings import catalogue
from edge.clinical.encounter.model import Eye, FoundItem, Origin, Presence, Vital
from tests.app.desk import Desk
from tests.app.presenters.exam_desk import FEVER, HALOS, PAIN, found, open_desk
from tests.app.ui.driver import Driver
from tests.app.ui.screens.case_screen import SCALES, SIZES, cut_words, holds, out_of_sight, run


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An open patient with nothing found."""
    made = open_desk(tmp_path)
    yield made
    made.close()


def mount(ui: Driver, desk: Desk, **how: Any) -> Any:
    """The screen as the shell shows it."""
    from edge.app.ui.screens.exam import ExamScreen

    root = ui.mount(lambda: ExamScreen(ExamPresenter(desk.workspace), desk.workspace), **how)
    root.show()
    ui.frame(4)
    return root


def fill(desk: Desk) -> None:
    """A case with everything on it."""
    found(desk, PAIN, eye=Eye.OD)
    found(desk, HALOS, eye=Eye.OD)
    found(desk, FEVER, Presence.ABSENT)
    found(desk, "neuro.headache", origin=Origin.SPEECH, confirmed=False)
    desk.workspace.edit(edits.set_history, FoundItem("h", "Zebrafever", Presence.PRESENT))
    desk.workspace.edit(edits.set_eye_field, Eye.OD, "iop_mmhg", 52)
    desk.workspace.edit(edits.set_vital, Vital("heart_rate", 137, Origin.SPEECH, False))
    desk.workspace.edit(edits.set_vital, Vital("bp_systolic", 162))


def test_a_tap_records_and_the_next_takes_back(ui: Driver, desk: Desk) -> None:
    """Fails when a chip does not do what it shows."""
    root = mount(ui, desk)
    chips = root.ids.exam.ids.chips
    for presence, words in (("present", "Fever"), ("absent", "Fever: no"), ("unknown", "Fever")):
        ui.tap(chips.row(f"{FEVER}:"))
        assert (chips.row(f"{FEVER}:").presence, chips.row(f"{FEVER}:").text) == (presence, words)


def test_a_long_press_is_unknown(ui: Driver, desk: Desk) -> None:
    """Fails when a held chip is tapped too, or does not come back to unknown."""
    found(desk, FEVER)
    root = mount(ui, desk)
    chip = root.ids.exam.ids.chips.row(f"{FEVER}:")
    ui.tap(chip, hold=lambda: not desk.workspace.encounter.findings)  # type: ignore[union-attr]
    assert chip.presence == "unknown" and desk.workspace.encounter.findings == ()  # type: ignore[union-attr]


def test_search_and_free_words(ui: Driver, desk: Desk) -> None:
    """Fails when typing does not find, or words that are not in the catalogue cannot be recorded."""
    root = mount(ui, desk)
    search = root.ids.exam.ids.search
    search.ids.input.focus = True
    ui.type("halo")
    ui.frame(2)
    assert root.ids.exam.ids.chips.row(f"{HALOS}:OD") is not None
    search.text = "qqq sign"
    ui.frame(2)
    ui.tap(ui.find(text="Add for OD: qqq sign"))
    item = desk.workspace.encounter.findings[0]  # type: ignore[union-attr]
    assert (item.name, item.eye, item.presence) == ("qqq sign", Eye.OD, Presence.PRESENT)
    assert search.text == ""


def test_tab_shows_its_system(ui: Driver, desk: Desk) -> None:
    """Fails when a system's tab does not show its findings, or all of them cannot be had."""
    root = mount(ui, desk)
    pane = root.ids.exam
    tab = next(one for one in pane.ids.strip.ids.row.children if one.key == "eye")
    tab.dispatch("on_release")
    ui.frame(2)
    few = len(pane.ids.chips.children)
    eye = [one for one in catalogue().values() if one.system == "eye"]
    ui.find(text=f"Show all {len(eye)}").dispatch("on_release")
    ui.frame(2)
    assert few < len(pane.ids.chips.children) == len(eye)


def test_stepper_repeats_and_undo_takes_the_press_back(ui: Driver, desk: Desk) -> None:
    """Fails when a held button does not go on, or undo needs as many taps as it made steps."""
    root = mount(ui, desk)
    measures = root.presenter.measures
    measures.enter("iop_od", "20")
    ui.frame(2)
    box = root.ids.exam._boxes["iop_od"]
    plus = box.ids.stepper.children[0].children[0]
    root.ids.exam.ids.scroll.show(box)
    ui.frame(2)
    ui.tap(plus, hold=lambda: (measures.value("iop_od") or 0) >= 24)
    assert (measures.value("iop_od") or 0) >= 24
    ui.tap(root.ids.exam.ids.undo)
    assert measures.value("iop_od") == 20


def test_number_pad(ui: Driver, desk: Desk) -> None:
    """Fails when a figure cannot be typed, when one that cannot be is taken, or when it cannot be taken out again."""
    from edge.app.ui.kit import EdgeDialog

    root = mount(ui, desk)
    box = root.ids.exam._boxes["bp_systolic"]
    box.dispatch("on_edit")
    dialog = EdgeDialog.shown[-1]
    ui.frame(2)
    for key in "962":
        ui.key(key)
    ui.tap(ui.find(text="Enter"))
    assert dialog.is_open and root.presenter.measures.value("bp_systolic") is None
    assert "Nothing was entered" in ui.words(dialog)
    for key in "162":
        ui.key(key)
    ui.tap(ui.find(text="Enter"))
    assert not dialog.is_open and root.presenter.measures.value("bp_systolic") == 162
    assert (box.ids.stepper.value_text, box.ids.stepper.grade) == ("162", "high")
    assert "high" in box.ids.stepper.label
    box.dispatch("on_edit")
    ui.frame(2)
    ui.tap(ui.find(text="Not measured"))
    assert root.presenter.measures.value("bp_systolic") is None


def test_speech_waits_for_a_tap(ui: Driver, desk: Desk) -> None:
    """Fails when what speech made looks like what a person entered."""
    fill(desk)
    root = mount(ui, desk)
    chip = root.ids.exam.ids.chips.row("neuro.headache:")
    assert chip.icon == "microphone" and chip.text.endswith("confirm")
    ui.tap(chip)
    assert (chip.icon, chip.presence) == ("check", "present")
    box = root.ids.exam._boxes["heart_rate"]
    ui.find(text="Confirm").dispatch("on_release")
    ui.frame(2)
    assert len(box.children) == 1 and "From speech" not in ui.words(root)


def test_jump_from_a_reason_lights_its_chip(ui: Driver, desk: Desk) -> None:
    """Fails when a reason leads nowhere, or to another place than its own."""
    fill(desk)
    root = mount(ui, desk)
    ranking = root.ids.ranking
    ranking.presenter.rank()
    run(desk, ui)
    root.presenter.choose_tab("general")
    ui.frame(2)
    ui.tap(ui.find(text="Halos around lights OD", icon="link"))
    chips = root.ids.exam.ids.chips
    ui.until(lambda: chips.row(f"{HALOS}:OD") is not None and chips.row(f"{HALOS}:OD").focused)
    went: list[str] = []
    root.go = went.append
    ranking.presenter.jump(ranking.presenter.view.rows[0].supports[-1])
    assert went == ["eye"] and ranking.presenter.take_jump("eye") is not None


def test_missing_input_opens_the_search(ui: Driver, desk: Desk) -> None:
    """Fails when a missing input cannot be entered from where it is named."""
    fill(desk)
    root = mount(ui, desk)
    root.ids.ranking.presenter.rank()
    run(desk, ui)
    ui.find(text="Gonioscopy").dispatch("on_release")
    ui.until(lambda: root.ids.exam.ids.search.ids.input.focus)
    assert root.ids.exam.ids.search.text == "gonioscopy"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", SCALES)
def test_fits(ui: Driver, desk: Desk, size: tuple[int, int], scale: float) -> None:
    """Fails when a target is too small or too near, out of sight, or a word is cut, in a size a tablet has."""
    from tests.app.ui.reach import too_near, too_small

    fill(desk)
    root = mount(ui, desk, size=size, scale=scale)
    root.ids.ranking.presenter.rank()
    run(desk, ui)
    for pane in (0, 1):
        root.pane = pane
        ui.frame(4)
        assert too_small(ui, root) == []
        assert out_of_sight(ui, root, size[0]) == []
        assert cut_words(ui, root) == []
    if scale == 1.0 and size[0] == 1280:
        ui.resize((1280, 4000))
        ui.frame(4)
        # Tabs of the strip that are scrolled out of sight lie behind what stands beside it.
        assert [one for one in too_near(ui, root) if "SystemTab" not in one] == []


@pytest.mark.parametrize("language", ["en", "de"])
def test_words_in_both_languages(ui: Driver, desk: Desk, language: str) -> None:
    """Fails when a key shows instead of its words."""
    fill(desk)
    root = mount(ui, desk, language=language, scale=1.3)
    root.ids.ranking.presenter.rank()
    run(desk, ui)
    told = ui.words(root)
    assert not [key for key in ("exam.", "differential.", "engine.", "redflag.", "eye.") if key in told]
    assert cut_words(ui, root) == []


def test_lock_takes_every_word(ui: Driver, desk: Desk) -> None:
    """Fails when a widget still holds a patient's word after the lock."""
    from edge.app.ui.kit import EdgeDialog

    fill(desk)
    root = mount(ui, desk)
    root.ids.ranking.presenter.rank()
    run(desk, ui)
    root.ids.exam.ids.search.text = "Zebrafever"
    root.ids.exam.ids.history_field.text = "Zebrafever"
    root.ids.exam._boxes["iop_od"].dispatch("on_edit")
    ui.frame(3)
    words = ("Zebrafever", "Halos", "Sudden", "Acute angle", "162", "137", "52", "Headache")
    assert holds(root, ("Zebrafever", "Halos", "162"))
    shared = root.ids.ranking.presenter
    desk.workspace.lock()
    root.clear_text()
    root.hide()
    assert holds(root, words) == []
    assert not shared.view.rows and shared._shown is None and not EdgeDialog.shown


def test_hidden_draws_nothing(ui: Driver, desk: Desk) -> None:
    """Fails when a screen that is not shown goes on working at each change."""
    root = mount(ui, desk)
    root.hide()
    found(desk, FEVER)
    ui.frame(3)
    assert root.ids.exam.ids.chips.row(f"{FEVER}:").presence == "unknown"
    root.show()
    ui.frame(2)
    assert root.ids.exam.ids.chips.row(f"{FEVER}:").presence == "present"


def test_screens_that_are_thrown_away_go(ui: Driver, desk: Desk) -> None:
    """Fails when something keeps the screens of every lock. (Kivy's text field may keep one.)"""
    import gc
    import weakref

    kept = []
    for _ in range(3):
        root = mount(ui, desk)
        kept += [weakref.ref(one) for one in (root.ids.exam.__self__, root.ids.ranking.__self__)]
        ui.window.remove_widget(root)
        root.end()
        del root
        ui.clear()
        ui.frame(3)
    gc.collect()
    assert sum(one() is not None for one in kept) <= 2
