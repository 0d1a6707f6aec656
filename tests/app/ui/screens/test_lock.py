"""The lock on the screen: the pad, a keyboard, the words; nothing of a patient, nothing left of a PIN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.i18n import tr
from tests.app.presenters.bedside_desk import ANA, OTHER_PIN, PIN, Desk
from tests.app.ui.driver import Driver
from tests.app.ui.screens.checks_of_screens import all_of, past_the_edge, small_targets, words_in

PASSPHRASE = "seven tall lamps"


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def screen(ui: Driver, desk: Desk, **options: Any) -> Any:
    from edge.app.presenters.lock import LockPresenter
    from edge.app.ui.screens.lock import LockScreen

    root = ui.mount(
        lambda: LockScreen(LockPresenter(desk.workspace, start=desk.folder), desk.workspace),
        **options,
    )
    root.show()
    desk.settle()
    ui.frame(4)
    return root


def tap_pin(ui: Driver, root: Any, pin: str) -> None:
    from edge.app.ui.kit.dialog import PadKey

    keys = {key.key: key for key in ui.walk(root) if isinstance(key, PadKey)}
    for digit in pin:
        ui.tap(keys[digit])
    ui.tap(root.ids.pin.ids.enter)
    ui.frame(3)


def test_unlock_by_touch(ui: Driver, desk: Desk) -> None:
    """The digits that are tapped are the PIN; meanwhile the screen says that it is opening."""
    desk.open()
    desk.add(ANA)
    desk.workspace.lock()
    root = screen(ui, desk)
    assert "Locked. Enter PIN." in ui.words(root)
    tap_pin(ui, root, PIN)
    assert tr("lock.opening") in ui.words(root) or not desk.workspace.locked
    desk.settle()
    assert not desk.workspace.locked


def test_unlock_by_keyboard(ui: Driver, desk: Desk) -> None:
    """A physical keyboard types into the pad."""
    desk.open()
    desk.workspace.lock()
    root = screen(ui, desk)
    for digit in PIN:
        ui.key(digit)
    assert root.ids.pin.ids.dots.filled == len(PIN)
    ui.key("backspace")
    assert root.ids.pin.ids.dots.filled == len(PIN) - 1
    ui.key(PIN[-1])
    ui.key("enter")
    desk.settle()
    assert not desk.workspace.locked


def test_wait_counts_down_and_takes_no_digit(ui: Driver, desk: Desk) -> None:
    """While a wait runs the pad is off and says why; then it works again."""
    desk.open()
    desk.workspace.lock()
    root = screen(ui, desk)
    for _ in range(4):
        tap_pin(ui, root, "918273")
        desk.settle()
        ui.frame(2)
    assert "Wrong PIN. Wait 30 s." in ui.words(root) and root.ids.pin.ids.pad.disabled
    desk.clock.pass_s(20)
    root.presenter.tick()
    ui.frame(2)
    assert "Wrong PIN. Wait 10 s." in ui.words(root)
    desk.clock.pass_s(10)
    root.presenter.tick()
    ui.frame(2)
    assert not root.ids.pin.ids.pad.disabled
    tap_pin(ui, root, PIN)
    desk.settle()
    assert not desk.workspace.locked


def test_first_start_by_touch(ui: Driver, desk: Desk) -> None:
    """Twice the same PIN makes the store; in between the screen says so."""
    root = screen(ui, desk)
    assert tr("lock.welcome") in ui.words(root)
    tap_pin(ui, root, PIN)
    assert tr("lock.repeat_title") in ui.words(root)
    tap_pin(ui, root, PIN)
    desk.settle()
    assert not desk.workspace.locked


def test_language_at_the_first_start(ui: Driver, desk: Desk) -> None:
    """One tap and all words are in the other language."""
    root = screen(ui, desk)
    ui.tap(ui.find(text="Deutsch"))
    ui.frame(3)
    words = ui.words(root)
    assert "PIN wählen" in words and "Choose a PIN" not in words


def test_keyboard_field_and_its_end(ui: Driver, desk: Desk) -> None:
    """A passphrase is typed hidden, and the field is empty after it was used."""
    desk.workspace.create_vault(PASSPHRASE, lambda error: None)
    desk.settle()
    desk.workspace.lock()
    root = screen(ui, desk)
    ui.tap(ui.find(text=tr("lock.use_keyboard")))
    ui.frame(3)
    field = root.ids.pin.ids.field
    assert field.password and field.typing
    ui.type(PASSPHRASE)
    assert root.presenter.view.pin.typed == len(PASSPHRASE)
    ui.tap(root.ids.pin.ids.enter)
    ui.frame(3)
    assert field.text == ""
    desk.settle()
    assert not desk.workspace.locked


def test_backup_is_restored(ui: Driver, desk: Desk, tmp_path: Path) -> None:
    """File, passphrase, PIN twice: the visits are there."""
    desk.open()
    desk.add(ANA)
    desk.workspace.services.background.call(desk.workspace.vault.backup, tmp_path / "a.edgebackup", PASSPHRASE)
    other = Desk(tmp_path / "other")
    from edge.app.presenters.lock import LockPresenter
    from edge.app.ui.screens.lock import LockScreen

    root = ui.mount(lambda: LockScreen(LockPresenter(other.workspace, start=tmp_path), other.workspace))
    root.show()
    ui.frame(3)
    ui.tap(ui.find(text=tr("lock.restore")))
    ui.frame(4)
    ui.tap(ui.find(name="a.edgebackup"))
    ui.frame(4)
    root.ids.passphrase.text = PASSPHRASE
    ui.tap(ui.find(text=tr("lock.next"), big=True))
    ui.frame(3)
    assert root.ids.passphrase.text == ""
    tap_pin(ui, root, OTHER_PIN)
    tap_pin(ui, root, OTHER_PIN)
    other.settle()
    assert [one.name for one in other.workspace.worklist()] == ["MORALES, Ana"]
    other.close()


def test_damaged_data_has_no_pad(ui: Driver, desk: Desk) -> None:
    """Where nothing can be opened nothing asks for a PIN, and no button deletes anything."""
    desk.open()
    desk.workspace.lock()
    root = screen(ui, desk)
    (desk.folder / "vault" / "vault" / "key.json").write_bytes(b"{}")
    tap_pin(ui, root, PIN)
    desk.settle()
    ui.frame(3)
    words = ui.words(root)
    assert tr("lock.broken_title") in words and tr("lock.unlock") not in words and tr("lock.restore") not in words


@pytest.mark.parametrize(("language", "scale"), [("en", 1.0), ("de", 1.3), ("de", 2.0)])
@pytest.mark.parametrize("size", [(1280, 800), (800, 1280), (480, 800)])
def test_fits_and_can_be_touched(ui: Driver, desk: Desk, size: tuple[int, int], scale: float, language: str) -> None:
    """At every size and text size: no word past the edge, no target below 48 dp, at each step."""
    root = screen(ui, desk, size=size, scale=scale, language=language)

    def holds(where: str) -> None:
        ui.frame(5)
        assert not past_the_edge(ui, root), where
        assert not small_targets(ui, root), where

    holds("create")
    root.presenter.use_keyboard(True)
    holds("keyboard")
    root.presenter.use_keyboard(False)
    root.presenter.setup.choose_file(desk.folder / "edge-20260314-104200.edgebackup")
    root.presenter.setup.passphrase("short")
    holds("restore")
    root.presenter.setup.no_restore()
    desk.open()
    desk.workspace.lock()
    root.presenter.refresh()
    holds("locked")


def test_nothing_typed_is_left(ui: Driver, desk: Desk) -> None:
    """After the screen is put away no field holds a PIN or a passphrase."""
    root = screen(ui, desk)
    root.presenter.use_keyboard(True)
    ui.frame(2)
    root.ids.pin.ids.field.text = "typed secret"
    root.presenter.setup.choose_file(desk.folder / "x.edgebackup")
    ui.frame(2)
    root.ids.passphrase.text = "typed secret"
    every = all_of(root, *root._kept.values())
    assert "typed secret" in words_in(every)
    root.hide()
    root.clear_text()
    assert "typed secret" not in words_in(every)
    assert root.presenter.view.setup.pin.typed == 0 and root.presenter.view.setup.file == ""
