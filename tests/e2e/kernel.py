"""The kernel as a witness: what native code does is seen here, where Python's audit hooks are blind."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SIGSYS = 31
_SOCKET_NUMBER = {"x86_64": 41, "aarch64": 198}
_AF_UNIX = 1
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER_MODE = 38, 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000


def forbid_sockets() -> None:
    """From now on this process and its children are killed (SIGSYS) when they ask for a socket, AF_UNIX aside.

    Needs no right and no program: a seccomp filter. Call it in a child, there is no way back.
    """
    rules = (
        (_LOAD, 0, 0, 0),  # the number of the system call
        (_EQUAL, 0, 3, _SOCKET_NUMBER[platform.machine()]),
        (_LOAD, 0, 0, 16),  # its first argument, the family
        (_EQUAL, 1, 0, _AF_UNIX),
        (_RETURN, 0, 0, _KILL),
        (_RETURN, 0, 0, _ALLOW),
    )
    code = b"".join(struct.pack("=HBBI", *rule) for rule in rules)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(rules), ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _FILTER_MODE, program, 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter")


def without_network() -> tuple[str, ...]:
    """A command that starts another in an empty network namespace; () where that is not allowed."""
    for options in (("unshare", "-n"), ("unshare", "-rn")):
        if shutil.which("unshare") and subprocess.run([*options, "true"], check=False).returncode == 0:
            return options
    return ()


# ---- strace ------------------------------------------------------------------------------------------------

_CALLS = (
    "socket,connect,sendto,sendmsg,bind,open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat"
)
_WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|\bcreat\(|\b(mkdir|rename|link)(at2?)?\(")
_PATHS = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')


def strace_works(folder: Path) -> bool:
    """Whether strace is installed and may watch here."""
    if not shutil.which("strace"):
        return False
    command = ["strace", "-f", "-o", str(folder / "probe"), "true"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@dataclass(frozen=True)
class Trace:
    """What strace wrote, one file a thread, so that no line is torn."""

    folder: Path
    cwd: Path

    def prefix(self) -> tuple[str, ...]:
        """The command that starts and watches another."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return ("strace", "-ff", "-qq", "-y", "-s", "4096", "-e", f"trace={_CALLS}", "-o", str(self.folder / "trace"))

    def lines(self) -> Iterator[str]:
        """All system calls."""
        for path in sorted(self.folder.glob("trace.*")):
            yield from path.read_text(encoding="utf-8", errors="replace").splitlines()

    def sockets(self) -> list[str]:
        """Calls that ask for a socket of any family but AF_UNIX, or reach somebody through one."""
        calls = [line for line in self.lines() if re.match(r"(socket|connect|sendto|sendmsg|bind)\(", line)]
        return [line for line in calls if "AF_UNIX" not in line]

    def written(self) -> set[Path]:
        """Every path that was opened for writing, made or renamed, whether it worked or not."""
        found = set()
        for line in self.lines():
            if _WRITING.search(line):
                for folder, path in _PATHS.findall(line):
                    found.add(Path(os.path.normpath(Path(folder or self.cwd) / path)))
        return found
