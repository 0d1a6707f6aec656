"""Every model on every target: nothing is left out, and the arithmetic keeps its laws."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.build.ledger import RUNTIME_BYTES, TVM_LIBRARY_BYTES, TVM_RUNTIME_BYTES
from edge.build.plan import Plan, plan
from edge.build.plan_all import BACKENDS, DEFAULT_CONTEXT_TOKENS, MODELS, Backend, plan_everything, settings
from edge.build.plan_all_text import weight_bytes
from edge.errors import SpecError
from edge.specs.profile import Quantisation, load_profile
from edge.specs.target import load_target

ROOT = Path(__file__).parents[2]
PROFILES = {path.stem: load_profile(path) for path in sorted((ROOT / "profiles").glob("*.yaml"))}
TARGETS = {path.stem: load_target(path) for path in sorted((ROOT / "targets").glob("*.yaml"))}
OVERVIEW = plan_everything(ROOT / "profiles")

CELLS = st.tuples(st.sampled_from(MODELS), st.sampled_from(sorted(TARGETS)), st.sampled_from(BACKENDS))


def planned(model_key: str, target: str, backend: Backend, **changes: object) -> Plan:
    """A cell's plan with some fields of its settings changed."""
    model = {model.key: model for model in MODELS}[model_key]
    profile, _ = settings(model, TARGETS[target], backend, PROFILES)
    config = profile.model.decoder()
    assert config is not None
    return plan(profile.model_copy(update=changes), TARGETS[target], config)


def test_every_model_target_and_backend_is_there_once() -> None:
    """A target that is missing from the table looks like one that was never thought of."""
    found = [(cell.model, cell.target, cell.backend) for cell in OVERVIEW.cells]
    assert sorted(found) == sorted(
        (model.key, target, backend) for model in MODELS for target in TARGETS for backend in BACKENDS
    )
    assert {plan.profile for plan in OVERVIEW.profiles} == set(PROFILES)


def test_a_profile_comes_before_the_default() -> None:
    """What somebody wrote for a device says more about it than a default."""
    for cell in OVERVIEW.cells:
        if cell.profile:
            assert PROFILES[cell.profile].target == cell.target
            assert cell.plan.context_tokens == PROFILES[cell.profile].context_tokens
        else:
            assert cell.plan.context_tokens == DEFAULT_CONTEXT_TOKENS
            assert cell.plan.quantisation == "int4, blocks of 32, head int8, rtn"
    by_cell = {(cell.model, cell.target, cell.backend): cell.profile for cell in OVERVIEW.cells}
    assert by_cell["llama-3.2-1b", "raspberry-pi-5", "onnx"] == "llama-3.2-1b-pi5"
    assert by_cell["smollm2-135m", "x86_64-linux", "onnx"] == "reference-notes"
    assert by_cell["smollm2-135m", "x86_64-linux", "mlc"] == "reference-notes-mlc"
    assert by_cell["llama-3.2-3b", "raspberry-pi-4", "onnx"] == ""


def test_a_profile_of_the_backend_comes_before_one_of_the_other() -> None:
    """A profile for mlc, once written, is what the mlc row shows."""
    model = MODELS[0]
    own = PROFILES["llama-3.2-1b-pi5"].model_copy(update={"name": "own-mlc", "backend": "mlc", "context_tokens": 1024})
    known = {name: profile for name, profile in PROFILES.items() if profile.backend == "onnx"} | {"own-mlc": own}
    target = TARGETS["raspberry-pi-5"]
    assert settings(model, target, "mlc", known)[0] == own
    assert settings(model, target, "onnx", known)[1] == "llama-3.2-1b-pi5"


def test_a_no_has_its_numbers_and_gpt_oss_is_arithmetic_only() -> None:
    """A yes for a model that nothing here can build would be a promise."""
    for cell in OVERVIEW.cells:
        fits = cell.plan.needed_bytes <= cell.plan.available_bytes
        assert cell.plan.fits == fits
        assert cell.plan.reason.startswith("Yes: needs" if fits else "No: needs")
        unbuildable = cell.model == "gpt-oss-20b" or (
            cell.backend == "mlc" and cell.target in ("browser", "android-arm64")
        )
        assert cell.arithmetic_only == unbuildable
    assert {cell.target for cell in OVERVIEW.of("gpt-oss-20b") if cell.plan.fits} == {"jetson-agx-orin"}


def test_the_ledger_of_a_row_adds_up() -> None:
    """What the columns show must be all of what is needed."""
    for cell in OVERVIEW.cells:
        parts = [cell.plan.item(name).size_bytes for name in ("kv_cache", "activations", "runtime", "ui")]
        assert weight_bytes(cell.plan) + sum(parts) == cell.plan.needed_bytes


@given(cell=CELLS, contexts=st.tuples(st.integers(256, 131_072), st.integers(256, 131_072)))
def test_a_larger_context_never_takes_less(cell: tuple, contexts: tuple[int, int]) -> None:  # type: ignore[type-arg]
    """Law, for every model, target and backend: memory and disk grow with the context, the ceiling falls."""
    model, target, backend = cell
    short, long = (planned(model.key, target, backend, context_tokens=tokens) for tokens in sorted(contexts))
    assert short.needed_bytes <= long.needed_bytes
    assert short.peak_rss_bytes <= long.peak_rss_bytes
    assert short.disk_bytes <= long.disk_bytes
    assert short.decode_ceiling_tokens_per_s >= long.decode_ceiling_tokens_per_s


@given(cell=CELLS, block=st.sampled_from([32, 64, 128]), head_bits=st.sampled_from([4, 8]))
def test_the_ceiling_falls_with_the_bytes(cell: tuple, block: int, head_bits: int) -> None:  # type: ignore[type-arg]
    """Law: more bytes a token, fewer tokens; and the ceiling times the bytes is the bandwidth."""
    model, target, backend = cell
    plans = [
        planned(
            model.key,
            target,
            backend,
            quantisation=Quantisation(scheme=scheme, block_size=block, head_bits=head_bits),
        )
        for scheme in ("int4", "int8", "none")
    ]
    assert [p.token_read_bytes for p in plans] == sorted(p.token_read_bytes for p in plans)
    ceilings = [p.decode_ceiling_tokens_per_s for p in plans]
    assert ceilings == sorted(ceilings, reverse=True)
    for p in plans:
        bandwidth = p.decode_ceiling_tokens_per_s * p.low_token_read_bytes
        assert bandwidth == pytest.approx(TARGETS[target].memory_bandwidth_bytes_per_s)


def test_the_empty_context_is_the_upper_end() -> None:
    """No row may show a speed at half the context above that at none."""
    for cell in OVERVIEW.cells:
        assert cell.empty_ceiling_tokens_per_s >= cell.plan.decode_ceiling_tokens_per_s
        assert cell.low_empty_ceiling_tokens_per_s >= cell.plan.decode_ceiling_low_tokens_per_s
        assert cell.empty_ceiling_tokens_per_s >= cell.low_empty_ceiling_tokens_per_s


def test_mlc_has_the_same_weights_and_its_own_runtime() -> None:
    """The engine tvm reads the same bytes without a packed copy, holds less before them, and ships its library."""
    onnx = planned("llama-3.2-1b", "raspberry-pi-5", "onnx")
    mlc = planned("llama-3.2-1b", "raspberry-pi-5", "mlc")
    assert mlc.item("weights") == onnx.item("weights")
    assert 2 * mlc.item("scales").size_bytes == onnx.item("scales").size_bytes
    assert mlc.item("file_pages").size_bytes == 0
    assert onnx.item("runtime").size_bytes - mlc.item("runtime").size_bytes == RUNTIME_BYTES - TVM_RUNTIME_BYTES
    assert mlc.disk_bytes - onnx.disk_bytes == TVM_LIBRARY_BYTES
    assert "TVM runtime" in mlc.item("runtime").note


def test_notes_about_onnxruntime_stay_with_it() -> None:
    """What onnxruntime-web lacks says nothing about another engine."""
    for cell in OVERVIEW.cells:
        if cell.backend == "mlc":
            assert not any("onnxruntime" in note or "MatMulNBits" in note for note in cell.plan.notes)


def test_json_says_that_it_is_computed() -> None:
    """A program that reads it must not take it for a measurement."""
    value = json.loads(json.dumps(OVERVIEW.to_json()))
    assert value["computed"] is True
    assert len(value["cells"]) == len(OVERVIEW.cells)
    assert len(value["profiles"]) == len(PROFILES)
    for row in value["published"]:
        assert row["decode_tokens_per_s"][1] <= row["ceiling_tokens_per_s"]


def test_a_folder_without_profiles_is_one_line(tmp_path: Path) -> None:
    """Run in the wrong folder, the command must say so and not print an empty table."""
    with pytest.raises(SpecError, match="there are no profiles here; run it where profiles/ is"):
        plan_everything(tmp_path / "profiles")


def test_models_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    """Somebody's own folder of profiles works too, and shows no speeds of models it does not hold."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "targets").symlink_to(ROOT / "targets")
    text = (ROOT / "profiles" / "llama-3.2-1b-pi5.yaml").read_text(encoding="utf-8")
    (tmp_path / "profiles" / "llama-3.2-1b-pi5.yaml").write_text(text, encoding="utf-8")
    overview = plan_everything(tmp_path / "profiles", extra=[ROOT / "profiles" / "reference-notes.yaml"])
    assert [model.key for model in overview.models] == ["llama-3.2-1b"]
    assert {anchor.model for anchor in overview.anchors} == {"llama-3.2-1b"}
    assert [item.profile for item in overview.profiles] == ["reference-notes", "llama-3.2-1b-pi5"]
