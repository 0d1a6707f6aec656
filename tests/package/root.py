"""A small Debian in a folder, for packages to be installed in: made with mmdebstrap, kept, unpacked for each test.

Without root, apt or the network there is none, and `NoRootError` says why. Nothing is installed on this machine:
mmdebstrap is unpacked from its own package.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.device.kept_folders import kept_folder
from tests.e2e.emulated_board import CACHE

KEPT = CACHE / "roots"
SUITE = "bookworm"
INCLUDE = ("python3.11", "adduser", "libstdc++6", "systemd", "zlib1g")
OPTIONS = (
    "--mode=root", "--variant=essential", f"--include={','.join(INCLUDE)}", "--dpkgopt=force-unsafe-io",
    '--aptopt=Acquire::Languages "none"', "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-include=/usr/share/doc/edge-kit*",
)  # fmt: skip
LIMIT_S = 600
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


BOOT_LIMIT_S = 240
# What a container's manager prepares; systemd says READY=1 when all jobs of the boot are done.
BOOT = """set -e
R=$1
mount --make-rprivate /
mount --bind "$R" "$R"
mount -t proc proc "$R/proc"
mount -t sysfs -o ro sysfs "$R/sys"
mount -t tmpfs tmpfs "$R/run"
mount -t tmpfs tmpfs "$R/sys/fs/cgroup"
mount -t cgroup2 none "$R/sys/fs/cgroup"
mount -t tmpfs tmpfs "$R/dev"
for one in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$R/dev/${one%:*}" c 1 "${one#*:}"; done
mknod -m 666 "$R/dev/tty" c 5 0
mkdir "$R/dev/shm" "$R/dev/pts"
ln -s /proc/self/fd "$R/dev/fd"
exec env -i container=edge-test NOTIFY_SOCKET=/ready PATH="$PATH" chroot "$R" /lib/systemd/systemd --system
"""


def _wait_ready(ready: socket.socket) -> None:
    """Until systemd says that the boot is done. Errors: NoRootError."""
    try:
        while b"READY=1" not in ready.recv(4096):
            pass
    except TimeoutError as error:
        raise NoRootError("systemd does not start in namespaces here") from error


class NoRootError(Exception):
    """Why there is no root on this machine."""


def _run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoRootError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise NoRootError(f"{command[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")


def _bootstrap(stage: Path) -> None:
    """debian.tar in `stage`."""
    _run(["apt-get", "download", "mmdebstrap"], stage)
    (package,) = stage.glob("mmdebstrap_*.deb")
    _run(["dpkg", "--extract", str(package), "tool"], stage)
    programs = stage / "tool" / "usr" / "bin"
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    _run(["perl", str(programs / "mmdebstrap"), *OPTIONS, SUITE, "debian.tar"], stage, environment)
    package.unlink()
    shutil.rmtree(stage / "tool")


def debian_tar() -> Path:
    """The kept root as a .tar. Errors: NoRootError."""
    if os.geteuid() != 0:
        raise NoRootError("only root may make and enter a Debian root")
    for tool in ("apt-get", "dpkg", "perl", "tar", "chroot"):
        if shutil.which(tool) is None:
            raise NoRootError(f"{tool} is not installed")
    request = hashlib.sha256("\n".join((SUITE, *OPTIONS)).encode()).hexdigest()[:16]
    return kept_folder(KEPT / f"{SUITE}-{request}", _bootstrap) / "debian.tar"


@dataclass(frozen=True)
class Root:
    """An unpacked root of a test's own."""

    path: Path

    def run(self, *command: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        """A command in the root, with its /proc and without a network."""
        who = ["runuser", "-u", user, "--"] if user else []
        inner = ["sh", "-c", 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"', str(self.path), *who, *command]
        return subprocess.run(
            ["unshare", "--mount", "--net", "--pid", "--fork", *inner],
            env=ENVIRONMENT, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip

    def install(self, package: Path, *more: str) -> subprocess.CompletedProcess[str]:
        """dpkg --install."""
        shutil.copyfile(package, self.path / package.name)
        done = self.run("dpkg", *more, "--install", f"/{package.name}")
        (self.path / package.name).unlink()
        return done

    @contextlib.contextmanager
    def booted(self) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
        """systemd as the first process of this root; gives a function that runs a command beside it.

        All of it lives in namespaces of its own, without a network, and ends with the block. Errors: NoRootError where
        this machine lets no second systemd run.
        """
        address = self.path / "ready"
        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ready.bind(str(address))
        ready.settimeout(BOOT_LIMIT_S)
        command = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--kill-child", "--fork"]
        process = subprocess.Popen(
            [*command, "sh", "-c", BOOT, "sh", str(self.path)],
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait_ready(ready)
            (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

            def run(*inner: str) -> subprocess.CompletedProcess[str]:
                enter = ["nsenter", "--target", first, "--mount", "--pid", "--net", "--cgroup", "chroot"]
                return subprocess.run(
                    [*enter, str(self.path), *inner],
                    env=ENVIRONMENT, capture_output=True, text=True, timeout=LIMIT_S, check=False,
                )  # fmt: skip

            yield run
        finally:
            process.kill()
            process.wait()
            ready.close()
            address.unlink(missing_ok=True)

    def files(self) -> dict[str, tuple[int, int, int, str]]:
        """Path -> (mode, owner, group, digest of content or target of link) of all but passing files."""
        found = {}
        for path in self.path.rglob("*"):
            inner = path.relative_to(self.path).as_posix()
            if inner.startswith(("proc/", "tmp/", "run/", "var/log/", "var/cache/", "var/lib/dpkg/")):
                continue
            status = path.lstat()
            content = ""
            if path.is_symlink():
                content = str(path.readlink())
            elif path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            found[inner] = (status.st_mode, status.st_uid, status.st_gid, content)
        return found


def fresh_root(make_folder: Callable[[str], Path]) -> Root:
    """A root that holds nothing of edge. Errors: NoRootError."""
    if sys.version_info[:2] != (3, 11) or os.uname().machine != "x86_64":
        raise NoRootError("the wheels that are installed here are not for Debian's Python 3.11 on x86_64")
    tar = debian_tar()
    folder = make_folder("root")
    _run(["tar", "--extract", "--file", str(tar), "--directory", str(folder)], folder)
    root = Root(folder)
    done = root.run("true")
    if done.returncode:
        with contextlib.suppress(IndexError):
            raise NoRootError(f"unshare, mount or chroot: {done.stderr.strip().splitlines()[-1]}")
        raise NoRootError("unshare, mount or chroot failed")
    return root
