"""`edge package` as a person meets it. When these fail, the right words lead to the wrong package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.keys import KeyStore
from edge.errors import EdgeError, InputError
from edge.package.console import format_of, package_command, parse_python
from edge.package.deb_archive import DATA, read_member
from tests.package.fakes import SmallSources, bundle, signer

R36 = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    """A home with the builder's key."""
    return signer(tmp_path_factory.mktemp("home"))[0]


def made(folder: Path, store: KeyStore, on: str = "raspberry-pi-5", name: str = "notes") -> Path:
    return bundle(folder / name, store.load_signing_key(), on=on, name=name).path


def package(tmp_path: Path, store: KeyStore, *paths: Path, **options: Any) -> tuple[Path, list[str]]:
    """The package and what was said."""
    said: list[str] = []
    sources = SmallSources(tmp_path / "runner")
    path = package_command(paths, output=tmp_path / "out", store=store, sources=sources, say=said.append, **options)
    return path, said


def test_a_board(tmp_path: Path, store: KeyStore) -> None:
    """If not: the engineer is not told what to do with the package."""
    path, said = package(tmp_path, store, made(tmp_path, store))
    assert path.suffix == ".deb" and path.is_file()
    assert said[-1] == f"there: apt install ./{path.name}"
    assert "python3.11" in said[-2]


def test_a_changed_bundle(tmp_path: Path, store: KeyStore) -> None:
    """If not: a bundle that was tampered with is spread by a package."""
    place = made(tmp_path, store)
    (place / "model" / "model.onnx").write_bytes(b"other")
    with pytest.raises(EdgeError, match="changed"):
        package(tmp_path, store, place)


def test_formats(tmp_path: Path, store: KeyStore) -> None:
    """If not: --format makes a package that the device cannot take."""
    pi, android, web = (
        bundle(tmp_path / on, store.load_signing_key(), on=on) for on in ("raspberry-pi-4", "android-arm64", "browser")
    )
    assert format_of([pi], None) == format_of([pi], "deb") == "deb"
    assert format_of([android], None) == "android"
    for bundles, wanted in (([pi], "android"), ([android], "deb"), ([web], None), ([pi, android], None), ([], None)):
        with pytest.raises(InputError):
            format_of(bundles, wanted)


def test_android_takes_one(tmp_path: Path, store: KeyStore) -> None:
    """If not: all but one of the named bundles are lost without a word."""
    one, two = (made(tmp_path, store, "android-arm64", name) for name in ("a", "b"))
    with pytest.raises(InputError, match="one bundle"):
        package(tmp_path, store, one, two)


@pytest.mark.parametrize("from_file", [True, False])
def test_a_jetson_with_its_jetpack(tmp_path: Path, store: KeyStore, from_file: bool) -> None:
    """If not: nobody learns why the GPU of the board is not used."""
    (tmp_path / "release").write_text(R36)
    path, said = package(
        tmp_path, store, made(tmp_path, store, "jetson-orin-nano"),
        jetpack=str(tmp_path / "release") if from_file else "6.2",
    )  # fmt: skip
    assert "notes on JetPack 6.2 (L4T 36.4.3): CPUExecutionProvider" in said
    assert sum(line.startswith("  not onnxruntime_gpu-") for line in said) >= 3
    found = "./usr/share/edge-kit/providers.json"
    data = {name: content for name, _, _, content in read_member(path, DATA, wanted=found)}[found]
    assert json.loads(data)["bundles"]["notes"]["providers"] == ["CPUExecutionProvider"]


def test_a_jetson_without_and_a_pi_with(tmp_path: Path, store: KeyStore) -> None:
    """If not: a choice is made up for a board that nobody described."""
    _, said = package(tmp_path, store, made(tmp_path, store, "jetson-orin-nano"))
    assert "no --jetpack was given: the package runs on the CPU" in said
    with pytest.raises(InputError, match="for a Jetson"):
        package(tmp_path, store, made(tmp_path, store, name="pi"), jetpack="6.2")
    with pytest.raises(InputError):
        package(tmp_path, store, made(tmp_path, store, "jetson-orin-nano", "j"), jetpack="six")


@pytest.mark.parametrize("text", ["3.10", "3", "2.7", "3.11.2", "cp311", ""])
def test_pythons(text: str) -> None:
    """If not: wheels are fetched for a Python that edge does not run on."""
    with pytest.raises(InputError) as caught:
        parse_python(text)
    assert "3.11" in str(caught.value)
    assert parse_python("3.13") == (3, 13)
