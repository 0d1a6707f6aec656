"""`edge collector` as a person meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import insert

from edge.fleet.collector.command import collector
from edge.fleet.collector.judge import Judge, Moment
from edge.fleet.collector.registry import Registry
from edge.fleet.collector.writer import Batch, quarantine_row, write_batch
from edge.fleet.store.store import open_store, utc_now
from edge.fleet.store.tables import messages, quarantine, results
from tests.fleet.collector.parts import EPOCH, count, incoming, new_key, register, result, until
from tests.fleet.real_broker import running_broker

KEY, LATE = new_key("tablet-1"), new_key("late-1")
PROGRAM = "from edge.fleet.collector.command import collector; collector()"


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A quarantine: a device that was not registered, a schema of the future, bytes without attributes."""
    url = f"sqlite:///{tmp_path}/fleet.db"
    store = open_store(url)
    register(store, KEY)
    known = Registry(store, lambda: 0.0).find([KEY.name])
    moment = Moment.at(utc_now())
    found = [
        Judge({}).message(message, known, moment)
        for message in (
            incoming(result(LATE, 1)),
            incoming(result(LATE, 2)),
            incoming(result(KEY, 3, b'{"version":2}')),
            incoming(result(KEY, 4), properties=[]),
        )
    ]
    with store.writing() as connection:
        write_batch(connection, Batch(moment, quarantined=found))  # type: ignore[arg-type]
    store.close()
    return url


def run(*arguments: str) -> str:
    done = CliRunner().invoke(collector, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_list_and_export(database: str) -> None:
    """If not: nobody can see what was not believed, or take it to somebody who can say why."""
    listed = run("--database", database, "quarantine", "list")
    reasons = [line.split()[3] for line in listed.splitlines()]
    assert sorted(reasons) == ["future_schema", "malformed", "unknown_device", "unknown_device"]
    only = run("--database", database, "quarantine", "list", "--reason", "future_schema")
    assert f"{EPOCH}/3" in only and len(only.splitlines()) == 1
    assert len(run("--database", database, "quarantine", "list", "--newest", "1").splitlines()) == 1
    exported = [json.loads(line) for line in run("--database", database, "quarantine", "export").splitlines()]
    assert {one["device"] for one in exported} == {"tablet-1", "late-1"}
    assert exported[0]["data"]


def test_requeue(database: str) -> None:
    """If not: what came before its device was registered, or from a newer edge, is lost although it was kept."""
    assert "accepted 0  still refused 3  unreadable 1" in run("--database", database, "quarantine", "requeue")
    store = open_store(database)
    register(store, LATE)
    assert "accepted 2  still refused 0" in run(
        "--database", database, "quarantine", "requeue", "--reason", "unknown_device"
    )
    assert (count(store), count(store, results), count(store, quarantine)) == (2, 2, 2)
    row = quarantine_row(Judge({}).event(result(LATE, 1), None, Moment.at(utc_now())), Moment.at(utc_now()))  # type: ignore[arg-type]
    with store.writing() as connection:  # as if it had come twice
        connection.execute(insert(quarantine).values(row))
    assert "accepted 1" in run("--database", database, "quarantine", "requeue", "--device", LATE.name)
    assert count(store, messages) == 2
    store.close()


@pytest.mark.slow
def test_starts_and_ends_in_order(tmp_path: Path) -> None:
    """If not: the command does not start, does not say where its page is, or ends with a traceback."""
    with running_broker(tmp_path / "b") as broker:
        command = [sys.executable, "-c", PROGRAM, "--broker", f"{broker.host}:{broker.port}", "--credentials",
                   str(broker.pki.folder), "--database", f"{tmp_path}/f.db", "--page", "127.0.0.1:0"]  # fmt: skip
        log = tmp_path / "log"
        with log.open("wb") as file:
            child = subprocess.Popen(command, stderr=file)
        try:
            until(lambda: "page at 127.0.0.1:" in log.read_text(), 30)
            child.send_signal(signal.SIGTERM)
            assert child.wait(20) == 0
        finally:
            child.kill()
        assert len(log.read_text().splitlines()) == 1
