"""GGUF files: names, rows put back in order, exact dequantised values, metadata, damage."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.build.checkpoint import open_checkpoint
from edge.build.checkpoint.gguf_file import GgufCheckpoint
from edge.errors import SourceError
from edge.specs.decoder import RopeScaling

Kind = gguf.GGMLQuantizationType


def open_tiny(path: Path) -> GgufCheckpoint:
    return GgufCheckpoint(path, digest="0" * 64, license_id="Apache-2.0")


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0, Kind.Q4_1, Kind.Q5_1])
def test_values_are_the_dequantised_ones_in_hugging_face_order(tiny, tmp_path: Path, kind: Kind) -> None:
    """Rows of q and k left interleaved give a model that runs and talks nonsense."""
    tensors = tiny.gguf(tmp_path / "m.gguf", quantisation=kind)
    checkpoint = open_tiny(tmp_path / "m.gguf")
    assert set(checkpoint.names()) == set(tensors)
    for name, value in tensors.items():
        read = checkpoint.read(name)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, value, err_msg=name)
    checkpoint.close()


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_families_whose_rows_are_not_interleaved(tiny, tmp_path: Path, family: str) -> None:
    """Putting back what was never interleaved would break Qwen."""
    tensors = tiny.gguf(tmp_path / "m.gguf", model_type=family, tie_word_embeddings=False)
    checkpoint = open_tiny(tmp_path / "m.gguf")
    assert checkpoint.config.attention_bias is (family == "qwen2")
    assert checkpoint.config.qk_norm is (family == "qwen3")
    assert checkpoint.config.tie_embeddings is False
    assert set(checkpoint.names()) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(checkpoint.read(name), value, err_msg=name)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bounds=st.tuples(st.integers(0, 64), st.integers(0, 64)).map(sorted), slab=st.sampled_from([64, 2048, 1 << 19]))
def test_any_slice_of_interleaved_rows_is_the_slice_of_the_whole(
    tiny, tmp_path: Path, bounds: list[int], slab: int
) -> None:
    """A slice may begin and end within a head."""
    path = tmp_path / "m.gguf"
    if not path.exists():
        tiny.gguf(path, quantisation=Kind.Q4_1)
    checkpoint = open_tiny(path)
    name = "model.layers.1.self_attn.q_proj.weight"
    whole = checkpoint.read(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edge.build.checkpoint.rows.SLAB_VALUES", slab)
        np.testing.assert_array_equal(checkpoint.read(name, *bounds), whole[slice(*bounds)])
    checkpoint.close()


def test_config_and_digest(tiny, tmp_path: Path, cache) -> None:
    """1e-5 is stored as a float32; its float64 expansion would be another epsilon in the graph."""
    path = tmp_path / "m.gguf"
    tiny.gguf(path, extra=lambda writer: (writer.add_basename("tiny"), writer.add_size_label("1M")))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    checkpoint = open_checkpoint(tiny.spec("gguf:m.gguf", digest.upper()), cache, base_folder=tmp_path)
    config = checkpoint.config
    assert checkpoint.digest == digest
    assert checkpoint.base_name == "tiny-1M"
    assert (config.family, config.layers, config.heads, config.kv_heads, config.head_dim) == ("llama", 2, 4, 2, 16)
    assert (config.rms_norm_eps, config.rope_theta, config.max_positions) == (1e-5, 100000.0, 256)
    assert config.tie_embeddings is True
    assert config.rope_scaling is None
    assert (config.bos_token_id, config.eos_token_ids) == (1, (2,))


def llama3_factors(count: int, theta: float, factor: float, high: float = 4.0) -> np.ndarray:
    """As llama.cpp's converter writes them, in float32."""
    result = []
    for frequency in 1.0 / (theta ** (np.arange(0, count, dtype=np.float32) / count)):
        wavelength = 2 * math.pi / float(frequency)
        if wavelength < 8192 / high:
            result.append(1.0)
        elif wavelength > 8192:
            result.append(factor)
        else:
            smooth = (8192 / wavelength - 1.0) / (high - 1.0)
            result.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(result, dtype=np.float32)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama3_scaling_is_recognised(tiny, tmp_path: Path, factor: float) -> None:
    """Without it Llama 3.x loses its way beyond the first few hundred tokens."""
    tiny.gguf(tmp_path / "m.gguf", rope_theta=500000.0, rope_factors=llama3_factors(8, 500000.0, factor))
    scaling = open_tiny(tmp_path / "m.gguf").config.rope_scaling
    assert scaling == RopeScaling("llama3", factor, 1.0, 4.0, 8192)


def test_factors_of_one_are_no_scaling(tiny, tmp_path: Path) -> None:
    tiny.gguf(tmp_path / "m.gguf", rope_factors=np.ones(8))
    assert open_tiny(tmp_path / "m.gguf").config.rope_scaling is None


@pytest.mark.parametrize(
    ("factors", "says"),
    [(llama3_factors(8, 500000.0, 8.0, high=6.0), "not a known llama3 scaling"), (np.ones(9), "shape [9]")],
)
def test_unknown_factors_are_refused(tiny, tmp_path: Path, factors: np.ndarray, says: str) -> None:
    """A guessed scaling would be wrong only at long contexts, where nobody looks."""
    tiny.gguf(tmp_path / "m.gguf", rope_theta=500000.0, rope_factors=factors)
    with pytest.raises(SourceError) as caught:
        open_tiny(tmp_path / "m.gguf")
    tiny.line(caught.value, says)


def add(key: str, value: Any, kind: str = "uint32") -> Any:
    return lambda writer: getattr(writer, f"add_{kind}")(key, value)


@pytest.mark.parametrize(
    ("extra", "changes", "says"),
    [
        (None, {"model_type": "falcon"}, "known: llama, qwen2, qwen3"),
        (add("llama.expert_count", 8), {}, "experts"),
        (add("general.type", "mmproj", "string"), {}, "type 'mmproj'"),
        (add("split.count", 2, "uint16"), {}, "split GGUF"),
        (add("llama.rope.dimension_count", 8), {}, "rope.dimension_count is 8"),
        (add("llama.rope.scaling.type", "spiral", "string"), {}, "rope scaling 'spiral'"),
        (lambda writer: writer.add_tensor("blk.0.attn_output.bias", np.ones(64, np.float32)), {}, "o_proj.bias"),
        (None, {"num_key_value_heads": 1, "num_attention_heads": 3}, "do not go with"),
        (None, {"pre": ""}, "tokenizer"),
    ],
)
def test_a_file_that_cannot_be_built_is_one_line(
    tiny, tmp_path: Path, extra: Any, changes: dict[str, Any], says: str
) -> None:
    """Each of these would build a model that is quietly another one."""
    if changes.get("num_attention_heads") == 3:
        tiny.gguf(
            tmp_path / "m.gguf", extra=lambda w: w.add_key_length(15), hidden_size=60, intermediate_size=96, **changes
        )
    else:
        tiny.gguf(tmp_path / "m.gguf", extra=extra, **changes)
    with pytest.raises(SourceError) as caught:
        open_tiny(tmp_path / "m.gguf")
    tiny.line(caught.value, says)


def test_linear_scaling_is_passed_on(tiny, tmp_path: Path) -> None:
    """The planner knows it; the native export refuses it by itself."""

    def extra(writer: gguf.GGUFWriter) -> None:
        writer.add_string("llama.rope.scaling.type", "linear")
        writer.add_float32("llama.rope.scaling.factor", 4.0)

    tiny.gguf(tmp_path / "m.gguf", extra=extra)
    scaling = open_tiny(tmp_path / "m.gguf").config.rope_scaling
    assert scaling is not None
    assert (scaling.kind, scaling.factor) == ("linear", 4.0)


def test_tokenizer_files_come_from_the_metadata(tiny, tmp_path: Path) -> None:
    tiny.gguf(tmp_path / "m.gguf")
    files = open_tiny(tmp_path / "m.gguf").tokenizer_files()
    assert sorted(files) == ["chat_template.jinja", "special_tokens.json", "tokenizer.json"]
    assert files["chat_template.jinja"].decode() == tiny.template
    assert json.loads(files["special_tokens.json"])["eos_token_ids"] == [2]


def gguf_start(version: int = 3, tensors: int = 0, entries: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "truncated"),
        (b"PK\3\4" + b"0" * 40, "not a GGUF"),
        (gguf_start(1), "version 1 (known: 2, 3)"),
        (b"GGUF\0\0\0\3" + b"0" * 16, "big-endian"),
        (gguf_start(entries=2**60), "truncated"),
        (gguf_start(tensors=2**60), "truncated"),
        (gguf_start(entries=1) + struct.pack("<Q", 2**62) + b"k" * 20, "truncated"),
        (gguf_start(entries=1) + text(b"a") + struct.pack("<II", 99, 0), "type 99"),
        (gguf_start(entries=1) + text(b"\xff\xfe") + b"0" * 20, "not UTF-8"),
        (gguf_start(entries=1) + text(b"a") + struct.pack("<IIQ", 9, 8, 2**60), "truncated"),
        (gguf_start(entries=1) + text(b"a") + struct.pack("<IIQ", 9, 4, 2**61), "truncated"),
        (gguf_start(entries=1) + text(b"a") + struct.pack("<IIQ", 9, 9, 1) + b"0" * 16, "type 9"),
        (gguf_start(entries=1) + text(b"general.alignment") + struct.pack("<II", 4, 33), "alignment is 33"),
        (gguf_start(entries=2) + (text(b"a") + struct.pack("<II", 4, 1)) * 2, "comes twice"),
        (gguf_start(tensors=1) + text(b"t") + struct.pack("<I", 9) + b"0" * 40, "9 dimensions"),
        (gguf_start(tensors=1) + text(b"t") + struct.pack("<IQIQ", 1, 4, 0, 5) + b"0" * 64, "not a multiple"),
        (gguf_start(tensors=1) + text(b"t") + struct.pack("<IQIQ", 1, 2**60, 0, 0) + b"0" * 64, "truncated"),
        (gguf_start(tensors=1) + text(b"t") + struct.pack("<IQIQ", 1, 4, 77, 0) + b"0" * 64, "type 77"),
        (gguf_start(tensors=2) + (text(b"t") + struct.pack("<IQIQ", 1, 4, 0, 0)) * 2 + b"0" * 64, "comes twice"),
        (
            gguf_start(tensors=2)
            + text(b"t") + struct.pack("<IQIQ", 1, 40, 0, 0)
            + text(b"u") + struct.pack("<IQIQ", 1, 40, 0, 32)
            + b"0" * 400,
            "tensor u lies over t",
        ),
        (gguf_start(tensors=1) + text(b"t") + struct.pack("<IQQIQ", 2, 33, 2, 8, 0) + b"0" * 400, "blocks of 32"),
    ],
)  # fmt: skip
def test_a_broken_header_is_one_line(tiny, tmp_path: Path, content: bytes, says: str) -> None:
    """Every length is checked against the file before memory is taken for it."""
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        open_tiny(path)
    tiny.line(caught.value, says, str(path))


@pytest.mark.parametrize("share", [0.0001, 0.05, 0.3, 0.9, 0.999])
def test_a_truncated_file_never_opens(tiny, tmp_path: Path, share: float) -> None:
    """The commonest damage: a download that stopped."""
    path = tmp_path / "m.gguf"
    tiny.gguf(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(SourceError) as caught:
        open_tiny(path)
    tiny.line(caught.value, "truncated")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_makes_another_error(tiny, tmp_path: Path, data: st.DataObject) -> None:
    """Flipped bytes in the header give a model or a SourceError: never a traceback, never a huge allocation."""
    path = tmp_path / "m.gguf"
    if not path.exists():
        tiny.gguf(path, quantisation=Kind.Q4_0)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, 9000))] = data.draw(st.integers(0, 255))
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(content)
    try:
        checkpoint = open_tiny(damaged)
        checkpoint.tokenizer_files()
        for name in checkpoint.names():
            checkpoint.read(name)
        checkpoint.close()
    except SourceError as error:
        tiny.line(error)
