"""Engines in their own processes: real ones on a tiny model, and ones that fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import interleave
from benchmarks.interleave import Settings, measure
from benchmarks.llama_shape import shape_config, write_profile, write_shape
from benchmarks.models import Variant
from benchmarks.start_time import measure_start
from edge.build.cache import Cache
from edge.build.checkpoint import open_checkpoint
from edge.build.export import export_native, uniform_formats
from edge.build.graph import ExportPlan
from edge.build.quantise import QuantFormat
from edge.specs.decoder import DecoderConfig
from edge.specs.profile import load_profile

VOCABULARY = 600
SETTINGS = Settings(threads=1, repetitions=2, load_repetitions=2, decode_steps=3, context_tokens=2048)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model as `export_cost` leaves it."""
    root = tmp_path_factory.mktemp("tiny")
    small = {"vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "layers": 2, "heads": 4}
    ends = {"bos_token_id": VOCABULARY - 5, "eos_token_ids": [VOCABULARY - 1]}
    config = DecoderConfig.from_json(shape_config().to_json() | small | {"kv_heads": 2, "head_dim": 16} | ends)
    source = root / "shape"
    source.mkdir()
    write_shape(source, config)
    profile = load_profile(write_profile(source))
    checkpoint = open_checkpoint(profile.model, Cache(root / "cache"), base_folder=source)
    format = QuantFormat(4, 32, True)
    (root / "model").mkdir()
    export_native(checkpoint, ExportPlan(uniform_formats(config, format), format, 2048), root / "model")
    (root / "tokenizer").mkdir()
    for name, data in checkpoint.tokenizer_files().items():
        (root / "tokenizer" / name).write_bytes(data)
    return root


def test_every_engine_gets_every_repetition(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when an engine misses a measurement, or when one that cannot load stops the others."""
    monkeypatch.setattr(interleave, "SETTLE_S", 0.0)
    monkeypatch.setattr(interleave, "PATIENCE_S", 0.0)
    variants = [
        Variant("edge", "edge", model),
        Variant("broken", "edge", tmp_path / "nothing"),
        Variant("absent", "edge", reason="install with make bench"),
        Variant("again", "edge", model),
    ]
    said: list[str] = []
    edge, broken, absent, again = measure(variants, VOCABULARY, SETTINGS, said.append, patience_s=0.1)
    for run in (edge, again):
        assert not run.reason
        assert {key: len(speeds) for key, speeds in run.prefill_tokens_per_s.items()} == {"512": 2, "1024": 2}
        assert {key: len(speeds) for key, speeds in run.decode_tokens_per_s.items()} == {"0": 2, "1024": 2}
        assert len(run.load_s) == 2
        assert run.memory["peak_rss_bytes"] >= run.memory["anonymous_bytes"] > 0
    assert edge.top_tokens == again.top_tokens
    assert "tokenizer" in broken.reason
    assert absent.reason == "install with make bench"
    assert "warm-up" in said


def test_waiting_for_a_quiet_machine_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when a machine that is never quiet makes the comparison wait for ever, or a quiet one makes it wait."""
    busy_s = iter(range(0, 10_000, 10))
    monkeypatch.setattr(interleave, "_machine_busy_s", lambda: float(next(busy_s)))
    monkeypatch.setattr(interleave, "SETTLE_S", 0.01)
    patience = interleave.Patience(0.05)
    patience.settle()
    assert patience.left_s <= 0
    monkeypatch.setattr(interleave, "_machine_busy_s", lambda: 0.0)
    patience = interleave.Patience(0.05)
    patience.settle()
    assert patience.left_s == 0.05


def test_missing_package_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fails when an engine that is not installed ends the comparison instead of saying how to get it."""
    hidden = tmp_path / "hidden" / "llama_cpp"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('no llama_cpp here')\n")
    monkeypatch.setattr(interleave, "ROOT", tmp_path / "hidden")
    (tmp_path / "hidden" / "benchmarks").symlink_to(Path(interleave.__file__).parent)
    (tmp_path / "hidden" / "edge").symlink_to(Path(interleave.__file__).parents[1] / "edge")
    variants = [Variant("llama.cpp", "llama.cpp", tmp_path)]
    (run,) = measure(variants, VOCABULARY, SETTINGS, lambda _: None, patience_s=0.1)
    assert run.reason == "llama-cpp-python: no llama_cpp here; install with make bench"


def test_start_is_timed_to_the_line() -> None:
    """Fails when other words on standard error count as the start of reading."""
    script = "import sys, time; sys.stderr.write('loading\\n'); sys.stderr.flush(); time.sleep(0.2); "
    script += "print('reading', file=sys.stderr, flush=True); time.sleep(60)"
    start = measure_start([sys.executable, "-c", script], 2)
    assert len(start.seconds) == 2
    assert all(0.2 <= seconds < 10 for seconds in start.seconds)


def test_a_start_that_fails_says_why() -> None:
    """Fails when a command that ended at once is given a time."""
    start = measure_start([sys.executable, "-c", "raise SystemExit('it is not trusted')"], 1)
    assert not start.seconds
    assert "it is not trusted" in start.reason
