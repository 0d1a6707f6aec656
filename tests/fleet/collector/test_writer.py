"""What a batch leaves in the database, both kinds."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from edge.fleet.collector.judge import Accepted, Judge, Moment
from edge.fleet.collector.registry import Registry
from edge.fleet.collector.states import Change
from edge.fleet.collector.writer import Batch, Written, write_batch
from edge.fleet.store.store import Store, open_store
from edge.fleet.store.tables import devices, installs, messages, quarantine, results, telemetry
from edge.fleet.wire.event import INSTALL, Event, sign_event
from edge.fleet.wire.messages import InstallReport
from tests.fleet.collector import parts
from tests.fleet.collector.parts import EPOCH, REPORT, count, incoming, new_key, register, result

KEY = new_key("tablet-1")
NOW = Moment.at(datetime(2026, 11, 22, 12, tzinfo=UTC))


@pytest.fixture
def store(database_url: str) -> Any:
    """A database that knows the device."""
    opened = open_store(database_url)
    register(opened, KEY)
    yield opened
    opened.close()


def accepted(store: Store, *events: Event) -> list[Accepted]:
    known = Registry(store, lambda: 0.0).find({event.device for event in events})
    found = [Judge({}).event(event, known[event.device], NOW) for event in events]
    assert all(isinstance(one, Accepted) for one in found), found
    return found  # type: ignore[return-value]


def write(store: Store, *events: Event, **more: Any) -> Written:
    batch = Batch(NOW, accepted=accepted(store, *events), **more)
    with store.writing() as connection:
        return write_batch(connection, batch)


def install(seq: int) -> Event:
    document = InstallReport(
        outcome="rolled_back", reason="self_test_failed", from_digest="a" * 64, to_digest="b" * 64, release="notes-2",
        slot="b", moved_bytes=5, kept_bytes=7, duration_s=1.5, rollout="r1",
    )  # fmt: skip
    return sign_event(KEY, device=KEY.name, epoch=EPOCH, seq=seq, type=INSTALL, data=document.to_bytes())


def test_each_kind_has_its_row(store: Store) -> None:
    """If not: a result, install or telemetry does not reach the page, or with another number."""
    assert write(store, result(KEY, 1), install(2), parts.telemetry(KEY, 3)).new == 3
    with store.reading() as connection:
        found = connection.execute(select(results)).mappings().one()
        kept = connection.execute(select(messages).where(messages.c.seq == 1)).mappings().one()
        put = connection.execute(select(installs)).mappings().one()
        told = connection.execute(select(telemetry)).mappings().one()
    assert bytes(kept["data"]) == result(KEY, 1).data
    assert found["passed"] is REPORT.passed
    assert found["bundle_digest"] == REPORT.bundle_digest
    assert found["decode_tokens_per_s"] == min(one.tokens_per_s for one in REPORT.decode)
    assert found["ttft_prompt_tokens"] == max(one.prompt_tokens for one in REPORT.prefill)
    assert found["peak_rss_bytes"] == REPORT.peak_rss_bytes
    assert found["checks"].startswith('[{"name":')
    assert (put["outcome"], put["rollout"], put["moved_bytes"], put["duration_s"]) == ("rolled_back", "r1", 5, 1.5)
    assert (told["seq"], told["epoch"]) == (3, EPOCH)


def test_nothing_is_double(store: Store) -> None:
    """If not: what a device sends again after a lost acknowledgement counts twice."""
    events = [result(KEY, seq) for seq in range(1, 6)]
    assert write(store, *events, *events) == Written(5, 5, [])
    assert write(store, *reversed(events)) == Written(0, 5, [])
    assert write(store, result(KEY, 6), events[0]) == Written(1, 1, [])
    assert count(store) == count(store, results) == 6


def test_same_id_other_bytes(store: Store) -> None:
    """If not: a device that was copied, or whose outbox was set back, overwrites a result or loses one silently."""
    other = result(KEY, 1, REPORT.model_copy(update={"duration_s": 99.0}).to_bytes())
    third = result(KEY, 1, REPORT.model_copy(update={"duration_s": 98.0}).to_bytes())
    assert len(write(store, result(KEY, 1), third).reused) == 1
    assert [one.code for one in write(store, result(KEY, 2), other, result(KEY, 1)).reused] == ["sequence_reused"]
    write(store, other)
    with store.reading() as connection:
        rows = connection.execute(select(quarantine.c.reason, quarantine.c.data)).all()
        first = connection.execute(select(messages.c.data).where(messages.c.seq == 1)).scalar_one()
    assert sorted((reason, bytes(data)) for reason, data in rows) == sorted(
        [("sequence_reused", other.data), ("sequence_reused", third.data)]
    )
    assert bytes(first) == result(KEY, 1).data
    assert count(store) == count(store, results) == 2


def test_same_id_another_kind(store: Store) -> None:
    """If not: an install under the id of a result gets a row of its own."""
    write(store, result(KEY, 1))
    assert len(write(store, install(1)).reused) == 1
    assert count(store, installs) == 0


def test_epochs_do_not_meet(store: Store) -> None:
    """If not: a device that was set up again and counts from 1 loses its results."""
    assert write(store, result(KEY, 1), result(KEY, 1, epoch="ffffffff")).new == 2


def test_newest_telemetry_stays(store: Store) -> None:
    """If not: telemetry that came late overwrites newer."""
    write(store, parts.telemetry(KEY, 5, 55.0), parts.telemetry(KEY, 4, 44.0))
    write(store, parts.telemetry(KEY, 3, 33.0))
    write(store, newest_only=accepted(store, parts.telemetry(KEY, 9, 99.0)))
    with store.reading() as connection:
        row = connection.execute(select(telemetry)).one()
    assert (row.seq, '"battery_percent":99.0' in row.data) == (9, True)
    assert count(store) == 3  # what is over the budget is no message


def test_older_state_does_not_win(store: Store) -> None:
    """If not: a reported state that comes late hides the newer one."""

    def change(version: int) -> Change:
        return Change(KEY.name, "state", version, {"reported": str(version), "reported_version": version})

    for versions in ((3,), (2,), (3, 5), (4,)):
        write(store, changes=[change(version) for version in versions])
    with store.reading() as connection:
        assert connection.execute(select(devices.c.reported)).scalar_one() == "5"


def test_marks_of_a_device(store: Store) -> None:
    """If not: nobody sees that a device is noisy, or when it was here last."""
    write(store, result(KEY, 1, time="1999-01-01T00:00:00Z"), seen=[KEY.name, "nobody"], noisy={KEY.name})
    with store.reading() as connection:
        row = connection.execute(select(devices)).one()
    assert row.last_seen_at == row.noisy_at == row.clock_wrong_at == NOW.now


def test_two_collectors_at_once(store: Store) -> None:
    """If not: two that get the same messages in another order write them twice, wait for ever, or fail."""
    batches = [accepted(store, *(result(KEY, seq) for seq in range(1, 60))) for _ in range(4)]
    batches[1].reverse()
    batches[3].reverse()
    new: list[int] = []
    errors: list[Exception] = []

    def run(batch: list[Accepted]) -> None:
        try:
            with store.writing() as connection:
                new.append(write_batch(connection, Batch(NOW, accepted=batch)).new)
        except Exception as error:  # noqa: BLE001  shown below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(new) == count(store) == count(store, results) == 59


def test_quarantine_keeps_each_event_and_no_repetition(store: Store) -> None:
    """If not: of two events with equal data only one can be judged again; or the same nonsense fills the disk."""
    stranger = new_key("stranger")
    events = [incoming(result(stranger, seq)) for seq in (1, 2)]
    nameless = incoming(result(stranger, 3), properties=[])
    found = [Judge({}).message(one, {}, NOW) for one in (*events, nameless, nameless)]
    for _ in range(2):
        with store.writing() as connection:
            write_batch(connection, Batch(NOW, quarantined=found))  # type: ignore[arg-type]
    assert count(store, quarantine) == 3
