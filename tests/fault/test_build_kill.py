"""kill -9 and Ctrl-C of `edge build` after every stage: no half bundle opens, and the next build cleans up.

When these fail, a power cut during a build costs the bundle that worked, or fills the disk with what it left.
tests/fault/test_bundle_kill.py kills the last step, the swap, at every system call.
"""

from __future__ import annotations

import random
import signal
import time

import pytest

from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.errors import ExitStatus
from tests.e2e.world import PROGRESS, World, tree

STAGES = ("sources", "tokenizer", "round", "choose", "export", "golden", "describe", "clinical", "fidelity")


def opens(world: World, name: str) -> str | None:
    """Digest of the bundle at out/<name>, None where nothing is; fails on anything between."""
    place = world.root / "out" / name
    if not place.exists():
        return None
    return open_bundle(place, KeyStore(world.root / "home").trust_store()).bundle_digest


def stop_after(world: World, name: str, stages: int, delay_s: float, number: int) -> int:
    """Build out/<name> and send a signal when so many stages have been said, and delay_s later; exit status."""
    process = world.start("build", f"profiles/{name}.yaml", "-o", f"out/{name}")
    lock = world.root / "out" / f".{name}.lock"
    while not lock.exists() and process.poll() is None:
        time.sleep(0.001)
    assert process.stderr is not None
    for expected in STAGES[:stages]:
        line = process.stderr.readline()
        assert line.split()[0] == expected, line
    time.sleep(delay_s)
    process.send_signal(number)
    process.communicate()
    return process.returncode


@pytest.mark.slow
def test_killed_after_every_stage(world: World) -> None:
    """If not: the stage after which it was killed costs the old bundle, or leaves something that opens."""
    world.profile(quantisation={"scheme": "int8"})
    old, old_digest = tree(world.bundle), world.digest()
    chance = random.Random(7)
    replaced = False
    for stages in range(len(STAGES) + 1):
        # After the last stage the bundle is sealed, which takes milliseconds.
        delay_s = chance.uniform(0, 0.02) if stages == len(STAGES) else chance.choice((0, 0.01))
        status = stop_after(world, "tiny", stages, delay_s, signal.SIGKILL)
        assert status == -signal.SIGKILL or stages == len(STAGES), f"it ended with {status} before stage {stages}"
        digest = opens(world, "tiny")
        assert digest is not None
        replaced = digest != old_digest
        assert replaced or tree(world.bundle) == old
        assert not replaced or stages == len(STAGES)
        left = [path.name for path in (world.root / "out").iterdir() if path.suffix in (".building", ".old")]
        assert len(left) <= 1, f"each killed build leaves more: {left}"
    world.build().ok()
    assert opens(world, "tiny") != old_digest
    assert world.litter() == []


@pytest.mark.slow
def test_a_first_build_that_is_killed(world: World) -> None:
    """If not: half of a first bundle opens, or blocks the next build."""
    world.profile("new", quantisation={"rounding": "gptq", "calibration": {"text": "text", "tokens": 64}})
    for stages in (2, 5):
        assert stop_after(world, "new", stages, 0.0, signal.SIGKILL) == -signal.SIGKILL
        assert opens(world, "new") is None
        assert [path for path in (world.root / "out").iterdir() if path.suffix == ".building"]
    world.build("new").ok()
    assert opens(world, "new") is not None
    assert world.litter() == []


@pytest.mark.slow
def test_interrupted(world: World) -> None:
    """If not: Ctrl-C shows a traceback or leaves litter, although the build had time to clean up."""
    world.profile(quantisation={"scheme": "int8"})
    before = tree(world.bundle)
    process = world.start("build", "profiles/tiny.yaml", "-o", "out/tiny")
    assert process.stderr is not None
    while "export" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == ExitStatus.INTERRUPTED
    assert [line for line in err.splitlines() if not PROGRESS.fullmatch(line)] == ["edge: stopped"]
    assert tree(world.bundle) == before
    assert world.litter() == []


@pytest.mark.slow
def test_a_draft_that_is_interrupted(built: World) -> None:
    """If not: Ctrl-C loses what was written so far, or does not say that it is a part."""
    visit = "".join(f"Doctor: How is eye number {n}? Patient: It has hurt for {n} days now. " for n in range(3000))
    (built.root / "long.txt").write_text(visit)
    command = ("run", "out/tiny", "--task", "note", "long.txt")
    process = built.start(*command, env={"EDGE_TRACE_START": "1"})
    assert process.stderr is not None
    said = ""
    while "reading" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == ExitStatus.INTERRUPTED, err
    assert "Stopped. Partial result, not for use." in err
    assert "Traceback" not in err
