"""The duties that one collector of several has: rollouts, retained states, tidying. A lease says which one.

Each second: keep or take the lease; when it is held and the broker is there, run one step of the rollouts, publish what
they ask for, and write down what the broker has confirmed. A step is right when two do it for a moment (a lease that
runs over while a machine stood still): rollouts advance by versions in the database, messages repeat what stands there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError

from edge.errors import EdgeError, ResourceError
from edge.fleet.collector.link import Link
from edge.fleet.collector.metrics import Metrics
from edge.fleet.collector.patience import Patience
from edge.fleet.store.leases import release_lease, take_lease
from edge.fleet.store.store import Store, store_error, time_text
from edge.fleet.store.tables import messages, quarantine
from edge.fleet.wire.event import TELEMETRY
from edge.fleet.wire.messages import Publish

LEASE, LEASE_S, RENEW_S = "leader", 15.0, 4.0
TICK_S = 1.0
TIDY_EVERY_S = 3600.0
# Telemetry is kept to tell a repetition from news; nobody's evidence stands on it. Results and installs are kept.
TELEMETRY_DAYS, QUARANTINE_DAYS = 7, 180
# A desired state that the broker has not confirmed after so long is published again.
CONFIRM_S = 30.0


class Rollouts(Protocol):
    """What `edge.fleet.rollout.controller` offers."""

    def tick(self, store: Store, now: datetime) -> Sequence[Publish]:
        """One step of every rollout; what is to be published."""

    def published(self, store: Store, *messages: Publish) -> None:
        """The broker has these."""


class Leader:
    """See above. holder: a name that no other collector has, also not this one's last run."""

    def __init__(
        self,
        store: Store,
        link: Link,
        rollouts: Rollouts,
        metrics: Metrics,
        *,
        holder: str,
        say: Callable[[str], None],
    ) -> None:
        self._store, self._link, self._rollouts, self._metrics, self._holder = store, link, rollouts, metrics, holder
        self._patience = Patience(say)
        self._stopped = threading.Event()
        self._renew_at_s = 0.0
        self._tidy_at_s = 0.0
        self._leading = False
        self._sent: dict[tuple[str, int], float] = {}
        self._confirmed: SimpleQueue[Publish] = SimpleQueue()

    def run(self) -> None:
        """Until `stop`; the thread's body."""
        wait_s = TICK_S
        while not self._stopped.wait(wait_s):
            wait_s = TICK_S
            try:
                self.step()
            except SQLAlchemyError as error:
                wait_s = self._patience.failed(store_error(error, self._store.url))
            except EdgeError as error:
                wait_s = self._patience.failed(error)
            except Exception as error:  # noqa: BLE001  what is wrong with a rollout must not stop the taking in
                wait_s = self._patience.failed(_bug(error))
            else:
                self._patience.worked("the rollouts go on")
        self._let_go()

    def stop(self) -> None:
        """Let `run` return and another collector lead."""
        self._stopped.set()

    def step(self) -> None:
        """One second's work. Errors: SQLAlchemyError; EdgeError of a rollout."""
        if self._link.client is None:  # who cannot publish does not lead
            if self._leading:
                self._let_go()
            return
        if time.monotonic() >= self._renew_at_s:
            self._lead(take_lease(self._store, LEASE, self._holder, LEASE_S))
            self._renew_at_s = time.monotonic() + (RENEW_S if self._leading else TICK_S)
        if not self._leading:
            return
        self._write_confirmed()
        for message in self._rollouts.tick(self._store, self._store.clock()):
            self._publish(message)
        if time.monotonic() >= self._tidy_at_s:
            self._tidy()
            self._tidy_at_s = time.monotonic() + TIDY_EVERY_S

    def _lead(self, leading: bool) -> None:
        self._leading = leading
        self._metrics.leader.set(int(leading))
        self._link.lead(leading)

    def _let_go(self) -> None:
        self._lead(False)
        self._renew_at_s = 0.0
        try:
            release_lease(self._store, LEASE, self._holder)
        except SQLAlchemyError:
            return  # it runs over by itself

    def _publish(self, message: Publish) -> None:
        """Once; again when the broker has not confirmed it for a while."""
        client = self._link.client
        key = (message.topic, message.desired_version)
        now_s = time.monotonic()
        if client is None or self._sent.get(key, -CONFIRM_S) + CONFIRM_S > now_s:
            return
        if message.qos != 1:
            raise ValueError("a collector publishes with QoS 1")
        self._sent[key] = now_s

        def confirmed(taken: bool) -> None:
            if taken:
                self._confirmed.put(message)

        client.tell_one(message.topic, message.payload, retain=message.retain, confirmed=confirmed)

    def _write_confirmed(self) -> None:
        found = []
        while True:
            try:
                found.append(self._confirmed.get_nowait())
            except Empty:
                break
        if not found:
            return
        try:
            self._rollouts.published(self._store, *found)
        except SQLAlchemyError:
            for message in found:
                self._confirmed.put(message)
            raise
        for message in found:
            self._sent.pop((message.topic, message.desired_version), None)

    def _tidy(self) -> None:
        """Old telemetry and old quarantine go."""
        now = self._store.clock()
        with self._store.writing() as connection:
            limit = time_text(now - timedelta(days=TELEMETRY_DAYS))
            connection.execute(delete(messages).where(messages.c.type == TELEMETRY, messages.c.received_at < limit))
            limit = time_text(now - timedelta(days=QUARANTINE_DAYS))
            connection.execute(delete(quarantine).where(quarantine.c.received_at < limit))


def _bug(error: Exception) -> EdgeError:
    """One line: the kind of error and where it is, without a value."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
    return ResourceError(f"a bug in edge ({type(error).__name__}) stops the rollouts", where=where, mend="report it")
