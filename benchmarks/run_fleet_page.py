"""How long the fleet's page takes to answer: python -m benchmarks.run_fleet_page [--devices 1000] [--results 100]

Fills a new database (SQLite in a temporary folder, or `--database URL`, which must be empty) with a made-up fleet and
asks the running page over the loopback, each time after its short memory of the last reading has gone ("cold").
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
import urllib.request
from datetime import timedelta

from sqlalchemy import insert

from benchmarks.make_fleet_page import served
from benchmarks.synthetic_fleet import NOW, PI_NEW, PI_OLD, X86_NEW, X86_OLD, Tablet, enrol, report, result
from edge.fleet.page.cache import KEPT_S
from edge.fleet.store import tables
from edge.fleet.store.store import Store, open_store

PATHS = (
    "api/v1/overview", "api/v1/speeds", "api/v1/devices?sort=flags&order=desc", "api/v1/devices/tablet-00007",
    "export/results.csv",
)  # fmt: skip
BUILDS = ((PI_OLD, PI_NEW), (X86_OLD, X86_NEW))


def fill(store: Store, devices: int, results: int) -> None:
    """Every device measures both builds of its profile; a result every six hours."""
    chance = random.Random(6)
    fleet = [Tablet(f"tablet-{n:05d}", f"ring-{n % 4}", BUILDS[n % 2][0], chance.lognormvariate(0, 0.04))
             for n in range(devices)]  # fmt: skip
    begin = NOW - timedelta(hours=6 * results)
    enrol(store, fleet, begin, NOW)
    for number in range(results):
        at = begin + timedelta(hours=6 * number)
        rows = []
        for index, tablet in enumerate(fleet):
            tablet.build = BUILDS[index % 2][number >= results * 3 // 4]
            rows.append(result(tablet, at + timedelta(seconds=index), chance))
        with store.writing() as connection:
            connection.execute(insert(tables.results), rows)
    report(store, fleet)


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--results", type=int, default=100, help="of each device")
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--database")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(given.database or f"{folder}/fleet.db", clock=lambda: NOW)
        fill(store, given.devices, given.results)
        load = os.getloadavg()[0]
        print(f"{given.devices:,} devices, {given.results} results each, {store.engine.dialect.name}, load {load:.1f}")
        print(f"{'':40} {'cold, median':>14} {'slowest':>10} {'warm':>8} {'size':>12}")
        with served(store) as address:
            time.sleep(0.5)
            for path in PATHS:
                cold, warm, size = [], [], 0
                for _ in range(1 if path.startswith("export") else given.times):
                    time.sleep(KEPT_S + 0.1)
                    for kept in (cold, warm):
                        start = time.perf_counter()
                        with urllib.request.urlopen(address + path, timeout=120) as answer:  # noqa: S310
                            size = len(answer.read())
                        kept.append(1000 * (time.perf_counter() - start))
                told = f"{statistics.median(cold):10.0f} ms {max(cold):7.0f} ms {statistics.median(warm):5.0f} ms"
                print(f"{path:40} {told:>35} {size:>12,}")
        store.close()


if __name__ == "__main__":
    main()
