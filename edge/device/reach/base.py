"""What a device can do for us, whatever it is reached by, and what it says of itself.

A device has one folder that is edge's (`BoardFacts.folder`). Every remote path is relative to it and has no "..".
Errors are one line: ResourceError (cut off, busy, no space), UntrustedError (host key), SourceError (wrong device),
MissingToolError (ssh, adb or Python is missing), InputError (the address cannot be read).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.errors import InputError

Progress = Callable[[str, float], None]
Line = Callable[[str], None]

LEAST_PYTHON = (3, 11)
FORMS = "local, ssh://user@host[:port], adb:SERIAL or emulated:NAME"
# A host may be an alias of the user's ssh configuration; none may look like an option of ssh.
_SSH = re.compile(r"ssh://(?:(?P<user>[A-Za-z0-9_][\w.-]*)@)?(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9_][\w.-]*)"
                  r"(?::(?P<port>\d{1,5}))?/?")  # fmt: skip
_SERIAL = re.compile(r"[A-Za-z0-9][\w.:-]{0,127}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class BoardFacts:
    """A device as it describes itself before anything is copied.

    arch: "x86_64", "aarch64", ...; python: major and minor, None where there is none (Android); isa_features as the
    kernel spells them; board: the maker's name, "" where there is none; free_bytes: for edge's folder; folder:
    absolute, on the device.
    """

    arch: str
    python: tuple[int, int] | None
    isa_features: tuple[str, ...]
    board: str
    system: str
    free_bytes: int
    folder: str


@dataclass(frozen=True)
class Completed:
    """An ended program. stdout, stderr: text, the last part of it where it was long."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Copied:
    """What a push did. sent_bytes: over the wire; kept_files: were there already with the same sha256."""

    sent_files: int
    sent_bytes: int
    kept_files: int


class Device(Protocol):
    """One device. A context manager closes it."""

    @property
    def address(self) -> str:
        """As the user wrote it."""

    def describe(self) -> str:
        """Address, board and system in one line."""

    def facts(self) -> BoardFacts:
        """What it is. Errors: those of reaching it."""

    def push(self, local: Path, remote: str, progress: Progress = ...) -> Copied:
        """Make the folder `remote` hold the files of the folder `local`; what is there already is not sent again.

        Errors: ResourceError before anything is sent when it does not fit, and when the device is cut off.
        """

    def run(self, argv: Sequence[str], environment: Mapping[str, str], timeout_s: float, line: Line = ...) -> Completed:
        """Run a program to its end. line: called with each line of its standard output as it comes."""

    def pull(self, remote: str, local: Path) -> None:
        """Copy one file here, whole or not at all."""

    def close(self) -> None:
        """End the connection, and whatever still runs there."""


@dataclass(frozen=True)
class Address:
    """A parsed --device. kind: local, ssh, adb or emulated; name: host, serial or target."""

    kind: str
    name: str = ""
    user: str = ""
    port: int | None = None

    def __str__(self) -> str:
        if self.kind == "ssh":
            user = f"{self.user}@" if self.user else ""
            return f"ssh://{user}{self.name}" + (f":{self.port}" if self.port else "")
        return f"{self.kind}:{self.name}" if self.name else self.kind


def parse_address(text: str) -> Address:
    """Read a --device. Errors: InputError says the forms."""
    kind, colon, rest = text.partition(":")
    if text == "local":
        return Address("local")
    if kind == "ssh" and (found := _SSH.fullmatch(text)):
        port = int(found["port"]) if found["port"] else None
        if port is None or 0 < port < 65536:
            return Address("ssh", found["host"].strip("[]"), found["user"] or "", port)
    if kind == "adb" and colon and (not rest or _SERIAL.fullmatch(rest)):
        return Address("adb", rest)
    if kind == "emulated" and _NAME.fullmatch(rest):
        return Address("emulated", rest)
    raise InputError(f"device {text[:60]!r} is not known", mend=f"give {FORMS}")


def nobody(_text: str, _fraction: float = 0.0) -> None:
    """Progress for nobody."""
