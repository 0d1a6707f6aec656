"""The base of every screen: two panes or tabs, and one drawing a frame however often the presenter changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kivy.clock import Clock
from kivy.metrics import dp
from kivy.properties import BooleanProperty, ListProperty, NumericProperty, ObjectProperty
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.stencilview import StencilView
from kivy.uix.widget import Widget

from edge.app.ui.kit.controls import EdgeTabs
from edge.app.ui.kit.dialog import EdgeDialog
from edge.app.ui.kit.emptying import empty
from edge.app.ui.kit.let_go import let_go
from edge.app.ui.kit.load import load_kv
from edge.app.ui.theme import theme
from edge.app.ui.tokens import WIDE

LEFT_SHARE = 0.42
LARGE_TYPE = 1.3  # font scale from which two panes need more room


def wide_from() -> float:
    """Pixels of width from which two panes stand side by side: 840 dp, more with large type."""
    return float(dp(WIDE) * max(1.0, theme.scale / LARGE_TYPE))


class EdgePane(BoxLayout):
    """One of the two panes of a screen."""


class PaneBox(StencilView, BoxLayout):
    """Holds the panes and draws nothing beyond itself."""


class EdgeScreen(BoxLayout):
    """A screen over its presenter.

    In kv its EdgePane children are the panes: two stand side by side (42/58) from 840 dp of width, more where the type
    is large, and are tabs below that, with the titles in `panes`; one alone takes the whole width. Other children stand
    above the panes. `pane` is the tab that is shown when narrow: set it to lead the reader there (`self.pane = 1`).

    A subclass draws in `render(view)`, which is called at most once a frame, only while the screen is shown, and only
    with another view than the last one. It may extend on_show, on_hide and clear_text.
    """

    wide = BooleanProperty(True)
    panes = ListProperty([])
    pane = NumericProperty(0)
    left = ObjectProperty(None, allownone=True)
    right = ObjectProperty(None, allownone=True)
    is_shown = BooleanProperty(False)
    left_share = NumericProperty(LEFT_SHARE)

    def __init__(self, presenter: Any = None, workspace: Any = None, **kwargs: Any) -> None:
        self.presenter, self.workspace = presenter, workspace
        self.go: Callable[[str], None] = lambda name: None  # to another screen by its name; the shell sets it
        self._drawn: Any = None
        self._force = False
        self._endings: list[Any] = []
        self._soon = Clock.create_trigger(self._render, -1)
        self._head: Any = None
        super().__init__(**kwargs)
        self._parts()
        for name in ("width", "pane", "panes", "left_share"):
            self.fbind(name, self._arrange)
        theme.bind(tr=self._redraw, scale=self._arrange)
        self._arrange()

    def _parts(self) -> None:
        if self._head is not None:
            return
        self._slots: list[EdgePane] = []
        self._head = BoxLayout(orientation="vertical", size_hint_y=None, height=0, spacing=dp(8))
        self._head.bind(minimum_height=self._head.setter("height"))
        self._tabs = EdgeTabs(padding=(dp(16), dp(8), dp(16), 0))
        self._tabs.bind(on_select=lambda _tabs, key: setattr(self, "pane", int(key)))
        self._body = PaneBox()
        super().add_widget(self._head)
        super().add_widget(self._body)

    def add_widget(self, widget: Widget, *args: Any, **kwargs: Any) -> None:
        """Panes go to their places, others above them."""
        self._parts()
        if isinstance(widget, EdgePane):
            self._slots.append(widget)
            self.left, self.right = [*self._slots, None, None][:2]
            self._arrange()
        else:
            self._head.add_widget(widget, *args, **kwargs)

    def _arrange(self, *_: object) -> None:
        self.wide = self.width >= wide_from()
        shown = self._slots
        tabbed = len(self._slots) > 1 and not self.wide
        self.pane = min(max(int(self.pane), 0), max(len(self._slots) - 1, 0))
        if tabbed:
            shown = [self._slots[self.pane]]
            titles = [*self.panes, *("" for _ in self._slots)]
            self._tabs.options = [(str(n), titles[n]) for n in range(len(self._slots))]
            self._tabs.selected = str(self.pane)
            if self._tabs.parent is None:
                super().add_widget(self._tabs, index=1)
        elif self._tabs.parent is not None:
            super().remove_widget(self._tabs)
        if list(reversed(self._body.children)) != shown:
            self._body.clear_widgets()
            for slot in shown:
                self._body.add_widget(slot)
        for slot in shown:
            slot.size_hint_x = 1
        if len(shown) == 2:
            shown[0].size_hint_x, shown[1].size_hint_x = self.left_share, 1 - self.left_share
            shown[0].padding = (dp(16), dp(16), dp(8), dp(16))
            shown[1].padding = (dp(8), dp(16), dp(16), dp(16))
        else:
            for slot in shown:
                slot.padding = (dp(16), dp(16) if not tabbed else dp(12), dp(16), dp(16))

    def show(self) -> None:
        """Called by the shell when the screen comes up: draws at once, then follows its presenter."""
        if self.is_shown:
            return
        self.is_shown = True
        for source in (self.presenter, self.workspace):
            if source is not None and hasattr(source, "subscribe"):
                self._endings.append(source.subscribe(self._soon))
        self._force = True
        self.on_show()
        self._render()

    def hide(self) -> None:
        """Called by the shell when another screen comes up."""
        if not self.is_shown:
            return
        self.is_shown = False
        self._soon.cancel()
        for end in self._endings:
            end()
        self._endings.clear()
        self.on_hide()

    def _redraw(self, *_: object) -> None:
        self._force = True
        self._soon()

    def _render(self, *_: object) -> None:
        if not self.is_shown or self.presenter is None:
            return
        self.presenter.refresh()
        self._soon.cancel()  # refresh tells its listeners, us too; this drawing is that one
        view = self.presenter.view
        if view == self._drawn and not self._force:
            return
        self._force = False
        self._drawn = view
        self.render(view)

    def render(self, view: Any) -> None:
        """Draw a snapshot of the presenter; the subclass says how."""

    def on_show(self) -> None:
        """The screen comes up (before the first render)."""

    def on_hide(self) -> None:
        """The screen goes away."""

    def clear_text(self) -> None:
        """Empty every label and field: the app is locked. The next show draws all anew."""
        self._drawn = None
        self._force = True
        EdgeDialog.close_all()
        for root in (self, *self._slots):
            empty(root)

    def end(self) -> None:
        """The screen is thrown away: empty, in pieces, and with no word left in a cache."""
        self.hide()
        self.clear_text()
        let_go(self, *self._slots)


load_kv(__file__)
