"""A made-up fleet in a real database, and the page over a real socket."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.synthetic_fleet import NOW, fill
from edge.fleet.page.server import make_app
from edge.fleet.store.store import Store, open_store


@dataclass(frozen=True)
class Answer:
    """What came back. headers: names in lower case."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def ask(base: str, path: str, method: str = "GET", **headers: str) -> Answer:
    """One request with the standard library; headers: `if_none_match=...`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(base + path, method=method, headers=named)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as found:  # noqa: S310
            return Answer(found.status, found.read(), {name.lower(): value for name, value in found.headers.items()})
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(), {name.lower(): value for name, value in error.headers.items()})


@contextlib.contextmanager
def serving(app: object, host: str = "127.0.0.1") -> Iterator[str]:
    """The application under uvicorn in a thread, on a free port; gives its address."""
    import uvicorn

    bound = socket.socket()
    bound.bind((host, 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    try:
        yield f"http://{host}:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        bound.close()


@pytest.fixture(scope="session")
def fleet_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The made-up fleet of fifty tablets; nobody writes to it."""
    store = open_store(str(tmp_path_factory.mktemp("fleet") / "fleet.db"), clock=lambda: NOW)
    fill(store)
    yield store
    store.close()


@pytest.fixture
def empty_store(tmp_path: Path) -> Iterator[Store]:
    """A store that a test may write to."""
    store = open_store(str(tmp_path / "fleet.db"), clock=lambda: NOW)
    yield store
    store.close()


@pytest.fixture(scope="session")
def fleet_page(fleet_store: Store) -> Iterator[str]:
    """The address of the page over the made-up fleet."""
    with serving(make_app(fleet_store, clock=lambda: NOW, metrics=lambda: b"edge_up 1\n")) as base:
        yield base
