"""Counters of a collector for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edge.fleet.collector.writer import Batch, Written


class Metrics:
    """Counters in a registry of their own, so that two collectors in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        here = self.registry
        self.accepted = Counter("edge_collector_accepted", "Messages committed for the first time", registry=here)
        self.repeated = Counter("edge_collector_repeated", "Messages that were committed before", registry=here)
        self.quarantined = Counter("edge_collector_quarantined", "Messages not believed", ["reason"], registry=here)
        self.states = Counter("edge_collector_states", "Retained states of devices", ["kind"], registry=here)
        self.over_budget = Counter("edge_collector_over_budget", "Messages sent back to a noisy device", registry=here)
        self.unreadable = Counter("edge_collector_unreadable", "Packets that are no PUBLISH", registry=here)
        self.acknowledgements = Counter("edge_collector_acknowledgements", "Messages to devices", registry=here)
        self.batch = Histogram(
            "edge_collector_batch_messages",
            "Messages of a commit",
            buckets=(1, 5, 20, 50, 100, 200, 350, 500),
            registry=here,
        )
        self.database_up = Gauge("edge_collector_database_up", "Whether the last commit worked", registry=here)
        self.broker_up = Gauge("edge_collector_broker_up", "Whether the broker is connected", registry=here)
        self.leader = Gauge("edge_collector_leader", "Whether this collector runs the rollouts", registry=here)
        self.waiting = Gauge("edge_collector_waiting", "Messages that wait for the database", registry=here)

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self.registry)

    def count(self, batch: Batch, written: Written) -> None:
        """Count a committed batch."""
        self.accepted.inc(written.new)
        self.repeated.inc(max(0, written.repeated))
        self.batch.observe(len(batch.accepted) + len(batch.quarantined))
        for one in (*batch.quarantined, *written.reused):
            self.quarantined.labels(reason=one.code).inc()
