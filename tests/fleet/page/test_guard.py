"""What stands before every answer. When these fail, a page elsewhere can read the fleet, or change it."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest

from edge.fleet.page.guard import host_allowed
from tests.fleet.page.conftest import ask

PATHS = ("/", "/static/page.js", "/api/v1/overview", "/export/devices.csv", "/nothing", "/metrics")


@pytest.mark.parametrize("path", PATHS)
def test_headers_on_every_answer(fleet_page: str, path: str) -> None:
    """Fails when an answer may be framed, sniffed, cached by a proxy or run a script of its own."""
    headers = ask(fleet_page, path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http:" not in policy and "*" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    wanted = "no-cache" if path in ("/", "/static/page.js") else "no-store"
    assert headers["cache-control"] == wanted


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
@pytest.mark.parametrize("path", ["/", "/api/v1/devices", "/nothing"])
def test_nothing_can_be_changed(fleet_page: str, method: str, path: str) -> None:
    """Fails when any method but GET and HEAD gets further than the door."""
    answer = ask(fleet_page, path, method)
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD" and "x-frame-options" in answer.headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "169.254.169.254"])
def test_rebinding_is_refused(fleet_page: str, host: str) -> None:
    """Fails when a name that somebody pointed at 127.0.0.1 reads the fleet."""
    answer = ask(fleet_page, "/api/v1/overview", host=host)
    assert answer.status in (400, 421)
    assert b"devices" not in answer.body


def test_two_host_headers_are_refused(fleet_page: str) -> None:
    """Fails when the second of two names decides."""
    at = urlsplit(fleet_page)
    link = http.client.HTTPConnection(str(at.hostname), at.port, timeout=10)
    link.putrequest("GET", "/api/v1/overview", skip_host=True)
    link.putheader("Host", "localhost")
    link.putheader("Host", "evil.example")
    link.endheaders()
    assert link.getresponse().status in (400, 421)
    link.close()


@pytest.mark.parametrize(
    ("host", "server", "allowed"),
    [
        ("localhost:8080", "127.0.0.1", True), ("LOCALHOST", "127.0.0.1", True), ("[::1]:9", "::1", True),
        ("127.0.0.1:8080", "127.0.0.1", True), ("fleet.example", "127.0.0.1", False), ("", "::1", False),
        ("localhost.evil", "127.0.0.5", False), ("localhost:1:2", "127.0.0.1", False),
        ("fleet.example", "10.1.2.3", True), ("fleet.example", None, True),
        ("fleet.example", "::ffff:127.0.0.1", False),
    ],
)  # fmt: skip
def test_host_rule(host: str, server: str | None, allowed: bool) -> None:
    """Fails when the rule lets a foreign name in over loopback, or keeps a real one out elsewhere."""
    assert host_allowed(host, server) is allowed
