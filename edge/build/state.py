"""One build at work: what the stages read and fill in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.build.cache import Cache
from edge.build.calibrate import LayerCost, RoundedStore
from edge.build.checkpoint import Checkpoint, MergedCheckpoint
from edge.build.lora import AdapterShape, Dtype, adapter_shape, factor_dtype
from edge.build.plan import Plan
from edge.build.quantise import QuantFormat
from edge.build.texts import TextSample
from edge.runtime.engine import Engine
from edge.runtime.text import ChatTokenizer
from edge.specs.decoder import DecoderConfig
from edge.specs.profile import Profile
from edge.specs.target import Target

Progress = Callable[[str, int, int], None]


def no_progress(_stage: str, _done: int, _total: int) -> None:
    """Progress for nobody."""


@dataclass
class Build:
    """One build at work. Stages fill it in from top to bottom."""

    profile_path: Path
    profile: Profile
    target: Target
    folder: Path
    cache: Cache
    progress: Progress = no_progress
    gate: bool = True
    # Where calibrated roundings are kept; None: with the sources.
    rounding_cache: Cache | None = None
    # What the build is held to: with an adapter, base and adapter together.
    checkpoint: Checkpoint = field(init=False)
    # The same as open files, where the adapter is to stay beside its base.
    unmerged: MergedCheckpoint | None = None
    adapter_digest: str | None = None
    tokenizer: ChatTokenizer = field(init=False)
    rounded: RoundedStore | None = None
    rounded_key: dict[str, Any] = field(default_factory=dict)
    costs: list[LayerCost] = field(default_factory=list)
    calibration: TextSample | None = None
    choice_text: TextSample | None = None
    int8_layers: tuple[int, ...] = ()
    fidelity: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    plan: Plan = field(init=False)
    # Below `folder`: where the quantiser's export lies; only "model" travels in the bundle.
    export_name: str = "model"
    # What the manifest says of the runtime; None: ONNX Runtime's own route.
    runtime: dict[str, Any] | None = None
    features: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    # Packages of which the device gets something beside edge-kit's own needs; for the SBOM.
    shipped: tuple[str, ...] = ()
    engine: Callable[[int], Engine] | None = None

    @property
    def export_folder(self) -> Path:
        """The quantised weights with their graph, as the ONNX route writes them."""
        return self.folder / self.export_name

    def open_engine(self, context_tokens: int) -> Engine:
        """The engine that measures the build on this host; the caller closes it."""
        if self.engine is not None:
            return self.engine(context_tokens)
        from edge.runtime.onnx_engine import native_engine

        return native_engine()(self.folder / "model", context_tokens=context_tokens)

    @property
    def rounding_source(self) -> Checkpoint:
        """The weights that are rounded: those of the base alone where the adapter stays unmerged."""
        return self.checkpoint if self.unmerged is None else self.unmerged.base

    @property
    def factor_dtype(self) -> Dtype:
        """How the factors of an unmerged adapter are stored."""
        return factor_dtype(self.profile.quantisation.scheme)

    @property
    def adapter_shape(self) -> AdapterShape | None:
        """Of an unmerged adapter."""
        if self.unmerged is None:
            return None
        return adapter_shape(self.config, self.unmerged.shapes, self.factor_dtype)

    @property
    def config(self) -> DecoderConfig:
        return self.checkpoint.config

    def format(self, bits: int) -> QuantFormat:
        """The profile's format at 4 or 8 bits; 8-bit blocks are always symmetric."""
        quantisation = self.profile.quantisation
        return QuantFormat(bits, quantisation.block_size, quantisation.symmetric or bits == 8)

    def layer_format(self, layer: int) -> QuantFormat | None:
        """What the matrices of a layer become."""
        scheme = self.profile.quantisation.scheme
        if scheme == "none":
            return None
        low = scheme == "int4" or (scheme == "mixed" and layer not in self.int8_layers)
        return self.format(4 if low else 8)
