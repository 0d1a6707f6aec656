"""Compiled libraries: every form cut at any byte is refused, and an archive loses the host's traces."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.build.mlc_llm.choices import Aim
from edge.build.mlc_llm.library import check_library, host_arch, normalise, read_archive
from edge.errors import SourceError
from tests.build.mlc_llm.fake_mlc_llm import elf

ANDROID = Aim("android", "android:generic", "", ".tar", True, "aarch64")
WEB = Aim("webgpu", "webgpu:generic", "", ".wasm", False, "wasm32")
ARM = Aim("cpu", "{}", "", ".so", False, "aarch64")
WASM = b"\0asm\x01\0\0\0" + bytes([1, 4, 1, 0x60, 0, 0]) + bytes([0, 0x83, 0x02]) + bytes(259)


def archive(members: dict[str, bytes], time: int = 7, packed: bool = True) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid = len(data), time, time
            made.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue()) if packed else buffer.getvalue()


OBJECTS = {"lib0.o": elf(1, 183, b"llama_q4f16_1___tvm"), "devc.o": elf(1, 183, b"x" * 99)}
FORMS = {
    "tar": (ANDROID, archive(OBJECTS)),
    "plain-tar": (ANDROID, archive(OBJECTS, packed=False)),
    "wasm": (WEB, WASM),
    "so": (ARM, elf(3, 183, b"y" * 500)),
}


def check(place: Path, aim: Aim, data: bytes) -> str:
    path = place / f"llama_q4f16_1{aim.suffix}"
    path.write_bytes(data)
    return check_library(path, aim, "llama_q4f16_1_")


@pytest.mark.parametrize("form", FORMS)
def test_whole_libraries_pass(tmp_path: Path, form: str) -> None:
    """If it fails, a right library is refused."""
    assert check(tmp_path, *FORMS[form])


@pytest.mark.parametrize("form", ["tar", "wasm", "so"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_library_cut_anywhere_is_refused(tmp_path: Path, form: str, data: st.DataObject) -> None:
    """If it fails, what a full disk or a killed compiler left behind ships as a library."""
    aim, whole = FORMS[form]
    cut = data.draw(st.integers(0, len(whole) - 1))
    if form == "wasm" and cut == 14:
        return  # between two sections: a whole module that says less; the command's exit status tells
    with pytest.raises(SourceError) as caught:
        check(tmp_path, aim, whole[:cut])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("aim", "data", "words"),
    [
        (ARM, elf(3, 62, b""), "is for x86_64, not aarch64"),
        (ARM, elf(1, 183, b""), "not a shared library"),
        (ARM, b"!<arch>\n" * 20, "no 64-bit ELF"),
        (WEB, b"\x7fELF" + bytes(99), "no WebAssembly module"),
        (WEB, WASM[:8], "holds nothing"),
        (ANDROID, archive({"lib0.o": elf(1, 62, b"llama_q4f16_1_")}), "lib0.o is for x86_64"),
        (ANDROID, archive({"lib0.o": elf(1, 183, b"other_")}), "no symbol with the prefix llama_q4f16_1_"),
        (ANDROID, archive({"readme": b"x"}), "holds no object file"),
        (ANDROID, archive({"../lib0.o": b"x"}), "no plain file"),
    ],
)
def test_other_things_are_named(tmp_path: Path, aim: Aim, data: bytes, words: str) -> None:
    """If it fails, a library for another device ships under this one's name."""
    with pytest.raises(SourceError, match=words):
        check(tmp_path, aim, data)


def test_a_link_is_no_library(tmp_path: Path) -> None:
    """If it fails, a bundle can hold a link out of itself."""
    (tmp_path / "real").write_bytes(WASM)
    (tmp_path / "llama.wasm").symlink_to(tmp_path / "real")
    with pytest.raises(SourceError, match=r"wrote no llama\.wasm"):
        check_library(tmp_path / "llama.wasm", WEB, "")


def test_an_archive_loses_time_owner_and_order(tmp_path: Path) -> None:
    """If it fails, two builds of one profile have two digests."""
    made = []
    for index, (time, members) in enumerate([(7, OBJECTS), (9, dict(reversed(OBJECTS.items())))]):
        path = tmp_path / f"{index}.tar"
        path.write_bytes(archive(members, time))
        normalise(path, ANDROID)
        made.append(path.read_bytes())
        assert read_archive(path) == OBJECTS
    assert made[0] == made[1]


def test_a_real_compiler_writes_such_files(tmp_path: Path) -> None:
    """If it fails, the checks refuse what a real linker and tar write."""
    if shutil.which("gcc") is None or shutil.which("tar") is None:
        pytest.skip("no gcc or tar here")
    (tmp_path / "a.c").write_text("int llama_q4f16_1_main(void) { return 1; }\n")
    run = lambda *words: subprocess.run(words, cwd=tmp_path, check=True)  # noqa: E731
    run("gcc", "-shared", "-fPIC", "-o", "a.so", "a.c")
    run("gcc", "-c", "-fPIC", "-o", "lib0.o", "a.c")
    run("tar", "-czf", "a.tar", "-C", ".", "lib0.o")
    aim = Aim("cpu", "{}", "", ".so", False, host_arch())
    assert check_library(tmp_path / "a.so", aim, "") == f"shared library for {host_arch()}"
    packed = Aim("android", "", "", ".tar", True, host_arch())
    assert check_library(tmp_path / "a.tar", packed, "llama_q4f16_1_") == f"1 objects for {host_arch()}"
