"""Who reads the page behind TLS, with real certificates. When these fail, a stolen tablet reads the whole fleet."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.errors import SpecError
from edge.fleet.collector.pages import PageServer
from edge.fleet.collector.readers import Readers
from edge.fleet.pki.authority import Pki
from edge.fleet.store.store import open_store
from edge.fleet.wire.connection import Credentials, tls_context

HIDDEN = ("/", "/api/v1/devices", "/export/results.csv", "/metrics", "/repository", "/%72epo", "/x/repo/notes")
GONE = (OSError, http.client.HTTPException)


class Page:
    """A page behind TLS, with its fleet's PKI and a repository of one file."""

    def __init__(self, folder: Path) -> None:
        self.pki = Pki.create(folder / "pki")
        (folder / "repo").mkdir()
        (folder / "repo" / "notes.txt").write_text("a release")
        self.store = open_store(f"sqlite:///{folder}/fleet.db")
        self.said: list[str] = []
        tls = (self.pki.certificate_of("page"), self.pki.key_of("page"))
        self.server = PageServer(
            self.store, ("127.0.0.1", 0), tls, self.pki.ca, folder / "repo", lambda: b"up 1\n",
            crl=self.pki.crl, say=self.said.append,
        )  # fmt: skip
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()

    def connect(self, credentials: Credentials | ssl.SSLContext) -> http.client.HTTPSConnection:
        """Who shows `credentials`; not connected before the first request."""
        context = credentials if isinstance(credentials, ssl.SSLContext) else tls_context(credentials)
        return http.client.HTTPSConnection(*self.server.address, context=context, timeout=10)

    def ask(self, credentials: Credentials, path: str) -> tuple[int, str]:
        """Status and body by a new connection."""
        connection = self.connect(credentials)
        try:
            return asked(connection, path)
        finally:
            connection.close()

    def close(self) -> None:
        self.server.stop()
        self._thread.join(10)
        self.store.close()


def asked(connection: http.client.HTTPSConnection, path: str) -> tuple[int, str]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    made = Page(tmp_path_factory.mktemp("page"))
    yield made
    made.close()


def test_an_operator_reads_everything(page: Page) -> None:
    """If not: the engineer cannot see the fleet."""
    for credentials in (page.pki.credentials("operator"), page.pki.issue_operator("operator-2")):
        for path in ("/", "/api/v1/devices", "/export/results.csv", "/metrics", "/repo/notes.txt"):
            assert page.ask(credentials, path)[0] == 200, path


def test_a_device_reads_updates_only(page: Page) -> None:
    """If not: a stolen tablet exports the fleet, or no tablet gets updates."""
    device = page.pki.issue_device("tablet-1")
    assert page.ask(device, "/repo/notes.txt") == (200, "a release")
    for path in HIDDEN:
        assert page.ask(device, path) == (403, "this page is for operators\n"), path
    for path in ("/repo/../api/v1/devices", "/repo//api/v1/devices", "/repo/%2e%2e/metrics"):
        assert page.ask(device, path)[0] in (403, 404), path


def test_others_of_the_fleet_read_nothing(page: Page) -> None:
    """If not: what a collector's key opens is more than it needs; or a name that looks like an operator's is one."""
    for credentials in (page.pki.credentials("collector"), page.pki.issue_device("my-operator")):
        assert page.ask(credentials, "/api/v1/devices")[0] == 403
    assert page.ask(page.pki.credentials("collector"), "/repo/notes.txt")[0] == 403


def test_another_fleet_reads_nothing(page: Page, tmp_path: Path) -> None:
    """If not: any operator of any fleet reads this one."""
    other = Pki.create(tmp_path / "other").credentials("operator")
    mixed = Credentials(page.pki.ca, other.certificate, other.key)
    with pytest.raises(GONE):
        page.ask(mixed, "/repo/notes.txt")


def test_revoked_reads_nothing_from_then_on(page: Page) -> None:
    """If not: a stolen tablet, or a lost operator's laptop, reads on until the collector is started again."""
    device, operator = page.pki.issue_device("tablet-2"), page.pki.issue_operator("operator-3")
    context = tls_context(device)
    open_line = page.connect(context)
    assert asked(open_line, "/repo/notes.txt")[0] == 200
    session = open_line.sock.session  # type: ignore[union-attr]
    assert page.ask(operator, "/metrics")[0] == 200
    page.pki.revoke("tablet-2")
    page.pki.revoke("operator-3")
    assert asked(open_line, "/repo/notes.txt") == (403, "this certificate is revoked\n")  # and the list is taken in
    with pytest.raises(GONE):
        page.ask(operator, "/metrics")
    with pytest.raises(GONE):
        page.ask(device, "/repo/notes.txt")
    resumed = page.connect(context)
    plain = page.server.address
    with context.wrap_socket(socket.create_connection(plain), server_hostname=plain[0], session=session) as line:
        resumed.sock = line
        try:
            assert asked(resumed, "/repo/notes.txt")[0] == 403
        except GONE:
            assert not line.session_reused
    assert page.ask(page.pki.credentials("operator"), "/metrics")[0] == 200
    assert page.said == []


def test_a_list_that_cannot_be_used(tmp_path: Path) -> None:
    """If not: a list that was deleted, broken, another's or older lets a revoked certificate in again."""
    pki, other = Pki.create(tmp_path / "pki"), Pki.create(tmp_path / "other")
    said: list[str] = []
    with pytest.raises(SpecError, match="no such file"):
        Readers(pki.ca, tmp_path / "none.pem", say=said.append)
    with pytest.raises(SpecError, match="not a revocation list of this fleet"):
        Readers(pki.ca, other.crl, say=said.append)
    with pytest.raises(SpecError, match="CA"):
        Readers(pki.crl, pki.crl, say=said.append)
    pki.issue_device("tablet-1")
    older, shown = pki.crl.read_bytes(), ssl.PEM_cert_to_DER_cert(pki.certificate_of("tablet-1").read_text())
    pki.revoke("tablet-1")
    readers = Readers(pki.ca, pki.crl, say=said.append)
    readers.guard(ssl.create_default_context())
    for bad in (b"broken", other.crl.read_bytes(), older, None):
        pki.crl.unlink()
        if bad is not None:
            pki.crl.write_bytes(bad)
        said.clear()
        assert readers.refusal(shown, "/repo/x") == "this certificate is revoked"
        assert len(said) == 1
        assert "goes on with" in said[0]
    assert readers.refusal(shown, "/repo/x")
    assert len(said) == 1  # not at every request


def test_tls_needs_a_list(tmp_path: Path) -> None:
    """If not: a page is served that revokes nobody."""
    pki = Pki.create(tmp_path / "pki")
    store = open_store(f"sqlite:///{tmp_path}/fleet.db", clock=lambda: datetime.now(UTC))
    tls = (pki.certificate_of("page"), pki.key_of("page"))
    with pytest.raises(SpecError, match="revocation list"):
        PageServer(store, ("127.0.0.1", 0), tls, pki.ca, None, lambda: b"")
    store.close()
