"""Where a person types: one line or more, with label, hint and error; and the search field."""

from __future__ import annotations

import contextlib
from typing import Any

from kivy.metrics import dp
from kivy.properties import BooleanProperty, NumericProperty, ObjectProperty, StringProperty
from kivy.uix.behaviors import FocusBehavior
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.textinput import TextInput

from edge.app.ui.kit.base import EdgeSurface
from edge.app.ui.kit.focus import ENTER, ESCAPE, TAB, ring
from edge.app.ui.kit.fold import fold
from edge.app.ui.kit.load import load_kv


class EdgeInput(TextInput):
    """The bare field inside the others. Tab leaves it; its cursor does not blink."""

    takes_focus = True

    def keyboard_on_key_down(self, window: Any, keycode: tuple[int, str], text: str, modifiers: list[str]) -> bool:
        """Tab moves the ring on; everything else is typed."""
        if keycode[0] == TAB:
            ring.current = self
            ring.move(-1 if "shift" in modifiers else 1)
            return True
        if keycode[0] == ESCAPE:
            self.focus = False
            return False
        return bool(super().keyboard_on_key_down(window, keycode, text, modifiers))


class FieldBox(EdgeSurface, BoxLayout):
    """The bordered box of a field."""


class _Typed:
    """What EdgeField and EdgeSearch share: `text` follows the input, `show` sets it unless somebody is typing."""

    ids: Any
    fbind: Any

    def _follow(self) -> None:
        field = self.ids.input
        field.text = self.text
        # Kivy never frees an input that was drawn. It holds this box, whose rule it still follows, and nothing more:
        # bind bound methods to a field, which are held weakly.
        field.fbind("text", lambda _field, value: setattr(self, "text", value))
        self.fbind("text", self._put)

    def _put(self, _widget: Any, value: str) -> None:
        if self.ids.input.text != value:
            self.ids.input.text = value

    @property
    def typing(self) -> bool:
        """Whether the cursor is in it."""
        return bool(self.ids.input.focus)

    def show(self, text: str) -> None:
        """Show what the presenter holds, but never under the fingers of who is typing."""
        if not self.typing:
            self.text = text

    def clear_text(self) -> None:
        """Empty it, with everything that undo inside the field would bring back."""
        self.text = ""
        self.ids.input.focus = False
        self.ids.input.cancel_selection()
        self.ids.input.reset_undo()


class EdgeField(_Typed, BoxLayout):
    """A field with label, hint and error. on_commit(text) at Enter or when it is left, if it was changed.

    lines: how many it shows at least when multiline. input_filter: None, 'int' or 'float'. help: what is said below it
    while there is no error. steady: the line for both keeps its place, so that nothing moves while somebody types.
    """

    label = StringProperty("")
    text = StringProperty("")
    hint = StringProperty("")
    error = StringProperty("")
    help = StringProperty("")
    help_icon = StringProperty("information")
    steady = BooleanProperty(False)
    multiline = BooleanProperty(False)
    password = BooleanProperty(False)
    lines = NumericProperty(3)
    input_filter = ObjectProperty(None, allownone=True)

    __events__ = ("on_commit",)

    def __init__(self, **kwargs: Any) -> None:
        self._committed = ""
        super().__init__(**kwargs)

    def on_kv_post(self, _base: Any) -> None:
        """Join it to its input, which the kv rule made."""
        self._committed = self.text
        self._follow()
        self.ids.input.bind(focus=self._focused, on_text_validate=self._entered)

    def _entered(self, *_: object) -> None:
        self.commit()

    def box_height(self, minimum: float, font_px: float) -> float:
        """Height of the box for the text that is in it."""
        if not self.multiline:
            return max(dp(48), font_px * 1.25 + dp(20))
        return max(self.lines * font_px * 1.25 + dp(24), minimum + dp(4))

    def _focused(self, _field: Any, focused: bool) -> None:
        if focused:
            self._committed = self.text
        else:
            self.commit()

    def commit(self) -> None:
        """Tell the text if it differs from the last one told."""
        if self.text != self._committed:
            self._committed = self.text
            # Kivy takes the focus from a field also after its form was closed and freed: then nobody is left to tell.
            with contextlib.suppress(ReferenceError):
                self.dispatch("on_commit", self.text)

    def show(self, text: str) -> None:
        """Show what the presenter holds, unless somebody is typing."""
        if not self.typing:
            self.text = self._committed = text

    def clear_text(self) -> None:
        """Empty it without a commit."""
        self._committed = self.help = ""
        super().clear_text()

    def on_commit(self, text: str) -> None:
        """Default handler: nothing."""


class EdgeSearch(_Typed, EdgeSurface, BoxLayout):
    """Search. `text` follows each letter. trailing: icon of a button at its end (microphone), on_trail.

    While there is text that button clears it. on_enter when Enter is pressed.
    """

    text = StringProperty("")
    hint = StringProperty("")
    trailing = StringProperty("")
    trailing_spoken = StringProperty("")

    __events__ = ("on_trail", "on_enter")

    def on_kv_post(self, _base: Any) -> None:
        """Join it to its input, which the kv rule made."""
        self._follow()
        self.ids.input.bind(on_text_validate=self._entered)
        button = self.ids.button
        button.bind(icon=lambda button, icon: fold(button, bool(icon)))
        fold(button, bool(button.icon))

    def _entered(self, *_: object) -> None:
        self.dispatch("on_enter")

    def on_touch_down(self, touch: Any) -> bool:
        """The whole field takes the cursor, not only its words."""
        if super().on_touch_down(touch):
            return True
        if self.collide_point(*touch.pos) and not self.disabled and not touch.is_mouse_scrolling:
            self.ids.input.focus = True
            FocusBehavior.ignored_touch.append(touch)  # else its end, which is beside the input, takes the cursor away
            return True
        return False

    def clear_or_trail(self) -> None:
        """The button at the end."""
        if self.text:
            self.text = ""
        else:
            self.dispatch("on_trail")

    def on_trail(self) -> None:
        """Default handler: nothing."""

    def on_enter(self) -> None:
        """Default handler: nothing."""


__all__ = ["ENTER", "EdgeField", "EdgeInput", "EdgeSearch", "FieldBox"]

load_kv(__file__)
