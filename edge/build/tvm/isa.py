"""The instruction sets that kernels are written for: vector width, the byte dot product, what a CPU must have.

Every kernel works on tiles of 16 output rows. A native vector holds `lanes` of them, so a tile is 16 / lanes
vectors. Three of the sets multiply bytes (weights' codes by activations rounded to 8 bits a block of 32) and give the
same integers; `generic-f32` converts codes to float32, for CPUs that have no byte dot product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.errors import SpecError
from edge.specs.target import Target

TILE_ROWS = 16
BLOCK = 32  # activations that share a scale


@dataclass(frozen=True)
class Isa:
    """One set of kernels.

    name: as manifests carry it. arch: of the target. lanes: float32 in a native vector. features: what
    /proc/cpuinfo must list. mcpu, mattr: LLVM's spelling. bytes: codes are multiplied as bytes; signed: these are
    signed (8-bit codes are stored less 128). rows: tokens computed at once from one unpacked weight; key_tiles:
    tiles of 16 keys that attention keeps in registers.
    """

    name: str
    arch: str
    lanes: int
    features: tuple[str, ...]
    mcpu: str
    mattr: tuple[str, ...]
    bytes: bool
    signed: bool
    rows: int
    key_tiles: int

    @property
    def parts(self) -> int:
        """Native vectors in a tile."""
        return TILE_ROWS // self.lanes

    @property
    def packing(self) -> str:
        """Name of the weights' layout (layout.py)."""
        return ("signed-bytes" if self.signed else "bytes") if self.bytes else "floats"


ISAS: dict[str, Isa] = {
    isa.name: isa
    for isa in (
        Isa(
            name="avx512-vnni",
            arch="x86_64",
            lanes=16,
            features=("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"),
            mcpu="x86-64-v4",
            mattr=("+avx512vnni",),
            bytes=True,
            signed=False,
            rows=8,
            key_tiles=4,
        ),
        Isa(
            name="avx2",
            arch="x86_64",
            lanes=8,
            features=("avx2", "fma"),
            mcpu="x86-64-v3",
            mattr=(),
            bytes=True,
            signed=False,
            rows=4,
            key_tiles=1,
        ),
        Isa(
            name="neon-dotprod",
            arch="aarch64",
            lanes=4,
            features=("asimd", "asimddp"),
            mcpu="cortex-a76",
            mattr=("+dotprod",),
            bytes=True,
            signed=True,
            rows=4,
            key_tiles=1,
        ),
        Isa(
            name="generic-f32",
            arch="aarch64",
            lanes=4,
            features=("asimd",),
            mcpu="cortex-a72",
            mattr=("-crypto",),
            bytes=False,
            signed=False,
            rows=4,
            key_tiles=1,
        ),
        Isa(
            name="generic-f32-x86",
            arch="x86_64",
            lanes=4,
            features=("sse4_2", "avx", "fma"),
            mcpu="x86-64-v2",
            mattr=("+avx", "+fma"),
            bytes=False,
            signed=False,
            rows=4,
            key_tiles=1,
        ),
    )
}
TRIPLES = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}


def isa_for(arch: str, features: Sequence[str], where: str) -> Isa:
    """The best kernels that a CPU with these features runs. Errors: SpecError for an architecture without any."""
    has = set(features)
    for isa in ISAS.values():
        if isa.arch == arch and has >= set(isa.features):
            return isa
    raise SpecError(
        f"the tvm engine has no kernels for {arch} with {', '.join(features) or 'no features'}",
        where=where,
        mend="use backend: onnx",
    )


def variants(isa: Isa) -> tuple[Isa, ...]:
    """`isa` and what is better and reads the same tiles, the best first: a bundle carries them all, 3 MB each."""
    family = [one for one in ISAS.values() if one.arch == isa.arch and one.packing == isa.packing]
    return tuple(one for one in family if set(one.features) >= set(isa.features))


def isa_of_target(target: Target, where: str) -> Isa:
    """The kernels of a target; Android needs TVM's runtime built with the NDK, which nobody ships."""
    if target.os != "linux":
        raise SpecError(
            f"the tvm engine runs on Linux, not on {target.os}",
            where=where,
            mend="use backend: onnx or engine: mlc_llm",
        )
    return isa_for(target.arch, target.isa.features, where)


def llvm_target(isa: Isa) -> Mapping[str, Any]:
    """TVM's description of what is compiled for."""
    made: dict[str, Any] = {"kind": "llvm", "mtriple": TRIPLES[isa.arch], "mcpu": isa.mcpu}
    return made | ({"mattr": list(isa.mattr)} if isa.mattr else {})
