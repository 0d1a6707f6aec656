"""Kills real work at every step and looks at what is left. Run by test_bundle_kill.py in a process of its own.

    python bundle_kill_child.py SCENARIO FOLDER

A step is every fsync, rename, mkdir, unlink, rmdir, link, opening for writing, and half of every write. For
k = 1, 2, ... a fork does the work and kills itself with SIGKILL at step k; then the parent checks the rules of
the scenario, until a fork gets through. Prints one JSON line: {"steps": n, "seen": {...}}; a broken rule is a
traceback and exit code 1.
"""

from __future__ import annotations

import collections
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parent.parent / "bundle"))

import cryptography.hazmat.primitives.serialization  # noqa: F401 - imported before forking, so that forks are quick
from bundle_dummies import FILES, build, contents

from edge.bundle.archive import pack, unpack
from edge.bundle.attestation import Check, new_attestation, write_attestation
from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle, open_folder
from edge.bundle.place import leftovers
from edge.errors import EdgeError

EVENTS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate")
NEW_FILES = FILES | {"model/decoder.onnx": b"another graph"}


def expect(holds: object, what: str) -> None:
    """Stop when a rule is broken."""
    if not holds:
        raise AssertionError(what)


class Fuse:
    """Kills this process at step `fatal`."""

    def __init__(self, fatal: int) -> None:
        self.left = fatal
        self._real_open = io.open
        sys.addaudithook(self._audit)
        os.fsync = lambda descriptor: self.step()  # type: ignore[assignment]
        io.open = self._open  # type: ignore[assignment]  # pathlib writes through it

    def step(self) -> None:
        """One step done: is it the last?"""
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in EVENTS or writes:
            self.step()

    def _open(self, path: Any, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        file = self._real_open(path, mode, *arguments, **more)
        if "w" not in mode and "x" not in mode:
            return file
        whole = file.write

        def torn(data: bytes) -> int:
            whole(data[: len(data) // 2])
            file.flush()
            self.step()
            return len(data) // 2 + whole(data[len(data) // 2 :])

        return _Torn(file, torn)


class _Torn:
    """A file whose writes can break in the middle."""

    def __init__(self, file: Any, write: Callable[[bytes], int]) -> None:
        self._file, self.write = file, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Torn:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Scenario(Protocol):
    """prepare a fresh folder; work in it; check it after a kill and say what was found."""

    def prepare(self, folder: Path) -> None: ...
    def work(self, folder: Path) -> None: ...
    def check(self, folder: Path) -> str: ...


class _Base:
    def __init__(self, home: Path) -> None:
        self.store = KeyStore(home / "keys")
        self.store.create("builder")
        self.store.create("device", "device")
        self.key = self.store.load_signing_key()
        self.device_key = self.store.load_signing_key(role="device")
        self.trust = self.store.trust_store()
        self.old = build(home / "old", self.key)
        self.new = build(home / "new", self.key, NEW_FILES)

    def prepare(self, folder: Path) -> None:
        """Nothing is there."""

    def opened(self, place: Path) -> str:
        """What opens at a place: old, new or nothing."""
        try:
            digest = open_bundle(place, self.trust).bundle_digest
        except EdgeError as error:
            expect("\n" not in str(error), "an error is one line")
            return "nothing"
        return {self.old.bundle_digest: "old", self.new.bundle_digest: "new"}[digest]


class FirstBuild(_Base):
    """A build into an empty place: the whole new bundle, or nothing that opens."""

    def work(self, folder: Path) -> None:
        """Build."""
        build(folder / "notes", self.key, NEW_FILES)

    def check(self, folder: Path) -> str:
        """Nothing half; and the next build works and cleans up."""
        found = self.opened(folder / "notes")
        expect(found in ("new", "nothing"), found)
        expect(found == "new" or not (folder / "notes").exists(), "something stands there that does not open")
        build(folder / "notes", self.key, NEW_FILES)
        expect(self.opened(folder / "notes") == "new", "the next build does not open")
        expect([path.name for path in folder.iterdir()] == ["notes"], "litter is left")
        return found


class SecondBuild(_Base):
    """A build over a bundle: at every moment the old or the new one, whole; after opening, never neither."""

    def prepare(self, folder: Path) -> None:
        """The old bundle is there."""
        shutil.copytree(self.old.path, folder / "notes")

    def work(self, folder: Path) -> None:
        """Build over it."""
        build(folder / "notes", self.key, NEW_FILES)

    def check(self, folder: Path) -> str:
        """Opening alone recovers; the next build cleans up."""
        place = folder / "notes"
        for aside in leftovers(place, "old"):
            open_folder(aside, self.trust)  # never half deleted: recovery may put it back
        if place.exists():
            open_folder(place, self.trust)
        else:
            expect(leftovers(place, "old"), "the old bundle is lost")
        found = self.opened(place)
        expect(found in ("old", "new"), "neither opens")
        build(place, self.key, NEW_FILES)
        expect(self.opened(place) == "new", "the next build does not open")
        expect([path.name for path in folder.iterdir()] == ["notes"], "litter is left")
        return found


class Unpack(_Base):
    """Unpacking a .tar: the copy is whole or not there, and the next opening works."""

    def prepare(self, folder: Path) -> None:
        """A .tar is there."""
        pack(self.new.path, folder / "notes.tar")

    def work(self, folder: Path) -> None:
        """Unpack it."""
        unpack(folder / "notes.tar", folder / "cache")

    def check(self, folder: Path) -> str:
        """What has the name of a copy is one."""
        copies = [path for path in (folder / "cache").glob("[!.]*") if path.is_dir()]
        for copy in copies:
            expect(contents(copy) == contents(self.new.path), "a copy is not whole")
        open_bundle(folder / "notes.tar", self.trust, cache=folder / "cache")
        expect(len(list((folder / "cache").iterdir())) <= 2, "litter grows")  # the copy, and a lock of the killed
        return "copy" if copies else "nothing"


class Attest(_Base):
    """Signing a result into a bundle: it opens with or without the result."""

    def prepare(self, folder: Path) -> None:
        """A bundle is there."""
        shutil.copytree(self.old.path, folder / "notes")

    def work(self, folder: Path) -> None:
        """Attest."""
        bundle = open_bundle(folder / "notes", self.trust)
        checks = [Check("golden", True)]
        item = new_attestation(bundle, device_class="pi", device={}, checks=checks, result=b"")
        write_attestation(bundle.path, item, self.device_key)

    def check(self, folder: Path) -> str:
        """It opens, and the next result is written."""
        before = len(open_bundle(folder / "notes", self.trust).attestations)
        self.work(folder)
        expect(len(open_bundle(folder / "notes", self.trust).attestations) == before + 1, "the next one is missing")
        expect(not list((folder / "notes/attestations").glob(".*")), "litter is left")
        return str(before)


class Pack(_Base):
    """Packing over an older .tar: the old or the new file, whole."""

    def prepare(self, folder: Path) -> None:
        """An older .tar is there."""
        pack(self.old.path, folder / "notes.tar")

    def work(self, folder: Path) -> None:
        """Pack."""
        pack(self.new.path, folder / "notes.tar")

    def check(self, folder: Path) -> str:
        """It opens."""
        digest = open_bundle(folder / "notes.tar", self.trust, cache=folder / "cache").bundle_digest
        return "new" if digest == self.new.bundle_digest else "old"


class CreateKey(_Base):
    """Making a key: it is there or not; nothing private is ever readable by others; other keys are unharmed."""

    def prepare(self, folder: Path) -> None:
        """One key is there."""
        KeyStore(folder).create("first")

    def work(self, folder: Path) -> None:
        """Make another."""
        KeyStore(folder).create("second", "device")

    def check(self, folder: Path) -> str:
        """All private files are private, and the store works."""
        for path in (folder / "keys").iterdir():
            expect(path.stat().st_mode & 0o077 == 0, "a private key is readable by others")
        keys = KeyStore(folder).list()
        expect(keys[0].name == "first" and keys[0].trusted, "the first key is lost")
        KeyStore(folder).load_signing_key("first")
        return "none" if len(keys) == 1 else ("trusted" if keys[1].trusted else "not trusted")


SCENARIOS: dict[str, type[_Base]] = {
    item.__name__: item for item in (FirstBuild, SecondBuild, Unpack, Attest, Pack, CreateKey)
}


def run_killed(work: Callable[[], None], fatal: int) -> bool:
    """Do the work in a fork that dies at step `fatal`; False when it got through before."""
    child = os.fork()
    if child == 0:
        try:
            Fuse(fatal)
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the fork must never return into the parent's loop
            import traceback

            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    expect(os.waitstatus_to_exitcode(status) == 0, f"the work failed at step {fatal}")
    return False


def main(name: str, home: Path) -> None:
    """Run one scenario."""
    # Not synced for real: a kill does not empty the page cache, and 10,000 flushes take minutes.
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    scenario: Any = SCENARIOS[name](home)
    seen: collections.Counter[str] = collections.Counter()
    step, killed = 0, True
    while killed:
        step += 1
        folder = home / f"step-{step}"
        folder.mkdir()
        scenario.prepare(folder)
        killed = run_killed(lambda folder=folder: scenario.work(folder), step)  # type: ignore[misc]
        seen[scenario.check(folder)] += 1
    print(json.dumps({"steps": step - 1, "seen": seen}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
