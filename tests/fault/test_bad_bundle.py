"""A bundle that was changed, is not signed, not trusted, for another device, or failed its test is not run.

When these fail, a device drafts notes with weights that nobody vouches for.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle.attestation import Check, new_attestation, write_attestation
from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.device.facts import local_facts
from edge.errors import ExitStatus
from tests.e2e.world import World, tree


def flip(path: Path, at: int = -1) -> None:
    """Change one bit of a file, its size stays."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def changed_weights(world: World) -> None:
    flip(world.bundle / "model" / "model.weights")


def changed_prompt(world: World) -> None:
    flip(world.bundle / "tasks" / "note.json", 40)


def changed_manifest(world: World) -> None:
    path = world.bundle / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"A tiny model', b'"A fine model'))


def cut_weights(world: World) -> None:
    path = world.bundle / "model" / "model.weights"
    os.truncate(path, path.stat().st_size - 1)


def extra_file(world: World) -> None:
    (world.bundle / "model" / "extra.bin").write_bytes(b"x")


def missing_file(world: World) -> None:
    (world.bundle / "tokenizer" / "tokenizer.json").unlink()


def link_out(world: World) -> None:
    path = world.bundle / "model" / "model.weights"
    path.rename(world.root / "model.weights")
    path.symlink_to(world.root / "model.weights")


def unsigned(world: World) -> None:
    (world.bundle / "signature").unlink()


def signed_by_a_stranger(world: World) -> None:
    shutil.rmtree(world.root / "home")
    world.edge("keys", "new", "mine").ok()


def trust_that_others_can_change(world: World) -> None:
    (world.root / "home" / "trusted").chmod(0o777)


def no_bundle(world: World) -> None:
    shutil.rmtree(world.bundle)


CASES: tuple[tuple[Callable[[World], None], ExitStatus, str], ...] = (
    (changed_weights, ExitStatus.BUNDLE, "'model/model.weights' was changed"),
    (changed_prompt, ExitStatus.BUNDLE, "'tasks/note.json' was changed"),
    (changed_manifest, ExitStatus.UNTRUSTED, "was changed after 'my-builder' signed it"),
    (cut_weights, ExitStatus.BUNDLE, "'model/model.weights' has"),
    (extra_file, ExitStatus.BUNDLE, "'model/extra.bin' does not belong"),
    (missing_file, ExitStatus.BUNDLE, "'tokenizer/tokenizer.json' is missing"),
    (link_out, ExitStatus.BUNDLE, "is a link"),
    (unsigned, ExitStatus.UNTRUSTED, "is not signed"),
    (signed_by_a_stranger, ExitStatus.UNTRUSTED, "key"),
    (trust_that_others_can_change, ExitStatus.UNTRUSTED, "chmod go-w"),
    (no_bundle, ExitStatus.BUNDLE, "there is no bundle"),
)


@pytest.mark.parametrize(("spoil", "status", "part"), CASES, ids=[case[0].__name__ for case in CASES])
def test_is_not_run(world: World, spoil: Callable[[World], None], status: ExitStatus, part: str) -> None:
    """If not: this bundle is run, or refused in a way that nobody understands. --force does not help it."""
    spoil(world)
    line = world.note().fails(status, part)
    assert world.note("out/tiny", "--force").fails(status) == line
    assert world.edge("inspect", "out/tiny").fails(status) == line


@pytest.mark.parametrize("command", ["verify", "bench", "pack"])
def test_is_not_measured_or_packed(world: World, command: str) -> None:
    """If not: a changed bundle gets a signed verdict, or travels on."""
    changed_weights(world)
    more = ("x.tar",) if command == "pack" else ("--workload", "work.yaml")
    world.edge(command, "out/tiny", *more).fails(ExitStatus.BUNDLE, "was changed")
    assert not (world.bundle / "attestations").exists()
    assert not (world.root / "x.tar").exists()


def test_changed_tar(world: World) -> None:
    """If not: a damaged download is unpacked and run."""
    world.edge("pack", "out/tiny", "a.tar").ok()
    flip(world.root / "a.tar", (world.root / "a.tar").stat().st_size // 2)
    world.note("a.tar").fails(ExitStatus.BUNDLE, "a.tar")
    (world.root / "b.tar").write_bytes((world.root / "a.tar").read_bytes()[:-5000])
    world.note("b.tar").fails(ExitStatus.BUNDLE, "b.tar")
    # The task's own prefix may be kept (no word of a patient); nothing of the bundle.
    assert [name for name in tree(world.root / "cache") if not name.startswith("prefixes/")] == []


def test_for_another_device(world: World) -> None:
    """If not: a bundle for an Arm board crashes here instead of saying so."""
    world.profile(target="raspberry-pi-5")
    said = world.build("tiny")
    if os.uname().machine == "x86_64":
        said.ok()  # building for another device works anywhere
        world.note().fails(ExitStatus.BUNDLE, "raspberry-pi-5", "aarch64")


# ---- verdicts ----------------------------------------------------------------------------------------------


def attest(world: World, passed: bool) -> None:
    """A device's signed verdict on out/tiny, as `edge verify` writes it."""
    store = KeyStore(world.root / "home")
    if not any(info.role == "device" for info in store.list()):
        store.create("my-device", "device")
    bundle = open_bundle(world.bundle, store.trust_store())
    facts = local_facts()
    item = new_attestation(
        bundle,
        device_class=facts.device_class,
        device=facts.to_json(),
        checks=[Check("decode_tokens_per_s_min", passed, 3.0, 10.0)],
        result=b"{}",
    )
    write_attestation(world.bundle, item, store.load_signing_key(role="device"))


def test_a_failed_build_needs_force(world: World) -> None:
    """If not: a build that failed on this device is used without anybody deciding so."""
    attest(world, passed=False)
    world.note().fails(ExitStatus.UNVERIFIED, "failed its device test", "--force")
    forced = world.note("out/tiny", "--force")
    assert forced.status == 0
    assert "FAILED its device test" in forced.err
    assert forced.out.strip()
    attest(world, passed=True)  # the newest decides
    assert "device test" not in world.note().err
    attest(world, passed=False)
    world.note().fails(ExitStatus.UNVERIFIED)


def test_an_unverified_build_warns(world: World) -> None:
    """If not: nobody is told that this build was never proven here."""
    said = world.note()
    assert said.status == 0
    assert "has not passed its device test. Run `edge verify`" in said.err


def test_a_verdict_by_a_stranger_or_changed(world: World) -> None:
    """If not: anybody can write "passed" into a bundle."""
    attest(world, passed=False)
    (path,) = (world.bundle / "attestations").iterdir()
    value = json.loads(path.read_text())
    value["attestation"]["verdict"] = "passed"
    value["attestation"]["checks"][0]["passed"] = True
    path.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n")
    world.note().fails(ExitStatus.UNTRUSTED, "attestations/")
    path.unlink()
    attest(world, passed=True)
    world.edge("keys", "untrust", "my-device").ok()
    assert "has not passed its device test" in world.note().err


@pytest.mark.slow
def test_verify_fails_a_budget(world: World) -> None:
    """If not: a budget that this device does not hold is not found, or its verdict is not kept."""
    world.profile(budgets={"load_ms_max": 0.5})
    world.build().ok()
    said = world.verify()
    assert said.status == ExitStatus.GATE
    assert "Failed" in said.out
    assert "load" in said.out
    world.note().fails(ExitStatus.UNVERIFIED, "--force")
    shutil.copytree(world.bundle, world.root / "before")
    world.build().ok()  # the same bits: the verdict stays
    assert tree(world.bundle) == tree(world.root / "before")
    world.profile()
    world.build().ok()  # other bits: nothing is known of them
    assert "has not passed its device test" in world.note().err


@pytest.mark.slow
def test_verify_whose_engine_dies(world: World) -> None:
    """If not: a device that kills the measuring process for lack of memory is left with a bundle that "passed"."""
    code = "import sys, os\nif sys.orig_argv[1:4] == ['-P', '-m', 'edge.bench.worker']:\n    os.kill(os.getpid(), 9)\n"
    world.verify(env=world.sitecustomize(code)).fails(ExitStatus.RESOURCE, "signal 9", "memory")
    assert not (world.bundle / "attestations").exists()
