"""Small parts of the note screen: what is there only sometimes, and gives its place to others when it is not."""

from __future__ import annotations

from typing import Any

from kivy.properties import ObjectProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from edge.app.i18n import tr, tr_n
from edge.app.presenters.note_text import MarkItem, segments
from edge.app.presenters.note_view import Drafting
from edge.app.ui.kit import EdgeCard, EdgeColumn, EdgeEmpty, EdgeScroll, EdgeSurface, load_kv
from edge.app.ui.screens.note_markup import marked
from edge.clinical.encounter.model import Mark


class Holder(BoxLayout):
    """Holds one widget, or nothing: `show(False)` takes it out and gives its place away."""

    def __init__(self, **kwargs: Any) -> None:
        self._kept: Any = None
        super().__init__(**kwargs)

    def add_widget(self, widget: Any, *args: Any, **kwargs: Any) -> None:
        """The one widget."""
        self._kept = widget
        super().add_widget(widget, *args, **kwargs)

    def show(self, shown: bool) -> None:
        """Show it or not."""
        if self._kept is None:
            return
        if shown and self._kept.parent is None:
            super().add_widget(self._kept)
        elif not shown and self._kept.parent is not None:
            self.remove_widget(self._kept)


class NoteScroll(EdgeScroll):
    """A pane whose lines stay where they are while it grows at its end."""

    def __init__(self, **kwargs: Any) -> None:
        self._last_height = 0.0
        super().__init__(**kwargs)

    @property
    def below(self) -> float:
        """Pixels of the content under what is seen."""
        room = self.children[0].height - self.height if self.children else 0.0
        return max(0.0, room * self.scroll_y)

    def add_widget(self, widget: Any, *args: Any, **kwargs: Any) -> None:
        """The content."""
        super().add_widget(widget, *args, **kwargs)
        widget.bind(height=self._grown)

    def _grown(self, _content: Any, height: float) -> None:
        before, self._last_height = self._last_height, height
        seen: Any = self
        room, old_room = height - self.height, before - self.height
        if seen.scroll_y < 1 and room > 0 and old_room > 0:
            above = (1 - seen.scroll_y) * old_room
            seen.scroll_y = min(1.0, max(0.0, 1 - above / room))


class Shown(Holder):
    """As large as its widget."""


class ShownWide(Holder):
    """As wide as its pane."""


class EmptyBox(EdgeColumn):
    """Says that there is nothing yet, and what to do."""

    def show(self, shown: bool, icon: str, title: str, text: str) -> None:
        """Show it or not."""
        if not shown:
            self.clear_widgets()
            return
        if not self.children:
            self.add_widget(EdgeEmpty())
        empty = self.children[0]
        empty.icon, empty.title, empty.text = icon, title, text


class TranscriptBox(EdgeSurface, BoxLayout):
    """The ground of the transcript."""


class ConfirmCard(EdgeCard):
    """One word that speech wrote, in its line, with the tap that says it is right. It asks its `owner`."""

    owner = ObjectProperty(None, allownone=True)
    title = StringProperty("")
    context = StringProperty("")
    confirm_words = StringProperty("")

    def __init__(self, owner: Any, **kwargs: Any) -> None:
        self._marks: tuple[MarkItem, ...] = ()
        self._at = 0
        super().__init__(**kwargs)
        self.owner = owner

    def show(self, marks: tuple[MarkItem, ...]) -> None:
        """Draw the mark that comes next; what was looked at stays where it is."""
        now = self._marks[self._at].index if self._at < len(self._marks) else -1
        self._marks = marks
        later = [n for n, mark in enumerate(marks) if mark.index >= now]
        self._at = later[0] if later else 0
        self._draw()

    def _draw(self) -> None:
        if not self._marks:
            self.clear_text()
            return
        mark = self._marks[self._at]
        self.title = tr_n("note.to_confirm", len(self._marks))
        self.confirm_words = tr("note.confirm", words=mark.words)
        presenter = self.owner.presenter
        row = presenter.row(presenter.row_of_mark(mark.index))
        place: Mark = presenter.view.visit.marks[mark.index]
        self.context = marked(segments(row.text, (place,), row.start)) if row is not None else ""

    def confirm(self) -> None:
        """It is right."""
        if self._marks:
            self.owner.presenter.confirm_visit(self._marks[self._at].index)

    def next(self) -> None:
        """Look at the next one."""
        if self._marks:
            self._at = (self._at + 1) % len(self._marks)
            self._draw()
            self.reach()

    def edit(self) -> None:
        """It is wrong: change its line."""
        presenter = self.owner.presenter
        number = presenter.row_of_mark(self._marks[self._at].index) if self._marks else 0
        if number:
            if presenter.view.selected_row != number:
                presenter.select_row(number)
            self.owner.ask_row()

    def reach(self) -> None:
        """Scroll to its line."""
        if self._marks:
            self.owner.ids.transcript.scroll_to_row(self.owner.presenter.row_of_mark(self._marks[self._at].index))

    def clear_text(self) -> None:
        """Forget the words."""
        self._marks, self._at = (), 0
        self.title = self.context = self.confirm_words = ""


class RowCard(EdgeSurface, BoxLayout):
    """What belongs to the row of the transcript that is selected. It asks its `owner`."""

    owner = ObjectProperty(None, allownone=True)
    title = StringProperty("")
    words = StringProperty("")
    writable = ObjectProperty(True)

    def __init__(self, owner: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.owner = owner


class DraftingCard(EdgeCard):
    """What the model writes now, unchecked."""

    part = StringProperty("")

    def show(self, drafting: Drafting) -> None:
        """Draw it."""
        self.part = tr("note.part", part=drafting.part, parts=drafting.parts) if drafting.parts else ""
        self.ids.stream.text = drafting.text

    def clear_text(self) -> None:
        """Forget it."""
        self.ids.stream.clear_text()


load_kv(__file__)
