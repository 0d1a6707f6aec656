"""Who joins the collectors' shared subscription. When this fails, one stolen tablet makes messages of others vanish."""

from __future__ import annotations

from pathlib import Path

from edge.fleet.wire.topics import SHARED_UP, shared_up
from tests.fleet.broker.party import party, until
from tests.fleet.real_broker import running_broker

MESSAGES = 40


def test_a_device_takes_no_share_of_a_group_that_it_cannot_name(tmp_path: Path) -> None:
    """It may join any group, reads nothing, and what the broker gives it is dropped: so the group's name is secret."""
    with running_broker(tmp_path) as broker:
        credentials = broker.pki.credentials("collector")
        with (
            party(broker, credentials) as collector,
            party(broker, broker.pki.issue_device("tablet-1")) as good,
            party(broker, broker.pki.issue_device("tablet-2")) as bad,
        ):
            collector.subscribe(shared_up("collectors-0123456789abcdef"))
            bad.subscribe(SHARED_UP, shared_up("collectors-"), "$share/+/edge/v1/+/up/+")
            sent = [b"%d" % number for number in range(MESSAGES)]
            for payload in sent:
                assert good.publish("edge/v1/tablet-1/up/result", payload) == 0
            assert until(lambda: len(collector.messages) >= MESSAGES)
            assert sorted(payload for _, payload in collector.messages) == sorted(sent)
            assert not bad.messages
