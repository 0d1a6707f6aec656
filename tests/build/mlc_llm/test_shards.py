"""Shards read back: against the stand-in's quantisation, against TVM's own writer, and cut at any slice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.build.mlc_llm.choices import MODES, Mode
from edge.build.mlc_llm.shards import ShardModel, dequantised, expected_arrays, read_index
from edge.errors import SourceError
from edge.specs.decoder import DecoderConfig
from tests.build.mlc_llm import fake_mlc_llm as fake
from tests.tiny import BASE, CONFIGS, tiny_source


def arrays_of(config: DecoderConfig, mode: Mode) -> dict[str, Any]:
    """A tiny decoder as mlc_llm's parameters."""
    dtype = np.float16 if mode.dtype == "float16" else np.float32
    settings_ = {"num_hidden_layers": config.layers, "model_type": config.family}
    result: dict[str, Any] = {}
    for name, value in fake.fused(tiny_source(config).tensors, settings_).items():
        stem = name.removesuffix(".weight")
        if mode.grouped and value.ndim == 2:
            result[f"{stem}.q_weight"], result[f"{stem}.q_scale"] = fake.group_quantised(value.astype(dtype))
        else:
            result[name] = value.astype(dtype)
    return result


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 100), st.integers(0, 1000))
def test_codes_come_back_within_half_a_step(rows: int, columns: int, seed: int) -> None:
    """If it fails, the place, order or zero of the 4-bit codes is read otherwise than mlc_llm writes it."""
    weight = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    words, scales = fake.group_quantised(weight)
    back = dequantised(words, scales)[:, :columns]
    step = np.repeat(scales, 32, axis=1)[:, :columns]
    assert (np.abs(back - weight) <= step * 0.5001).all()


def test_one_word_by_hand() -> None:
    """If it fails, eight codes are not read lowest bits first: word 0xFEDCBA98 holds 8, 9, ... 15."""
    words = np.array([[0xFEDCBA98, 0, 0, 0]], dtype=np.uint32)
    values = dequantised(words, np.array([[2.0]], dtype=np.float32))
    assert values[0, :8].tolist() == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]
    assert values[0, 8] == -14.0


@pytest.mark.parametrize("family", ["llama-tied", "llama-untied", "qwen2-bias", "qwen3-qk-norm"])
@pytest.mark.parametrize("mode", sorted(MODES))
def test_expected_arrays_are_those_of_the_stand_in(family: str, mode: str) -> None:
    """If it fails, a right set of parameters is refused, or a wrong one passes."""
    config = CONFIGS[family]
    wanted = {name: (array.shape, str(array.dtype)) for name, array in arrays_of(config, MODES[mode]).items()}
    assert expected_arrays(config, MODES[mode]) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["q4f32_1", "q4f16_1", "q0f32"])
def test_what_tvm_itself_writes_is_read(tmp_path: Path, mode: str) -> None:
    """If it fails, the format on disk is not the one that TVM's dump_tensor_cache writes (mlc_llm calls it)."""
    tvmjs = pytest.importorskip("tvm.contrib.tvmjs", reason="apache-tvm is not installed")
    arrays = arrays_of(BASE, MODES[mode])
    tvmjs.dump_tensor_cache(arrays, str(tmp_path), encode_format="f32-to-bf16", meta_data={}, show_progress=False)
    _, records = read_index(tmp_path, BASE, MODES[mode])
    source = tiny_source()
    with ShardModel(tmp_path, BASE, MODES[mode], records) as built:
        for name in source.names():
            wanted, found = source.read(name), built.read(name)
            assert found.shape == wanted.shape
            bound = np.abs(wanted).max() * (0.08 if MODES[mode].grouped and wanted.ndim == 2 else 0.01)
            assert np.abs(found - wanted).max() <= bound, name


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of the tiny decoder at q4f16_1, by the stand-in."""
    place = tmp_path_factory.mktemp("shards")
    from tests.build.mlc_llm.conftest import write_model

    model = write_model(place / "m")
    from safetensors.numpy import load_file

    names = dict.fromkeys(load_file(model / "model.safetensors"), "model.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    out = place / "out"
    out.mkdir()
    words = [str(model / "config.json"), "--quantization", "q4f16_1", "--output", str(out)]
    fake.convert_weight(fake.parser_of("convert_weight").parse_args(words), "")
    return out


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_slice_is_the_same_rows_as_the_whole(written: Path, data: st.DataObject) -> None:
    """If it fails, golden cases and checks see other rows than the device multiplies."""
    config = replace(BASE, rope_theta=500000.0)
    _, records = read_index(written, config, MODES["q4f16_1"])
    with ShardModel(written, config, MODES["q4f16_1"], records) as built:
        name = data.draw(st.sampled_from(built.names()))
        rows = built.shape(name)[0]
        start = data.draw(st.integers(0, rows - 1))
        stop = data.draw(st.integers(start, rows))
        assert (built.read(name, start, stop) == built.read(name)[start:stop]).all()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_one_changed_byte_of_any_shard_is_found(written: Path, data: st.DataObject) -> None:
    """If it fails, a flipped bit on the builder's disk reaches the device."""
    shard = data.draw(st.sampled_from(sorted(written.glob("params_shard_*.bin"))))
    before = shard.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    try:
        shard.write_bytes(before[:at] + bytes([before[at] ^ 0x10]) + before[at + 1 :])
        with pytest.raises(SourceError, match="md5"):
            read_index(written, BASE, MODES["q4f16_1"])
    finally:
        shard.write_bytes(before)


@pytest.mark.parametrize("name", ["../x.bin", "/etc/hostname", "other.bin"])
def test_an_index_that_points_elsewhere(written: Path, name: str) -> None:
    """If it fails, a damaged index makes the build read files outside its folder."""
    path = written / "tensor-cache.json"
    before = path.read_text()
    value = json.loads(before)
    value["records"][0]["dataPath"] = name
    try:
        path.write_text(json.dumps(value))
        with pytest.raises(SourceError, match="a shard is named"):
            read_index(written, BASE, MODES["q4f16_1"])
    finally:
        path.write_text(before)


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
def test_any_nonsense_in_the_index_is_one_line(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    """If it fails, a broken index is a traceback."""
    folder = tmp_path_factory.mktemp("nonsense")
    for holder in (value, {"records": value}, {"records": [{"dataPath": value, "records": [value], "nbytes": value}]}):
        (folder / "tensor-cache.json").write_text(json.dumps(holder))
        with pytest.raises(SourceError) as caught:
            read_index(folder, BASE, MODES["q4f16_1"])
        assert "\n" not in str(caught.value)
