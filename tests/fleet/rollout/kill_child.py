"""A controller in a process of its own, to be killed: python -m tests.fleet.rollout.kill_child DATABASE LOG.

Says `ready`, then ticks without pause; what it publishes goes to LOG, a line each, before it is confirmed.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from edge.fleet.rollout.controller import published, tick
from edge.fleet.store.store import open_store
from edge.fleet.wire.messages import DesiredState


def main(url: str, log: Path) -> None:
    """Until it is killed."""
    store = open_store(url)
    print("ready", flush=True)
    with log.open("ab") as file:
        while True:
            messages = tick(store, datetime.now(UTC))
            for message in messages:
                wanted = DesiredState.from_bytes(message.payload, "child")
                file.write(f"{message.device} {wanted.desired_version} {wanted.release}\n".encode())
            file.flush()
            os.fsync(file.fileno())
            published(store, *messages)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
