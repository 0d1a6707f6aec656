"""The pane of the ranked differential: red flags, the options with their basis, what is missing, what was dismissed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kivy.clock import Clock
from kivy.metrics import dp
from kivy.properties import ObjectProperty
from kivy.uix.boxlayout import BoxLayout

from edge.app.i18n import tr
from edge.app.presenters.differential import REASONS
from edge.app.presenters.differential_view import DifferentialView, DismissedView, FlagView, Key, RowView
from edge.app.presenters.places import Link
from edge.app.ui.kit import (
    EdgeBanner,
    EdgeBasis,
    EdgeButton,
    EdgeCard,
    EdgeColumn,
    EdgeEmpty,
    EdgeField,
    EdgeFlow,
    EdgeLabel,
    EdgeLink,
    EdgeRank,
    EdgeRow,
    EdgeSegment,
    EdgeTag,
    load_kv,
)
from edge.app.ui.screens.entries import CaseDialog
from edge.app.ui.theme import theme

HEAD_DP = 600  # from this width on, times the font scale, the toggle stands beside the title
TONES = {"plain": "ink_2", "busy": "primary", "good": "support", "warning": "against"}
Press = Callable[[Any], None]


def links(found: Sequence[Link], press: Press) -> EdgeFlow:
    """Links that flow into lines."""
    flow = EdgeFlow()
    for link in found:
        button = EdgeLink(text=link.text, icon="link")
        button.bind(on_release=lambda _button, link=link: press(link))
        flow.add_widget(button)
    return flow


class TaskSegment(EdgeSegment):
    """General or eye."""


class FlagDetails(EdgeCard):
    """What an opened red flag rests on."""


class FlagRow(EdgeColumn):
    """A red flag: a banner that opens to its source and to what it rests on."""

    def show(self, flag: FlagView, press: Press, toggle: Callable[[str], None]) -> None:
        """Draw a snapshot."""
        self.clear_widgets()
        banner = EdgeBanner(
            text=flag.title,
            tone="danger" if flag.severe else "soft_danger",
            trailing="chevron-up" if flag.opened else "chevron-down",
        )
        banner.bind(on_release=lambda _banner: toggle(flag.key))
        self.add_widget(banner)
        if flag.opened:
            details = FlagDetails()
            details.add_widget(EdgeLabel(text=tr("differential.flags_rule"), kind="small", medium=True))
            details.add_widget(EdgeLabel(text=flag.source, kind="small", tone="ink_2"))
            if flag.links:
                details.add_widget(links(flag.links, press))
            self.add_widget(details)


class RankRow(EdgeRank):
    """An option with whose it is, how it moved, and, when open, its basis and what can be done with it."""

    view: Any = None

    def show(self, view: RowView, pane: DifferentialPane) -> None:
        """Draw a snapshot."""
        self.view = view
        self.rank, self.code, self.score_text = str(view.rank), view.icd10, view.score
        self.name = f"{view.name} {view.eye}" if view.eye else view.name
        self.fraction, self.is_open, self.pinned = view.fraction, view.opened, view.pinned
        content = self.ids.content
        content.spacing = dp(8)
        content.clear_widgets()
        tags = EdgeFlow()
        tags.add_widget(EdgeTag(text=view.origin, icon="robot" if view.by_model else "list"))
        if view.moved:
            icons = {"up": "chevron-up", "down": "chevron-down", "new": "plus"}
            tags.add_widget(EdgeTag(text=view.moved, icon=icons[view.way], tone="info"))
        if view.pinned:
            tags.add_widget(EdgeTag(text=tr("differential.pinned"), icon="pin", tone="info"))
        content.add_widget(tags)
        if view.opened:
            for role in ("supports", "against", "missing"):
                content.add_widget(self._basis(role, getattr(view, role), pane))
            content.add_widget(self._actions(view, pane))

    @staticmethod
    def _basis(role: str, found: tuple[Link, ...], pane: DifferentialPane) -> EdgeBasis:
        items = [(str(n), link.shown, True) for n, link in enumerate(found)]
        basis = EdgeBasis(role=role, items=items or [("", tr(f"differential.nothing_{role}"), False)])
        basis.bind(on_item=lambda _basis, key: pane.presenter.jump(found[int(key)]))
        return basis

    @staticmethod
    def _actions(view: RowView, pane: DifferentialPane) -> EdgeFlow:
        flow = EdgeFlow()
        pin = EdgeButton(
            text=tr("differential.unpin" if view.pinned else "differential.pin"),
            icon="pin-off" if view.pinned else "pin",
            disabled=pane.presenter.view.signed,
        )
        pin.bind(on_release=lambda _button: pane.presenter.pin(view.key, not view.pinned))
        away = EdgeButton(text=tr("differential.dismiss"), icon="close", disabled=pane.presenter.view.signed)
        away.bind(on_release=lambda _button: pane.ask_dismiss(view.key, view.name))
        flow.add_widget(pin)
        flow.add_widget(away)
        return flow

    def clear_text(self) -> None:
        """Forget the option."""
        self.view = None
        self.rank = self.name = self.code = self.score_text = ""
        self.ids.content.clear_widgets()


class ListCard(EdgeCard):
    """A titled list under the rows: missing inputs, notices, dismissed options."""

    def show(self, data: tuple[str, str, Any], pane: DifferentialPane) -> None:
        """Draw a snapshot: (kind, title, content)."""
        kind, title, content = data
        self.ids.title.text = title
        body = self.ids.body
        body.clear_widgets()
        if kind == "missing":
            body.add_widget(links(content, pane.presenter.jump))
        elif kind == "notices":
            for notice in content:
                body.add_widget(EdgeLabel(text=notice, kind="small"))
        else:
            for row in content:
                body.add_widget(self._dismissed(row, pane))

    @staticmethod
    def _dismissed(row: DismissedView, pane: DifferentialPane) -> EdgeRow:
        line, words = EdgeRow(), EdgeColumn(spacing=dp(2), pos_hint={"center_y": 0.5})
        words.add_widget(EdgeLabel(text=row.name, tone="ink_2"))
        words.add_widget(EdgeLabel(text=row.why, kind="small", tone="ink_2"))
        back = EdgeButton(
            text=tr("differential.restore"),
            icon="undo",
            pos_hint={"center_y": 0.5},
            disabled=pane.presenter.view.signed,
        )
        back.bind(on_release=lambda _button: pane.presenter.restore(row.key))
        line.add_widget(words)
        line.add_widget(back)
        return line


class DismissDialog(CaseDialog):
    """Asks for the reason: one of a few, or in words."""

    def __init__(self, name: str, done: Callable[[str], bool]) -> None:
        self._done, self._reasons = done, {one: tr(f"differential.reason_{one}") for one in REASONS}
        super().__init__(
            title=tr("differential.dismiss_title", name=name),
            body=tr("differential.dismiss_body"),
            actions=[
                ("dismiss", tr("differential.dismiss"), "primary"),
                ("cancel", tr("differential.cancel"), "plain"),
            ],
            keep=["dismiss"],
            icon="close",
        )
        self.choice = EdgeSegment(options=list(self._reasons.items()))
        self.choice.bind(on_select=lambda choice, key: setattr(choice, "selected", key))
        self.field = EdgeField(label=tr("differential.reason_other"), hint=tr("differential.reason_hint"))
        self.add_widget(self.choice)
        self.add_widget(self.field)

    def on_action(self, key: str) -> None:
        """Written words go before the chosen ones."""
        if key != "dismiss":
            return
        if self._done(self.field.text.strip() or self._reasons.get(self.choice.selected, "")):
            self.close()
        else:
            self.field.error = tr("differential.reason_needed")


class DifferentialPane(BoxLayout):
    """Red flags, the ranking and what belongs to it. It draws at most once a frame, and only while it is shown."""

    presenter = ObjectProperty(None)

    def __init__(self, **kwargs: Any) -> None:
        self._soon = Clock.create_trigger(self._render, -1)
        self._endings: list[Callable[[], None]] = []
        self._touches: set[Any] = set()
        self._drawn: DifferentialView | None = None
        self._tasks = TaskSegment()
        super().__init__(**kwargs)

    def on_kv_post(self, _base: Any) -> None:
        """The parts are there."""
        self._tasks.bind(on_select=lambda _segment, task: self.presenter.choose_task(task))
        self.fbind("width", self._fit)
        theme.bind(tiny=self._fit)
        self._fit()

    def start(self) -> None:
        """The screen came up."""
        if not self._endings:
            self._endings = [source.subscribe(self._soon) for source in (self.presenter, self.presenter.workspace)]
            theme.bind(tr=self._redraw)
        self._redraw()

    def stop(self) -> None:
        """The screen went away; a finger that was on it is gone as well."""
        for end in self._endings:
            end()
        self._endings = []
        theme.unbind(tr=self._redraw)
        self._soon.cancel()
        self._touches.clear()
        self.presenter.touch_up()
        self._soon.cancel()

    def clear_text(self) -> None:
        """Take every word away."""
        self._drawn = None
        for name in ("flags", "rows", "more_cards", "messages", "empty"):
            self.ids[name].clear_text()

    # ---- what a finger does ---------------------------------------------------------------------------------

    def on_touch_down(self, touch: Any) -> bool:
        """Rows stay where they are while a finger is on them."""
        if self.collide_point(*touch.pos):
            self._touches.add(touch.uid)
            self.presenter.touch_down()
        return bool(super().on_touch_down(touch))

    def on_touch_up(self, touch: Any) -> bool:
        """The last finger is lifted: what waited is shown."""
        told = bool(super().on_touch_up(touch))
        if touch.uid in self._touches:
            self._touches.discard(touch.uid)
            if not self._touches:
                self.presenter.touch_up()
        return told

    def start_or_stop(self) -> None:
        """The button of the heading."""
        if self.presenter.view.running:
            self.presenter.stop()
        else:
            self.presenter.rank()

    def ask_dismiss(self, key: Key, name: str) -> None:
        """Ask why."""
        DismissDialog(name, lambda reason: self.presenter.dismiss(key, reason)).open()

    # ---- drawing --------------------------------------------------------------------------------------------

    def _fit(self, *_: object) -> None:
        """The toggle beside the title, or under it where that is narrow."""
        beside = self.width >= dp(HEAD_DP) * max(1.0, theme.scale)
        wanted, index = (self.ids.head.__self__, 1) if beside else (self.ids.below.__self__, 0)
        if self._tasks.parent is not wanted:
            if self._tasks.parent is not None:
                self._tasks.parent.remove_widget(self._tasks)
            wanted.add_widget(self._tasks, index=index)

    def _redraw(self, *_: object) -> None:
        self._drawn = None
        self._soon()

    def _render(self, *_: object) -> None:
        self.presenter.refresh()
        self._soon.cancel()
        if self.presenter.view != self._drawn:
            self._drawn = self.presenter.view
            self.render(self.presenter.view)

    def render(self, view: DifferentialView) -> None:
        """Draw a snapshot; only what changed is touched."""
        ids, presenter = self.ids, self.presenter
        ids.flags.set_items(
            [(flag.key, flag) for flag in view.flags],
            FlagRow,
            lambda row, flag: row.show(flag, presenter.jump, presenter.toggle_flag),
        )
        self._more(view.more_flags)
        self._tasks.options = [(one.task, one.title) for one in view.tasks]
        self._tasks.selected = next((one.task for one in view.tasks if one.selected), "")
        ids.status.text = f"{view.status}  {view.progress_words}".strip()
        ids.status.tone = TONES[view.tone]
        ids.go.text = tr("differential.stop") if view.running else view.rank_word
        ids.go.icon = "stop-circle" if view.running else "play"
        ids.go.disabled, ids.go.reason = bool(view.off) and not view.running, view.off
        ids.bar.fraction = view.progress or 0.0
        ids.bar.height = dp(8) if view.progress is not None else 0
        ids.bar.opacity = 1 if view.progress is not None else 0
        ids.messages.show(
            [
                (view.off if not view.running and view.off != view.status else "", "plain", "information"),
                (view.overlay, "warning", "alert"),
                (view.waiting, "info", "hand"),
                (view.stale, "warning", "refresh"),
            ]
        )
        self._empty(view)
        ids.note.text = tr("differential.score_note") if view.rows else ""
        ids.rows.set_items([(row.key, row) for row in view.rows], self._row, lambda row, data: row.show(data, self))
        cards = [
            ("missing", ("missing", tr("differential.missing_inputs"), view.missing)),
            ("notices", ("notices", tr("differential.notices"), view.notices)),
            ("dismissed", ("dismissed", view.dismissed_title, view.dismissed)),
        ]
        ids.more_cards.set_items(
            [one for one in cards if one[1][2]], ListCard, lambda card, data: card.show(data, self)
        )

    def _row(self) -> RankRow:
        row = RankRow()
        row.bind(on_toggle=lambda row: row.view and self.presenter.toggle(row.view.key))
        return row

    def _more(self, words: str) -> None:
        more = self.ids.more
        if [one.text for one in more.children] != ([words] if words else []):
            more.clear_widgets()
            if words:
                button = EdgeButton(text=words, kind="quiet", icon="alert")
                button.bind(on_release=lambda _button: self.presenter.toggle_all_flags())
                more.add_widget(button)

    def _empty(self, view: DifferentialView) -> None:
        told = ("", "")
        if view.empty:
            told = (view.empty, tr("differential.label"))
        elif view.not_ranked and not view.running:
            told = (tr("differential.not_ranked"), tr("differential.not_ranked_text"))

        def update(empty: EdgeEmpty, words: tuple[str, str]) -> None:
            empty.icon, (empty.title, empty.text) = "list", words

        self.ids.empty.set_items([("empty", told)] if told[0] else [], EdgeEmpty, update)


load_kv(__file__)
