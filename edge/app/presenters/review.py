"""Review and sign: what differs from the draft, what must be settled, what will be signed, the signature, the export.

Rules
- Nothing is settled here: every item leads to its place, where a person decides.
- Sign needs a name and the PIN; it waits until nothing blocks. After it the encounter can only be read and exported.
- A file leaves only by a tap, into the folder that a person chose, with or without the transcript as they say.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.app.i18n import tr, tr_n, translator
from edge.app.presenters.base import Presenter
from edge.app.presenters.errors import words
from edge.app.presenters.exports import Told, Wish, Written, export
from edge.app.presenters.follow import follow
from edge.app.presenters.jumps import leave
from edge.app.presenters.pin_entry import PinEntry
from edge.app.presenters.review_view import (
    DIGEST_SHOWN,
    ChangedSection,
    Exported,
    Item,
    ReviewView,
    Signed,
    SummaryRow,
    changed_sections,
    item_of,
    summary_rows,
)
from edge.app.presenters.when import local
from edge.clinical.encounter.checks import Block, blocking
from edge.clinical.encounter.edits import verify_signature
from edge.clinical.encounter.model import Encounter
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

Parts = tuple[tuple[ChangedSection, ...], tuple[ChangedSection, ...], tuple[SummaryRow, ...]]


def _nothing() -> None:
    """Nothing is to be called off."""


class ReviewPresenter(Presenter[ReviewView]):
    """See the module's docstring. navigate: shows a screen by its name; set by the screen."""

    def __init__(
        self,
        workspace: Workspace,
        export: Callable[[Workspace, Wish, Told], None] = export,
        navigate: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(ReviewView())
        self.workspace, self.navigate = workspace, navigate
        self._export = export
        self.pin = PinEntry()
        self._call_off: Callable[[], None] = _nothing
        self._encounter_id = ""
        self._only_changes = False
        self._signer: str | None = None
        self._signing = False
        self._checking = False
        self._pin_error = ""
        self._with_transcript = False
        self._exporting = ""
        self._exported: Exported | None = None
        self._whole: tuple[Encounter, bool] | None = None
        self._blocks: tuple[Encounter, tuple[Block, ...]] | None = None
        self._parts: tuple[tuple[object, ...], Parts] | None = None
        follow(workspace, self.update)
        self.update()

    # ---- what is there --------------------------------------------------------------------------------------

    def show_only_changes(self, only: bool) -> None:
        """All lines, or those that differ from the draft."""
        self._only_changes = only
        self.refresh()

    def go(self, item: Item) -> None:
        """Leave its place for the screen that shows it; `navigate` then shows that screen."""
        leave(self.workspace, item.screen, item.ref)
        if self.navigate is not None:
            self.navigate(item.screen)

    # ---- signing --------------------------------------------------------------------------------------------

    def set_signer(self, name: str) -> None:
        """Who signs."""
        self._signer = " ".join(name.split())[:80]
        self.refresh()

    def ask_sign(self) -> None:
        """Ask for the PIN; does nothing while a reason stands against it."""
        if not self.view.reason and self.view.signed is None:
            self.pin.clear()
            self.pin.keyboard = False
            self._signing, self._pin_error = True, ""
            self.refresh()

    def digit(self, digit: str) -> None:
        """A key of the number pad."""
        if not self._checking:
            self.pin.digit(digit)
            self.refresh()

    def back(self) -> None:
        """Take the last digit back."""
        self.pin.back()
        self.refresh()

    def type_pin(self, text: str) -> None:
        """The keyboard field holds this now."""
        if not self._checking:
            self.pin.type(text)
            self.refresh()

    def use_keyboard(self, wanted: bool) -> None:
        """A passphrase by the keyboard, or the pad; what was typed is forgotten."""
        if not self._checking:
            self.pin.clear()
            self.pin.keyboard = wanted
            self.refresh()

    def cancel_sign(self) -> None:
        """Forget the PIN and leave everything as it is, also where the PIN is being looked at."""
        self._forget_pin()
        self.refresh()

    def _forget_pin(self) -> None:
        self._call_off()
        self._call_off = _nothing
        self.pin.clear()
        self._signing, self._checking, self._pin_error = False, False, ""

    def sign(self) -> None:
        """The PIN was entered: look at it, then sign; a later tick tells. A wrong one leaves everything as it is."""
        if not self._signing or self._checking or not len(self.pin):
            return
        self._checking, self._pin_error = True, ""
        self._call_off = self.workspace.sign_soon(self.pin.take(), self.view.signer, self._signed_or_not)
        self.refresh()

    def _signed_or_not(self, error: EdgeError | None) -> None:
        self._signing, self._checking = error is not None, False
        self._pin_error = words(error) if error is not None else ""
        self._call_off = _nothing
        self.update()

    # ---- export ---------------------------------------------------------------------------------------------

    def include_transcript(self, wanted: bool) -> None:
        """Whether the files hold what was said."""
        self._with_transcript = wanted
        self.refresh()

    def set_paper(self, paper: str) -> None:
        """A4 or Letter; remembered."""
        self.workspace.set_setting("paper", paper)
        self.refresh()

    def export(self, kind: str, folder: Path) -> None:
        """Write one file (fhir or pdf) into a folder that a person chose. The view tells when it is there."""
        encounter = self._encounter
        if encounter is None or self._exporting:
            return
        wanted = self._with_transcript and bool(encounter.visit.text)
        self._exporting, self._exported = kind, None

        def told(written: Written | None, error: EdgeError | None) -> None:
            self._exporting = ""
            if self._encounter_id == encounter.id:
                why = tr("review.export_failed", why=words(error)) if error is not None else ""
                self._exported = (
                    Exported(kind, str(written.path), written.sha256) if written else Exported(kind, error=why)
                )
            self.refresh()

        try:
            self._export(self.workspace, Wish(kind, folder, wanted, self.workspace.settings.paper), told)
        except EdgeError as error:
            told(None, error)
        self.refresh()

    # ---- the snapshot ---------------------------------------------------------------------------------------

    @property
    def _encounter(self) -> Encounter | None:
        return self.workspace.encounter

    def update(self) -> None:
        """Take over what the desk holds now."""
        encounter = self._encounter
        if (encounter.id if encounter else "") != self._encounter_id:
            self._encounter_id = encounter.id if encounter else ""
            self._forget_pin()
            self._only_changes = self._with_transcript = False
            self._exported = None
            self._signer, self._whole, self._blocks, self._parts = None, None, None, None
        self.refresh()

    def make_view(self) -> ReviewView:
        """See Presenter."""
        encounter = self._encounter
        if encounter is None:
            return ReviewView()
        sections, changed, summary = self._encounter_parts(encounter)
        note = encounter.note
        signed = self._signed(encounter)
        items = () if signed else self._items(encounter)
        signer = self.workspace.settings.signer if self._signer is None else self._signer
        return ReviewView(
            open=True,
            sections=sections,
            only_changes=self._only_changes,
            changed_lines=sum(len(section.lines) for section in changed),
            has_note=note is not None and bool(note.lines),
            items=items,
            summary=summary,
            signer=signer,
            reason=self._reason(len(items), signer),
            signing=self._signing and signed is None,
            pin_typed=len(self.pin),
            pin_error=self._pin_error,
            pin_keyboard=self.pin.keyboard,
            checking=tr("review.checking") if self._checking else "",
            signed=signed,
            with_transcript=self._with_transcript,
            has_transcript=bool(encounter.visit.text),
            paper=self.workspace.settings.paper,
            exporting=self._exporting,
            exported=self._exported,
        )

    def _encounter_parts(self, encounter: Encounter) -> Parts:
        """Diff and summary; made once for all that the model writes meanwhile."""
        key = (encounter, self.workspace.flags, self._only_changes, translator.language)
        if self._parts is None or any(a is not b for a, b in zip(key, self._parts[0], strict=True)):
            sections = changed_sections(encounter, only_changes=self._only_changes)
            changed = changed_sections(encounter, only_changes=True)
            self._parts = (key, (sections, changed, summary_rows(encounter, self.workspace.flags)))
        return self._parts[1]

    def _items(self, encounter: Encounter) -> tuple[Item, ...]:
        if self._blocks is None or self._blocks[0] is not encounter:
            self._blocks = (encounter, blocking(encounter))
        return tuple(item_of(number, block, encounter) for number, block in enumerate(self._blocks[1], 1))

    def _reason(self, items: int, signer: str) -> str:
        """Why it cannot be signed now, in words."""
        if items:
            return tr_n("review.sign_reason_items", items)
        if self.workspace.streaming is not None:
            return tr("review.sign_reason_streaming")
        return "" if signer else tr("review.sign_reason_name")

    def _signed(self, encounter: Encounter) -> Signed | None:
        signature = encounter.signature
        if signature is None:
            return None
        if self._whole is None or self._whole[0] is not encounter:
            self._whole = (encounter, verify_signature(encounter))
        moment = local(signature.at)
        return Signed(
            by=signature.by,
            at=f"{moment:%Y-%m-%d %H:%M:%S %Z}".strip() if moment else signature.at,
            content_sha256=signature.content_sha256,
            digests=tuple(digest[:DIGEST_SHOWN] for digest in signature.behaviour_digests),
            whole=self._whole[1],
        )
