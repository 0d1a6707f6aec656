"""The whole .deb of small bundles. When these fail, a board gets the wrong files, or two builders different ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle
from edge.errors import EdgeError, InputError, ResourceError, SourceError
from edge.package import deb
from edge.package.deb_archive import DATA, control_file, read_member
from edge.package.deb_control import NOBODY, maintainer_text
from edge.package.deb_needs import needs_of
from tests.package.elf import elf
from tests.package.fakes import SmallSources, bundle, signer

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    """A home with the builder's key."""
    return signer(tmp_path_factory.mktemp("home"))[0]


@pytest.fixture(scope="module")
def notes(store: KeyStore, tmp_path_factory: pytest.TempPathFactory) -> OpenBundle:
    """A bundle for a Raspberry Pi 5 with its panel."""
    return bundle(tmp_path_factory.mktemp("b") / "notes", store.load_signing_key())


def write(folder: Path, store: KeyStore, *bundles: OpenBundle, **options: Any) -> deb.Written:
    """The package of these bundles with a small runner."""
    folder.mkdir(exist_ok=True)
    sources = options.pop("sources", None) or SmallSources(folder)
    keys = deb.builders_of(bundles, store.public)
    return deb.write_package(bundles, keys, folder / "out", sources=sources, **options)


def names(path: Path) -> set[str]:
    return {name.removeprefix("./") for name, *_ in read_member(path, DATA)}


def content(path: Path, name: str) -> str:
    return next(
        data for found, _, _, data in read_member(path, DATA, wanted=f"./{name}") if found == f"./{name}"
    ).decode()


def fields(path: Path) -> dict[str, str]:
    lines = [line for line in control_file(path, "control").splitlines() if not line.startswith(" ")]
    return dict(line.split(": ", 1) for line in lines)


def test_the_control_file(tmp_path: Path, store: KeyStore, notes: OpenBundle) -> None:
    """If not: dpkg refuses the package, or installs it where it cannot run."""
    written = write(tmp_path / "w", store, notes)
    found = fields(written.path)
    assert (found["Package"], found["Architecture"]) == ("edge-kit", "arm64")
    assert re.fullmatch(r"0\.\d+\.\d+\+1\.[0-9a-f]{8}", found["Version"])
    assert written.path.name == f"edge-kit_{found['Version']}_arm64.deb"
    asked = found["Depends"].split(", ")
    assert {"libc6 (>= 2.31)", "libstdc++6", "python3.11", "adduser", "libegl1", "libgbm1"} <= set(asked)
    assert int(found["Installed-Size"]) > 0
    assert notes.behaviour_digest[:16] in control_file(written.path, "control")
    assert control_file(written.path, "conffiles") == "/etc/default/edge-kit\n"


def test_what_lies_where(tmp_path: Path, store: KeyStore, notes: OpenBundle) -> None:
    """If not: the launcher, a unit, the bundle or the builder's key is missing, or a note of pip's goes along."""
    path = write(tmp_path / "w", store, notes).path
    found = names(path)
    place = f"var/lib/edge-kit/bundles/notes-{notes.behaviour_digest[:16]}-{notes.bundle_digest[:8]}"
    assert {
        "usr/bin/edge", "usr/lib/edge-kit/verify-new", "usr/lib/edge-kit/site/edge/cli.py",
        "usr/lib/edge-kit/site/one/_native.so", "usr/lib/edge-kit/site/one-1.0.dist-info/METADATA",
        "usr/lib/systemd/system/edge-bedside.service", "usr/lib/systemd/system/edge-verify.service",
        "usr/lib/systemd/system/edge-agent.service", "usr/lib/tmpfiles.d/edge-bedside.conf",
        "usr/lib/udev/rules.d/70-edge-bedside.rules", "etc/default/edge-kit", "usr/share/edge-kit/package.json",
        "usr/share/doc/edge-kit/copyright", "usr/share/doc/edge-kit/changelog.gz",
        f"usr/share/edge-kit/trusted/deb-{notes.signer_fingerprint}.pub.pem", "var/lib/edge-kit/notes",
        f"{place}/manifest.json", f"{place}/signature", f"{place}/model/model.onnx", f"{place}/attestations",
    } <= found  # fmt: skip
    odd = [name for name in found if re.search(r"RECORD|direct_url|__pycache__|\.pyc|/bin/one|\.edge-kept", name)]
    assert odd == []
    about = json.loads(content(path, "usr/share/edge-kit/package.json"))
    assert about["bundles"][0]["behaviour_digest"] == notes.behaviour_digest
    assert any(line.startswith("kivy==") for line in about["requirements"]), "the app's wheels are missing"
    assert not any(line.startswith(("torch", "transformers", "onnx==")) for line in about["requirements"])
    assert "one 1.0: MIT" in content(path, "usr/share/doc/edge-kit/copyright")


def test_results_of_other_machines_stay_at_home(tmp_path: Path, store: KeyStore) -> None:
    """If not: a board with a result of the build host is never tested itself."""
    opened = bundle(tmp_path / "notes", store.load_signing_key())
    (opened.path / "attestations").mkdir()
    (opened.path / "attestations" / "host.000001.12345678.json").write_text("{}")
    assert not any("host." in name for name in names(write(tmp_path / "w", store, opened).path))


def test_a_headless_target(tmp_path: Path, store: KeyStore) -> None:
    """If not: a server gets Kivy and a unit that waits for a panel for ever."""
    opened = bundle(tmp_path / "notes", store.load_signing_key(), on="x86_64-linux")
    sources = SmallSources(tmp_path / "w")
    written = write(tmp_path / "w", store, opened, sources=sources)
    assert fields(written.path)["Architecture"] == "amd64"
    assert not any("bedside" in name for name in names(written.path))
    assert "libegl1" not in written.depends
    ((arch, python, requirements),) = sources.asked
    assert (arch, python) == ("x86_64", (3, 11))
    assert not any(line.startswith("kivy") for line in requirements)
    assert any(line.startswith("onnxruntime==") for line in requirements)


@needs_dpkg
def test_the_same_bytes_from_another_folder_and_time(tmp_path: Path, store: KeyStore, notes: OpenBundle) -> None:
    """If not: nobody can check that a package is what its sources say."""
    one = write(tmp_path / "one", store, notes)
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))
    two = write(tmp_path / "a longer folder", store, notes)
    assert one.path.read_bytes() == two.path.read_bytes()
    text = subprocess.run(["dpkg-deb", "--info", str(one.path)], capture_output=True, text=True, check=True)
    assert text.stderr == ""
    subprocess.run(["dpkg-deb", "--extract", str(one.path), str(tmp_path / "x")], check=True)
    for path in (tmp_path / "x").rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path
    sums = control_file(one.path, "md5sums").splitlines()
    for line in sums:
        digest, name = line.split("  ", 1)
        assert digest == deb.sums_of([deb.Entry(name, source=tmp_path / "x" / name)])[name]
    assert len(sums) > 10


def test_another_content_is_another_version(tmp_path: Path, store: KeyStore, notes: OpenBundle) -> None:
    """If not: two different packages share a name, and dpkg does not see the upgrade."""
    other = bundle(tmp_path / "notes", store.load_signing_key(), text="Write more.")
    versions = [
        write(tmp_path / "1", store, notes).version,
        write(tmp_path / "2", store, other).version,
        write(tmp_path / "3", store, notes, revision="2").version,
        write(tmp_path / "4", store, notes, revision="10").version,
    ]
    assert len(set(versions)) == 4
    if shutil.which("dpkg"):
        for old, new in ((0, 2), (1, 2), (2, 3)):
            subprocess.run(["dpkg", "--compare-versions", versions[old], "lt", versions[new]], check=True)


def test_one_behaviour_and_two_identities(tmp_path: Path, store: KeyStore, notes: OpenBundle) -> None:
    """If not: results of one bundle lie in the folder of another, which then is refused as changed."""
    other = bundle(tmp_path / "notes", store.load_signing_key(), memory_reserved_bytes=2_000_000_000)
    assert other.behaviour_digest == notes.behaviour_digest
    assert deb.folder_name(other) != deb.folder_name(notes)


def test_several_bundles(tmp_path: Path, store: KeyStore, notes: OpenBundle) -> None:
    """If not: the app on a board lacks one of its tasks."""
    second = bundle(tmp_path / "d", store.load_signing_key(), name="differential")
    path = write(tmp_path / "w", store, notes, second).path
    unit = content(path, "usr/lib/systemd/system/edge-bedside.service")
    assert " app /var/lib/edge-kit/notes /var/lib/edge-kit/differential " in unit
    with pytest.raises(InputError, match="one name"):
        write(tmp_path / "w", store, notes, notes)
    other = bundle(tmp_path / "x", store.load_signing_key(), name="other", on="raspberry-pi-4")
    with pytest.raises(InputError, match="different targets"):
        write(tmp_path / "w", store, notes, other)


@pytest.mark.parametrize("on", ["android-arm64", "browser"])
def test_targets_without_a_deb(tmp_path: Path, store: KeyStore, on: str) -> None:
    """If not: a package is made that no device takes."""
    with pytest.raises(InputError, match="is for Linux"):
        write(tmp_path / "w", store, bundle(tmp_path / "b", store.load_signing_key(), on=on))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"revision": "1.2"}, InputError), ({"revision": ""}, InputError), ({"revision": "-1"}, InputError),
        ({"python": (3, 10)}, InputError),
    ],
)  # fmt: skip
def test_what_cannot_be(
    tmp_path: Path, store: KeyStore, notes: OpenBundle, options: dict[str, Any], error: type[EdgeError]
) -> None:
    """If not: a typing error makes a package that dpkg refuses on the board."""
    with pytest.raises(error):
        write(tmp_path / "w", store, notes, **options)


def test_wheels_that_do_not_fit(tmp_path: Path, store: KeyStore, notes: OpenBundle) -> None:
    """If not: a library of the build host goes to an Arm board, or one that no Debian package brings."""

    class Wrong(SmallSources):
        def site(self, arch: str, python: tuple[int, int], requirements: Any) -> Path:
            return super().site("x86_64", python, requirements)

    with pytest.raises(SourceError, match="is for x86_64, the package is for aarch64"):
        write(tmp_path / "w", store, notes, sources=Wrong(tmp_path / "w"))
    with pytest.raises(SourceError, match=r"libcuda\.so\.1"):
        write(tmp_path / "w", store, notes, sources=SmallSources(tmp_path / "w", ("libcuda.so.1",)))
    assert not (tmp_path / "w" / "out").exists()


def test_a_library_in_the_bundle(tmp_path: Path, store: KeyStore) -> None:
    """If not: a compiled bundle goes to a board whose loader refuses it, or lacks what it is linked with."""
    site = SmallSources(tmp_path / "w").site("aarch64", (3, 11), ())
    (tmp_path / "b" / "lib").mkdir(parents=True)
    library = tmp_path / "b" / "lib" / "libtvm_runtime.so"
    library.write_bytes(elf(("libgomp.so.1", "_native.so"), machine=183))
    assert needs_of([site, tmp_path / "b"], "aarch64").libraries == ("libc.so.6", "libgomp.so.1", "libstdc++.so.6")
    library.write_bytes(elf(machine=62))
    with pytest.raises(SourceError, match="is for x86_64, the package is for aarch64"):
        needs_of([site, tmp_path / "b"], "aarch64")


def test_who_makes_it() -> None:
    """If not: a line in an address becomes a field of the control file."""
    assert maintainer_text({}) == NOBODY
    assert maintainer_text({"DEBEMAIL": "a@b.org", "DEBFULLNAME": "A B"}) == "A B <a@b.org>"
    for bad in ({"DEBEMAIL": "a"}, {"DEBEMAIL": "a@b\nDepends: x"}, {"DEBEMAIL": "a@b", "DEBFULLNAME": "A\nB"}):
        with pytest.raises(InputError):
            maintainer_text(bad)


def test_no_room(tmp_path: Path, store: KeyStore, notes: OpenBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: the disk is full after minutes of packing, with half a package on it."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type(usage)(usage.total, usage.used, 1000))
    with pytest.raises(ResourceError, match="are free"):
        write(tmp_path / "w", store, notes)
    assert list((tmp_path / "w" / "out").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeError):
        deb.write_package([notes], [], tmp_path / "file" / "x", sources=SmallSources(tmp_path / "v"))


def test_a_key_that_did_not_sign(tmp_path: Path, store: KeyStore, notes: OpenBundle) -> None:
    """If not: the board trusts somebody else than the builder, and refuses the bundle."""
    other, _ = signer(tmp_path / "home")
    with pytest.raises(SourceError, match="not the one that signed"):
        deb.builders_of([notes], lambda _: other.public("clinic"))


def test_time_of_the_files() -> None:
    """If not: a distribution's own clock setting is ignored, or a wrong one is a traceback."""
    assert deb.package_time_s({}) == deb.TIME_S
    assert deb.package_time_s({"SOURCE_DATE_EPOCH": "5"}) == 5
    for bad in ("now", "-1", "", "99999999999999"):
        with pytest.raises(InputError):
            deb.package_time_s({"SOURCE_DATE_EPOCH": bad})
