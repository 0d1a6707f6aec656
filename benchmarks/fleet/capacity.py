"""Where one machine ends: measured costs of one connection and one message, times the fleet. Pure.

Nothing here is measured; `benchmarks/run_fleet_scale.py` measures the costs and prints what follows from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

DAY_S = 86_400.0
# A broker or collector that is planned at more than this share of a core has nothing left for a bad morning.
PLANNED_SHARE = 0.5


@dataclass(frozen=True)
class Costs:
    """Measured on one machine. broker_*: of mosquitto, which computes on one core; stored_bytes: of a result, all
    tables and indexes, before any pruning."""

    broker_cpu_s_per_connect: float
    broker_bytes_per_connection: float
    broker_cpu_s_per_ping: float
    broker_cpu_s_per_message: float
    collector_messages_per_s: float
    stored_bytes_per_result: float


@dataclass(frozen=True)
class Load:
    """What each device does. Telemetry keeps one row for a device, so only results grow the database."""

    results_per_day: float = 1.0
    telemetry_per_hour: float = 4.0
    keepalive_s: float = 30.0
    # After the broker or its network was away, all come back; the agent spreads that.
    reconnect_over_s: float = 300.0


@dataclass(frozen=True)
class Plan:
    """What a fleet takes. brokers, collectors: how many cores of each at the planned share."""

    devices: int
    messages_per_s: float
    broker_share: float
    broker_memory_bytes: float
    reconnect_share: float
    brokers: int
    collectors: int
    stored_bytes_per_year: float


def plan(costs: Costs, load: Load, devices: int) -> Plan:
    """Of one fleet. A message goes in and its acknowledgement goes out: two for the broker."""
    messages_per_s = devices * (load.results_per_day / DAY_S + load.telemetry_per_hour / 3600)
    pings_per_s = devices / load.keepalive_s
    steady = pings_per_s * costs.broker_cpu_s_per_ping + 2 * messages_per_s * costs.broker_cpu_s_per_message
    storm = devices / load.reconnect_over_s * costs.broker_cpu_s_per_connect
    return Plan(
        devices=devices,
        messages_per_s=messages_per_s,
        broker_share=steady,
        broker_memory_bytes=devices * costs.broker_bytes_per_connection,
        reconnect_share=storm,
        brokers=max(1, math.ceil(steady / PLANNED_SHARE), math.ceil(storm)),
        collectors=max(1, math.ceil(messages_per_s / (costs.collector_messages_per_s * PLANNED_SHARE))),
        stored_bytes_per_year=devices * load.results_per_day * 365 * costs.stored_bytes_per_result,
    )


def most_devices(costs: Costs, load: Load) -> int:
    """The largest fleet of one broker core and one collector."""
    low, high = 1, 1 << 30
    while low < high:
        middle = (low + high + 1) // 2
        found = plan(costs, load, middle)
        low, high = (middle, high) if found.brokers == 1 and found.collectors == 1 else (low, middle - 1)
    return low
