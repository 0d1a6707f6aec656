"""What stands above a screen: the dialog, and the number pad for PINs and figures."""

from __future__ import annotations

from typing import Any

from kivy.graphics import Color, SmoothEllipse
from kivy.metrics import dp
from kivy.properties import BooleanProperty, ListProperty, NumericProperty, ObjectProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.floatlayout import FloatLayout
from kivy.uix.widget import Widget

from edge.app.ui.kit.base import EdgeScroll, EdgeSurface, Touchable, Wall
from edge.app.ui.kit.face import EdgeButton, EdgeFace
from edge.app.ui.kit.fields import EdgeInput
from edge.app.ui.kit.focus import ring
from edge.app.ui.kit.load import load_kv
from edge.app.ui.theme import theme


class DialogCard(EdgeSurface, BoxLayout):
    """The sheet of a dialog."""


class DialogScroll(EdgeScroll):
    """The middle of a dialog, which scrolls when the screen is too low."""

    wanted = NumericProperty(0)


class EdgeDialog(Wall, FloatLayout):
    """A question over everything. actions: [(key, words, kind)], the first is the answer that changes something.

    `open()` shows it; an action closes it and calls on_action(key); Esc is the action 'cancel' if there is one, or
    closes it with on_action(''). Touching beside it does nothing. Widgets added in kv or by add_widget stand under
    `body`. keep: keys of actions that do not close it (the answer may be wrong, as a PIN).
    """

    title = StringProperty("")
    body = StringProperty("")
    icon = StringProperty("")
    tone = StringProperty("primary")
    actions = ListProperty([])
    keep = ListProperty([])
    is_open = BooleanProperty(False)
    window = ObjectProperty(None, allownone=True)

    __events__ = ("on_action", "on_close")
    shown: list[EdgeDialog] = []  # noqa: RUF012  (all that are open, for close_all)

    def on_kv_post(self, _base: Any) -> None:
        """Make the buttons once the kv rule made the sheet."""
        self.fbind("actions", self._fill)
        self._fill()

    def add_widget(self, widget: Widget, *args: Any, **kwargs: Any) -> None:
        """Put a widget under the words."""
        if isinstance(widget, DialogCard) or "content" not in self.ids:
            super().add_widget(widget, *args, **kwargs)
        else:
            self.ids.content.add_widget(widget, *args, **kwargs)

    def _fill(self, *_: object) -> None:
        self.ids.foot.clear_widgets()
        for key, words, kind in self.actions:
            button = EdgeButton(text=words, kind=kind)
            button.bind(on_release=lambda _button, key=key: self.act(key))
            self.ids.foot.add_widget(button)

    def open(self) -> None:
        """Show it above all and take the keyboard."""
        if self.is_open:
            return
        from kivy.core.window import Window

        self.window = Window
        self.size = Window.size
        Window.bind(size=self._resize)
        Window.add_widget(self)
        EdgeDialog.shown.append(self)
        self.is_open = True
        ring.push(self)

    def close(self) -> None:
        """Take it away without an action."""
        if not self.is_open:
            return
        self.is_open = False
        EdgeDialog.shown.remove(self)
        self.window.unbind(size=self._resize)
        self.window.remove_widget(self)
        for field in _fields(self):
            field.focus = False
        ring.pop(self)
        self.dispatch("on_close")

    def _resize(self, _window: Any, size: tuple[float, float]) -> None:
        self.size = size

    def act(self, key: str) -> None:
        """Take an action, as its button does."""
        if key not in self.keep:
            self.close()
        self.dispatch("on_action", key)

    def escape(self) -> None:
        """The Esc key."""
        self.act("cancel" if any(action[0] == "cancel" for action in self.actions) else "")

    @classmethod
    def close_all(cls) -> None:
        """Close every open dialog: the app is being locked."""
        for dialog in tuple(reversed(cls.shown)):
            dialog.close()

    def on_action(self, key: str) -> None:
        """Default handler: nothing."""

    def on_close(self) -> None:
        """Default handler: nothing."""


def _fields(widget: Widget) -> list[EdgeInput]:
    found = [widget] if isinstance(widget, EdgeInput) else []
    return found + [field for child in widget.children for field in _fields(child)]


class PadKey(Touchable, EdgeFace):
    """One key of the pad."""

    key = StringProperty("")
    main = BooleanProperty(False)


class EdgeNumberPad(BoxLayout):
    """Own number pad: the on-screen keyboard would cover half the screen. on_digit(d), on_delete, on_enter.

    decimal: with a key for the decimal sign (on_digit('.')). A physical keyboard types into it while it is shown and no
    text field has the cursor (listens).
    """

    decimal = BooleanProperty(False)
    key_height = NumericProperty(56)
    listens = BooleanProperty(True)

    __events__ = ("on_digit", "on_delete", "on_enter")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._window: Any = None
        self.fbind("decimal", self._fill)
        self.fbind("parent", self._listen)
        self._fill()

    def _fill(self, *_: object) -> None:
        self.clear_widgets()
        rows = [["1", "2", "3"], ["4", "5", "6"], ["7", "8", "9"]]
        rows += [[".", "0", "delete"], ["enter"]] if self.decimal else [["delete", "0", "enter"]]
        for keys in rows:
            row = BoxLayout(spacing=dp(8), size_hint_y=None, height=self.key_height)
            self.fbind("key_height", row.setter("height"))
            self.add_widget(row)
            for key in keys:
                icon = {"delete": "backspace", "enter": "check"}.get(key, "")
                pad_key = PadKey(key=key, text="" if icon else key, icon=icon, main=key == "enter")
                pad_key.bind(on_release=lambda pad_key: self.press(pad_key.key))
                row.add_widget(pad_key)

    def press(self, key: str) -> None:
        """A key: a digit, '.', 'delete' or 'enter'."""
        if self.disabled:
            return
        if key == "delete":
            self.dispatch("on_delete")
        elif key == "enter":
            self.dispatch("on_enter")
        else:
            self.dispatch("on_digit", key)

    def _listen(self, *_: object) -> None:
        if self._window is not None:
            self._window.unbind(on_key_down=self._typed)
            self._window = None
        if self.parent is not None:
            from kivy.core.window import Window

            self._window = Window
            Window.bind(on_key_down=self._typed)

    def _typed(self, _window: Any, key: int, _scan: int, _text: str | None, modifiers: list[str]) -> bool:
        if not self.listens or self.disabled or self.get_root_window() is None:
            return False
        if isinstance(ring.current, EdgeInput) or (ring.scopes and not _inside(self, ring.scopes[-1])):
            return False
        if 48 <= key <= 57 or 256 <= key <= 265:
            self.press(str(key - 48 if key <= 57 else key - 256))
        elif key in (46, 44, 266) and self.decimal:
            self.press(".")
        elif key == 8:
            self.press("delete")
        elif key in (13, 271) and ring.current is None:
            self.press("enter")
        else:
            return False
        return True

    def on_digit(self, digit: str) -> None:
        """Default handler: nothing."""

    def on_delete(self) -> None:
        """Default handler: nothing."""

    def on_enter(self) -> None:
        """Default handler: nothing."""


def _inside(widget: Widget, scope: Widget) -> bool:
    while widget is not None and widget is not widget.parent:
        if widget is scope:
            return True
        widget = widget.parent
    return False


class EdgePinDots(Widget):
    """How many digits of a PIN are typed, never which."""

    count = NumericProperty(6)
    filled = NumericProperty(0)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("count", "filled", "pos", "size"):
            self.fbind(name, self._draw)
        theme.bind(overlay=self._draw)
        self._draw()

    def _draw(self, *_: object) -> None:
        self.canvas.clear()
        size = dp(14)
        with self.canvas:
            for place in range(int(self.count)):
                x = self.center_x + (place - (self.count - 1) / 2) * dp(28) - size / 2
                Color(rgba=theme.outline)
                SmoothEllipse(pos=(x, self.center_y - size / 2), size=(size, size))
                if place >= self.filled:
                    Color(rgba=theme.surface)
                    SmoothEllipse(pos=(x + dp(2), self.center_y - size / 2 + dp(2)), size=(size - dp(4), size - dp(4)))
                else:
                    Color(rgba=theme.primary)
                    SmoothEllipse(pos=(x, self.center_y - size / 2), size=(size, size))


load_kv(__file__)
