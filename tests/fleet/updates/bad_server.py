"""A real HTTP server with ranges, and the ways in which servers go wrong."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Fault = Callable[["Handler", bytes, int, int], bool]


class Handler(BaseHTTPRequestHandler):
    """Serves files below the server's folder; a fault may answer a range instead."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """One file or one range of it."""
        self.server.requests.append(self.path)
        path = self.server.folder / self.path.removeprefix("/repo/")
        if not path.is_file():
            self.answer(404, b"")
            return
        data = path.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, last = (int(match[1]), int(match[2])) if match else (0, len(data) - 1)
        fault = self.server.fault
        if fault is not None and "/blobs/" in self.path and fault(self, data, start, last):
            return
        if match is None:
            self.answer(200, data)
        elif last >= len(data):
            self.answer(416, b"")
        else:
            self.answer(206, data[start : last + 1], **{"Content-Range": f"bytes {start}-{last}/{len(data)}"})

    def answer(self, status: int, data: bytes, length: int | None = None, **headers: str) -> None:
        """Send a reply; `length` lies about its size."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)
        if length is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


class Server(ThreadingHTTPServer):
    """requests: the paths that were asked for."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.fault: Fault | None = None
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        """Where the repository is."""
        return f"http://127.0.0.1:{self.server_address[1]}/repo"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are expected."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server in a thread."""
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ---- faults: each answers True when it has answered -------------------------------------------------------


def no_ranges(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """The whole file, 200."""
    handler.answer(200, data)
    return True


def shifted(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """206 with other bytes than asked for, honestly labelled."""
    handler.answer(206, data[start + 1 : last + 1], **{"Content-Range": f"bytes {start + 1}-{last}/{len(data)}"})
    return True


def not_satisfiable(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """416."""
    handler.answer(416, b"")
    return True


def too_short(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """206 that promises all and ends in the middle."""
    half = (last + 1 - start) // 2
    headers = {"Content-Range": f"bytes {start}-{last}/{len(data)}"}
    handler.answer(206, data[start : start + half], length=last + 1 - start, **headers)
    return True


def flipped(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """One wrong bit in every reply."""
    wrong = bytearray(data[start : last + 1])
    wrong[-1] ^= 1
    handler.answer(206, bytes(wrong), **{"Content-Range": f"bytes {start}-{last}/{len(data)}"})
    return True


def endless(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """Never stops sending."""
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {start}-{last}/{len(data)}")
    handler.send_header("Connection", "close")  # without a length: until it closes
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"x" * 4096)
    return True


def trickling(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """The right bytes, one now and then."""
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {start}-{last}/{len(data)}")
    handler.send_header("Content-Length", str(last + 1 - start))
    handler.end_headers()
    with contextlib.suppress(OSError):
        for at in range(start, min(last + 1, start + 500)):
            handler.wfile.write(data[at : at + 1])
            time.sleep(0.02)
    handler.close_connection = True
    return True


def elsewhere(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """A redirect to another host."""
    handler.answer(302, b"", Location="http://example.invalid/")
    return True


def compressed(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """Gzip, though nobody asked for it."""
    handler.answer(200, data, Content_Encoding="gzip")
    return True


def broken(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """500."""
    handler.answer(500, b"")
    return True


def impossible_date(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """The right range, of a year that no calendar has."""
    handler.send_response_only(206)
    handler.send_header("Date", "Mon, 01 Jan 99999999999999 00:00:00 GMT")
    handler.send_header("Content-Length", str(last - start + 1))
    handler.send_header("Content-Range", f"bytes {start}-{last}/{len(data)}")
    handler.end_headers()
    handler.wfile.write(data[start : last + 1])
    return True


def endless_trailer(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """The right range in chunks of HTTP, and after it header after header for ever."""
    handler.send_response(206)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.send_header("Content-Range", f"bytes {start}-{last}/{len(data)}")
    handler.end_headers()
    with contextlib.suppress(OSError):
        handler.wfile.write(b"0\r\n")
        for _ in range(200):
            handler.wfile.write(b"X: y\r\n")
            time.sleep(0.05)
    handler.close_connection = True
    return True


def endless_number(handler: Handler, data: bytes, start: int, last: int) -> bool:
    """A range that begins at a number of 5,000 digits."""
    handler.answer(206, b"x", Content_Range=f"bytes {'9' * 5000}-{last}/*")
    return True


def cut_once(times: int = 1) -> Fault:
    """Breaks off in the middle, `times` times."""
    left = [times]

    def fault(handler: Handler, data: bytes, start: int, last: int) -> bool:
        left[0] -= 1
        return left[0] >= 0 and too_short(handler, data, start, last)

    return fault
