"""What an adapter in a file of its own costs and saves, against the same adapter merged into the weights.

    python -m benchmarks.run_adapter --beside build/reference-notes-adapter --merged build/reference-notes \\
        [--beside-other BUNDLE] [--merged-other BUNDLE] [--threads 1] [--repetitions 9] [--json FILE]
    python -m benchmarks.run_adapter --layers 4      # speeds alone, of so many layers of a larger model, random weights

The bundles come from profiles that differ in `adapter.merged` alone; the `other` ones hold another adapter. Speeds of
both are measured in turns within one run, so that what happens to the machine meanwhile hits both, and ratios are taken
within a repetition; a step is measured as the drafting way takes it (two rows) and as the plain way does (one). What an
update moves are the files, or the 4 KiB pages at the same place of the same file, that the other bundle has not.
Fidelity is what each build measured against its own source (the report beside the bundle).
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.llama_shape import shape_config
from edge.bench.measure import pick, prefill, prompt_ids
from edge.build.checkpoint.base import expected_tensors
from edge.build.export import export_native, uniform_formats
from edge.build.graph import ExportPlan
from edge.build.line import report_path
from edge.build.quantise import QuantFormat
from edge.files import write_atomic
from edge.runtime.exactness import largest_difference
from edge.runtime.onnx_engine import OnnxEngine
from edge.specs.decoder import DecoderConfig

ROOT = Path(__file__).resolve().parent.parent
CHUNK_TOKENS = 256
CONTEXT_TOKENS = 1024
PROMPT_TOKENS = 512
PROBE_TOKENS = 100
PROBE_CUTS = (1, 2, 3, 7, 16, 48)
PAGE_BYTES = 4096
SHAPE_VOCABULARY = 4096


def moved_bytes(here: Path, there: Path) -> dict[str, int]:
    """What an update from bundle `here` to bundle `there` moves: by whole files and by pages of the same place."""
    total = files = pages = 0
    for path in sorted(path for path in there.rglob("*") if path.is_file()):
        new, old = path.read_bytes(), here / path.relative_to(there)
        before = old.read_bytes() if old.is_file() else b""
        total += len(new)
        if hashlib.sha256(new).digest() == hashlib.sha256(before).digest():
            continue
        files += len(new)
        for start in range(0, len(new), PAGE_BYTES):
            page = new[start : start + PAGE_BYTES]
            pages += len(page) if page != before[start : start + PAGE_BYTES] else 0
    return {"total_bytes": total, "moved_as_files_bytes": files, "moved_as_pages_bytes": pages}


def works(steps: int, vocab_size: int) -> dict[str, Callable[[OnnxEngine], None]]:
    """What is timed; a step follows the prompt that was read before."""
    ids = prompt_ids(0, vocab_size, PROMPT_TOKENS)

    def read(engine: OnnxEngine) -> None:
        engine.rewind(0)
        pick(prefill(engine, ids, CHUNK_TOKENS))

    def write(engine: OnnxEngine) -> None:
        engine.rewind(PROMPT_TOKENS)
        token = 1
        for _ in range(steps):
            token = pick(engine.forward([token], (0,)))

    def write_exactly(engine: OnnxEngine) -> None:
        engine.rewind(PROMPT_TOKENS)
        token = 1
        for _ in range(steps):
            token = pick(engine.forward_exact([token], (0,)))

    return {f"prefill of {PROMPT_TOKENS}": read, "decode, one row": write, "decode, two rows": write_exactly}


def compare(beside: OnnxEngine, merged: OnnxEngine, repetitions: int, steps: int) -> dict[str, dict[str, float]]:
    """Work -> median seconds of both, and the median of beside / merged within a repetition (wall, CPU)."""
    todo = works(steps, min(beside.vocab_size, merged.vocab_size))
    rows: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in todo}
    for repetition in range(repetitions + 1):
        for name, work in todo.items():
            pair = (beside, merged) if repetition % 2 else (merged, beside)
            times = {id(engine): _timed(work, engine) for engine in pair}
            if repetition:  # the first one warms up
                rows[name].append((*times[id(beside)], *times[id(merged)]))
    return {
        name: {
            "beside_s": statistics.median(value[0] for value in values),
            "merged_s": statistics.median(value[2] for value in values),
            "ratio": statistics.median(value[0] / value[2] for value in values),
            "cpu_ratio": statistics.median(value[1] / value[3] for value in values),
        }
        for name, values in rows.items()
    }


def _timed(work: Callable[[OnnxEngine], None], engine: OnnxEngine) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work(engine)
    return time.perf_counter() - wall, time.process_time() - cpu


def growth_bytes(bundle: Path) -> int:
    """Resident memory that model, cache and a short text take in a fresh process."""
    command = [sys.executable, "-m", "edge.runtime.probe", str(bundle / "model"), "--ids", "1,2,3,4", "--tokens", "8"]
    done = subprocess.run(
        [*command, "--context", str(CONTEXT_TOKENS)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    found = json.loads(done.stdout)
    return int(found["rss_end_bytes"]) - int(found["rss_before_bytes"])


def fidelity_of(bundle: Path) -> dict[str, Any]:
    """What the build measured; empty without its report."""
    path = report_path(bundle)
    stages = json.loads(path.read_text())["stages"] if path.is_file() else []
    return next((stage["made"] for stage in stages if stage.get("stage") == "fidelity"), {})


def bundle_facts(bundle: Path) -> dict[str, Any]:
    """Digest, adapter, sizes of the model's files, memory and fidelity."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    return {
        "name": manifest["name"],
        "adapter": manifest["adapter"],
        "model_files": {path.name: path.stat().st_size for path in sorted((bundle / "model").iterdir())},
        "growth_bytes": growth_bytes(bundle),
        "fidelity": fidelity_of(bundle),
    }


class RandomLayers:
    """Random weights, and a LoRA on all projections. A step's time does not depend on what the weights say."""

    def __init__(self, config: DecoderConfig, rank: int) -> None:
        self.config, self.rank = config, rank
        self._shapes = dict(expected_tensors(config))

    def names(self) -> tuple[str, ...]:
        return tuple(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        rows, *columns = self._shapes[name]
        stop = rows if stop is None else min(stop, rows)
        if not columns:
            return np.ones(stop - start, np.float32)
        return _random((stop - start, columns[0]), start)

    def factors(self, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
        if "_proj." not in name:
            return None
        rows, columns = self._shapes[name]
        return _random((self.rank, columns), 1), _random((rows, self.rank), 2)


def _random(shape: tuple[int, int], seed: int) -> npt.NDArray[np.float32]:
    values = np.random.default_rng(seed).random(shape, dtype=np.float32) - np.float32(0.5)
    return values * np.float32(2.0 / np.sqrt(shape[1]))


def larger_model(layers: int) -> DecoderConfig:
    """The first layers of Llama 3.2 1B; its vocabulary is left small, so that the layers' own ratio shows."""
    return replace(shape_config(), layers=layers, vocab_size=SHAPE_VOCABULARY)


def layer_speeds(
    config: DecoderConfig, rank: int, threads: int, repetitions: int, steps: int
) -> dict[str, dict[str, float]]:
    """`compare` of random layers at int4 with an adapter beside them and without: a merged one costs nothing."""
    source, low, head = RandomLayers(config, rank), QuantFormat(4, 32, True), QuantFormat(8, 32, True)
    plan = ExportPlan(uniform_formats(source.config, low), head, CONTEXT_TOKENS)
    with tempfile.TemporaryDirectory(prefix="edge-adapter-") as place:
        folders = [Path(place) / name for name in ("beside", "merged")]
        for folder, adapter in zip(folders, (source, None), strict=True):
            folder.mkdir()
            export_native(source, plan, folder, adapter=adapter)
        engines = [OnnxEngine(folder, threads=threads, context_tokens=CONTEXT_TOKENS) for folder in folders]
        try:
            return compare(engines[0], engines[1], repetitions, steps)
        finally:
            for engine in engines:
                engine.close()


def report(result: dict[str, Any]) -> list[str]:
    """The result as lines for a person."""
    lines = []
    for label in ("beside", "merged"):
        facts = result[label]
        files = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in facts["model_files"].items())
        lines.append(f"{label}: {facts['name']}: {files}; resident growth {facts['growth_bytes'] / 1e6:.0f} MB")
        if fidelity := facts["fidelity"]:
            kl, top = fidelity["mean_kl"], fidelity["top1"]
            lines.append(
                f"  fidelity: mean KL {kl['mean']:.4f} [{kl['low']:.4f}, {kl['high']:.4f}], same top token "
                f"{top['mean']:.1%} [{top['low']:.1%}, {top['high']:.1%}], perplexity ratio "
                f"{fidelity['perplexity_ratio']['mean']:.4f}, greedy agreement "
                f"{fidelity['greedy_agreement']['mean']:.1%}"
            )
    for label, moved in result["updates"].items():
        total, files, pages = (moved[key] / 1e6 for key in moved)
        lines.append(f"update, {label}: {files:.1f} of {total:.1f} MB by files, {pages:.1f} MB by 4 KiB pages")
    return [
        *lines,
        *speed_lines(result),
        f"largest difference of a logit between cuts of a text: {result['cut_difference']}",
    ]


def speed_lines(result: dict[str, Any]) -> list[str]:
    """The speeds as a table."""
    lines = []
    lines.append(
        f"{result['threads']} thread(s):{'':12} {'beside ms':>10} {'merged ms':>10} {'times':>7} {'CPU times':>10}"
    )
    for name, row in result["speeds"].items():
        scale = 1e3 / (result["steps"] if name.startswith("decode") else 1)
        lines.append(
            f"  {name:22} {row['beside_s'] * scale:10.1f} {row['merged_s'] * scale:10.1f} {row['ratio']:7.3f} "
            f"{row['cpu_ratio']:10.3f}"
        )
    return lines


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, default=ROOT / "build" / "reference-notes-adapter")
    parser.add_argument("--merged", type=Path, default=ROOT / "build" / "reference-notes")
    parser.add_argument("--beside-other", type=Path, help="another adapter, beside the same base")
    parser.add_argument("--merged-other", type=Path, help="another adapter, merged into the same base")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--layers", type=int, help="of the shape of Llama 3.2 1B, instead of bundles")
    parser.add_argument("--rank", type=int, default=16, help="with --layers")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if chosen.layers:
        speeds = layer_speeds(
            larger_model(chosen.layers), chosen.rank, chosen.threads, chosen.repetitions, chosen.steps
        )
        result = {"threads": chosen.threads, "steps": chosen.steps, "layers": chosen.layers, "speeds": speeds}
        print("\n".join(speed_lines(result)))
        _save(chosen.json, result)
        return 0
    pairs = {
        "adapter beside": (chosen.beside, chosen.beside_other),
        "adapter merged": (chosen.merged, chosen.merged_other),
    }
    beside, merged = (
        OnnxEngine(path / "model", threads=chosen.threads, context_tokens=CONTEXT_TOKENS)
        for path in (chosen.beside, chosen.merged)
    )
    result = {
        "threads": chosen.threads,
        "steps": chosen.steps,
        "beside": bundle_facts(chosen.beside),
        "merged": bundle_facts(chosen.merged),
        "updates": {label: moved_bytes(here, there) for label, (here, there) in pairs.items() if there is not None},
        "speeds": compare(beside, merged, chosen.repetitions, chosen.steps),
        "cut_difference": largest_difference(beside, prompt_ids(2, beside.vocab_size, PROBE_TOKENS), PROBE_CUTS),
    }
    print("\n".join(report(result)))
    _save(chosen.json, result)
    return 0


def _save(path: Path | None, result: dict[str, Any]) -> None:
    if path is not None:
        write_atomic(path, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
