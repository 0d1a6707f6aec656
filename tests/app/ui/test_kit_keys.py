"""The keyboard and the dialog: physical keyboards exist at bedsides."""

from __future__ import annotations

from typing import Any

from edge.app.ui.kit import EdgeButton, EdgeColumn, EdgeDialog, EdgeField, EdgeNumberPad, EdgeRow
from tests.app.ui.driver import Driver

ACTIONS = [("delete", "Delete", "danger"), ("cancel", "Cancel", "quiet")]


def three() -> EdgeColumn:
    """Two buttons and a field between them."""
    box = EdgeColumn(pos_hint={"top": 1})
    for widget in (EdgeButton(text="First"), EdgeField(label="Name"), EdgeButton(text="Last")):
        box.add_widget(widget)
    return box


def heard(dialog: EdgeDialog) -> list[Any]:
    """The actions that a dialog told."""
    keys: list[Any] = []
    dialog.bind(on_action=lambda _dialog, key: keys.append(key))
    return keys


def test_tab_goes_round_in_reading_order(ui: Driver) -> None:
    """Fails when Tab skips something, leaves the field out, or cannot leave it."""
    root = ui.mount(three)
    last, field, first = root.children
    for wanted in (first, field.ids.input, last, first):
        ui.key("tab")
        assert ui.ring.current in (wanted, getattr(wanted, "__self__", wanted))
    ui.key("tab", "shift")
    assert ui.ring.current is last and last.focused and not first.focused


def test_the_ring_can_be_seen_and_a_touch_takes_it_away(ui: Driver) -> None:
    """Fails when the focus is invisible, or stays where nobody uses a keyboard."""
    root = ui.mount(three)
    first = root.children[2]
    ui.key("tab")
    assert first.canvas.after.get_group("focus")
    ui.tap(root.children[0])
    assert not first.canvas.after.get_group("focus") and ui.ring.current is None


def test_enter_and_space_act(ui: Driver) -> None:
    """Fails when a focused button cannot be used without a finger."""
    root = ui.mount(three)
    acted: list[str] = []
    root.children[2].bind(on_release=lambda button: acted.append(button.text))
    ui.key("enter")
    assert acted == []
    ui.key("tab")
    ui.key("enter")
    ui.key("space")
    assert acted == ["First", "First"]


def test_a_shortcut_is_heard(ui: Driver) -> None:
    """Fails when Ctrl+Z does nothing, or works under an open dialog."""
    ui.mount(three)
    undone: list[int] = []
    ui.ring.shortcuts[(frozenset(("ctrl",)), "z")] = lambda: undone.append(1)
    ui.key("z", "ctrl")
    assert undone == [1]
    EdgeDialog(title="Sure?", actions=ACTIONS).open()
    ui.key("z", "ctrl")
    assert undone == [1]


def test_a_dialog_closes_by_its_actions_or_escape_only(ui: Driver) -> None:
    """Fails when a touch beside it answers the question."""
    ui.mount(three)
    dialog = EdgeDialog(title="Delete?", body="It cannot be undone.", actions=ACTIONS)
    keys = heard(dialog)
    dialog.open()
    ui.frame(3)
    ui.touch(5, 5)
    assert dialog.is_open and keys == []
    ui.key("escape")
    assert not dialog.is_open and keys == ["cancel"]
    dialog.open()
    ui.frame(3)
    ui.tap(ui.find(text="Delete"))
    assert not dialog.is_open and keys == ["cancel", "delete"]


def test_nothing_under_a_dialog_is_touched(ui: Driver) -> None:
    """Fails when a finger or the keyboard reaches the screen behind a question."""
    root = ui.mount(three)
    acted: list[int] = []
    root.children[2].bind(on_release=lambda _: acted.append(1))
    dialog = EdgeDialog(title="Sure?", actions=ACTIONS)
    dialog.open()
    ui.frame(3)
    ui.tap(root.children[2])
    for _ in range(5):
        ui.key("tab")
        assert ui.ring.current in ui.ring.stops() and ui.ring.current.text in ("Delete", "Cancel")
    assert acted == []
    dialog.close()
    assert ui.ring.scopes == [root]


def test_an_answer_may_keep_it_open(ui: Driver) -> None:
    """Fails when a wrong PIN throws away what was typed."""
    ui.mount(three)
    dialog = EdgeDialog(title="PIN", actions=[("sign", "Sign", "primary")], keep=["sign"])
    keys = heard(dialog)
    dialog.open()
    ui.frame(3)
    ui.tap(ui.find(text="Sign"))
    assert keys == ["sign"] and dialog.is_open
    ui.key("escape")
    assert not dialog.is_open and keys == ["sign", ""]


def test_the_pad_of_the_upper_dialog_is_typed_into(ui: Driver) -> None:
    """Fails when two pads hear the same key."""
    under, over = EdgeNumberPad(), EdgeNumberPad()
    digits: list[str] = []
    for name, pad in (("under", under), ("over", over)):
        pad.bind(on_digit=lambda _pad, digit, name=name: digits.append(name + digit))
    row = EdgeRow()
    row.add_widget(under)
    ui.mount(row)
    dialog = EdgeDialog(title="PIN", actions=ACTIONS)
    dialog.add_widget(over)
    dialog.open()
    ui.frame(3)
    ui.key("7")
    dialog.close()
    ui.key("8")
    assert digits == ["over7", "under8"]


def test_a_dialog_fits_a_small_window_at_large_type(ui: Driver) -> None:
    """Fails when the answers of a question are off the screen."""
    ui.mount(three, size=(640, 480), scale=2.0)
    dialog = EdgeDialog(title="Delete this visit?", body="word " * 120, actions=ACTIONS)
    dialog.open()
    ui.frame(4)
    for text in ("Delete", "Cancel"):
        button = ui.find(text=text, kind="danger" if text == "Delete" else "quiet")
        assert button.to_window(button.x, button.y)[1] >= 0 and button.to_window(button.x, button.top)[1] <= 480


def test_close_all_leaves_none(ui: Driver) -> None:
    """Fails when a dialog with a patient's words stays over the lock."""
    ui.mount(three)
    for title in ("One", "Two"):
        EdgeDialog(title=title, actions=ACTIONS).open()
    EdgeDialog.close_all()
    assert EdgeDialog.shown == [] and len(ui.window.children) == 1
