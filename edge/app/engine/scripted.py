"""An engine that says what a script says, at the times of an injected clock: for tests of screens and for pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.app.engine.client import RunGate
from edge.app.engine.messages import (
    RUN_REQUESTS,
    BundleFacts,
    Cancel,
    Close,
    Died,
    DraftNote,
    Event,
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
    Started,
    task_of,
)

FACTS = BundleFacts(
    name="scripted",
    profile="scripted",
    target="x86_64-linux",
    behaviour_digest="0123456789ab" + "0" * 52,
    bundle_digest="ba9876543210" + "0" * 52,
    verified="passed",
    tasks=("note", "differential", "ophthalmology"),
    load_ms=900.0,
    context_tokens=2048,
    predicted_peak_bytes=700_000_000,
    model_words="Scripted 135M int4",
)


@dataclass(frozen=True)
class After:
    """An event so many seconds after what it answers (start or a submitted request)."""

    delay_s: float
    event: Event


Answer = Callable[[Request], Iterable[After]]


def quiet(_request: Request) -> Iterable[After]:
    """An engine that begins nothing."""
    return ()


def note_answer(value: dict[str, Any], *, step_s: float = 0.1) -> Answer:
    """A run that reads one part, writes each line of a note's JSON word by word, and ends with it."""

    def answer(request: Request) -> Iterable[After]:
        if not isinstance(request, DraftNote):
            return
        run_id, time_s, tokens = request.run_id, 0.0, 0
        yield After(0.0, Started(run_id, request.encounter_id, "note", 1))
        yield After(0.0, Reading(run_id, 1, 1))
        for section in value.get("sections", ()):
            for line in section["lines"]:
                for word in f"{section['section']}: {line['text']}\n".split(" "):
                    time_s, tokens = time_s + step_s, tokens + 1
                    yield After(time_s, Piece(run_id, word if word.endswith("\n") else f"{word} "))
                yield After(time_s, LineDrafted(run_id, {"section": section["section"], **line}))
        figures = Figures(step_s * 1000, 1 / step_s if step_s else None, tokens, time_s * 1000, 100)
        yield After(time_s, Result(run_id, request.encounter_id, "note", value, figures))

    return answer


def differential_answer(value: dict[str, Any], *, step_s: float = 0.1, total: int = 5) -> Answer:
    """A run that counts its candidates and ends with a differential's JSON."""

    def answer(request: Request) -> Iterable[After]:
        if not isinstance(request, RankDifferential):
            return
        yield After(0.0, Started(request.run_id, request.encounter_id, request.task, 1))
        for done in range(total + 1):
            yield After(done * step_s, Progress(request.run_id, done, total))
        figures = Figures(elapsed_ms=total * step_s * 1000)
        yield After(total * step_s, Result(request.run_id, request.encounter_id, request.task, value, figures))

    return answer


def both(*answers: Answer) -> Answer:
    """The answers of several scripts to a request."""
    return lambda request: [step for answer in answers for step in answer(request)]


@dataclass
class ScriptedClient:
    """An EngineClient of a script.

    Parameters
    ----------
    clock: monotonic seconds.
    answer: the events that follow a request, each so long after it.
    loading: those that follow start(); Ready at once when not given.
    stop_s: how long after a cancel the cancelled Result comes; None: the engine hangs, and dies after 2 s.
    """

    clock: Callable[[], float]
    answer: Answer = quiet
    loading: Sequence[After] = (After(0.0, Ready(FACTS)),)
    stop_s: float | None = 0.05
    alive: bool = False
    starts: int = 0
    requests: list[Request] = field(default_factory=list)
    _waiting: list[tuple[float, Event]] = field(default_factory=list, repr=False)
    _gate: RunGate = field(default_factory=RunGate, repr=False)

    def start(self) -> None:
        """See EngineClient."""
        if self.alive:
            return
        self.alive, self.starts = True, self.starts + 1
        self._waiting = []
        self._gate.clear()
        self._plan(self.loading)

    def submit(self, request: Request) -> None:
        """See EngineClient."""
        if not self.alive:
            return
        if isinstance(request, Cancel):
            self.cancel(request.run_id)
            return
        self.requests.append(request)
        if isinstance(request, Close):
            self.close()
            return
        self._gate.submitted(request)
        self._plan(self.answer(request))

    def cancel(self, run_id: str) -> None:
        """See EngineClient."""
        if not self.alive or not self._gate.cancelled(run_id):
            return
        self.requests.append(Cancel(run_id))
        self._waiting = [pair for pair in self._waiting if getattr(pair[1], "run_id", None) != run_id]
        run = next(one for one in self.requests if isinstance(one, RUN_REQUESTS) and one.run_id == run_id)
        if self.stop_s is None:
            self._plan([After(2.0, Died(-9))])
        else:
            ended = Result(run_id, getattr(run, "encounter_id", ""), task_of(run), {}, cancelled=True)
            self._plan([After(self.stop_s, ended)])

    def push(self, event: Event) -> None:
        """An event that comes with the next poll, through the same gate."""
        self._plan([After(0.0, event)])

    def poll(self) -> list[Event]:
        """See EngineClient."""
        now_s = self.clock()
        found: list[Event] = []
        while self._waiting and self._waiting[0][0] <= now_s and self.alive:
            event = self._gate.admit(self._waiting.pop(0)[1])
            if event is not None:
                found.append(event)
            if isinstance(event, Died | Refused):
                self.kill()
        return found

    def kill(self) -> None:
        """See EngineClient."""
        self.alive = False
        self._waiting = []
        self._gate.clear()

    def close(self) -> None:
        """See EngineClient."""
        self.kill()

    def _plan(self, steps: Iterable[After]) -> None:
        now_s = self.clock()
        self._waiting += [(now_s + step.delay_s, step.event) for step in steps]
        self._waiting.sort(key=lambda pair: pair[0])
