"""The build line of `export: optimum`: the same stages in the same order, with another source, export and judge.

Nothing here is calibrated or mixed (stages round and choose are left out): int8 or nothing. See optimum_route.py for
how the export is made, optimum_checks.py for what fidelity and golden cases mean without reference.py.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from typing import Any

import edge.privacy  # noqa: F401
from edge.build.clinical_golden import write_clinical
from edge.build.clinical_suite import force_engine
from edge.build.fidelity import fidelity_failures, gate_fidelity
from edge.build.golden import golden_sequences
from edge.build.optimum_checks import golden_of_engines, measure_engines
from edge.build.optimum_route import ACCURACY_LEVEL, build_with_optimum, check_scheme
from edge.build.optimum_source import OptimumSource, open_optimum_source
from edge.build.plan import gigabytes, plan
from edge.build.stages import Stage, stage_describe, stage_tokenizer
from edge.build.state import Build
from edge.build.texts import read_texts, sample
from edge.errors import ResourceError, SourceError, SpecError
from edge.runtime.optimum_engine import ENGINE_NAME, OptimumEngine
from edge.specs.profile import locate

GRAPH_CONTRACT = "optimum-decoder-1"
REFERENCE_FOLDER = "model.fp32"  # inside the folder being built, so that whatever ends the build removes it too
EXPORT_COPIES = 4  # of the fp32 weights on the disk at once: optimum's own, ours, the work of rounding


def source_of(build: Build) -> OptimumSource:
    """The folder that is built from."""
    if not isinstance(build.checkpoint, OptimumSource):
        raise TypeError("these stages build from a folder opened by stage_optimum_sources")
    return build.checkpoint


def stage_optimum_sources(build: Build) -> dict[str, Any]:
    """Open the folder and refuse what this route cannot do, before torch is started."""
    profile = build.profile
    kind, name, _ = profile.model.parsed
    where = str(build.profile_path)
    check_scheme(profile.quantisation.scheme)
    if kind != "hf":
        raise SpecError("export: optimum builds from an hf: folder only", where=where, mend="download the model to one")
    if profile.adapter is not None:
        raise SpecError(
            "export: optimum cannot merge an adapter", where=where, mend="merge it with peft and name the merged folder"
        )
    source = open_optimum_source(build.profile_path.parent / name, profile.model.sha256, profile.model.license)
    build.checkpoint = source
    if profile.context_tokens > source.config.max_positions:
        raise SpecError(
            f"context_tokens is {profile.context_tokens}, the model has {source.config.max_positions} positions",
            where=where,
            mend="lower context_tokens",
        )
    build.plan = plan(profile, build.target, source.config)
    if not build.plan.fits:
        raise ResourceError(build.plan.reason, where=where, mend="choose a smaller model or context")
    needed = source.weight_values * 4 * EXPORT_COPIES
    free = shutil.disk_usage(build.folder).free
    if free < needed:
        raise ResourceError(
            f"no space left: the build needs {gigabytes(needed)} GB, {gigabytes(free)} GB are free",
            where=str(build.folder.parent),
            mend="free space and run the same command again",
        )
    return {"source": profile.model.source, "digest": source.digest, "tensors": len(source.names())}


def stage_optimum_export(build: Build) -> dict[str, Any]:
    """Export, check against transformers, round."""
    source, scheme = source_of(build), build.profile.quantisation.scheme
    facts = build_with_optimum(
        source.folder,
        scheme,
        build.folder / "model",
        block_size=build.profile.quantisation.block_size,
        reference_folder=None if scheme == "none" else build.folder / REFERENCE_FOLDER,
        log_path=build.folder.parent / f"{build.profile.name}.optimum.log",
    )
    source.config = facts.check_config(source.config, build.profile.model.source)
    source.versions = facts.versions
    return {
        "bytes": sum(path.stat().st_size for path in (build.folder / "model").iterdir()),
        "quantised_matrices": facts.quantised_matrices,
        "max_logit_difference": facts.max_logit_difference,
    }


def _engines(build: Build) -> tuple[OptimumEngine, OptimumEngine]:
    """(source at fp32, build); at scheme none both are the same model."""
    reference = build.folder / REFERENCE_FOLDER
    model = build.folder / "model"
    return OptimumEngine(reference if reference.exists() else model), OptimumEngine(model)


def stage_optimum_golden(build: Build) -> dict[str, Any]:
    """Golden cases and the source's opinion, by the engine."""
    folder = build.folder / "golden"
    folder.mkdir()
    texts = read_texts(locate(build.profile_path, build.profile.fidelity_text.text))
    sequences = golden_sequences(texts, build.tokenizer)
    source, built = _engines(build)
    try:
        longest = max(len(tokens) for _, tokens, _ in sequences)
        if longest > built.context_tokens:
            raise SourceError(
                f"a note's prompt is {longest} tokens, the model reads {built.context_tokens}",
                where=build.profile.model.source,
                mend="use a model with more positions",
            )
        for name, data in golden_of_engines(source, built, sequences).items():
            (folder / name).write_bytes(data)
    finally:
        source.close()
        built.close()
    return {"cases": len(sequences)}


def stage_optimum_describe(build: Build) -> dict[str, Any]:
    """As for every bundle; the manifest names this route's engine and what exported."""
    made = stage_describe(build)
    build.fields["runtime"] = {
        "engine": ENGINE_NAME,
        "onnxruntime": importlib.metadata.version("onnxruntime"),
        "graph": GRAPH_CONTRACT,
        "accuracy_level": ACCURACY_LEVEL,
    }
    build.fields["tools"] = {**build.fields["tools"], **source_of(build).versions}
    return made


def stage_optimum_clinical(build: Build) -> dict[str, Any]:
    """As for every bundle; the fp32 build of this route speaks for the source."""
    source, built = _engines(build)
    try:
        return write_clinical(build, built, lambda seen: force_engine(source, seen))
    finally:
        source.close()
        built.close()


def stage_optimum_fidelity(build: Build) -> dict[str, Any]:
    """int8 against the same route's fp32; the profile's budget decides. Removes the fp32 build."""
    text = build.profile.fidelity_text
    texts = sample(locate(build.profile_path, text.text), build.tokenizer, text.tokens)
    source, built = _engines(build)
    try:
        sequences = [sequence[: built.context_tokens] for sequence in texts.sequences]
        build.fidelity = measure_engines(source, built, sequences, progress=build.progress).to_json()
        budget = build.profile.budgets.fidelity
        limits = budget.model_dump(mode="json") if build.gate and budget is not None else {}
        if fidelity_failures(build.fidelity, limits):
            gate_fidelity(build.fidelity, limits, f"profile {build.profile.name}")
    finally:
        source.close()
        built.close()
    shutil.rmtree(build.folder / REFERENCE_FOLDER, ignore_errors=True)
    return build.fidelity


OPTIMUM_STAGES: tuple[tuple[str, Stage], ...] = (
    ("sources", stage_optimum_sources),
    ("tokenizer", stage_tokenizer),
    ("export", stage_optimum_export),
    ("golden", stage_optimum_golden),
    ("describe", stage_optimum_describe),
    ("clinical", stage_optimum_clinical),
    ("fidelity", stage_optimum_fidelity),
)
