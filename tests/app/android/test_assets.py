"""Unpacking the app's bundle: whole or not at all, changed nothing, once; and what this device added stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.app.android import assets as assets_module
from edge.app.android.assets import AssetIndex, is_unpacked, read_index, trust_keys, unpack
from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle, open_bundle
from edge.bundle.place import leftovers
from edge.errors import BundleError, ResourceError
from edge.package.android.bundle_assets import write_assets
from tests.app.android.phone import Assets
from tests.package.fakes import bundle, signer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[OpenBundle, KeyStore]:
    folder = tmp_path_factory.mktemp("bundle")
    store, key = signer(folder / "home")
    return bundle(folder / "notes", key, on="android-arm64"), store


def carry(made: tuple[OpenBundle, KeyStore], project: Path, **options: int) -> tuple[AssetIndex, Assets]:
    opened, store = made
    write_assets(opened, store.trust_store().keys, project / "assets", **options)
    pieces = Assets(project)
    return read_index(pieces), pieces


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part_bytes=st.integers(1, 3000))
def test_parts_of_any_size_make_the_bundle(
    made: tuple[OpenBundle, KeyStore], tmp_path_factory: pytest.TempPathFactory, part_bytes: int
) -> None:
    """A cut in the wrong place, or an empty last part, and no phone opens the bundle."""
    folder = tmp_path_factory.mktemp("p")
    index, pieces = carry(made, folder, part_bytes=part_bytes)
    assert all(
        (folder / "assets/edge" / part).stat().st_size <= part_bytes for one in index.files for part in one.parts
    )
    assert unpack(index, pieces, folder / "bundle")
    found = open_bundle(folder / "bundle", made[1].trust_store())
    assert found.bundle_digest == made[0].bundle_digest == index.bundle_digest
    shutil.rmtree(folder)


def test_an_unpacked_bundle_is_left_alone(made: tuple[OpenBundle, KeyStore], tmp_path: Path) -> None:
    """Each start would copy gigabytes otherwise; and what was proven on this device would be forgotten."""
    index, pieces = carry(made, tmp_path)
    place = tmp_path / "bundle"
    assert not is_unpacked(index, place)
    assert unpack(index, pieces, place)
    (place / "attestations").mkdir(exist_ok=True)
    (place / "attestations" / "own.json").write_text("{}")
    assert not unpack(index, pieces, place)
    assert (place / "attestations" / "own.json").is_file()


def test_an_attestation_that_comes_with_the_app_is_added(made: tuple[OpenBundle, KeyStore], tmp_path: Path) -> None:
    """A newer app may bring the word of another device; it is hashed like everything else."""
    opened, store = made
    place = tmp_path / "bundle"
    index, pieces = carry(made, tmp_path / "old")
    unpack(index, pieces, place)
    copy = tmp_path / "copy"
    shutil.copytree(opened.path, copy)
    (copy / "attestations").mkdir(exist_ok=True)
    (copy / "attestations" / "other.json").write_text("{}")
    newer, more = carry((replace(opened, path=copy), store), tmp_path / "new")
    assert not unpack(newer, more, place)
    assert (place / "attestations" / "other.json").read_text() == "{}"


def test_another_bundle_takes_the_place(made: tuple[OpenBundle, KeyStore], tmp_path: Path) -> None:
    """An update of the app with another bundle: the new one stands there whole, nothing of the old."""
    index, pieces = carry(made, tmp_path / "old")
    place = tmp_path / "bundle"
    unpack(index, pieces, place)
    other = bundle(tmp_path / "other", made[1].load_signing_key(), on="android-arm64", text="Otherwise.")
    index, pieces = carry((other, made[1]), tmp_path / "new")
    assert not is_unpacked(index, place)
    assert unpack(index, pieces, place)
    assert open_bundle(place, made[1].trust_store()).bundle_digest == other.bundle_digest


@pytest.mark.parametrize("harm", ["changed", "shorter", "longer", "gone"])
def test_a_damaged_asset_leaves_what_was_there(made: tuple[OpenBundle, KeyStore], tmp_path: Path, harm: str) -> None:
    """A broken download of the app: the bundle of yesterday goes on working, and nothing half made is left."""
    index, pieces = carry(made, tmp_path / "old")
    place = tmp_path / "bundle"
    unpack(index, pieces, place)
    other = bundle(tmp_path / "other", made[1].load_signing_key(), on="android-arm64", text="Otherwise.")
    index, pieces = carry((other, made[1]), tmp_path / "new")
    part = tmp_path / "new/assets/edge" / index.files[-1].parts[0]
    data = part.read_bytes()
    if harm == "gone":
        part.unlink()
    else:
        part.write_bytes(
            {"changed": bytes([data[0] ^ 1]) + data[1:], "shorter": data[:-1], "longer": data + b"x"}[harm]
        )
    with pytest.raises((BundleError, ResourceError)):
        unpack(index, pieces, place)
    assert open_bundle(place, made[1].trust_store()).bundle_digest == made[0].bundle_digest
    assert not leftovers(place, "building")


def test_a_full_phone_is_said_before_anything_is_written(
    made: tuple[OpenBundle, KeyStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much is needed and how much is free, in one line."""
    index, pieces = carry(made, tmp_path)
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr(assets_module.shutil, "disk_usage", lambda _: full)
    with pytest.raises(ResourceError, match="no space left"):
        unpack(index, pieces, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_read_that_breaks_is_one_line(made: tuple[OpenBundle, KeyStore], tmp_path: Path) -> None:
    """Java's stream may fail in the middle."""
    index, pieces = carry(made, tmp_path)

    def broken(name: str) -> Iterator[bytes]:
        yield next(iter(pieces(name)))[:1]
        raise OSError(5, "Input/output error")

    with pytest.raises(ResourceError):
        unpack(index, broken, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_what_is_too_large_is_only_listed(made: tuple[OpenBundle, KeyStore], tmp_path: Path) -> None:
    """The index alone tells what must be pushed; a pushed file that differs is refused."""
    index, pieces = carry(made, tmp_path, most_bytes=10)
    assert not index.carried
    assert not list((tmp_path / "assets/edge").glob("part-*"))
    pushed = tmp_path / "pushed"
    shutil.copytree(made[0].path, pushed)
    assert unpack(index, pieces, tmp_path / "bundle", pushed=pushed)
    (pushed / "model_card.md").write_text("other")
    shutil.rmtree(tmp_path / "bundle")
    with pytest.raises(BundleError, match="model_card"):
        unpack(index, pieces, tmp_path / "bundle", pushed=pushed)


def test_keys_are_trusted_once(made: tuple[OpenBundle, KeyStore], tmp_path: Path) -> None:
    """The app trusts whom it was built to trust, with their role; a broken key is refused."""
    index, pieces = carry(made, tmp_path)
    store = KeyStore(tmp_path / "home")
    store.home.mkdir()
    for _ in range(2):
        trust_keys(index, pieces, store)
    found = store.trust_store().keys
    assert [(key.role, key.raw) for key in found] == [("builder", made[1].trust_store().keys[0].raw)]
    (tmp_path / "assets/edge/key-1.pem").write_text("no key")
    with pytest.raises((BundleError, Exception), match="key"):
        trust_keys(index, pieces, KeyStore(tmp_path / "other"))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"surprise": 1},
        {"files": [{"path": "../x", "sha256": "", "size_bytes": 0, "parts": []}]},
        {"files": [{"path": "/x", "sha256": "", "size_bytes": 0, "parts": []}]},
        {"files": None},
        {"keys": [{"asset": "a"}]},
    ],
)
def test_an_odd_index_is_refused(made: tuple[OpenBundle, KeyStore], tmp_path: Path, change: dict[str, object]) -> None:
    """A path that leaves the folder would write over the app's own files."""
    index, _ = carry(made, tmp_path)
    assert AssetIndex.from_bytes(index.to_bytes()) == index
    with pytest.raises(BundleError):
        AssetIndex.from_bytes(json.dumps(json.loads(index.to_bytes()) | change).encode())


def test_an_app_without_a_bundle_says_so(tmp_path: Path) -> None:
    """An APK that was put together by hand."""
    with pytest.raises(BundleError, match="no bundle"):
        read_index(Assets(tmp_path))
