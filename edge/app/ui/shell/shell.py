"""The shell: patient bar, rail, the screen, status bar; and the lock over all of it.

Locking throws every screen away after emptying it, so that no widget keeps a patient's words; unlocking makes them
anew. Nothing in the frame moves when an engine starts or stops: its line and its button have their place.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kivy.clock import Clock
from kivy.metrics import dp
from kivy.properties import BooleanProperty
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.floatlayout import FloatLayout

from edge.app.presenters.shell import ShellPresenter, ShellView
from edge.app.ui.kit import EdgeDialog, EdgeField, EdgePill, load_kv, ring
from edge.app.ui.kit.base import Wall
from edge.app.ui.kit.screen import EdgeScreen
from edge.app.ui.shell.bars import BottomRail, PatientBar, Rail, StatusBar
from edge.app.ui.theme import theme
from edge.app.ui.tokens import WIDE

LOCK = "lock"
HINT_S = 4.0
# A screen is some twenty megabytes of widgets and a quarter of a second to make: the last few are kept.
KEPT_SCREENS = 3
COLLECT_AFTER_S = 2.0
Maker = Callable[[], EdgeScreen]


class LockLayer(Wall, BoxLayout):
    """What lies over everything while the vault is locked. It lets no touch through."""


class Shell(FloatLayout):
    """workspace: the desk. screens: name -> what makes the screen ('lock' and the places of the rail)."""

    wide = BooleanProperty(True)

    def __init__(self, workspace: Any, screens: Mapping[str, Maker], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workspace = workspace
        self.presenter = ShellPresenter(workspace)
        self._makers = dict(screens)
        self._made: dict[str, EdgeScreen] = {}
        self._shown: EdgeScreen | None = None
        self._hint_timer: Any = None
        self._soon = Clock.create_trigger(self._render, -1)
        # Widgets are full of circles, which Python finds late; in a quiet moment, since it takes a fifth of a second.
        self._collect = Clock.create_trigger(lambda _dt: gc.collect(), COLLECT_AFTER_S)
        self.patient_bar = PatientBar(self.presenter.night, self.presenter.lock)
        self.rail, self.bottom_rail = Rail(self.go), BottomRail(self.go)
        self.status_bar = StatusBar(self.presenter.act)
        self.body = BoxLayout()
        self.frame = BoxLayout(orientation="vertical")
        self._middle = BoxLayout()
        self.lock_layer = LockLayer()
        self.hint = EdgePill(tone="info", icon="information", min_height=dp(48))
        self._middle.add_widget(self.body)
        for part in (self.patient_bar, self._middle, self.status_bar):
            self.frame.add_widget(part)
        self.add_widget(self.frame)
        self._end = self.presenter.subscribe(self._soon)
        workspace.before_lock.append(self.keep_typed)
        self.fbind("width", self._arrange)
        self.fbind("parent", self._mounted)
        theme.bind(scale=self._arrange)
        theme.bind(tr=self._retell)
        self._arrange()
        self._render()

    # ---- what others use --------------------------------------------------------------------------------------

    @property
    def place(self) -> str:
        """The screen that is shown, or would be if the app were not locked."""
        return self.presenter.place

    def go(self, name: str) -> None:
        """Show another screen; where that is not possible a hint says why."""
        self.presenter.go(name)
        self._render()

    def screen(self, name: str) -> EdgeScreen:
        """A screen, made at its first use; of those made, the last few that were used are kept."""
        made = self._made.pop(name, None)
        if made is None:
            made = self._makers[name]()
            made.go = self.go
        self._made[name] = made  # the last used stands last
        for other in tuple(self._made)[:-KEPT_SCREENS]:
            if self._made[other] is not self._shown:
                self._made.pop(other).end()
                self._collect()
        return made

    def close(self) -> None:
        """The shell is replaced or the app ends: let go of everything."""
        self._end()
        if self.keep_typed in self.workspace.before_lock:
            self.workspace.before_lock.remove(self.keep_typed)
        self._collect.cancel()
        self._soon.cancel()
        self._show_hint("")
        theme.unbind(scale=self._arrange)
        theme.unbind(tr=self._retell)
        self._forget()
        ring.remove()

    def keep_typed(self) -> None:
        """The app is about to lock: words that are half typed go where they would have gone when done."""
        roots: list[Any] = [*EdgeDialog.shown, *([self._shown] if self._shown is not None else [])]
        for widget in [one for root in roots for one in root.walk()]:
            keep = getattr(widget, "keep_typed", None)
            if keep is not None:
                keep()
            elif isinstance(widget, EdgeField):
                widget.commit()

    # ---- drawing ----------------------------------------------------------------------------------------------

    def _render(self, *_: object) -> None:
        self._soon.cancel()
        view = self.presenter.view
        if view.locked:
            self._lock(view)
            return
        self.patient_bar.show(view.patient, view)
        self.rail.show(view.places)
        self.bottom_rail.show(view.places)
        self.status_bar.show(view)
        self._show_hint(view.hint)
        if self.lock_layer.parent is not None:
            self._unlock()
        self._show(view.place)

    def _show(self, name: str) -> None:
        if name not in self._makers:
            return
        wanted = self.screen(name)
        if wanted is self._shown:
            return
        if self._shown is not None:
            self._shown.hide()
        ring.move_to(None)
        self.body.clear_widgets()
        self._shown = wanted
        self.body.add_widget(wanted)
        wanted.show()

    def _lock(self, view: ShellView) -> None:
        if self.lock_layer.parent is None:
            EdgeDialog.close_all()
            self._forget()
            self.patient_bar.show(None, view)
            self._show_hint("")
            self.remove_widget(self.frame)
            self.add_widget(self.lock_layer)
            if LOCK in self._makers:
                lock = self.screen(LOCK)
                self.lock_layer.add_widget(lock)
                lock.show()
            if self.get_root_window() is not None:
                ring.push(self.lock_layer)

    def _unlock(self) -> None:
        self._forget()
        self.lock_layer.clear_widgets()
        self.remove_widget(self.lock_layer)
        self.add_widget(self.frame)
        ring.pop(self.lock_layer)

    def _forget(self) -> None:
        """Throw the screens away, emptied."""
        for screen in self._made.values():
            screen.end()
        self._made.clear()
        self._shown = None
        self.body.clear_widgets()

    def _show_hint(self, words: str) -> None:
        if self._hint_timer is not None:
            self._hint_timer.cancel()
            self._hint_timer = None
        if self.hint.parent is not None:
            self.remove_widget(self.hint)
        if words:
            self.hint.text = words
            self.hint.pos_hint = {"center_x": 0.5}
            self.hint.y = self.status_bar.height + dp(16) + (0 if self.wide else self.bottom_rail.height)
            self.add_widget(self.hint)
            self._hint_timer = Clock.schedule_once(lambda _dt: self.presenter.hint_read(), HINT_S)

    def _arrange(self, *_: object) -> None:
        self.wide = self.width >= dp(WIDE)
        self.status_bar.compact = self.width < dp(WIDE) * max(1.0, theme.scale / 1.3)
        parent = self._middle if self.wide else self.frame
        other = self.bottom_rail if self.wide else self.rail
        mine = self.rail if self.wide else self.bottom_rail
        if other.parent is not None:
            other.parent.remove_widget(other)
        if mine.parent is None:
            # Children are drawn in reverse order: the last index is the left edge, 0 the lower one.
            parent.add_widget(mine, index=len(parent.children) if self.wide else 0)

    def _retell(self, *_: object) -> None:
        self.presenter.refresh()
        self._soon()

    # ---- the keyboard -----------------------------------------------------------------------------------------

    def _mounted(self, *_: object) -> None:
        if self.parent is None:
            return
        window = self.get_root_window()
        if window is None:
            return
        ring.install(window, self)
        control, both = frozenset(("ctrl",)), frozenset(("ctrl", "shift"))
        ring.shortcuts[(control, "z")] = self.presenter.undo
        ring.shortcuts[(control, "y")] = ring.shortcuts[(both, "z")] = self.presenter.redo
        ring.shortcuts[(control, "l")] = self.presenter.lock
        for number, place in enumerate(self.presenter.view.places, 1):
            ring.shortcuts[(frozenset(("alt",)), str(number))] = partial(self.go, place.name)
        if self.lock_layer.parent is not None:
            ring.push(self.lock_layer)


load_kv(__file__)
