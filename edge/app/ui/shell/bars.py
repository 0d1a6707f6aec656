"""The parts of the shell: patient bar, rail, engine line, status bar. Each draws a part of ShellView."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kivy.clock import Clock
from kivy.metrics import dp
from kivy.properties import BooleanProperty, NumericProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.widget import Widget

from edge.app.presenters.shell import EngineLine, Place, ShellView
from edge.app.presenters.shell import PatientBar as Patient
from edge.app.ui.kit import (
    EdgeButton,
    EdgeFace,
    EdgeFlow,
    EdgeIcon,
    EdgeLabel,
    EdgePill,
    EdgeRow,
    EdgeScroll,
    EdgeSpace,
    EdgeSurface,
    Touchable,
    load_kv,
)
from edge.app.ui.kit.base import text_width
from edge.app.ui.theme import MEDIUM, theme

NAME_LEAST_DP = 120
# tone of ShellView -> colour token on the bars
TOKENS = {
    "plain": "ink_2",
    "info": "primary",
    "support": "support",
    "warning": "against",
    "danger": "danger",
    "missing": "missing",
}


class Bar(BoxLayout):
    """A band over the whole width."""


class BarText(EdgeFace):
    """Words that stand in line with pills."""


class PatientBar(Bar):
    """Who is open. One line when all fits; else the name and the buttons, and below them the rest.

    The name is cut first; age, bed and allergies never are.
    """

    def __init__(self, on_night: Callable[[], None], on_lock: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name = EdgeLabel(kind="heading", bold=True, elide=True, size_hint_x=None)
        self.details = BarText()
        self.allergy = EdgePill(min_height=dp(40))
        self.offline = EdgePill(icon="wifi-off", tone="support", min_height=dp(40))
        self.night = EdgeButton(on_release=lambda _: on_night())
        self.lock = EdgeButton(icon="lock", on_release=lambda _: on_lock())
        self.space = EdgeSpace()
        self._first, self._second = EdgeRow(spacing=dp(12), least=dp(48)), EdgeFlow(spacing=dp(12))
        self._soon = Clock.create_trigger(self.arrange, -1)
        for name in ("width",):
            self.fbind(name, self._soon)
        for part in (self.details, self.allergy, self.offline, self.night, self.lock):
            part.fbind("width", self._soon)
        self.name.fbind("font_size", self._soon)
        self.add_widget(self._first)

    def show(self, patient: Patient | None, view: ShellView) -> None:
        """Draw who is open, or that nobody is."""
        self.name.text = theme.tr("shell.no_patient") if patient is None else patient.name
        self.name.tone = "ink_2" if patient is None else "ink"
        self.details.text = "" if patient is None else "   ".join(patient.details)
        self.allergy.text = "" if patient is None else patient.allergy
        self.allergy.icon = "" if patient is None else patient.allergy_icon
        self.allergy.tone = "plain" if patient is None else patient.allergy_tone
        self.offline.text = theme.tr("shell.offline")
        self.night.text = theme.tr("shell.day" if view.night else "shell.night")
        self.night.icon = "white-balance-sunny" if view.night else "weather-night"
        self.lock.text = theme.tr("shell.lock")
        self.arrange()

    def arrange(self, *_: object) -> None:
        """One line or two."""
        open_now = bool(self.allergy.text)
        self.allergy.most_width = max(dp(200), self.width * 0.34)
        for part in (self.details, self.allergy, self.offline, self.night, self.lock):
            part.arrange()
        beside = [self.details, self.allergy] if open_now else []
        right = [*beside[1:], self.offline, self.night, self.lock]
        fixed = sum(part.width for part in {*beside, *right}) + dp(12) * (len(right) + len(beside[:1]) + 1) + dp(32)
        natural = self.name.natural_width + dp(2)
        two = fixed + min(natural, dp(NAME_LEAST_DP) * theme.scale) > self.width
        first: list[Widget] = [self.name, self.space, self.night, self.lock]
        second: list[Widget] = [*beside, self.offline]
        if not two:
            first, second = [self.name, *beside[:1], self.space, *right], []
        else:
            self.allergy.most_width = self.width - dp(32)
        used = sum(part.width for part in first if part not in (self.name, self.space)) + dp(12) * (len(first) - 1)
        self.name.width = max(min(natural, self.width - dp(32) - used), dp(40))
        _fill(self._first, first)
        _fill(self._second, second)
        if bool(second) != (self._second.parent is not None):
            (self.add_widget if second else self.remove_widget)(self._second)


def _fill(box: Any, wanted: Sequence[Widget]) -> None:
    if list(reversed(box.children)) == list(wanted):
        return
    box.clear_widgets()
    for widget in wanted:
        if widget.parent is not None:
            widget.parent.remove_widget(widget)
        widget.pos_hint = {}
        box.add_widget(widget)


class RailItem(Touchable, EdgeSurface, BoxLayout):
    """One place to go to. A blocked one can be tapped: it says why."""

    name = StringProperty("")
    text = StringProperty("")
    icon = StringProperty("")
    selected = BooleanProperty(False)
    worded = BooleanProperty(True)


class _Places:
    """What the rail and the bottom rail share."""

    items: dict[str, RailItem]

    def show(self, places: Sequence[Place]) -> None:
        """Draw the entries; they are made once."""
        if not self.items:
            self.make(places)
        for place in places:
            item = self.items[place.name]
            item.name, item.text, item.icon = place.name, place.words, place.icon
            item.selected, item.reason = place.selected, place.reason
        self.measure()

    def make(self, places: Sequence[Place]) -> None:
        """Make the entries."""

    def measure(self, *_: object) -> None:
        """Fit the words."""


class Rail(_Places, BoxLayout):
    """The places at the left edge, scrolled when the type is large."""

    widest = NumericProperty(0)

    def __init__(self, on_go: Callable[[str], None], **kwargs: Any) -> None:
        self.items, self._on_go = {}, on_go
        super().__init__(**kwargs)
        self._scroll, self._column = EdgeScroll(bar_margin=0), BoxLayout(orientation="vertical", spacing=dp(8))
        self._column.size_hint_y = None
        self._column.fbind("minimum_height", self._grow)
        self._scroll.fbind("height", self._grow)
        self._scroll.add_widget(self._column)
        self.add_widget(self._scroll)
        theme.bind(tiny=self.measure)

    def make(self, places: Sequence[Place]) -> None:
        """Make the entries; those at the foot stand at the bottom."""
        foot = False
        for place in places:
            if place.at_foot and not foot:
                self._column.add_widget(EdgeSpace(size_hint_y=1))
                foot = True
            item = self.items[place.name] = RailItem(on_release=lambda item: self._on_go(item.name))
            self._column.add_widget(item)

    def measure(self, *_: object) -> None:
        """As wide as the longest word."""
        self.widest = max((text_width(i.text, MEDIUM, theme.tiny) for i in self.items.values()), default=0)

    def _grow(self, *_: object) -> None:
        self._column.height = max(self._column.minimum_height, self._scroll.height)


class BottomRail(_Places, BoxLayout):
    """The places at the bottom edge of a narrow window. Without room for all words only the chosen one has its word."""

    def __init__(self, on_go: Callable[[str], None], **kwargs: Any) -> None:
        self.items, self._on_go = {}, on_go
        super().__init__(**kwargs)
        self.fbind("width", self.measure)
        theme.bind(tiny=self.measure)

    def make(self, places: Sequence[Place]) -> None:
        """Make the entries side by side."""
        for place in places:
            item = self.items[place.name] = RailItem(on_release=lambda item: self._on_go(item.name))
            self.add_widget(item)

    def measure(self, *_: object) -> None:
        """Words for all, or for none."""
        if not self.items:
            return
        cell = (self.width - dp(8) * len(self.items)) / len(self.items) - dp(4)
        widths = {name: text_width(item.text, MEDIUM, theme.tiny) for name, item in self.items.items()}
        all_fit = max(widths.values()) <= cell
        for item in self.items.values():
            item.worded = all_fit


class EngineBox(EdgeRow):
    """What the engine does, and its button (Stop is 56 dp). The button's place is kept, so that nothing moves."""

    words = StringProperty("")
    note = StringProperty("")
    icon = StringProperty("")
    tone_token = StringProperty("ink_2")
    fraction = NumericProperty(-1)

    def __init__(self, on_act: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.button = EdgeButton(big=True, kind="primary", kind_of_text="label", on_release=lambda _: on_act())
        self.add_widget(self.button)

    def show(self, line: EngineLine) -> None:
        """Draw it."""
        self.words, self.note, self.icon = line.words, line.note, line.icon
        self.tone_token = TOKENS[line.tone]
        self.fraction = -1 if line.fraction is None else line.fraction
        self.button.text = line.action_words
        self.button.icon = {"stop": "stop-circle", "restart": "refresh", "dismiss": "check"}.get(line.action, "")
        self.button.kind = "primary" if line.action == "stop" else "plain"
        self.button.disabled = not line.action
        self.button.opacity = 1 if line.action else 0
        self.button.min_width = dp(112) if line.action else 0


class StatusBar(Bar):
    """Privacy and rule, build and figures, engine. Three columns when wide, else one under another."""

    compact = BooleanProperty(False)

    def __init__(self, on_act: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.privacy = EdgeLabel(kind="tiny", tone="ink_2")
        self.rule = EdgeLabel(kind="tiny", tone="ink_2", medium=True)
        self.model = EdgeLabel(kind="tiny", tone="ink_2")
        self.figures = EdgeLabel(kind="tiny", tone="ink_2")
        self.mark = EdgeIcon(points=16, tone="ink_2")
        self.verified = EdgeLabel(kind="tiny", tone="ink_2")
        self.saving = EdgePill(tone="danger", icon="alert-octagon", opacity=0)
        self.engine = EngineBox(on_act)
        left, centre = (
            BoxLayout(orientation="vertical", spacing=dp(2)),
            BoxLayout(orientation="vertical", spacing=dp(2)),
        )
        for box in (left, centre):
            box.size_hint_y = None
            box.bind(minimum_height=box.setter("height"))
        self._left, self._centre = left, centre
        self._tested = EdgeRow(spacing=dp(4))
        self._tested.add_widget(self.mark)
        self._tested.add_widget(self.verified)
        for part in (self.privacy, self.rule):
            left.add_widget(part)
        for part in (self.model, self._tested):
            centre.add_widget(part)
        self._row = EdgeRow(spacing=dp(16))
        self.add_widget(self._row)
        self.fbind("compact", self._arrange)
        self._arrange()

    def show(self, view: ShellView) -> None:
        """Draw it."""
        self.privacy.text, self.rule.text = view.privacy, view.rule
        model = view.model
        words = theme.tr("shell.no_model") if model is None else f"{model.words} · {model.digest}"
        self.model.text = " · ".join((words, *view.figures))
        self.mark.icon = "" if model is None else model.verified_icon
        self.mark.tone = self.verified.tone = "ink_2" if model is None else TOKENS[model.verified_tone]
        self.verified.text = "" if model is None else model.verified
        self.saving.text = view.save_error
        self.saving.opacity = 1 if view.save_error else 0
        if bool(view.save_error) != (self.saving.parent is not None):
            if view.save_error:
                self.add_widget(self.saving, index=len(self.children))
            else:
                self.remove_widget(self.saving)
        self.engine.show(view.engine)

    def _arrange(self, *_: object) -> None:
        for part in (self._left, self._centre, self.engine):
            if part.parent is not None:
                part.parent.remove_widget(part)
        self._row.clear_widgets()
        if self.compact:
            self.engine.size_hint_x = 1
            self.add_widget(self.engine, index=len(self.children))
            for part in (self._left, self._centre):
                part.size_hint_x = 1
                self._row.add_widget(part)
        else:
            for part, share in ((self._left, 0.30), (self._centre, 0.36), (self.engine, 0.34)):
                part.size_hint_x = share
                self._row.add_widget(part)


load_kv(__file__)
