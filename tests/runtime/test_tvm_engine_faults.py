"""The TVM engine on a bundle that is broken, for another device, or without its runtime: one line, never a crash."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.errors import BundleError
from edge.runtime.tvm_engine import TvmEngine, choose_library, load_description
from tests.tvm_toy import HOST_ISAS, Toy, child, toy


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """The tiny decoder for the best kernels of this host."""
    return toy(tmp_path_factory.mktemp, HOST_ISAS[0])


def change(key: str, value: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "decoder.json"
        description = json.loads(path.read_text())
        if value is None:
            del description[key]
        else:
            description[key] = value
        path.write_text(json.dumps(description))

    return apply


def tensor(index: int, value: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "decoder.json"
        description = json.loads(path.read_text())
        description["tensors"][0][index] = value
        path.write_text(json.dumps(description))

    return apply


def library(key: str, value: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "decoder.json"
        description = json.loads(path.read_text())
        description["libraries"][0][key] = value
        path.write_text(json.dumps(description))

    return apply


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(next(folder.glob(name)), size)


def shorten(path: Path) -> None:
    """Half of the file: what a copy leaves that broke off."""
    os.truncate(path, path.stat().st_size // 2)


def foreign(path: Path) -> None:
    """The same file for a RISC-V machine."""
    data = bytearray(path.read_bytes())
    data[18:20] = b"\xf3\x00"
    path.write_bytes(data)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no description": (lambda folder: (folder / "decoder.json").unlink(), "description cannot be read"),
    "no JSON": (lambda folder: (folder / "decoder.json").write_text('{"schema'), "description cannot be read"),
    "not UTF-8": (lambda folder: (folder / "decoder.json").write_bytes(b"\xff{}"), "description cannot be read"),
    "a list": (lambda folder: (folder / "decoder.json").write_text("[1]"), "description cannot be read"),
    "deep": (lambda folder: (folder / "decoder.json").write_text("[" * 10**6), "description cannot be read"),
    "future": (change("schema_version", 2), "has version 2; update edge"),
    "no sizes": (change("hidden_size", None), "description cannot be read"),
    "no libraries": (change("libraries", []), "description is not whole"),
    "no architecture": (change("arch", None), "description cannot be read"),
    "words for numbers": (change("layers", "two"), "description is not whole"),
    "negative": (change("capacity", -64), "description is not whole"),
    "tensors": (change("tensors", [[1, 2]]), "description cannot be read"),
    "dtype": (tensor(1, "object"), "description is not whole"),
    "shape": (tensor(2, [3, 3]), "description is not whole"),
    "place before the file": (tensor(3, -4096), "description is not whole"),
    "place behind the file": (tensor(3, 1 << 40), "'embedding' lies outside the file"),
    "place in between": (tensor(3, 4), "'embedding' lies outside the file"),
    "another's file": (library("file", "../../lib.so"), "description is not whole"),
    "no single tokens": (library("chunks", [2, 4]), "description is not whole"),
    "cut weights": (cut("model.weights", 5000), "lies outside the file"),
    "empty weights": (cut("model.weights", 0), "the weights cannot be read"),
    "no weights": (lambda folder: (folder / "model.weights").unlink(), "the weights cannot be read"),
    "no decoder": (lambda folder: next(folder.glob("decoder.*.so")).unlink(), "the model does not load"),
    "empty decoder": (cut("decoder.*.so", 0), "the model does not load"),
    "cut decoder": (cut("decoder.*.so", 3000), "the model does not load"),
    "decoder without its end": (lambda folder: shorten(next(folder.glob("decoder.*.so"))), "the model does not load"),
    "another machine's decoder": (lambda folder: foreign(next(folder.glob("decoder.*.so"))), "does not load"),
    "no decoder at all": (lambda folder: next(folder.glob("decoder.*.so")).write_bytes(b"x" * 999), "does not load"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_model_is_one_line(made: Toy, tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A clinician sees one line that says what to do; never a traceback, never a crash of the process."""
    broken = made.copy(tmp_path / "model")
    apply, words = DAMAGES[damage]
    apply(broken)
    with pytest.raises(BundleError, match=words) as caught:
        TvmEngine(broken, threads=1)
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")


def root_with(tmp_path: Path, features: str) -> Path:
    """A device whose CPU has `features` and no other."""
    (tmp_path / "proc").mkdir(parents=True)
    (tmp_path / "proc" / "cpuinfo").write_text(f"processor : 0\nflags : {features}\nFeatures : {features}\n")
    return tmp_path


def test_a_cpu_without_the_instructions_is_told_before_the_first(made: Toy, tmp_path: Path) -> None:
    """A Pi 4 with a Pi 5's bundle must read a line, not die of SIGILL."""
    feature = HOST_ISAS[0].features[-1]
    has = " ".join(name for name in HOST_ISAS[0].features if name != feature)
    with pytest.raises(
        BundleError, match=rf"\({HOST_ISAS[0].name}\) need {feature}, which this CPU has not; build for"
    ):
        made.engine(root=root_with(tmp_path, has))
    with pytest.raises(BundleError, match="which this CPU has not"):
        made.engine(root=tmp_path / "nowhere")


def test_the_best_decoder_that_runs_is_taken(made: Toy, tmp_path: Path) -> None:
    """A bundle for x86 carries AVX2 and AVX-512 kernels: neither may be run where it cannot, nor left where it can."""
    description = {
        "arch": "x86_64",
        "libraries": [
            {"kernels": "avx512-vnni", "cpu_features": ["avx2", "avx512_vnni"]},
            {"kernels": "avx2", "cpu_features": ["avx2"]},
        ],
    }

    def chosen(features: str) -> str:
        root = root_with(tmp_path / features.replace(" ", "-"), features)
        return str(choose_library(description, "m", root=root, machine="x86_64")["kernels"])

    assert chosen("avx512_vnni avx2") == "avx512-vnni"
    assert chosen("avx2 fma") == "avx2"
    with pytest.raises(BundleError, match="m: its kernels \\(avx2\\) need avx2, which this CPU has not"):
        chosen("sse4_2")
    with pytest.raises(BundleError, match="m: was compiled for x86_64, this is aarch64; build for this device"):
        choose_library(description, "m", root=tmp_path, machine="aarch64")


def test_another_architecture_is_one_line(made: Toy, tmp_path: Path) -> None:
    """A Jetson's bundle on a laptop."""
    broken = made.copy(tmp_path / "model")
    change("arch", "riscv64")(broken)
    with pytest.raises(BundleError, match=f"was compiled for riscv64, this is {platform.machine()}"):
        TvmEngine(broken)
    assert load_description(broken)["arch"] == "riscv64"


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (
            "sys.modules['tvm_ffi'] = None",
            "MissingToolError the tvm engine needs the package apache-tvm-ffi; pip install",
        ),
        ("(folder / 'libtvm_runtime.so').unlink()", "BundleError .*the runtime library does not load here"),
        ("(folder / 'libtvm_runtime.so').write_bytes(b'')", "BundleError .*the runtime library does not load here"),
        ("os.truncate(folder / 'libtvm_runtime.so', 9999)", "BundleError .*the runtime library does not load here"),
    ],
    ids=["no tvm_ffi", "no library", "empty library", "cut library"],
)
def test_a_runtime_that_is_not_there_is_one_line(made: Toy, tmp_path: Path, before: str, words: str) -> None:
    """The package was not installed, or the copy to the board broke off."""
    folder = made.copy(tmp_path / "model")
    code = (
        f"import os, sys\nfrom pathlib import Path\nfolder = Path(sys.argv[1])\n{before}\n"
        "from edge.errors import EdgeError\nfrom edge.runtime.tvm_engine import TvmEngine\n"
        "try:\n    TvmEngine(folder, threads=1)\nexcept EdgeError as error:\n    print(type(error).__name__, error)\n"
    )
    said = child(code, str(folder))
    assert len(said.splitlines()) == 1
    assert re.match(words, said), said
