"""`export: optimum` with the real exporter, on a GPT-2 that edge has no graph for."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edge.build.optimum_checks import measure_engines
from edge.build.optimum_route import OptimumFacts, build_with_optimum
from edge.build.optimum_source import OptimumSource
from edge.errors import SourceError
from edge.runtime.optimum_engine import OptimumEngine
from edge.runtime.text import ChatTokenizer, Message
from tests.oracle.conftest import Oracle, oracle_python
from tests.oracle.test_decoder import FLOAT32_LIMIT, worst
from tests.tiny import BASE, VOCAB_SIZE, tiny_ids

pytestmark = pytest.mark.slow


def test_facts(built: tuple[Path, OptimumFacts], gpt2: Path) -> None:
    """The graph's sizes are the config's, and the folders hold the two files only."""
    place, facts = built
    assert (facts.family, facts.layers, facts.kv_heads, facts.head_dim) == ("gpt2", 2, 4, 16)
    assert (facts.vocab_size, facts.max_positions, facts.quantised_matrices) == (VOCAB_SIZE, 2048, 9)
    assert facts.max_logit_difference < 1e-5  # of the largest logit, as everywhere in the oracle
    assert facts.versions["torch"] == "2.13.0"
    source = OptimumSource(gpt2, digest="0" * 64, license_id="MIT")
    assert facts.check_config(source.config, "gpt2") == source.config
    source.close()
    assert sorted(path.name for path in place.iterdir()) == ["fp32", "model"]
    for folder in place.iterdir():
        assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "model.weights"]


def test_fp32_is_the_model(built: tuple[Path, OptimumFacts], oracle: Oracle) -> None:
    """The shipped fp32 graph answers as transformers does."""
    engine = OptimumEngine(built[0] / "fp32", threads=1)
    assert worst(engine.forward(range(40), range(40)), oracle.logits("gpt2")) < FLOAT32_LIMIT
    engine.close()


def test_int8_fidelity(built: tuple[Path, OptimumFacts]) -> None:
    """int8 stays close to its own fp32 on fewer bytes (the table of positions stays float32)."""
    config = replace(BASE, vocab_size=VOCAB_SIZE)
    engines = [OptimumEngine(built[0] / name, threads=1) for name in ("fp32", "model")]
    result = measure_engines(engines[0], engines[1], [tiny_ids(50, config, seed) for seed in range(4)])
    assert 0 < result.mean_kl.mean < 0.01
    assert result.top1.mean > 0.9
    sizes = [(built[0] / name / "model.weights").stat().st_size for name in ("fp32", "model")]
    assert sizes[1] < 0.7 * sizes[0]
    for engine in engines:
        engine.close()


def test_the_same_bytes_again(
    built: tuple[Path, OptimumFacts], gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another folder, thread count, locale and time zone give the same files; else no bundle could be rebuilt."""
    copy = shutil.copytree(gpt2, tmp_path / "another place" / "m")
    for name, value in {"OMP_NUM_THREADS": "1", "LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "77"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGE_OPTIMUM_PYTHON", os.path.relpath(oracle_python(), tmp_path))
    facts = build_with_optimum(copy, "int8", Path("model"), reference_folder=Path("fp32"))
    assert facts.versions == built[1].versions
    for name in ("model/model.onnx", "model/model.weights", "fp32/model.onnx", "fp32/model.weights"):
        assert (tmp_path / name).read_bytes() == (built[0] / name).read_bytes(), name


def test_text_to_tokens_and_back(built: tuple[Path, OptimumFacts], gpt2: Path, tmp_path: Path) -> None:
    """The folder's tokenizer drives the engine: what a session does."""
    source = OptimumSource(gpt2, digest="0" * 64, license_id="MIT")
    for name, data in source.tokenizer_files().items():
        (tmp_path / name).write_bytes(data)
    source.close()
    tokenizer = ChatTokenizer(tmp_path)
    engine = OptimumEngine(built[0] / "model", threads=1)
    logits = engine.forward(tokenizer.encode_chat([Message("user", "pain in the eye")]), (0,))
    assert np.isfinite(logits).all()
    engine.close()


def test_a_missing_tensor_is_not_made_up(gpt2: Path, tmp_path: Path) -> None:
    """transformers fills a gap with random numbers and a warning; here there is no build, and the log stays."""
    folder = shutil.copytree(gpt2, tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.h.1.mlp.c_fc.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SourceError, match=r"tensor transformer\.h\.1\.mlp\.c_fc\.weight is missing"):
        build_with_optimum(folder, "none", tmp_path / "out", python=oracle_python())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "out.optimum.log"]
