"""Decode a few tokens greedily and say what came out: the same small program on every device, real or emulated.

It reads a bundle's model folder without the bundle around it (who starts it has checked that), and prints one JSON
object: the tokens, and how resident memory grew. With --logits it writes the logits of every place, so that two
devices can be compared.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import argparse
import importlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edge.errors import EdgeError, InputError
from edge.runtime.engines import engine_factory

# Imported before memory is read: an engine's code is not the model's memory.
ENGINE_MODULES = {
    "onnxruntime": "edge.runtime.onnx_engine",
    "onnxruntime-optimum": "edge.runtime.optimum_engine",
    "tvm": "edge.runtime.tvm_engine",
}


@dataclass(frozen=True)
class Probed:
    """tokens: decoded; rss_*: resident bytes before the engine, with the model loaded, after the last token."""

    tokens: tuple[int, ...]
    rss_before_bytes: int
    rss_loaded_bytes: int
    rss_end_bytes: int
    machine: str

    @property
    def growth_bytes(self) -> int:
        """What model, cache and work took: free of what the interpreter or an emulator needs."""
        return self.rss_end_bytes - self.rss_before_bytes


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int:
    """Resident memory of this process; 0 where it is not told."""
    try:
        return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def probe(
    model_folder: Path,
    ids: Sequence[int],
    tokens: int,
    *,
    engine: str = "onnxruntime",
    threads: int = 1,
    context_tokens: int | None = None,
    logits: Path | None = None,
) -> Probed:
    """Read `ids` and decode `tokens` greedily.

    logits: a file for [len(ids) + tokens - 1, vocab] float32, the logits after each token that was read.
    Errors: those of the engine; InputError for no ids or no tokens.
    """
    if not ids or tokens < 1:
        raise InputError("there is nothing to read or to decode", mend="give ids and at least one token")
    factory = engine_factory(engine, str(model_folder))
    if engine in ENGINE_MODULES:
        importlib.import_module(ENGINE_MODULES[engine])
    before = resident_bytes()
    model = factory(model_folder, threads, context_tokens)
    loaded = resident_bytes()
    try:
        rows = [model.forward(ids, range(len(ids)) if logits else (len(ids) - 1,))]
        found = [int(rows[-1][-1].argmax())]
        while len(found) < tokens:
            rows.append(model.forward(found[-1:], (0,)))
            found.append(int(rows[-1][-1].argmax()))
        end = resident_bytes()
    finally:
        model.close()
    if logits:
        with logits.open("wb") as file:
            np.save(file, np.concatenate(rows))
    return Probed(tuple(found), before, loaded, end, platform.machine())


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m edge.runtime.probe MODEL_FOLDER --ids 1,2,3 --tokens 6`."""
    parser = argparse.ArgumentParser(description="Decode a few tokens and print them as JSON.")
    parser.add_argument("model_folder", type=Path)
    parser.add_argument("--ids", required=True, help="token ids, separated by commas")
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=None)
    parser.add_argument("--logits", type=Path, default=None)
    chosen = parser.parse_args(arguments)
    try:
        try:
            ids = [int(part) for part in chosen.ids.split(",")]
        except ValueError:
            raise InputError("the ids are not whole numbers", mend="separate them by commas") from None
        found = probe(
            chosen.model_folder,
            ids,
            chosen.tokens,
            engine=chosen.engine,
            threads=chosen.threads,
            context_tokens=chosen.context,
            logits=chosen.logits,
        )
    except EdgeError as error:
        sys.stderr.write(f"edge: {error}\n")
        return int(error.status)
    json.dump(asdict(found), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
