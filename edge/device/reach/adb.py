"""An Android device over the system's `adb`, by its documented commands: devices -l, shell, push, pull.

There is no Python to log in to on Android. Files are handed over into the app's own external folder and the app is
told to begin; it measures itself. What it promises is in docs/devices.md. A file is pushed under the name of a part,
its sha256 read back, then renamed.
"""

from __future__ import annotations

import posixpath
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.device.reach.base import BoardFacts, Completed, Copied, Line, Progress, nobody
from edge.device.reach.plan import Listing, LocalFile, check_space, local_files, plan_copy
from edge.errors import BundleError, EdgeError, MissingToolError, ResourceError, SourceError, UntrustedError

APP = "org.edgekit.edge"
ACTIVITY = f"{APP}/org.kivy.android.PythonActivity"
ACTION = "org.edgekit.VERIFY"
FOLDER = f"/sdcard/Android/data/{APP}/files/edge"
ABIS = {"arm64-v8a": "aarch64", "x86_64": "x86_64"}
SHELL_S = 120.0
PUSH_S = 3600.0
PART = ".part"
STATES = {
    "unauthorized": (UntrustedError, "is not authorised", "unlock it and allow USB debugging of this computer"),
    "authorizing": (ResourceError, "is being authorised", "unlock it, allow USB debugging, run the command again"),
    "connecting": (ResourceError, "is still connecting", "wait a moment and run the command again"),
    "offline": (ResourceError, "is offline", "plug it in again, or `adb reconnect`"),
    "no": (ResourceError, "may not be used by you", "add a udev rule for it, or run `adb kill-server`"),
}
# What adb itself says, in the order in which it decides.
SAYINGS: tuple[tuple[str, type[EdgeError], str, str], ...] = (
    (r"No space left on device|ENOSPC", ResourceError, "no space left on the device", "free space there, run it again"),
    (r"device unauthorized", UntrustedError, "is not authorised", "unlock it and allow USB debugging"),
    (
        r"device offline|device '.*' not found|no devices/emulators found|device still connecting|closed$|"
        r"failed to read|connection reset|protocol fault",
        ResourceError,
        "the connection was cut",
        "plug it in and run the same command again",
    ),
    (
        r"Permission denied|Operation not permitted|Read-only file system",
        ResourceError,
        "the app's folder there cannot be written",
        "open the app once, then run it again",
    ),
)

Runner = Callable[[Sequence[str], float], Completed]


def run_program(argv: Sequence[str], timeout_s: float) -> Completed:
    """Run adb to its end. Errors: MissingToolError, ResourceError after the time."""
    try:
        done = subprocess.run(
            list(argv),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise MissingToolError(
            f"'{argv[0]}' is not installed", mend="install android-sdk-platform-tools (or the package adb)"
        ) from error
    except OSError as error:
        raise MissingToolError(f"'{argv[0]}' cannot be started ({error.strerror})", mend="check it") from error
    except subprocess.TimeoutExpired as error:
        raise ResourceError(f"adb gave no answer in {timeout_s:.0f} s", mend="plug the device in again") from error
    return Completed(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


@dataclass(frozen=True)
class Listed:
    """One line of `adb devices -l`. model: as it says, "" where it does not."""

    serial: str
    state: str
    model: str


def parse_devices(text: str) -> tuple[Listed, ...]:
    """The devices of `adb devices -l`."""
    found = []
    for line in text.splitlines():
        parts = line.split()
        if len(parts) < 2 or line.startswith(("List of devices", "*", "adb ")):
            continue
        model = re.search(r"\bmodel:(\S+)", line)
        found.append(Listed(parts[0], parts[1], model[1].replace("_", " ") if model else ""))
    return tuple(found)


def choose(devices: Sequence[Listed], serial: str) -> Listed:
    """The device of a serial, or the only one. Errors: one line for none, several, and every state but `device`."""
    names = ", ".join(one.serial for one in devices)
    where = f"adb:{serial}"
    if not devices:
        raise ResourceError("there is no device", where=where, mend="plug it in and allow USB debugging on it")
    if not serial and len(devices) > 1:
        raise ResourceError(f"there are several devices ({names})", where=where, mend="name one: adb:SERIAL")
    chosen = next((one for one in devices if not serial or one.serial == serial), None)
    if chosen is None:
        raise ResourceError(f"there is no such device (there: {names})", where=where, mend="see `adb devices -l`")
    if chosen.state != "device":
        unusual = (ResourceError, f"is in state '{chosen.state[:20]}'", "start Android on it")
        kind, what, mend = STATES.get(chosen.state, unusual)
        raise kind(what, where=f"adb:{chosen.serial}", mend=mend)
    return chosen


def adb_failure(done: Completed, where: str) -> EdgeError:
    """Why adb failed, in one line."""
    said = f"{done.stderr}\n{done.stdout}"
    for pattern, kind, what, mend in SAYINGS:
        if re.search(pattern, said, flags=re.MULTILINE | re.IGNORECASE):
            return kind(what, where=where, mend=mend)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = f" ({lines[-1][:160]})" if lines else ""
    return ResourceError(f"adb failed with {done.returncode}{told}", where=where, mend="run the same command again")


class AdbDevice:
    """Follows edge.device.reach.base.Device; remote paths are below the app's folder.

    Parameters
    ----------
    serial: "" for the only device.
    adb: replaces `adb`. run: runs it. folder: of the app.
    Errors: those of `choose`.
    """

    def __init__(
        self, serial: str, *, adb: Sequence[str] = ("adb",), run: Runner = run_program, folder: str = FOLDER
    ) -> None:
        self._adb, self._run, self.folder = tuple(adb), run, folder
        done = run([*self._adb, "devices", "-l"], SHELL_S)
        if done.returncode:
            raise adb_failure(done, f"adb:{serial}")
        self._chosen = choose(parse_devices(done.stdout), serial)
        self.address = f"adb:{self._chosen.serial}"

    def _do(self, *arguments: str, timeout_s: float = SHELL_S) -> Completed:
        return self._run([*self._adb, "-s", self._chosen.serial, *arguments], timeout_s)

    def shell(self, script: str, *, check: bool = True, timeout_s: float = SHELL_S) -> str:
        """Standard output of a line in the device's shell. Errors: adb_failure, unless `check` is off."""
        done = self._do("shell", script, timeout_s=timeout_s)
        if check and done.returncode:
            raise adb_failure(done, self.address)
        return done.stdout.replace("\r\n", "\n")

    def _path(self, remote: str) -> str:
        parts = remote.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise BundleError("a path leaves the app's folder", where=self.address, mend="use one edge on both sides")
        return posixpath.join(self.folder, remote)

    def describe(self) -> str:
        """Serial, model and Android's version."""
        version = self.shell("getprop ro.build.version.release", check=False).strip()
        return f"{self.address} ({self._chosen.model or 'Android'}, Android {version or '?'})"

    def facts(self) -> BoardFacts:
        """What it is. Errors: SourceError for a 32-bit device or where the app is not installed."""
        abi = self.shell("getprop ro.product.cpu.abi").strip()
        if abi not in ABIS:
            raise SourceError(f"its system is {abi[:20] or 'unknown'}", where=self.address, mend="use a 64-bit device")
        if not self.shell(f"pm path {APP}", check=False).startswith("package:"):
            raise SourceError(
                f"the app {APP} is not installed",
                where=self.address,
                mend="install it, open it once",
            )
        cpu = self.shell("cat /proc/cpuinfo", check=False)
        features = re.search(r"^(?:Features|flags)\s*:\s*(.+)$", cpu, flags=re.MULTILINE)
        return BoardFacts(
            arch=ABIS[abi],
            python=None,
            isa_features=tuple(sorted(set(features[1].split()))) if features else (),
            board=self._chosen.model,
            system=f"Android {self.shell('getprop ro.build.version.release', check=False).strip()}",
            free_bytes=self.free_bytes(),
            folder=self.folder,
        )

    def free_bytes(self) -> int:
        """Free on the storage of the app's folder. Errors: ResourceError where `df` says nothing of use."""
        self.shell(f"mkdir -p {shlex.quote(self.folder)}")
        text = self.shell(f"df -k {shlex.quote(self.folder)}")
        columns = text.splitlines()[-1].split() if text.strip() else []
        numbers = [column for column in columns[1:] if column.isdigit()]
        if len(numbers) < 3:
            raise ResourceError("does not say how much space is free", where=self.address, mend="check its storage")
        return int(numbers[2]) * 1024

    def listing(self, remote: str) -> Listing:
        """Files below a folder with their digests; parts of files are listed to be removed."""
        top = self._path(remote)
        script = (
            f"cd {shlex.quote(top)} 2>/dev/null || exit 0; find . -type f -exec sha256sum {{}} +; echo --; "
            "find . -type f -exec stat -c '%s %n' {} +"
        )
        digests, _, sizes = self.shell(script, timeout_s=PUSH_S).partition("--\n")
        by_size = {}
        for line in sizes.splitlines():
            size, _, name = line.partition(" ")
            by_size[name.removeprefix("./")] = int(size) if size.isdigit() else -1
        files, odd = {}, []
        for line in digests.splitlines():
            digest, _, name = line.partition("  ")
            name = name.removeprefix("./")
            if name.endswith(PART):
                odd.append(name)
            elif name:
                files[name] = (digest, by_size.get(name, -1))
        return Listing(files, {}, tuple(odd))

    def push(
        self,
        local: Path | Mapping[str, LocalFile],
        remote: str,
        progress: Progress = nobody,
        *,
        keep: Sequence[str] = (),
    ) -> Copied:
        """As Device.push; whole files only, because adb cannot go on in the middle of one."""
        wanted = local_files(local) if isinstance(local, Path) else local
        plan = plan_copy(wanted, self.listing(remote), keep)
        top = self._path(remote)
        if plan.remove:
            self.shell("rm -f " + " ".join(shlex.quote(posixpath.join(top, name)) for name in plan.remove))
        check_space(plan, self.free_bytes(), self.address)
        for number, (name, _) in enumerate(plan.send):
            progress("copy to the device", number / len(plan.send))
            self._push_file(wanted[name], posixpath.join(top, name))
        return Copied(len(plan.send), sum(wanted[name].size_bytes for name, _ in plan.send), plan.kept)

    def _push_file(self, file: LocalFile, target: str) -> None:
        part = target + PART
        folder = posixpath.dirname(target)
        self.shell(f"mkdir -p {shlex.quote(folder)}")
        done = self._do("push", str(file.path), part, timeout_s=PUSH_S)
        if done.returncode:
            self.shell(f"rm -f {shlex.quote(part)}", check=False)
            raise adb_failure(done, self.address)
        said = self.shell(f"sha256sum {shlex.quote(part)}", timeout_s=PUSH_S).split()
        if said[:1] != [file.sha256]:
            self.shell(f"rm -f {shlex.quote(part)}", check=False)
            raise ResourceError("a file reads back other than it was sent", where=self.address, mend="run it again")
        self.shell(f"mv {shlex.quote(part)} {shlex.quote(target)}")

    def run(
        self, argv: Sequence[str], environment: Mapping[str, str], timeout_s: float, line: Line = nobody
    ) -> Completed:
        """A program of Android's shell."""
        words = [f"{name}={shlex.quote(value)}" for name, value in environment.items()]
        done = self._do("shell", " ".join([*words, shlex.join(argv)]), timeout_s=timeout_s)
        for one in done.stdout.splitlines():
            line(one)
        return done

    def start_verification(self, run: str) -> None:
        """Tell the app to begin the job `run`. Errors: SourceError with what `am` says."""
        said = self.shell(f"am start -n {ACTIVITY} -a {ACTION} --es run {shlex.quote(run)} 2>&1", check=False)
        wrong = re.search(r"^(?:Error|Exception|java\.).*", said, flags=re.MULTILINE)
        if wrong:
            raise SourceError(
                f"the app did not start ({wrong[0][:160]})", where=self.address, mend="install a newer app, unlock it"
            )

    def read(self, remote: str) -> bytes | None:
        """The content of a small file; None where it is not there (yet)."""
        path = self._path(remote)
        if self.shell(f"ls {shlex.quote(path)} 2>/dev/null", check=False).strip() != path:
            return None
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "pulled"
            self.pull(remote, local)
            return local.read_bytes()

    def pull(self, remote: str, local: Path) -> None:
        """As Device.pull."""
        beside = local.with_name(f".{local.name}.part")
        try:
            done = self._do("pull", self._path(remote), str(beside), timeout_s=PUSH_S)
            if done.returncode or not beside.is_file():
                raise adb_failure(done, self.address)
            beside.replace(local)
        finally:
            beside.unlink(missing_ok=True)

    def remove(self, under: str, names: Sequence[str]) -> None:
        """Remove files or folders below a folder."""
        paths = " ".join(shlex.quote(self._path(posixpath.join(under, name))) for name in names)
        self.shell(f"rm -rf {paths}")

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> AdbDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
