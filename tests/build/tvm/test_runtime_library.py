"""TVM's runtime library: of the installed package or by the real pip from a folder of wheels; held to its digest."""

from __future__ import annotations

import hashlib
import platform
import zipfile
from pathlib import Path

import pytest

from edge.build.cache import Cache
from edge.build.tvm import runtime_library
from edge.build.tvm.compile import TVM_VERSION
from edge.build.tvm.runtime_library import (
    DIGESTS,
    LICENSE_FILE,
    LICENSE_MEMBER,
    MEMBER,
    RUNTIME_FILE,
    find_runtime_library,
    write_runtime_library,
)
from edge.errors import OfflineError, SourceError
from edge.files import sha256_file

pytest.importorskip("tvm", reason="apache-tvm (extra mlc) is not installed", exc_type=ImportError)

OTHER = "aarch64" if platform.machine() == "x86_64" else "x86_64"
LIBRARY, LICENCE = b"\x7fELF of another machine" * 50, b"Apache License\n"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip as set up on this machine looks into one folder and nowhere else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def write_wheel(registry: Path, members: dict[str, bytes]) -> Path:
    """A wheel of apache-tvm for the other architecture that holds `members`."""
    path = registry / f"apache_tvm-{TVM_VERSION}-py3-none-manylinux_2_28_{OTHER}.whl"
    info = f"apache_tvm-{TVM_VERSION}.dist-info"
    files = {f"{info}/METADATA": f"Metadata-Version: 2.1\nName: apache-tvm\nVersion: {TVM_VERSION}\n".encode()}
    files |= {f"{info}/WHEEL": b"Wheel-Version: 1.0\n", f"{info}/RECORD": b""} | members
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_this_machines_library_is_the_installed_one(tmp_path: Path, registry: Path) -> None:
    """Nothing is fetched where the package is there; library and licence go into the bundle together."""
    write_runtime_library(platform.machine(), tmp_path, Cache(tmp_path / "cache"))
    assert sha256_file(tmp_path / RUNTIME_FILE) == DIGESTS[platform.machine()]
    assert "Apache License" in (tmp_path / LICENSE_FILE).read_text()
    assert not (tmp_path / "cache").exists()


def test_an_installed_library_that_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution's own build of TVM would run, and be another library than the one that was tried."""
    monkeypatch.setitem(DIGESTS, platform.machine(), "0" * 64)
    with pytest.raises(SourceError, match=f"is not the library of apache-tvm .* for {platform.machine()}"):
        write_runtime_library(platform.machine(), tmp_path, Cache(tmp_path / "cache"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_another_machines_library_is_fetched_once(
    tmp_path: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second build must not need the network; two files of a wheel of 60 MB are kept."""
    monkeypatch.setitem(DIGESTS, OTHER, hashlib.sha256(LIBRARY).hexdigest())
    wheel = write_wheel(registry, {MEMBER: LIBRARY, LICENSE_MEMBER: LICENCE})
    cache = Cache(tmp_path / "cache")
    find_runtime_library(OTHER, cache)
    wheel.unlink()
    (tmp_path / "m").mkdir()
    write_runtime_library(OTHER, tmp_path / "m", cache)
    assert (tmp_path / "m" / RUNTIME_FILE).read_bytes() == LIBRARY
    assert (tmp_path / "m" / LICENSE_FILE).read_bytes() == LICENCE
    kept = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert sorted(kept) == ["entry.json", LICENSE_FILE, RUNTIME_FILE]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["other bytes", "no library", "offline"])
def test_what_cannot_be_had_is_one_line_and_not_kept(tmp_path: Path, registry: Path, kind: str) -> None:
    """A wrong library in the cache would be refused for ever, whatever is fetched later."""
    if kind != "offline":
        members = {LICENSE_MEMBER: LICENCE} | ({MEMBER: LIBRARY} if kind == "other bytes" else {})
        write_wheel(registry, members)
    wanted = {
        "other bytes": (SourceError, "libtvm_runtime.so: is not the library of apache-tvm"),
        "no library": (SourceError, "is not the wheel that was expected"),
        "offline": (OfflineError, "pip could not fetch it"),
    }[kind]
    with pytest.raises(wanted[0], match=wanted[1]) as caught:
        find_runtime_library(OTHER, Cache(tmp_path / "cache"))
    assert len(str(caught.value).splitlines()) == 1
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert left == []


def test_digests_are_whole() -> None:
    """Every architecture that kernels are written for has its library."""
    from edge.build.tvm.isa import ISAS

    assert set(DIGESTS) == {isa.arch for isa in ISAS.values()}
    assert all(len(bytes.fromhex(digest)) == 32 for digest in DIGESTS.values())
    assert TVM_VERSION in runtime_library.LICENSE_MEMBER
