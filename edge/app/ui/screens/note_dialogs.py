"""The note's small dialogs: type what was said, change a row, write an own line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kivy.clock import Clock

from edge.app.i18n import tr
from edge.app.presenters.note_speech import SPEAKERS
from edge.app.ui.kit import EdgeDialog, EdgeField, EdgeLabel, EdgeSegment


class _TextDialog(EdgeDialog):
    """A question that is answered with text; the text is forgotten when it closes."""

    def __init__(self, title: str, yes: str, icon: str, *, hint: str, text: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.title, self.icon = title, icon
        self.actions = [("save", yes, "primary"), *self.more_actions(), ("cancel", tr("note.cancel"), "plain")]
        self.before()
        self.field = EdgeField(multiline=True, lines=3, hint=hint)
        self.field.text = self._given = text
        self.add_widget(self.field)

    def more_actions(self) -> list[tuple[str, str, str]]:
        """Other answers."""
        return []

    def before(self) -> None:
        """What stands above the field."""

    def open(self) -> None:
        """With the cursor in the field."""
        super().open()
        Clock.schedule_once(lambda *_: setattr(self.field.ids.input, "focus", self.is_open), 0)

    def on_action(self, key: str) -> None:
        """Hand over what was typed."""
        text = self.field.text
        self.clear_text()
        if key not in ("cancel", ""):
            self.answered(key, text)

    def keep_typed(self) -> None:
        """The screen locks: what was typed until now is taken as it is."""
        text = self.field.text
        if text.strip() and text != self._given:
            self.clear_text()
            self.answered("save", text)

    def answered(self, key: str, text: str) -> None:
        """What to do with it."""

    def clear_text(self) -> None:
        """Forget what was typed."""
        self.field.clear_text()

    def on_close(self) -> None:
        """Closed by a lock: forget it."""
        Clock.schedule_once(lambda *_: self.clear_text(), 0)


class TurnDialog(_TextDialog):
    """Who said what: `done(speaker, words)`."""

    def __init__(self, done: Callable[[str, str], None], **kwargs: Any) -> None:
        self._done = done
        super().__init__(tr("note.type_title"), tr("note.add"), "keyboard", hint=tr("note.type_hint"), **kwargs)

    def before(self) -> None:
        """The speaker."""
        self.add_widget(EdgeLabel(text=tr("note.who"), kind="small", medium=True, tone="ink_2"))
        options = [(key or "none", tr(f"note.speaker_{key or 'unknown'}")) for key in SPEAKERS]
        self.who = EdgeSegment(options=options, selected="none")
        self.who.bind(on_select=lambda who, key: setattr(who, "selected", key))
        self.add_widget(self.who)

    def answered(self, key: str, text: str) -> None:
        """See _TextDialog."""
        self._done("" if self.who.selected == "none" else self.who.selected, text)


class RowDialog(_TextDialog):
    """The words of a row of the transcript: `done(number, words)`, without words to delete it."""

    def __init__(self, number: int, text: str, done: Callable[[int, str], None], **kwargs: Any) -> None:
        self._number, self._done = number, done
        title = tr("note.edit_line_title", number=number)
        super().__init__(title, tr("note.save"), "pencil", hint=tr("note.type_hint"), text=text, **kwargs)

    def more_actions(self) -> list[tuple[str, str, str]]:
        """Delete it."""
        return [("delete", tr("note.delete_line"), "danger")]

    def answered(self, key: str, text: str) -> None:
        """See _TextDialog."""
        self._done(self._number, "" if key == "delete" else text)


class AddLineDialog(_TextDialog):
    """An own line of a section: `done(section, text)`."""

    def __init__(self, section: str, done: Callable[[str, str], None], **kwargs: Any) -> None:
        self._section, self._done = section, done
        title = tr(f"note.section_{section.lower()}")
        super().__init__(title, tr("note.add"), "plus", hint=tr("note.add_hint"), **kwargs)

    def answered(self, key: str, text: str) -> None:
        """See _TextDialog."""
        self._done(self._section, text)
