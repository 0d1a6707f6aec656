"""The build line of backend mlc, engine tvm: the native line with two more stages.

    sources -> tokenizer -> round -> choose -> export -> pack -> golden -> describe -> clinical -> fidelity

`export` is that of the ONNX route, into a folder that does not travel; `pack` turns it into tiles, compiles the decoder
and reads everything back. Golden cases come from the same weights by the same reference. What this host measures
(clinical self-test, fidelity) is measured with kernels for this host's CPU, made from the same weights: a target's own
kernels run on the target, where `edge verify` holds them to the golden cases.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from edge.build.readback import BuiltModel
from edge.build.rounding import stage_choose, stage_round
from edge.build.stages import (
    FEATURES,
    Stage,
    stage_clinical,
    stage_describe,
    stage_export,
    stage_fidelity,
    stage_golden,
    stage_sources,
    stage_tokenizer,
)
from edge.build.state import Build
from edge.build.tvm.compile import TVM_VERSION, check_tools, compile_decoder
from edge.build.tvm.decoder import Shape
from edge.build.tvm.isa import Isa, isa_for, isa_of_target, variants
from edge.build.tvm.pack import DESCRIPTION_FILE, check_packed, pack_model, shape_of
from edge.build.tvm.runtime_library import find_runtime_library, write_runtime_library
from edge.device.facts import local_facts
from edge.errors import SpecError
from edge.runtime.engine import Engine
from edge.runtime.tvm_engine import ENGINE_NAME, FFI_VERSION, TvmEngine

GRAPH_CONTRACT = "tvm-decoder-1"
EXPORT_FOLDER = "model.export"  # inside the folder being built, so that whatever ends the build removes it too
HOST_FOLDER = "model.host"


def stage_tvm_sources(build: Build) -> dict[str, Any]:
    """As for every bundle, after tools and target were checked: a missing compiler shows before any download.

    The runtime library comes first too: 3 MB that cannot be had must not end a build of hours.
    """
    where = str(build.profile_path)
    check_tools(where)
    isa = isa_of_target(build.target, where)
    if build.profile.quantisation.scheme == "none":
        raise SpecError(
            "key 'quantisation.scheme': the tvm engine multiplies quantised weights, 'none' has none",
            where=where,
            mend="choose int4, int8 or mixed",
        )
    find_runtime_library(isa.arch, build.cache)
    if _wants_cuda(build):
        from edge.build.tvm.cuda.compile import level_of_target, load_nvrtc

        level_of_target(build.target, where)
        load_nvrtc()
    build.export_name = EXPORT_FOLDER
    made = stage_sources(build)
    return made | {"kernels": isa.name}


def _wants_cuda(build: Build) -> bool:
    return build.profile.accelerator == "cuda"


def host_isa(where: str) -> Isa:
    """The best kernels of this build host."""
    facts = local_facts()
    return isa_for(facts.arch, facts.isa_features, where)


def stage_pack(build: Build) -> dict[str, Any]:
    """Tiles and compiled decoder for the target, and for this host where it is another CPU."""
    where = str(build.profile_path)
    isa, own = isa_of_target(build.target, where), host_isa(where)
    model = build.folder / "model"
    with BuiltModel(build.export_folder, build.config) as exported:
        shape = shape_of(exported, build.profile.context_tokens, where)
        made = _make(build, exported, shape, isa, model)
        here = model
        if own not in variants(isa):
            here = build.folder / HOST_FOLDER
            _make(build, exported, shape, own, here)
    build.runtime = {
        "engine": ENGINE_NAME,
        "apache-tvm": TVM_VERSION,
        "apache-tvm-ffi": FFI_VERSION,
        "graph": GRAPH_CONTRACT,
        "kernels": isa.name,
        "cpu_features": list(isa.features),
    }
    if _wants_cuda(build):
        from edge.build.tvm.cuda.compile import level_of_target

        build.runtime["accelerator"] = f"cuda-{level_of_target(build.target, where)}"
    build.features = tuple(GRAPH_CONTRACT if name == "onnx-decoder-1" else name for name in FEATURES)
    build.shipped = ("apache-tvm", "apache-tvm-ffi")
    build.tools = ("apache-tvm", "apache-tvm-ffi", "ziglang")

    def engine(context_tokens: int) -> Engine:
        return TvmEngine(here, context_tokens=context_tokens)

    build.engine = engine
    return made | {"kernels": isa.name, "measured_with": own.name}


def _make(build: Build, exported: BuiltModel, shape: Shape, isa: Isa, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    build.progress("pack", 0, 3)
    pack_model(exported, shape, isa, folder)
    matrices = check_packed(exported, shape, isa, folder)
    build.progress("pack", 1, 3)
    compiled = [compile_decoder(shape, one, folder) for one in variants(isa)]
    build.progress("pack", 2, 3)
    write_runtime_library(isa.arch, folder, build.cache)
    extra: dict[str, Any] = {}
    if _wants_cuda(build) and folder.name == "model":
        from edge.build.tvm.cuda.stage import add_cuda

        extra = {"cuda": add_cuda(shape, isa, build.target, folder, build.cache, str(build.profile_path))}
    path = folder / DESCRIPTION_FILE
    description = (
        extra
        | json.loads(path.read_text())
        | {
            "arch": isa.arch,
            "tvm": TVM_VERSION,
            "libraries": [one.to_json() for one in compiled],
        }
    )
    path.write_text(json.dumps(description, sort_keys=True, indent=1) + "\n")
    return {
        "bytes": sum(item.stat().st_size for item in folder.iterdir()),
        "matrices_read_back": matrices,
        "libraries": [one.file for one in compiled],
        "undefined_symbols": sorted({name for one in compiled for name in one.undefined}),
    }


def stage_tvm_fidelity(build: Build) -> dict[str, Any]:
    """As for every bundle; then nothing is left but what travels."""
    made = stage_fidelity(build)
    for name in (EXPORT_FOLDER, HOST_FOLDER):
        shutil.rmtree(build.folder / name, ignore_errors=True)
    return made


TVM_STAGES: tuple[tuple[str, Stage], ...] = (
    ("sources", stage_tvm_sources),
    ("tokenizer", stage_tokenizer),
    ("round", stage_round),
    ("choose", stage_choose),
    ("export", stage_export),
    ("pack", stage_pack),
    ("golden", stage_golden),
    ("describe", stage_describe),
    ("clinical", stage_clinical),
    ("fidelity", stage_tvm_fidelity),
)
