"""Parts of the worklist: a row, the strip of filters, the preview and the delete card."""

from __future__ import annotations

from typing import Any

from kivy.metrics import dp
from kivy.properties import BooleanProperty, NumericProperty, ObjectProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.scrollview import ScrollView

from edge.app.i18n import tr
from edge.app.presenters.deletion import DeletionView
from edge.app.presenters.preview import Fact, PreviewWords
from edge.app.presenters.worklist_rows import Row
from edge.app.ui.kit import EdgeColumn, EdgeRecycleRow, EdgeRow, EdgeSurface, Touchable, fold, load_kv
from edge.app.ui.kit.face import EdgeFace
from edge.app.ui.screens.pin_panel import IconWords

# state -> (icon, tone of its tag); the word stands beside it
STATES: dict[str, tuple[str, str]] = {
    "new": ("account", "plain"),
    "exam": ("stethoscope", "info"),
    "draft": ("pencil", "missing"),
    "signed": ("check-decagram", "support"),
}
FACT_ICONS = {
    "warning": "alert",
    "check": "check",
    "help": "help-circle",
    "exam": "stethoscope",
    "vitals": "heart-pulse",
    "eye": "eye",
    "note": "file-document",
    "review": "check-decagram",
}
FACT_TONES = {"danger": "danger", "missing": "missing", "support": "support", "": "ink"}
ONE_LINE_DP = 430


class WorklistRow(EdgeRecycleRow, Touchable, EdgeSurface, BoxLayout):
    """A visit. Tags stand in the second line where there is room, else in a third."""

    visit = StringProperty("")
    name = StringProperty("")
    detail = StringProperty("")
    bed = StringProperty("")
    state = StringProperty("new")
    state_words = StringProperty("")
    flag_words = StringProperty("")
    changed = StringProperty("")
    opened = BooleanProperty(False)
    selected = BooleanProperty(False)
    compact = BooleanProperty(True)
    screen = ObjectProperty(None, allownone=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._tags = self.ids.tags.__self__
        self.bind(compact=self._arrange)

    def _arrange(self, *_: object) -> None:
        wanted = self.ids.middle if self.compact else self.ids.lower
        if self._tags.parent is not wanted.__self__:
            self._tags.parent.remove_widget(self._tags)
            wanted.add_widget(self._tags, index=1 if self.compact else 0)

    def on_release(self) -> None:
        """Look at this visit, or open the one that is looked at."""
        if self.screen is not None and self.visit:
            self.screen.tapped(self.visit)

    @staticmethod
    def icon_of(state: str) -> str:
        """Icon of a state."""
        return STATES.get(state, STATES["new"])[0]

    @staticmethod
    def tone_of(state: str) -> str:
        """Tone of a state."""
        return STATES.get(state, STATES["new"])[1]


def row_data(row: Row, selected: str, compact: bool, screen: Any) -> dict[str, Any]:
    """What a WorklistRow shows of a row."""
    return {
        "visit": row.id,
        "name": row.name,
        "detail": row.detail,
        "bed": row.bed,
        "state": row.state,
        "state_words": row.state_words,
        "flag_words": row.flag_words,
        "changed": row.changed,
        "opened": row.opened,
        "selected": row.id == selected,
        "compact": compact,
        "screen": screen,
    }


class FilterItem(Touchable, EdgeFace):
    """One filter of the strip."""

    key = StringProperty("")
    selected = BooleanProperty(False)


class FilterStrip(ScrollView):
    """Filters side by side; it scrolls sideways when they do not fit. on_select(key)."""

    __events__ = ("on_select",)

    def show(self, options: tuple[tuple[str, str], ...], selected: str) -> None:
        """Draw them."""
        row = self.ids.row
        while len(row.children) < len(options):
            item = FilterItem()
            item.bind(on_release=lambda item: self.dispatch("on_select", item.key))
            row.add_widget(item)
        for item, (key, words) in zip(reversed(row.children), options, strict=True):
            item.key, item.text, item.selected = key, words, key == selected

    def on_select(self, key: str) -> None:
        """Default handler: nothing."""


class FactRow(EdgeRow):
    """One fact of the preview: icon, label, words."""

    icon = StringProperty("")
    label = StringProperty("")
    text = StringProperty("")
    tone = StringProperty("ink")
    label_width = NumericProperty(dp(120))

    def show(self, fact: Fact) -> None:
        """Draw it."""
        self.icon, self.tone = FACT_ICONS[fact.icon], FACT_TONES[fact.tone]
        self.label, self.text = fact.label, fact.words


class VisitPreview(EdgeColumn):
    """The visit that is looked at, and what can be done with it."""

    presenter = ObjectProperty(None, allownone=True)

    def show(self, view: PreviewWords) -> None:
        """Draw a snapshot."""
        ids = self.ids
        ids.name.text, ids.detail.text, ids.changed.text = view.name, view.detail, view.changed
        icon, tone = STATES.get(view.state, STATES["new"])
        ids.state.text, ids.state.icon, ids.state.tone = view.state_words, icon, tone
        ids.opened.text = tr("worklist.opened") if view.opened else ""
        ids.facts.set_items([(fact.label, fact) for fact in view.facts], FactRow, FactRow.show)
        ids.reading.text = tr("worklist.reading") if view.loading else ""
        flags = [(f"{number} {words}", words) for number, words in enumerate(view.flags)]
        ids.flags.set_items(flags, self._flag, _say_flag)
        ids.no_flags.text = "" if view.flags or view.loading else tr("worklist.no_red_flags")
        ids.edit.disabled = not view.editable
        ids.edit_note.text = "" if view.editable else tr("worklist.edit_signed")

    @staticmethod
    def _flag() -> IconWords:
        return IconWords(icon="alert-octagon", tone="danger", medium=True)


def _say_flag(row: IconWords, words: str) -> None:
    row.say(words, "alert-octagon", "danger")


def _show_item(item: FilterItem, data: tuple[str, str, bool]) -> None:
    item.key, item.text, item.selected = data


class DeleteCard(EdgeColumn):
    """Why, and for a signed visit the PIN; then it is gone."""

    presenter = ObjectProperty(None, allownone=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._pin = self.ids.pin.__self__
        self._plain = self.ids.plain.__self__

    def show(self, view: DeletionView) -> None:
        """Draw a snapshot."""
        ids = self.ids
        ids.title.text, ids.text.text = view.title, view.text
        ids.warning.text = view.warning
        fold(ids.warning, bool(view.warning))
        reasons = [(key, (key, words, key == view.reason)) for key, words in view.reasons]
        ids.reasons.set_items(reasons, self._reason, _show_item)
        ids.message.say(view.message if view.pin is None else "", "alert-circle", "danger")
        part = self._pin if view.pin is not None else self._plain
        if ids.host.children != [part]:
            ids.host.clear_widgets()
            ids.host.add_widget(part)
        if view.pin is not None:
            self._pin.target = self.presenter.deletion
            self._pin.show(view.pin)

    def _reason(self) -> FilterItem:
        item = FilterItem()
        item.bind(on_release=lambda item: self.presenter.deletion.choose(item.key))
        return item

    def clear_text(self) -> None:
        """The PIN panel may be off the screen: empty it, too."""
        self._pin.clear_text()
        self._pin.target = None
        self.ids.text.text = ""


load_kv(__file__)
