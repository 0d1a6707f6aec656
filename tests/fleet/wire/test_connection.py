"""The TLS of every party. When these fail, a device talks to whoever stands in the way, or to a stolen tablet."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from edge.errors import SpecError
from edge.fleet.pki.authority import Pki
from edge.fleet.wire.connection import Credentials, connect_properties, make_client, tls_context

HOST = "localhost"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    made = Pki.create(tmp_path_factory.mktemp("fleet") / "pki")
    made.issue_device("tablet-1")
    made.issue_device("tablet-2")
    return made


def server(pki: Pki, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.certificate_of(name), pki.key_of(name))
    return context


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> str | None:
    """The TLS version, over memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, theirs = client.wrap_bio(down, up, server_hostname=host), server.wrap_bio(up, down, server_side=True)
    waiting = [ours, theirs]
    for _ in range(20):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
        if not waiting:
            return ours.version()
    raise AssertionError("the handshake does not end")


def test_the_broker_is_who_it_says(pki: Pki, tmp_path: Path) -> None:
    """If not: any certificate of the fleet, or one for another host, passes for the broker."""
    device = tls_context(pki.credentials("tablet-1"))
    assert shake_hands(device, server(pki, "broker"), HOST) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        shake_hands(device, server(pki, "tablet-2"), HOST)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname mismatch"):
        shake_hands(device, server(pki, "broker"), "elsewhere.internal")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(device, server(Pki.create(tmp_path / "other"), "broker"), HOST)
    assert device.minimum_version is ssl.TLSVersion.TLSv1_2


def test_files_that_do_not_fit(pki: Pki, tmp_path: Path) -> None:
    """If not: a device with half an enrolment ends with a traceback."""
    good = pki.credentials("tablet-1")
    with pytest.raises(SpecError, match="no such file"):
        tls_context(Credentials(good.ca, tmp_path / "none", good.key))
    with pytest.raises(SpecError, match="do not fit"):
        tls_context(Credentials(good.ca, good.certificate, pki.key_of("tablet-2")))
    (tmp_path / "empty").touch()
    with pytest.raises(SpecError, match="do not fit"):
        tls_context(Credentials(tmp_path / "empty", good.certificate, good.key))


def test_nothing_reconnects_or_begins_anew_by_itself(pki: Pki) -> None:
    """If not: paho sends again from its own memory, or the broker forgets the session while a device is away."""
    client = make_client("tablet-1", pki.credentials("tablet-1"), manual_ack=True)
    assert client._reconnect_on_failure is False  # type: ignore[attr-defined]
    assert client._manual_ack is True  # type: ignore[attr-defined]
    assert connect_properties(600).SessionExpiryInterval == 600  # type: ignore[attr-defined]
