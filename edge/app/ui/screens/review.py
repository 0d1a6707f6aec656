"""Review and sign: the note against its draft left; what is to settle, the summary, signature and export right."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from kivy.properties import BooleanProperty, ObjectProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from edge.app.i18n import tr, tr_n
from edge.app.presenters.folders import FolderBrowser
from edge.app.presenters.review_view import (
    ChangedLine,
    ChangedSection,
    Exported,
    Item,
    ReviewView,
    Signed,
    SummaryRow,
)
from edge.app.ui.kit import (
    EdgeCard,
    EdgeColumn,
    EdgeEmpty,
    EdgeLabel,
    EdgeScreen,
    EdgeSurface,
    Touchable,
    load_kv,
)
from edge.app.ui.kit.emptying import empty_whole
from edge.app.ui.screens.folder_dialog import FolderDialog
from edge.app.ui.screens.note_lines import ORIGINS
from edge.app.ui.screens.note_markup import compared
from edge.app.ui.screens.note_parts import ShownWide  # noqa: F401  (known to kv)
from edge.app.ui.screens.sign_dialog import SignDialog
from edge.app.ui.theme import theme

TAGS = {
    "kept": ("check", "plain"),
    "open": ("help-circle", "missing"),
    "edited": ("pencil", "support"),
    "added": ("plus", "support"),
    "removed": ("minus-circle", "soft_danger"),
}
# More than a screenful of items says no more; the number says how many there are.
MOST_ITEMS = 30


class ComparedLine(EdgeSurface, BoxLayout):
    """A line against its draft."""

    markup_text = StringProperty("")
    tag = StringProperty("")
    tag_icon = StringProperty("check")
    tag_tone = StringProperty("plain")
    origin = StringProperty("")
    origin_icon = StringProperty("robot")

    def show(self, data: tuple[ChangedLine, Any]) -> None:
        """Draw it."""
        line = data[0]
        self.markup_text = compared(line.pieces)
        self.tag = tr(f"review.tag_{line.tag}")
        self.tag_icon, self.tag_tone = TAGS[line.tag]
        self.origin, self.origin_icon = tr(f"note.origin_{line.origin}"), ORIGINS[line.origin][0]

    def clear_text(self) -> None:
        """Forget it."""
        self.markup_text = ""


class ComparedSection(EdgeColumn):
    """A section of the note against its draft."""

    title = StringProperty("")

    def show(self, data: tuple[ChangedSection, Any]) -> None:
        """Draw it."""
        section, look = data
        self.title = section.title
        self.ids.lines.set_items(
            [(line.id, (line, look)) for line in section.lines], ComparedLine, lambda row, line: row.show(line)
        )

    def clear_text(self) -> None:
        """Forget the lines."""
        self.ids.lines.clear_text()


class ItemRow(Touchable, EdgeSurface, BoxLayout):
    """Something to settle; a tap leads to its place."""

    words = StringProperty("")
    icon = StringProperty("alert-circle")
    group = StringProperty("")
    item = ObjectProperty(None, allownone=True)

    def show(self, item: Item) -> None:
        """Draw it."""
        self.item, self.words, self.icon = item, item.words, item.icon
        self.group = tr(f"review.group_{item.group}")

    def clear_text(self) -> None:
        """Forget it."""
        self.item, self.words = None, ""


class SummaryLine(BoxLayout):
    """A name with its words."""

    name = StringProperty("")
    icon = StringProperty("")
    tone = StringProperty("")

    def show(self, row: SummaryRow) -> None:
        """Draw it."""
        self.name, self.icon, self.tone = row.name, row.icon, row.tone
        self.ids.words.set_items(
            list(enumerate(row.words)), EdgeLabel, lambda label, words: self._word(label, words, row.tone)
        )

    @staticmethod
    def _word(label: EdgeLabel, words: str, tone: str) -> None:
        label.text = words
        label.tone = {"danger": "danger", "warning": "against", "support": "support"}.get(tone, "ink")

    def clear_text(self) -> None:
        """Forget it."""
        self.ids.words.clear_text()


class SignedCard(EdgeCard):
    """Who, when, what exactly."""

    by = StringProperty("")
    at = StringProperty("")
    content = StringProperty("")
    digests = StringProperty("")
    whole = BooleanProperty(True)

    def show(self, signed: Signed) -> None:
        """Draw it."""
        self.by, self.at, self.whole = signed.by, signed.at, signed.whole
        # In two lines, so that it is never cut.
        self.content = f"{signed.content_sha256[:32]} {signed.content_sha256[32:]}"
        self.digests = ", ".join(signed.digests) or tr("review.models_none")

    def clear_text(self) -> None:
        """Forget it."""
        self.by = self.at = self.content = self.digests = ""


class ReviewScreen(EdgeScreen):
    """See the module's docstring. start_folder: where the folder browser begins; injected by tests."""

    start_folder = ObjectProperty(None, allownone=True)
    is_signed = BooleanProperty(False)

    def __init__(self, presenter: Any, workspace: Any, **kwargs: Any) -> None:
        self._dialog: SignDialog | None = None
        super().__init__(presenter, workspace, **kwargs)
        presenter.navigate = lambda name: self.go(name)
        self._held = [self.ids[name] for name in ("sign_card", "signed", "items_card", "transcript_switch")]
        theme.bind(overlay=self._redraw)

    # ---- drawing --------------------------------------------------------------------------------------------

    def render(self, view: ReviewView) -> None:
        """See EdgeScreen."""
        self._draw_changes(view)
        self._draw_items(view)
        self.ids.summary.set_items(
            [(row.name, row) for row in view.summary], SummaryLine, lambda line, row: line.show(row)
        )
        self.ids.summary_box.show(view.open)
        self._draw_sign(view)
        self._draw_export(view)
        self._draw_dialog(view)

    def _draw_changes(self, view: ReviewView) -> None:
        ids, look = self.ids, (theme.night, theme.tr)
        ids.only.options = [("all", tr("review.all_lines")), ("only", tr("review.only_changes"))]
        ids.only.selected = "only" if view.only_changes else "all"
        words = tr_n("review.changed_lines", view.changed_lines) if view.changed_lines else tr("review.no_changes")
        ids.changed.text = words if view.has_note else ""
        ids.sections.set_items(
            [(section.section, (section, look)) for section in view.sections],
            ComparedSection,
            lambda row, data: row.show(data),
        )
        empty = not view.has_note
        box = ids.no_note
        if not empty:
            box.clear_widgets()
        elif not box.children:
            box.add_widget(EdgeEmpty(icon="note"))
        if empty:
            key = "no_note" if view.open else "no_patient"
            box.children[0].title, box.children[0].text = tr(f"review.{key}"), tr(f"review.{key}_hint")

    def _draw_items(self, view: ReviewView) -> None:
        ids = self.ids
        ids.items_box.show(view.open and view.signed is None)
        count = len(view.items)
        ids.items_pill.text = tr_n("review.unresolved_count", count) if count else tr("review.unresolved_none")
        ids.items_pill.icon, ids.items_pill.tone = ("alert", "warning") if count else ("check-circle", "support")
        shown = view.items[:MOST_ITEMS]
        ids.todo.set_items([(item.number, item) for item in shown], self._item, lambda row, item: row.show(item))
        ids.more.text = tr_n("review.more_items", count - len(shown)) if count > len(shown) else ""

    def _item(self) -> ItemRow:
        row = ItemRow()
        row.bind(on_release=lambda row: self.presenter.go(row.item) if row.item is not None else None)
        return row

    def _draw_sign(self, view: ReviewView) -> None:
        ids = self.ids
        ids.sign_box.show(view.open and view.signed is None)
        ids.signed_box.show(view.signed is not None)
        self.is_signed = view.signed is not None
        ids.signer.show(view.signer)
        ids.sign.disabled = bool(view.reason)
        ids.sign.reason = view.reason
        ids.reason.text = view.reason
        if view.signed is not None:
            ids.signed.show(view.signed)
        elif ids.signed.by:
            ids.signed.clear_text()

    def _draw_export(self, view: ReviewView) -> None:
        ids = self.ids
        ids.export_box.show(view.open)
        ids.unsigned.text = tr("review.export_unsigned") if view.open and view.signed is None else ""
        ids.switch_box.show(view.has_transcript)
        ids.transcript_switch.active = view.with_transcript
        ids.paper.options = [("A4", tr("review.paper_a4")), ("Letter", tr("review.paper_letter"))]
        ids.paper.selected = view.paper
        for button in (ids.fhir, ids.pdf):
            button.disabled = bool(view.exporting)
        done = view.exported or Exported("")
        ids.exported.text = tr(f"review.exported_{done.kind}") if done.path else ""
        ids.exported_path.text = done.path
        ids.exported_sha.text = (
            tr("review.sha256", digest=f"{done.sha256[:32]} {done.sha256[32:]}") if done.path else ""
        )
        ids.export_error.text = tr("review.exporting") if view.exporting else done.error
        ids.export_error.tone = "ink_2" if view.exporting else "danger"

    def _draw_dialog(self, view: ReviewView) -> None:
        if view.signing and self._dialog is None:
            self._dialog = SignDialog(self.presenter)
            self._dialog.open()
        if self._dialog is None:
            return
        if view.signing:
            self._dialog.show(view)
        else:
            dialog, self._dialog = self._dialog, None
            dialog.close()

    # ---- what a finger does ---------------------------------------------------------------------------------

    def choose_folder(self, kind: str) -> None:
        """Ask where to put a file, then write it."""
        browser = FolderBrowser(Path(self.start_folder or Path.home()))
        FolderDialog(browser, partial(self.presenter.export, kind), tr(f"review.choose_{kind}")).open()

    def commit_signer(self) -> None:
        """A name that is still being typed counts."""
        self.presenter.set_signer(self.ids.signer.text)

    def clear_text(self) -> None:
        """See EdgeScreen."""
        if self._dialog is not None:
            dialog, self._dialog = self._dialog, None
            dialog.close()
        self.presenter.cancel_sign()
        for widget in self._held:
            empty_whole(widget)
        super().clear_text()
        # Kivy never lets go of a text field, nor of all that it hangs on: take it off a screen that is thrown away.
        field = self.ids.signer
        if field.parent is not None:
            field.parent.remove_widget(field)


load_kv(__file__)
