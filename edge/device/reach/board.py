"""Runs on the device, sent there as text over the connection: standard library only, nothing of edge.

One process for a whole connection. It holds the lock of edge's folder while it lives, and ends, together with what it
has started, when the connection ends or the other side has been silent for SILENCE_S. Requests and answers are one
line of JSON each; `put` is followed by its bytes, the answer to `get` likewise. An empty line is a sign of life.

A file is written beside as `.edge-<sha256>.part` and gets its name when all of it is there and its digest is right. A
part stays when the connection is cut, to be gone on with; after any error of the disk it is removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VERSION = 1
SILENCE_S = 120.0
MAX_REQUEST_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20
TAIL_CHARACTERS = 8000
STOP_S = 5.0
PART = re.compile(r"\.edge-([0-9a-f]{64})\.part")


class RefusedError(Exception):
    """An answer in words. kind: as edge.errors names it."""

    def __init__(self, kind: str, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.kind, self.what, self.mend = kind, what, mend


class GoneError(Exception):
    """The other side is not there any more."""


def disk_error(error: OSError) -> RefusedError:
    """An OSError in words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RefusedError(
            "resource", "no space left on the device", "free space there and run the same command again"
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return RefusedError("resource", "edge's folder there cannot be written", "name another --device-folder")
    return RefusedError("resource", f"the device's disk failed ({error.strerror or error})", "check the disk")


def digest_of(path: Path) -> str:
    """Hex sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


class Store:
    """edge's folder on this device. folder: "" is the default; statvfs: of os, injectable."""

    def __init__(self, folder: str, statvfs: Callable[[Path], Any] = os.statvfs) -> None:
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        self.root = Path(folder or f"{data}/edge").expanduser().absolute()
        self._statvfs = statvfs
        self._lock = -1

    def open(self) -> None:
        """Make the folder and take its lock. RefusedError: when another process has it."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError(
                "resource", "another verification is running on this device", "wait for it and run again"
            ) from error
        except OSError as error:
            raise disk_error(error) from error

    def close(self) -> None:
        """Let the lock go."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def free_bytes(self) -> int:
        """Free for this user, where the folder is or will be."""
        place = self.root
        while not place.is_dir():
            place = place.parent
        found = self._statvfs(place)
        return int(found.f_bavail) * int(found.f_frsize)

    def path(self, *names: str) -> Path:
        """Below the folder. RefusedError: for a name that leaves it."""
        for name in names:
            if any(part in ("", ".", "..") for part in name.split("/")):
                raise RefusedError("bundle", "a path leaves edge's folder", "use one edge on both sides")
        return self.root.joinpath(*names)

    def listing(self, under: str) -> dict[str, Any]:
        """All files below a folder with their digests, parts of files, and what is no file."""
        top = self.path(under)
        files: dict[str, Any] = {}
        parts: dict[str, int] = {}
        odd = []
        for base, folders, names in os.walk(top):
            links = [name for name in folders if Path(base, name).is_symlink()]
            folders[:] = [name for name in folders if name != "__pycache__" and name not in links]
            for name in [*names, *links]:
                path = Path(base, name)
                relative = path.relative_to(top).as_posix()
                found = PART.fullmatch(name)
                if path.is_symlink() or not path.is_file():
                    odd.append(relative)
                elif found and path.parent == top:
                    parts[found[1]] = path.stat().st_size
                else:
                    files[relative] = [digest_of(path), path.stat().st_size]
        return {"files": files, "parts": parts, "odd": odd}

    def put(self, under: str, pieces: list[dict[str, Any]], data: bytes) -> None:
        """Write pieces of files; a file whose last piece it is gets its name if its digest is right."""
        at = 0
        for piece in pieces:
            length = int(piece["length"])
            self._piece(under, piece, data[at : at + length])
            at += length

    def _piece(self, under: str, piece: dict[str, Any], data: bytes) -> None:
        digest, offset, size = str(piece["sha256"]), int(piece["offset"]), int(piece["size"])
        target = self.path(under, piece["name"])
        part = self.path(under, f".edge-{digest}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("r+b" if offset else "wb", buffering=0) as file:
                file.truncate(offset)
                file.seek(offset)
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
            if offset + len(data) < size:
                return
            if digest_of(part) != digest:
                part.unlink()
                raise RefusedError("resource", "a file reads back other than it was sent", "run the command again")
            part.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise disk_error(error) from error

    def settle(self, under: str) -> None:
        """Make what was copied durable, and forget it in memory: pages that were just written are mapped in larger
        pieces than pages that were read, which would be measured as the runtime's memory."""
        os.sync()
        for base, _, names in os.walk(self.path(under)):
            for name in names:
                descriptor = os.open(Path(base, name), os.O_RDONLY | os.O_NOFOLLOW)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)

    def remove(self, under: str, names: list[str]) -> None:
        """Remove files or folders below a folder, and folders that are then empty."""
        for name in names:
            path = self.path(under, name)
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise disk_error(error) from error
            with contextlib.suppress(OSError):
                while path.parent != self.root:
                    path = path.parent
                    path.rmdir()

    def read(self, name: str, limit: int) -> bytes:
        """A file. RefusedError: when it is not there or larger than `limit`."""
        try:
            with self.path(name).open("rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise RefusedError("resource", f"{name} is not there", "run the same command again") from error
        if len(data) > limit:
            raise RefusedError("bundle", f"{name} is larger than {limit} bytes", "use one edge on both sides")
        return data


class Wire:
    """Lines and bytes from the other side, with a limit on its silence."""

    def __init__(self, source: int = 0, sink: int = 1, silence_s: float = SILENCE_S) -> None:
        self.source, self._sink, self._silence_s = source, sink, silence_s
        self._buffer = b""

    def more(self, timeout_s: float | None = None) -> bool:
        """Read what has come. False when nothing came within `timeout_s`. GoneError: at its end or after a silence."""
        ready, _, _ = select.select([self.source], [], [], self._silence_s if timeout_s is None else timeout_s)
        if not ready:
            if timeout_s is None:
                raise GoneError
            return False
        data = os.read(self.source, CHUNK_BYTES)
        if not data:
            raise GoneError
        self._buffer += data
        return True

    def line(self) -> bytes:
        """The next line that is not empty."""
        while True:
            head, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                if head:
                    return head
            elif len(self._buffer) > MAX_REQUEST_BYTES:
                raise GoneError
            else:
                self.more()

    def take_lines(self) -> list[bytes]:
        """Whole lines that have come already."""
        *lines, self._buffer = self._buffer.split(b"\n")
        return [line for line in lines if line]

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        pieces, held = [self._buffer], len(self._buffer)
        while held < count:
            self._buffer = b""
            self.more()
            pieces.append(self._buffer)
            held += len(self._buffer)
        data = b"".join(pieces)
        self._buffer = data[count:]
        return data[:count]

    def say(self, value: dict[str, Any], data: bytes = b"") -> None:
        """One answer."""
        view = memoryview(json.dumps(value).encode() + b"\n" + data)
        try:
            while view:
                view = view[os.write(self._sink, view) :]
        except OSError as error:
            raise GoneError from error


def facts(store: Store) -> dict[str, Any]:
    """This device in plain JSON types."""

    def text(path: str) -> str:
        with contextlib.suppress(OSError):
            return Path(path).read_text(encoding="utf-8", errors="replace")
        return ""

    return {
        "edge_board": VERSION,
        "arch": platform.machine(),
        "bits": 8 * struct.calcsize("P"),
        "python": list(sys.version_info[:3]),
        "executable": sys.executable,
        "libc": list(platform.libc_ver()),
        "system": platform.system() + " " + platform.release(),
        "cpuinfo": text("/proc/cpuinfo"),
        "board": text("/proc/device-tree/model").strip("\0 \n"),
        "folder": str(store.root),
        "free_bytes": store.free_bytes(),
    }


def run(wire: Wire, request: dict[str, Any], clock: Callable[[], float] = time.monotonic) -> dict[str, Any]:
    """Run a program; lines of its standard output are said as they come. It ends with the connection."""
    try:
        child = subprocess.Popen(
            request["argv"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, **request["environment"]),
            start_new_session=True,
        )
    except OSError as error:
        raise RefusedError(
            "resource", f"the program cannot be started ({error.strerror})", "check the device"
        ) from error
    if child.stdout is None or child.stderr is None:
        raise RefusedError("resource", "the program has no output", "check the device")
    out, err = child.stdout.fileno(), child.stderr.fileno()
    waiting, tail, line = [out, err], b"", b""
    deadline, heard = clock() + float(request["timeout_s"]), clock()
    try:
        while waiting:
            ready, _, _ = select.select([*waiting, wire.source], [], [], 1.0)
            if wire.source in ready:
                wire.more(0.0)
                heard = clock()
                if wire.take_lines():  # whatever is said during a run means: stop
                    raise RefusedError("resource", "the program on the device was stopped")
            if clock() - heard > SILENCE_S:
                raise GoneError
            if clock() > deadline:
                said = f"the program on the device took more than {float(request['timeout_s']):.0f} s"
                raise RefusedError("resource", said, "use a shorter workload")
            for descriptor in [one for one in waiting if one in ready]:
                data = os.read(descriptor, 65536)
                if not data:
                    waiting.remove(descriptor)
                elif descriptor == err:
                    tail = (tail + data)[-TAIL_CHARACTERS:]
                else:
                    *whole, line = (line[-TAIL_CHARACTERS:] + data).split(b"\n")
                    for one in whole:
                        wire.say({"line": one.decode("utf-8", "replace")})
        if line:
            wire.say({"line": line.decode("utf-8", "replace")})
        return {"returncode": child.wait(), "stderr": tail.decode("utf-8", "replace")}
    finally:
        stop(child)


def stop(child: subprocess.Popen[bytes]) -> None:
    """End a program and all that it has started in its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            break
        with contextlib.suppress(OSError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(STOP_S)
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


def answer(store: Store, wire: Wire, request: dict[str, Any]) -> None:
    """Do one request and say its outcome."""
    doing, under, found = request.get("do"), str(request.get("under", "")), b""
    told: dict[str, Any] = {"ok": True}
    data = wire.take(int(request["bytes"])) if doing == "put" else b""
    try:
        if doing == "open":
            store.open()
        elif doing == "space":
            told["free_bytes"] = store.free_bytes()
        elif doing == "list":
            told["listing"] = store.listing(under)
        elif doing == "put":
            store.put(under, request["pieces"], data)
        elif doing == "settle":
            store.settle(under)
        elif doing == "remove":
            store.remove(under, request["names"])
        elif doing == "get":
            found = store.read(request["name"], int(request["limit"]))
            told["bytes"] = len(found)
        elif doing == "run":
            told |= run(wire, request)
        else:
            raise RefusedError("bundle", "the request is not known on the device", "use one edge on both sides")
    except (RefusedError, OSError) as error:
        refused = error if isinstance(error, RefusedError) else disk_error(error)
        told = {"error": {"kind": refused.kind, "what": refused.what, "mend": refused.mend}}
    wire.say(told, found)


def end(_number: int, _frame: Any) -> None:
    """A signal ends a connection as its other side would, so that nothing started goes on."""
    raise GoneError


def main(folder: str = "") -> int:
    """Serve one connection on standard input and output."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, end)
    wire, store = Wire(), Store(folder)
    with contextlib.suppress(GoneError):
        wire.say(facts(store))
        while True:
            answer(store, wire, json.loads(wire.line()))
    store.close()
    return 0
