"""The models of a comparison: made once, kept in the cache by content, never in the repository."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gguf_model import quantise_q4_0, tensor_summary, write_bf16
from benchmarks.hf_folder import StoredType, write_checkpoint
from benchmarks.llama_shape import PROFILE_FILE, shape_config, tokenizer_metadata, write_profile, write_shape
from benchmarks.make_genai_model import OPTIONS as GENAI_OPTIONS
from benchmarks.results import ExportCost
from edge.bench.bandwidth import kv_bytes_per_token, weight_bytes_read
from edge.build.cache import Cache, Entry, Spec, cache_root, default_cache
from edge.build.checkpoint import Checkpoint, open_checkpoint
from edge.errors import EdgeError
from edge.privacy import TELEMETRY_OFF
from edge.specs.profile import load_profile

ROOT = Path(__file__).resolve().parent.parent
SEED = 0
VERSION = 1  # of the files below; a change of how they are made raises it
INSTALL = "install with make bench"
# row -> (every matrix at 4 bits, options). By default llama.cpp uses flash attention here, which makes its prefill a
# quarter faster and its decode at 1,024 a tenth slower; the last row is the fastest decode that it can do.
LLAMACPP_ROWS: dict[str, tuple[bool, dict[str, Any]]] = {
    "llama.cpp Q4_0": (False, {}),
    "llama.cpp Q4_0 pure": (True, {}),
    "llama.cpp Q4_0 pure, flash attention off": (True, {"flash_attention": False}),
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Shape:
    """A model to compare on. stored: type of the weights that transformers and the genai builder read."""

    name: str
    title: str
    stored: StoredType
    cpu_s_max: float
    peak_rss_bytes_max: int


SHAPES = {
    "smollm2": Shape("smollm2", "SmolLM2-135M", "F32", 20.0, 600_000_000),
    "1b": Shape("1b", "Llama 3.2 1B shape, random weights", "BF16", 60.0, 1_500_000_000),
}


@dataclass(frozen=True)
class Variant:
    """One row of the table: an engine with a file. options: for the engine's `load`. reason: why it cannot
    run, "" if it can.
    """

    engine: str
    peer: str
    path: Path = Path()
    holds: str = ""
    file_bytes: int = 0
    weight_bytes: int = 0
    kv_bytes_per_position: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


class Models:
    """Makes and finds the files of one shape."""

    def __init__(self, shape: Shape, work: Path, *, threads: int, genai_python: Path, say: Say) -> None:
        self.shape, self.work, self.threads, self.genai_python, self.say = shape, work, threads, genai_python, say
        self.cache = Cache(cache_root() / "bench")
        self.profile = self._profile()
        self.exports: list[ExportCost] = []
        self.decoder: Mapping[str, Any] = {}

    def _profile(self) -> Path:
        if self.shape.name == "smollm2":
            return ROOT / "profiles" / "reference-notes-rtn.yaml"
        config = shape_config()
        spec = {"shape": config.to_json(), "seed": SEED, "version": VERSION}

        def fill(folder: Path) -> Spec:
            self.say(f"writing random weights: {self.shape.title}")
            write_shape(folder, config, seed=SEED)
            write_profile(folder)
            return spec

        return self._entry("shape", spec, fill).path(PROFILE_FILE)

    def _entry(self, kind: str, spec: Spec, fill: Callable[[Path], Spec]) -> Entry:
        return self.cache.find(kind, spec) or self.cache.store(kind, fill)

    def variants(self) -> list[Variant]:
        """Every row, edge first; also fills `exports` and `decoder`."""
        edge = self._edge()
        source = load_profile(self.profile).model
        checkpoint = open_checkpoint(source, default_cache(), base_folder=self.profile.parent)
        try:
            return [edge, *self._llamacpp(checkpoint), self._genai(checkpoint), self._transformers(checkpoint)]
        finally:
            checkpoint.close()

    def _edge(self) -> Variant:
        self.say(f"exporting {self.shape.title}")
        folder = Path(tempfile.mkdtemp(prefix="edge-", dir=self.work))
        limits: dict[str, Any] = {
            "cpu_s_max": self.shape.cpu_s_max,
            "peak_rss_bytes_max": self.shape.peak_rss_bytes_max,
        }
        command = [sys.executable, "-m", "benchmarks.export_cost", str(self.profile), str(folder)]
        done = _run(command)
        if done.returncode:
            reason = _last_line(done.stderr)
            self.exports.append(ExportCost(self.shape.name, "edge", reason=reason, **limits))
            return Variant("edge", "edge", reason=reason)
        cost = json.loads(done.stdout.splitlines()[-1])
        self.decoder = cost["decoder"]
        keys = ("user_s", "system_s", "wall_s", "peak_rss_bytes", "file_bytes")
        stage_s = cost["stage_user_s"] + cost["stage_system_s"]
        note = f"of the CPU time {stage_s:.1f} s are the export, the rest imports and the checkpoint's digest"
        measured = {key: cost[key] for key in keys}
        self.exports.append(ExportCost(self.shape.name, "edge", note=note, **measured, **limits))
        size = int(cost["file_bytes"])
        return Variant(
            "edge",
            "edge",
            folder,
            "int4 block 32 with float32 scales, head and embedding too; KV float32",
            size,
            weight_bytes_read(size, self.decoder),
            kv_bytes_per_token(self.decoder),
        )

    def _llamacpp(self, checkpoint: Checkpoint) -> list[Variant]:
        rows = []
        for name, (pure, options) in LLAMACPP_ROWS.items():
            try:
                rows.append(self._gguf_variant(name, self._gguf(checkpoint, pure=pure), options))
            except importlib.metadata.PackageNotFoundError:
                rows.append(Variant(name, "llama.cpp", reason=INSTALL))
            except EdgeError as error:
                rows.append(Variant(name, "llama.cpp", reason=str(error)))
        return rows

    def _gguf(self, checkpoint: Checkpoint, *, pure: bool) -> Path:
        version = importlib.metadata.version("llama-cpp-python")
        spec = {"model": checkpoint.digest, "pure": pure, "llama-cpp-python": version, "version": VERSION}

        def fill(folder: Path) -> Spec:
            self.say(f"quantising {self.shape.title} with llama.cpp{' (pure)' if pure else ''}")
            source = getattr(checkpoint, "path", None)  # a GGUF already
            with tempfile.TemporaryDirectory(dir=self.work) as place:
                if source is None:
                    source = Path(place) / "bf16.gguf"
                    write_bf16(checkpoint, tokenizer_metadata(checkpoint.config, SEED), source)
                quantise_q4_0(source, folder / "model.gguf", pure=pure, threads=self.threads)
            return spec

        return self._entry("gguf", spec, fill).path("model.gguf")

    def _gguf_variant(self, name: str, path: Path, options: dict[str, Any]) -> Variant:
        read, by_type = tensor_summary(path)
        kinds = " + ".join(f"{kind} {size / 1e6:.0f} MB" for kind, size in sorted(by_type.items()))
        kv = kv_bytes_per_token(self.decoder) // 2 if self.decoder else 0
        return Variant(name, "llama.cpp", path, f"{kinds}; KV float16", path.stat().st_size, read, kv, options)

    def _hf_folder(self, checkpoint: Checkpoint) -> Path:
        """The checkpoint as transformers reads it; a Hugging Face folder is used as it is."""
        present = getattr(checkpoint, "folder", None)
        if present is not None:
            return Path(present)
        spec = {"model": checkpoint.digest, "stored": self.shape.stored, "version": VERSION}

        def fill(folder: Path) -> Spec:
            self.say(f"writing {self.shape.title} as a Hugging Face folder")
            write_checkpoint(checkpoint, folder, self.shape.stored)
            return spec

        return self._entry("hf", spec, fill).folder

    def _genai(self, checkpoint: Checkpoint) -> Variant:
        name, route = "onnxruntime-genai", "onnxruntime-genai's builder"
        reason = ""
        try:
            version = importlib.metadata.version("onnxruntime-genai")
            entry = self._genai_entry(checkpoint, version)
        except importlib.metadata.PackageNotFoundError:
            reason = INSTALL
        except EdgeError as error:
            reason = str(error)
        except GenaiBuilderError as error:
            reason = f"its model is made by a builder that needs transformers 5: {error}"
        if reason:
            self.exports.append(ExportCost(self.shape.name, route, reason=reason))
            return Variant(name, name, reason=reason)
        size = sum(path.stat().st_size for path in entry.folder.glob("*.onnx*"))
        cost = json.loads(entry.path("cost.json").read_text())
        note = "measured when it was built, kept in the cache"
        self.exports.append(ExportCost(self.shape.name, route, file_bytes=size, note=note, **cost))
        kv = kv_bytes_per_token(self.decoder) if self.decoder else 0
        holds = "int4 block 32 with float32 scales, head and embedding too; KV float32"
        return Variant(name, name, entry.folder, holds, size, size, kv)

    def _genai_entry(self, checkpoint: Checkpoint, version: str) -> Entry:
        spec = {"model": checkpoint.digest, "builder": version, "options": list(GENAI_OPTIONS), "version": VERSION}

        def fill(folder: Path) -> Spec:
            source = self._hf_folder(checkpoint)
            self.say(f"building {self.shape.title} with onnxruntime-genai's builder")
            with tempfile.TemporaryDirectory(dir=self.work) as place:
                built = Path(place) / "model"
                built.mkdir()
                command = [str(self.genai_python), "-m", "benchmarks.make_genai_model", str(source), str(built)]
                done = _run(command)
                if done.returncode:
                    raise GenaiBuilderError(_last_line(done.stderr))
                for path in sorted(path for path in built.iterdir() if path.is_file()):
                    shutil.move(path, folder / path.name)
            return spec

        found = self.cache.find("genai", spec)
        if found is not None:
            return found
        if not self.genai_python.is_file():
            raise GenaiBuilderError("make .venv-genai/.ready")
        return self.cache.store("genai", fill)

    def _transformers(self, checkpoint: Checkpoint) -> Variant:
        name, kind = "transformers", "bf16" if self.shape.stored == "BF16" else "fp32"
        try:
            for package in ("torch", "transformers"):
                importlib.metadata.version(package)
            folder = self._hf_folder(checkpoint)
        except importlib.metadata.PackageNotFoundError:
            return Variant(f"{name} {kind}", name, reason=INSTALL)
        except EdgeError as error:
            return Variant(f"{name} {kind}", name, reason=str(error))
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        kv = kv_bytes_per_token(self.decoder) // (2 if kind == "bf16" else 1) if self.decoder else 0
        return Variant(f"{name} {kind}", name, folder, f"{kind}, not quantised; KV {kind}", size, size, kv)


class GenaiBuilderError(Exception):
    """The builder is not there or failed."""


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | TELEMETRY_OFF | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines() or ["it ended without a word"]
    return lines[-1][:200]
