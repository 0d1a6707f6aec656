"""The exam: findings, eye, vital signs and history left, the ranked differential right (edge.app.presenters.exam)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from kivy.clock import Clock
from kivy.metrics import dp
from kivy.properties import ObjectProperty
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.scrollview import ScrollView
from kivy.uix.widget import Widget

from edge.app.i18n import tr
from edge.app.presenters.exam import ExamPresenter, ExamView, TabView
from edge.app.presenters.measures import MeasureView
from edge.app.ui.kit import EdgeButton, load_kv, ring
from edge.app.ui.kit.controls import EdgeTab
from edge.app.ui.screens.case import CaseScreen
from edge.app.ui.screens.entries import MeasureBox
from edge.app.ui.theme import theme
from edge.clinical.encounter.model import Eye

SEARCH_DP = 420  # from this width on, times the font scale, the search has room for its hint
MEASURE_DP = 208  # a stepper needs this much, times the font scale


class SystemTab(EdgeTab):
    """A system of the body, as wide as its words."""


class SystemStrip(ScrollView):
    """Tabs of the systems side by side; it scrolls sideways."""

    __events__ = ("on_select",)

    def show(self, tabs: tuple[TabView, ...]) -> None:
        """Draw the tabs; the selected one is brought into view."""
        row = self.ids.row
        if len(row.children) != len(tabs):
            row.clear_widgets()
            for _ in tabs:
                tab = SystemTab()
                tab.bind(on_release=lambda tab: self.dispatch("on_select", tab.key))
                row.add_widget(tab)
        for tab, view in zip(reversed(row.children), tabs, strict=True):
            words = f"{view.title}  {view.count}" if view.count else view.title
            if view.selected and not tab.selected:
                Clock.schedule_once(partial(self._reach, tab), 0)
            tab.key, tab.text, tab.selected = view.name, words, view.selected

    def _reach(self, tab: Widget, _dt: float) -> None:
        if self.ids.row.width > self.width and tab.parent is not None:
            self.scroll_to(tab, padding=dp(24), animate=False)

    def on_select(self, name: str) -> None:
        """Default handler: nothing."""


class ExamPane(BoxLayout):
    """The left pane."""

    presenter = ObjectProperty(None)

    def __init__(self, **kwargs: Any) -> None:
        self._boxes: dict[str, MeasureBox] = {}
        self._lit_number = 0
        super().__init__(**kwargs)

    def on_kv_post(self, _base: Any) -> None:
        """The parts are there."""
        self.ids.strip.bind(on_select=lambda _strip, name: self._tab(name))
        self.fbind("width", self._fit)
        theme.bind(tiny=self._fit)
        self._fit()

    def _fit(self, *_: object) -> None:
        """Undo and redo beside the search, or under it where the words would be cut."""
        tools = self.ids.tools.__self__  # ids hold weakly: between two parents somebody must keep it
        beside = self.width >= dp(SEARCH_DP) * max(1.0, theme.scale)
        wanted = (self.ids.search_row if beside else self.ids.tools_row).__self__
        if tools.parent is not wanted and tools.parent is not None:  # None: the screen was taken apart
            tools.parent.remove_widget(tools)
            wanted.add_widget(tools)

    @staticmethod
    def measure_columns(width: float, scale: float) -> int:
        """How many steppers stand side by side."""
        return 2 if width >= 2 * dp(MEASURE_DP) * max(1.0, scale) + dp(16) else 1

    # ---- what a finger does ---------------------------------------------------------------------------------

    def typed(self, text: str) -> None:
        """Each letter of the search."""
        if text != self.presenter.view.query:
            self.presenter.find(text)

    def entered(self) -> None:
        """Enter: the only finding that fits is tapped, words that fit none are added as they are."""
        view: ExamView = self.presenter.view
        if len(view.chips) == 1 and not view.signed:
            self.presenter.tap(view.chips[0])
        elif not view.chips and view.add and not view.signed:
            self.presenter.add_text()

    def choose_eye(self, key: str) -> None:
        """The eye of the next finding."""
        self.presenter.choose_eye(Eye(key))

    def add_history(self) -> None:
        """Add what is typed."""
        field = self.ids.history_field
        self.presenter.add_history(field.text)
        field.clear_text()

    def keep_typed(self) -> None:
        """The screen locks: what was typed into the history is kept."""
        if self.ids.history_field.text.strip():
            self.add_history()

    def _tab(self, name: str) -> None:
        self.ids.search.clear_text()
        self.presenter.choose_tab(name)

    # ---- drawing --------------------------------------------------------------------------------------------

    def render(self, view: ExamView) -> None:
        """Draw a snapshot; only what changed is touched."""
        ids, enabled = self.ids, view.open and not view.signed
        signed = tr("exam.signed") if view.signed else ""
        ids.messages.show([(signed, "info", "lock"), (view.to_confirm, "warning", "microphone")])
        if ids.search.text != view.query:
            ids.search.text = view.query
        ids.search.disabled = not enabled
        ids.strip.show(view.tabs)
        ids.found.text = view.heading
        ids.chips.show(view.chips, enabled)
        self._adds(view, enabled)
        ids.undo.disabled, ids.redo.disabled = not view.can_undo, not view.can_redo
        ids.eye.options = [(eye.value, tr(f"exam.eye_{eye.value.lower()}")) for eye in (Eye.OD, Eye.OS, Eye.OU)]
        ids.eye.selected = view.eye.value
        self._measures(view.vitals, enabled)
        ids.no_history.text = "" if view.history else tr("exam.history_empty")
        ids.history.show(view.history, enabled)
        ids.history_field.disabled = ids.history_add.disabled = not enabled
        if view.lit_number != self._lit_number:
            self._lit_number = view.lit_number
            # After the next layout, so that the place is known.
            Clock.schedule_once(lambda _dt: self.light(view.lit), 0.05)

    def _adds(self, view: ExamView, enabled: bool) -> None:
        """Buttons under the chips: all of a system, or what was typed as it is."""
        add, presenter = self.ids.add, self.presenter
        wanted: list[tuple[str, str, Callable[[], None]]] = []
        if view.more:
            wanted.append((view.more, "chevron-down", presenter.show_all))
        if view.add and enabled:
            wanted.append((view.add_words, "plus", presenter.add_text))
            wanted.append((view.add_eye_words, "plus", partial(presenter.add_text, True)))
        if [one.text for one in reversed(add.children)] == [one[0] for one in wanted]:
            return
        add.clear_widgets()
        for words, icon, press in wanted:
            button = EdgeButton(text=words, icon=icon, kind="quiet" if press == presenter.show_all else "plain")
            button.bind(on_release=lambda _button, press=press: press())
            add.add_widget(button)

    def _measures(self, vitals: tuple[MeasureView, ...], enabled: bool) -> None:
        for view in vitals:
            box = self._boxes.get(view.name)
            if box is None:
                box = self._boxes[view.name] = MeasureBox()
                box.follow(self.presenter.measures, view.name)
                self.ids.measures.add_widget(box)
            box.show(view, enabled)

    def light(self, key: str) -> None:
        """Bring what a jump points at into sight, with the keyboard's ring around it; nothing blinks."""
        if key == "search":
            self.ids.scroll.show(self.ids.search)
            self.ids.search.ids.input.focus = True
            return
        if key == "history":
            self.ids.scroll.show(self.ids.history_card)
            self.ids.history_field.ids.input.focus = True
            return
        box = self._boxes.get(key)
        widget = box.target if box else self.ids.chips.row(key) or self.ids.history.row(key)
        if widget is not None:
            self.ids.scroll.show(widget)
            ring.move_to(widget)


class ExamScreen(CaseScreen):
    """Exam left, ranked differential right."""

    name = "exam"

    def __init__(self, presenter: ExamPresenter, workspace: Any, **kwargs: Any) -> None:
        super().__init__(presenter, workspace, **kwargs)

    def render(self, view: ExamView) -> None:
        """See EdgeScreen."""
        self.ids.exam.render(view)


load_kv(__file__)
