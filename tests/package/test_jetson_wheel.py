"""What a GPU wheel holds. When these fail, a wheel without code for the board's GPU passes for one with it."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import SourceError
from edge.package import jetson
from edge.package.jetson_wheel import gpu_levels, read_wheel
from tests.package.elf import elf

NAME = "onnxruntime_gpu-1.31.1-cp311-cp311-linux_aarch64.whl"
MACHINE_CODE, PTX = 2, 1


def container(*entries: tuple[int, int]) -> bytes:
    """A fat binary of (kind, level) as nvcc writes it: 64 bytes of header an entry, then the code."""
    body = b"".join(
        struct.pack("<HHIQIIHHI", kind, 257, 64, 40, 0, 0, level % 10, level // 10, level).ljust(64, b"\0") + b"c" * 40
        for kind, level in entries
    )
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def wheel(folder: Path, *levels: int, name: str = NAME, needed: str = "libcudart.so.12", machine: int = 183) -> Path:
    path = folder / name
    library = elf((needed, "libc.so.6"), machine=machine) + container(*((MACHINE_CODE, level) for level in levels))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("onnxruntime/capi/libonnxruntime_providers_cuda.so", library)
        file.writestr("onnxruntime/__init__.py", "")
    return path


def test_levels_of_machine_code() -> None:
    """If not: code of another level, or text that is compiled at each start, counts as code for the board."""
    data = b"x" * 7 + container((MACHINE_CODE, 72), (PTX, 87)) + b"y" * 5 + container((MACHINE_CODE, 121))
    assert gpu_levels(data) == (72, 121)
    assert gpu_levels(data + container((MACHINE_CODE, 87))) == (72, 87, 121)


@given(st.binary(max_size=300), st.integers(0, 200))
def test_no_container(garbage: bytes, keep: int) -> None:
    """If not: a chance of bytes is a traceback, or an endless loop."""
    magic = struct.pack("<I", 0xBA55ED50)
    assert len(gpu_levels(magic + garbage)) <= 10
    assert gpu_levels(container((MACHINE_CODE, 87))[:keep]) in ((), (87,))


def test_a_wheel_for_the_board(tmp_path: Path) -> None:
    """If not: what an engineer built is refused, or taken for another."""
    found = read_wheel(wheel(tmp_path, 72, 87))
    assert (found.release, found.python, found.arch, found.cuda, found.sm) == (
        "1.31.1", (3, 11), "aarch64", (12,), (72, 87)
    )  # fmt: skip
    table = jetson.load_table()
    needs = jetson.BundleNeeds("onnxruntime", "1.31.1", "int4", "d" * 64)
    choice = jetson.choose(jetson.jetpack_named("6.2", table), needs, table, own=[found])
    assert choice.providers == (jetson.CUDA, jetson.CPU)


@pytest.mark.parametrize(
    ("levels", "more", "words"),
    [
        ((89, 90, 120, 121), {"needed": "libcudart.so.13"}, "the board is sm_87"),
        ((87,), {"needed": "libcudart.so.13"}, "it needs CUDA 13"), ((87,), {"machine": 62}, "it is for x86_64"),
        ((87,), {"machine": 243}, "it is for another architecture"),
    ],
)  # fmt: skip
def test_wheels_that_lie_or_do_not_fit(
    tmp_path: Path, levels: tuple[int, ...], more: dict[str, int], words: str
) -> None:
    """If not: the file's name decides, and the board fails at its first kernel."""
    found = read_wheel(wheel(tmp_path, *levels, **more))  # type: ignore[arg-type]
    table = jetson.load_table()
    needs = jetson.BundleNeeds("onnxruntime", "1.31.1", "int4", "d" * 64)
    assert words in "; ".join(jetson.refusals(found, jetson.jetpack_named("6.2", table), needs))


def test_files_that_are_none(tmp_path: Path) -> None:
    """If not: a wrong file is a traceback, or the CPU's wheel is called the GPU's."""
    with pytest.raises(SourceError, match="no code for a CUDA GPU"):
        read_wheel(wheel(tmp_path))
    with pytest.raises(SourceError, match="no code for a CUDA GPU"):
        read_wheel(wheel(tmp_path, 87, needed="libm.so.6"))
    with pytest.raises(SourceError, match="is no wheel of"):
        read_wheel(wheel(tmp_path, 87, name="torch-2.0-cp311-cp311-linux_aarch64.whl"))
    broken = tmp_path / NAME
    broken.write_bytes(wheel(tmp_path, 87).read_bytes()[:-30])
    for path in (broken, tmp_path / "none.whl", tmp_path):
        with pytest.raises(SourceError, match="no whole wheel"):
            read_wheel(path)
