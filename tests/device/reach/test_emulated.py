"""An emulated device: its folder, its command line, and what it says of itself. The emulator here is this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge.device.reach.emulated import EmulatedDevice
from edge.errors import ResourceError


class FakeBoard:
    """Follows edge.device.emulation.Emulated."""

    def __init__(self, prefix: Path) -> None:
        self.prefix, self.python, self.words = prefix, sys.executable, "qemu-aarch64, -cpu cortex-a76"
        self.environment = {"PATH": "/usr/bin:/bin", "BOARD": "yes"}
        (prefix / "proc").mkdir(parents=True)
        (prefix / "proc/cpuinfo").write_text(
            "processor: 0\nFeatures: fp asimd asimddp\nCPU implementer: 0x41\nCPU part: 0xd0b\nModel: Raspberry Pi 5\n"
        )

    def command(self, argv: list[str]) -> list[str]:
        return list(argv)


@pytest.fixture
def device(tmp_path: Path) -> EmulatedDevice:
    return EmulatedDevice("raspberry-pi-5", FakeBoard(tmp_path / "prefix"), tmp_path / "folder")  # type: ignore[arg-type]


def test_it_says_what_it_is(device: EmulatedDevice) -> None:
    """If it fails, a bundle for another board is run on it, or a result does not say that it was emulated."""
    facts = device.facts()
    assert (facts.arch, facts.board) == ("aarch64", "Raspberry Pi 5")
    assert "asimddp" in facts.isa_features
    assert device.describe() == "emulated:raspberry-pi-5 (Raspberry Pi 5, qemu-aarch64, -cpu cortex-a76)"
    assert device.words == "qemu-aarch64, -cpu cortex-a76"


def test_the_measuring_process_gets_the_boards_environment(device: EmulatedDevice) -> None:
    """If it fails, the measuring process runs with this machine's packages, or outside the emulator."""
    command = device.engine_command()
    assert command[:2] == ["/usr/bin/env", "-i"]
    assert "BOARD=yes" in command
    assert command[-4:] == [sys.executable, "-P", "-m", "edge.bench.worker"]


def test_files_and_programs(device: EmulatedDevice, tmp_path: Path) -> None:
    """If it fails, an emulated device is another device than the rest of the code expects."""
    (tmp_path / "s/d").mkdir(parents=True)
    (tmp_path / "s/d/a").write_bytes(b"a")
    assert device.push(tmp_path / "s", "x").sent_files == 1
    assert device.push(tmp_path / "s", "x").kept_files == 1
    lines: list[str] = []
    done = device.run(["/bin/sh", "-c", "echo $BOARD $MORE; cat x/d/a; exit 4"], {"MORE": "1"}, 10, lines.append)
    assert (done.returncode, lines) == (4, ["yes 1", "a"])
    device.pull("x/d/a", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"a"
    with pytest.raises(ResourceError, match="not there"):
        device.pull("x/none", tmp_path / "none")
    with pytest.raises(ResourceError, match="more than 0 s"):
        device.run(["/bin/sleep", "30"], {}, 0.01)
    device.close()
