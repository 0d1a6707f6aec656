"""What a screen shows of an engine, as a pure function of what happened: EngineView, `advance`, `status_key`.

Rules
1. Only `Launch` makes a view alive. Died and every refusal end that, and then only `Launch` is heard (and `Dismiss`, of
   what may be dismissed): nothing reaches `streaming` without it.
2. One run at a time. `Submit` names it; an event of any other run never changes the view. A run that is submitted while
   the engine loads shows `loading` until the engine is ready.
3. `Stop` shows `cancelled` in the same call. After it no event of the run is heard, and a process that is killed
   because it did not stop leaves the word as it is.
4. How a run ends: cancelled; else unreadable, when the model's answers did not have their form; else too_long, when the
   first minutes were left out; else done. `Failed` ends it as failed.
5. What holds beside the status is in `overlays`: throttled, unverified, too_long. A left-out beginning is shown there
   from the moment it is known until the next run begins.
6. Times come from the caller (monotonic seconds); a clock that goes back gives 0, never a negative time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edge.app.engine.messages import (
    BENCHMARK,
    NOTE,
    BenchmarkDone,
    BundleFacts,
    DeviceReading,
    Died,
    Event,
    Failed,
    Figures,
    LineDrafted,
    Loading,
    Piece,
    Progress,
    Reading,
    Ready,
    RefusalCode,
    Refused,
    Result,
    Started,
    TooLong,
    Unreadable,
)

Status = Literal[
    "idle",
    "loading",
    "streaming",
    "cancelled",
    "done",
    "missing",
    "mismatch",
    "untrusted",
    "unverified",
    "low_memory",
    "unsupported",
    "died",
    "too_long",
    "unreadable",
    "failed",
]
STATUS_OF: dict[RefusalCode, Status] = {
    "missing": "missing",
    "mismatch": "mismatch",
    "untrusted": "untrusted",
    "unverified": "unverified",
    "low_memory": "low_memory",
    "unsupported": "unsupported",
}
ENDED: frozenset[Status] = frozenset({"cancelled", "done", "too_long", "unreadable", "failed"})
# A bundle that may not be used stays in sight; what a second try may mend may be dismissed.
DISMISSABLE: frozenset[Status] = ENDED | {"died", "low_memory"}
SPEED_WINDOW_S = 3.0
SPEED_STEP_S = 0.25


@dataclass(frozen=True)
class Launch:
    """The client was started. profile: the name to show when there is no model."""

    profile: str = ""


@dataclass(frozen=True)
class Submit:
    """A run was handed over."""

    run_id: str
    task: str = NOTE


@dataclass(frozen=True)
class Stop:
    """A person stopped the run."""

    run_id: str


@dataclass(frozen=True)
class Dismiss:
    """A person has read the status."""


@dataclass(frozen=True)
class Shut:
    """The app ended the process (kill or close), also while it loaded."""


Action = Launch | Submit | Stop | Dismiss | Shut


@dataclass(frozen=True)
class EngineView:
    """One engine as a screen shows it. Fractions 0 to 1, times in monotonic seconds, memory in bytes.

    run_id: the run that is heard; '' for none. parts: 0 before the run began. done, total: of a differential or a
    benchmark. speed: (time, tokens) of the last seconds, for `tokens_per_s`.
    """

    status: Status = "idle"
    alive: bool = False
    profile: str = ""
    facts: BundleFacts | None = None
    fraction: float = 0.0
    seconds_left: float | None = None
    run_id: str = ""
    task: str = NOTE
    submitted_s: float = 0.0
    part: int = 0
    parts: int = 0
    done: int = 0
    total: int = 0
    tokens: int = 0
    speed: tuple[tuple[float, int], ...] = ()
    elapsed_s: float = 0.0
    figures: Figures | None = None
    left_out_minutes: int = 0
    unreadable: bool = False
    free_bytes: int = 0
    needed_bytes: int = 0
    temperature_c: float | None = None
    throttled: bool = False
    exit_code: int = 0
    message: str = ""

    @property
    def busy(self) -> bool:
        """Whether a run waits or is at work."""
        return bool(self.run_id)

    @property
    def tokens_per_s(self) -> float | None:
        """Speed over the last three seconds of writing; None until there is half a second of it."""
        if len(self.speed) < 2:
            return None
        span_s = self.speed[-1][0] - self.speed[0][0]
        # The first step's tokens came before its time.
        return sum(count for _, count in self.speed[1:]) / span_s if span_s >= 2 * SPEED_STEP_S else None


def advance(view: EngineView, what: Event | Action, now_s: float) -> EngineView:
    """The view after an event of the client or an action of a person. Unknown combinations change nothing."""
    match what:
        case Launch(profile):
            return view if view.alive else EngineView("loading", alive=True, profile=profile or view.profile)
        case Dismiss():
            return replace(view, status="idle", message="") if view.status in DISMISSABLE and not view.busy else view
    if not view.alive:
        return view
    match what:
        case Submit() | Stop() | Shut():
            return _action(view, what, now_s)
        case Loading(fraction, seconds_left):
            if view.facts is not None:
                return view
            return replace(view, fraction=min(1.0, max(view.fraction, fraction)), seconds_left=seconds_left)
        case Ready(facts):
            status: Status = view.status if view.status != "loading" else "streaming" if view.busy else "idle"
            return replace(view, status=status, facts=facts, fraction=1.0, seconds_left=None)
        case Refused(code, message, free_bytes, needed_bytes):
            ended = EngineView(STATUS_OF[code], profile=view.profile, message=message)
            return replace(ended, free_bytes=free_bytes, needed_bytes=needed_bytes)
        case Died(exit_code):
            ended = EngineView("cancelled" if view.status == "cancelled" and not view.busy else "died")
            return replace(ended, profile=view.profile, exit_code=exit_code)
        case DeviceReading():
            return replace(view, temperature_c=what.temperature_c, throttled=what.throttled)
    return _run(view, what, now_s)


def _action(view: EngineView, what: Submit | Stop | Shut, now_s: float) -> EngineView:
    match what:
        case Submit(run_id, task):
            if view.busy or not run_id:
                return view
            kept = EngineView(
                "loading" if view.facts is None else "streaming",
                alive=True,
                profile=view.profile,
                facts=view.facts,
                fraction=view.fraction,
                seconds_left=view.seconds_left,
                temperature_c=view.temperature_c,
                throttled=view.throttled,
            )
            return replace(kept, run_id=run_id, task=task, submitted_s=now_s)
        case Stop(run_id):
            return _ended(view, "cancelled", now_s) if run_id and run_id == view.run_id else view
        case Shut():
            return EngineView("cancelled" if view.busy else "idle", profile=view.profile)


def _run(view: EngineView, what: Event | Action, now_s: float) -> EngineView:
    """An event of a run: heard only when it is the view's own."""
    if not view.busy or getattr(what, "run_id", None) != view.run_id:
        return view
    match what:
        case Started(task=task, parts=parts):
            return replace(view, status="streaming", task=task, parts=parts)
        case Reading(part=part, parts=parts):
            return replace(view, status="streaming", part=part, parts=parts, speed=())
        case Piece(tokens=tokens):
            speed = _speed(view.speed, now_s, tokens)
            return replace(view, status="streaming", tokens=view.tokens + tokens, speed=speed)
        case Progress(done=done, total=total):
            return replace(view, status="streaming", done=max(view.done, done), total=total)
        case LineDrafted():
            return replace(view, status="streaming")
        case TooLong(left_out_minutes=minutes):
            return replace(view, left_out_minutes=minutes)
        case Unreadable():
            return replace(view, unreadable=True)
        case Result(figures=figures, cancelled=cancelled):
            status: Status = "too_long" if view.left_out_minutes else "done"
            if view.unreadable:
                status = "unreadable"
            return _ended(replace(view, figures=figures), "cancelled" if cancelled else status, now_s)
        case BenchmarkDone(words=words):
            return _ended(replace(view, message=words), "done", now_s)
        case Failed(message=message):
            return _ended(replace(view, message=message), "failed", now_s)
    return view


def _ended(view: EngineView, status: Status, now_s: float) -> EngineView:
    return replace(view, status=status, run_id="", elapsed_s=max(0.0, now_s - view.submitted_s), speed=())


def _speed(speed: tuple[tuple[float, int], ...], now_s: float, tokens: int) -> tuple[tuple[float, int], ...]:
    """The window with these tokens added; steps that are close together are one, so that it stays short."""
    if speed and now_s < speed[-1][0]:
        return ((now_s, tokens),)
    if len(speed) > 1 and now_s - speed[-2][0] < SPEED_STEP_S:
        speed = (*speed[:-1], (now_s, speed[-1][1] + tokens))
    else:
        speed = (*speed, (now_s, tokens))
    return tuple(step for step in speed if now_s - step[0] <= SPEED_WINDOW_S)


def status_key(view: EngineView) -> tuple[str, dict[str, object]]:
    """The catalogue's key of the status and the values of its place-holders (numbers, rounded as they are shown)."""
    match view.status:
        case "loading":
            if view.seconds_left is None:
                return "engine.loading_soon", {}
            return "engine.loading", {"seconds": max(1, round(view.seconds_left))}
        case "streaming":
            return _streaming_key(view)
        case "done":
            if view.task == BENCHMARK:
                return "engine.measured", {"seconds": round(view.elapsed_s)}
            return "engine.done", {"seconds": round(view.elapsed_s)}
        case "missing":
            return ("engine.missing", {"profile": view.profile}) if view.profile else ("engine.missing_any", {})
        case "low_memory":
            values = {"free_gb": round(view.free_bytes / 1e9, 1), "needed_gb": round(view.needed_bytes / 1e9, 1)}
            return "engine.low_memory", dict(values)
        case "too_long":
            return "engine.too_long", {"minutes": view.left_out_minutes}
    return f"engine.{view.status}", {}


def _streaming_key(view: EngineView) -> tuple[str, dict[str, object]]:
    if view.task == BENCHMARK:
        return "engine.measuring", {"percent": round(100 * view.done / view.total) if view.total else 0}
    if view.task != NOTE:
        return ("engine.comparing", {"done": view.done, "total": view.total}) if view.total else ("engine.waiting", {})
    if view.tokens_per_s is not None:
        return "engine.streaming", {"tok_s": round(view.tokens_per_s)}
    if view.speed:
        return "engine.writing", {}
    return ("engine.reading", {"part": view.part, "parts": view.parts}) if view.part else ("engine.waiting", {})


def overlays(view: EngineView) -> tuple[tuple[str, dict[str, object]], ...]:
    """What holds beside the status, most important first, as (key, values)."""
    found: list[tuple[str, dict[str, object]]] = []
    if view.left_out_minutes and view.status != "too_long":
        found.append(("engine.too_long", {"minutes": view.left_out_minutes}))
    if view.throttled:
        temperature = view.temperature_c
        if temperature is None:
            found.append(("engine.throttled_unknown", {}))
        else:
            found.append(("engine.throttled", {"temperature": round(temperature)}))
    if view.facts is not None and view.facts.verified != "passed":
        found.append(("engine.unverified", {}))
    return tuple(found)
