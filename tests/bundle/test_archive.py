"""The .tar: when these fail, an archive writes outside its folder, or what comes out is not what went in."""

from __future__ import annotations

import io
import tarfile
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from bundle_dummies import FILES, beside, build, contents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle.archive import default_cache, pack, unpack
from edge.bundle.attestation import Check, new_attestation, write_attestation
from edge.bundle.open import open_bundle
from edge.bundle.signing import SigningKey, Trust
from edge.errors import BundleError, EdgeError, ExitStatus, ResourceError, UntrustedError


@pytest.fixture(scope="session")
def tar_file(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished bundle as a .tar."""
    path = tmp_path_factory.mktemp("tar") / "notes.tar"
    pack(finished, path)
    return path


@pytest.fixture(scope="session")
def tar(tar_file: Path) -> bytes:
    """Its bytes."""
    return tar_file.read_bytes()


def retar(source: bytes, change: Callable[[tarfile.TarFile, list[tuple[tarfile.TarInfo, bytes]]], None]) -> bytes:
    """Write the members of a .tar again after `change` put more into it or changed the list."""
    with tarfile.open(fileobj=io.BytesIO(source)) as old:
        members = [(info, old.extractfile(info).read()) for info in old]  # type: ignore[union-attr]
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as new:
        change(new, members)
        for info, data in members:
            new.addfile(info, io.BytesIO(data))
    return output.getvalue()


def special(name: str, kind: bytes, link: str = "") -> Callable[..., None]:
    """Puts a member that is not a regular file in front."""

    def change(new: tarfile.TarFile, _: object) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        new.addfile(info)

    return change


def regular(name: str) -> Callable[..., None]:
    """Puts one more regular file at the end."""

    def change(_: object, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        info = tarfile.TarInfo(name)
        info.size = 1
        members.append((info, b"x"))

    return change


def drop(name: str) -> Callable[..., None]:
    """Leaves one file out."""

    def change(_: object, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[:] = [(info, data) for info, data in members if info.name != name]

    return change


def refused(path: Path, trust: Trust, cache: Path) -> EdgeError:
    """The one-line error with which a .tar is refused, leaving nothing in the cache."""
    with pytest.raises(EdgeError) as caught:
        open_bundle(path, trust, cache=cache)
    assert "\n" not in str(caught.value)
    assert not cache.exists() or not list(cache.iterdir())
    return caught.value


def test_pack_is_deterministic(finished: Path, tmp_path: Path, tar: bytes, key: SigningKey) -> None:
    """If not: two packings of one bundle differ, and a download cannot be compared."""
    again = build(tmp_path / "elsewhere" / "other", key).path
    for path in again.rglob("*"):
        path.chmod(0o700)
    pack(again, tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_bytes() == tar
    with tarfile.open(fileobj=io.BytesIO(tar)) as members:
        assert {(info.mtime, info.uid, info.uname, info.mode) for info in members} == {(0, 0, "", 0o644)}


NAME = st.text(st.characters(categories=["L", "N"], include_characters="._- "), min_size=1, max_size=60).filter(
    # A bundle's path has at most 240 bytes, and the folders below take 129.
    lambda name: (
        not name.startswith(".") and name.isprintable() and len(unicodedata.normalize("NFC", name).encode()) <= 110
    )
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    names=st.lists(NAME, max_size=4, unique_by=lambda name: name.casefold()),
    data=st.lists(st.binary(max_size=1500), min_size=4, max_size=4),
)
def test_round_trip(key: SigningKey, names: list[str], data: list[bytes]) -> None:
    """If not: a device gets other files than were packed (long and non-ASCII names, empty files)."""
    files = FILES | {
        unicodedata.normalize("NFC", f"golden/{'x' * 60}/{'y' * 60}/{name}"): content
        for name, content in zip(names, data, strict=False)
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with mock.patch("os.fsync"):  # only speed: what is written is compared, not what survives a power cut
            build(folder / "notes", key, files)
            pack(folder / "notes", folder / "notes.tar")
        assert contents(unpack(folder / "notes.tar", folder / "cache")) == contents(folder / "notes")


def test_open_tar(tmp_path: Path, tar: bytes, finished: Path, trust: Trust) -> None:
    """If not: a bundle cannot travel as one file; unpacked once, it is opened from there the second time."""
    (tmp_path / "notes.tar").write_bytes(tar)
    cache = tmp_path / "cache"
    bundle = open_bundle(tmp_path / "notes.tar", trust, cache=cache)
    assert bundle.bundle_digest == open_bundle(finished, trust).bundle_digest
    assert bundle.path.parent == cache
    assert bundle.path.name.startswith(bundle.bundle_digest)
    assert beside(bundle.path) == []
    made = bundle.path.stat().st_ino
    assert open_bundle(tmp_path / "notes.tar", trust, cache=cache) == bundle
    assert bundle.path.stat().st_ino == made


def test_default_cache(tmp_path: Path, tar: bytes, trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: a kiosk cannot say where its copies lie."""
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "c"))
    (tmp_path / "notes.tar").write_bytes(tar)
    assert open_bundle(tmp_path / "notes.tar", trust).path.parent == tmp_path / "c" / "bundles" == default_cache()
    monkeypatch.delenv("EDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "edge" / "bundles"


def test_changed_copy_in_the_cache(tmp_path: Path, tar: bytes, trust: Trust) -> None:
    """If not: what was checked yesterday is trusted for ever."""
    (tmp_path / "notes.tar").write_bytes(tar)
    copy = open_bundle(tmp_path / "notes.tar", trust, cache=tmp_path / "cache").path
    (copy / "model/decoder.onnx").write_bytes(b"hparg")
    with pytest.raises(BundleError, match=r"delete that folder and open the \.tar again"):
        open_bundle(tmp_path / "notes.tar", trust, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    "change",
    [
        regular("../escape"),
        regular("/tmp/escape"),  # noqa: S108
        regular("model/../../escape"),
        regular("./model/x"),
        regular("model/extra"),
        regular("model/decoder.onnx"),
        regular("manifest.json"),
        regular("attestations/../x.json"),
        regular("attestations/a/b.json"),
        regular("attestations/x.json"),
        regular("attestations/.a.json.0123abcd.part"),
        special("model/link", tarfile.SYMTYPE, "/etc/passwd"),
        special("model", tarfile.SYMTYPE, "/tmp"),  # noqa: S108
        special("model/hard", tarfile.LNKTYPE, "manifest.json"),
        special("model/null", tarfile.CHRTYPE),
        special("model/disk", tarfile.BLKTYPE),
        special("model/pipe", tarfile.FIFOTYPE),
        special("model/x", tarfile.DIRTYPE),
        special("model/odd", b"Z"),
        drop("manifest.json"),
        drop("model/decoder.onnx"),
        drop("model_card.md"),
    ],
)
def test_bad_members(tmp_path: Path, tar: bytes, trust: Trust, change: Callable[..., None]) -> None:
    """If not: an archive writes outside its folder, plants a link or a device, or holds one file twice."""
    path = tmp_path / "in" / "notes.tar"
    path.parent.mkdir()
    path.write_bytes(retar(tar, change))
    before = contents(tmp_path)
    assert refused(path, trust, tmp_path / "cache").status == ExitStatus.BUNDLE
    with pytest.raises(BundleError):
        unpack(path, tmp_path / "cache")
    assert contents(tmp_path) == before


def test_sparse_member(tmp_path: Path, tar: bytes, trust: Trust) -> None:
    """If not: a few bytes of archive fill a disk."""

    def change(_: object, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        info, _data = members[-1]
        info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40), "GNU.sparse.numblocks": "1"}

    (tmp_path / "notes.tar").write_bytes(retar(tar, change))
    refused(tmp_path / "notes.tar", trust, tmp_path / "cache")


def test_unsigned_and_untrusted(tmp_path: Path, tar: bytes, trust: Trust) -> None:
    """If not: a .tar by anybody fills the disk of a device before its signature is looked at."""
    (tmp_path / "notes.tar").write_bytes(tar)
    assert isinstance(refused(tmp_path / "notes.tar", Trust(), tmp_path / "cache"), UntrustedError)
    (tmp_path / "notes.tar").write_bytes(retar(tar, drop("signature")))
    assert "is not signed" in str(refused(tmp_path / "notes.tar", trust, tmp_path / "cache"))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, 10**6))
def test_truncated(tmp_path: Path, tar_file: Path, trust: Trust, at: int) -> None:
    """If not: a download that broke off is opened."""
    path, whole = tmp_path / "notes.tar", tar_file.read_bytes()
    path.write_bytes(whole[: at % len(whole)])
    refused(path, trust, tmp_path / "cache")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_flipped(tar_file: Path, trust: Trust, finished: Path, at: int, bit: int) -> None:
    """If not: a damaged archive unpacks into something that was not signed."""
    bad = bytearray(tar_file.read_bytes())
    bad[at % len(bad)] ^= 1 << bit
    with tempfile.TemporaryDirectory() as name, mock.patch("os.fsync"):
        folder = Path(name)
        (folder / "notes.tar").write_bytes(bad)
        try:
            opened = open_bundle(folder / "notes.tar", trust, cache=folder / "cache")
        except EdgeError as error:
            assert "\n" not in str(error)
            return
        # Some header bytes carry nothing (owner, mode): then what came out is still exactly what was signed.
        assert contents(opened.path) == contents(finished)


@pytest.mark.parametrize("data", [b"", b"\0" * 10240, b"x" * 10240, b"\x1f\x8b" + b"\0" * 600])
def test_not_a_tar(tmp_path: Path, trust: Trust, data: bytes) -> None:
    """If not: any file ends in a traceback."""
    (tmp_path / "notes.tar").write_bytes(data)
    assert refused(tmp_path / "notes.tar", trust, tmp_path / "cache").status == ExitStatus.BUNDLE


def test_pack_refuses_a_changed_bundle(bundle: Path, tmp_path: Path) -> None:
    """If not: a broken bundle is handed out as a good-looking file; the file that was there stays."""
    target = tmp_path / "notes.tar"
    target.write_bytes(b"old")
    (bundle / "model/decoder.onnx").write_bytes(b"hparg")
    with pytest.raises(BundleError, match="changed"):
        pack(bundle, target)
    (bundle / "model/decoder.onnx").unlink()
    with pytest.raises(BundleError, match="missing"):
        pack(bundle, target)
    assert target.read_bytes() == b"old"
    with pytest.raises(BundleError, match="inside"):
        pack(bundle, bundle / "notes.tar")
    assert beside(bundle) == ["notes.tar"]


def test_attestations_travel(bundle: Path, tmp_path: Path, trust: Trust, device_key: SigningKey) -> None:
    """If not: what a device proved is lost on the way, or a later .tar cannot bring it."""
    cache = tmp_path / "cache"
    pack(bundle, tmp_path / "first.tar")
    opened = open_bundle(tmp_path / "first.tar", trust, cache=cache)
    assert opened.attestations == ()
    result = new_attestation(opened, device_class="pi", device={}, checks=[Check("golden", True)], result=b"{}")
    write_attestation(bundle, result, device_key)
    pack(bundle, tmp_path / "second.tar")
    assert open_bundle(tmp_path / "second.tar", trust, cache=cache).attestations == (result,)
    assert open_bundle(tmp_path / "first.tar", trust, cache=cache).attestations == (result,)


def test_bad_attestation_does_not_reach_the_copy(bundle: Path, tmp_path: Path, trust: Trust) -> None:
    """If not: one bad file in a .tar makes the good copy in the cache unusable."""
    pack(bundle, tmp_path / "good.tar")
    opened = open_bundle(tmp_path / "good.tar", trust, cache=tmp_path / "cache")
    bad = retar((tmp_path / "good.tar").read_bytes(), regular("attestations/x.json"))
    (tmp_path / "bad.tar").write_bytes(bad)
    with pytest.raises(BundleError):
        open_bundle(tmp_path / "bad.tar", trust, cache=tmp_path / "cache")
    assert open_bundle(tmp_path / "good.tar", trust, cache=tmp_path / "cache") == opened


def test_no_cache(tmp_path: Path, tar: bytes, trust: Trust) -> None:
    """If not: a device without a writable home says nothing useful."""
    (tmp_path / "notes.tar").write_bytes(tar)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError):
        open_bundle(tmp_path / "notes.tar", trust, cache=tmp_path / "file")
