"""The note's right side: sections with their lines, each line with its origin, its links, its marks, its commands."""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock
from kivy.properties import BooleanProperty, ObjectProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from edge.app.i18n import tr
from edge.app.presenters.note_text import MarkItem
from edge.app.presenters.note_view import DraftingLine, LineCard, Link, SectionCard
from edge.app.ui.kit import EdgeButton, EdgeCard, EdgeField, EdgeFlow, EdgeLink, EdgeSurface, EdgeTag, fold, load_kv
from edge.app.ui.kit.base import Touchable
from edge.app.ui.kit.face import EdgeFace
from edge.app.ui.screens.note_markup import marked, struck
from edge.clinical.encounter.model import LineStatus, Origin

ORIGINS = {
    Origin.MODEL: ("robot", "info"),
    Origin.QUOTE: ("quote", "plain"),
    Origin.CLINICIAN: ("account", "plain"),
    Origin.SPEECH: ("microphone", "plain"),
}
STATES = {
    LineStatus.OPEN: ("help-circle", "missing"),
    LineStatus.KEPT: ("check-circle", "support"),
    LineStatus.EDITED: ("pencil", "support"),
    LineStatus.REMOVED: ("minus-circle", "plain"),
}
KINDS = {"number": "format-size", "drug": "flask", "negation": "minus-circle", "side": "swap-horizontal"}
MOST_LINKS = 3
# A card costs some ten milliseconds: those in sight are made at once, the others as the reader comes near them.
FIRST_CARDS, CARDS_A_FRAME = 4, 1


def link_words(link: Link) -> str:
    """'Line 3' or 'Lines 12-14'."""
    if link.first == link.last:
        return tr("note.line_single", first=link.first)
    return tr("note.line_range", first=link.first, last=link.last)


class ConfirmChip(Touchable, EdgeFace):
    """A number, drug, negation or side that waits for a tap."""

    index = 0

    def show(self, mark: MarkItem) -> None:
        """Draw a mark."""
        self.index, self.icon = mark.index, "help-circle"
        self.text = f"{tr(f'note.kind_{mark.kind}')}: {mark.words}"


class NoteLineCard(EdgeSurface, BoxLayout):
    """One line of the note. It asks its `owner`, the screen, for everything that is to be done."""

    owner = ObjectProperty(None, allownone=True)
    line_id = StringProperty("")
    editing = BooleanProperty(False)
    lit = BooleanProperty(False)
    markup_text = StringProperty("")
    was_text = StringProperty("")

    def __init__(self, owner: Any, **kwargs: Any) -> None:
        self.card: LineCard | None = None
        self._read_only = False
        self._field: EdgeField | None = None
        super().__init__(**kwargs)
        self.owner = owner

    def show(self, data: tuple[LineCard, bool, Any]) -> None:
        """Draw a snapshot: the card, whether nothing may be changed, and how it looks (theme, language)."""
        card, self._read_only, _look = data
        if self.card is None or self.card.text != card.text:
            self.end_edit()
        self.card = card
        self.line_id, self.lit = card.id, card.selected or card.uses_row
        removed = card.status is LineStatus.REMOVED
        self.markup_text = struck(card.text) if removed else marked(card.segments)
        self.was_text = tr("note.was", text=card.was) if card.was and not removed else ""
        self._tags(card)
        self.ids.chips.set_items(
            [] if self._read_only else [(mark.index, mark) for mark in card.to_confirm],
            self._chip,
            lambda chip, mark: chip.show(mark),
        )
        self._commands()

    def _tags(self, card: LineCard) -> None:
        icon, tone = ORIGINS[card.origin]
        tags = [("origin", (tr(f"note.origin_{card.origin}"), icon, tone))]
        icon, tone = STATES[card.status]
        tags.append(("status", (tr(f"note.status_{card.status}"), icon, tone)))
        if card.stale:
            tags.append(("link", (tr("note.link_stale"), "link-off", "warning")))
        elif not card.linked:
            tags.append(("link", (tr("note.not_in_transcript"), "link-off", "soft_danger")))
        self.ids.tags.set_items(tags, EdgeTag, _show_tag)

    def _commands(self) -> None:
        """Links and buttons in one line that wraps."""
        card = self.card
        if card is None:
            return
        items: list[tuple[str, tuple[str, str, str]]] = [
            (f"link{n}", ("link", link_words(link), "link")) for n, link in enumerate(card.links[:MOST_LINKS])
        ]
        if not self._read_only and not self.editing:
            if card.status is LineStatus.OPEN:
                items.append(("keep", ("keep", tr("note.keep"), "check")))
            if card.status is not LineStatus.REMOVED:
                items.append(("edit", ("edit", tr("note.edit"), "pencil")))
                items.append(("remove", ("remove", tr("note.remove"), "delete")))
            if card.status is not LineStatus.OPEN and (
                card.origin is not Origin.CLINICIAN or card.status is LineStatus.REMOVED
            ):
                items.append(("undo", ("undo", tr("note.undo"), "undo")))
        flow = self.ids.commands
        wanted = [key for key, _ in items]
        if [getattr(child, "key", "") for child in reversed(flow.children)] != wanted:
            flow.clear_widgets()
            for key, (what, words, icon) in items:
                flow.add_widget(self._command(key, what, words, icon))
        else:
            for child, (_key, (_what, words, _icon)) in zip(reversed(flow.children), items, strict=True):
                child.text = words

    def _command(self, key: str, what: str, words: str, icon: str) -> Any:
        made = (
            EdgeLink(text=words, icon=icon)
            if what == "link"
            else EdgeButton(text=words, icon=icon, kind="plain", pad_x=14)
        )
        made.key = key
        made.bind(on_release=lambda *_: self._do(what))
        return made

    def _do(self, what: str) -> None:
        presenter = self.owner.presenter
        if what == "link":
            self.owner.show_evidence(self.line_id)
        elif what == "edit":
            self.begin_edit()
        elif what == "undo":
            self._restore()
        else:
            getattr(presenter, what)(self.line_id)

    def _restore(self) -> None:
        """A drafted line waits again; a person's own line comes back."""
        if self.card is not None and self.card.origin is Origin.CLINICIAN:
            self.owner.presenter.keep(self.line_id)
        else:
            self.owner.presenter.reopen(self.line_id)

    def _chip(self) -> ConfirmChip:
        chip = ConfirmChip()
        chip.bind(on_release=lambda chip: self.owner.presenter.confirm_mark(self.line_id, chip.index))
        return chip

    def begin_edit(self) -> None:
        """Change the words where they stand."""
        if self.card is None or self.editing:
            return
        self.editing = True
        self._field = EdgeField(multiline=True, lines=2, hint=tr("note.edit_hint"))
        self._field.text = self.card.text
        box = self.ids.edit
        box.add_widget(self._field)
        buttons = EdgeFlow()
        for key, words, icon, kind in (
            ("save", tr("note.save"), "check", "primary"),
            ("cancel", tr("note.cancel"), "close", "plain"),
        ):
            button = EdgeButton(text=words, icon=icon, kind=kind)
            button.bind(on_release=lambda _button, key=key: self._end(key))
            buttons.add_widget(button)
        box.add_widget(buttons)
        self._commands()
        field = self._field
        Clock.schedule_once(lambda *_: setattr(field.ids.input, "focus", self.editing), 0)

    def _end(self, key: str) -> None:
        text = self._field.text if self._field is not None else ""
        self.end_edit()
        if key == "save":
            self.owner.presenter.edit_line(self.line_id, text)

    def keep_typed(self) -> None:
        """The screen locks: what was typed until now is kept, and the line waits for a decision again."""
        if self.editing and self._field is not None and self.card is not None:
            text, was = self._field.text, self.card.text
            self.end_edit()
            if text.strip() and text != was:
                self.owner.presenter.hold_line(self.line_id, text)

    def end_edit(self) -> None:
        """Leave the field without a change."""
        if self._field is not None:
            self._field.ids.input.focus = False
            self._field.clear_text()
        self._field = None
        self.ids.edit.clear_widgets()
        if self.editing:
            self.editing = False
            self._commands()

    def clear_text(self) -> None:
        """Forget the line."""
        self.end_edit()
        self.card, self.markup_text, self.was_text = None, "", ""
        self.ids.chips.clear_text()


def _show_tag(tag: EdgeTag, data: tuple[str, str, str]) -> None:
    tag.text, tag.icon, tag.tone = data


class NoteSection(EdgeCard):
    """A section with its lines and the button for an own line."""

    title = StringProperty("")
    section = StringProperty("")
    writable = BooleanProperty(True)

    def __init__(self, owner: Any, **kwargs: Any) -> None:
        self.owner = owner
        super().__init__(**kwargs)

    def show(self, data: tuple[SectionCard, bool, Any]) -> None:
        """Draw a snapshot."""
        card, read_only, look = data
        self.title, self.section, self.writable = tr(card.key), card.section, not read_only
        fold(self.ids.add, self.writable)
        self.ids.lines.set_items(
            [(line.id, (line, read_only, look)) for line in card.lines],
            lambda: NoteLineCard(self.owner),
            lambda widget, line: widget.show(line),
        )

    def line(self, line_id: str) -> NoteLineCard | None:
        """The card of a line."""
        found = self.ids.lines.row(line_id)
        return found if isinstance(found, NoteLineCard) else None

    def clear_text(self) -> None:
        """Forget the lines."""
        self.ids.lines.clear_text()


class DraftedLine(EdgeSurface, BoxLayout):
    """A line that passed the fact check while the model still writes: for reading only."""

    head = StringProperty("")
    words = StringProperty("")
    linked = BooleanProperty(True)
    origin_icon = StringProperty("robot")
    origin_words = StringProperty("")

    def show(self, line: DraftingLine) -> None:
        """Draw it."""
        self.head = tr(f"note.section_{line.section.lower()}")
        self.words, self.linked = line.text, line.linked
        self.origin_icon, self.origin_words = ORIGINS[line.origin][0], tr(f"note.origin_{line.origin}")

    def clear_text(self) -> None:
        """Forget it."""
        self.words = self.head = ""


load_kv(__file__)
