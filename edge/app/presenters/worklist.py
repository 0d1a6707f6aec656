"""The worklist: find a visit, look at it, open it, begin one, delete one.

Rules
- What is typed in the search is kept nowhere but in this object, and a lock empties it.
- No row moves under a finger: rows are put in order when the list is shown, searched, filtered, sorted, or when a
  visit comes or goes; not because the open visit was saved.
- Opening or beginning another visit while the model writes for the open one is asked first: it would stop the run.
- Deleting needs a reason. A signed visit is part of the record, so deleting it needs the PIN as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from edge.app.i18n import tr, tr_n, translator
from edge.app.presenters.base import Presenter
from edge.app.presenters.deletion import Deletion, DeletionView
from edge.app.presenters.errors import words
from edge.app.presenters.follow import follow
from edge.app.presenters.patient_form import PatientFormPresenter, PatientFormView
from edge.app.presenters.preview import PreviewWords, preview_words
from edge.app.presenters.worklist_rows import (
    FILTERS,
    SORTS,
    Row,
    filter_words,
    listed,
    plain,
    row,
    same_end,
    who_words,
)
from edge.clinical.encounter.model import Encounter, EncounterState
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.app.workspace import Workspace
    from edge.clinical.encounter.flags import Flag
    from edge.clinical.encounter.summary import Summary


@dataclass(frozen=True)
class Question:
    """Something to be answered before it is done."""

    title: str
    body: str
    yes: str
    no: str


@dataclass(frozen=True)
class WorklistView:
    """pane: what stands beside the list: empty, preview, form or delete. selected: id, '' for none.

    filters, sorts: (name, words). empty_title: '' unless no row is shown. total: visits before search and filter.
    damaged: words of stored visits that cannot be read, '' for none.
    """

    rows: tuple[Row, ...] = field(repr=False)
    total: int
    count_words: str
    query: str = field(repr=False)
    state: str
    filters: tuple[tuple[str, str], ...]
    sort: str
    sorts: tuple[tuple[str, str], ...]
    selected: str
    pane: str
    preview: PreviewWords | None = field(default=None, repr=False)
    form: PatientFormView | None = field(default=None, repr=False)
    deletion: DeletionView | None = field(default=None, repr=False)
    question: Question | None = None
    empty_title: str = ""
    empty_text: str = ""
    message: str = ""
    damaged: str = ""
    language: str = "en"


def _damaged_words(workspace: Workspace) -> str:
    count = 0 if workspace.locked else workspace.damaged_records
    return tr_n("worklist.damaged", count) if count else ""


class WorklistPresenter(Presenter[WorklistView]):
    """See the module's docstring. `go(screen)` is set by who shows the screens; zone: None is the device's own."""

    def __init__(self, workspace: Workspace, *, zone: tzinfo | None = None) -> None:
        self.go: Callable[[str], None] = lambda screen: None
        self.form: PatientFormPresenter | None = None
        self.deletion: Deletion | None = None
        self._workspace = workspace
        self._zone = zone
        self._query, self._state, self._sort = "", "all", "changed"
        self._selected = ""
        self._looked: tuple[str, Encounter, tuple[Flag, ...]] | None = None
        self._deletion: DeletionView | None = field(default=None, repr=False)
        self._wanted: Callable[[], None] | None = None
        self._message = ""
        self._order: tuple[str, ...] = ()
        self._order_for: tuple[object, ...] = ()
        super().__init__(self.make_view())
        follow(workspace, self._workspace_changed)

    # ---- what is shown --------------------------------------------------------------------------------------

    def make_view(self) -> WorklistView:
        """The list as it is now."""
        every = self._workspace.worklist()
        opened = self._opened()
        now = self._workspace.services.clock()
        rows = tuple(row(one, opened, now, self._zone) for one in self._ordered(every))
        found = self._summary(self._selected)
        title = "" if rows else "none_title" if not every else "no_match_title"
        return WorklistView(
            rows=rows,
            total=len(every),
            count_words=tr_n("worklist.visits", len(rows)),
            query=self._query,
            state=self._state,
            filters=filter_words(every),
            sort=self._sort,
            sorts=tuple((name, tr(f"worklist.sort_{name}")) for name in SORTS),
            selected=found.id if found else "",
            pane="form" if self.form else "delete" if self.deletion else "preview" if found else "empty",
            preview=self._preview(found) if found else None,
            form=self.form.view if self.form else None,
            deletion=self.deletion.view() if self.deletion else None,
            question=self._question(),
            empty_title=tr(f"worklist.{title}") if title else "",
            empty_text=tr(f"worklist.{title.replace('title', 'text')}") if title else "",
            message=self._message,
            damaged=_damaged_words(self._workspace),
            language=translator.language,
        )

    def shown(self) -> None:
        """The screen came to the front: put the rows in order anew, look at the open visit."""
        self._order_for = ()
        self._look(self._selected or self._opened())
        self.refresh()

    def search(self, text: str) -> None:
        """The search text changed."""
        self._query = text
        self.refresh()

    def filter(self, state: str) -> None:
        """Show one state only, or all."""
        self._state = state if state in FILTERS else "all"
        self.refresh()

    def sort(self, name: str) -> None:
        """Another order."""
        self._sort = name if name in SORTS else "changed"
        self.refresh()

    def show_all(self) -> None:
        """Empty the search and the filter."""
        self._query, self._state = "", "all"
        self.refresh()

    def select(self, encounter_id: str) -> None:
        """A row was tapped: look at it; the row that is looked at already is opened."""
        if self.view.pane == "preview" and encounter_id == self._selected:
            self.open("exam")
            return
        self._close_panes()
        self._look(encounter_id)
        self.refresh()

    # ---- what is done ---------------------------------------------------------------------------------------

    def open(self, screen: str) -> None:
        """Open the selected visit and go to a screen of it."""
        target = self._selected

        def begin() -> None:
            if self._open(target):
                self.go(screen)

        if target:
            self._unless_writing(target, begin)

    def new_patient(self) -> None:
        """Show an empty form."""
        self._unless_writing("", lambda: self._show_form(""))

    def edit_patient(self) -> None:
        """Show the form with the selected patient's data; the visit is opened for it. Not for a signed one."""
        target = self._selected

        def begin() -> None:
            if self._open(target):
                self._show_form(target)

        found = self._summary(target)
        if found is not None and str(found.state) != EncounterState.SIGNED.value:
            self._unless_writing(target, begin)

    def begin_delete(self) -> None:
        """Show the delete card for the selected visit."""
        found = self._summary(self._selected)
        if found is not None:
            self._close_panes()
            signed = str(found.state) == EncounterState.SIGNED.value
            self.deletion = Deletion(
                self._workspace, found.id, who_words(found), signed, self._part_changed, self._deleted
            )
            self.refresh()

    def cancel_delete(self) -> None:
        """Back to the preview."""
        self._close_panes()
        self.refresh()

    def answer(self, yes: bool) -> None:
        """The question was answered."""
        wanted, self._wanted = self._wanted, None
        if yes and wanted is not None:
            wanted()
        self.refresh()

    def clear(self) -> None:
        """Let go of every word of a patient and of what was typed."""
        self._query, self._selected, self._looked = "", "", None
        self._close_panes()
        self._wanted = None
        self._order, self._order_for = (), ()
        self.refresh()

    # ---- inside ---------------------------------------------------------------------------------------------

    def _workspace_changed(self) -> None:
        if self._workspace.locked:
            self.clear()

    def _ordered(self, every: tuple[Summary, ...]) -> tuple[Summary, ...]:
        """In the order that was made for this search, filter and set of visits; made anew when one of them changed."""
        by_id = {one.id: one for one in every}
        wanted = (frozenset(by_id), self._query, self._state, self._sort)
        if wanted != self._order_for:
            self._order = tuple(one.id for one in listed(every, self._query, self._state, self._sort))
            self._order_for = wanted
        return tuple(by_id[one] for one in self._order)

    def _opened(self) -> str:
        return self._workspace.encounter.id if self._workspace.encounter is not None else ""

    def _summary(self, encounter_id: str) -> Summary | None:
        return next((one for one in self._workspace.worklist() if one.id == encounter_id), None)

    def _preview(self, found: Summary) -> PreviewWords:
        current = self._workspace.encounter
        encounter: Encounter | None = None
        flags: tuple[Flag, ...] = ()
        if current is not None and current.id == found.id:
            encounter, flags = current, self._workspace.flags
        elif self._looked is not None and self._looked[0] == found.id:
            _, encounter, flags = self._looked
        now = self._workspace.services.clock()
        return preview_words(found, encounter, flags, self._opened(), now, self._zone)

    def _look(self, encounter_id: str) -> None:
        """Read a visit in the background, to be shown beside the list. It is not opened, and its words go at a lock."""
        self._selected = encounter_id
        if not encounter_id or encounter_id == self._opened() or self._workspace.locked:
            return
        vault = self._workspace.vault

        def read() -> tuple[str, Encounter, tuple[Flag, ...]]:
            from edge.clinical.encounter.codec import from_bytes
            from edge.clinical.encounter.flags import flags

            encounter = from_bytes(vault.load(encounter_id))
            return encounter_id, encounter, flags(encounter)

        def done(answer: Any, error: BaseException | None) -> None:
            if self._selected != encounter_id or self._workspace.locked:
                return
            if error is None:
                self._looked = answer
            elif isinstance(error, EdgeError):
                self._message = words(error)
            else:
                raise error
            self.refresh()

        self._workspace.services.background.post(read, done=done)

    def _unless_writing(self, target: str, action: Callable[[], None]) -> None:
        """Do it now, or ask first while the model writes for another visit than the target."""
        self._message = ""
        if self._workspace.streaming is not None and self._opened() not in ("", target):
            self._wanted = action
        else:
            action()
        self.refresh()

    def _question(self) -> Question | None:
        if self._wanted is None:
            return None
        names = ("title", "text", "yes", "no")
        return Question(*(tr(f"worklist.writing_{name}") for name in names))

    def _open(self, encounter_id: str) -> bool:
        try:
            self._workspace.open(encounter_id)
        except EdgeError as error:
            self._message = words(error)
            return False
        return True

    def _close_panes(self) -> None:
        if self.deletion is not None:
            self.deletion.cancel()
        self.form, self.deletion, self._message = None, None, ""

    def _show_form(self, encounter_id: str) -> None:
        self._close_panes()
        form = PatientFormPresenter(
            self._workspace, self._form_done, encounter_id=encounter_id, same_mrn=self._same_mrn
        )
        form.subscribe(self._part_changed)
        self.form = form

    def _part_changed(self) -> None:
        self.refresh()

    def _form_done(self, encounter_id: str) -> None:
        made = self.form is not None and self.form.view.is_new
        self.form = None
        if encounter_id:
            self._look(encounter_id)
        self.refresh()
        if encounter_id and made:
            self.go("exam")

    def _same_mrn(self, mrn: str, own: str) -> str:
        """Another visit with this record number in words. Only what the mask lets through is read in full."""
        from edge.clinical.encounter.codec import from_bytes

        background, vault = self._workspace.services.background, self._workspace.vault
        for one in self._workspace.worklist():
            if one.id != own and same_end(mrn, one.masked_mrn):
                try:
                    other = from_bytes(background.call(vault.load, one.id))
                except EdgeError:
                    continue  # a record that cannot be read must not keep a new patient out
                if plain(other.patient.mrn) == plain(mrn):
                    return f"{who_words(one)}, {tr(f'worklist.state_{one.state}')}"
        return ""

    def _deleted(self) -> None:
        self._close_panes()
        self._selected, self._looked = "", None
        self._message = tr("worklist.deleted")
