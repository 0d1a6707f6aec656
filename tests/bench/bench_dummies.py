"""A small workload, a small signed bundle and a complete result, for the tests of this room."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripted_worker import VOCAB, next_token

from edge.bench.bandwidth import BandwidthReading, check_bandwidth
from edge.bench.clinical_gate import SelfTest, SelfTestCase, SuiteScores
from edge.bench.golden import CaseOutcome, DecodePathOutcome, GoldenRule, judge
from edge.bench.memory import MemoryUse
from edge.bench.result import (
    SCHEMA_VERSION,
    BenchResult,
    BundleFacts,
    DecodeSpeed,
    Energy,
    Environment,
    LoadTime,
    Prediction,
    PrefillSpeed,
    Sustained,
    Temperature,
)
from edge.bench.source_fidelity import SourceFidelity
from edge.bench.statistics import spread
from edge.bench.workload import BUILT_IN, Workload
from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle
from edge.bundle.writer import BundleWriter
from edge.device.facts import local_facts
from edge.specs.decoder import DecoderConfig

SCRIPT = Path(__file__).with_name("scripted_worker.py")
CONFIG = DecoderConfig("llama", VOCAB, 8, 16, 2, 2, 1, 4, 1e-5, 1e4, 256, True)
SMALL = Workload(
    version=1,
    name="small",
    warmups=1,
    repetitions=2,
    load_repetitions=2,
    prompt_tokens=(16, 48),
    decode_contexts=(0, 32),
    decode_tokens=8,
    sustained_s=0.3,
    window_s=0.1,
    seed=3,
    timeout_s=60.0,
)
# Wide enough that only a scripted fault, never a busy machine, fails them.
BUDGETS: dict[str, Any] = {
    "disk_bytes_max": 10_000_000,
    "load_ms_max": 60_000,
    "peak_rss_bytes_max": 2_000_000_000,
    "ttft_ms_max": {"prompt_tokens": 40, "ms": 60_000},
    "decode_tokens_per_s_min": 0.01,
    "prefill_tokens_per_s_min": 0.01,
    "sustained": {"seconds": 600, "floor_ratio_min": 0.7},
    "fidelity": None,
}


def command(fault: str = "") -> list[str]:
    """The measuring process with the scripted engine."""
    return [sys.executable, str(SCRIPT), fault]


def golden_json() -> dict[str, Any]:
    """Two golden cases that the scripted engine meets."""
    cases = []
    for index in range(2):
        tokens = [(place * 5 + index) % VOCAB for place in range(40)]
        top = [next_token(tokens[: place + 1]) for place in range(10, 40)]
        cases.append({"id": f"c{index}", "token_ids": tokens, "from": 10, "expected_top1": top, "margin": [5.0] * 30})
    return {"schema_version": 1, "rule": {"margin_min": 2.0, "top1_min": 0.95}, "cases": cases}


def write_bundle(
    folder: Path, *, budgets: dict[str, Any] | None = None, golden: Any = None
) -> tuple[OpenBundle, KeyStore]:
    """A signed bundle for the scripted engine, opened, and the store with its builder and device keys."""
    store = KeyStore(folder / "home")
    store.create("builder", "builder")
    store.create("device", "device")
    files = {
        "model/model.onnx": b"x" * 4096,
        "tasks/note.txt": b"x",
        "golden/cases.json": json.dumps(golden or golden_json()).encode(),
        "sbom.cdx.json": b"{}",
        "model_card.md": b"x",
    }
    with BundleWriter(folder / "bundle") as writer:
        for name, data in files.items():
            (writer.folder / name).parent.mkdir(exist_ok=True)
            (writer.folder / name).write_bytes(data)
        write_tokenizer(writer.folder / "tokenizer")
        fields = {
            "name": "small",
            "profile": {
                "name": "small-profile",
                "context_tokens": 256,
                "prefill_chunk_tokens": 16,
                "threads": 1,
                "budgets": BUDGETS if budgets is None else budgets,
            },
            "target": {"name": "here", "arch": local_facts().arch},
            "base_model": {"source": "test", "digest": "0" * 64, "license": "Apache-2.0"},
            "adapter": None,
            "decoder": CONFIG.to_json(),
            "quantisation": {"scheme": "none"},
            "runtime": {"engine": "onnxruntime"},
            "sampler": {},
            "tools": {},
            "predicted_memory": {"weights": 900_000_000, "kv_cache": 256_000, "ui": 5},
        }
        bundle = writer.commit(fields, store.load_signing_key("builder"))
    return bundle, store


def write_tokenizer(folder: Path) -> None:
    """The smallest tokenizer folder that loads."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    folder.mkdir()
    Tokenizer(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    (folder / "special_tokens.json").write_text('{"eos_ids": [1]}')


def make_result(**changes: Any) -> BenchResult:
    """A whole result with round numbers; keywords replace its fields."""
    readings = (BandwidthReading(100_000_000, 2, 20e9, "cache"), BandwidthReading(1_000_000_000, 2, 10e9, "memory"))
    steps = tuple(20.0 + index % 7 for index in range(64))
    result = BenchResult(
        schema_version=SCHEMA_VERSION,
        measured_at="2026-11-21T10:00:00Z",
        duration_s=63.0,
        bundle=BundleFacts("notes", "reference-notes", "x86_64-linux", "a" * 64, "b" * 64, 103_000_000, 99_000_000),
        environment=Environment(
            device=local_facts().to_json(),
            versions={"edge-kit": "0.1.0", "onnxruntime": "1.31.1"},
            threads=2,
            context_tokens=2048,
            prefill_chunk_tokens=256,
            load_average_before=(0.1, 0.2, 0.3),
            governor=None,
            sensors={"energy": "no sensor: no RAPL energy counter", "temperature": "no sensor: none"},
            workload=BUILT_IN["quick"].to_json(),
        ),
        load=LoadTime(45.0, spread([380.0, 360.0, 420.0])),
        prefill=(
            PrefillSpeed(64, spread([290.0, 300.0, 310.0]), spread([206.0, 213.0, 220.0])),
            PrefillSpeed(512, spread([2100.0, 2200.0, 2500.0]), spread([204.0, 232.0, 243.0])),
        ),
        decode=(
            DecodeSpeed(0, spread([44.0, 45.0, 46.0]), 22.0, 25.0, 26.0, steps),
            DecodeSpeed(512, spread([40.0, 41.2, 42.0]), 24.0, 28.0, 31.0, steps),
        ),
        memory=MemoryUse(
            baseline_rss_bytes=51_000_000,
            loaded_rss_bytes=246_000_000,
            peak_rss_bytes=298_000_000,
            growth_after_load_bytes=52_000_000,
            growth_sustained_bytes=0,
            peak_pss_bytes=285_000_000,
            peak_anonymous_bytes=206_000_000,
            samples=4000,
            phases_s={"loaded": 1.0, "sustained": 40.0},
            series_times_s=(0.0, 1.0, 2.0, 50.0),
            series_rss_bytes=(50_000_000, 246_000_000, 298_000_000, 298_000_000),
        ),
        sustained=Sustained(10.0, 5.0, 700, (72.0, 68.0), 72.0, 68.0, 68 / 72),
        energy=Energy(None, None, 700, "", "no sensor: no RAPL energy counter"),
        temperature=Temperature(None, None, "", "no sensor: none"),
        sensor_series=(),
        prediction=Prediction({"weights": 300_000_000}, {"weights": 300_000_000}, 576, 300_000_000, 298_000_000, 0.99),
        bandwidth=check_bandwidth(readings, 100_000_000, 41.2, 512),
        fidelity=SourceFidelity(120, 0.03, 0.004, 0.9, 0.02),
        golden=judge(GoldenRule(2.0, 0.95), [CaseOutcome("c0", 100, 98, 30, ())], DecodePathOutcome("c0", 16, 2, ())),
        self_test=SelfTest((SelfTestCase("note-knee", "note", "", "c" * 64),)),
        suite=SuiteScores(
            "note",
            "own first choice",
            "mean log-probability of a token",
            tuple(f"visit-{index:02d}" for index in range(20)),
            tuple(0.5 + index / 100 for index in range(20)),
            tuple(0.5 + index / 100 - 0.01 * (index % 2) for index in range(20)),
            (-1.0,) * 20,
            (-1.1,) * 20,
        ),
        skipped=(),
    )
    return replace(result, **changes)
