"""A collector as a whole: which threads there are, and how they start and end.

link      the connection to the broker; paho's loop thread puts what arrives into the inbox
ingest    owns the database's writes of events: judge, commit, acknowledge
leader    rollouts and tidying, in one collector of several
page      HTTP, where a page is wanted
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from edge.errors import OfflineError, ResourceError
from edge.fleet.collector.budget import Budget
from edge.fleet.collector.client import CollectorClient
from edge.fleet.collector.inbox import Inbox
from edge.fleet.collector.ingest import Ingest
from edge.fleet.collector.judge import Judge
from edge.fleet.collector.leader import Leader, Rollouts
from edge.fleet.collector.link import SESSION_EXPIRY_S, Link
from edge.fleet.collector.metrics import Metrics
from edge.fleet.collector.pages import PageServer
from edge.fleet.collector.patience import Patience, once_a_minute
from edge.fleet.collector.settings import Settings, published_bandwidths
from edge.fleet.store.share import share_group
from edge.fleet.store.store import Clock, Store, open_store, store_error, utc_now
from edge.fleet.wire.connection import connect_client
from edge.fleet.wire.messages import Publish
from edge.fleet.wire.topics import shared_up

# Messages at the broker's word that are not acknowledged yet: two batches, one at work and one to come.
RECEIVE_MAXIMUM = 1000
JOIN_S = 10.0


class Collector:
    """`start`, then `stop`. step: told each step of a batch, for tests that kill the process there."""

    def __init__(
        self,
        settings: Settings,
        *,
        say: Callable[[str], None],
        clock: Clock = utc_now,
        rollouts: Rollouts | None = None,
        step: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._settings, self._clock, self._step = settings, clock, step
        self._say = once_a_minute(say)
        self._rollouts = rollouts
        self.metrics = Metrics()
        self._ends: list[tuple[Callable[[], None], threading.Thread | None]] = []
        self.failed = threading.Event()  # a thread ended by a bug of ours, which `failure` holds
        self.failure: Exception | None = None
        self.store: Store | None = None
        self.link: Link | None = None
        self.page_address: tuple[str, int] | None = None

    def start(self, until: threading.Event | None = None) -> None:
        """Open the database, waiting for it where it is down (but not longer than `until`), and start the threads.

        Errors: SpecError for settings; ResourceError for a database of a newer edge or a port that is taken.
        """
        settings = self._settings
        judge = Judge(published_bandwidths(settings.targets))
        opened = self._open_patiently(until or threading.Event())
        if opened is None:
            return
        store, group = opened
        self.store = store
        inbox = Inbox(2 * RECEIVE_MAXIMUM)
        self.metrics.waiting.set_function(lambda: len(inbox))
        budget = Budget(settings.device_burst, settings.device_per_s)
        ingest = Ingest(store, inbox, judge, budget, self.metrics, say=self._say, step=self._step)
        where = f"broker {settings.host}:{settings.port}"
        link = Link(self._connect, inbox, self.metrics, shared=shared_up(group), where=where, say=self._say)
        self.link = link
        holder = f"{settings.name}@{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        leader = Leader(store, link, self._rollouts or _Controller(), self.metrics, holder=holder, say=self._say)
        if settings.page is not None:  # first: what may fail, before a thread runs
            page = PageServer(
                store,
                settings.page,
                settings.page_tls,
                settings.credentials.ca,
                settings.repository,
                self.metrics.text,
                crl=settings.page_crl,
                say=self._say,
            )
            self.page_address = page.address
            self._run(page.run, page.stop, "page")
        self._run(link.run, link.stop, "link")
        self._run(ingest.run, ingest.stop, "ingest")
        self._run(leader.run, leader.stop, "leader")

    def stop(self) -> None:
        """End in order: no more arrives, the batch at work is committed and acknowledged, the lease is free."""
        for end, thread in reversed(self._ends):  # leader, ingest, link, page
            end()
            if thread is not None:
                thread.join(JOIN_S)
        self._ends.clear()
        if self.store is not None:
            self.store.close()

    def _run(self, body: Callable[[], None], end: Callable[[], None], name: str) -> None:
        def guarded() -> None:
            try:
                body()
            except Exception as error:  # noqa: BLE001  a collector without one of its parts would look alive
                self.failure = error
                self.failed.set()

        thread = threading.Thread(target=guarded, name=f"edge-{name}", daemon=True)
        thread.start()
        self._ends.append((end, thread))

    def _open_patiently(self, until: threading.Event) -> tuple[Store, str] | None:
        """The database, and the group that its collectors share; None when `until` came first."""
        patience = Patience(self._say)
        while not until.is_set():
            try:
                store = open_store(self._settings.database, clock=self._clock)
                try:
                    group = share_group(store)
                except SQLAlchemyError as error:
                    store.close()
                    raise store_error(error, store.url) from error
            except OfflineError as error:
                until.wait(patience.failed(error))
            else:
                patience.worked("the database answers")
                return store, group
        return None

    def _connect(self) -> CollectorClient:
        settings = self._settings
        client = connect_client(
            settings.name,
            settings.credentials,
            settings.host,
            settings.port,
            session_expiry_s=SESSION_EXPIRY_S,
            manual_ack=True,
            receive_maximum=RECEIVE_MAXIMUM,
            client_class=CollectorClient,
        )
        if not isinstance(client, CollectorClient):
            raise ResourceError("the client is not the collector's", where=settings.name)
        return client


class _Controller:
    """The rollouts of `edge.fleet.rollout`, imported when the first step is due."""

    def tick(self, store: Store, now: datetime) -> Sequence[Publish]:
        """See edge.fleet.rollout.controller."""
        from edge.fleet.rollout import controller

        return controller.tick(store, now)

    def published(self, store: Store, *messages: Publish) -> None:
        """See edge.fleet.rollout.controller."""
        from edge.fleet.rollout import controller

        controller.published(store, *messages)
