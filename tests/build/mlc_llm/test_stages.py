"""The whole line with a stand-in for `mlc_llm`: what is built, what is refused, and that nothing half-written stays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.build.mlc_llm.choices import RUNS_NOWHERE_HERE
from edge.bundle.keys import KeyStore
from edge.bundle.manifest import KNOWN_FEATURES
from edge.bundle.open import open_bundle
from edge.bundle.writer import BundleWriter
from edge.errors import BundleError, EdgeError, GateError, MissingToolError, ResourceError, SourceError, SpecError
from edge.runtime.engines import engine_factory
from tests.build.mlc_llm.conftest import BASE, Bench, install, write_model
from tests.tiny import CONFIGS

MODEL_FILES = {"mlc-chat-config.json", "tensor-cache.json", "tokenizer.json"}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def one_line(error: EdgeError) -> str:
    text = str(error)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


def test_android_bundle_from_profile_to_fidelity(bench: Bench) -> None:
    """If it fails, no bundle is made for Android by mlc_llm, or it says of itself what is not so."""
    build = bench.build()
    made = bench.run(build)
    model = {path.name for path in (build.folder / "model").iterdir()}
    shards = {name for name in model if name.startswith("params_shard_")}
    assert model - shards == MODEL_FILES | {"llama_q4f16_1.tar"}
    assert len(shards) > 1
    assert not (build.folder / "mlc_llm.work").exists()
    assert {"golden/cases.json", "golden/source.json", "sbom.cdx.json", "model_card.md"} <= files(build.folder)
    runtime = build.fields["runtime"]
    assert runtime["engine"] == "mlc_llm"
    assert runtime["mlc_llm"] == "0.20.dev123"
    assert (runtime["device"], runtime["quantization"]) == ("android:generic", "q4f16_1")
    assert runtime["run_on_build_host"] is False
    assert RUNS_NOWHERE_HERE in build.fields["required_features"]
    assert build.fields["tools"]["mlc-ai-nightly-cpu"] == "0.20.dev77"
    assert 0 < build.fidelity["mean_kl"]["mean"] < 1
    assert 0.02 < made["convert"]["weights"]["worst_relative_error"] < 0.15
    assert made["convert"]["source_linked"]
    assert "does not run on the build host" in made["golden"]["note"]


def test_the_runtime_here_does_not_pretend_to_run_it() -> None:
    """If it fails, an edge without MLC's runtime opens such a bundle as if it could answer with it."""
    with pytest.raises(BundleError, match="mlc_llm") as caught:
        engine_factory("mlc_llm", "bundle")
    one_line(caught.value)


def test_the_fidelity_budget_decides(bench: Bench) -> None:
    """If it fails, weights that lost too much ship because nothing can run them here."""
    fidelity = {"mean_kl_max": 1e-9, "top1_min": None, "perplexity_ratio_max": None, "greedy_agreement_min": None}
    build = bench.build(budgets={"fidelity": fidelity})
    with pytest.raises(GateError, match=r"mean KL is .*, the budget is 1e-09") as caught:
        bench.run(build)
    one_line(caught.value)
    assert build.fidelity["measured_on"] == "weights"


def test_the_clinical_suite_is_the_sources(bench: Bench) -> None:
    """If it fails, a device has nothing to hold the clinical budget against, or the bundle claims a self-test."""
    model = bench.place / "profiles" / "m"
    model.rename(model.with_name("old"))
    write_model(model, replace(BASE, max_positions=4096))
    budgets = {"clinical": {"suite": "differential"}}
    build = bench.build(context_tokens=4096, tasks=["differential"], budgets=budgets)
    # The tiny tokenizer makes a token of every letter, so that few cases fit.
    few = build.profile.budgets.clinical.model_copy(update={"cases_min": 1})
    build.profile = build.profile.model_copy(
        update={"budgets": build.profile.budgets.model_copy(update={"clinical": few})}
    )
    made = bench.run(build, "clinical")
    assert made["clinical"]["suite"]["cases"] >= 1
    assert "not run" in made["clinical"]["self_test"]
    assert (build.folder / "golden" / "suite.json").is_file()
    assert not (build.folder / "golden" / "clinical.json").exists()


@pytest.mark.skipif(RUNS_NOWHERE_HERE not in KNOWN_FEATURES, reason="the manifest does not know the feature yet")
def test_sealed_and_opened_again(bench: Bench, tmp_path: Path) -> None:
    """If it fails, what the stages write is no bundle: signature, listing or manifest do not hold."""
    keys = KeyStore(tmp_path / "home")
    keys.create("builder")
    key = keys.load_signing_key()
    with BundleWriter(tmp_path / "sealed") as writer:
        build = bench.build(writer.folder)
        bench.run(build)
        opened = writer.commit(build.fields, key)
    again = open_bundle(tmp_path / "sealed", keys.trust_store())
    assert again.bundle_digest == opened.bundle_digest
    assert again.manifest.runtime["library"] in {entry.path for entry in again.manifest.files}


def test_two_builds_are_the_same_bytes(bench: Bench) -> None:
    """If it fails, times or owners of the host are in the bundle (the command's archive carries them)."""
    first = bench.build(bench.place / "one" / "b")
    bench.run(first, "compile")
    second = bench.build(bench.place / "two" / "b")
    time.sleep(1.1)  # the archive's times have whole seconds
    bench.run(second, "compile")
    for name in files(first.folder):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes(), name


@pytest.mark.parametrize(
    ("target", "library", "device"),
    [
        ("browser", "llama_q4f32_1.wasm", "webgpu:generic"),
        ("raspberry-pi-5", "llama_q4f32_1.so", '"mcpu":"cortex-a76"'),
        ("x86_64-linux", "llama_q4f32_1.so", '"mcpu":"x86-64-v3"'),
        ("jetson-orin-nano", "llama_q4f16_1.so", '"arch":"sm_87"'),
    ],
)
def test_other_targets(bench: Bench, target: str, library: str, device: str) -> None:
    """If it fails, a target gets another form or processor than it can load."""
    seen = bench.place / "seen"
    bench.environment["MLC_FAKE_SEEN"] = str(seen)
    build = bench.build(target=target)
    bench.run(build, "compile")
    assert (build.folder / "model" / library).is_file()
    asked = json.loads(seen.read_text().splitlines()[-1])
    words = asked["words"]
    assert device in words[words.index("--device") + 1]
    if target == "raspberry-pi-5":
        assert words[words.index("--host") + 1] == "aarch64-linux-gnu"


def test_the_command_sees_no_text_and_no_secrets(bench: Bench) -> None:
    """If it fails, patient text or a credential of the host can end up in the command's log."""
    seen = bench.place / "seen"
    bench.environment["MLC_FAKE_SEEN"] = str(seen)
    build = bench.build()
    bench.run(build)
    asked = seen.read_text()
    assert [json.loads(line)["step"] for line in asked.splitlines()] == ["gen_config", "convert_weight", "compile"]
    logs = sorted(build.folder.parent.glob("tiny.mlc_llm.*.log"))
    assert [path.name.split(".")[2] for path in logs] == ["compile", "convert_weight", "gen_config"]
    for text in (asked, *(path.read_text() for path in logs)):
        assert "not for children" not in text
        assert "pain" not in text
        assert str(bench.place / "profiles" / "text") not in text


@pytest.mark.parametrize("merged_by", ["mlc_llm", "edge"])
def test_the_adapter_is_merged_by_whom_the_build_says(
    bench: Bench, adapter: Callable[..., dict[str, Any]], merged_by: str
) -> None:
    """If it fails, a version without --lora-adapter loses the adapter, or the manifest names the wrong one."""
    if merged_by == "edge":
        bench.environment["MLC_FAKE_NO_LORA"] = "1"
    build = bench.build(**adapter())
    made = bench.run(build, "describe")
    assert made["sources"]["adapter_merged_by"] == merged_by
    assert made["convert"]["adapter"]["share"] == pytest.approx(1, abs=0.1)
    assert build.fields["runtime"]["adapter_merged_by"] == merged_by
    assert build.fields["adapter"] == {"digest": build.adapter_digest}


@pytest.mark.parametrize("size", [1.0, 0.1])
def test_an_adapter_that_was_not_merged_is_found(
    bench: Bench, adapter: Callable[..., dict[str, Any]], size: float
) -> None:
    """If it fails, the base model ships under the name of the fine-tuned one (small changes hide in rounding)."""
    bench.environment["MLC_FAKE"] = "convert_weight:noadapter"
    build = bench.build(**adapter(size))
    with pytest.raises(SourceError, match=r"reads back otherwise|adapter is not in the built weights") as caught:
        bench.run(build)
    one_line(caught.value)


FAULTS = [
    ("gen_config:exit", SourceError, r"ended with status 1 \(ValueError: Unknown model type: nobody\)"),
    ("gen_config:nothing", SourceError, "wrote no mlc-chat-config.json"),
    ("gen_config:broken", SourceError, "wrote a broken mlc-chat-config.json"),
    ("gen_config:rope", SourceError, "rotary base 10000"),
    ("gen_config:context", SourceError, "context_window_size 17, the profile and the model ask for 256"),
    ("gen_config:tokenizer", SourceError, "changed tokenizer.json"),
    ("convert_weight:segv", SourceError, "crashed with signal 11"),
    ("convert_weight:kill", ResourceError, "lack of memory"),
    ("convert_weight:nothing", SourceError, "wrote no tensor-cache.json"),
    ("convert_weight:broken", SourceError, "wrote a broken tensor-cache.json"),
    ("convert_weight:short", SourceError, r"params_shard_\d+.bin has \d+ bytes, its record says"),
    ("convert_weight:md5", SourceError, r"not what its record says \(md5\)"),
    ("convert_weight:gap", SourceError, "wrong place or size"),
    ("convert_weight:stray", SourceError, "params_shard_99.bin is in no record"),
    ("convert_weight:permute", SourceError, "model.layers.1.mlp.down_proj.weight reads back otherwise"),
    ("convert_weight:drop", SourceError, "parameter model.norm.weight is missing"),
    ("convert_weight:extra", SourceError, "is not one of this model"),
    ("convert_weight:shape", SourceError, r"float16 \[3\], the model needs float16 \[64\]"),
    ("compile:exit", SourceError, "mlc_llm compile ended with status 1"),
    ("compile:nothing", SourceError, "wrote no llama_q4f16_1.tar"),
    ("compile:empty", SourceError, "left llama_q4f16_1.tar empty"),
    ("compile:short", SourceError, "no whole tar archive"),
    ("compile:arch", SourceError, "machine 40, not aarch64"),
]


@pytest.mark.parametrize(("fault", "kind", "words"), FAULTS, ids=[item[0] for item in FAULTS])
def test_every_fault_is_one_line_and_leaves_nothing(
    bench: Bench, fault: str, kind: type[EdgeError], words: str
) -> None:
    """If it fails, a broken output of the command ships, or a crash leaves a traceback or half a bundle."""
    bench.environment["MLC_FAKE"] = fault
    place = bench.place / "out" / "tiny"
    with pytest.raises(kind, match=words) as caught, BundleWriter(place) as writer:
        bench.run(bench.build(writer.folder), "compile")
    one_line(caught.value)
    left = [path.name for path in place.parent.iterdir()]
    assert all(name.startswith("tiny.mlc_llm.") and name.endswith(".log") for name in left), left


def test_a_command_that_hangs_is_ended(bench: Bench) -> None:
    """If it fails, a build waits for ever, or the command goes on after the build has given up."""
    bench.environment["MLC_FAKE"] = "convert_weight:hang"
    build = bench.build()
    with pytest.raises(ResourceError, match="mlc_llm convert_weight took over 1 s") as caught:
        bench.run(build, timeouts_s={"convert_weight": 1.0})
    assert ".mlc_llm.convert_weight.log" in one_line(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quantisation": {"scheme": "int8"}}, "scheme 'int8' has no counterpart in mlc_llm"),
        ({"quantisation": {"scheme": "int4", "head_bits": 4, "block_size": 64}}, "block_size 64 has no counterpart"),
        ({"quantisation": {"scheme": "int4", "head_bits": 4, "symmetric": False}}, "symmetric false"),
        ({"quantisation": {"scheme": "int4"}}, "head_bits 8 has no counterpart.*write head_bits: 4"),
        ({"export": "optimum"}, "export: optimum goes with backend: onnx only"),
        ({"context_tokens": 512}, "context_tokens is 512, the model has 256 positions"),
    ],
)
def test_profiles_without_a_counterpart(bench: Bench, changes: dict[str, Any], words: str) -> None:
    """If it fails, something near what the profile asks for is built in silence."""
    with pytest.raises(SpecError, match=words) as caught:
        bench.run(bench.build(**changes), "sources")
    one_line(caught.value)


@pytest.mark.parametrize("name", ["qwen2-bias", "qwen3-qk-norm", "llama3-rope", "llama-untied", "no-groups"])
@pytest.mark.parametrize("scheme", ["int4", "none"])
def test_families(bench: Bench, name: str, scheme: str) -> None:
    """If it fails, parameters of a family are named, joined or shaped otherwise than mlc_llm does."""
    config = CONFIGS[name]
    if name == "llama-untied":
        config = CONFIGS["no-groups"].__class__.from_json(config.to_json() | {"vocab_size": 310})
    model = bench.place / "profiles" / "m"
    model.rename(model.with_name("old"))
    write_model(model, config)
    build = bench.build(quantisation={"scheme": scheme, "head_bits": 4})
    bench.run(build, "convert")


@pytest.mark.parametrize(
    ("name", "words"), [("linear-rope", "rope scaling 'linear'"), ("mistral-sliding", "window of 5")]
)
def test_families_that_it_would_compute_otherwise(bench: Bench, name: str, words: str) -> None:
    """If it fails, the library computes another model than the source."""
    model = bench.place / "profiles" / "m"
    model.rename(model.with_name("old"))
    config = CONFIGS[name]
    extra = {"sliding_window": 5} if config.sliding_window else {}
    write_model(model, config, **extra)
    with pytest.raises(SpecError, match=words):
        bench.run(bench.build(), "sources")


def test_an_index_of_an_older_version_is_read(bench: Bench) -> None:
    """If it fails, versions before the index was renamed cannot be used."""
    bench.environment["MLC_FAKE_OLD_INDEX"] = "1"
    made = bench.run(bench.build(), "convert")
    assert made["convert"]["index"] == "ndarray-cache.json"


def test_a_missing_linker_or_sdk_is_said_first(bench: Bench, tmp_path: Path) -> None:
    """If it fails, minutes pass before the engineer hears that a program is not installed."""
    environment = install(tmp_path / "bare")
    (tmp_path / "bare" / "bin" / "emcc").unlink()
    bench.environment = environment
    with pytest.raises(MissingToolError, match=r"'emcc'.*install the Emscripten SDK") as caught:
        bench.run(bench.build(target="browser"), "sources")
    one_line(caught.value)
    for wrong in ({}, {"MLC_LLM_SOURCE_DIR": str(tmp_path)}):
        kept = {key: value for key, value in install(tmp_path / f"{len(wrong)}").items() if "SOURCE" not in key}
        bench.environment = kept | wrong
        with pytest.raises(MissingToolError, match=r"MLC_LLM_SOURCE_DIR.*web runtime") as caught:
            bench.run(bench.build(target="browser"), "sources")
        one_line(caught.value)
