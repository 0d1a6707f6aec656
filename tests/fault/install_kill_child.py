"""Kills real installs at every step and looks at what is left. Run by test_install_kill.py in a process of its own.

    python install_kill_child.py SCENARIO FOLDER

A step is every fsync, rename, symlink, unlink, mkdir, rmdir, truncate, opening for writing, and half of every write,
so every state that is saved, every file that is brought and every move of `current` has a step before and after it.
For k = 1, 2, ... a fork does the work and is killed with SIGKILL at step k; then the parent checks the rules, until a
fork gets through. In the scenarios of a full disk every step that needs room fails from step k on instead, and the fork
must come to its end without an exception. Prints one JSON line: {"steps": n, "seen": {...}}; a broken rule is a
traceback and exit code 1.
"""

from __future__ import annotations

import collections
import errno
import io
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "bundle"))
sys.path.insert(0, str(Path(__file__).parent.parent / "bundle" / "install"))

import cryptography.hazmat.primitives.serialization  # noqa: F401 - imported before forking, so that forks are quick
from bundle_dummies import FILES
from slots_dummies import Device

from edge.bundle.install.in_force import in_force
from edge.bundle.install.rules import MAX_TESTS, InstallOutcome, other
from edge.bundle.install.source import FolderSource
from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.errors import EdgeError, ResourceError

# As few files as a bundle may have: each is five steps of every scenario.
FEW = {name: data for name, data in FILES.items() if not name.startswith(("tasks/", "golden/"))}
EVENTS = ("os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate")
BLOWN = 3  # exit code of a fork that came to its end on a full disk
NEED_ROOM = ("os.rename", "os.symlink", "os.mkdir")


def expect(holds: object, what: str) -> None:
    """Stop when a rule is broken."""
    if not holds:
        raise AssertionError(what)


class Fuse:
    """Kills this process at step `fatal`, or fills its disk from there on."""

    def __init__(self, fatal: int, *, full_disk: bool = False) -> None:
        self.left = fatal
        self.full_disk = full_disk
        self._real_open = io.open
        sys.addaudithook(self._audit)
        os.fsync = lambda descriptor: self.step()  # type: ignore[assignment]
        io.open = self._open  # type: ignore[assignment]  # pathlib writes through it

    def step(self) -> None:
        """One step done: is it the last?"""
        self.left -= 1
        if self.full_disk and self.left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in (NEED_ROOM if self.full_disk else EVENTS):
            self.step()

    def _open(self, path: Any, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        file = self._real_open(path, mode, *arguments, **more)
        return Torn(file, self.step) if set(mode) & set("wx+") else file


class Torn:
    """A file whose writes can break in the middle."""

    def __init__(self, file: Any, step: Callable[[], None]) -> None:
        self._file, self._step = file, step

    def write(self, data: bytes) -> int:
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._step()
        self._file.write(data[len(data) // 2 :])
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Torn:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Scenario:
    """prepare a fresh device; work on it; check it after a kill and say what was found. full_disk: see Fuse."""

    full_disk = False

    def __init__(self, home: Path) -> None:
        store = KeyStore(home / "keys")
        store.create("builder")
        store.create("device", "device")
        self.key, self.device_key = store.load_signing_key(), store.load_signing_key(role="device")
        self.trust = store.trust_store()
        maker = self.device(home / "maker")
        self.places = {text: maker.build(text) for text in ("old", "new", "third")}
        self.names = {open_bundle(place, self.trust).bundle_digest: text for text, place in self.places.items()}
        self.home = home

    def device(self, folder: Path) -> Device:
        """A machine in a folder."""
        return Device(folder, self.key, self.device_key, self.trust, files=FEW)

    def install(self, device: Device, text: str) -> InstallOutcome:
        """Bring one of the two bundles."""
        return device.installer().install(FolderSource(self.places[text]))

    def prepared(self, folder: Path, make: Callable[[Device], None]) -> None:
        """A device that `make` has worked on, made once and copied for each step."""
        kept = self.home / f"prepared-{type(self).__name__}"
        if not kept.exists():
            kept.mkdir()
            make(self.device(kept))
        shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)

    def prepare(self, folder: Path) -> None:
        """The old build is in force."""
        self.prepared(folder, lambda device: expect(self.install(device, "old").outcome == "committed", "old"))

    def work(self, device: Device) -> None:
        """What is killed."""
        self.install(device, "new")

    # ---- the rules that always hold -------------------------------------------------------------------------------

    def shown(self, path: Path) -> str:
        """What opens at a place with everything checked."""
        if not os.path.lexists(path):
            return "nothing"
        return self.names[open_bundle(path, self.trust).bundle_digest]

    def look(self, device: Device, *, nothing: bool = False) -> str:
        """`current` and what is in force open whole; what is in force and was switched to has passed here."""
        current = device.base / "current"
        try:
            seen, used = self.shown(current), self.shown(in_force(current))
        except EdgeError as error:
            raise AssertionError(f"what is shown does not open: {error}") from error
        allowed = ("old", "new", "third", "nothing") if nothing else ("old", "new", "third")
        expect(seen in allowed and used in allowed, f"{seen} is shown, {used} is in force")
        status = device.installer().status()
        expect(status.phase != "unknown", "the memory is broken")
        if status.slot is not None:
            opened = open_bundle(device.base / status.slot, self.trust)
            newest = opened.attestation_for("dummy")
            expect(newest is not None and newest.passed, "a build is in force that never passed here")
            expect(in_force(current) == device.base / status.slot, "in force is another than the confirmed one")
            if status.previous_digest is not None:
                beside = self.shown(device.base / other(status.slot))
                expect(self.names[status.previous_digest] == beside, "the way back leads nowhere")
        return used

    def ended(self, device: Device) -> str:
        """After a resume nothing is under way, the link shows the confirmed slot, and no litter is left."""
        status = device.installer().status()
        expect(status.phase == "idle", f"still {status.phase} after resuming")
        link = device.installer().disk.link()
        expect(link == status.slot, "the link is not at the confirmed slot")
        expect(device.installer().resume() is None, "a second resume finds work")
        names = {path.name for path in device.base.iterdir()}
        wanted = {"a", "b", "current", "state.json", ".install.lock"}
        expect(names <= wanted, f"litter: {names - wanted}")
        return self.shown(device.base / "current")

    def check(self, device: Device) -> str:
        """The old or the new build, never a mix; resuming ends it; then the install goes through."""
        before = self.look(device)
        outcome = device.installer().resume()
        after = self.ended(device)
        expect(after == "new" if outcome and outcome.outcome == "committed" else after in ("old", before), "lost")
        if after == "old":
            expect(self.install(device, "new").outcome == "committed", "the next install does not go through")
            expect(self.ended(device) == "new", "the next install is not in force")
        for path in [path for path in device.base.rglob(".*") if path.name != ".install.lock"]:
            raise AssertionError(f"litter in a slot: {path.name}")
        return after


class FirstInstall(Scenario):
    """Into an empty device: nothing, or the whole new build."""

    def prepare(self, folder: Path) -> None:
        """Nothing is there."""

    def check(self, device: Device) -> str:
        """As always, but nothing may be shown."""
        self.look(device, nothing=True)
        if device.base.is_dir():
            device.installer().resume()
            found = self.ended(device)
        else:
            found = "nothing"
        expect(found in ("nothing", "new"), found)
        expect(self.install(device, "new").outcome == "committed", "the next install does not go through")
        expect(self.ended(device) == "new", "the next install is not in force")
        return found


class SecondInstall(Scenario):
    """Beside a build that runs."""


class ThirdInstall(Scenario):
    """Over the way back: it is given up before a file of it is touched, and the build in force is not."""

    def prepare(self, folder: Path) -> None:
        """The new build is in force, the old one beside it."""

        def make(device: Device) -> None:
            expect(self.install(device, "old").outcome == "committed", "old")
            expect(self.install(device, "new").outcome == "committed", "new")

        self.prepared(folder, make)

    def work(self, device: Device) -> None:
        """Over the old one."""
        self.install(device, "third")

    def check(self, device: Device) -> str:
        """Either it is in force at the end, or the new one stayed."""
        self.look(device)
        device.installer().resume()
        found = self.ended(device)
        expect(found in ("new", "third"), found)
        if found == "new":
            expect(self.install(device, "third").outcome == "committed", "the next install does not go through")
        return found


class FullDisk(SecondInstall):
    """Beside a build that runs, on a disk that is full from some step on; then there is room again."""

    full_disk = True

    def work(self, device: Device) -> None:
        """It ends with a word, whatever fails."""
        installer = device.installer(free=lambda _: 1 << 40)
        outcome = installer.install(FolderSource(self.places["new"]))
        good = outcome.outcome == "committed"
        expect(good or outcome.reason in ("no_space", "self_test_failed"), f"{outcome}")
        expect(good == (installer.last_error is None), f"{outcome}, {installer.last_error}")


class FullDiskThird(ThirdInstall):
    """The same over the way back."""

    full_disk = True


class FailedTest(Scenario):
    """A build whose self-test fails: whatever happens, the old one is back at the end."""

    def work(self, device: Device) -> None:
        """The golden cases do not hold."""
        device.verdict = False
        self.install(device, "new")

    def check(self, device: Device) -> str:
        """Resuming tests it again, and it fails again."""
        self.look(device)
        device.verdict = False
        device.installer().resume()
        expect(self.ended(device) == "old", "a build that failed is in force")
        return "old"


class Rollback(Scenario):
    """A person asks for the build before."""

    def prepare(self, folder: Path) -> None:
        """Both were committed; the new one is in force."""

        def make(device: Device) -> None:
            expect(self.install(device, "old").outcome == "committed", "old")
            expect(self.install(device, "new").outcome == "committed", "new")

        self.prepared(folder, make)

    def work(self, device: Device) -> None:
        """Back."""
        expect(device.installer().rollback().outcome == "rolled_back", "rollback")

    def check(self, device: Device) -> str:
        """One of the two; asked again where it had not begun, it gets there."""
        self.look(device)
        device.installer().resume()
        found = self.ended(device)
        if found == "new":
            expect(device.installer().rollback().outcome == "rolled_back", "a second try does not go through")
            expect(self.ended(device) == "old", "the second try is not in force")
        return found


class FullDiskRollback(Rollback):
    """A person asks for the build before, on a full disk."""

    full_disk = True

    def work(self, device: Device) -> None:
        """It ends with a word."""
        outcome = device.installer().rollback()
        expect(outcome.outcome in ("rolled_back", "failed"), f"{outcome}")


class PowerCut(BaseException):
    """The end of a process."""


class _Cut(Scenario):
    """A resume is killed, after an install that was cut in its self-test."""

    tests = 1

    def prepare(self, folder: Path) -> None:
        """The old build is confirmed, the new one is shown and was in its self-test `tests` times."""

        def make(device: Device) -> None:
            def cut() -> None:
                raise PowerCut

            expect(self.install(device, "old").outcome == "committed", "old")
            device.during = cut
            for _ in range(self.tests):
                try:
                    self.install(device, "new")
                except PowerCut:
                    continue
                raise AssertionError("the self-test was not cut")

        self.prepared(folder, make)

    def work(self, device: Device) -> None:
        """A boot."""
        device.installer().resume()


class Resume(_Cut):
    """It is tested and committed."""


class ResumeBoots(_Cut):
    """It was tested too often: it is rolled back."""

    tests = MAX_TESTS

    def check(self, device: Device) -> str:
        """It never comes into force by being resumed."""
        self.look(device)
        device.installer().resume()
        expect(self.ended(device) == "old", "a build that was tried too often is in force")
        return "old"


class ResumeVerified(Scenario):
    """A resume is killed, after an install that waited for a visit to end."""

    def prepare(self, folder: Path) -> None:
        """The new build is verified and waits."""

        def make(device: Device) -> None:
            from edge.bundle.update_lock import FileUpdateLock

            expect(self.install(device, "old").outcome == "committed", "old")
            visit = FileUpdateLock(device.folder / "home")
            visit.acquire()
            expect(self.install(device, "new").reason == "busy", "the visit held nothing off")
            visit.release()

        self.prepared(folder, make)

    def work(self, device: Device) -> None:
        """The visit has ended."""
        device.installer().resume()


class VisitInTest(Scenario):
    """A visit is opened in the middle of the self-test: the way back is killed, and what takes it up."""

    def work(self, device: Device) -> None:
        """The link goes back and the order waits."""
        from edge.bundle.update_lock import FileUpdateLock

        visit = FileUpdateLock(device.folder / "home")
        device.during = visit.acquire
        device.verdict = ResourceError("the visit has its memory", mend="wait")
        outcome = device.installer().install(FolderSource(self.places["new"]))
        expect((outcome.outcome, outcome.reason) == ("refused", "busy"), f"{outcome}")
        expect(device.installer().status().tests == 0, "a boot was spent")
        expect(in_force(device.base / "current") == device.base / "a", "the visit has another build")
        expect(device.installer().disk.link() == "a", "the link is not back")


class LostMemory(Scenario):
    """A resume is killed that makes the memory anew."""

    def prepare(self, folder: Path) -> None:
        """Two builds, and no memory of which is which."""

        def make(device: Device) -> None:
            expect(self.install(device, "old").outcome == "committed", "old")
            expect(self.install(device, "new").outcome == "committed", "new")
            (device.base / "state.json").unlink()

        self.prepared(folder, make)

    def work(self, device: Device) -> None:
        """A boot."""
        device.installer().resume()


SCENARIOS: dict[str, type[Scenario]] = {
    item.__name__: item
    for item in (
        FirstInstall,
        SecondInstall,
        ThirdInstall,
        FullDisk,
        FullDiskThird,
        FullDiskRollback,
        FailedTest,
        Rollback,
        Resume,
        ResumeBoots,
        ResumeVerified,
        VisitInTest,
        LostMemory,
    )
}


def run_killed(work: Callable[[], None], fatal: int, *, full_disk: bool) -> bool:
    """Do the work in a fork that dies at step `fatal`; False when it got through before."""
    child = os.fork()
    if child == 0:
        try:
            fuse = Fuse(fatal, full_disk=full_disk)
            work()
            os._exit(BLOWN if fuse.left <= 0 else 0)
        except BaseException:  # noqa: BLE001 - the fork must never return into the parent's loop
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    code = os.waitstatus_to_exitcode(status)
    expect(code in (0, BLOWN), f"the work failed at step {fatal}")
    return code == BLOWN


def main(name: str, home: Path) -> None:
    """Run one scenario."""
    # Not synced for real: a kill does not empty the page cache, and 10,000 flushes take minutes.
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    scenario = SCENARIOS[name](home)
    seen: collections.Counter[str] = collections.Counter()
    step, killed = 0, True
    while killed:
        step += 1
        folder = home / f"step-{step}"
        folder.mkdir()
        scenario.prepare(folder)
        device = scenario.device(folder)
        work = lambda device=device: scenario.work(device)  # noqa: E731
        killed = run_killed(work, step, full_disk=scenario.full_disk)
        try:
            seen[scenario.check(device)] += 1
        except BaseException as error:
            error.add_note(f"killed at step {step}")
            raise
        shutil.rmtree(folder)
    print(json.dumps({"steps": step - 1, "seen": seen}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
