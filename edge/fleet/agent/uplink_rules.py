"""Which rows of the outbox go to the broker now. Pure: the time and the chance come in as numbers.

Rules
1. Offline nothing is sent: a client's own queue is memory, the outbox is the only queue.
2. A row stays in the window from when it is handed over until a collector acknowledges it. The broker's own
   acknowledgement only says that the broker has it ("settled"). At most `window` rows are in it, of these at most
   `telemetry` of telemetry, so that a result always finds a place; and at most `unsettled` that the broker has not
   confirmed.
3. Rows are taken in the outbox's order: results and installs before telemetry, each the oldest first.
4. A row that was not acknowledged in time is sent again; the time doubles with each attempt, up to `resend_most_s`, and
   is spread by chance, so that a thousand devices do not come back in one second. Twice is harmless: the collector
   knows the row by its epoch and number.
5. After a new connection what was not settled is due at once (the new client knows nothing of it), what was settled
   within `grace_s`, spread by chance: a broker that died may have forgotten it.
6. A refusal (a reason code of 128 or more) empties no row: nothing is sent until a pause is over that doubles with each
   refusal in a row, and the row itself waits longer with each of its attempts.
7. A row of the window that is gone from the outbox (telemetry that gave way) leaves the window when it comes due.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from edge.fleet.agent.outbox import LAST, Waiting

Key = tuple[str, int]
FIRST_REFUSAL = 0x80


@dataclass(frozen=True)
class UplinkLimits:
    """See the rules. spread: by how much of a time chance moves it, both ways."""

    window: int = 64
    telemetry: int = 32
    unsettled: int = 16
    resend_s: float = 30.0
    resend_most_s: float = 900.0
    grace_s: float = 5.0
    refused_s: float = 60.0
    refused_most_s: float = 3600.0
    spread: float = 0.25


@dataclass(frozen=True)
class Sent:
    """A row in the window."""

    attempts: int
    settled: bool
    due_s: float
    telemetry: bool


@dataclass(frozen=True)
class UplinkState:
    """online: a connection that was accepted. unsettled_most: of this connection. quiet_until_s: rule 6."""

    online: bool = False
    window: Mapping[Key, Sent] = field(default_factory=dict)
    unsettled_most: int = 1 << 16
    refusals: int = 0
    quiet_until_s: float = 0.0


def backoff_s(first_s: float, most_s: float, attempts: int, spread: float, chance: float) -> float:
    """first_s doubled for each attempt after the first, at most most_s, times 1 - spread .. 1 + spread.

    chance: 0 to 1.
    """
    return min(most_s, first_s * 2.0 ** min(attempts - 1, 60)) * (1 - spread + 2 * spread * chance)


def connected(
    state: UplinkState, now_s: float, chance: float, limits: UplinkLimits, receive_maximum: int | None = None
) -> UplinkState:
    """Rule 5."""
    grace_s = now_s + limits.grace_s * chance
    window = {
        key: replace(sent, due_s=min(sent.due_s, grace_s)) if sent.settled else replace(sent, due_s=now_s)
        for key, sent in state.window.items()
    }
    return replace(state, online=True, window=window, unsettled_most=receive_maximum or 1 << 16)


def disconnected(state: UplinkState) -> UplinkState:
    """Rule 1."""
    return replace(state, online=False)


def choose(
    state: UplinkState, rows: Sequence[Waiting], now_s: float, limits: UplinkLimits
) -> tuple[UplinkState, tuple[Key, ...]]:
    """The rows to hand over now, in order. rows: the first of the outbox, at least `window` where so many wait."""
    if not state.online or now_s < state.quiet_until_s:
        return state, ()
    here = {row.key for row in rows}
    gone = [key for key, sent in state.window.items() if sent.due_s <= now_s and key not in here]
    if gone:
        state = acknowledged(state, gone)
    window = state.window
    # A row that is due is not with the broker any more, as far as we know.
    waiting = sum(not sent.settled and sent.due_s > now_s for sent in window.values())
    room = min(limits.unsettled, state.unsettled_most) - waiting
    places = limits.window - len(window)
    telemetry = limits.telemetry - sum(sent.telemetry for sent in window.values())
    chosen: list[Key] = []
    for row in rows:
        if len(chosen) >= room:
            break
        sent = window.get(row.key)
        if sent is not None:
            if sent.due_s <= now_s:
                chosen.append(row.key)
            continue
        if places <= 0 or (row.priority == LAST and telemetry <= 0):
            continue
        chosen.append(row.key)
        places -= 1
        telemetry -= row.priority == LAST
    return state, tuple(chosen)


def handed_over(
    state: UplinkState, key: Key, *, telemetry: bool, now_s: float, chance: float, limits: UplinkLimits
) -> UplinkState:
    """The client took it. Rule 4."""
    before = state.window.get(key)
    attempts = 1 if before is None else before.attempts + 1
    due_s = now_s + backoff_s(limits.resend_s, limits.resend_most_s, attempts, limits.spread, chance)
    return replace(state, window={**state.window, key: Sent(attempts, False, due_s, telemetry)})


def settled(state: UplinkState, key: Key, now_s: float) -> UplinkState:
    """The broker has it; after a pause, refusals in a row are over."""
    sent = state.window.get(key)
    window = state.window if sent is None else {**state.window, key: replace(sent, settled=True)}
    refusals = 0 if now_s >= state.quiet_until_s else state.refusals
    return replace(state, window=window, refusals=refusals)


def refused(state: UplinkState, key: Key, now_s: float, chance: float, limits: UplinkLimits) -> UplinkState:
    """Rule 6. Several rows are refused together: one pause, not one that doubles for each."""
    sent = state.window.get(key)
    pausing = now_s < state.quiet_until_s
    attempts = max(state.refusals + (not pausing), 1 if sent is None else sent.attempts)
    pause_s = backoff_s(limits.refused_s, limits.refused_most_s, attempts, limits.spread, chance)
    window = state.window if sent is None else {**state.window, key: replace(sent, due_s=now_s + pause_s)}
    if pausing:
        return replace(state, window=window)
    return replace(state, window=window, refusals=state.refusals + 1, quiet_until_s=now_s + pause_s)


def acknowledged(state: UplinkState, keys: Iterable[Key]) -> UplinkState:
    """A collector has committed them: they leave the window."""
    gone = set(keys)
    return replace(state, window={key: sent for key, sent in state.window.items() if key not in gone})


def wait_s(state: UplinkState, now_s: float, *, more: bool, limits: UplinkLimits) -> float | None:
    """How long nothing comes due; None: until something happens. more: rows wait outside of the window."""
    if not state.online:
        return None
    if now_s < state.quiet_until_s:
        return state.quiet_until_s - now_s
    waiting = sum(not sent.settled and sent.due_s > now_s for sent in state.window.values())
    if waiting >= min(limits.unsettled, state.unsettled_most):
        return None  # a PUBACK, or the loss of the connection, comes first
    if more and len(state.window) < limits.window:
        return 0.0
    due = [sent.due_s for sent in state.window.values()]
    return max(0.0, min(due) - now_s) if due else None
