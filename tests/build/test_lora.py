"""An adapter beside its base: the graph computes what a merge computes, and the base's file never changes with it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.build.export import export_native, uniform_formats
from edge.build.graph import ADAPTER_FILE, MODEL_FILE, WEIGHTS_FILE, ExportPlan
from edge.build.graph_builder import factor_names
from edge.build.lora import adapted_matrices, adapter_shape, check_adapter, factor_dtype, joined_factors
from edge.build.quantise import QuantFormat
from edge.build.readback import BuiltModel
from edge.build.reference import Reference, matrix_parts, read_layer
from edge.errors import SourceError
from edge.runtime.exactness import largest_difference
from edge.specs.decoder import DecoderConfig
from tests.tiny import BASE, CONFIGS, CONTEXT_TOKENS, MemorySource, engine, export, tiny_ids, tiny_source

FLOAT32, FLOAT16 = np.dtype(np.float32), np.dtype(np.float16)
LOW, HEAD = QuantFormat(4, 32, False), QuantFormat(8, 32, True)
PARTS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Lora:
    """A FactorSource in memory: {tensor: (A, B)} on a base."""

    base: MemorySource
    pairs: dict[str, Pair]

    @property
    def config(self) -> DecoderConfig:
        return self.base.config

    def shape(self, name: str) -> tuple[int, ...]:
        return self.base.shape(name)

    def factors(self, name: str) -> Pair | None:
        return self.pairs.get(name)

    @property
    def shapes(self) -> dict[str, tuple[int, int, int]]:
        return {name: (len(a), len(b), a.shape[1]) for name, (a, b) in self.pairs.items()}

    def merged(self) -> MemorySource:
        """The base with the change in its weights."""
        changed = {name: (b.astype(np.float64) @ a + self.base.tensors[name]) for name, (a, b) in self.pairs.items()}
        tensors = self.base.tensors | {name: values.astype(np.float32) for name, values in changed.items()}
        return MemorySource(self.config, tensors)


def lora(
    config: DecoderConfig = BASE, parts: tuple[str, ...] = PARTS, rank: int = 4, seed: int = 5, size: float = 0.5
) -> Lora:
    """Random factors for the named projections; `size`: the change's part of the weights, about."""
    base, rng = tiny_source(config), np.random.default_rng(seed)
    pairs = {}
    for name, tensor in base.tensors.items():
        if name.removesuffix(".weight").rpartition(".")[2] in parts:
            rows, columns = tensor.shape
            a = rng.standard_normal((rank, columns)) / np.sqrt(columns)
            b = rng.standard_normal((rows, rank)) * size / np.sqrt(rank)
            pairs[name] = a.astype(np.float16).astype(np.float32), b.astype(np.float16).astype(np.float32)
    return Lora(base, pairs)


def beside(folder: Path, adapter: Lora, format: QuantFormat | None = None, **options: object) -> Path:
    """Export the base with the adapter beside it."""
    return export(folder, adapter.base, format, head=HEAD if format else None, adapter=adapter, **options)


def logits_of(folder: Path, ids: list[int]) -> np.ndarray:
    built = engine(folder)
    try:
        return built.forward(ids, range(len(ids)))
    finally:
        built.close()


@pytest.mark.parametrize("name", CONFIGS)
def test_beside_equals_merged(tmp_path: Path, name: str) -> None:
    """In every family: with B's blocks in the wrong place, or the head forgotten, the fine-tune is another one."""
    adapter = lora(CONFIGS[name])
    ids = tiny_ids(30, adapter.config)
    found = logits_of(beside(tmp_path / "beside", adapter, factor_dtype=FLOAT32), ids)
    assert np.abs(found - logits_of(export(tmp_path / "merged", adapter.merged()), ids)).max() < 1e-3
    assert np.abs(found - logits_of(export(tmp_path / "base", adapter.base), ids)).max() > 0.1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    parts=st.lists(st.sampled_from(PARTS[:7]), min_size=1, unique=True),
    rank=st.sampled_from([1, 3, 16, 40]),
    seed=st.integers(0, 1000),
)
def test_any_choice_of_modules_and_rank(parts: list[str], rank: int, seed: int) -> None:
    """The law: base(x) + B A x = (base + B A) x, whichever projections are adapted, with factors stored as float16."""
    adapter = lora(BASE, tuple(parts), rank, seed)
    ids = tiny_ids(9)
    with tempfile.TemporaryDirectory() as place:
        found = logits_of(beside(Path(place) / "b", adapter), ids)
        wanted = Reference(adapter.merged(), [ids])
        assert np.abs(found - wanted.logits(wanted.run())).max() < 2e-3
        with BuiltModel(Path(place) / "b", BASE) as built:
            present = [name for name, tensors in adapted_matrices(BASE).items() if joined_factors(adapter, tensors)]
            assert check_adapter(adapter, built, FLOAT16) == 2 * len(present) > 0
            shape = adapter_shape(BASE, adapter.shapes, FLOAT16)
            assert shape.file_bytes == (Path(place) / "b" / ADAPTER_FILE).stat().st_size
            stored = [factor for name in present for factor in built.factors(name) or ()]
            assert shape.values == sum(factor.size for factor in stored)


def test_the_base_file_knows_no_adapter(tmp_path: Path) -> None:
    """An adapter-only update moves megabytes only while the large file is the same bytes with any and with none."""
    first, second = lora(seed=1), lora(seed=2)
    folders = [
        beside(tmp_path / "first", first, LOW),
        beside(tmp_path / "second", second, LOW),
        beside(tmp_path / "other", lora(parts=("q_proj", "down_proj"), rank=2), LOW),
        export(tmp_path / "none", first.base, LOW, head=HEAD),
    ]
    assert len({(folder / WEIGHTS_FILE).read_bytes() for folder in folders}) == 1
    graphs = [(folder / MODEL_FILE).read_bytes() for folder in folders]
    # The graph knows the adapter's shape, never its values.
    assert graphs[0] == graphs[1]
    assert len(set(graphs)) == 3
    assert (folders[0] / ADAPTER_FILE).read_bytes() != (folders[1] / ADAPTER_FILE).read_bytes()
    assert not (folders[3] / ADAPTER_FILE).exists()


def test_same_bytes_twice(tmp_path: Path) -> None:
    """The same profile must give the same bundle digest twice, with an adapter beside its base too."""
    folders = [beside(tmp_path / name, lora(CONFIGS["qwen2-bias"]), LOW) for name in "ab"]
    for file in (MODEL_FILE, WEIGHTS_FILE, ADAPTER_FILE):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()
        assert str(tmp_path).encode() not in (folders[0] / file).read_bytes()


@pytest.mark.parametrize("name", ["llama-untied", "qwen3-qk-norm"])
def test_read_back_is_what_the_engine_computes(tmp_path: Path, name: str) -> None:
    """Golden cases are computed from the files: without the adapter in them, every device would fail its test."""
    adapter = lora(CONFIGS[name])
    ids = tiny_ids(20, adapter.config)
    folder = beside(tmp_path / "m", adapter, LOW)
    reference = Reference(adapter.base, [ids])
    with BuiltModel(folder, adapter.config) as built:
        hidden = built.embedding_rows(reference.token_ids)
        for layer in range(adapter.config.layers):
            hidden = reference.layer(hidden, built.layer(layer, read_layer(adapter.base, layer)))
        wanted = reference.logits(hidden, built.head())
        # Rows that begin and end inside gate and inside up.
        whole, columns = built.matrix_of(1, "gate_up"), adapter.config.hidden_size
        assert built.matrix("layers.1.gate_up", columns, 90, 101).tobytes() == whole[90:101].tobytes()
        factors = built.factors("layers.1.up")
        assert factors is not None
        assert [factor.dtype for factor in factors] == [FLOAT16, FLOAT16]
        assert built.factors("layers.1.gate_up") is None
    assert np.abs(logits_of(folder, ids) - wanted).max() < 1e-3


@pytest.mark.parametrize("accuracy_level", [0, 4])
def test_any_cut_of_a_text_gives_the_same_logits(tmp_path: Path, accuracy_level: int) -> None:
    """Drafts and jump-forward rest on it: the adapter's narrow products must keep the promise of the wide ones."""
    folder = beside(tmp_path / "m", lora(rank=16), LOW, accuracy_level=accuracy_level)
    built = engine(folder)
    try:
        assert largest_difference(built, tiny_ids(CONTEXT_TOKENS - 4)) == 0.0
    finally:
        built.close()


def test_q_k_and_v_stand_on_a_diagonal() -> None:
    """One product for three projections: another's columns in B would mix q into k; a missing part changes nothing."""
    adapter = lora(parts=("q_proj", "v_proj"), rank=3)
    parts = matrix_parts(0, "qkv")
    joined = joined_factors(adapter, parts)
    assert joined is not None
    a, b = joined
    assert a.shape == (6, 64)
    assert b.shape == (64 + 2 * 32, 6)
    assert not b[:64, 3:].any() and not b[64:96].any() and not b[96:, :3].any()
    wanted = [bb @ aa for aa, bb in (adapter.pairs[parts[0]], adapter.pairs[parts[2]])]
    np.testing.assert_allclose((b @ a)[:64], wanted[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose((b @ a)[96:], wanted[1], rtol=1e-6, atol=1e-6)
    assert joined_factors(adapter, matrix_parts(0, "o")) is None


@pytest.mark.parametrize("label", factor_names("layers.1.up"))
def test_a_changed_factor_is_found(tmp_path: Path, label: str) -> None:
    """What was written is read back: a flipped bit in a factor must end the build, not reach a ward."""
    adapter = lora()
    folder = beside(tmp_path / "m", adapter, LOW)
    with BuiltModel(folder, BASE) as built:
        assert check_adapter(adapter, built, FLOAT16) == 2 * len(adapted_matrices(BASE))
        offset = int(built._tensors[label].offset or 0)
    data = bytearray((folder / ADAPTER_FILE).read_bytes())
    data[offset] ^= 1
    (folder / ADAPTER_FILE).write_bytes(data)
    with BuiltModel(folder, BASE) as built, pytest.raises(SourceError, match=r"'layers\.1\.up' does not read back"):
        check_adapter(adapter, built, FLOAT16)


def test_a_factor_beyond_float16_is_refused(tmp_path: Path) -> None:
    """An infinity in a factor is a model that writes one word for ever."""
    adapter = lora()
    adapter.pairs["model.layers.0.self_attn.o_proj.weight"][1][0, 0] = 70_000
    (tmp_path / "m").mkdir()
    plan = ExportPlan(uniform_formats(BASE, LOW), HEAD, CONTEXT_TOKENS, 0)
    with pytest.raises(SourceError, match=r"'layers\.0\.o' has a value beyond float16"):
        export_native(adapter.base, plan, tmp_path / "m", adapter=adapter)


def test_the_factors_dtype_and_the_rank_in_words() -> None:
    """A float32 base keeps float32 factors; ranks that differ are said as a range."""
    assert (factor_dtype("none"), factor_dtype("mixed"), factor_dtype("int8")) == (FLOAT32, FLOAT16, FLOAT16)
    shapes = lora(rank=4).shapes
    assert adapter_shape(BASE, shapes, FLOAT16).rank_text == "4"
    name = next(iter(shapes))
    assert adapter_shape(BASE, shapes | {name: (8, *shapes[name][1:])}, FLOAT16).rank_text == "4 to 8"
