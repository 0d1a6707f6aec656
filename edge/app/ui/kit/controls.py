"""What a value is chosen or changed with: stepper, segment, tabs, switch; and bar and empty state."""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock
from kivy.metrics import dp
from kivy.properties import (
    BooleanProperty,
    ListProperty,
    NumericProperty,
    OptionProperty,
    StringProperty,
)
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.widget import Widget

from edge.app.ui.kit.base import EdgeSurface, Touchable, text_width
from edge.app.ui.kit.face import EdgeFace, EdgeIconButton
from edge.app.ui.kit.load import load_kv
from edge.app.ui.theme import MEDIUM, theme

HOLD_S, REPEAT_S, BIG_AFTER = 0.4, 0.1, 10


class EdgeBar(Widget):
    """A share as a bar, 0 to 1. It never stands without its figure."""

    fraction = NumericProperty(0.0)


class EdgeSegmentItem(Touchable, EdgeFace):
    """One choice of a segment."""

    key = StringProperty("")
    selected = BooleanProperty(False)
    own_icon = StringProperty("")
    checked = BooleanProperty(True)


class EdgeSegment(BoxLayout):
    """One of a few. options: [(key, words)] or [(key, words, icon)]; selected: a key or ''. on_select(key) on a tap.

    Goes one under another where the words do not fit side by side. It does not select by itself: the presenter does.
    """

    options = ListProperty([])
    selected = StringProperty("")
    stacked = BooleanProperty(False)

    __events__ = ("on_select",)

    def __init__(self, **kwargs: Any) -> None:
        self._fill_soon = Clock.create_trigger(self._fill, -1)
        self._stack_soon = Clock.create_trigger(self._stack, -1)
        super().__init__(**kwargs)
        self.fbind("options", self._fill_soon)
        self.fbind("selected", self._mark)
        self.fbind("width", self._stack_soon)
        theme.bind(tiny=self._restack)
        self._fill()

    def _fill(self, *_: object) -> None:
        while len(self.children) > len(self.options):
            self.remove_widget(self.children[0])
        while len(self.children) < len(self.options):
            item = EdgeSegmentItem()
            item.bind(on_release=lambda item: self.dispatch("on_select", item.key))
            self.add_widget(item)
        for item, option in zip(reversed(self.children), self.options, strict=True):
            item.key, item.text = option[0], option[1]
            item.own_icon = option[2] if len(option) > 2 else ""
            item.disabled = self.disabled
        self._mark()
        self._stack()

    def _mark(self, *_: object) -> None:
        for item in self.children:
            item.selected = item.key == self.selected

    def _restack(self, *_: object) -> None:
        # A method of its own: the theme keeps methods weakly and would keep a trigger for ever.
        self._stack_soon()

    def _stack(self, *_: object) -> None:
        if not self.options:
            return
        widest = max(text_width(option[1], MEDIUM, theme.label) for option in self.options)
        icon = 24 * min(theme.scale, 1.6)
        cell = (self.width - dp(8) * (len(self.options) - 1)) / len(self.options)
        self.stacked = self.width > dp(101) and widest + dp(18) + dp(icon) > cell

    def on_select(self, key: str) -> None:
        """Default handler: nothing."""


class EdgeTab(Touchable, EdgeFace):
    """One tab."""

    key = StringProperty("")
    selected = BooleanProperty(False)


class EdgeTabs(BoxLayout):
    """Tabs over a pane. options: [(key, words)]; selected: a key. on_select(key) on a tap; it selects by itself."""

    options = ListProperty([])
    selected = StringProperty("")

    __events__ = ("on_select",)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fbind("options", self._fill)
        self.fbind("selected", self._mark)
        self._fill()

    def _fill(self, *_: object) -> None:
        while len(self.children) > len(self.options):
            self.remove_widget(self.children[0])
        while len(self.children) < len(self.options):
            tab = EdgeTab()
            tab.bind(on_release=lambda tab: self._choose(tab.key))
            self.add_widget(tab)
        for tab, (key, words) in zip(reversed(self.children), self.options, strict=True):
            tab.key, tab.text = key, words
        self._mark()

    def _mark(self, *_: object) -> None:
        for tab in self.children:
            tab.selected = tab.key == self.selected

    def _choose(self, key: str) -> None:
        self.selected = key
        self.dispatch("on_select", key)

    def on_select(self, key: str) -> None:
        """Default handler: nothing."""


class EdgeSwitch(Touchable, EdgeSurface, BoxLayout):
    """On or off, with its words and the state as a word. on_toggle(wanted) on a tap; the presenter sets `active`."""

    text = StringProperty("")
    note = StringProperty("")
    active = BooleanProperty(False)

    __events__ = ("on_toggle",)

    def on_release(self) -> None:
        """Ask for the other state."""
        self.dispatch("on_toggle", not self.active)

    def on_toggle(self, active: bool) -> None:
        """Default handler: nothing."""


class StepButton(EdgeIconButton):
    """A round button that repeats while it is held: on_step(big); after ten repeats the steps are big."""

    __events__ = ("on_step",)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._repeats = 0
        self._timer: Any = None

    def on_press(self) -> None:
        """One step now, more while held."""
        self.cancel()
        self.dispatch("on_step", False)
        self._timer = Clock.schedule_once(self._repeat, HOLD_S)

    def on_release(self) -> None:
        """Stop repeating."""
        self.cancel()

    def on_state(self, widget: Any, state: str) -> None:
        """Stop also when the finger slid off or the touch was taken over by scrolling."""
        super().on_state(widget, state)
        if state == "normal":
            self.cancel()

    def _repeat(self, _dt: float) -> None:
        if self.disabled or self.get_root_window() is None:
            self.cancel()
            return
        self._repeats += 1
        self._timer = Clock.schedule_once(self._repeat, REPEAT_S)
        self.dispatch("on_step", self._repeats > BIG_AFTER)

    def cancel(self) -> None:
        """Forget the held finger."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._repeats = None, 0

    def on_step(self, big: bool) -> None:
        """Default handler: nothing."""


class StepperValue(Touchable, EdgeSurface, BoxLayout):
    """Name and figure of a stepper; a tap asks for the number pad."""

    text = StringProperty("")


class EdgeStepper(BoxLayout):
    """A measured value. on_step(direction, big) for minus and plus, on_edit when the figure is tapped.

    grade: normal, low, high or critical; beside the colour it has an icon. value_text '' is not recorded.
    """

    label = StringProperty("")
    value_text = StringProperty("")
    unit = StringProperty("")
    grade = OptionProperty("normal", options=("normal", "low", "high", "critical"))
    stacked = BooleanProperty(False)

    __events__ = ("on_step", "on_edit")

    def __init__(self, **kwargs: Any) -> None:
        self._stack_soon = Clock.create_trigger(self._stack, -1)
        super().__init__(**kwargs)
        for name in ("width", "label", "value_text", "unit"):
            self.fbind(name, self._stack_soon)
        theme.bind(tiny=self._restack)

    def _restack(self, *_: object) -> None:
        self._stack_soon()

    def _stack(self, *_: object) -> None:
        empty = text_width(theme.tr("kit.not_recorded"), "Roboto", theme.label)
        figure = empty
        if self.value_text:
            figure = text_width(self.value_text, "Roboto", theme.title, True) + dp(4)
            figure += text_width(self.unit, "Roboto", theme.tiny)
            figure += dp(4) + dp(16) * min(theme.scale, 1.6) if self.grade != "normal" else 0
        name = text_width(self.label, "Roboto", theme.tiny) * 0.6  # a name may take two lines
        self.stacked = self.width > dp(101) and max(figure, name) > self.width - dp(112)

    @staticmethod
    def tone_of(grade: str, value_text: str) -> str:
        """Colour token of the figure."""
        if not value_text:
            return "ink_2"
        return {"normal": "ink", "low": "against", "high": "against", "critical": "danger"}[grade]

    @staticmethod
    def icon_of(grade: str, value_text: str) -> str:
        """Icon beside the figure."""
        return (
            {"normal": "", "low": "chevron-down", "high": "chevron-up", "critical": "alert"}[grade]
            if value_text
            else ""
        )

    def on_step(self, direction: int, big: bool) -> None:
        """Default handler: nothing."""

    def on_edit(self) -> None:
        """Default handler: nothing."""


class EdgeEmpty(BoxLayout):
    """Nothing here yet: what it is and what to do. on_action when it has a `command` and that is tapped."""

    icon = StringProperty("information")
    title = StringProperty("")
    text = StringProperty("")
    command = StringProperty("")

    __events__ = ("on_action",)

    def on_action(self) -> None:
        """Default handler: nothing."""


load_kv(__file__)
