"""Cross-compiling: the object is for the target, asks for nothing that a board lacks, and is the same everywhere."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from edge.build.tvm import compile as compile_module
from edge.build.tvm.compile import check_tools, compile_decoder
from edge.build.tvm.decoder import Shape
from edge.build.tvm.isa import ISAS
from edge.build.tvm.objects import ALLOWED, MACHINES, check_library, code_of, sdot_count, symbols_of
from edge.errors import MissingToolError, ResourceError, SourceError
from tests.tiny import BASE
from tests.tvm_toy import HEAD, LOW

MATRICES = ("qkv", "o", "gate_up", "down")
SHAPE = Shape(BASE, {f"layers.{layer}.{m}": LOW for layer in range(BASE.layers) for m in MATRICES}, HEAD, 64)
ARM = ("neon-dotprod", "generic-f32")


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny decoder for boards, from whatever host this is."""
    folder = tmp_path_factory.mktemp("arm")
    return {name: folder / compile_decoder(SHAPE, ISAS[name], folder, chunks=(1,), head_rows=(1,)).file for name in ARM}


@pytest.mark.parametrize("name", ARM)
def test_an_object_for_the_board(arm: dict[str, Path], name: str) -> None:
    """A library for another processor, or with a symbol that the board lacks, fails where nobody can mend it."""
    data = arm[name].read_bytes()
    assert data[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", data, 18)[0] == MACHINES["aarch64"] == 183
    assert symbols_of(arm[name])
    assert [symbol for symbol in symbols_of(arm[name]) if not symbol.startswith(ALLOWED)] == []


def test_dot_products_only_where_they_run(arm: dict[str, Path]) -> None:
    """A Pi 4 dies of an sdot; a Pi 5 without any is nine times slower."""
    assert sdot_count(code_of(arm["neon-dotprod"])) > 100
    assert sdot_count(code_of(arm["generic-f32"])) == 0
    with pytest.raises(SourceError, match="dot products that the target lacks"):
        check_library(arm["neon-dotprod"], ISAS["generic-f32"])
    with pytest.raises(SourceError, match="no dot product"):
        check_library(arm["generic-f32"], ISAS["neon-dotprod"])
    with pytest.raises(SourceError, match="not for x86_64"):
        check_library(arm["generic-f32"], ISAS["avx2"])


def test_pages_of_16_kib(arm: dict[str, Path]) -> None:
    """Raspberry Pi OS on a Pi 5 has pages of 16 KiB and refuses a library that is laid out for 4."""
    data = arm["neon-dotprod"].read_bytes()
    offset, size, count = struct.unpack_from("<Q", data, 0x20)[0], *struct.unpack_from("<HH", data, 0x36)
    headers = [struct.unpack_from("<IIQQQQQQ", data, offset + i * size) for i in range(count)]
    assert [align for kind, *_, align in headers if kind == 1 and align < 16384] == []


def test_same_bytes_in_another_folder(arm: dict[str, Path], tmp_path: Path) -> None:
    """The same profile must give the same bundle digest, wherever it is built; and no path goes along."""
    folder = tmp_path / "another, with blanks"
    folder.mkdir()
    compiled = compile_decoder(SHAPE, ISAS["generic-f32"], folder, chunks=(1,), head_rows=(1,))
    data = (folder / compiled.file).read_bytes()
    assert data == arm["generic-f32"].read_bytes()
    for text in (str(tmp_path), "another, with", "edge-tvm-", "edge-zig-"):
        assert text.encode() not in data
    assert [path.name for path in folder.iterdir()] == [compiled.file]
    assert compiled.to_json() == {
        "file": "decoder.generic-f32.so",
        "kernels": "generic-f32",
        "cpu_features": ["asimd"],
        "chunks": [1],
        "head_rows": [1],
    }


def test_a_chunk_longer_than_the_context_is_left_out(tmp_path: Path) -> None:
    """Its kernel would read past the cache, and nobody could call it."""
    shape = Shape(BASE, SHAPE.formats, HEAD, 3)
    assert compile_decoder(shape, ISAS["generic-f32"], tmp_path, chunks=(1, 4), head_rows=(1,)).chunks == (1,)


def test_missing_and_other_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """TVM renames its interfaces at every release: another version fails in the middle of a build, or worse."""
    check_tools("p.yaml")
    monkeypatch.setattr(compile_module, "TVM_VERSION", "0.1")
    with pytest.raises(MissingToolError, match=r"p\.yaml: backend mlc was made for apache-tvm 0\.1, .* is installed"):
        check_tools("p.yaml")

    def missing(name: str) -> str:
        raise compile_module.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(compile_module.importlib.metadata, "version", missing)
    with pytest.raises(
        MissingToolError, match=r"backend mlc needs the package apache-tvm; pip install 'edge-kit\[mlc\]'"
    ):
        check_tools("p.yaml")


def test_a_linker_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The linker's own message is a page; and nothing half linked may stay."""
    monkeypatch.setitem(compile_module.ZIG_TARGETS, "aarch64", "no-such-machine")
    with pytest.raises(SourceError, match="generic-f32: the linker failed") as caught:
        compile_decoder(SHAPE, ISAS["generic-f32"], tmp_path, chunks=(1,), head_rows=(1,))
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    """A disk that is full or pulled out is said as what it is."""
    with pytest.raises((ResourceError, SourceError)) as caught:
        compile_decoder(SHAPE, ISAS["generic-f32"], tmp_path / "none", chunks=(1,), head_rows=(1,))
    assert len(str(caught.value).splitlines()) == 1
