"""The stages of the build line, in order.

    sources -> tokenizer -> round -> choose -> export -> golden -> describe -> clinical -> fidelity -> seal

Every stage takes the Build, does one job, and returns what it made as plain JSON (line.py runs them and seals).
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable
from typing import Any

import edge
import edge.privacy
from edge.build.card import model_card
from edge.build.checkpoint import open_checkpoint, with_adapter
from edge.build.clinical_golden import CONTEXT_TOKENS, write_clinical
from edge.build.clinical_suite import force_source
from edge.build.export import check_native, export_native
from edge.build.fidelity import GREEDY_NEW_TOKENS, fidelity_failures, gate_fidelity, measure_fidelity, worst_matrices
from edge.build.golden import golden_sequences, make_golden
from edge.build.graph import ADAPTER_FILE, ExportPlan, matrix_name
from edge.build.lora import check_adapter
from edge.build.plan import gigabytes, plan
from edge.build.quantise import QuantFormat, QuantisedRows
from edge.build.readback import BuiltModel
from edge.build.reference import MATRICES
from edge.build.rounding import stage_choose, stage_round
from edge.build.sbom import build_sbom, installed_library, runtime_libraries
from edge.build.state import Build
from edge.build.tasks import task_files, task_sampler
from edge.build.texts import read_texts, visit_sample
from edge.errors import ResourceError, SourceError
from edge.files import sha256_file
from edge.runtime.text import ChatTokenizer
from edge.specs.profile import locate

ACCURACY_LEVEL = 4
GRAPH_CONTRACT = "edge-decoder-1"
TOOLS = ("gguf", "numpy", "onnx-ir", "tokenizers")
FEATURES = ("onnx-decoder-1", "chat-template-1", "tasks-2", "golden-1")


def stage_sources(build: Build) -> dict[str, Any]:
    """Open the checkpoint, merge the adapter, check that all of it fits together and onto the target."""
    profile = build.profile
    checkpoint = open_checkpoint(profile.model, build.cache, base_folder=build.profile_path.parent)
    if profile.adapter is not None:
        folder = locate(build.profile_path, profile.adapter.path)
        merged = checkpoint = with_adapter(checkpoint, folder, profile.adapter.sha256)
        build.adapter_digest = profile.adapter.sha256
        build.unmerged = None if profile.adapter.merged else merged
    build.checkpoint = checkpoint
    check_native(checkpoint.config, checkpoint, profile.model.source)
    build.plan = plan(profile, build.target, checkpoint.config, adapter=build.adapter_shape)
    if not build.plan.fits:
        raise ResourceError(build.plan.reason, where=str(build.profile_path), mend="choose a smaller model or context")
    free = shutil.disk_usage(build.folder).free
    # The bundle, and the rounded candidates beside it.
    needed = build.plan.disk_bytes * 3
    if free < needed:
        raise ResourceError(
            f"no space left: the build needs {gigabytes(needed)} GB, {gigabytes(free)} GB are free",
            where=str(build.folder.parent),
            mend="free space and run the same command again",
        )
    return {"source": profile.model.source, "digest": checkpoint.digest, "tensors": len(checkpoint.names())}


def stage_tokenizer(build: Build) -> dict[str, Any]:
    """The checkpoint's tokenizer and chat template, as they are; read back through the runtime's reader."""
    folder = build.folder / "tokenizer"
    folder.mkdir()
    files = build.checkpoint.tokenizer_files()
    for name, data in sorted(files.items()):
        (folder / name).write_bytes(data)
    build.tokenizer = ChatTokenizer(folder)
    if build.tokenizer.vocab_size > build.config.vocab_size:
        raise SourceError(
            f"the tokenizer knows {build.tokenizer.vocab_size} tokens, the model {build.config.vocab_size}",
            where=build.profile.model.source,
            mend="use the tokenizer that belongs to the model",
        )
    return {"files": {name: len(data) for name, data in sorted(files.items())}}


def stage_export(build: Build) -> dict[str, Any]:
    """Write model.onnx and model.weights, tensor by tensor, and read the file of an unmerged adapter back."""
    folder = build.export_folder
    folder.mkdir()
    config, quantisation = build.config, build.profile.quantisation
    head = None if quantisation.scheme == "none" else QuantFormat(quantisation.head_bits, quantisation.block_size, True)
    export_plan = ExportPlan(
        formats={matrix_name(layer, m): build.layer_format(layer) for layer in range(config.layers) for m in MATRICES},
        head_format=head,
        context_tokens=build.profile.context_tokens,
        accuracy_level=ACCURACY_LEVEL,
    )
    store = build.rounded

    def ready(layer: int, matrix: str) -> QuantisedRows | None:
        format = build.layer_format(layer)
        if store is None or format is None:
            return None
        name = matrix_name(layer, matrix)
        return store.load(name, format) if store.path(name, format).exists() else None

    export_native(
        build.rounding_source,
        export_plan,
        folder,
        rounded=ready,
        adapter=build.unmerged,
        factor_dtype=build.factor_dtype,
        progress=build.progress,
    )
    made: dict[str, Any] = {"bytes": sum(path.stat().st_size for path in folder.iterdir())}
    if build.unmerged is not None:
        with BuiltModel(folder, config) as built:
            made["factors_read_back"] = check_adapter(build.unmerged, built, build.factor_dtype)
        made["adapter_bytes"] = (folder / ADAPTER_FILE).stat().st_size
    return made


def stage_golden(build: Build) -> dict[str, Any]:
    """Golden cases and the source's opinion, from the weights as they lie in the file."""
    folder = build.folder / "golden"
    folder.mkdir()
    texts = read_texts(locate(build.profile_path, build.profile.fidelity_text.text))
    sequences = golden_sequences(texts, build.tokenizer, build.profile.context_tokens)
    with BuiltModel(build.export_folder, build.config) as built:
        for name, data in make_golden(build.checkpoint, built, sequences).items():
            (folder / name).write_bytes(data)
    return {"cases": len(sequences)}


def stage_describe(build: Build) -> dict[str, Any]:
    """Tasks, SBOM, model card and the manifest's fields."""
    profile, checkpoint = build.profile, build.checkpoint
    tasks = build.folder / "tasks"
    samplers = {}
    for name in profile.tasks:
        tasks.mkdir(exist_ok=True)  # a bundle has no empty folder
        files = task_files(name)
        samplers[name] = task_sampler(name, files)
        for file, data in sorted(files.items()):
            (tasks / file).write_bytes(data)
    layers = list(build.int8_layers) if profile.quantisation.scheme == "mixed" else None
    predicted = plan(profile, build.target, checkpoint.config, int8_layers=layers, adapter=build.adapter_shape)
    base = {"source": profile.resolved()["model"]["source"], "digest": checkpoint.digest, "license": checkpoint.license}
    adapter = _adapter_facts(build)
    quantisation = profile.quantisation.model_dump(mode="json", exclude={"calibration"}) | {
        "int8_layers": layers,
        "calibration_digest": build.calibration.digest if build.calibration else None,
    }
    build.fields = {
        "name": profile.name,
        "profile": profile.resolved(),
        "target": build.target.resolved(),
        "base_model": base,
        "adapter": adapter,
        "decoder": checkpoint.config.to_json(),
        "quantisation": quantisation,
        "runtime": build.runtime
        or {
            "engine": "onnxruntime",
            "onnxruntime": importlib.metadata.version("onnxruntime"),
            "graph": GRAPH_CONTRACT,
            "accuracy_level": ACCURACY_LEVEL,
        },
        "sampler": samplers,
        "tools": {
            "edge-kit": edge.__version__,
            **{name: importlib.metadata.version(name) for name in (*TOOLS, *build.tools)},
        },
        "predicted_memory": {item.name: item.size_bytes for item in predicted.ledger},
        "required_features": build.features or FEATURES,
    }
    tokenizer_files = {path.name: sha256_file(path) for path in sorted((build.folder / "tokenizer").iterdir())}
    sbom = build_sbom(
        name=profile.name,
        base_model=base,
        adapter=adapter,
        tokenizer_files=tokenizer_files,
        libraries=(*runtime_libraries(build.target.arch), *map(installed_library, build.shipped)),
    )
    (build.folder / "sbom.cdx.json").write_bytes(sbom)
    (build.folder / "model_card.md").write_bytes(_card(build, quantisation))
    return {"tasks": list(profile.tasks)}


def _adapter_facts(build: Build) -> dict[str, Any] | None:
    """What the manifest says of the adapter; of a merged one there is no more to say than which it was."""
    if not build.adapter_digest:
        return None
    facts: dict[str, Any] = {"digest": build.adapter_digest}
    shape = build.adapter_shape
    if shape is not None:
        size = (build.export_folder / ADAPTER_FILE).stat().st_size
        facts |= {"merged": False, "rank": shape.rank_text, "file": f"model/{ADAPTER_FILE}", "file_bytes": size}
    return facts


def _card(build: Build, quantisation: dict[str, Any]) -> bytes:
    profile = build.profile
    return model_card(
        name=profile.name,
        description=profile.description,
        base_model=build.fields["base_model"],
        adapter=build.fields["adapter"],
        decoder=build.config,
        quantisation=quantisation,
        target=build.fields["target"],
        context_tokens=profile.context_tokens,
        tasks=profile.tasks,
        budgets=profile.budgets.model_dump(mode="json"),
    )


def stage_clinical(build: Build) -> dict[str, Any]:
    """The clinical self-test through the engine that ships, and the source's scores on the gate's suite."""
    engine = build.open_engine(min(build.profile.context_tokens, CONTEXT_TOKENS))
    try:
        return write_clinical(build, engine, lambda seen: force_source(build.checkpoint, seen, build.progress))
    finally:
        engine.close()


def stage_fidelity(build: Build) -> dict[str, Any]:
    """The build as its engine computes it against its source; the profile's budget decides."""
    text = build.profile.fidelity_text
    texts = visit_sample(locate(build.profile_path, text.text), build.tokenizer, text.tokens)
    room = build.profile.context_tokens - GREEDY_NEW_TOKENS
    sequences = [ids[:room] for ids in texts.sequences]
    engine = build.open_engine(max(map(len, sequences)) + GREEDY_NEW_TOKENS)
    try:
        result = measure_fidelity(build.checkpoint, engine, sequences, progress=build.progress)
        build.fidelity = result.to_json()
        budget = build.profile.budgets.fidelity
        limits = budget.model_dump(mode="json") if build.gate and budget is not None else {}
        if fidelity_failures(build.fidelity, limits):
            # One more pass, only now that somebody must know which matrix hurts most.
            with BuiltModel(build.export_folder, build.config) as built:
                worst = worst_matrices(build.checkpoint, built, sequences[:2])
            build.fidelity["worst_matrices"] = [[name, error] for name, error in worst]
            gate_fidelity(build.fidelity, limits, f"profile {build.profile.name}")
    finally:
        engine.close()
    return build.fidelity


Stage = Callable[[Build], dict[str, Any]]

STAGES: tuple[tuple[str, Stage], ...] = (
    ("sources", stage_sources),
    ("tokenizer", stage_tokenizer),
    ("round", stage_round),
    ("choose", stage_choose),
    ("export", stage_export),
    ("golden", stage_golden),
    ("describe", stage_describe),
    ("clinical", stage_clinical),
    ("fidelity", stage_fidelity),
)
