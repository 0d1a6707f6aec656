"""Runs inside the optimum environment: export a Hugging Face folder and say what its model answers.

A script of its own (`python optimum_worker.py REQUEST.json`): it imports nothing of edge, because the environment
it runs in has other versions of everything. REQUEST: {folder, work}. It leaves in `work`:

export/model.onnx   optimum's graph, float32, with past and present keys and values
reference.npz       ids [n] int64, and the model's own logits [n, vocab] float32 for them, by transformers
result.json         {versions, family} or {error: kind, detail}; kinds: missing, family, load, export
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

TASK = "text-generation-with-past"
REFERENCE_TOKENS = 48
PACKAGES = ("onnx", "optimum", "optimum-onnx", "torch", "transformers")


class RefusedError(Exception):
    """A reason that the user must hear. kind: see the module's docstring."""

    def __init__(self, kind: str, detail: str) -> None:
        self.kind, self.detail = kind, detail
        super().__init__(detail)


def load_model(folder: str) -> Any:
    """The model in float32. Errors: RefusedError, also for weights that transformers would make up or drop."""
    import torch  # type: ignore[import-not-found, unused-ignore]
    import transformers  # type: ignore[import-not-found, unused-ignore]

    try:
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise RefusedError("load", _first_line(error)) from error
    for words, key in (("is missing", "missing_keys"), ("is not part of the model", "unexpected_keys")):
        if report[key]:
            raise RefusedError("load", f"tensor {sorted(report[key])[0]} {words}")
    if report["mismatched_keys"]:
        raise RefusedError(
            "load", f"tensor {sorted(report['mismatched_keys'])[0][0]} has another shape than the config"
        )
    return model.eval()


def reference_logits(model: Any) -> tuple[Any, Any]:
    """Random token ids [n] and the model's own logits for them [n, vocab]."""
    import numpy as np
    import torch

    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, REFERENCE_TOKENS)
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(ids[None]), use_cache=False).logits[0]
    return ids, logits.numpy()


def export(model: Any, family: str, folder: Path) -> None:
    """Optimum's exporter, without its own post-processing. Errors: RefusedError."""
    convert = importlib.import_module("optimum.exporters.onnx.convert")
    tasks = importlib.import_module("optimum.exporters.tasks")
    importlib.import_module("optimum.exporters.onnx.model_configs")  # registers the families
    try:
        known = tasks.TasksManager.get_supported_tasks_for_model_type(family, "onnx", library_name="transformers")
    except KeyError as error:
        raise RefusedError("family", family) from error
    if TASK not in known:
        raise RefusedError("family", family)
    model.config.use_cache = True
    convert.onnx_export_from_model(model, folder, task=TASK, do_validation=False, no_post_process=True, device="cpu")


def work_through(request: dict[str, str]) -> dict[str, Any]:
    """The whole job; returns what result.json says."""
    try:
        import numpy as np

        for name in ("torch", "transformers", "optimum.exporters.onnx"):
            importlib.import_module(name)
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    except ImportError as error:
        raise RefusedError("missing", str(error)) from error
    work = Path(request["work"])
    model = load_model(request["folder"])
    family = str(model.config.model_type)
    ids, logits = reference_logits(model)
    np.savez(work / "reference.npz", ids=ids, logits=logits)
    try:
        export(model, family, work / "export")
    except RefusedError:
        raise
    except Exception as error:  # whatever torch and optimum raise
        raise RefusedError("export", _first_line(error)) from error
    return {"family": family, "versions": versions}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def main(request_path: str) -> None:
    """Read the request, write result.json; the log goes to stdout and stderr."""
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    try:
        result = work_through(request)
    except RefusedError as refused:
        result = {"error": refused.kind, "detail": refused.detail}
        if refused.__cause__ is not None:
            import traceback

            traceback.print_exception(refused.__cause__)
    (Path(request["work"]) / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
