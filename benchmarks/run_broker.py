"""What mosquitto's ways of writing its database cost: `python benchmarks/run_broker.py`.

20 devices publish 6,000 events of 1.5 kB to one collector that only listens; then the same with the collector away, so
that its queue grows. The shipped configuration, but for the two lines of the table.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from edge.fleet.broker.child import BrokerChild, start_broker
from edge.fleet.pki.authority import Pki
from edge.fleet.wire.connection import connect_client
from edge.fleet.wire.topics import SHARED_UP

DEVICES, EVENT_BYTES, PATIENCE_S = 20, 1500, 60.0
WAYS = (("false", 1800), ("false", 5), ("false", 1), ("true", 1), ("true", 100), ("true", 1000))


def configure(broker: BrokerChild, on_changes: str, interval: int) -> None:
    """Restart it, empty, with another way of writing."""
    broker.stop()
    for file in (broker.folder / "data").iterdir():
        file.unlink()
    path = broker.folder / "mosquitto.conf"
    text = re.sub(r"autosave_on_changes \w+", f"autosave_on_changes {on_changes}", path.read_text())
    path.write_text(re.sub(r"autosave_interval \d+", f"autosave_interval {interval}", text))
    broker.restart()


def measure(broker: BrokerChild, events: int, away: bool) -> tuple[float, float]:
    """(events acknowledged a second, megabytes that the broker wrote)."""
    pki, heard = broker.pki, [0]
    collector = connect_client(
        "collector", pki.credentials("collector"), broker.host, broker.port, session_expiry_s=600
    )
    ready: list[bool] = []
    collector.on_connect = lambda client, *_: client.subscribe(SHARED_UP, qos=1)
    collector.on_subscribe = lambda *_: ready.append(True)
    collector.on_message = lambda *_: heard.__setitem__(0, heard[0] + 1)
    collector.loop_start()
    wait(lambda: bool(ready))
    if away:
        collector.disconnect()
        collector.loop_stop()
    devices = []
    for number in range(DEVICES):
        credentials = pki.credentials(f"tablet-{number}")
        devices.append(connect_client(f"tablet-{number}", credentials, broker.host, broker.port, session_expiry_s=0))
        devices[-1].loop_start()
    wait(lambda: all(device.is_connected() for device in devices))
    payload, began_s = os.urandom(EVENT_BYTES), time.perf_counter()
    sent = [
        device.publish(f"edge/v1/tablet-{number}/up/result", payload, qos=1)
        for _ in range(events // DEVICES)
        for number, device in enumerate(devices)
    ]
    for one in sent:
        one.wait_for_publish(PATIENCE_S)
    took_s = time.perf_counter() - began_s
    wrote = re.search(r"write_bytes: (\d+)", Path(f"/proc/{broker.process.pid}/io").read_text())
    for client in (*devices, *(() if away else (collector,))):
        client.disconnect()
        client.loop_stop()
    return len(sent) / took_s, int(wrote[1]) / 1e6 if wrote else float("nan")


def wait(condition: Callable[[], bool]) -> None:
    """Until `condition()` holds. Errors: RuntimeError when it does not: no figure is better than a wrong one."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() >= deadline:
            raise RuntimeError("the broker did not answer in time")
        time.sleep(0.02)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=6000)
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory() as name:
        pki = Pki.create(Path(name) / "pki")
        for number in range(DEVICES):
            pki.issue_device(f"tablet-{number}")
        broker = start_broker(Path(name) / "broker", pki)
        print("| autosave_on_changes | autosave_interval | collector | events/s acknowledged | MB written |")
        print("|---|---|---|---|---|")
        try:
            for away in (False, True):
                for on_changes, interval in WAYS:
                    configure(broker, on_changes, interval)
                    rate, wrote = measure(broker, events, away)
                    place = "away" if away else "there"
                    print(f"| {on_changes} | {interval} | {place} | {rate:,.0f} | {wrote:,.0f} |", flush=True)
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
