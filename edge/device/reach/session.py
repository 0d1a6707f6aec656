"""The near side of a connection to a device that has Python: starts it, asks, copies, and says why it ended.

The far side is `board.py`, sent as text. One process on each side and one connection serve a whole verification, so
a lock on the device holds as long as the connection does, and nothing runs on after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.device.facts import ARCHITECTURES, parse_cpuinfo
from edge.device.reach.base import LEAST_PYTHON, BoardFacts, Completed, Copied, Line, Progress, nobody
from edge.device.reach.plan import Listing, LocalFile, Piece, check_space, local_files, plan_copy, requests
from edge.errors import BundleError, EdgeError, MissingToolError, ResourceError, SourceError
from edge.files import write_atomic

BOARD = Path(__file__).with_name("board.py")
SIGN_OF_LIFE_S = 15.0
NOISE_BYTES = 64 << 10  # what a login shell may print before us
START_S = 90.0
ANSWER_S = 1800.0  # hashing gigabytes on a slow card
STOP_S = 5.0
MAX_PULL_BYTES = 64 << 20
STDERR_LINES = 20
KINDS: dict[str, type[EdgeError]] = {"resource": ResourceError, "bundle": BundleError}
NO_PYTHON = b"edge-no-python "
# The Pythons of current systems, newest of those with wheels last tried, the system's own first.
PYTHONS = "python3 python3.13 python3.12 python3.11"
# onnxruntime's wheels are manylinux_2_27 and 2_28.
LEAST_GLIBC = (2, 28)

Failure = Callable[[str, int], EdgeError]


def board_source() -> bytes:
    """The program for the far side."""
    return BOARD.read_bytes()


def start_words(source: bytes, folder: str) -> str:
    """One shell line that finds a Python on the device and hands it the program, which comes on standard input.

    It has no newline and no '!', so that every login shell passes it on as it is.
    """
    least = f"({LEAST_PYTHON[0]},{LEAST_PYTHON[1]})"
    ask = f"import sys;sys.exit(sys.version_info<{least})"
    code = (
        f"import sys;n={{'__name__':'edge_board'}};exec(sys.stdin.buffer.read({len(source)}),n);"
        f"sys.exit(n['main']({folder!r}))"
    )
    script = (
        f"for p in {PYTHONS}; do if $p -c {shlex.quote(ask)} </dev/null >/dev/null 2>&1; "
        f"then exec $p -I -B -c {shlex.quote(code)}; fi; done; "
        f"echo {NO_PYTHON.decode()}$(python3 -V 2>&1 </dev/null)"
    )
    return f"exec /bin/sh -c {shlex.quote(script)}"


class BoardSession:
    """A connection to a device that has Python; follows edge.device.reach.base.Device but for `address`.

    Parameters
    ----------
    command: starts the far side's shell line, which is its last argument.
    where: the device in words, for errors.
    failure: says why the connection ended, from the last lines of its standard error and its exit code.
    folder: edge's folder on the device, "" for its default.
    """

    def __init__(self, command: Sequence[str], where: str, failure: Failure, *, folder: str = "") -> None:
        self.where, self._failure = where, failure
        source = board_source()
        self._buffer = b""
        self._errors: deque[bytes] = deque(maxlen=STDERR_LINES)
        self._writing = threading.Lock()
        self._closed = threading.Event()
        self._opened = False
        try:
            self._process = subprocess.Popen(
                [*command, start_words(source, folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C reaches us alone; we then end the connection
            )
        except OSError as error:
            raise MissingToolError(f"'{command[0]}' cannot be started ({error.strerror})", where=where) from error
        self._threads = [threading.Thread(target=self._read_errors, name="edge-reach-errors", daemon=True)]
        self._threads[0].start()
        try:
            self._send(source)
            self._told = self._hello()
        except BaseException:
            self.close()
            raise
        self._threads.append(threading.Thread(target=self._live, name="edge-reach-life", daemon=True))
        self._threads[1].start()

    # ---- bytes -------------------------------------------------------------------------------------------

    def _read_errors(self) -> None:
        for line in self._process.stderr or ():
            self._errors.append(line)

    def _live(self) -> None:
        while not self._closed.wait(SIGN_OF_LIFE_S):
            with contextlib.suppress(EdgeError):
                self._send(b"\n")

    def _send(self, data: bytes) -> None:
        pipe = self._process.stdin
        if pipe is None:
            raise self._ended()
        view = memoryview(data)
        try:
            with self._writing:
                while view:
                    view = view[os.write(pipe.fileno(), view) :]
        except (OSError, ValueError) as error:
            raise self._ended() from error

    def _more(self, deadline_s: float) -> None:
        pipe = self._process.stdout
        if pipe is None:
            raise self._ended()
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline_s - time.monotonic()))
        if not ready:
            raise ResourceError("gives no answer", where=self.where, mend="check the device and run the command again")
        data = os.read(pipe.fileno(), 1 << 20)
        if not data:
            raise self._ended()
        self._buffer += data

    def _line(self, timeout_s: float) -> bytes:
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            self._more(deadline_s)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _bytes(self, count: int) -> bytes:
        deadline_s = time.monotonic() + ANSWER_S
        while len(self._buffer) < count:
            self._more(deadline_s)
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def _ended(self) -> EdgeError:
        """Why the connection is over."""
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            code = -1
        self._threads[0].join(STOP_S)
        return self._failure(b"".join(self._errors).decode("utf-8", "replace"), code)

    # ---- questions ---------------------------------------------------------------------------------------

    def _hello(self) -> dict[str, Any]:
        noise = 0
        while noise < NOISE_BYTES:
            line = self._line(START_S)
            if line.startswith(NO_PYTHON):
                found = line.removeprefix(NO_PYTHON).decode("utf-8", "replace").strip()
                said = found[:40] if found.startswith("Python ") else "none"
                least = ".".join(map(str, LEAST_PYTHON))
                raise MissingToolError(
                    f"there is no Python {least} or newer on the device (found: {said})",
                    where=self.where,
                    mend="install python3 of a current system there (Debian 12, Ubuntu 24.04 and newer have it)",
                )
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict) and value.get("edge_board") == 1:
                    return value
            noise += len(line) + 1
        raise ResourceError("answers with something else", where=self.where, mend="check what its login shell prints")

    def ask(
        self, request: Mapping[str, Any], data: bytes = b"", line: Line = nobody, timeout_s: float = ANSWER_S
    ) -> Any:
        """One request and its answer. Errors: as the device says them, and those of a connection that ended."""
        self._send(json.dumps(request).encode() + b"\n" + data)
        while True:
            try:
                value = json.loads(self._line(timeout_s))
            except ValueError as error:
                raise ResourceError("answers with something else", where=self.where, mend="run it again") from error
            if "line" in value:
                line(str(value["line"]))
            elif "error" in value:
                told = value["error"]
                kind = KINDS.get(str(told["kind"]), ResourceError)
                raise kind(str(told["what"]), where=self.where, mend=str(told["mend"]))
            else:
                return value

    def facts(self) -> BoardFacts:
        """What the device is. Errors: SourceError for one whose system no wheel fits."""
        told = self._told
        arch = ARCHITECTURES.get(told["arch"].lower(), told["arch"].lower())
        mend = "install a 64-bit system with glibc 2.28 or newer (Debian 12, Raspberry Pi OS 64-bit, JetPack 6)"
        if int(told["bits"]) != 64:
            raise SourceError(f"the system of the device is {told['bits']}-bit ({arch})", where=self.where, mend=mend)
        name, version = told["libc"]
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if name != "glibc" or numbers < LEAST_GLIBC:
            said = f"{name} {version}".strip() or "musl"
            raise SourceError(f"the C library of the device is {said}", where=self.where, mend=mend)
        _, cpu, _ = parse_cpuinfo(told["cpuinfo"])
        features = (cpu.get("flags") or cpu.get("Features") or "").split()
        return BoardFacts(
            arch=arch,
            python=(int(told["python"][0]), int(told["python"][1])),
            isa_features=tuple(sorted(set(features))),
            board=str(told["board"]),
            system=str(told["system"]),
            free_bytes=int(told["free_bytes"]),
            folder=str(told["folder"]),
        )

    @property
    def python(self) -> str:
        """The interpreter on the device, absolute."""
        return str(self._told["executable"])

    def describe(self) -> str:
        """Where, which board, which system."""
        told = self._told
        name = f"{told['board']}, " if told["board"] else ""
        version = ".".join(map(str, told["python"]))
        return f"{self.where} ({name}{told['arch']}, {told['system']}, Python {version})"

    def open(self) -> None:
        """Take the device for this connection. Errors: ResourceError when another one has it."""
        if not self._opened:
            self.ask({"do": "open"})
            self._opened = True

    def push(
        self,
        local: Path | Mapping[str, LocalFile],
        remote: str,
        progress: Progress = nobody,
        *,
        keep: Sequence[str] = (),
    ) -> Copied:
        """As Device.push. local: a folder, or files by the names that they shall have; keep: as plan_copy."""
        self.open()
        wanted = local_files(local) if isinstance(local, Path) else local
        raw = self.ask({"do": "list", "under": remote})["listing"]
        there = Listing(
            {name: (str(sha), int(size)) for name, (sha, size) in raw["files"].items()}, raw["parts"], tuple(raw["odd"])
        )
        plan = plan_copy(wanted, there, keep)
        if plan.remove:
            self.ask({"do": "remove", "under": remote, "names": list(plan.remove)})
        check_space(plan, int(self.ask({"do": "space"})["free_bytes"]), self.where)
        sent = 0
        for group in requests(plan, wanted):
            progress(f"copy to the device: {remote.partition('/')[0]}", sent / max(1, plan.send_bytes))
            data = b"".join(_piece_bytes(wanted[piece.name], piece) for piece in group)
            pieces = [
                {"name": one.name, "sha256": one.sha256, "size": one.size_bytes, "offset": one.offset,
                 "length": one.length}
                for one in group
            ]  # fmt: skip
            self.ask({"do": "put", "under": remote, "pieces": pieces, "bytes": len(data)}, data)
            sent += len(data)
        if plan.send:
            self.ask({"do": "settle", "under": remote})
        return Copied(len(plan.send), sent, plan.kept)

    def run(
        self, argv: Sequence[str], environment: Mapping[str, str], timeout_s: float, line: Line = nobody
    ) -> Completed:
        """As Device.run; the lines of standard output are given to `line` and the last of them kept."""
        kept: deque[str] = deque(maxlen=200)

        def each(text: str) -> None:
            kept.append(text)
            line(text)

        request = {"do": "run", "argv": list(argv), "environment": dict(environment), "timeout_s": timeout_s}
        done = self.ask(request, line=each, timeout_s=timeout_s + 60)
        return Completed(int(done["returncode"]), "\n".join(kept), str(done["stderr"]))

    def read(self, remote: str, limit_bytes: int = MAX_PULL_BYTES) -> bytes:
        """The content of one small file."""
        answer = self.ask({"do": "get", "name": remote, "limit": limit_bytes})
        return self._bytes(int(answer["bytes"]))

    def pull(self, remote: str, local: Path) -> None:
        """As Device.pull."""
        write_atomic(local, self.read(remote))

    def remove(self, under: str, names: Sequence[str]) -> None:
        """Remove files or folders below a folder."""
        self.ask({"do": "remove", "under": under, "names": list(names)})

    def close(self) -> None:
        """End the connection; what ran on the device ends with it."""
        self._closed.set()
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for thread in self._threads:
            thread.join(STOP_S)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> BoardSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _piece_bytes(file: LocalFile, piece: Piece) -> bytes:
    """The bytes of a piece. Errors: ResourceError when the file changed under our hands."""
    try:
        with file.path.open("rb") as source:
            source.seek(piece.offset)
            data = source.read(piece.length)
    except OSError as error:
        raise ResourceError(f"cannot be read ({error.strerror})", where=str(file.path), mend="run it again") from error
    if len(data) != piece.length:
        raise ResourceError("was changed while it was copied", where=str(file.path), mend="run it again")
    return data
