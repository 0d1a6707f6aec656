"""A collector in a process of its own that ends itself with kill -9 at a step.

    python killed_child.py STEP NTH NAME BROKER CREDENTIALS DATABASE

STEP is a name that the ingest tells (received, judged, begun, written, committed, acknowledged, told), or "never".
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from edge.fleet.collector.service import Collector
from edge.fleet.collector.settings import read_settings


def main(step: str, nth: int, name: str, broker: str, credentials: str, database: str) -> None:
    """Run until killed."""
    seen = 0

    def at(told: str) -> None:
        nonlocal seen
        seen += told == step
        if told == step and seen == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = read_settings(None, name=name, broker=broker, credentials=credentials, database=database)
    running = Collector(settings, say=lambda text: print(text, file=sys.stderr, flush=True), step=at)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    running.start(until=ended)
    while not ended.wait(0.02):
        if running.link is not None and running.link.client is not None:
            Path(f"{credentials}/{name}.ready").touch()
            ended.wait()
    running.stop()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
