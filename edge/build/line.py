"""Run the stages of a build, and seal what they made.

What each stage made, with its time and peak memory, is written beside the bundle (`<bundle>.build.json`), also
when a stage fails. The bundle itself holds nothing that depends on time, host, folder or thread count.
"""

from __future__ import annotations

import edge.privacy  # isort: skip  (telemetry off before onnxruntime is imported)

import contextlib
import json
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edge
from edge.build.cache import Cache, cache_root
from edge.build.exact import one_blas_thread
from edge.build.optimum_stages import OPTIMUM_STAGES
from edge.build.stages import STAGES, Stage
from edge.build.state import Build, Progress, no_progress
from edge.bundle.open import OpenBundle
from edge.bundle.signing import SigningKey
from edge.bundle.writer import BundleWriter
from edge.errors import EdgeError, SourceError
from edge.files import resource_error, write_atomic
from edge.specs.profile import Profile, load_profile, load_profile_target


@dataclass(frozen=True)
class BuildResult:
    """bundle: as opened again from its place; stages: what each one made, with its cost."""

    bundle: OpenBundle
    stages: tuple[dict[str, Any], ...]
    fidelity: dict[str, Any]


def report_path(place: Path) -> Path:
    """Where the build's own report lies: beside the bundle, because it holds times."""
    return place.with_name(f"{place.name}.build.json")


def build_bundle(
    profile_path: Path,
    place: Path,
    key: SigningKey,
    *,
    progress: Progress = no_progress,
    cache: Cache | None = None,
    gate: bool = True,
    rounding_cache: Cache | None = None,
) -> BuildResult:
    """Build the profile into `place`. Nothing that opens is there before the last step.

    gate: False leaves the fidelity budget unchecked (for `rebuild`, which compares digests). rounding_cache: where
    calibrated roundings are looked for and kept instead of `cache`.
    Errors: SpecError, SourceError, OfflineError, ResourceError, GateError; what stood at `place` stays.
    """
    profile = load_profile(profile_path)
    target = load_profile_target(profile_path, profile)
    stages = stages_of(profile, profile_path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise resource_error(error, str(place)) from error
    done: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        writer = stack.enter_context(BundleWriter(place))
        build = Build(
            profile_path, profile, target, writer.folder, cache or Cache(cache_root()), progress, gate, rounding_cache
        )
        stack.callback(lambda: build.checkpoint.close() if hasattr(build, "checkpoint") else None)
        try:
            for name, stage in stages:
                progress(name, 0, 1)
                done.append(_timed(name, stage, build))
            started = time.monotonic()
            bundle = writer.commit(build.fields, key)
            done.append({"stage": "seal", "seconds": round(time.monotonic() - started, 2)})
        except EdgeError as error:
            done.append({"failed": str(error), "fidelity": build.fidelity})
            raise
        finally:
            with contextlib.suppress(EdgeError):
                report = {"profile": profile.name, "edge": edge.__version__, "stages": done}
                write_atomic(report_path(place), (json.dumps(report, indent=1) + "\n").encode())
    return BuildResult(bundle, tuple(done), build.fidelity)


def stages_of(profile: Profile, where: Path) -> tuple[tuple[str, Stage], ...]:
    """The stages of a profile's route; a route's own libraries are imported only here.

    Errors: SourceError for keys that do not go together, MissingToolError without the route's tools.
    """
    if profile.backend == "onnx":
        return STAGES if profile.export == "native" else OPTIMUM_STAGES
    if profile.export == "optimum":
        raise SourceError(
            "backend mlc compiles the native export, not optimum's", where=str(where), mend="write export: native"
        )
    if profile.engine == "mlc_llm":
        from edge.build.mlc_llm.stages import MLC_LLM_STAGES

        return MLC_LLM_STAGES
    from edge.build.tvm.stages import TVM_STAGES

    return TVM_STAGES


def _timed(name: str, stage: Stage, build: Build) -> dict[str, Any]:
    started, cpu = time.monotonic(), time.process_time()
    try:
        made = stage(build)
    except OSError as error:
        raise resource_error(error, str(build.folder.parent)) from error
    return {
        "stage": name,
        "seconds": round(time.monotonic() - started, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_rss_bytes": _peak_rss_bytes(),
        "made": made,
    }


def _peak_rss_bytes(status: Path = Path("/proc/self/status")) -> int:
    """The kernel's high-water mark since this program began; ru_maxrss may still hold that of who started it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
