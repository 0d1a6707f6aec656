"""The tvm engine against the ONNX engine on the same weights, in turns within one run: ratios, memory, compile time.

    python -m benchmarks.run_tvm [--onnx build/reference-notes] [--tvm build/reference-notes-mlc] [--json FILE]
    python -m benchmarks.run_tvm --compile profiles/llama-3.2-1b-pi5-mlc.yaml      # seconds to compile a shape

Both bundles must come from one model, adapter and quantisation; it says so when their weights differ. Ratios are taken
within a repetition, so that what happens to the machine meanwhile hits both; CPU seconds are beside the wall's.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge.bench.measure import pick, prefill, prompt_ids
from edge.files import write_atomic
from edge.runtime.engine import Engine
from edge.runtime.engines import engine_factory

ROOT = Path(__file__).resolve().parent.parent
CHUNK_TOKENS = 256
BEFORE_WEIGHTS = """
import sys
from pathlib import Path
from edge.runtime.tvm_engine import load_runtime
load_runtime(Path(sys.argv[1]))
print(int(open("/proc/self/statm").read().split()[1]) * 4096)
"""


def open_engine(bundle: Path, threads: int) -> tuple[Engine, dict[str, Any]]:
    """The engine of a built bundle folder, and its manifest."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    make = engine_factory(manifest["runtime"]["engine"], str(bundle))
    return make(bundle / "model", threads, 2048), manifest


def timed(work: Callable[..., object], *arguments: object) -> tuple[float, float]:
    """(wall, CPU) seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work(*arguments)
    return time.perf_counter() - wall, time.process_time() - cpu


def read(engine: Engine, ids: list[int]) -> None:
    engine.rewind(0)
    pick(prefill(engine, ids, CHUNK_TOKENS))


def write(engine: Engine, context: int, steps: int) -> None:
    engine.rewind(context)
    token = 1
    for _ in range(steps):
        token = pick(engine.forward([token], (0,)))


def compare(onnx: Engine, tvm: Engine, repetitions: int, steps: int) -> dict[str, Any]:
    """Measurement -> medians of both and of the ratio within a repetition (above 1: tvm is faster)."""
    ids = prompt_ids(0, min(onnx.vocab_size, tvm.vocab_size), 1024)
    works: dict[str, Callable[[Engine], None]] = {
        "prefill 128": lambda engine: read(engine, ids[:128]),
        "prefill 512": lambda engine: read(engine, ids[:512]),
        "decode at 512": lambda engine: write(engine, 512, steps),
        "prefill 1024": lambda engine: read(engine, ids),
        "decode at 1024": lambda engine: write(engine, 1024, steps),
    }
    rows: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in works}
    for repetition in range(repetitions + 1):
        for name, work in works.items():
            pair = (onnx, tvm) if repetition % 2 else (tvm, onnx)
            times = {id(engine): timed(work, engine) for engine in pair}
            if repetition:  # the first one warms up
                rows[name].append((*times[id(onnx)], *times[id(tvm)]))
    made = {}
    for name, values in rows.items():
        columns = [statistics.median(column) for column in zip(*values, strict=True)]
        made[name] = {
            "onnx_s": columns[0], "onnx_cpu_s": columns[1], "tvm_s": columns[2], "tvm_cpu_s": columns[3],
            "ratio": statistics.median(v[0] / v[2] for v in values),
            "cpu_ratio": statistics.median(v[1] / v[3] for v in values),
        }  # fmt: skip
    return made


def same_text(onnx: Engine, tvm: Engine, tokens: int = 48) -> dict[str, Any]:
    """Greedy tokens of both after one prompt, and the KL divergence of their logits on it."""
    ids = prompt_ids(1, onnx.vocab_size, 200)
    logits, texts = [], []
    for engine in (onnx, tvm):
        engine.rewind(0)
        rows = engine.forward(ids, range(len(ids)))
        logits.append(rows.astype(np.float64))
        token, text = int(rows[-1].argmax()), []
        for _ in range(tokens):
            text.append(token)
            token = pick(engine.forward([token], (0,)))
        texts.append(text)
    logs = [rows - rows.max(-1, keepdims=True) for rows in logits]
    logs = [rows - np.log(np.exp(rows).sum(-1, keepdims=True)) for rows in logs]
    divergence = float((np.exp(logs[0]) * (logs[0] - logs[1])).sum(-1).mean())
    return {"greedy_same": sum(a == b for a, b in zip(*texts, strict=True)), "of": tokens, "mean_kl": divergence}


def before_weights(model: Path) -> int:
    """Resident bytes of a fresh process with numpy, the engine's module and TVM's runtime library."""
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_WEIGHTS, str(model)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return int(done.stdout)


def compile_shape(profile: Path) -> list[str]:
    """Compile a profile's architecture for its target's kernels; no weights are needed."""
    from edge.build.graph import matrix_name
    from edge.build.quantise import QuantFormat
    from edge.build.tvm.compile import compile_decoder
    from edge.build.tvm.decoder import Shape
    from edge.build.tvm.isa import isa_of_target, variants
    from edge.specs.profile import load_profile, load_profile_target

    loaded = load_profile(profile)
    config = loaded.model.decoder()
    if config is None:
        raise SystemExit(f"{profile.name} has no inline architecture")
    wanted = loaded.quantisation
    form = QuantFormat(8 if wanted.scheme == "int8" else 4, wanted.block_size, wanted.symmetric)
    names = [matrix_name(i, m) for i in range(config.layers) for m in ("qkv", "o", "gate_up", "down")]
    head = QuantFormat(wanted.head_bits, wanted.block_size, symmetric=True)
    shape = Shape(config, dict.fromkeys(names, form), head, loaded.context_tokens)
    lines = []
    for isa in variants(isa_of_target(load_profile_target(profile, loaded), str(profile))):
        with tempfile.TemporaryDirectory() as folder:
            children = os.times()
            wall, cpu = timed(compile_decoder, shape, isa, Path(folder))
            linker = os.times().children_user - children.children_user
            lines.append(f"{profile.stem}: {isa.name} compiled in {wall:.1f} s, {cpu + linker:.1f} s of CPU")
    return lines


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onnx", type=Path, default=ROOT / "build" / "reference-notes")
    parser.add_argument("--tvm", type=Path, default=ROOT / "build" / "reference-notes-mlc")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--compile", type=Path, metavar="PROFILE")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if chosen.compile:
        print("\n".join(compile_shape(chosen.compile)))
        return 0
    (onnx, first), (tvm, second) = (open_engine(path, chosen.threads) for path in (chosen.onnx, chosen.tvm))
    same = first["quantisation"] == second["quantisation"] and first["adapter"] == second["adapter"]
    result = {
        "threads": chosen.threads,
        "kernels": getattr(tvm, "state_version", ""),
        "same_weights": same,
        "speeds": compare(onnx, tvm, chosen.repetitions, chosen.steps),
        "text": same_text(onnx, tvm),
        "rss_before_weights_bytes": before_weights(chosen.tvm / "model"),
    }
    print(f"{chosen.threads} thread(s), {result['kernels']}, {'the same' if same else 'OTHER'} weights")
    print(f"{'':16} {'onnx ms':>10} {'tvm ms':>10} {'times':>7} {'CPU times':>10}")
    for name, row in result["speeds"].items():
        scale = 1e3 / (chosen.steps if name.startswith("decode") else 1)
        print(
            f"{name:16} {row['onnx_s'] * scale:10.1f} {row['tvm_s'] * scale:10.1f} {row['ratio']:7.2f} "
            f"{row['cpu_ratio']:10.2f}"
        )
    text = result["text"]
    print(f"greedy tokens the same {text['greedy_same']} of {text['of']}, mean KL {text['mean_kl']:.4f}")
    print(f"resident before weights {result['rss_before_weights_bytes'] / 1e6:.1f} MB")
    if chosen.json:
        write_atomic(chosen.json, (json.dumps(result, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
