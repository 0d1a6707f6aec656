"""A board is prepared from packages that a fake Debian gives, with all that goes wrong on the way."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.device.emulation import Emulated, prepare
from edge.device.facts import local_facts
from edge.errors import EdgeError, ExitStatus
from tests.device.emulation.fake_debian import X86_64, FakeDebian

REPO = Path(__file__).resolve().parents[3]


@pytest.fixture
def debian(tmp_path: Path) -> FakeDebian:
    return FakeDebian(tmp_path / "host")


def made(debian: FakeDebian, cache: Path, name: str = "raspberry-pi-5") -> Emulated:
    return prepare(
        name,
        cache=cache,
        root=debian.root,
        run=debian,
        targets=REPO / "targets",
        requirements=("extra-thing==1.0",),
        environment={"HOME": "/home/me", "LD_PRELOAD": "x"},
    )


def parts(cache: Path) -> list[str]:
    """Whatever an unfinished run left."""
    return [path.name for path in cache.rglob("*.part")]


def test_a_board_from_nothing(debian: FakeDebian, tmp_path: Path) -> None:
    """If it fails, nobody can emulate a board on a fresh machine."""
    cache = tmp_path / "cache"
    board = made(debian, cache)
    facts = local_facts(board.prefix, arch="aarch64")
    assert facts.device_class == "aarch64-raspberry-pi-5-model-b"
    assert facts.os == "Debian GNU/Linux 12"
    assert board.words == "qemu-aarch64 7.2.22, -cpu cortex-a76"
    start = Path(board.python).read_text()
    assert "-cpu cortex-a76" in start
    assert f"-L {board.prefix}" in start
    assert "ulimit -c 0" in start  # a core file would hold what the program was reading
    assert board.command(["python3", "-V"]) == [board.python, "-V"]
    # What came with the packages and is not needed, or leads out of the board.
    system = cache / f"emulation/system-1-{platform.machine()}-bookworm"
    assert not list(system.rglob("copyright"))
    assert [path.name for path in (system / "emulator/usr/bin").iterdir()] == ["qemu-aarch64"]
    assert (board.prefix / "lib/ld-linux-aarch64.so.1").readlink() == Path("aarch64-linux-gnu/ld-linux-aarch64.so.1")
    assert not (board.prefix / "lib/gone").is_symlink()
    assert not (cache / "emulation/apt").exists()


def test_the_environment_is_the_board_s_own(debian: FakeDebian, tmp_path: Path) -> None:
    """If it fails, a variable of this machine (a preloaded library, a PYTHONPATH) changes what runs on the board."""
    environment = made(debian, tmp_path / "cache").environment
    assert environment["HOME"] == "/home/me"
    assert "LD_PRELOAD" not in environment
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert environment["PYTHONHASHSEED"] == "0"
    source, site = environment["PYTHONPATH"].split(":")
    assert (Path(source) / "edge/bench/worker.py").is_file()
    assert not (Path(source) / "edge/build").exists()
    assert (Path(site) / "extra_thing-1.0.dist-info").is_dir()


def test_the_second_time_fetches_nothing(debian: FakeDebian, tmp_path: Path) -> None:
    """If it fails, each emulated run costs a minute and needs the network; another board shares system and wheels."""
    first = made(debian, tmp_path / "cache")
    count = len(debian.commands)
    assert made(debian, tmp_path / "cache") == first
    assert len(debian.commands) == count
    other = made(debian, tmp_path / "cache", "raspberry-pi-4")
    assert [command[-2:] for command in debian.commands[count:]] == [["-cpu", "help"]]
    assert other.environment["PYTHONPATH"] == first.environment["PYTHONPATH"]
    assert "Cortex-A72" in local_facts(other.prefix, arch="aarch64").cpu_model
    assert "Cortex-A76" in local_facts(first.prefix, arch="aarch64").cpu_model


@pytest.mark.parametrize("at", ["--print-uris", "qemu-user_7.2", "python3-minimal_3.11", "pip install"])
def test_interrupted_anywhere(debian: FakeDebian, tmp_path: Path, at: str) -> None:
    """If it fails, Ctrl-C in the middle leaves half a board, and the next run uses it."""

    def stop(command: list[str]) -> None:
        if at in " ".join(command):
            raise KeyboardInterrupt

    debian.before = stop
    cache = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        made(debian, cache)
    assert parts(cache) == []
    debian.before = lambda command: None
    assert Path(made(debian, cache).python).is_file()


@pytest.mark.parametrize("lost", ["usr/bin/python3.11", "proc/cpuinfo", "sys/devices/system/cpu/possible"])
def test_a_board_that_lost_a_file_is_made_again(debian: FakeDebian, tmp_path: Path, lost: str) -> None:
    """If it fails, a half-deleted cache gives a board that crashes, or one with this machine's CPUs."""
    board = made(debian, tmp_path / "cache")
    (board.prefix / lost).unlink()
    assert (made(debian, tmp_path / "cache").prefix / lost).is_file()


FAILURES: dict[str, tuple[Callable[[FakeDebian], object], ExitStatus, str]] = {
    "no Debian": (
        lambda d: (d.root / "etc/os-release").write_text("ID=fedora\n"),
        ExitStatus.MISSING_TOOL,
        "set up from Debian's packages",
    ),
    "no sources": (
        lambda d: (d.root / "etc/apt/sources.list.d/debian.sources").unlink(),
        ExitStatus.MISSING_TOOL,
        "no source of them",
    ),
    "offline": (
        lambda d: d.answers.update({"apt-get -q update": (100, "E: Failed to fetch http://x.test Could not resolve")}),
        ExitStatus.OFFLINE,
        "Could not resolve",
    ),
    "cut off": (
        lambda d: d.answers.update({"--download-only": (100, "E: Connection reset by peer")}),
        ExitStatus.OFFLINE,
        "what was fetched is kept",
    ),
    "disk full": (
        lambda d: d.answers.update({"--download-only": (100, "E: Write error - write (28: No space left on device)")}),
        ExitStatus.RESOURCE,
        "no space left",
    ),
    "no such package": (
        lambda d: d.answers.update({"--print-uris": (100, "E: Unable to locate package qemu-user:amd64")}),
        ExitStatus.SOURCE,
        "no package qemu-user:amd64",
    ),
    "damaged package": (
        lambda d: d.answers.update({"dpkg-deb": (2, "dpkg-deb: error: unexpected end of file")}),
        ExitStatus.SOURCE,
        "not a readable package",
    ),
    "disk full while unpacking": (
        lambda d: d.answers.update({"dpkg-deb": (2, "tar: write: No space left on device")}),
        ExitStatus.RESOURCE,
        "no space left",
    ),
    "emulator does not run": (
        lambda d: d.answers.update({"--version": (127, "cannot execute")}),
        ExitStatus.MISSING_TOOL,
        "does not run",
    ),
    "old python": (lambda d: setattr(d, "python", 9), ExitStatus.MISSING_TOOL, "older than 3.11"),
    "unknown CPU": (lambda d: setattr(d, "cpus", "cortex-a53"), ExitStatus.MISSING_TOOL, "has no CPU 'cortex-a76'"),
    "no wheel": (
        lambda d: d.answers.update({"pip install": (1, "ERROR: No matching distribution found for extra-thing==1.0")}),
        ExitStatus.SOURCE,
        "no wheel of extra-thing==1.0 for aarch64",
    ),
    "wheels offline": (
        lambda d: d.answers.update(
            {
                "pip install": (
                    1,
                    "Retrying (...) after NewConnectionError\nNo matching distribution found for a",
                )
            }
        ),
        ExitStatus.OFFLINE,
        "no network",
    ),
    "wrong wheel": (lambda d: setattr(d, "machine", X86_64), ExitStatus.SOURCE, "for x86_64, not for aarch64"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_goes_wrong_is_one_line(debian: FakeDebian, tmp_path: Path, name: str) -> None:
    """If it fails, a user sees a traceback or the wrong advice, or the next run trips over what was left."""
    change, status, words = FAILURES[name]
    change(debian)
    cache = tmp_path / "cache"
    with pytest.raises(EdgeError) as caught:
        made(debian, cache)
    assert caught.value.status == status
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert parts(cache) == []
    if debian.answers:
        debian.answers.clear()
        assert Path(made(debian, cache).python).is_file()


def test_a_package_of_another_size_is_fetched_anew(debian: FakeDebian, tmp_path: Path) -> None:
    """If it fails, a damaged download is unpacked, or stands in the way of every later run."""

    def damage(command: list[str]) -> None:
        if "--download-only" in command and "qemu-user:amd64" in command:
            debian.before = lambda command: None
            original = debian._apt

            def cut(asked: list[str]) -> str:
                text = original(asked)
                for path in (tmp_path / "cache/emulation/apt/emulator").glob("qemu*.deb"):
                    path.write_bytes(b"half")
                debian._apt = original  # type: ignore[method-assign]
                return text

            debian._apt = cut  # type: ignore[method-assign]

    debian.before = damage
    with pytest.raises(EdgeError, match="damaged on its way"):
        made(debian, tmp_path / "cache")
    assert Path(made(debian, tmp_path / "cache").python).is_file()


def test_two_at_once(debian: FakeDebian, tmp_path: Path) -> None:
    """If it fails, two verifications started together break each other's board, or fetch everything twice."""
    boards: list[Emulated] = []
    both = threading.Barrier(2)

    def work() -> None:
        both.wait()
        boards.append(made(debian, tmp_path / "cache"))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(boards) == 2
    assert boards[0] == boards[1]
    assert debian.asked("-q update") == 1
    assert debian.asked("pip install") == 1
    assert parts(tmp_path / "cache") == []


def test_unknown_target(debian: FakeDebian, tmp_path: Path) -> None:
    """If it fails, a typing error ends in a traceback, or fetches 40 MB first."""
    with pytest.raises(EdgeError, match="raspberry-pi-6") as caught:
        made(debian, tmp_path / "cache", "raspberry-pi-6")
    assert caught.value.status == ExitStatus.SPEC
    assert debian.commands == []


def test_a_cache_path_that_cannot_be_a_search_path(debian: FakeDebian, tmp_path: Path) -> None:
    """If it fails, a colon in a folder's name gives a board without packages; a relative path, one for one folder."""
    with pytest.raises(EdgeError, match="cannot be used"):
        made(debian, tmp_path / "a:b")
    board = made(debian, Path(os.path.relpath(tmp_path / "cache")))
    assert Path(board.python).is_absolute()


def test_the_program_says_one_line(tmp_path: Path) -> None:
    """If it fails, `python -m edge.device.emulation` shows a traceback, or ends with the wrong code."""
    command = [sys.executable, "-m", "edge.device.emulation"]
    options = ["--targets", str(tmp_path), "--cache", str(tmp_path)]
    done = subprocess.run([*command, "prepare", "nowhere", *options], capture_output=True, text=True, check=False)
    assert done.returncode == ExitStatus.SPEC
    assert done.stderr.startswith("edge: ")
    assert len(done.stderr.splitlines()) == 1
    done = subprocess.run([*command, "prepar"], capture_output=True, text=True, check=False)
    assert done.returncode == ExitStatus.USAGE
