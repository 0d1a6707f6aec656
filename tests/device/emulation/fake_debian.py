"""A Debian of the test's own: apt-get, dpkg-deb, pip and qemu as far as `prepare` sees them, and their failures."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

AARCH64, X86_64 = 183, 62
EMULATOR_DEBS = ("libc6_2.36_amd64.deb", "qemu-user_7.2_amd64.deb")
BOARD_DEBS = ("libc6_2.36_arm64.deb", "python3-minimal_3.11_arm64.deb")


def elf(machine: int) -> bytes:
    """The head of an ELF file."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + (3).to_bytes(2, "little") + machine.to_bytes(2, "little") + bytes(44)


def put(path: Path, data: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


class FakeDebian:
    """Follows edge.device.tools.Run.

    answers: program -> (exit code, output) in place of success; before: called with each command; machine: of the
    shared objects in wheels; python: minor version of the board's; cpus: that the emulator knows.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commands: list[list[str]] = []
        self.answers: dict[str, tuple[int, str]] = {}
        self.before: Callable[[list[str]], None] = lambda command: None
        self.machine, self.python, self.cpus = AARCH64, 11, "cortex-a72 cortex-a76 neoverse-n1"
        self._lock = threading.Lock()
        put(root / "etc/os-release", b'ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12"\n')
        sources = b"Types: deb\nURIs: http://x.test/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
        put(root / "etc/apt/sources.list.d/debian.sources", sources)

    def __call__(
        self, command: Sequence[str], *, timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        with self._lock:
            self.commands.append(list(command))
        self.before(list(command))
        name = next((key for key in self.answers if key in " ".join(command)), "")
        if name:
            code, text = self.answers[name]
            return subprocess.CompletedProcess(command, code, text, text)
        return subprocess.CompletedProcess(command, 0, self._do(list(command)), "")

    def asked(self, word: str) -> int:
        """How many commands hold a word."""
        return sum(word in " ".join(command) for command in self.commands)

    def _do(self, command: list[str]) -> str:
        if command[0] == "dpkg":
            return "amd64\n"
        if command[0] == "apt-get":
            return self._apt(command)
        if command[0] == "dpkg-deb":
            self._unpack(Path(command[2]), Path(command[3]))
        elif "pip" in command:
            self._wheels(command)
        elif command[-1] == "--version":
            return "qemu-aarch64 version 7.2.22 (Debian)\n"
        elif command[-2:] == ["-cpu", "help"]:
            return f"Available CPUs:\n  {self.cpus}\n"
        return ""

    def _apt(self, command: list[str]) -> str:
        debs = EMULATOR_DEBS if any(word.startswith("qemu-user:") for word in command) else BOARD_DEBS
        if "install" not in command:
            return ""
        place = Path(next(word.partition("=")[2] for word in command if word.startswith("Dir::Cache::archives=")))
        missing = [name for name in debs if not (place / name).exists()]  # the real one lists and fetches only these
        if "--print-uris" in command:
            return "".join(f"'http://x.test/{name}' {name} {len(name)} MD5Sum:0\n" for name in missing)
        for name in missing:
            put(place / name, name.encode())
        return ""

    def _unpack(self, deb: Path, folder: Path) -> None:
        if deb.name == EMULATOR_DEBS[0]:
            put(folder / "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
        elif deb.name == EMULATOR_DEBS[1]:
            for name in ("qemu-aarch64", "qemu-mips"):
                put(folder / "usr/bin" / name)
            put(folder / "usr/share/doc/qemu-user/copyright")
        elif deb.name == BOARD_DEBS[0]:
            put(folder / "lib/aarch64-linux-gnu/ld-linux-aarch64.so.1")
            (folder / "lib/ld-linux-aarch64.so.1").symlink_to("/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1")
            (folder / "lib/gone").symlink_to("/nowhere/on/the/board")
        else:
            put(folder / f"usr/bin/python3.{self.python}")
            (folder / "usr/bin/python3").symlink_to(f"python3.{self.python}")
            put(folder / "usr/share/doc/python3-minimal/copyright")

    def _wheels(self, command: list[str]) -> None:
        site = Path(command[command.index("--target") + 1])
        for requirement in (word for word in command if "==" in word):
            name, _, version = requirement.partition("==")
            stem = name.replace("-", "_")
            put(site / f"{stem}-{version}.dist-info" / "METADATA")
            put(site / stem / "native.so", elf(self.machine))
        put(site / "bin/tool")
