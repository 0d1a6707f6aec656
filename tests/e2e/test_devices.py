"""`edge verify --device ssh://...` as a field engineer types it, against a real sshd on loopback.

When these fail, a bundle cannot be taken to a board with one command, or what comes back is not what the board signed.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle, open_bundle
from edge.device.facts import local_facts
from edge.device.wheels import runtime_requirements, site_for
from edge.errors import ExitStatus
from tests.device.reach.sshd import NEEDED, Board
from tests.e2e import emulated_board
from tests.e2e.world import Result, World

pytestmark = [pytest.mark.slow, NEEDED]  # copies 200 MB of runner over ssh and runs it


def installed_wheels(
    command: Sequence[str], *, timeout_s: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """In place of pip: the same packages as they are installed here, because a test reaches no registry."""
    target = Path(command[command.index("--target") + 1])
    for requirement in (part for part in command if "==" in part):
        for file in importlib.metadata.distribution(requirement.partition("==")[0]).files or ():
            source = Path(str(file.locate()))
            if ".." in file.parts or "__pycache__" in file.parts or not source.is_file():
                continue
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            (target / file).hardlink_to(source)
    return subprocess.CompletedProcess(list(command), 0, "", "")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board with Python and nothing else of ours."""
    (tmp_path / "bin").mkdir()
    bare = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (tmp_path / "bin/python3").symlink_to(bare)
    made = Board(tmp_path / "board", path=f"{tmp_path}/bin:/usr/bin:/bin")
    yield made
    made.stop()


@pytest.fixture
def host(world: World, board: Board) -> World:
    """A host with a bundle, whose `ssh` knows the board, and whose cache holds the wheels."""
    try:
        wanted = runtime_requirements("onnxruntime")
        site_for("x86_64", sys.version_info[:2], wanted, cache=world.root / "cache", run=installed_wheels)
    except OSError as error:
        pytest.skip(f"the installed packages cannot be linked here: {error}")
    folder = world.root / "hostbin"
    folder.mkdir()
    (folder / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {board.ssh[2]} "$@"\n')
    (folder / "ssh").chmod(0o755)
    return world


def verify(host: World, board: Board, *more: str) -> Result:
    path = f"{host.root}/hostbin:{host.environment()['PATH']}"
    return host.verify("out/tiny", "--device", str(board.address), *more, env={"PATH": path})


def opened(folder: Path, home: Path) -> OpenBundle:
    return open_bundle(folder, KeyStore(home).trust_store())


def test_to_a_board_with_one_command(host: World, board: Board) -> None:
    """If not: a field engineer needs more than one command, or cannot trust what it says."""
    said = verify(host, board, "--json", "result.json", "--html", "report.html", "--threads", "1")
    assert said.status == 0, said.out + said.err
    assert "first contact" in said.err
    assert "the device now trusts the builder" in said.err
    device = KeyStore(board.edge_home).load_signing_key(role="device")
    here = opened(host.bundle, host.root / "home")
    (proof,) = here.attestations
    assert proof.passed
    assert proof.device_class == local_facts().device_class
    signature = json.loads(next((host.bundle / "attestations").iterdir()).read_bytes())["signature"]
    assert signature["key"] == device.fingerprint
    result = json.loads((host.root / "result.json").read_bytes())
    assert result["bundle"]["bundle_digest"] == here.bundle_digest
    assert result["environment"]["emulated"] == ""
    assert "Passed" in said.out
    assert (host.root / "report.html").stat().st_size > 10_000
    # On the board it is proven too, by the runner that lies there.
    there = opened(board.folder / "bundles" / here.bundle_digest, board.edge_home)
    assert there.attestations == (proof,)
    (runner,) = (board.folder / "runner").iterdir()
    ran = subprocess.run(
        [
            *board.ssh,
            "-p",
            str(board.port),
            "127.0.0.1",
            "sh",
            f"{runner}/edge",
            "edge.cli",
            "inspect",
            str(there.path),
        ],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "passed" in ran.stdout
    # Again: nothing is sent.
    said = verify(host, board)
    assert said.status == 0, said
    assert "runner 0.0 MB, bundle 0.0 MB" in said.err
    assert "as before" in said.err
    assert len(opened(host.bundle, host.root / "home").attestations) == 2


def test_one_line_for_what_goes_wrong(host: World, board: Board) -> None:
    """If not: a wrong key or a busy board shows a traceback, or something half done is kept."""
    known = (board.root / "known_hosts").read_text()
    (board.root / "known_hosts").write_text("")
    verify(host, board).fails(ExitStatus.UNTRUSTED, "host key is not known", "--accept-new-host-key")
    (board.root / "known_hosts").write_text(known)
    held = subprocess.Popen(
        [*board.ssh, "-p", str(board.port), "127.0.0.1",
         f"mkdir -p {board.folder} && flock {board.folder}/lock sh -c 'echo held; read line'"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert held.stdout is not None
    assert held.stdout.readline() == b"held\n"
    verify(host, board).fails(ExitStatus.RESOURCE, "another verification is running on this device")
    held.communicate(b"\n")
    host.verify("out/tiny", "--device", "ssh://-oProxyCommand=x").fails(ExitStatus.INPUT, "is not known", "adb:SERIAL")
    host.verify("out/tiny", "--device", "adb:", env={"PATH": "/none"}).fails(ExitStatus.MISSING_TOOL, "adb")
    assert not (host.bundle / "attestations").exists()
    assert [name for name in host.litter() if not name.startswith("cache/")] == []


def test_a_bundle_for_another_board(host: World, board: Board) -> None:
    """If not: a bundle for Arm cannot be proven without one, counts for a real one, or is copied to an x86 one."""
    host.profile("pi", target="raspberry-pi-5", budgets={"decode_tokens_per_s_min": 1000, "disk_bytes_max": 10**9})
    host.build("pi").ok()
    path = f"{host.root}/hostbin:{host.environment()['PATH']}"
    host.edge("verify", "out/pi", "--device", str(board.address), env={"PATH": path}).fails(
        ExitStatus.BUNDLE, "was built for raspberry-pi-5 (aarch64), this device is x86_64"
    )
    assert not (board.folder / "bundles").exists()
    host.edge("verify", "out/pi").fails(ExitStatus.BUNDLE, "was built for raspberry-pi-5")
    host.edge("verify", "out/pi", "--device", "emulated:none").fails(ExitStatus.SPEC, "'none' is not known")

    emulated_board.board("raspberry-pi-5")  # skips where there is none
    cache = {"EDGE_CACHE": str(emulated_board.CACHE)}
    said = host.edge(
        "verify", "out/pi", "--device", "emulated:raspberry-pi-5", "--json", "pi.json", "--html", "pi.html", env=cache
    )
    (proof,) = opened(host.root / "out/pi", host.root / "home").attestations
    assert proof.device_class == "emulated-aarch64-raspberry-pi-5-model-b", said.err
    assert said.status == (0 if proof.passed else ExitStatus.GATE)
    checks = {check.name: check for check in proof.checks}
    assert checks["golden"].passed
    assert checks["predicted_memory"].passed, checks["predicted_memory"].detail
    assert checks["disk_bytes_max"].passed
    assert checks["decode_tokens_per_s_min"].passed is None
    assert checks["decode_tokens_per_s_min"].detail.endswith("not measured (emulated)")
    assert "tok/s" not in said.out.replace("needs 1,000 tok/s", "")
    result = json.loads((host.root / "pi.json").read_bytes())
    assert "qemu-aarch64" in result["environment"]["emulated"]
    assert (result["decode"], result["prefill"], result["energy"]["joules"]) == ([], [], None)
    assert "Raspberry Pi 5" in (host.root / "pi.html").read_text()
