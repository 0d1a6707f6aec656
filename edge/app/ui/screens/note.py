"""The note: transcript with its ways in left, SOAP note right (edge.app.presenters.note)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from kivy.clock import Clock
from kivy.properties import ObjectProperty

from edge.app.i18n import tr, tr_n
from edge.app.presenters.folders import TEXT_ENDINGS, FolderBrowser
from edge.app.presenters.jumps import take_note
from edge.app.presenters.note_view import NoteView, StatusLine
from edge.app.ui.kit import EdgeBanner, EdgeDialog, EdgeLink, EdgeScreen, load_kv
from edge.app.ui.screens.folder_dialog import FolderDialog
from edge.app.ui.screens.note_dialogs import AddLineDialog, RowDialog, TurnDialog
from edge.app.ui.screens.note_lines import CARDS_A_FRAME, FIRST_CARDS, DraftedLine, NoteSection
from edge.app.ui.screens.note_parts import ConfirmCard, RowCard
from edge.app.ui.screens.note_speech import SpeechPanel
from edge.app.ui.screens.note_transcript import TranscriptList  # noqa: F401  (known to kv)
from edge.app.ui.theme import theme

TONES = {"busy": "info", "good": "support", "warning": "warning", "danger": "danger"}


def clipboard_text() -> str:
    """What was copied elsewhere; '' when there is no clipboard."""
    from kivy.core.clipboard import Clipboard

    return str(Clipboard.paste() or "")


class NoteScreen(EdgeScreen):
    """See the module's docstring. clipboard, start_folder: injected by tests."""

    clipboard: Callable[[], str] = staticmethod(clipboard_text)
    start_folder = ObjectProperty(None, allownone=True)

    def __init__(self, presenter: Any, workspace: Any, **kwargs: Any) -> None:
        self._cards = 0
        self._more = Clock.create_trigger(self._build_more, 0)
        self._asked: EdgeDialog | None = None
        self._ask_kind = ""
        self._speech: SpeechPanel | None = None
        super().__init__(presenter, workspace, **kwargs)
        # Held here too: what is not shown hangs on no parent, and ids are weak.
        self._confirm, self._row_card = ConfirmCard(self), RowCard(self)
        self._drafting_card, self._held = self.ids.drafting, (self.ids.draft, self.ids.stop, self.ids.open_pill)
        self.ids.confirm.add_widget(self._confirm)
        self.ids.row_bar.add_widget(self._row_card)
        presenter.on_row, presenter.on_line = self._to_row, self._to_line
        self.ids.scroll.bind(scroll_y=self._more)
        self.ids.transcript.bind(on_row=lambda _list, number: presenter.select_row(number))
        theme.bind(overlay=self._redraw)

    # ---- drawing --------------------------------------------------------------------------------------------

    def render(self, view: NoteView) -> None:
        """See EdgeScreen."""
        self._draw_left(view)
        self._draw_head(view)
        self._drafting(view)
        self._draw_told(view)
        self._sections(view)
        self._question(view.ask)

    def _draw_left(self, view: NoteView) -> None:
        ids, writable = self.ids, view.open and not view.read_only
        ids.count.text = tr_n("note.lines_count", len(view.rows)) if view.rows else ""
        for button in (ids.paste, ids.type, ids.file, ids.record):
            button.disabled = not writable
        ids.message.text = view.message
        ids.undo.disabled, ids.redo.disabled = not view.can_undo, not view.can_redo
        ids.transcript.show_rows(view.rows, view.visit, view.lit_rows, view.selected_row)
        ids.no_rows.show(not view.rows, "file-document", *_empty_words(view.open, "transcript"))
        waiting = view.visit_marks if writable else ()
        ids.confirm.show(bool(waiting))
        if waiting:
            self._confirm.show(waiting)
        elif self._confirm.context:
            self._confirm.clear_text()
        row = self.presenter.row(view.selected_row)
        ids.row_bar.show(row is not None)
        self._row_card.title = tr("note.line_single", first=row.number) if row else ""
        uses = tr_n("note.uses_line", view.row_uses) if view.row_uses else tr("note.uses_none")
        self._row_card.words = uses if row else ""
        self._row_card.writable = writable

    def _draw_head(self, view: NoteView) -> None:
        ids = self.ids
        writing = view.drafting is not None
        ids.open_lines.show(view.has_note and not writing)
        left = [tr_n("note.open_lines", view.open_lines)] if view.open_lines else []
        left += [tr_n("note.to_confirm", view.to_confirm)] if view.to_confirm else []
        ids.open_pill.text = ", ".join(left) or tr("note.all_checked")
        ids.open_pill.icon, ids.open_pill.tone = ("help-circle", "missing") if left else ("check-circle", "support")
        ids.draft_box.show(not writing and view.open and not view.read_only)
        ids.draft.text, ids.draft.disabled = view.draft_word, bool(view.draft_reason)
        ids.stop_box.show(writing)
        ids.writing.text = view.status[0].words if writing and view.status else ""
        said = any(line.words == view.draft_reason for line in view.status)
        ids.reason.text = view.draft_reason if view.open and not writing and not said else ""

    def _drafting(self, view: NoteView) -> None:
        drafting = view.drafting
        self.ids.drafting_box.show(drafting is not None)
        if drafting is not None:
            self._drafting_card.show(drafting)
        elif self._drafting_card.part or self._drafting_card.ids.stream.text:
            self._drafting_card.clear_text()
        lines = drafting.lines if drafting else ()
        self.ids.drafted.set_items(list(enumerate(lines)), DraftedLine, lambda row, line: row.show(line))
        self.ids.checked.text = tr_n("note.checked_lines", len(lines)) if lines else ""

    def _draw_told(self, view: NoteView) -> None:
        items: list[tuple[str, StatusLine]] = []
        for number, line in enumerate(view.status):
            # The status bar says it too; what went well needs no second place.
            if (view.drafting is None or number) and line.tone != "good":
                items.append((f"status{number}", line))
        if view.stale:
            items.append(("stale", StatusLine(tr("note.stale"), "warning")))
        if view.withheld:
            items.append(("withheld", StatusLine(tr_n("note.withheld", view.withheld), "plain")))
        items += [(f"notice{n}", StatusLine(words, "warning")) for n, words in enumerate(view.notices)]
        if view.has_note and view.drafting is None and not any(section.lines for section in view.sections):
            items.append(("nothing", StatusLine(tr("note.nothing_found"), "plain")))
        if view.read_only:
            items.append(("signed", StatusLine(tr("note.signed"), "good")))
        self.ids.told.set_items([(key, (key, line)) for key, line in items], self._banner, self._show_banner)

    def _banner(self) -> EdgeBanner:
        banner = EdgeBanner(kind_of_text="label")
        banner.line, banner.key = None, ""
        banner.bind(on_release=self._banner_tapped)
        return banner

    @staticmethod
    def _show_banner(banner: Any, data: tuple[str, StatusLine]) -> None:
        banner.key, banner.line = data
        line = data[1]
        action = tr("note.try_again") if line.retry else tr("note.dismiss") if line.dismissable else ""
        banner.text = f"{line.words}  {action}" if line.retry else line.words
        banner.tone = TONES.get(line.tone, "plain")
        banner.trailing = "refresh" if line.retry else "close" if line.dismissable else ""
        # Not disabled, which would fade its words; a tap on it does nothing then.
        banner.takes_focus = line.retry or line.dismissable

    def _banner_tapped(self, banner: Any) -> None:
        if banner.line is not None and banner.line.retry:
            self.presenter.retry()
        elif banner.line is not None and banner.line.dismissable:
            self.presenter.dismiss_status()

    def _sections(self, view: NoteView) -> None:
        filled = [section for section in view.sections if section.lines]
        total = sum(len(section.lines) for section in filled)
        self._cards = min(total, max(self._cards, FIRST_CARDS))
        look = (theme.night, theme.tr)
        left = self._cards
        items = []
        for section in filled:
            if left <= 0:
                break
            shown = (
                section
                if left >= len(section.lines)
                else type(section)(section.section, section.group, section.lines[:left])
            )
            left -= len(shown.lines)
            items.append((section.section, (shown, view.read_only, look)))
        self.ids.sections.set_items(items, lambda: NoteSection(self), lambda row, data: row.show(data))
        whole = self._cards >= total
        if not whole:
            self._more()
        writable = whole and view.open and not view.read_only
        empty = [section for section in view.sections if not section.lines] if writable else []
        self.ids.add_title.text = tr("note.add_line") if empty else ""
        self.ids.add.set_items([(s.section, (s.section, tr(s.key), look)) for s in empty], self._add_link, _show_link)
        nothing = not filled and view.drafting is None and not view.read_only
        self.ids.no_note.show(nothing, "note", *_empty_words(view.open, "note"))

    def _build_more(self, *_: object) -> None:
        """One more card, as long as the reader sees less than a screenful below."""
        if self.is_shown and self.ids.scroll.below < self.ids.scroll.height:
            self._cards += CARDS_A_FRAME
            self._sections(self.presenter.view)

    def _add_link(self) -> EdgeLink:
        link = EdgeLink(icon="plus")
        link.bind(on_release=lambda link: self.ask_add(link.section))
        return link

    # ---- places ---------------------------------------------------------------------------------------------

    def show_evidence(self, line_id: str) -> None:
        """Light the lines of the transcript that a note line stands on."""
        self.presenter.select_line(line_id)

    def _to_row(self, number: int) -> None:
        self.pane = 0
        self._render()
        self.ids.transcript.scroll_to_row(number)

    def _to_line(self, line_id: str) -> None:
        self.pane = 1
        order = [line.id for section in self.presenter.view.sections for line in section.lines]
        if line_id in order:
            self._cards = max(self._cards, order.index(line_id) + 1 + FIRST_CARDS)
        self._force = True
        self._render()
        Clock.schedule_once(partial(self._reach_line, line_id), 0)

    def _reach_line(self, line_id: str, _dt: float) -> None:
        for section in self.ids.sections.children:
            card = section.line(line_id)
            if card is not None:
                self.ids.scroll.show(card)

    def on_show(self) -> None:
        """Take up the place that another screen left for this one."""
        ref = take_note(self.workspace) if self.workspace is not None else None
        if ref is not None:
            Clock.schedule_once(lambda *_: self.presenter.show(ref), 0)

    # ---- ways in --------------------------------------------------------------------------------------------

    def paste(self) -> None:
        """Take over what was copied elsewhere."""
        self.presenter.paste(self.clipboard())

    def ask_turn(self) -> None:
        """Type what was said."""
        TurnDialog(self.presenter.add_turn).open()

    def ask_file(self) -> None:
        """Choose a text file."""
        browser = FolderBrowser(Path(self.start_folder or Path.home()), TEXT_ENDINGS)
        FolderDialog(browser, self.presenter.read_file, tr("folder.open_title")).open()

    def ask_row(self) -> None:
        """Change a row of the transcript."""
        row = self.presenter.row(self.presenter.view.selected_row)
        if row is not None:
            RowDialog(row.number, row.text, self.presenter.edit_row).open()

    def ask_add(self, section: str) -> None:
        """Type an own line of the note."""
        AddLineDialog(section, self.presenter.add_line).open()

    def record(self) -> None:
        """Open the recorder, or close it."""
        if self._speech is None:
            self._speech = SpeechPanel(self.presenter)
            self.ids.ways.add_widget(self._speech)
        else:
            self.close_speech()

    def close_speech(self) -> None:
        """Stop listening and put the recorder away."""
        if self._speech is not None:
            self._speech.close()
            self.ids.ways.remove_widget(self._speech)
            self._speech = None

    # ---- questions ------------------------------------------------------------------------------------------

    def _question(self, kind: str) -> None:
        """Ask what the presenter waits for, once."""
        if kind == self._ask_kind:
            return
        self._ask_kind = kind
        if self._asked is not None:
            self._asked.close()
            self._asked = None
        if not kind:
            return
        cancel = ("cancel", tr("note.cancel"), "plain")
        if kind == "replace":
            actions = [("append", tr("note.append"), "primary"), ("replace", tr("note.replace"), "plain"), cancel]
        else:
            actions = [("redraft", tr("note.redraft"), "primary"), cancel]
        dialog = EdgeDialog(
            title=tr(f"note.{kind}_title"), body=tr(f"note.{kind}_body"), icon="help-circle", actions=actions
        )
        dialog.bind(on_action=lambda _dialog, key: self._answered(key))
        self._asked = dialog
        dialog.open()

    def _answered(self, key: str) -> None:
        self._asked, self._ask_kind = None, ""
        if key == "redraft":
            self.presenter.draft_now()
        elif key in ("append", "replace"):
            self.presenter.answer_replace(replace_all=key == "replace")
        else:
            self.presenter.cancel_ask()

    # ---- leaving --------------------------------------------------------------------------------------------

    def on_hide(self) -> None:
        """Nobody listens to a screen that is not shown."""
        self.close_speech()

    def clear_text(self) -> None:
        """See EdgeScreen."""
        self.close_speech()
        self._cards, self._ask_kind, self._asked = 0, "", None
        self._more.cancel()
        self._confirm.clear_text()
        self._row_card.title = self._row_card.words = ""
        self._drafting_card.clear_text()
        super().clear_text()


def _empty_words(is_open: bool, what: str) -> tuple[str, str]:
    if not is_open:
        return tr("note.no_patient"), tr("note.no_patient_hint")
    return tr(f"note.no_{what}"), tr(f"note.no_{what}_hint")


def _show_link(link: Any, data: tuple[str, str, Any]) -> None:
    link.section, link.text = data[0], data[1]


load_kv(__file__)
