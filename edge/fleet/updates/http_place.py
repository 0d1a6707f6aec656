"""A place behind HTTPS: one host, mutual TLS, ranges, and no patience for servers that misbehave.

Rules. (1) https only; http is for loopback, where tests and a reverse proxy live. (2) No redirect is followed, no proxy
is asked, nothing is compressed. (3) Each wait for bytes has a limit, and so have the head of a reply as a whole and the
average speed of the rest: a server that sends one byte now and then does not hold the device. (4) A reply must be what
was asked for, with its length: 206 with the right range, or 200 with the whole file; other bytes are an error.
"""

from __future__ import annotations

import contextlib
import email.utils
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from edge.errors import EdgeError, InputError, ResourceError
from edge.fleet.updates.errors import NotThereError, SlowError, UnreachableError
from edge.fleet.updates.places import PIECE_BYTES, RangeReply

if TYPE_CHECKING:
    import ssl

    from urllib3.connectionpool import HTTPConnectionPool
    from urllib3.response import BaseHTTPResponse

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]+|\*)")


class TlsFiles(Protocol):
    """PEM files: the fleet's CA, the device's certificate and key; edge.fleet.wire.connection.Credentials has them."""

    @property
    def ca(self) -> Path: ...

    @property
    def certificate(self) -> Path: ...

    @property
    def key(self) -> Path: ...


class HttpPlace:
    """The repository below `url`.

    credentials: for mutual TLS; None uses the system's CAs and shows no certificate. connect_s, read_s: longest wait
    for a connection and for the next bytes; a reply's whole head
    may take twice read_s. least_bytes_per_s: the slowest average that is borne, once `grace_s` have
    passed; set it to 0 for a line that is slower still.
    """

    def __init__(
        self,
        url: str,
        credentials: TlsFiles | None = None,
        *,
        connect_s: float = 15.0,
        read_s: float = 30.0,
        least_bytes_per_s: float = 500.0,
        grace_s: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("https", "http") or not host or parts.query or parts.username:
            raise InputError(f"{url[:120]!r} is no address of updates", mend="give https://host/folder")
        if parts.scheme == "http" and host not in LOOPBACK:
            raise InputError(
                f"{host[:80]} is asked without TLS", mend="give an https:// address; http:// is for this machine alone"
            )
        self.url = url.rstrip("/")
        self._path = parts.path.rstrip("/")
        self._host, self._port, self._tls = host, parts.port, parts.scheme == "https"
        self._credentials = credentials
        self._connect_s, self._read_s = connect_s, read_s
        self._least_bytes_per_s, self._grace_s = least_bytes_per_s, grace_s
        self._monotonic = monotonic
        self._pool: HTTPConnectionPool | None = None
        self._server_time: datetime | None = None

    @property
    def name(self) -> str:
        """The address."""
        return self.url

    def server_time(self) -> datetime | None:
        """The Date of the last reply."""
        return self._server_time

    def close(self) -> None:
        """Close the connection."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def read(self, path: str) -> Iterator[bytes]:
        """See UpdatePlace."""
        response = self._get(path, {})
        try:
            if response.status != 200:
                raise self._strange(response)
            yield from self._pieces(response)
        finally:
            _let_go(response)

    def read_range(self, path: str, start_bytes: int, size_bytes: int) -> RangeReply:
        """See UpdatePlace."""
        last = start_bytes + size_bytes - 1
        response = self._get(path, {"Range": f"bytes={start_bytes}-{last}"})

        def close() -> None:
            _let_go(response)

        if response.status == 200:
            return RangeReply(0, True, self._pieces(response), close)
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == 206 and match and (int(match[1]), int(match[2])) == (start_bytes, last):
            return RangeReply(start_bytes, False, self._pieces(response), close)
        close()
        if response.status == 416:
            raise UnreachableError(f"{path[:80]} is shorter than it should be", where=self.name, mend="publish again")
        if response.status == 206:
            raise UnreachableError("sends other bytes than it was asked for", where=self.name, mend="look at it")
        raise self._strange(response)

    def _get(self, path: str, headers: dict[str, str]) -> BaseHTTPResponse:
        import urllib3

        pool = self._connected()
        try:
            response = pool.urlopen(
                "GET",
                f"{self._path}/{quote(path)}",
                headers={"Accept-Encoding": "identity", "User-Agent": "edge-updates/1", **headers},
                retries=False,
                redirect=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=self._connect_s, read=self._read_s),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._failed(error) from error
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            said = email.utils.parsedate_to_datetime(response.headers.get("Date", ""))
            self._server_time = said if said.tzinfo else said.replace(tzinfo=UTC)
        if response.status in (404, 403, 410):
            _let_go(response)
            raise NotThereError(f"lacks {path[:80]}", where=self.name, mend="check the address, or publish again")
        if "Transfer-Encoding" in response.headers:  # what comes between its chunks has no limit in time
            _let_go(response)
            raise UnreachableError("does not say a reply's length", where=self.name, mend="let it serve plain files")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            _let_go(response)
            raise UnreachableError("sends other bytes than the file has", where=self.name, mend="turn compression off")
        return response

    def _pieces(self, response: BaseHTTPResponse) -> Iterator[bytes]:
        import urllib3

        begun, count = self._monotonic(), 0
        try:
            while True:
                # read1 returns what one read of the socket gave: a slow trickle is seen as one.
                piece = response.read1(PIECE_BYTES)
                if not piece:
                    return
                count += len(piece)
                took = self._monotonic() - begun
                if took > self._grace_s and count < took * self._least_bytes_per_s:
                    raise SlowError(f"sends {count / took:.0f} bytes a second", where=self.name, mend="try later")
                before = self._monotonic()
                yield piece
                begun += self._monotonic() - before  # time that the reader took (a bandwidth limit) is not the server's
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._failed(error) from error

    def _strange(self, response: BaseHTTPResponse) -> EdgeError:
        if 300 <= response.status < 400:
            return UnreachableError(
                "sends us elsewhere, which is not followed", where=self.name, mend="give the right address"
            )
        return UnreachableError(f"answers {response.status}", where=self.name, mend="look at that server")

    def _failed(self, error: Exception) -> EdgeError:
        import urllib3.exceptions as urllib

        self.close()
        if isinstance(error, urllib.ReadTimeoutError):
            return SlowError(f"sent nothing of use for {self._read_s:.0f} s", where=self.name, mend="try later")
        if isinstance(error, urllib.ConnectTimeoutError | urllib.NewConnectionError | urllib.NameResolutionError):
            return UnreachableError("does not answer", where=self.name, mend="check the line and the address")
        if isinstance(error, urllib.SSLError):
            return UnreachableError(
                f"TLS failed ({_tls_words(error)})", where=self.name, mend="check both certificates and both clocks"
            )
        return UnreachableError(
            f"broke off ({type(error).__name__})", where=self.name, mend="try again, it goes on from there"
        )

    def _connected(self) -> HTTPConnectionPool:
        if self._pool is None:
            from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

            if self._tls:
                self._pool = HTTPSConnectionPool(
                    self._host, self._port, maxsize=1, ssl_context=self._context(), retries=False
                )
            else:
                self._pool = HTTPConnectionPool(self._host, self._port, maxsize=1, retries=False)
            # Of this pool, not of its class.
            self._pool.ConnectionCls = _with_head_limit(self._pool.ConnectionCls, 2 * self._read_s)
        return self._pool

    def _context(self) -> ssl.SSLContext:
        import ssl

        files = self._credentials
        try:
            context = ssl.create_default_context(cafile=None if files is None else str(files.ca))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if files is not None:
                context.load_cert_chain(str(files.certificate), str(files.key))
        except (OSError, ValueError) as error:
            raise ResourceError(
                "this device's certificates cannot be used", where=self.name, mend="enrol the device again"
            ) from error
        return context


def _with_head_limit(connection: Any, limit_s: float) -> Any:
    """A class of connections whose replies' heads end in time: each byte of one has a time limit of its own only."""

    class Limited(connection):  # type: ignore[misc]
        def getresponse(self) -> Any:
            was_cut = threading.Event()

            def cut(sock: socket.socket = self.sock) -> None:
                was_cut.set()
                with contextlib.suppress(OSError):
                    # Of the class below TLS, whose own would take the connection from under the reader.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

            timer = threading.Timer(limit_s, cut)
            timer.daemon = True
            timer.start()
            try:
                return super().getresponse()
            finally:
                timer.cancel()
                if was_cut.is_set():  # an end of file can pass for the end of a head
                    raise TimeoutError

    return Limited


def _let_go(response: BaseHTTPResponse) -> None:
    """Close, and give the connection back only where nothing is left on it."""
    with contextlib.suppress(Exception):
        if response.length_remaining == 0:
            response.release_conn()
        else:
            response.close()


def _tls_words(error: Exception) -> str:
    match = re.search(r"\[SSL: ([A-Z0-9_]+)\]", str(error))
    return match[1].lower().replace("_", " ") if match else "no details"
