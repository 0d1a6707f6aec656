"""Kills a vault's work at every step and looks at what is left. Run by tests/fault/test_vault_kill.py.

    python -m tests.app.vault.kill_child KIND SCENARIO|Loop FOLDER

SQLite writes below Python, so the work is traced (ptrace) and every system call that changes the disk is a step:
opening for writing, write, fsync, truncate, rename, unlink, mkdir, rmdir. For k = 1, 2, ... a fork does the work and
is killed (SIGKILL) instead of step k, writes also after their first half; then the rules of the scenario are checked,
until a fork gets through. Prints one JSON line: {"steps": n, "seen": {...}}; a broken rule is a traceback and exit
code 1.
"""

from __future__ import annotations

import collections
import ctypes
import json
import os
import platform
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import cryptography.hazmat.primitives.ciphers.aead
import cryptography.hazmat.primitives.kdf.argon2
import cryptography.hazmat.primitives.kdf.hkdf  # noqa: F401 - imported before forking, so that forks are quick

from edge.app.vault.backoff import Moment
from edge.app.vault.folder import FolderVault
from edge.app.vault.keys import Cost
from edge.app.vault.protocol import DamagedError, OpenVault, VaultState, WrongPinError
from edge.app.vault.rows import RowVault
from edge.app.vault.sqlcipher import SqlCipherVault
from edge.errors import EdgeError

PIN, NEW_PIN, PASSPHRASE = "402917", "prune-Stone 77", "marble kettle 19 ferns"
MARKER = b"Zwetschgenknoedel-Mustermann"
KINDS: dict[str, type[FolderVault]] = {"sqlcipher": SqlCipherVault, "rows": RowVault}

# number -> position of the argument with the count of bytes, None where a step cannot be torn
CALLS: dict[str, dict[int, int | None]] = {
    # write pwrite64; fsync fdatasync truncate ftruncate rename mkdir rmdir creat link unlink and their *at kin
    "x86_64": {1: 2, 18: 2} | dict.fromkeys((74, 75, 76, 77, 82, 83, 84, 85, 86, 87, 258, 263, 264, 316)),
    "aarch64": {64: 2, 68: 2} | dict.fromkeys((34, 35, 37, 38, 45, 46, 82, 83, 276)),
}
OPENAT, OPEN = {"x86_64": (257, 2), "aarch64": (56, -1)}[platform.machine()]
TRACEME, CONT, SYSCALL, SETOPTIONS, SYSCALL_INFO, GETREGS, SETREGS = 0, 7, 24, 0x4200, 0x420E, 12, 13
RDX = 12  # of user_regs_struct, x86_64: the third argument

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def expect(holds: object, what: str) -> None:
    """Stop when a rule is broken."""
    if not holds:
        raise AssertionError(what)


def step_of(pid: int) -> tuple[bool, bool]:
    """At a stop: whether this is a step that begins, and whether it is a write that can be torn."""
    info = (ctypes.c_uint64 * 16)()
    libc.ptrace(SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.cast(info, ctypes.c_void_p))
    if info[0] & 0xFF != 1:  # not an entry
        return False, False
    number, calls = info[3], CALLS[platform.machine()]
    if number in (OPENAT, OPEN):
        flags = info[6] if number == OPENAT else info[5]
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)), False
    if number not in calls:
        return False, False
    position = calls[number]
    return True, position is not None and info[4 + position] > 1 and platform.machine() == "x86_64"


def halve(pid: int) -> None:
    """Let the write that begins write only its first half."""
    registers = (ctypes.c_uint64 * 32)()
    libc.ptrace(GETREGS, pid, None, ctypes.cast(registers, ctypes.c_void_p))
    registers[RDX] //= 2
    libc.ptrace(SETREGS, pid, None, ctypes.cast(registers, ctypes.c_void_p))


def run_killed(work: Callable[[], None], fatal: int) -> bool:
    """Do the work in a fork that dies at step `fatal`; False when it got through before."""
    child = os.fork()
    if child == 0:
        try:
            if libc.ptrace(TRACEME, 0, None, None) != 0:
                os._exit(77)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the fork must never return into the parent's loop
            import traceback

            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        print("ptrace is not permitted here", file=sys.stderr)
        sys.exit(77)
    libc.ptrace(SETOPTIONS, child, None, 1 | 0x100000)  # mark system calls; die with the tracer
    left, torn = fatal, False
    while True:
        libc.ptrace(SYSCALL, child, None, None)
        status = os.waitpid(child, 0)[1]
        if os.WIFEXITED(status):
            expect(os.WEXITSTATUS(status) == 0, f"the work failed at step {fatal}")
            return False
        expect(os.WIFSTOPPED(status), "the work died by itself")
        begins, tearable = step_of(child)
        if torn or (begins and left == 1):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        left -= begins
        if tearable:
            if left == 1:
                halve(child)
                torn = True  # killed where it ends
            left -= 1


class Scenario:
    """prepare a fresh folder; work in it; check it after a kill and say what was found."""

    def __init__(self, kind: type[FolderVault], home: Path) -> None:
        self.kind, self.home = kind, home

    def vault(self, folder: Path) -> FolderVault:
        """The vault of a folder: cheap costs, clocks that stand still."""
        return self.kind(folder / "data", cost=Cost(8, 1, 1), moment=lambda: Moment(1e9, 1.0, "b"))

    def prepare(self, folder: Path) -> None:
        """A vault with two encounters, copied: making one for each step would take longer."""
        ready = self.home / "ready"
        if not ready.exists():
            vault = self.vault(ready)
            opened = vault.create(PIN)
            opened.save("a", b"old " + MARKER * 300, b"sum " + MARKER)
            opened.save("b", b"other", b"sum b")
            opened.audit("encounter-new", "a")
            vault.lock()
        shutil.copytree(ready / "data", folder / "data")

    def work(self, folder: Path) -> None:
        """What is killed."""
        raise NotImplementedError

    def check(self, folder: Path) -> str:
        """The rules."""
        raise NotImplementedError

    def whole(self, opened: OpenVault) -> None:
        """Nothing of the vault is broken, and it goes on working."""
        state = opened.check_audit()
        expect(state.whole and not state.rows_altered, f"after a kill: {state}")
        expect(not opened.damaged_records(), "a record is damaged")
        opened.save("after", b"after", b"after")
        opened.audit("sign", "after")
        expect(opened.load("after") == b"after", "cannot be used")
        expect(opened.check_audit().whole, "the log cannot be used")

    def no_litter(self, folder: Path) -> None:
        """Only known files, and nobody's words in them."""
        known = {"lock", "wiped", "vault", "key.json", "attempts.json", "vault.db", "vault.db-journal", "audit.head"}
        names = {path.name for path in (folder / "data").rglob("*")}
        expect(names <= known, f"litter: {names - known}")


def no_words(folder: Path) -> None:
    """The marker stands in no file."""
    for path in folder.rglob("*"):
        if path.is_file():
            expect(MARKER not in path.read_bytes(), f"plain text in {path.name}")


class Create(Scenario):
    """A first start: a vault that works, or none."""

    def prepare(self, folder: Path) -> None:
        """Nothing is there."""

    def work(self, folder: Path) -> None:
        """Create."""
        self.vault(folder).create(PIN)

    def check(self, folder: Path) -> str:
        """Absent or whole; then it can be made and used."""
        vault = self.vault(folder)
        found = vault.state
        expect(found in (VaultState.ABSENT, VaultState.LOCKED), found)
        opened = vault.create(NEW_PIN) if found == VaultState.ABSENT else vault.unlock(PIN)
        self.whole(opened)
        vault.lock()
        self.no_litter(folder)
        return found


class CreateAfterWipe(Create):
    """A start after a wipe: wiped, absent, or a vault that works."""

    def prepare(self, folder: Path) -> None:
        """A wiped one is there."""
        super(Create, self).prepare(folder)
        self.vault(folder).wipe()

    def check(self, folder: Path) -> str:
        """As above."""
        vault = self.vault(folder)
        found = vault.state
        opened = vault.unlock(PIN) if found == VaultState.LOCKED else vault.create(NEW_PIN)
        self.whole(opened)
        vault.lock()
        self.no_litter(folder)
        return found


class Save(Scenario):
    """Saving: the old or the new record, whole, and after save() returned the new one."""

    def work(self, folder: Path) -> None:
        """Save, say so, save again, delete, set, log."""
        opened = self.vault(folder).unlock(PIN)
        for number in range(2):
            opened.save("a", b"new %d " % number + MARKER * 300, b"sum " + MARKER)
            said(folder, f"save {number}")
        opened.set_setting("signer", MARKER.decode())
        said(folder, "setting")
        opened.audit("sign", "a")
        said(folder, "audit")
        opened.delete("b")
        said(folder, "delete")

    def check(self, folder: Path) -> str:
        """What was said to be done is done."""
        no_words(folder)  # as the kill left it: journal and all
        words = (folder / "said").read_text().split("\n")[:-1] if (folder / "said").exists() else []
        vault = self.vault(folder)
        opened = vault.unlock(PIN)
        data = opened.load("a")
        expect(data.endswith(MARKER * 300), "a record is not whole")
        found = -1 if data.startswith(b"old") else int(data.split()[1])
        acknowledged = max([int(word[5:]) for word in words if word.startswith("save")], default=-1)
        expect(acknowledged <= found <= acknowledged + 1, f"saved {acknowledged}, found {found}")
        expect("setting" not in words or opened.setting("signer") == MARKER.decode(), "a setting is lost")
        expect("audit" not in words or any(e.action == "sign" for e in opened.audit_entries()), "an entry is lost")
        expect("delete" not in words or [i for i, _ in opened.summaries()] == ["a"], "what was deleted is back")
        expect("audit" in words or opened.load("b") == b"other", "another record is lost")
        self.whole(opened)
        vault.lock()
        no_words(folder)
        self.no_litter(folder)
        return "old" if found < 0 else "new"


def said(folder: Path, word: str) -> None:
    """Note, beside the vault, that a call returned."""
    with (folder / "said").open("a") as file:
        file.write(word + "\n")


class ChangePin(Scenario):
    """Another PIN: the old or the new one opens, never both, never neither."""

    def work(self, folder: Path) -> None:
        """Change."""
        vault = self.vault(folder)
        vault.change_pin(PIN, NEW_PIN)

    def check(self, folder: Path) -> str:
        """One of both."""
        vault, opening = self.vault(folder), []
        for name, pin in (("old", PIN), ("new", NEW_PIN)):
            try:
                self.whole(vault.unlock(pin))
                opening.append(name)
            except WrongPinError:
                pass
            vault.lock()
        expect(len(opening) == 1, f"opens: {opening}")
        self.no_litter(folder)
        return opening[0]


class Wipe(Scenario):
    """Wiping: a vault that works, or a wiped one; what the kill left is finished at the next start."""

    def work(self, folder: Path) -> None:
        """Wipe."""
        self.vault(folder).wipe()

    def check(self, folder: Path) -> str:
        """Usable or gone."""
        vault = self.vault(folder)
        found = vault.state
        if found == VaultState.LOCKED:
            opened = vault.unlock(PIN)
            expect(opened.load("b") == b"other", "half wiped")
            self.whole(opened)
            vault.lock()
        else:
            expect(found == VaultState.WIPED, found)
            names = sorted(path.name for path in (folder / "data").rglob("*"))
            expect(names == ["lock", "wiped"], f"left: {names}")
        return found


class Unlock(Scenario):
    """A wrong PIN, then the right one: the vault stays usable, and no try is free."""

    def work(self, folder: Path) -> None:
        """Three times wrong, as far as it goes; then right."""
        vault = self.vault(folder)
        for _ in range(2):
            try:
                vault.unlock("999998")
            except WrongPinError:
                said(folder, "wrong")
        vault.unlock(PIN)
        said(folder, "right")

    def check(self, folder: Path) -> str:
        """The answers that were given are counted."""
        words = (folder / "said").read_text().split("\n")[:-1] if (folder / "said").exists() else []
        vault = self.vault(folder)
        try:
            vault.unlock("999998")
        except WrongPinError as error:
            # the key may have been right, and the kill came before "right" was said
            expect(error.failures > words.count("wrong") or "right" in words or len(words) == 2, "a free try")
            failures = error.failures
        later = self.kind(folder / "data", cost=Cost(8, 1, 1), moment=lambda: Moment(1e9, 1e6, "b"))
        self.whole(later.unlock(PIN))
        later.lock()
        self.no_litter(folder)
        return str(failures)


class Backup(Scenario):
    """A backup: the whole file or none, and the vault is unharmed."""

    def work(self, folder: Path) -> None:
        """Back up."""
        self.vault(folder).unlock(PIN).backup(folder / "copy.edgevault", PASSPHRASE)

    def check(self, folder: Path) -> str:
        """Restores, or is not there."""
        no_words(folder)
        found = "none"
        if (folder / "copy.edgevault").exists():
            found = "whole"
            other = self.kind(folder / "restored", cost=Cost(8, 1, 1))
            opened = other.restore(folder / "copy.edgevault", PASSPHRASE, NEW_PIN)
            expect(opened.load("b") == b"other", "not all is in the backup")
            other.lock()
        vault = self.vault(folder)
        self.whole(vault.unlock(PIN))
        vault.lock()
        return found


class Restore(Scenario):
    """Restoring: the whole vault, or none."""

    def prepare(self, folder: Path) -> None:
        """A backup is there."""
        copy = self.home / "copy.edgevault"
        if not copy.exists():
            super().prepare(self.home)
            vault = self.vault(self.home)
            vault.unlock(PIN).backup(copy, PASSPHRASE)
            vault.lock()

    def work(self, folder: Path) -> None:
        """Restore."""
        self.vault(folder).restore(self.home / "copy.edgevault", PASSPHRASE, NEW_PIN)

    def check(self, folder: Path) -> str:
        """Absent or whole."""
        no_words(folder)
        vault = self.vault(folder)
        found = vault.state
        if found == VaultState.LOCKED:
            opened = vault.unlock(NEW_PIN)
            expect(opened.load("b") == b"other", "not all is restored")
            self.whole(opened)
        else:
            expect(found == VaultState.ABSENT, found)
            self.work(folder)
            vault.lock()
        vault.lock()
        return found


SCENARIOS = {item.__name__: item for item in (Create, CreateAfterWipe, Save, ChangePin, Wipe, Unlock, Backup, Restore)}


def saving_loop(kind: str, home: Path) -> None:
    """Kill a process that saves as fast as it can, at any moment, again and again over the same vault."""
    vault = Scenario(KINDS[kind], home).vault(home)
    vault.create(PIN).save("a", b"0", b"0")
    vault.lock()
    last, draws = 0, random.Random(4)
    for _ in range(15):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            opened, number = vault.unlock(PIN), last
            while True:
                number += 1
                opened.save("a", b"%d" % number, b"%d" % number)
                os.write(writing, b"%d\n" % number)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            for _ in range(draws.randint(1, 40)):
                last = int(pipe.readline())
            os.kill(child, signal.SIGKILL)
            last = max([last, *(int(line) for line in pipe.read().split(b"\n")[:-1])])
        os.waitpid(child, 0)
        found = int(vault.unlock(PIN).load("a"))
        vault.lock()
        expect(found >= last, f"save() returned for {last}, found {found}")
        last = found
    print(json.dumps({"steps": 15, "seen": {"saved": last}}))


def main(kind: str, name: str, home: Path) -> None:
    """Run one scenario."""
    if name == "Loop":
        saving_loop(kind, home)
        return
    scenario = SCENARIOS[name](KINDS[kind], home)
    seen: collections.Counter[str] = collections.Counter()
    step, killed = 0, True
    while killed:
        step += 1
        folder = home / f"step-{step}"
        folder.mkdir()
        scenario.prepare(folder)
        killed = run_killed(lambda folder=folder: scenario.work(folder), step)  # type: ignore[misc]
        try:
            seen[scenario.check(folder)] += 1
        except (EdgeError, DamagedError) as error:
            raise AssertionError(f"after a kill at step {step}: {error}") from error
        shutil.rmtree(folder)
    print(json.dumps({"steps": step - 1, "seen": seen}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
