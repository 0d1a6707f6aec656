"""What stands before every answer: reading only, the right host name, and headers that let nothing in or out.

Rules
- Only GET and HEAD: there is nothing here that could be changed, with or without a session.
- Reached over the loopback interface, the Host header must name it. A page elsewhere whose name was pointed at
  127.0.0.1 (DNS rebinding) would send its own name, and read the fleet with the browser of somebody at this machine.
- The page may load its own scripts, styles and data and nothing else; no inline script, no frame, no form, no text
  that becomes HTML (trusted types). No answer tells other sites where its reader came from.
- Answers of the API are not kept by a cache: they are of this moment.
"""

from __future__ import annotations

import ipaddress
import json
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
METHODS = frozenset({"GET", "HEAD"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PORT = re.compile(r":\d{1,5}$")


def host_allowed(host: str, server: str | None) -> bool:
    """Whether a request that came in at the address `server` may name `host` (its Host header).

    Away from loopback every name is allowed: there the client certificate decides who reads.
    """
    try:
        came_in = ipaddress.ip_address(server or "0.0.0.0")  # noqa: S104 - an address to compare, nothing listens
        came_in = getattr(came_in, "ipv4_mapped", None) or came_in
        if not came_in.is_loopback:
            return True
    except ValueError:
        return True
    return _PORT.sub("", host).lower() in LOOPBACK_NAMES


class Guard:
    """ASGI middleware around the whole page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on and put the headers on what comes back."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message["headers"]))
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                message = {**message, "headers": headers.raw}
            await send(message)

        if scope["method"] not in METHODS:
            await _refuse(with_headers, 405, "only GET and HEAD", {"allow": "GET, HEAD"})
            return
        server = scope.get("server")
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) > 1 or not host_allowed(hosts[0] if hosts else "", server[0] if server else None):
            await _refuse(with_headers, 421, "this name is not this machine's; open it as http://127.0.0.1", {})
            return
        await self._app(scope, receive, with_headers)


async def _refuse(send: Send, status: int, why: str, headers: dict[str, str]) -> None:
    body = json.dumps({"error": why}).encode() + b"\n"
    named = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
