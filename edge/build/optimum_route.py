"""The second export route, `export: optimum`: any decoder that optimum can export, at fp32 or int8.

Optimum needs torch and an older transformers, so it runs in an environment of its own, as a process; what comes
back is read, cleaned of the host's traces, written as model.onnx + model.weights, and run: the engine that ships
must answer like the model did in transformers, or there is no build.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.build.checkpoint.base import read_json_object
from edge.build.checkpoint.huggingface import weight_files
from edge.build.optimum_graph import load_graph, quantise_matrices, save_model
from edge.build.optimum_source import foreign_decoder
from edge.build.quantise import QuantFormat
from edge.errors import BundleError, EdgeError, MissingToolError, ResourceError, SourceError, SpecError
from edge.files import resource_error
from edge.privacy import TELEMETRY_OFF
from edge.runtime.engine import Engine, Logits
from edge.runtime.optimum_engine import OptimumEngine
from edge.specs.decoder import DecoderConfig

PYTHON_VARIABLE = "EDGE_OPTIMUM_PYTHON"
DEFAULT_PYTHON = Path(".venv-optimum") / "bin" / "python"
WORKER = Path(__file__).with_name("optimum_worker.py")
SCHEMES = ("none", "int8")
ACCURACY_LEVEL = 4
TOLERANCE = 1e-3  # of the largest logit, between the shipped engine and transformers at fp32; seen: 1e-6
TIMEOUT_S = 4 * 3600
# What the other process may see of this one: where programs and libraries lie, not who is logged in.
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "SYSTEMROOT")


@dataclass(frozen=True)
class OptimumFacts:
    """What the graph is, read from the graph.

    quantised_matrices: products that are int8 now. max_logit_difference: largest difference of the shipped fp32
    engine from transformers on random tokens, as a share of the largest logit (depends on the
    host: for the report, not for the bundle).
    versions: of the packages that exported.
    """

    layers: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int
    family: str
    quantised_matrices: int
    max_logit_difference: float
    versions: dict[str, str]

    def check_config(self, config: DecoderConfig, where: str) -> DecoderConfig:
        """`config` with the graph's own cache sizes. Errors: SourceError where they cannot be of one model."""
        for key in ("family", "layers", "vocab_size"):
            if getattr(self, key) != getattr(config, key):
                raise SourceError(
                    f"the exported graph has {key} {getattr(self, key)}, config.json says {getattr(config, key)}",
                    where=where,
                    mend="check that config and weights belong together",
                )
        return replace(config, kv_heads=self.kv_heads, head_dim=self.head_dim)


def check_scheme(scheme: str) -> None:
    """Errors: SpecError for what this route cannot round to."""
    if scheme not in SCHEMES:
        raise SpecError(
            f"quantisation.scheme '{scheme}' is not possible with export: optimum (possible: {', '.join(SCHEMES)})",
            mend="use one of these, or export: native for a family that has it",
        )


def optimum_python(environment: Mapping[str, str] = os.environ) -> Path:
    """The interpreter of the optimum environment. Errors: MissingToolError."""
    chosen = environment.get(PYTHON_VARIABLE)
    python = Path(chosen).expanduser() if chosen else DEFAULT_PYTHON
    if not python.is_file():
        raise _missing(f"there is no {python}")
    return python.absolute()  # not resolved: a virtual environment is found by its link


def build_with_optimum(
    hf_folder: Path,
    scheme: str,
    out_folder: Path,
    *,
    block_size: int = 32,
    reference_folder: Path | None = None,
    log_path: Path | None = None,
    python: Path | None = None,
) -> OptimumFacts:
    """Export the model of `hf_folder` into the new folder `out_folder`: model.onnx and model.weights.

    scheme: none (float32) or int8 (weights in blocks of block_size). reference_folder: where the fp32 build is
    kept too, for the fidelity stage. log_path: of the exporter, only kept when it fails; beside out_folder by
    default. Errors: SpecError, MissingToolError, SourceError, ResourceError; then neither folder exists.
    """
    check_scheme(scheme)
    for folder in (out_folder, reference_folder):
        if folder is not None and folder.exists():
            raise ResourceError("is there already", where=str(folder), mend="remove it or name another folder")
    config = foreign_decoder(read_json_object(hf_folder / "config.json"), str(hf_folder / "config.json"))
    weight_files(hf_folder)
    interpreter = python or optimum_python()
    log = log_path or out_folder.with_name(f"{out_folder.name}.optimum.log")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out_folder.name}.", dir=out_folder.parent) as name:
            work = Path(name)
            result = _run_worker(interpreter, hf_folder, work, log)
            return _finish(config, result, scheme, block_size, work, out_folder, reference_folder)
    except OSError as error:
        raise resource_error(error, str(out_folder)) from error


def _run_worker(python: Path, hf_folder: Path, work: Path, log: Path) -> dict[str, Any]:
    """Export into `work`. Errors: what the worker refused, as an EdgeError; the log then stays."""
    request = work / "request.json"
    request.write_text(json.dumps({"folder": str(hf_folder.absolute()), "work": str(work)}), encoding="utf-8")
    environment = {key: os.environ[key] for key in KEPT_VARIABLES if key in os.environ}
    environment |= TELEMETRY_OFF | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "false",
        # Whatever a library writes for itself goes with the work folder.
        **{key: str(work / "home") for key in ("HOME", "HF_HOME", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR")},
        "TMPDIR": str(work),
    }
    with log.open("wb") as output:
        try:
            # -P: the script's own folder is edge/build, whose modules must not pose as top-level ones.
            done = subprocess.run(
                [str(python), "-s", "-P", str(WORKER), str(request)],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise ResourceError(f"optimum took over {TIMEOUT_S} s", where=str(log), mend="see that log") from error
        except OSError as error:
            raise _missing(f"{python} does not start") from error
    try:
        result: dict[str, Any] = json.loads((work / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _died(done.returncode, log) from error
    if "error" in result:
        raise _refused(str(result["error"]), str(result.get("detail", "")), hf_folder, log)
    log.unlink(missing_ok=True)
    return result


def _missing(detail: str) -> MissingToolError:
    return MissingToolError(
        f"export: optimum needs an environment of its own ({detail})",
        mend=f"run `python3 -m venv .venv-optimum && .venv-optimum/bin/pip install 'edge-kit[optimum]'` here, "
        f"or set {PYTHON_VARIABLE} to its python",
    )


def _died(status: int, log: Path) -> EdgeError:
    if status in (-9, 137):
        return ResourceError(
            "the exporter was killed, most likely for lack of memory",
            where=str(log),
            mend="optimum needs about 5 bytes of memory for each byte of fp32 weights; use a larger machine",
        )
    return SourceError(f"the exporter ended with status {status}", where=str(log), mend="see that log")


def _refused(kind: str, detail: str, hf_folder: Path, log: Path) -> EdgeError:
    if kind == "missing":
        log.unlink(missing_ok=True)
        return _missing(detail)
    if kind == "family":
        log.unlink(missing_ok=True)
        return SourceError(
            f"optimum does not know how to export architecture '{detail}' as a text generator",
            where=str(hf_folder),
            mend="use a model of a known family",
        )
    what = "transformers cannot load it" if kind == "load" else "optimum cannot export it"
    return SourceError(f"{what} ({detail})", where=str(hf_folder), mend=f"see {log}")


def _finish(
    config: DecoderConfig,
    result: Mapping[str, Any],
    scheme: str,
    block_size: int,
    work: Path,
    out_folder: Path,
    reference_folder: Path | None,
) -> OptimumFacts:
    """From optimum's graph to checked folders that appear by rename."""
    properties = {"family": config.family, "max_positions": str(config.max_positions)}
    model = load_graph(work / "export" / "model.onnx")
    plain = work / "fp32"
    plain.mkdir()
    save_model(model, plain, properties)
    engine = _opened(plain, config.family)
    try:
        difference = _check_against_transformers(engine, work / "reference.npz", out_folder.name)
        kv_heads, head_dim = engine.cache_shape
        layers, vocab_size, positions = engine.layers, engine.vocab_size, engine.context_tokens
    finally:
        engine.close()
    matrices = 0
    ready = plain
    if scheme == "int8":
        matrices = quantise_matrices(model, QuantFormat(8, block_size, True), ACCURACY_LEVEL, vocab_size)
        if not matrices:
            raise SourceError(
                f"no matrix of '{config.family}' could be rounded", where=out_folder.name, mend="use scheme: none"
            )
        ready = work / "int8"
        ready.mkdir()
        save_model(model, ready, properties)
        rounded = _opened(ready, config.family)
        try:
            _check_finite(rounded, work / "reference.npz", out_folder.name)
        finally:
            rounded.close()
    facts = OptimumFacts(
        layers=layers,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=vocab_size,
        max_positions=positions,
        family=str(result["family"]).replace("-", "_"),
        quantised_matrices=matrices,
        max_logit_difference=difference,
        # "2.13.0+cpu" and "2.13.0" are one version.
        versions={name: str(version).partition("+")[0] for name, version in result["versions"].items()},
    )
    facts.check_config(config, out_folder.name)
    if reference_folder is not None:
        if ready is plain:
            shutil.copytree(plain, reference_folder)
        else:
            plain.rename(reference_folder)
    ready.rename(out_folder)
    return facts


def _opened(folder: Path, family: str) -> OptimumEngine:
    """The engine that ships, on what will ship. Errors: SourceError where it cannot run such a graph."""
    try:
        return OptimumEngine(folder, threads=1)
    except BundleError as error:
        raise SourceError(
            f"edge cannot run what optimum made of '{family}': {error.what}",
            where=folder.name,
            mend="use a family with a native export",
        ) from error


def _check_finite(engine: Engine, reference: Path, where: str) -> None:
    """The rounded model runs and gives numbers; how good they are is the fidelity stage's. Errors: SourceError."""
    with np.load(reference) as stored:
        logits = engine.forward(stored["ids"], range(len(stored["ids"])))
    if not np.isfinite(logits).all():
        raise SourceError("the rounded model gives no numbers", where=where, mend="use scheme: none")


def _check_against_transformers(engine: Engine, reference: Path, where: str) -> float:
    """Largest difference of the engine's logits as a share of the largest logit, read in uneven chunks and after a
    rewind. Errors: SourceError.
    """
    with np.load(reference) as stored:
        ids, expected = stored["ids"], stored["logits"]
    half, most = len(ids) // 2, len(ids) - 5
    pieces: list[Logits] = [engine.forward(ids[:half], range(half))]
    engine.forward(ids[::-1][:7], (0,))  # wrong tokens, forgotten again
    engine.rewind(half)
    pieces.append(engine.forward(ids[half:most], range(most - half)))
    pieces += [engine.forward(ids[index : index + 1], (0,)) for index in range(most, len(ids))]
    # As a share: float32 sums in another order differ in proportion to the logits.
    difference = float(np.abs(np.concatenate(pieces) - expected).max()) / max(1.0, float(np.abs(expected).max()))
    if not difference <= TOLERANCE:  # this way round, not-a-number fails
        raise SourceError(
            f"the exported graph answers otherwise than the model (logits differ by {difference:.3g} of the largest)",
            where=where,
            mend="this family cannot be exported by this route; use one with a native export",
        )
    return difference
