"""The build line of `backend: mlc`, `engine: mlc_llm`: the same order, with the real command in the middle.

    sources -> tokenizer -> convert -> compile -> golden -> describe -> clinical -> fidelity -> seal

The command's logs stay beside the bundle (`<bundle>.mlc_llm.<step>.log`). The library cannot run here: golden cases
and fidelity are those of the weights, the clinical self-test and all speeds are the device's, and the bundle asks for
the feature `mlc-llm-1`, so that an edge without MLC's runtime refuses to run it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edge.privacy  # noqa: F401
from edge.build.checkpoint import Checkpoint, open_checkpoint, with_adapter
from edge.build.checkpoint.huggingface import FolderCheckpoint
from edge.build.clinical_suite import force_source, make_suite
from edge.build.fidelity import fidelity_failures, gate_fidelity
from edge.build.golden import golden_sequences
from edge.build.mlc_llm.chat_config import ASKED_TEMPLATE, CONFIG_FILE, finish_chat_config
from edge.build.mlc_llm.checks import (
    GREEDY_NEW_TOKENS,
    check_adapter,
    compare_weights,
    fidelity_of_weights,
    golden_of_weights,
)
from edge.build.mlc_llm.choices import RUNS_NOWHERE_HERE, Aim, Mode, aim_of, check_decoder, mode_of
from edge.build.mlc_llm.library import check_library, host_arch, library_name, normalise
from edge.build.mlc_llm.shards import ShardModel, read_index
from edge.build.mlc_llm.source_folder import TOKENIZER_SETTINGS, write_source
from edge.build.mlc_llm.tool import LORA_OPTION, Tool, find_program, need_programs, need_web_runtime, probe, run_step
from edge.build.plan import gigabytes, plan
from edge.build.stages import Stage, stage_describe, stage_tokenizer
from edge.build.state import Build
from edge.build.texts import read_texts, visit_sample
from edge.clinical.gate_suite import SUITE_FILE
from edge.errors import MissingToolError, ResourceError, SpecError
from edge.runtime.text import ChatTokenizer
from edge.specs.decoder import DecoderConfig
from edge.specs.profile import locate

ENGINE_NAME = "mlc_llm"
WORK_FOLDER = "mlc_llm.work"  # inside the folder being built, so that whatever ends the build removes it too
TOKENIZER_FILE = "tokenizer.json"
# What the command writes beside the shards and the library, as far as a runtime reads it.
KEPT = re.compile(r"mlc-chat-config\.json|(tensor|ndarray)-cache(-b16)?\.json|params_shard_\d+\.bin|tokenizer\.json")
BUILDING = re.compile(r"\.(.+)\.[0-9a-f]{8}\.building")  # what BundleWriter calls the folder of bundle (1)
FEATURES = ("chat-template-1", "golden-1", RUNS_NOWHERE_HERE, "tasks-1")
NOT_RUN = "the library does not run on the build host: golden cases and fidelity are those of its weights"


class MlcSource:
    """The checkpoint of such a build, with what the command was found to be and asked for. See base.Checkpoint."""

    def __init__(self, base: Checkpoint, merged: Checkpoint, tool: Tool, aim: Aim, mode: Mode, adapter: Path | None):
        self.base, self._merged = base, merged
        self.tool, self.aim, self.mode, self.adapter = tool, aim, mode, adapter

    @property
    def config(self) -> DecoderConfig:
        return self._merged.config

    @property
    def digest(self) -> str:
        return self._merged.digest

    @property
    def license(self) -> str:
        return self._merged.license

    @property
    def base_name(self) -> str:
        return self._merged.base_name

    @property
    def merged_by(self) -> str:
        """Who merges the adapter: mlc_llm where its `--lora-adapter` works, else edge; '' without one."""
        return "" if self.adapter is None else "mlc_llm" if self.tool.takes_adapter else "edge"

    @property
    def read_by_tool(self) -> Checkpoint:
        """What the command is given: the base where it merges by itself."""
        return self.base if self.merged_by == "mlc_llm" else self._merged

    @property
    def library(self) -> str:
        """File name of the compiled library."""
        return library_name(self.config.family, self.mode.name, self.aim)

    @property
    def symbol_prefix(self) -> str:
        """What the command puts before the symbols of a system library."""
        return f"{self.config.family}_{self.mode.name}_".replace("-", "_")

    def names(self) -> tuple[str, ...]:
        return self._merged.names()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._merged.shape(name)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Any:
        return self._merged.read(name, start, stop)

    def tokenizer_files(self) -> dict[str, bytes]:
        return self._merged.tokenizer_files()

    def close(self) -> None:
        self._merged.close()


def source_of(build: Build) -> MlcSource:
    """The checkpoint that stage sources opened."""
    if not isinstance(build.checkpoint, MlcSource):
        raise TypeError("these stages build from a checkpoint opened by their own stage sources")
    return build.checkpoint


@dataclass(frozen=True)
class MlcStages:
    """The stages with what they take from outside. timeouts_s: step -> seconds, of tool.TIMEOUTS_S by default."""

    environment: Mapping[str, str]
    timeouts_s: Mapping[str, float]

    def listed(self) -> tuple[tuple[str, Stage], ...]:
        """In the order of the build."""
        return (
            ("sources", self.sources),
            ("tokenizer", stage_tokenizer),
            ("convert", self.convert),
            ("compile", self.compile),
            ("golden", stage_golden),
            ("describe", stage_describe_mlc),
            ("clinical", stage_clinical),
            ("fidelity", stage_fidelity),
        )

    def sources(self, build: Build) -> dict[str, Any]:
        """Refuse what cannot be, cheapest first; then open the model and ask the command what it can do."""
        profile, where = build.profile, str(build.profile_path)
        if profile.export != "native":
            raise SpecError(
                f"export: {profile.export} goes with backend: onnx only", where=where, mend="write export: native"
            )
        aim = aim_of(build.target, where, host_arch())
        mode = mode_of(profile.quantisation, aim, where)
        program = find_program(self.environment)
        need_programs(aim.needs, self.environment)
        if aim.kind == "webgpu":
            need_web_runtime(self.environment)
        base = open_checkpoint(profile.model, build.cache, base_folder=build.profile_path.parent)
        try:
            check_decoder(base.config, profile.context_tokens, where)
            adapter, merged = None, base
            if profile.adapter is not None:
                adapter = locate(build.profile_path, profile.adapter.path)
                merged = with_adapter(base, adapter, profile.adapter.sha256)
                build.adapter_digest = profile.adapter.sha256
            with tempfile.TemporaryDirectory(prefix="edge-mlc-") as home:
                tool = probe(program, self.environment, Path(home))
            if mode.name not in tool.modes:
                raise MissingToolError(
                    f"mlc_llm {tool.version} does not know quantisation {mode.name}", mend="install a newer mlc_llm"
                )
        except BaseException:
            base.close()
            raise
        source = MlcSource(base, merged, tool, aim, mode, adapter)
        build.checkpoint = source
        build.plan = plan(profile, build.target, source.config)
        _check_room(build, source)
        return {
            "source": profile.model.source,
            "digest": source.digest,
            "mlc_llm": dict(tool.versions),
            "quantization": mode.name,
            "device": aim.device,
            "adapter_merged_by": source.merged_by or None,
        }

    def convert(self, build: Build) -> dict[str, Any]:
        """Config and weights, by the command; read back, and compared with the source."""
        source, work = source_of(build), _work(build)
        model = build.folder / "model"
        model.mkdir()
        tokenizer = build.folder / "tokenizer" / TOKENIZER_FILE
        given, out = work / "source", work / "out"
        out.mkdir()

        def progress(done: int, total: int) -> None:
            build.progress("convert", done, total)

        linked = write_source(source.read_by_tool, given, tokenizer.read_bytes(), progress)
        common = ["--quantization", source.mode.name, "--model-type", source.config.family]
        profile = build.profile
        numbers = {
            "--context-window-size": profile.context_tokens,
            "--prefill-chunk-size": profile.prefill_chunk_tokens,
            "--max-batch-size": 1,
            "--tensor-parallel-shards": 1,
        }
        sizes = [word for option, number in numbers.items() for word in (option, str(number))]
        config_path = str(given / "config.json")
        self._run(
            build, "gen_config", [config_path, *common, "--conv-template", ASKED_TEMPLATE, *sizes, "--output", str(out)]
        )
        context, chunk = profile.context_tokens, profile.prefill_chunk_tokens
        finish_chat_config(out, source.config, source.mode, context, chunk, tokenizer)
        adapter = [LORA_OPTION, str(source.adapter)] if source.merged_by == "mlc_llm" else []
        places = ["--device", "cpu", "--source", str(given), "--source-format", "huggingface-safetensor"]
        self._run(build, "convert_weight", [config_path, *common, *places, "--output", str(out), *adapter])
        shutil.rmtree(given)
        index, records = read_index(out, source.config, source.mode)
        with ShardModel(out, source.config, source.mode, records) as built:
            compared = compare_weights(source, built, source.mode)
            adapted = check_adapter(source.base, source, built) if source.adapter is not None else None
        left_out = []
        for path in sorted(out.iterdir()):
            if KEPT.fullmatch(path.name) and path.is_file():
                path.rename(model / path.name)
            elif path.name != TOKENIZER_SETTINGS:
                left_out.append(path.name)
        return {
            "bytes": sum(path.stat().st_size for path in model.iterdir()),
            "parameters": len(records),
            "index": index.name,
            "source_linked": linked,
            "weights": compared,
            "adapter": adapted,
            "left_out": left_out,
        }

    def compile(self, build: Build) -> dict[str, Any]:
        """The library for the target, by the command; checked to be whole and for its processor."""
        source, work = source_of(build), _work(build)
        aim, made = source.aim, work / source.library
        host = ["--host", aim.host] if aim.host else []
        extra = {}
        if aim.needs and aim.needs[-1][0].endswith("-g++"):
            extra["CXX"] = aim.needs[-1][0]  # TVM links with it
        arguments = [str(build.folder / "model" / CONFIG_FILE), "--quantization", source.mode.name]
        arguments += ["--model-type", source.config.family, "--device", aim.device, *host, "--opt", "O2"]
        self._run(build, "compile", [*arguments, "--output", str(made)], extra)
        words = check_library(made, aim, source.symbol_prefix)
        normalise(made, aim)
        made.rename(build.folder / "model" / source.library)
        shutil.rmtree(work)
        build.progress("compile", 1, 1)
        size = (build.folder / "model" / source.library).stat().st_size
        return {"library": source.library, "is": words, "bytes": size}

    def _run(self, build: Build, step: str, arguments: list[str], extra: Mapping[str, str] | None = None) -> None:
        home = _work(build) / "home"
        home.mkdir(exist_ok=True)
        run_step(
            source_of(build).tool,
            step,
            arguments,
            log=log_path(build, step),
            home=home,
            environment=self.environment,
            timeout_s=self.timeouts_s.get(step),
            extra=extra,
        )


def log_path(build: Build, step: str) -> Path:
    """Where the command's own words of a step stay: beside the bundle, under its name, whose lock the build holds."""
    match = BUILDING.fullmatch(build.folder.name)
    return build.folder.parent / f"{match[1] if match else build.profile.name}.mlc_llm.{step}.log"


def _work(build: Build) -> Path:
    work = build.folder.absolute() / WORK_FOLDER
    work.mkdir(exist_ok=True)
    return work


def _check_room(build: Build, source: MlcSource) -> None:
    """Errors: ResourceError when the target's memory or this disk is too small."""
    if not build.plan.fits:
        raise ResourceError(build.plan.reason, where=str(build.profile_path), mend="choose a smaller model or context")
    copied = 0 if isinstance(source.read_by_tool, FolderCheckpoint) else 4 * build.plan.parameters.total
    needed = copied + 2 * build.plan.disk_bytes
    free = shutil.disk_usage(build.folder).free
    if free < needed:
        raise ResourceError(
            f"no space left: the build needs {gigabytes(needed)} GB, {gigabytes(free)} GB are free",
            where=str(build.folder.parent),
            mend="free space and run the same command again",
        )


def _built(build: Build) -> ShardModel:
    source, folder = source_of(build), build.folder / "model"
    _, records = read_index(folder, source.config, source.mode)
    return ShardModel(folder, source.config, source.mode, records)


def stage_golden(build: Build) -> dict[str, Any]:
    """Golden cases and the source's opinion, from the weights as they lie in the shards."""
    folder = build.folder / "golden"
    folder.mkdir()
    texts = read_texts(locate(build.profile_path, build.profile.fidelity_text.text))
    tokenizer: ChatTokenizer = build.tokenizer
    sequences = golden_sequences(texts, tokenizer, build.profile.context_tokens)
    with _built(build) as built:
        for name, data in golden_of_weights(build.checkpoint, built, sequences).items():
            (folder / name).write_bytes(data)
    return {"cases": len(sequences), "note": NOT_RUN}


def stage_describe_mlc(build: Build) -> dict[str, Any]:
    """As for every bundle; the manifest names the command's version, what it made, and what was not run here."""
    made = stage_describe(build)
    source = source_of(build)
    aim = source.aim
    build.fields["runtime"] = {
        "engine": ENGINE_NAME,
        "mlc_llm": source.tool.version,
        "quantization": source.mode.name,
        "kind": aim.kind,
        "device": aim.device,
        "host": aim.host,
        "library": f"model/{source.library}",
        "symbol_prefix": source.symbol_prefix if aim.system_library else "",
        "adapter_merged_by": source.merged_by,
        "run_on_build_host": False,
    }
    versions = {name: version for name, version in source.tool.versions.items() if name != "mlc_llm"}
    build.fields["tools"] = {**build.fields["tools"], "mlc_llm": source.tool.version, **versions}
    build.fields["required_features"] = FEATURES
    return made | {"note": NOT_RUN}


def stage_clinical(build: Build) -> dict[str, Any]:
    """The source's scores on the clinical gate's suite; the self-test needs an engine, so the device runs it."""
    profile, made = build.profile, dict[str, Any](self_test="not run: the library does not run on the build host")
    budget = profile.budgets.clinical
    if budget is not None:
        texts = read_texts(locate(build.profile_path, profile.fidelity_text.text))

        def score(seen: Any) -> Any:
            return force_source(build.checkpoint, seen, build.progress)

        suite = make_suite(budget.suite, texts, build.tokenizer, profile.context_tokens, budget.cases_min, score)
        (build.folder / "golden" / SUITE_FILE).write_bytes(suite.to_bytes())
        made["suite"] = {"suite": suite.name, "cases": len(suite.cases)}
    return made


def stage_fidelity(build: Build) -> dict[str, Any]:
    """The weights of the build against its source; the profile's budget decides."""
    text = build.profile.fidelity_text
    texts = visit_sample(locate(build.profile_path, text.text), build.tokenizer, text.tokens)
    room = build.profile.context_tokens - GREEDY_NEW_TOKENS
    with _built(build) as built:
        sequences = [ids[:room] for ids in texts.sequences]
        result = fidelity_of_weights(build.checkpoint, built, sequences, build.progress)
    build.fidelity = result.to_json() | {"measured_on": "weights"}
    budget = build.profile.budgets.fidelity
    limits = budget.model_dump(mode="json") if build.gate and budget is not None else {}
    if fidelity_failures(build.fidelity, limits):
        gate_fidelity(build.fidelity, limits, f"profile {build.profile.name}")
    return build.fidelity


def mlc_llm_stages(
    environment: Mapping[str, str] | None = None, timeouts_s: Mapping[str, float] | None = None
) -> tuple[tuple[str, Stage], ...]:
    """The stages for a build line. environment: where the command is looked for; this process's by default."""
    return MlcStages(os.environ if environment is None else environment, timeouts_s or {}).listed()


MLC_LLM_STAGES: tuple[tuple[str, Stage], ...] = mlc_llm_stages()
