"""Which kernels a target gets: the best that its CPU runs, never one that it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.build.tvm.isa import BLOCK, ISAS, TILE_ROWS, Isa, isa_for, isa_of_target, llvm_target, variants
from edge.errors import SpecError
from edge.specs.target import load_target

TARGETS = Path(__file__).parents[3] / "targets"
VNNI = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni")


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("x86_64-linux", "avx2"),
        ("raspberry-pi-4", "generic-f32"),
        ("raspberry-pi-5", "neon-dotprod"),
        ("jetson-orin-nano", "neon-dotprod"),
        ("jetson-agx-orin", "neon-dotprod"),
    ],
)
def test_kernels_of_each_target(name: str, kernels: str) -> None:
    """A Pi 4 has no byte dot product: with a Pi 5's kernels it dies of SIGILL."""
    assert isa_of_target(load_target(TARGETS / f"{name}.yaml"), "p").name == kernels


@pytest.mark.parametrize("name", ["android-arm64", "browser"])
def test_targets_without_a_runtime_are_refused(name: str) -> None:
    """TVM's runtime is there for Linux only; the line must say what to use instead."""
    with pytest.raises(SpecError, match=r"p\.yaml: the tvm engine runs on Linux, not on .*; use backend: onnx"):
        isa_of_target(load_target(TARGETS / f"{name}.yaml"), "p.yaml")


def test_the_best_that_the_cpu_runs() -> None:
    """AVX-512 without VNNI runs the AVX2 kernels; a CPU of 2012 the plain ones."""
    assert isa_for("x86_64", VNNI, "p").name == "avx512-vnni"
    assert isa_for("x86_64", VNNI[:-1], "p").name == "avx2"
    assert isa_for("x86_64", ("sse4_2", "avx", "fma"), "p").name == "generic-f32-x86"
    assert isa_for("aarch64", ("asimd", "asimddp", "fphp"), "p").name == "neon-dotprod"
    assert isa_for("aarch64", ("asimd",), "p").name == "generic-f32"
    for arch, features in (("riscv64", ("v",)), ("x86_64", ()), ("aarch64", ("fp",))):
        with pytest.raises(SpecError, match=f"no kernels for {arch} with"):
            isa_for(arch, features, "p")


def test_variants_read_the_same_tiles() -> None:
    """A bundle has one weights file for all its decoders; the first that runs is taken, so the best stands first."""
    assert [isa.name for isa in variants(ISAS["avx2"])] == ["avx512-vnni", "avx2"]
    for isa in ISAS.values():
        several = variants(isa)
        assert several[-1] == isa
        assert {(one.arch, one.packing) for one in several} == {(isa.arch, isa.packing)}
        assert all(set(isa.features) <= set(one.features) for one in several)


@pytest.mark.parametrize("isa", ISAS.values(), ids=lambda isa: isa.name)
def test_shapes_of_the_sets(isa: Isa) -> None:
    """A tile is 16 rows in whole vectors; LLVM may use nothing that the features do not promise."""
    one = isa
    assert TILE_ROWS % one.lanes == 0 == BLOCK % one.lanes
    target = llvm_target(one)
    assert str(target["mtriple"]).startswith(one.arch)
    assert target["mcpu"] == one.mcpu
    assert target.get("mattr", []) == list(one.mattr)
