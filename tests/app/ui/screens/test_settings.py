"""Settings on the screen: what is tapped holds, and nothing typed waits for the next person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.app.i18n import tr
from edge.app.presenters.settings import SECTIONS
from tests.app.presenters.bedside_desk import ANA, BEN, OTHER_PIN, PIN, Desk
from tests.app.ui.driver import Driver
from tests.app.ui.screens.checks_of_screens import all_of, past_the_edge, small_targets, words_in

PASSPHRASE = "seven tall lamps"


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.open()
    yield made
    made.close()


def screen(ui: Driver, desk: Desk, section: str = "display", **options: Any) -> Any:
    from edge.app.presenters.settings import SettingsPresenter
    from edge.app.ui.screens.settings import SettingsScreen

    root = ui.mount(
        lambda: SettingsScreen(SettingsPresenter(desk.workspace, start=desk.folder), desk.workspace),
        **options,
    )
    root.show()
    ui.frame(2)
    root.choose(section)
    desk.settle()
    ui.frame(5)
    return root


def tap_pin(ui: Driver, root: Any, pin: str) -> None:
    for digit in pin:
        ui.key(digit)
    ui.key("enter")
    ui.frame(2)


def test_sections_by_touch(ui: Driver, desk: Desk) -> None:
    """Each section opens at a tap and shows its own things only."""
    desk.add(ANA)
    root = screen(ui, desk)
    shown = {
        "clinical": "settings.va_notation",
        "security": "settings.pin_change",
        "backup": "settings.backup_write",
        "audit": "settings.audit_text",
        "about": "settings.about_limits",
        "wipe": "settings.wipe_title",
    }
    for section, key in shown.items():
        ui.tap(root.ids.sections.row(section))
        desk.settle()
        ui.frame(4)
        words = ui.words(root.right)
        assert tr(key) in words
        assert not [other for name, other in shown.items() if name != section and tr(other) in words]


def test_choices_by_touch(ui: Driver, desk: Desk) -> None:
    """A tapped value is kept and shown as chosen."""
    root = screen(ui, desk)
    ui.tap(ui.find(text=tr("settings.night_on"), key="True"))
    ui.frame(3)
    assert desk.workspace.settings.night
    assert root._choices.row("night").ids.segment.selected == "True"
    root.choose("security")
    ui.frame(3)
    ui.tap(ui.find(text="5 min"))
    ui.frame(3)
    assert desk.workspace.settings.autolock_s == 300


def test_language_by_touch(ui: Driver, desk: Desk) -> None:
    """All words of the screen change at once."""
    root = screen(ui, desk)
    ui.tap(ui.find(text="Deutsch"))
    ui.frame(4)
    words = ui.words(root)
    assert "Anzeige" in words and "Textgröße" in words and "Display" not in words


def test_change_pin_by_keyboard(ui: Driver, desk: Desk) -> None:
    """Three PINs typed; the outcome is said where they were typed."""
    root = screen(ui, desk, "security")
    for pin in (PIN, OTHER_PIN, OTHER_PIN):
        tap_pin(ui, root, pin)
    desk.settle()
    ui.frame(3)
    assert tr("settings.pin_changed") in ui.words(root)
    desk.workspace.services.background.call(desk.vault.check_pin, OTHER_PIN)


def test_wipe_after_by_touch(ui: Driver, desk: Desk) -> None:
    """A tapped value asks for the PIN, on the only pad there is; then it is said."""
    root = screen(ui, desk, "security")
    ui.tap(ui.find(text=tr("settings.wipe_after_count", count=10)))
    ui.frame(4)
    assert tr("settings.pin_old") not in ui.words(root)
    assert "10 wrong PINs" in ui.words(root)
    card = root._made["wipe_after"]
    for digit in PIN:
        ui.key(digit)
    ui.key("enter")
    desk.settle()
    ui.frame(4)
    assert desk.workspace.wipe_after == 10 and card.ids.segment.selected == "10"
    words = ui.words(root)
    assert tr("settings.wipe_after_done", value="10 in a row") in words and tr("settings.pin_old") in words
    assert not small_targets(ui, root) and not past_the_edge(ui, root)


def test_backup_by_touch(ui: Driver, desk: Desk, tmp_path: Path) -> None:
    """The file is written to the folder that is shown, and the fields are empty after it."""
    root = screen(ui, desk, "backup")
    panel = root._made["backup"]
    assert str(tmp_path) in ui.words(panel)
    panel.ids.passphrase.text = panel.ids.again.text = PASSPHRASE
    ui.tap(panel.ids.write)
    desk.settle()
    ui.frame(3)
    assert len(list(tmp_path.glob("*.edgebackup"))) == 1
    assert panel.ids.passphrase.text == panel.ids.again.text == ""
    (tmp_path / "other").mkdir()
    ui.tap(ui.find(text=tr("settings.backup_choose")))
    ui.frame(4)
    ui.tap(ui.find(name="other"))
    ui.frame(4)
    ui.tap(ui.find(text=tr("folder.choose")))
    ui.frame(4)
    assert str(tmp_path / "other") in ui.words(panel)


def test_wipe_by_touch(ui: Driver, desk: Desk) -> None:
    """The word, go on, the PIN; not one step less."""
    desk.add(ANA, BEN)
    root = screen(ui, desk, "wipe")
    panel = root._made["wipe"]
    assert "2 visits" in ui.words(panel) and panel.ids.next.disabled
    panel.ids.word.ids.input.focus = True
    ui.type("WIPE")
    panel.ids.word.ids.input.focus = False
    ui.frame(3)
    ui.tap(panel.ids.next)
    ui.frame(3)
    assert tr("settings.wipe_last") in ui.words(panel) and panel._word.parent is None
    tap_pin(ui, root, PIN)
    desk.settle()
    assert str(desk.workspace.vault_state) == "wiped"


def test_audit_rows(ui: Driver, desk: Desk) -> None:
    """The log is a long list: only what is seen exists; the state of the chain is an icon and words."""
    from edge.app.ui.screens.settings_about import AuditLine

    for _ in range(60):
        desk.workspace.audit("lock")
    root = screen(ui, desk, "audit")
    panel = root._made["audit"]
    assert panel.ids.state.text.startswith("Verified: 61 entries") and panel.ids.state.icon == "shield-check"
    lines = [w for w in ui.walk(panel) if isinstance(w, AuditLine)]
    assert 5 < len(lines) < 30 and lines[0].text == tr("settings.audit_lock")


@pytest.mark.parametrize(("language", "scale"), [("en", 1.0), ("de", 1.3), ("de", 2.0)])
@pytest.mark.parametrize("size", [(1280, 800), (800, 1280), (1024, 600)])
def test_fits_and_can_be_touched(ui: Driver, desk: Desk, size: tuple[int, int], scale: float, language: str) -> None:
    """At every size and text size: no word past the edge, no target below 48 dp, in each section."""
    desk.add(ANA)
    desk.workspace.runs.start_engines()
    desk.workspace.touch()
    desk.workspace.tick()
    root = screen(ui, desk, size=size, scale=scale, language=language)
    for section in SECTIONS:
        root.choose(section)
        desk.settle()
        if section == "wipe":
            root.presenter.wipe.type(tr("settings.wipe_word"))
            root.presenter.wipe.go_on()
        ui.frame(5)
        assert not past_the_edge(ui, root), section
        assert not small_targets(ui, root), section
        root.pane = 0
        ui.frame(3)
        assert not past_the_edge(ui, root) and not small_targets(ui, root)


def test_leaving_and_locking_forget_what_was_typed(ui: Driver, desk: Desk) -> None:
    """Passphrases and words that stood in fields are gone when the screen is left, and when the app locks."""
    root = screen(ui, desk, "backup")
    panel = root._made["backup"]
    panel.ids.passphrase.text = "typed secret"
    root.choose("display")
    ui.frame(3)
    assert panel.ids.passphrase.text == ""
    root.choose("wipe")
    ui.frame(3)
    root._made["wipe"].ids.word.text = "typed secret"
    root.choose("audit")
    desk.settle()
    ui.frame(3)
    every = all_of(root, *root._made.values())
    desk.workspace.lock()
    root.hide()
    root.clear_text()
    left = words_in(every)
    assert "typed secret" not in left and tr("settings.audit_vault_create") not in left
