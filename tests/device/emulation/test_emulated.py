"""Running a program of a board: commands, deaths, time. The board's python is a shell script here."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from edge.device.emulation.emulated import Completed, Emulated, death, signal_of
from edge.device.emulation.target import EmulatedTarget
from edge.errors import BundleError, EdgeError, InputError, ResourceError

TARGET = EmulatedTarget("raspberry-pi-4", "cortex-a72", "Pi", 4, ("asimd",), 0x410FD083, 1 << 33, 1 << 32)


def board(prefix: Path, script: str = 'echo "$@"') -> Emulated:
    """A board whose python and runner are shell scripts of this machine."""
    for name in ("usr/bin/python3", "edge-run"):
        path = prefix / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    (prefix / "usr/bin/tool").write_bytes(b"")
    environment = {"PATH": "/usr/bin:/bin", "A": "board"}
    return Emulated(TARGET, prefix, str(prefix / "usr/bin/python3"), environment, "qemu-aarch64 7.2", "7.2")


def test_commands(tmp_path: Path) -> None:
    """If it fails, a program of this machine runs where the board's is meant."""
    one = board(tmp_path / "p")
    elsewhere = tmp_path / "own-program"
    elsewhere.write_bytes(b"")
    runner = str(tmp_path / "p/edge-run")
    assert one.command(["python3", "-V"]) == [one.python, "-V"]
    assert one.command([one.python, "-V"]) == [one.python, "-V"]
    assert one.command(["tool", "x"]) == [runner, str(tmp_path / "p/usr/bin/tool"), "x"]
    assert one.command(["/usr/bin/tool"]) == [runner, str(tmp_path / "p/usr/bin/tool")]
    assert one.command([str(elsewhere)]) == [runner, str(elsewhere)]
    for argv in ([], ["no-such-program"], ["/no/such/program"]):
        with pytest.raises(InputError):
            one.command(argv)


def test_environment_and_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, variables of this machine reach the board's programs, or the caller's do not."""
    monkeypatch.setenv("HOST_ONLY", "1")
    done = board(tmp_path, 'cat; echo "$A,$B,$HOST_ONLY"').run(["python3"], environment={"B": "b"}, input_text="in ")
    assert (done.returncode, done.stdout) == (0, "in board,b,\n")


def test_an_illegal_instruction_is_one_line(tmp_path: Path) -> None:
    """If it fails, nobody learns that a bundle was built for a CPU that the board has not."""
    with pytest.raises(BundleError, match=r"signal 4.*cortex-a72.*lacks an instruction.*build for this device"):
        board(tmp_path, "kill -ILL $$").run(["python3"], check=True)
    assert board(tmp_path, "kill -ILL $$").run(["python3"]).returncode == -signal.SIGILL
    assert isinstance(death(TARGET, Completed(132, "", "")), BundleError)


def test_other_deaths() -> None:
    """If it fails, a lack of memory is reported as a wrong build."""
    assert isinstance(death(TARGET, Completed(-9, "", "")), ResourceError)
    assert "signal 11" in str(death(TARGET, Completed(139, "", "")))
    failed = death(TARGET, Completed(3, "", f"Traceback\n  File x\nValueError: {'y' * 400}\n"))
    assert "stopped with code 3" in str(failed)
    assert "ValueError" in str(failed)
    assert len(str(failed)) < 350
    assert [signal_of(code) for code in (0, 1, 127, 128, 255, -4, 132)] == [0, 0, 0, 0, 0, 4, 4]


def test_too_long_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    """If it fails, a hanging emulation holds the caller for ever, or goes on after it."""
    one = board(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(ResourceError, match=r"took more than 0\.5 s"):
        one.run(["python3"], timeout_s=0.5)
    child = int((tmp_path / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split(")")[1].split()[0] in "ZX"


def test_a_board_that_is_gone(tmp_path: Path) -> None:
    """If it fails, a deleted cache ends in a traceback."""
    one = board(tmp_path)
    Path(one.python).unlink()
    with pytest.raises(EdgeError, match="cannot be started"):
        one.run(["python3"])
