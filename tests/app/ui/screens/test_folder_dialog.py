"""The folder dialog: choose, go up and down, make a folder; nothing of the names stays when it closes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.app.i18n import tr
from edge.app.presenters.folders import TEXT_ENDINGS, FolderBrowser
from tests.app.ui.driver import Driver
from tests.app.ui.screens.screen_checks import alive, overflowing, small_targets, words_left


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Okafor letters").mkdir()
    (tmp_path / "morales.txt").write_text("x")
    return tmp_path


def show(ui: Driver, browser: FolderBrowser, chosen: list[Path], **options: Any) -> Any:
    from kivy.uix.widget import Widget

    from edge.app.ui.screens.folder_dialog import FolderDialog

    ui.mount(Widget(), **options)
    dialog = FolderDialog(browser, chosen.append, "Title")
    dialog.open()
    ui.frame(6)
    return dialog


def entry(dialog: Any, name: str) -> Any:
    return next(one for one in dialog.walk() if getattr(one, "name", "") == name)


def test_choose_a_file(ui: Driver, folder: Path) -> None:
    """A tap on a file takes it; there is no way to save here."""
    chosen: list[Path] = []
    dialog = show(ui, FolderBrowser(folder, TEXT_ENDINGS), chosen)
    assert tr("folder.choose") not in ui.words(dialog) and tr("folder.make") not in ui.words(dialog)
    ui.tap(entry(dialog, "morales.txt"))
    assert chosen == [folder / "morales.txt"] and not dialog.is_open


def test_go_down_make_a_folder_and_save_there(ui: Driver, folder: Path) -> None:
    """The whole way of an export, with the free space in sight."""
    chosen: list[Path] = []
    dialog = show(ui, FolderBrowser(folder, free=lambda _path: 3_000_000_000), chosen)
    ui.tap(entry(dialog, "Okafor letters"))
    ui.frame(3)
    assert tr("folder.empty") in ui.words(dialog) and "3.00 GB free" in ui.words(dialog)
    dialog.parts.ids.name.text = "a/b"
    ui.tap(dialog.parts.ids.make)
    ui.frame(3)
    assert tr("folder.bad_name") in ui.words(dialog)
    dialog.parts.ids.name.text = "Today"
    ui.tap(dialog.parts.ids.make)
    ui.frame(3)
    ui.tap(ui.find(text=tr("folder.choose")))
    assert chosen == [folder / "Okafor letters" / "Today"]


def test_up_and_cancel(ui: Driver, folder: Path) -> None:
    """Leaving chooses nothing."""
    chosen: list[Path] = []
    dialog = show(ui, FolderBrowser(folder / "Okafor letters"), chosen)
    ui.tap(dialog.parts.ids.up)
    ui.frame(2)
    assert dialog.browser.path == folder
    ui.key("escape")
    assert chosen == [] and not dialog.is_open


def test_names_are_forgotten(ui: Driver, folder: Path) -> None:
    """A file may be named after a patient."""
    known = alive()
    dialog = show(ui, FolderBrowser(folder, TEXT_ENDINGS), [])
    assert words_left(["morales", "okafor"], known)
    dialog.close()
    ui.frame(2)
    assert words_left(["morales", "okafor"], known) == []


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("size", [(1280, 800), (800, 1280)])
def test_targets_words_and_place(ui: Driver, folder: Path, scale: float, size: tuple[int, int]) -> None:
    """It stands in the middle, inside the window, with targets for a glove."""
    dialog = show(ui, FolderBrowser(folder), [], size=size, scale=scale, language="de")
    card = dialog.ids.card
    assert small_targets(ui, dialog) == [] and overflowing(ui, dialog) == []
    assert card.y >= 0 and card.top <= size[1] and abs(card.center_y - size[1] / 2) < 2
