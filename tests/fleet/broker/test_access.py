"""A real mosquitto with the shipped configuration: who gets in, who may say and hear what, and what a kill leaves.

If these fail, a stolen or strange certificate opens the fleet, one device harms another, or the broker forgets.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import ResourceError
from edge.fleet.broker.child import start_broker
from edge.fleet.broker.configuration import DATABASE, BrokerLimits
from edge.fleet.pki.authority import Pki
from edge.fleet.wire.connection import MAX_PACKET_BYTES, Credentials
from edge.fleet.wire.event import MAX_EVENT_BYTES
from edge.fleet.wire.topics import SHARED_UP
from tests.fleet.broker.party import party, refused, until
from tests.fleet.real_broker import Broker, program, running_broker

NOT_AUTHORISED = 0x87
SUBSCRIBED = 1


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("fleet")) as running:
        for name in ("tablet-1", "tablet-2", "tablet.3"):
            running.pki.issue_device(name)
        yield running


def test_the_fleets_own_get_in(broker: Broker) -> None:
    """A device (also one with a dot in its name) or a collector is refused, or does not hear what it shall."""
    with party(broker, broker.pki.credentials("collector")) as collector:
        collector.subscribe(SHARED_UP)
        for name in ("tablet-1", "tablet.3"):
            with party(broker, broker.pki.credentials(name)) as device:
                device.subscribe(f"edge/v1/{name}/down/+", f"edge/v1/{name}/cmd/+/+")
                assert device.publish(f"edge/v1/{name}/up/result", b"r") == 0
                assert until(lambda name=name: f"edge/v1/{name}/up/result" in collector.topics())  # type: ignore[misc]
                assert collector.publish(f"edge/v1/{name}/down/ack", b"a") == 0
                assert collector.publish(f"edge/v1/{name}/cmd/bench/b1", b"c", retain=True) == 0
                assert until(lambda device=device: len(device.messages) == 2)  # type: ignore[misc]
                assert device.publish(f"edge/v1/{name}/cmd/bench/b1", b"", retain=True) == 0


def test_strangers_are_refused(broker: Broker, tmp_path: Path) -> None:
    """Somebody of another root, with a server's certificate, or without any is let in."""
    other = Pki.create(tmp_path / "other")
    ours = broker.pki.ca
    for stranger in ("collector", "operator"):
        assert refused(broker, Credentials(ours, other.certificate_of(stranger), other.key_of(stranger)))
    assert refused(broker, Credentials(ours, broker.pki.certificate_of("page"), broker.pki.key_of("page")))
    import ssl

    from edge.fleet.broker.check import _let_in

    assert not _let_in(ssl.create_default_context(cafile=str(ours)), broker.host, broker.port)


def test_a_device_harms_no_other(broker: Broker) -> None:
    """A device speaks for another, hears another, gives itself orders, or fills the broker with topics of its own."""
    with (
        party(broker, broker.pki.credentials("collector")) as collector,
        party(broker, broker.pki.credentials("tablet-1")) as good,
        party(broker, broker.pki.credentials("tablet-2")) as bad,
    ):
        collector.subscribe(SHARED_UP)
        good.subscribe("edge/v1/tablet-1/down/+")
        for topic in ("edge/v1/tablet-1/up/result", "edge/v1/tablet-1/down/ack", "edge/v1/tablet-1/cmd/bench/b1",
                      "edge/v1/tablet-2/down/desired", "edge/v1/tablet-2/up/other", "edge/v1/tablet-2/up/result/x",
                      "edge/v1/tablet-2/cmd/erase/b1", "edge/broker/marker", "$SYS/broker/version"):  # fmt: skip
            assert bad.publish(topic, b"forged") == NOT_AUTHORISED, topic
        # mosquitto grants every subscription; what counts is that nothing is delivered.
        wanted = ("edge/v1/tablet-1/#", "edge/v1/+/up/+", "#", SHARED_UP, "$SYS/#")
        assert bad.subscribe(*wanted) == [SUBSCRIBED] * len(wanted)
        for number in range(4):  # of a shared subscription each gets a part: none of it may vanish at the intruder
            assert good.publish("edge/v1/tablet-1/up/result", b"%d" % number) == 0
        assert collector.publish("edge/v1/tablet-1/down/ack", b"a") == 0
        assert until(lambda: ("edge/v1/tablet-1/down/ack", b"a") in good.messages)
        assert bad.publish("edge/v1/tablet-2/up/result", b"last") == 0
        assert until(lambda: b"last" in [payload for _, payload in (*collector.messages, *bad.messages)])
        assert {topic for topic in bad.topics() if not topic.startswith("edge/v1/tablet-2/")} == set()


def test_nobody_takes_anothers_session(broker: Broker) -> None:
    """A device with a collector's client id throws it out and empties its queue."""
    with party(broker, broker.pki.credentials("collector"), "collector") as collector:
        collector.subscribe("edge/v1/+/up/+")
        with party(broker, broker.pki.credentials("tablet-1"), "collector") as device:
            assert not collector.lost
            assert device.publish("edge/v1/tablet-1/up/result", b"still") == 0
            assert until(lambda: ("edge/v1/tablet-1/up/result", b"still") in collector.messages)


def test_oversize(broker: Broker) -> None:
    """The largest event does not pass, or one packet too large harms others."""
    with (
        party(broker, broker.pki.credentials("tablet-1")) as mad,
        party(broker, broker.pki.credentials("tablet-2")) as other,
    ):
        assert mad.publish("edge/v1/tablet-1/up/result", b"x" * MAX_EVENT_BYTES) == 0
        assert mad.publish("edge/v1/tablet-1/up/result", b"x" * MAX_PACKET_BYTES) is None
        assert until(lambda: mad.lost)
        assert other.publish("edge/v1/tablet-2/up/result", b"fine") == 0


def test_a_revoked_device(broker: Broker) -> None:
    """A stolen tablet stays connected and heard, comes in again, or its revocation throws out the others."""
    for name in ("stolen-1", "stolen-2", "stolen-3"):  # within a second: every list must count, none be of the future
        broker.pki.issue_device(name)
        with (
            party(broker, broker.pki.credentials(name)) as stolen,
            party(broker, broker.pki.credentials("tablet-2")) as other,
        ):
            assert stolen.publish(f"edge/v1/{name}/up/result", b"before") == 0
            broker.pki.revoke(name)
            broker.reload()
            assert until(lambda: stolen.publish(f"edge/v1/{name}/up/result", b"after") in (NOT_AUTHORISED, None))  # noqa: B023
            assert other.publish("edge/v1/tablet-2/up/result", b"fine") == 0
            assert not other.lost
        assert refused(broker, broker.pki.credentials(name))


@pytest.mark.slow
@pytest.mark.parametrize("orderly", [True, False])
def test_what_a_restart_keeps(tmp_path: Path, orderly: bool) -> None:
    """A queue for an absent collector, a session or a retained state is gone after a restart or a kill."""
    with running_broker(tmp_path, limits=BrokerLimits(save_interval_s=1)) as broker:
        device = broker.pki.issue_device("tablet-1")
        with party(broker, broker.pki.credentials("collector")) as collector:
            collector.subscribe(SHARED_UP)
        with party(broker, device) as sender:
            for number in range(1500):  # more than the default queue of 1,000
                sender.client.publish("edge/v1/tablet-1/up/result", b"%d" % number, qos=1)
            assert until(lambda: len(sender.codes) == 1500)
            assert sender.publish("edge/v1/tablet-1/up/state", b"state", retain=True) == 0
        if orderly:
            broker.restart()
        else:
            database = broker.folder / "data" / DATABASE
            told = time.time()
            assert until(lambda: database.exists() and database.stat().st_mtime > told + 0.05)
            broker.kill9()
            broker.restart()
        with party(broker, broker.pki.credentials("collector")) as collector:
            assert collector.session_present
            assert until(lambda: len(set(collector.messages)) == 1501)
        with party(broker, broker.pki.credentials("operator")) as operator:
            operator.subscribe("edge/v1/+/up/state")
            assert until(lambda: operator.messages == [("edge/v1/tablet-1/up/state", b"state")])


@pytest.mark.parametrize(
    ("limits", "acknowledged", "kept"),
    [(BrokerLimits(queued_messages=50), 200, 50), (BrokerLimits(memory_bytes=3 << 20), None, None)],
)
def test_limits(tmp_path: Path, limits: BrokerLimits, acknowledged: int | None, kept: int | None) -> None:
    """A flood while no collector listens ends the broker; or somebody takes its acknowledgement for a delivery."""
    with running_broker(tmp_path, limits=limits) as broker:
        broker.pki.issue_device("mad")
        broker.pki.issue_device("tablet-1")
        with party(broker, broker.pki.credentials("collector")) as collector:
            collector.subscribe(SHARED_UP)
        with party(broker, broker.pki.credentials("mad")) as mad:
            for _ in range(200):
                mad.client.publish("edge/v1/mad/up/result", b"x" * (60_000 if kept is None else 60), qos=1)
            assert until(lambda: mad.lost or len(mad.codes) == 200)
            assert mad.lost == (kept is None)
            assert acknowledged is None or (len(mad.codes), set(mad.codes)) == (acknowledged, {0})
        assert broker.alive()
        with party(broker, broker.pki.credentials("collector")) as collector:
            if kept is not None:
                assert until(lambda: len(collector.messages) == kept)
            else:
                assert until(lambda: len(collector.messages) > 10)
            with party(broker, broker.pki.credentials("tablet-1")) as other:
                assert other.publish("edge/v1/tablet-1/up/result", b"fine") == 0
            assert until(lambda: ("edge/v1/tablet-1/up/result", b"fine") in collector.messages)


def test_a_broker_that_does_not_come_up(broker: Broker, tmp_path: Path) -> None:
    """A port that is taken ends in a wait without end, or in a broker that is nobody's."""
    with pytest.raises(ResourceError, match="did not come up"):
        start_broker(tmp_path / "second", Pki.create(tmp_path / "pki"), port=broker.port)
    assert broker.alive()


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """A broker outlives what started it, when that is killed."""
    import subprocess
    import sys

    program()
    script = (
        "import sys, time; from pathlib import Path\n"
        "from edge.fleet.broker.child import start_broker\nfrom edge.fleet.pki.authority import Pki\n"
        "folder = Path(sys.argv[1]); broker = start_broker(folder / 'b', Pki.create(folder / 'pki'))\n"
        "print(broker.process.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert until(lambda: not Path(f"/proc/{child}").exists() or "\nState:\tZ" in _status(child))


def _status(process: int) -> str:
    try:
        return Path(f"/proc/{process}/status").read_text()
    except OSError:
        return "\nState:\tZ"
