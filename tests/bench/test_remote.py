"""`edge verify --device`: what a device sends is kept only when its key, its digests and its verdict all agree."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_dummies import make_result
from remote_world import ADDRESS, World

from edge.bench import gates
from edge.bench.pins import FILE, read_pins
from edge.bench.remote import Proven, accept, make_runner
from edge.bench.verify import attested
from edge.bundle import attestation
from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.device.facts import local_facts
from edge.device.reach.base import BoardFacts
from edge.errors import (
    BundleError,
    EdgeError,
    ResourceError,
    SourceError,
    UntrustedError,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.slow
def test_a_proof_comes_back_signed_by_the_device(world: World) -> None:
    """If it fails, a bundle that was proven on a board counts as unproven here, or the wrong key signed for it."""
    seen: list[tuple[str, float]] = []
    proven = world.verify(progress=lambda label, fraction: seen.append((label, fraction)))
    assert proven.pinned.new
    (found,) = world.again().attestations
    assert found == proven.verification.attestation
    board = KeyStore(world.board_home)
    assert proven.pinned.key.fingerprint == board.load_signing_key(role="device").fingerprint
    assert proven.pinned.key.fingerprint != world.store.fingerprint("device")
    assert found.result_sha256 == proven.verification.result.sha256()
    assert proven.verification.result.bundle.bundle_digest == world.opened.bundle_digest
    assert any(label.startswith("copy to the device") for label, _ in seen)
    assert any("decode" in label for label, _ in seen)  # the device's own steps
    # The board's own copy counts there too, and nothing of the run is left.
    on_board = open_bundle(world.board_folder / "bundles" / found.bundle_digest, board.trust_store())
    assert on_board.attestations == (found,)
    assert not list((world.board_folder / "verify").glob("*"))
    # Again: nothing is sent, the number goes on, the key is known.
    world.said.clear()
    proven = world.verify()
    assert not proven.pinned.new
    assert proven.verification.attestation.sequence == 2
    assert any("bundle 0.0 MB" in line for line in world.said)
    # A bundle that lost its attestations on the board goes on with the number all the same.
    for path in (world.board_folder / "bundles" / found.bundle_digest / "attestations").iterdir():
        path.unlink()
    assert world.verify().verification.attestation.sequence == 3


@pytest.mark.slow
def test_a_failed_verdict_comes_back_too(world: World) -> None:
    """If it fails, a build that says something else on a board can be tried until somebody forgets to look."""
    proven = world.verify("wrong")
    assert not proven.verification.passed
    assert world.again().attestations[0].verdict == "failed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("other-result", BundleError, "sent another result than it signed"),
        ("killed", ResourceError, "signal 9"),
        ("quiet", EdgeError, "the runner ended with 0"),
        ("crash", EdgeError, r"RuntimeError: a bug of ours"),
    ],
)
def test_nothing_is_kept_of_a_run_that_went_wrong(world: World, fault: str, kind: type[EdgeError], words: str) -> None:
    """If it fails, a result that nobody signed, or none at all, becomes an attestation."""
    with pytest.raises(kind, match=words) as caught:
        world.verify(fault)
    assert ADDRESS in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not world.attestations()
    assert world.verify().pinned.new


@pytest.mark.slow
def test_a_changed_device_key_is_refused(world: World) -> None:
    """If it fails, another machine at a board's address can sign for it."""
    world.verify()
    world.board_home = world.root / "other-home"
    with pytest.raises(UntrustedError, match="on first contact it was") as caught:
        world.verify()
    assert "edge keys untrust pi-board" in str(caught.value)
    assert len(world.attestations()) == 1
    world.store.untrust("pi-board")
    assert world.verify().pinned.new


@pytest.mark.slow
def test_a_board_that_trusts_another_builder(world: World) -> None:
    """If it fails, a board takes bundles of whoever can log in, without a word."""
    board = KeyStore(world.board_home)
    board.create("somebody", "builder")
    with pytest.raises(UntrustedError, match="trusts other builders") as caught:
        world.verify()
    assert "--trust-builder" in str(caught.value)
    assert not list((world.board_folder).rglob("model.onnx"))  # said before the bundle was copied
    world.verify(trust_builder=True)
    assert {key.name for key in board.trust_store().keys} == {"builder", "somebody", "my-device"}


@pytest.mark.slow
def test_two_verifications_at_once(world: World) -> None:
    """If it fails, two runs measure each other on one board."""
    with world.connect() as first:
        first.open()
        with pytest.raises(ResourceError, match="another verification is running on this device"):
            world.verify()
    world.verify()


@pytest.mark.slow
def test_a_bundle_for_another_architecture_is_not_copied(world: World) -> None:
    """If it fails, a gigabyte is copied to a board that cannot run it."""
    device = world.connect()
    device._told["arch"] = "riscv64"
    with pytest.raises(BundleError, match="this device is riscv64"):
        world.verify(device=device)
    assert not world.board_folder.exists()


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"bits": 32, "arch": "armv7l"}, "32-bit"),
        ({"libc": ["", ""]}, "musl"),
        ({"libc": ["glibc", "2.17"]}, "glibc 2.17"),
    ],
)
def test_a_system_without_wheels_is_refused(world: World, told: dict[str, Any], words: str) -> None:
    """If it fails, the runner is copied to a system where its libraries do not load."""
    with world.connect() as device:
        device._told.update(told)
        with pytest.raises(SourceError, match=words):
            device.facts()


# ---- what the host accepts ---------------------------------------------------------------------------------------


class Signed:
    """What a device sends, well made; each part can be exchanged."""

    def __init__(self, world: World, **result: Any) -> None:
        self.store = KeyStore(world.root / "signer")
        self.store.create("board", "device")
        self.key = self.store.load_signing_key(role="device")
        opened = world.again()
        facts = make_result().bundle
        digests = {"bundle_digest": opened.bundle_digest, "behaviour_digest": opened.behaviour_digest}
        self.result = make_result(**({"bundle": replace(facts, **digests)} | result))
        fidelity = self.result.fidelity.as_checked() if self.result.fidelity else None
        checks = gates.check_all(opened.manifest.profile["budgets"], self.result, fidelity)
        self.made = attestation.new_attestation(
            opened,
            device_class=local_facts().device_class,
            device=local_facts().to_json(),
            checks=[attested(check) for check in checks],
            result=self.result.to_bytes(),
        )
        self.world = world

    def parts(self, made: attestation.Attestation | None = None) -> dict[str, Any]:
        place = self.world.root / "signed"
        place.mkdir(exist_ok=True)
        path = attestation.write_attestation(place, made or self.made, self.key)
        return {
            "result": self.result.to_bytes(),
            "signed": path.read_bytes(),
            "name": path.name,
            "key_pem": self.key.public.to_pem(),
        }

    def accept(self, **changes: Any) -> Proven:
        made = changes.pop("made", None)
        return accept(self.world.again(), self.world.store, ADDRESS, **(self.parts(made) | changes))


def test_a_good_answer_is_kept_byte_by_byte(world: World) -> None:
    """If it fails, the tests below prove nothing."""
    signed = Signed(world)
    proven = signed.accept()
    assert proven.verification.attestation_path is not None
    assert proven.verification.attestation_path.read_bytes() == signed.parts()["signed"]
    assert len(world.again().attestations) == 1
    assert read_pins(world.store.home / FILE) == {ADDRESS: signed.key.fingerprint}


def test_another_bundle_is_refused(world: World) -> None:
    """If it fails, the proof of one build counts for another."""
    signed = Signed(world, bundle=make_result().bundle)
    with pytest.raises(BundleError, match="measured another bundle"):
        signed.accept()
    with pytest.raises(BundleError, match="of another bundle"):
        signed.accept(made=replace(signed.made, bundle_digest="f" * 64))
    assert not world.attestations()


def test_another_device_class_is_refused(world: World) -> None:
    """If it fails, one board signs for every other kind of board."""
    signed = Signed(world)
    for name, words in (("aarch64-other", "another device class"), ("emulated-x", "another device class")):
        with pytest.raises(BundleError, match=words):
            signed.accept(made=replace(signed.made, device_class=name))
    emulated = replace(signed.result.environment, emulated="qemu")
    with pytest.raises(BundleError, match="device class"):
        Signed(World(world.root / "second"), environment=emulated).accept()


def test_a_verdict_that_does_not_follow_is_refused(world: World) -> None:
    """If it fails, a device may say "passed" of a result that fails its budgets."""
    signed = Signed(world)
    checks = (replace(signed.made.checks[0], detail="all is well"), *signed.made.checks[1:])
    with pytest.raises(BundleError, match="does not follow"):
        signed.accept(made=replace(signed.made, checks=checks))


def test_signatures_and_names(world: World) -> None:
    """If it fails, an attestation by nobody in particular is kept, or lands under a name of the device's choice."""
    signed = Signed(world)
    other = KeyStore(world.root / "other-signer")
    other.create("other", "device")
    other.create("maker", "builder")
    with pytest.raises(UntrustedError, match="by another key"):
        signed.accept(key_pem=other.public("other").to_pem())
    with pytest.raises(UntrustedError, match="no device key"):
        signed.accept(key_pem=b"nonsense")
    with pytest.raises(UntrustedError, match="gave a builder key"):
        signed.accept(key_pem=other.public("maker").to_pem())
    with pytest.raises(BundleError, match="another name"):
        signed.accept(name="../../x.json")
    broken = signed.parts()["signed"].replace(b'"sequence":1', b'"sequence":9')
    with pytest.raises(UntrustedError, match="was changed"):
        signed.accept(signed=broken)
    assert not world.attestations()
    assert not (world.store.home / FILE).exists()


def test_the_runner_is_made_of_what_the_board_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a board gets wheels of another Python, or the build's own rooms."""
    facts = BoardFacts("aarch64", None, (), "", "", 1, "/x")
    with pytest.raises(SourceError, match="no Python"):
        make_runner(facts, "onnxruntime", tmp_path, lambda _: None)
    asked: list[Any] = []

    def site(arch: str, python: tuple[int, int], wanted: Any, **_: Any) -> Path:
        asked.extend([arch, python, wanted])
        (tmp_path / "site").mkdir()
        (tmp_path / "site/numpy.py").write_text("")
        (tmp_path / "site/.edge-kept.json").write_text("{}")
        return tmp_path / "site"

    monkeypatch.setattr("edge.bench.remote.site_for", site)
    runner = make_runner(replace(facts, python=(3, 12)), "onnxruntime", tmp_path, lambda _: None)
    assert asked[:2] == ["aarch64", (3, 12)]
    assert runner.name == "onnxruntime-cp312"
    assert {"edge", "site/numpy.py", "lib/edge/bench/on_device.py"} <= set(runner.files)
    assert not any(name.startswith(("lib/edge/build", "site/.edge")) for name in runner.files)


def test_the_lock_is_of_the_process(world: World) -> None:
    """If it fails, a connection that died keeps the board locked."""
    for _ in range(2):
        with world.connect() as device:
            device.open()
    assert threading.active_count() < 20
    with pytest.raises(BundleError, match="leaves edge's folder"), world.connect() as device:
        device.ask({"do": "get", "name": "../../etc/passwd", "limit": 9})
