"""The ranked differential beside Exam and Eye: red flags of the rules first, then the options with their basis.

Rules
- Nothing is ranked by itself: only `rank` begins a run, and what it found stays a proposal of model and table.
- No row moves under a finger. A ranking that comes while a touch is down waits; a pin or a dismissal changes a row
  where it stands. Pinned rows come first only when the next ranking is shown.
- A case that changed since the ranking makes it stale, in words.
- Every reason jumps to what it rests on, every missing input to where it can be entered (`Jump`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from edge.app.engine.state import overlays, status_key
from edge.app.i18n import DEFAULT, tr, tr_n, translator
from edge.app.presenters.base import Presenter
from edge.app.presenters.differential_view import DifferentialView, DismissedView, FlagView, Key, RowView, TaskView
from edge.app.presenters.places import Jump, Link, link_of, place_of, term, words_of
from edge.clinical.encounter import edits
from edge.clinical.encounter.case_text import case_text
from edge.clinical.encounter.model import (
    Basis,
    Differential,
    DifferentialRow,
    Encounter,
    EncounterState,
    Eye,
    EyeExam,
    Presence,
)

if TYPE_CHECKING:
    from edge.app.workspace import Workspace
    from edge.clinical.encounter.flags import Flag

GENERAL, EYE = "differential", "ophthalmology"
TASKS = (GENERAL, EYE)
_TELLING = ("eye", "vital", "finding", "history", "transcript")
REASONS = ("examined", "test", "known", "unlikely")
FEW_FLAGS = 2  # shown at once; the rest opens, so that the ranking stays in sight
# A model that may not be used: the words of its state are the reason why nothing can be ranked.
OFF = ("missing", "mismatch", "untrusted", "unsupported", "unverified")


class DifferentialPresenter(Presenter[DifferentialView]):
    """See the module's docstring. `on_jump` is set by the screen that is shown."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(DifferentialView())
        self.workspace = workspace
        self.on_jump: Callable[[Jump], None] | None = None
        self.pending: Jump | None = None
        self._encounter_id = ""
        self._chosen = ""
        self._open: set[Key] = set()
        self._open_flags: set[str] = set()
        self._all_flags = False
        self._touching = False
        self._shown: Differential | None = None
        self._waits = False
        self._order: tuple[Key, ...] = ()
        self._moves: dict[Key, int | None] = {}
        self._jumps = 0
        self._sha: tuple[Encounter, str, str] | None = None
        self.refresh()

    # ---- what a finger does ---------------------------------------------------------------------------------

    @property
    def task(self) -> str:
        """differential or ophthalmology: as chosen, else of the last ranking, else eye when only the eye was seen."""
        encounter = self.workspace.encounter
        if self._chosen or encounter is None:
            return self._chosen or GENERAL
        if encounter.differential is not None:
            return encounter.differential.task
        return EYE if _only_eye(encounter) and EYE in self.workspace.services.engines else GENERAL

    def choose_task(self, task: str) -> None:
        """Switch the toggle. What is shown stays until the next ranking."""
        self._chosen = task
        self.refresh()

    def rank(self) -> None:
        """Begin a run. Does nothing where the view gives a reason why not."""
        self.refresh()
        if not self.view.off and not self.view.running:
            self.workspace.runs.start_differential(self.task)
            self.refresh()

    def stop(self) -> None:
        """Stop it, in this frame."""
        self.workspace.runs.stop()
        self.refresh()

    def touch_down(self) -> None:
        """A finger rests on the rows: they stay where they are."""
        self._touching = True

    def touch_up(self) -> None:
        """It was lifted: a ranking that waited is shown."""
        self._touching = False
        self.refresh()

    def toggle(self, key: Key) -> None:
        """Open or close a row."""
        self._open ^= {key}
        self.refresh()

    def toggle_flag(self, key: str) -> None:
        """Open or close a red flag: its source and its findings."""
        self._open_flags ^= {key}
        self.refresh()

    def toggle_all_flags(self) -> None:
        """Show all red flags, or few."""
        self._all_flags = not self._all_flags
        self.refresh()

    def pin(self, key: Key, pinned: bool) -> None:
        """Keep a row in sight."""
        self.workspace.edit(edits.pin_row, key[0], key[1], pinned)

    def dismiss(self, key: Key, reason: str) -> bool:
        """Put a row away. reason: words; without any, nothing is done and the answer is False."""
        if not reason.strip():
            return False
        self.workspace.edit(edits.dismiss_row, key[0], key[1], " ".join(reason.split())[:200])
        return True

    def restore(self, key: Key) -> None:
        """Bring a dismissed row back."""
        self.workspace.edit(edits.dismiss_row, key[0], key[1], "")

    def jump(self, link: Link) -> None:
        """Show where a reason comes from, or where a missing input can be entered."""
        self._jumps += 1
        self.pending = Jump(link.ref, link.words or link.text, self._jumps)
        if self.on_jump is not None:
            self.on_jump(self.pending)

    def take_jump(self, screen: str) -> Jump | None:
        """The jump that waits for a screen to come up; once."""
        jump = self.pending
        if jump is None or jump.screen != screen:
            return None
        self.pending = None
        return jump

    # ---- the snapshot ---------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Take over what the desk holds now; see Presenter."""
        encounter = self.workspace.encounter
        if (encounter.id if encounter else "") != self._encounter_id:
            self._encounter_id = encounter.id if encounter else ""
            self._chosen, self._all_flags, self.pending = "", False, None
            self._open, self._open_flags = set(), set()
            self._shown, self._order, self._moves, self._sha = None, (), {}, None
        self._adopt(encounter.differential if encounter else None)
        return super().refresh()

    def _adopt(self, found: Differential | None) -> None:
        """Show a ranking now, or let it wait for the finger."""
        shown, self._waits = self._shown, False
        if found is not None and shown is not None and found.run == shown.run and _keys(found) == _keys(shown):
            self._shown = found
            return
        if self._touching and shown is not None and found is not None:
            self._waits = True
            return
        old = {key: rank for rank, key in enumerate(_keys(shown))} if shown else {}
        self._shown = found
        if found is None:
            self._order, self._moves = (), {}
            return
        keys = _keys(found)
        pinned = {_key(row) for row in found.rows if row.pinned}
        self._order = tuple(sorted(keys, key=lambda key: (key not in pinned, keys.index(key))))
        self._moves = {key: old[key] - rank if key in old else None for rank, key in enumerate(keys)} if old else {}
        if not shown:
            self._open |= set(self._order[:1])

    def make_view(self) -> DifferentialView:
        """See Presenter."""
        workspace, encounter, task = self.workspace, self.workspace.encounter, self.task
        tasks = tuple(TaskView(name, tr(f"differential.task_{name}"), name == task) for name in TASKS)
        if encounter is None:
            return DifferentialView(tasks, rank_word=tr("differential.rank"), off=tr("differential.off_no_patient"))
        engine = workspace.runs.view(task)
        key, values = status_key(engine)
        running = engine.busy and engine.task == task
        fraction = engine.done / engine.total if running and engine.total else 0.0 if running else None
        words = tr("differential.progress", done=engine.done, total=engine.total) if running and engine.total else ""
        shown = self._shown
        rows = {_key(row): (rank, row) for rank, row in enumerate(shown.rows, 1)} if shown else {}
        ordered = [rows[one] for one in self._order if one in rows]
        away = tuple(_dismissed(row) for _, row in ordered if row.dismissed)
        stale = shown is not None and shown.case_sha256 != self._case_sha(encounter, shown.task)
        flags = tuple(self._flag(one, encounter) for one in workspace.flags)
        hidden = 0 if self._all_flags else max(0, len(flags) - FEW_FLAGS)
        more = tr_n("differential.flags_more", hidden) if hidden else ""
        if self._all_flags and len(flags) > FEW_FLAGS:
            more = tr("differential.flags_less")
        return DifferentialView(
            tasks=tasks,
            flags=flags[: len(flags) - hidden],
            more_flags=more,
            rank_word=tr("differential.rank_again") if shown else tr("differential.rank"),
            off=self._off(encounter, task),
            running=running,
            status=tr(key, **values),
            overlay="  ".join(tr(name, **told) for name, told in overlays(engine)),
            tone=_tone(engine.status),
            progress=fraction,
            progress_words=words,
            rows=tuple(self._row(rank, row) for rank, row in ordered if not row.dismissed),
            dismissed=away,
            dismissed_title=tr_n("differential.dismissed", len(away)) if away else "",
            stale=tr("differential.stale") if stale else "",
            waiting=tr("differential.waiting") if self._waits else "",
            notices=shown.notices if shown else (),
            missing=tuple(_input(one) for one in shown.missing) if shown and shown.rows else (),
            empty=tr("differential.empty") if shown and not shown.rows else "",
            not_ranked=shown is None,
            signed=encounter.state is EncounterState.SIGNED,
        )

    def _off(self, encounter: Encounter, task: str) -> str:
        """Why nothing can be ranked now."""
        workspace = self.workspace
        if encounter.state is EncounterState.SIGNED:
            return tr("differential.off_signed")
        facts = workspace.facts(task)
        if task not in workspace.services.engines or (facts is not None and task not in facts.tasks):
            return tr("differential.off_task")
        if workspace.runs.view(task).status in OFF:
            key, values = status_key(workspace.runs.view(task))
            return tr(key, **values)
        if not _has_findings(encounter):
            return tr("differential.off_no_findings")
        if workspace.streaming is not None and workspace.streaming.task != task:
            return tr("differential.off_busy")
        return ""

    def _case_sha(self, encounter: Encounter, task: str) -> str:
        if self._sha is None or self._sha[0] is not encounter or self._sha[1] != task:
            self._sha = (encounter, task, case_text(encounter, eye_only=task == EYE).sha256)
        return self._sha[2]

    def _row(self, rank: int, row: DifferentialRow) -> RowView:
        key = _key(row)
        moved, way = self._moved(key)
        return RowView(
            key=key,
            rank=rank,
            name=row.name,
            eye=row.eye.value if row.eye else "",
            icd10=row.icd10,
            score="<0.01" if 0 < row.score < 0.005 else f"{row.score:.2f}",
            fraction=min(1.0, max(0.0, row.score)),
            origin=tr("differential.origin_model" if row.basis == "model" else "differential.origin_table"),
            by_model=row.basis == "model",
            pinned=row.pinned,
            opened=key in self._open,
            moved=moved,
            way=way,
            supports=tuple(self._link(one, row.eye) for one in row.supports),
            against=tuple(self._link(one, row.eye) for one in row.against),
            missing=tuple(Link(term(one), place_of(one, row.eye), words=one) for one in row.missing),
        )

    def _moved(self, key: Key) -> tuple[str, str]:
        """How a row came to its place in this ranking: in words, and up, down or new."""
        places = self._moves.get(key) if self._moves else 0
        if places is None:
            return tr("differential.moved_new"), "new"
        way = "up" if places > 0 else "down"
        return (tr(f"differential.moved_{way}", count=abs(places)), way) if places else ("", "")

    def _link(self, basis: Basis, eye: Eye | None) -> Link:
        """A reason in the language in use: the case that the model reads is English."""
        link, encounter = link_of(basis, eye), self.workspace.encounter
        if translator.language == DEFAULT or encounter is None or basis.ref is None:
            return link
        return replace(link, text=words_of(basis.ref, encounter) or link.text)

    def _flag(self, flag: Flag, encounter: Encounter) -> FlagView:
        # What was measured tells most in a line.
        refs = sorted(flag.refs, key=lambda ref: _TELLING.index(ref.kind) if ref.kind in _TELLING else len(_TELLING))
        links = [Link(words_of(ref, encounter), ref) for ref in refs]
        links = [one for one in links if one.text]
        title = tr(f"redflag.{flag.rule_id.replace('-', '_')}")
        return FlagView(
            key=flag.rule_id,
            title=f"{title}: {links[0].text}" if links else title,
            source=tr("differential.flags_source", source=flag.source),
            severe=flag.severity == "high",
            opened=flag.rule_id in self._open_flags,
            links=tuple({one.text: one for one in links}.values()),
        )


def _key(row: DifferentialRow) -> Key:
    return row.name, row.eye


def _keys(shown: Differential | None) -> list[Key]:
    return [_key(row) for row in shown.rows] if shown else []


def _dismissed(row: DifferentialRow) -> DismissedView:
    name = f"{row.name} {row.eye.value}" if row.eye else row.name
    return DismissedView(_key(row), name, tr("differential.dismissed_why", reason=row.dismissed))


def _only_eye(encounter: Encounter) -> bool:
    """Whether all that was found is of an eye."""
    found = [one for one in encounter.findings if one.presence is not Presence.UNKNOWN]
    of_eye = encounter.eye != EyeExam() or any(one.eye for one in found)
    return of_eye and all(one.eye for one in found)


def _has_findings(encounter: Encounter) -> bool:
    """Whether there is anything to compare with; what nobody confirmed or asked does not count."""
    found = (*encounter.findings, *encounter.history)
    told = any(one.confirmed and one.presence is not Presence.UNKNOWN for one in found)
    return told or any(one.confirmed for one in encounter.vitals) or encounter.eye != EyeExam()


def _input(what: str) -> Link:
    """An input that every ranking wants, in the language in use."""
    name = re.sub(r"[^a-z0-9]+", "_", what.casefold()).strip("_")
    return Link(tr(f"differential.input_{name}"), place_of(what), words=what)


def _tone(status: str) -> str:
    """How the status words are drawn; they say the same."""
    if status in ("streaming", "loading"):
        return "busy"
    if status == "done":
        return "good"
    return "plain" if status == "idle" else "warning"


_shared: list[DifferentialPresenter] = []


def shared_differential(workspace: Workspace) -> DifferentialPresenter:
    """The one of the desk: Exam and Eye show the same pane, with the same rows open."""
    if not _shared or _shared[0].workspace is not workspace:
        _shared[:] = [DifferentialPresenter(workspace)]
    return _shared[0]
