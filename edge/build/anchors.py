"""Speeds that others published (anchors.yaml), each with the ceiling that its own bytes set on its own device.

They stand beside the plans as a check on the arithmetic and as nothing else: another engine, another form of the
weights and often another processor made them. The plausibility rule holds for each: no decode speed above the
device's bandwidth over the bytes that a token reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from edge.specs.target import Target
from edge.specs.yaml_source import Spec, fault, validate

ANCHORS_FILE = Path(__file__).with_name("anchors.yaml")
Text = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]


class Anchor(Spec):
    """One published decode speed.

    target, model: what it stands beside. differs: in what device or model is only near, "" for a match.
    decode_tokens_per_s: lowest and highest figure. token_read_bytes: the least that a token reads in the published
    form. bandwidth_bytes_per_s: of its device, null for the target's. basis: a run, or worked out by somebody.
    rechecked: whether the source was read again when it was written down here.
    """

    target: Text
    model: Text
    device: Text
    differs: str
    engine: Text
    processor: Literal["CPU", "GPU", "NPU"]
    quantisation: Text
    basis: Literal["measured", "derived"]
    decode_tokens_per_s: tuple[Positive, Positive]
    token_read_bytes: int = Field(gt=0)
    read_note: Text
    bandwidth_bytes_per_s: float | None = Field(default=None, gt=0)
    bandwidth_note: str
    source: Text
    rechecked: bool

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        low, high = self.decode_tokens_per_s
        if low > high:
            raise fault("decode_tokens_per_s", "the lowest figure comes first")
        if (self.bandwidth_bytes_per_s is not None) != bool(self.bandwidth_note):
            raise fault("bandwidth_note", "says where bandwidth_bytes_per_s comes from, and only that")
        return self

    @property
    def near(self) -> bool:
        """Whether device, processor or model differ from what it stands beside."""
        return bool(self.differs)

    def ceiling_tokens_per_s(self, target: Target) -> float:
        """The bandwidth over the bytes that a token reads, both of the published run. target: what it names."""
        bandwidth = self.bandwidth_bytes_per_s or target.memory_bandwidth_bytes_per_s
        return bandwidth / self.token_read_bytes

    def to_json(self, target: Target) -> dict[str, Any]:
        """Plain JSON types, with the ceiling."""
        return self.model_dump(mode="json") | {
            "near": self.near,
            "ceiling_tokens_per_s": self.ceiling_tokens_per_s(target),
        }


class Anchors(Spec):
    """The file."""

    version: Literal[1]
    anchors: tuple[Anchor, ...]


def load_anchors(path: Path = ANCHORS_FILE) -> tuple[Anchor, ...]:
    """All published speeds. Errors: SpecError naming file, line and key."""
    return validate(Anchors, path).anchors


def implausible(anchors: Sequence[Anchor], targets: Mapping[str, Target]) -> list[str]:
    """One line for each speed that is faster than its device can read; empty when the rule holds."""
    lines = []
    for anchor in anchors:
        ceiling = anchor.ceiling_tokens_per_s(targets[anchor.target])
        if anchor.decode_tokens_per_s[1] > ceiling:
            speed = f"{anchor.decode_tokens_per_s[1]:g} tok/s of {anchor.model} on {anchor.device} ({anchor.engine})"
            lines.append(f"{speed} is above the ceiling of {ceiling:.1f}")
    return lines
