"""Where a PIN is typed: words and dots beside the number pad, or a field for a keyboard. Used by lock and settings."""

from __future__ import annotations

from kivy.clock import Clock
from kivy.metrics import dp
from kivy.properties import BooleanProperty, ObjectProperty, StringProperty
from kivy.uix.gridlayout import GridLayout

from edge.app.presenters.pin_entry import PinView
from edge.app.ui.kit import EdgeRow, fold, load_kv

DOTS = 6
SIDE_BY_SIDE_DP = 620
LEVELS = {
    0: ("alert-circle", "danger"),
    1: ("check", "ink_2"),
    2: ("check-circle", "support"),
    3: ("check-circle", "support"),
}
TONES = {"danger": ("alert-circle", "danger"), "support": ("check-circle", "support"), "": ("information", "ink_2")}


class IconWords(EdgeRow):
    """An icon and words that mean the same; nothing at all without words."""

    icon = StringProperty("")
    text = StringProperty("")
    tone = StringProperty("ink")
    kind = StringProperty("body")
    medium = BooleanProperty(False)

    def say(self, text: str, icon: str = "", tone: str = "ink") -> None:
        """Show other words."""
        self.text, self.icon, self.tone = text, icon, tone

    def clear_text(self) -> None:
        """Nothing."""
        self.text = self.icon = ""


class PinPanel(GridLayout):
    """Draws a PinView. target: what takes digit, back, type, use_keyboard and enter.

    It stands in two columns where there is room, else one under another. danger: Enter destroys something.
    """

    target = ObjectProperty(None, allownone=True)
    keyboard = BooleanProperty(False)
    danger = BooleanProperty(False)

    def on_kv_post(self, _base: object) -> None:
        """Enter in the field is Enter."""
        self.ids.field.ids.input.bind(on_text_validate=self._entered)
        fold(self.ids.field, self.keyboard)

    def _entered(self, *_: object) -> None:
        if self.target is not None:
            self.target.enter()

    def show(self, view: PinView) -> None:
        """Draw a snapshot."""
        ids = self.ids
        ids.title.text, ids.text.text = view.title, view.text
        self.keyboard = view.keyboard
        ids.dots.count, ids.dots.filled = max(DOTS, view.typed), view.typed
        for part in (ids.dots, ids.pad):
            fold(part, not view.keyboard)
        fold(ids.field, view.keyboard)
        ids.field.disabled = not view.keyboard or not view.can_type
        if view.typed == 0 and ids.field.text:
            ids.field.clear_text()
        icon, tone = LEVELS.get(view.level, ("", "ink_2"))
        ids.strength.say(view.strength, icon, tone)
        icon, tone = TONES[view.tone]
        if view.busy:
            ids.message.say(view.busy, "clock", "ink_2")
        else:
            ids.message.say(view.message if view.message != view.strength else "", icon, tone)
        ids.pad.disabled = not view.can_type or view.keyboard
        ids.enter.text = view.enter
        ids.enter.disabled = not view.can_enter

    def columns(self, width: float) -> int:
        """How many columns fit."""
        return 2 if width >= dp(SIDE_BY_SIDE_DP) else 1

    def typed(self, text: str) -> None:
        """The keyboard field changed."""
        if self.keyboard and self.target is not None:
            self.target.type(text)

    def swap(self) -> None:
        """Pad or keyboard."""
        self.target.use_keyboard(not self.keyboard)
        Clock.schedule_once(self._put_cursor, 0)  # the end of this touch would take it away again

    def _put_cursor(self, *_: object) -> None:
        self.ids.field.ids.input.focus = self.keyboard and self.get_root_window() is not None

    def clear_text(self) -> None:
        """Nothing that was typed stays in the field."""
        self.ids.field.clear_text()
        self.ids.dots.filled = 0


load_kv(__file__)
