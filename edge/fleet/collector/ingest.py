"""The one thread that owns the database: takes what arrived, judges it, commits it, and only then acknowledges it.

Rules.

1. A batch is what arrived within 50 ms, at most 500 messages, and one transaction.
2. Nothing is acknowledged before its commit: neither to the broker, which would forget it, nor to the device, whose
   outbox would. After the commit both are told, and a repetition is answered again.
3. When the database does not take it (down, full, locked), the batch is kept and tried again, later and later, for as
   long as it takes. The broker stops at Receive Maximum meanwhile. It is said once a minute at most.
4. A message that the database refuses for what it is (none is known) is found by halving the batch and quarantined, so
   that one message stops nobody.
5. A device over its budget (`budget.py`): its telemetry keeps the newest only; all else is acknowledged to the broker
   and not to the device, which sends it again.

A process that is killed anywhere leaves either nothing, and all comes again, or the whole batch, and what comes again
is a repetition.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from edge.errors import InputError
from edge.fleet.collector.acks import Answer, ack_messages
from edge.fleet.collector.budget import Budget, Pass
from edge.fleet.collector.client import CollectorClient
from edge.fleet.collector.inbox import Arrived, Inbox
from edge.fleet.collector.judge import Accepted, Judge, KnownDevice, Moment, Quarantined, refused, topic_device
from edge.fleet.collector.metrics import Metrics
from edge.fleet.collector.packets import Incoming, MalformedError, parse_publish
from edge.fleet.collector.patience import Patience
from edge.fleet.collector.registry import Registry
from edge.fleet.collector.states import SUBSCRIPTION, read_change
from edge.fleet.collector.writer import Batch, Written, write_batch
from edge.fleet.store.store import Store, store_error

BATCH_MESSAGES, BATCH_WAIT_S = 500, 0.05
SEEN_EVERY_S = 10.0
# They come to whom they may by the shared subscription too; the leader's own brings them in their order (`states.py`).
_NOT_EVENTS = ("/state", "/presence")


@dataclass
class Sorted:
    """A batch as it arrived: what goes on to the judge, and what is acknowledged to the broker besides."""

    judge: list[Incoming] = field(default_factory=list)
    newest_only: list[Incoming] = field(default_factory=list)
    states: list[Incoming] = field(default_factory=list)
    noisy: set[str] = field(default_factory=set)
    mids: dict[CollectorClient, list[int]] = field(default_factory=dict)


class Ingest:
    """See the rules above. step: told the name of each step, for tests that kill the process there."""

    def __init__(
        self,
        store: Store,
        inbox: Inbox,
        judge: Judge,
        budget: Budget,
        metrics: Metrics,
        *,
        say: Callable[[str], None],
        step: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._store, self._inbox, self._judge, self._budget, self._metrics = store, inbox, judge, budget, metrics
        self._registry = Registry(store, time.monotonic)
        self._seen: dict[str, float] = {}
        self._step = step
        self._patience = Patience(say)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Until `stop`; the thread's body."""
        while not self._stopped.is_set():
            if arrived := self._inbox.take(BATCH_MESSAGES, BATCH_WAIT_S):
                self.handle(arrived)

    def stop(self) -> None:
        """Let `run` return; what is not committed comes again."""
        self._stopped.set()
        self._inbox.close()

    def handle(self, arrived: Sequence[Arrived]) -> None:
        """One batch from its arrival to its acknowledgement."""
        self._step("received")
        batch = self._sort(arrived)
        answers = self._settle(batch)
        if answers is None:
            return
        self._step("committed")
        for client, mids in batch.mids.items():
            client.acknowledge(mids)
        self._step("acknowledged")
        messages = ack_messages(answers)
        # Devices are told by the newest connection: an older one may be gone.
        if batch.mids:
            list(batch.mids)[-1].tell(messages)
        self._metrics.acknowledgements.inc(len(messages))
        self._step("told")

    def _sort(self, arrived: Sequence[Arrived]) -> Sorted:
        """Read the packets and ask the budget; no IO."""
        batch = Sorted()
        now_s = time.monotonic()
        for client, (first, body) in arrived:
            try:
                message = parse_publish(first, body)
            except MalformedError:  # no broker passes such a packet on
                self._metrics.unreadable.inc()
                continue
            mids = batch.mids.setdefault(client, [])
            if message.qos:
                mids.append(message.mid)
            if message.subscription == SUBSCRIPTION:
                batch.states.append(message)
                continue
            if message.topic.endswith(_NOT_EVENTS):
                continue
            device = topic_device(message.topic)
            allowed = self._budget.take(device, telemetry=message.topic.endswith("/telemetry"), now_s=now_s)
            if allowed is Pass.JUDGE:
                batch.judge.append(message)
                continue
            batch.noisy.add(device)
            if allowed is Pass.NEWEST_ONLY:
                batch.newest_only.append(message)
            else:
                self._metrics.over_budget.inc()
        return batch

    def _settle(self, batch: Sorted) -> list[Answer] | None:
        """Judge and commit, for as long as it takes; None when this collector was stopped meanwhile."""
        while not self._stopped.is_set():
            try:
                answers = self._judge_and_commit(batch)
            except SQLAlchemyError as error:
                self._metrics.database_up.set(0)
                wait_s = self._patience.failed(store_error(error, self._store.url))
                self._stopped.wait(wait_s)
            else:
                self._metrics.database_up.set(1)
                self._patience.worked("the database takes messages again")
                return answers
        return None

    def _judge_and_commit(self, batch: Sorted) -> list[Answer]:
        now = self._store.clock()
        work = Batch(Moment.at(now), noisy=batch.noisy)
        names = {topic_device(message.topic) for message in (*batch.judge, *batch.newest_only)}
        known = self._registry.find(names)
        answers: list[Answer] = []
        for message in batch.judge:
            verdict = self._judge.message(message, known, work.moment)
            if isinstance(verdict, Accepted):
                work.accepted.append(verdict)
            else:
                work.quarantined.append(verdict)
        self._judge_newest(batch.newest_only, known, work, answers)
        for message in batch.states:
            self._read_state(message, work)
        now_s = time.monotonic()
        work.seen = [name for name in known if self._seen.get(name, -SEEN_EVERY_S) + SEEN_EVERY_S <= now_s]
        self._step("judged")
        written = self._commit(work)
        for name in work.seen:
            self._seen[name] = now_s
        self._metrics.count(work, written)
        return answers + _answers(work, written)

    def _read_state(self, message: Incoming, work: Batch) -> None:
        try:
            change = read_change(message, work.moment.now)
        except InputError:
            self._metrics.states.labels(kind="unreadable").inc()
            return
        if change is not None:
            work.changes.append(change)
            self._metrics.states.labels(kind=change.kind).inc()

    def _judge_newest(
        self, messages: Sequence[Incoming], known: dict[str, KnownDevice], work: Batch, answers: list[Answer]
    ) -> None:
        """Telemetry over budget: the last of each device is judged; those before it are superseded unread."""
        last: dict[str, Incoming] = {}
        for message in messages:
            device = topic_device(message.topic)
            if (before := last.get(device)) is not None and (answer := _superseded(device, before)) is not None:
                answers.append(answer)
            last[device] = message
        for message in last.values():
            verdict = self._judge.message(message, known, work.moment)
            if isinstance(verdict, Accepted):
                work.newest_only.append(verdict)
            else:
                work.quarantined.append(verdict)

    def _commit(self, work: Batch) -> Written:
        """One transaction, or halves where the database refuses a value. Errors: SQLAlchemyError."""
        try:
            with self._store.writing() as connection:
                self._step("begun")
                written = write_batch(connection, work)
                self._step("written")
            return written
        except (DataError, IntegrityError):
            if len(work.accepted) > 1:
                middle = len(work.accepted) // 2
                rest = Batch(work.moment, accepted=work.accepted[middle:])
                del work.accepted[middle:]
                parts = (self._commit(work), self._commit(rest))
                work.accepted.extend(rest.accepted)
                work.quarantined.extend(rest.quarantined)
                new, repeated = (sum(numbers) for numbers in zip(*((p.new, p.repeated) for p in parts), strict=True))
                return Written(new, repeated, [*parts[0].reused, *parts[1].reused])
            if not work.accepted:
                raise
            refused_one = work.accepted.pop()
            work.quarantined.append(refused(refused_one.event, "schema", "schema:database"))
            return self._commit(work)


def _superseded(device: str, message: Incoming) -> Answer | None:
    """The acknowledgement of telemetry that a newer one of its device replaces; None where its id cannot be read."""
    stated = dict(message.properties).get("id", "").split("/")
    if len(stated) != 3 or stated[0] != device or not stated[2].isdecimal() or len(stated[2]) > 18:
        return None
    if len(stated[1]) != 8 or not set(stated[1]) <= set("0123456789abcdef") or int(stated[2]) < 1:
        return None
    return device, stated[1], int(stated[2]), ""


def _answers(work: Batch, written: Written) -> list[Answer]:
    """What to tell whom: everything that was committed, also what was there before."""
    refused_ids = {(one.device, one.epoch, one.seq, one.data_sha256) for one in written.reused}
    answers: list[Answer] = []
    for accepted in (*work.accepted, *work.newest_only):
        event = accepted.event
        if not refused_ids or (event.device, event.epoch, event.seq, accepted.data_sha256) not in refused_ids:
            answers.append((event.device, event.epoch, event.seq, ""))
    quarantined: tuple[Quarantined, ...] = (*work.quarantined, *written.reused)
    answers += [
        (one.device, one.epoch, one.seq, one.code)
        for one in quarantined
        if one.epoch is not None and one.seq is not None
    ]
    return answers
