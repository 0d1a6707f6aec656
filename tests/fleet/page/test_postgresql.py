"""The page over PostgreSQL. When this fails, a fleet past one machine sees other numbers than a small one."""

from __future__ import annotations

import json

import pytest

from benchmarks.synthetic_fleet import NOW, fill
from edge.fleet.page.server import make_app
from edge.fleet.store.store import open_store
from tests.fleet.page.conftest import ask, serving
from tests.fleet.store.real_postgresql import running_postgresql

PATHS = (
    "/api/v1/overview", "/api/v1/devices?sort=flags&order=desc", "/api/v1/devices/east-04", "/api/v1/speeds",
    "/api/v1/rollouts", "/api/v1/rollouts/notes-pi5-1.1.0", "/api/v1/quarantine", "/export/devices.csv",
    "/export/results.json", "/export/installs.csv", "/export/decisions.json",
)  # fmt: skip


@pytest.mark.slow
def test_both_databases_give_the_same_page(fleet_page: str) -> None:
    """Fails when a query means something else to PostgreSQL than to SQLite, or an outage of it is an error of ours."""
    with running_postgresql() as server:
        store = open_store(server.url(), clock=lambda: NOW)
        fill(store)
        with serving(make_app(store, clock=lambda: NOW)) as base:
            for path in PATHS:
                other = ask(fleet_page, path)
                assert ask(base, path).body == other.body and other.status == 200, path
            server.kill9()
            answer = ask(base, "/api/v1/devices/east-05")
            assert answer.status in (200, 503), "what was read is shown, or that nothing could be"
            assert ask(base, "/api/v1/rollouts/notes-pi5-1.1.0").status == 503
            assert list(json.loads(ask(base, "/api/v1/rollouts/notes-1.1.0").body)) == ["error"]
        store.close()
