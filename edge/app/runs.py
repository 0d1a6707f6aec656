"""Runs of the engines: who writes what for whom, and when a result may enter the encounter.

Rules
- One run at a time over all engines: a board has no cores for two.
- A result enters only when its run is the one that was started last, its encounter is the one that is open and is not
  signed, it was not stopped, and the model's answers could be read. A stale one is dropped without a trace.
- What a note was drafted from and what a differential ranked are kept by digest, so that a screen can say "stale".
- While an encounter is open, an engine that comes back with another behaviour digest is not used. Between two, an
  engine whose build an installer exchanged is started anew (`follow_builds`), and while one is in its self-test the
  engines are ended; a visit that is opened has them back at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app.engine.client import EngineClient
from edge.app.engine.messages import (
    BENCHMARK,
    NOTE,
    BenchmarkDone,
    BundleFacts,
    DeviceReading,
    Died,
    DraftNote,
    Event,
    Failed,
    Figures,
    LineDrafted,
    Piece,
    Progress,
    RankDifferential,
    Reading,
    Ready,
    Refused,
    Request,
    Result,
    RunBenchmark,
    Unreadable,
)
from edge.app.engine.state import Dismiss, EngineView, Launch, Shut, Stop, Submit, advance
from edge.clinical.encounter import edits
from edge.clinical.encounter.case_text import CaseText, case_text, to_differential
from edge.clinical.encounter.from_draft import to_note
from edge.clinical.encounter.model import Encounter, EncounterState, Note, RunStamp
from edge.errors import EdgeError, InputError

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

DIFFERENTIAL, EYE = "differential", "ophthalmology"
FIGURES_KEPT = 100
IDLE = EngineView()


@dataclass(frozen=True)
class Streaming:
    """What is being written. text: as the model writes it, unchecked; lines: those that passed the check."""

    run_id: str
    task: str
    encounter_id: str
    started_at: str
    text: str = field(default="", repr=False)
    lines: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    part: int = 0
    parts: int = 0
    done: int = 0
    total: int = 0


class Runs:
    """The engines' side of the desk; see the module's docstring."""

    def __init__(self, desk: Workspace) -> None:
        self._desk = desk
        self._engines: Mapping[str, EngineClient] = desk.services.engines
        self._views: dict[int, EngineView] = {id(client): IDLE for client in self._engines.values()}
        self._pinned: dict[int, str] = {}
        self._opened: dict[int, Path | None] = {}  # where the build lay that an engine was started with
        self._set_aside: tuple[EngineClient, ...] = ()
        self._case: CaseText | None = None
        self._source = ""
        self._unreadable = False
        self.streaming: Streaming | None = None
        self.figures: deque[tuple[str, Figures]] = deque(maxlen=FIGURES_KEPT)
        self.benchmark: BenchmarkDone | None = None
        self.peak_rss_bytes = 0
        self.last_task = ""

    # ---- what screens read ----------------------------------------------------------------------------------

    def view(self, task: str) -> EngineView:
        """The engine that serves a task; a task that no bundle has shows `missing`."""
        client = self._engines.get(task)
        return (
            self._views[id(client)]
            if client is not None
            else EngineView("missing", profile=self._desk.services.profiles.get(task, ""))
        )

    def facts(self, task: str) -> BundleFacts | None:
        """The bundle that serves a task, once its engine is ready."""
        return self.view(task).facts

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that some bundle of this device has."""
        return tuple(self._engines)

    def clients(self) -> list[EngineClient]:
        """Each engine once."""
        return list({id(client): client for client in self._engines.values()}.values())

    # ---- what a person does ---------------------------------------------------------------------------------

    def start_engines(self) -> None:
        """Begin to load every model, before anybody asks for one."""
        for client in self.clients():
            self._launch(client)
        self._desk.changed()

    def start_note(self) -> None:
        """Draft the note of the open encounter. Errors: InputError when there is nothing to draft from."""
        encounter = self._writable()
        if not encounter.visit.text.strip():
            raise InputError("there is no transcript", mend="paste, type, open or record one")
        self._source = encounter.visit.text
        run_id = self._desk.services.new_id()
        self._submit(NOTE, DraftNote(run_id, encounter.id, encounter.visit.text), run_id, encounter.id)

    def start_differential(self, task: str = DIFFERENTIAL) -> None:
        """Rank options for the open encounter. Errors: InputError when nothing was found yet."""
        encounter = self._writable()
        case = case_text(encounter, eye_only=task == EYE)
        if not case.anchors:
            raise InputError("nothing was found yet", mend="enter what is present and what is absent")
        self._case = case
        run_id = self._desk.services.new_id()
        self._submit(task, RankDifferential(run_id, encounter.id, task, case.text), run_id, encounter.id)

    def start_benchmark(self, task: str = NOTE) -> None:
        """Measure the bundle that serves a task. Errors: InputError while an encounter is open."""
        if self._desk.encounter is not None:
            raise InputError("an encounter is open", mend="close it before the measurement")
        run_id = self._desk.services.new_id()
        self._submit(task, RunBenchmark(run_id), run_id, "", shown=BENCHMARK)

    def stop(self) -> None:
        """Stop what is being written; it shows in the same frame."""
        running = self.streaming
        if running is None:
            return
        client = self._client_of(running.task)
        client.cancel(running.run_id)
        self._advance(client, Stop(running.run_id))
        self.streaming = None
        self._desk.audit("run-stop", running.encounter_id, run_id=running.run_id)
        self._desk.changed()

    stop_all = stop

    def dismiss(self, task: str) -> None:
        """The status of a task's engine was read."""
        if (client := self._engines.get(task)) is not None:
            self._advance(client, Dismiss())
            self._desk.changed()

    def restart(self, task: str) -> None:
        """Load a task's engine again, after it died or memory was freed."""
        if (client := self._engines.get(task)) is not None:
            self._launch(client)
            self._desk.changed()

    def follow_builds(self) -> None:
        """Between two visits: an engine whose build was exchanged is started anew, with the one that is in force now.

        While an installer tests a build the engines are ended: two models may be more than this device's memory. Called
        when a visit is opened, with the lock held, it starts them again at once: by that lock the test ends itself.
        """
        if self._desk.encounter is not None or self.streaming is not None:
            return
        testing = self._desk.services.update_lock.testing
        moved = tuple(
            client
            for client in self.clients()
            if client.alive and (testing or self._place(client) != self._opened.get(id(client)))
        )
        for client in moved:
            self._end(client)
        self._set_aside += moved
        if not testing:
            waiting, self._set_aside = self._set_aside, ()
            for client in waiting:
                self._launch(client)
            moved = waiting
        if moved:
            self._desk.changed()

    def _end(self, client: EngineClient) -> None:
        client.kill()
        self._advance(client, Shut())

    def _place(self, client: EngineClient) -> Path | None:
        task = next(name for name, one in self._engines.items() if one is client)
        place = self._desk.services.places.get(task)
        return place() if place is not None else None

    def encounter_opened(self) -> None:
        """Pin the builds that are loaded: the clinician must not get another one in the middle."""
        self._pinned = {key: view.facts.behaviour_digest for key, view in self._views.items() if view.facts is not None}

    def encounter_closed(self) -> None:
        """Let go of the builds and of every word of the case."""
        self._pinned, self._case, self._source = {}, None, ""

    def digests_used(self) -> tuple[str, ...]:
        """Behaviour digests of the builds that wrote something in the open encounter."""
        encounter = self._desk.encounter
        stamps = [part.run for part in (encounter.note, encounter.differential) if part] if encounter else []
        return tuple(dict.fromkeys(stamp.behaviour_digest for stamp in stamps if stamp))

    def close(self) -> None:
        """End every engine."""
        for client in self.clients():
            client.close()
            self._advance(client, Shut())

    # ---- each frame -----------------------------------------------------------------------------------------

    def poll(self) -> None:
        """What the engines have said since the last frame."""
        changed = False
        for client in self.clients():
            for event in client.poll():
                changed = True
                self._heard(client, event)
        if changed:
            self._desk.changed()

    def _heard(self, client: EngineClient, event: Event) -> None:
        if isinstance(event, Ready):
            pinned = self._pinned.get(id(client))
            if self._desk.encounter is not None and pinned not in (None, event.facts.behaviour_digest):
                client.kill()
                event = Refused("mismatch", "the bundle was changed while an encounter is open")
            elif self._desk.encounter is not None:
                self._pinned[id(client)] = event.facts.behaviour_digest
        running = self.streaming
        if isinstance(event, Result) and running is not None and event.run_id == running.run_id:
            self._ended(client, running, event)
        self._advance(client, event)
        if isinstance(event, DeviceReading):
            self._desk.readings.append(event)
            self.peak_rss_bytes = max(self.peak_rss_bytes, event.rss_bytes)
            return
        if running is None:
            return
        if isinstance(event, Died | Refused) and self._client_of(running.task) is client:
            self.streaming = None
            action = "run-fail" if isinstance(event, Died) else "bundle-refused"
            self._desk.audit(action, running.encounter_id, run_id=running.run_id)
        elif getattr(event, "run_id", None) == running.run_id:
            self._of_run(running, event)

    def _of_run(self, running: Streaming, event: Event) -> None:
        match event:
            case Piece(text=text):
                self.streaming = replace(running, text=running.text + text)
            case LineDrafted(line=line):
                self.streaming = replace(running, lines=(*running.lines, line))
            case Reading(part=part, parts=parts):
                self.streaming = replace(running, part=part, parts=parts)
            case Progress(done=done, total=total):
                self.streaming = replace(running, done=done, total=total)
            case Unreadable():
                self._unreadable = True
            case BenchmarkDone():
                self.streaming, self.benchmark = None, event
            case Failed():
                self.streaming = None
                self._desk.audit("run-fail", running.encounter_id, run_id=running.run_id)

    def _ended(self, client: EngineClient, running: Streaming, result: Result) -> None:
        """The run gave its result: it enters the encounter it was made for, if that is still open, or nothing does."""
        self.streaming = None
        self.figures.append((result.task, result.figures))
        if result.cancelled or self._unreadable:
            return
        encounter = self._desk.encounter
        if encounter is None or encounter.id != result.encounter_id or encounter.state == EncounterState.SIGNED:
            return
        stamp = self._stamp(running)
        made = self._made(encounter, running, result, stamp)
        if made is None:
            self._advance(client, Unreadable(running.run_id))
            self._desk.audit("run-fail", encounter.id, run_id=running.run_id)
            return
        self._desk.edit(lambda _before, now: made)
        self._tell("note-set" if running.task == NOTE else "differential-set", encounter.id, stamp)

    def _stamp(self, running: Streaming) -> RunStamp:
        facts = self.view(running.task).facts
        return RunStamp(
            run_id=running.run_id,
            task=running.task,
            bundle=facts.name if facts else "",
            behaviour_digest=facts.behaviour_digest if facts else "",
            started_at=running.started_at,
            finished_at=self._desk.now(),
            verified=facts is not None and facts.verified == "passed",
        )

    def _made(self, encounter: Encounter, running: Streaming, result: Result, stamp: RunStamp) -> Encounter | None:
        """The encounter with the result in it; None for a result that has not its form."""
        try:
            if running.task != NOTE:
                if self._case is None:
                    return None
                differential = to_differential(result.value, self._case, stamp)
                return edits.set_differential(encounter, differential, now=self._desk.now())
            # Of the text that was sent: when it was changed since, the digest shows that the links are stale.
            note = to_note(result.value, stamp, self._source, self._desk.services.new_id)
            if encounter.visit.text != self._source:
                note = _within(note, len(encounter.visit.text))
            return edits.set_note(encounter, note, now=self._desk.now())
        except (EdgeError, LookupError, TypeError, ValueError, AttributeError, OverflowError):
            return None

    def _tell(self, action: str, encounter_id: str, stamp: RunStamp) -> None:
        digest = {"behaviour_digest": stamp.behaviour_digest} if stamp.behaviour_digest else {}
        self._desk.audit(action, encounter_id, run_id=stamp.run_id, **digest)

    # ---- inside ---------------------------------------------------------------------------------------------

    def _writable(self) -> Any:
        encounter = self._desk.encounter
        if encounter is None:
            raise InputError("no patient is open", mend="open one in the worklist")
        if encounter.state == EncounterState.SIGNED:
            raise InputError("the encounter is signed", mend="open another one")
        return encounter

    def _client_of(self, task: str) -> EngineClient:
        return self._engines[task if task != BENCHMARK else self.last_task]

    def _submit(self, task: str, request: Request, run_id: str, encounter_id: str, shown: str = "") -> None:
        if self.streaming is not None:
            raise InputError("the model is still writing", mend="wait, or stop it first")
        client = self._engines.get(task)
        if client is None:
            raise InputError(f"no model on this device has the task '{task}'", mend="ask your engineer to install one")
        self._launch(client)
        self._unreadable = False
        self.last_task = task
        client.submit(request)
        self._advance(client, Submit(run_id, shown or task))
        self.streaming = Streaming(run_id, shown or task, encounter_id, self._desk.now())
        self._desk.audit("benchmark" if shown else "run-start", encounter_id, run_id=run_id)
        self._desk.touch()
        self._desk.changed()

    def _launch(self, client: EngineClient) -> None:
        if not client.alive:
            if self._views[id(client)].alive:
                self._advance(client, Shut())
            self._opened[id(client)] = self._place(client)  # before the start, which looks for itself
            client.start()
            task = next(name for name, one in self._engines.items() if one is client)
            self._advance(client, Launch(self._desk.services.profiles.get(task, "")))

    def _advance(self, client: EngineClient, what: Any) -> None:
        self._views[id(client)] = advance(self._views[id(client)], what, self._desk.services.monotonic())


def _within(note: Note, length: int) -> Note:
    """Without the places that lie outside of a text which became shorter while the model wrote."""
    lines = (
        replace(line, evidence=tuple(place for place in line.evidence if place.end <= length)) for line in note.lines
    )
    return replace(note, lines=tuple(lines))
