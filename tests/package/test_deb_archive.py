"""The .deb as dpkg reads it. When these fail, a package does not install, or installs other than it was made."""

from __future__ import annotations

import hashlib
import os
import shutil
import string
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import BundleError, ResourceError, SourceError
from edge.package import deb_archive
from edge.package.deb_archive import CONTROL, DATA, Entry, control_file, members, read_member, with_folders, write_deb

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
CONTROL_TEXT = b"Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@localhost>\nDescription: x\n"
NAMES = st.text(string.ascii_letters + string.digits + "äß._+-", min_size=1, max_size=120).filter(
    lambda name: name not in (".", "..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


def make(path: Path, entries: list[Entry]) -> Path:
    """A package with these entries."""
    write_deb(path, [Entry("control", data=CONTROL_TEXT)], with_folders(entries), time_s=1_735_689_600)
    return path


def free_of_clashes(paths: dict[str, bytes]) -> bool:
    return not any(other.startswith(f"{path}/") for path in paths for other in paths)


@needs_dpkg
@settings(max_examples=15, deadline=None)
@given(st.dictionaries(PATHS, st.binary(max_size=2000), max_size=6).filter(free_of_clashes))
def test_dpkg_unpacks_what_was_put_in(tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]) -> None:
    """If not: dpkg reads our ar or tar otherwise than we wrote it (long names, odd sizes, letters beyond ASCII)."""
    folder = tmp_path_factory.mktemp("deb")
    package = make(folder / "x.deb", [Entry(path, data=data) for path, data in contents.items()])
    subprocess.run(["dpkg-deb", "--extract", str(package), str(folder / "out")], check=True)
    found = {
        path.relative_to(folder / "out").as_posix(): path.read_bytes()
        for path in (folder / "out").rglob("*")
        if path.is_file()
    }
    assert found == contents


@needs_dpkg
def test_modes_owners_links_and_times(tmp_path: Path) -> None:
    """If not: a program is not executable, a file belongs to whoever built, or two builds differ in their times."""
    source = tmp_path / "source"
    source.write_bytes(b"of this machine")
    source.chmod(0o600)
    os.utime(source, (1, 1))
    package = make(
        tmp_path / "x.deb",
        [
            Entry("usr/bin/x", data=b"#!/bin/sh\n", executable=True),
            Entry("usr/share/x/text", source=source),
            Entry("usr/share/x/link", link="text"),
            Entry("var/lib/x"),
        ],
    )
    listed = subprocess.run(["dpkg-deb", "--contents", str(package)], check=True, capture_output=True, text=True)
    rows = {line.split()[5]: line.split() for line in listed.stdout.splitlines()}
    assert rows["./usr/bin/x"][0] == "-rwxr-xr-x"
    assert rows["./usr/share/x/text"][:3] == ["-rw-r--r--", "root/root", "15"]
    assert rows["./usr/share/x/link"][0] == "lrwxrwxrwx" and rows["./usr/share/x/link"][-1] == "text"
    assert rows["./var/lib/x/"][0] == "drwxr-xr-x"
    assert {(row[1], row[3]) for row in rows.values()} == {("root/root", "2025-01-01")}
    assert list(rows) == sorted(rows), "a folder must come before what is in it"


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    """If not: two builders cannot compare what they made."""
    entries = [Entry(f"usr/{name}", data=name.encode() * 1000) for name in "cab"]
    one = make(tmp_path / "1.deb", entries)
    two = make(tmp_path / "2.deb", list(reversed(entries)))
    assert one.read_bytes() == two.read_bytes()
    assert control_file(one, "control").encode() == CONTROL_TEXT
    assert control_file(one, "postinst") == ""
    assert [name for name, *_ in read_member(one, DATA)] == [".", "./usr", "./usr/a", "./usr/b", "./usr/c"]


@pytest.mark.parametrize("path", ["/etc/x", "a/../b", "", "a//b", "a/", "a\nb", "."])
def test_paths_that_leave_the_package(path: str) -> None:
    """If not: a file of a bundle is written somewhere else on the device, as root."""
    with pytest.raises(SourceError):
        with_folders([Entry(path, data=b"")])


def test_paths_that_meet() -> None:
    """If not: one file of the package hides another."""
    with pytest.raises(SourceError, match="twice"):
        with_folders([Entry("a", data=b"1"), Entry("a", data=b"2")])
    with pytest.raises(SourceError, match="a file and a folder"):
        with_folders([Entry("a", data=b"1"), Entry("a/b", data=b"2")])
    with pytest.raises(SourceError, match="a file and a folder"):
        with_folders([Entry("a", link="c"), Entry("a/b", data=b"2")])


def test_sources_that_cannot_be_packed(tmp_path: Path) -> None:
    """If not: a vanished file is a traceback, or a link takes a file of this machine along."""
    gone = Entry("x", source=tmp_path / "gone")
    (tmp_path / "link").symlink_to("/etc/hostname")
    for entry in (gone, Entry("x", source=tmp_path / "link")):
        with pytest.raises(SourceError):
            make(tmp_path / "x.deb", [entry])
    assert [path.name for path in tmp_path.iterdir()] == ["link"], "half a package stayed"


def test_a_file_that_shrinks_while_it_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: the package holds a file of a length that its header does not say."""
    source = tmp_path / "source"
    source.write_bytes(b"x" * 10)

    class Liar(Entry):
        def size_bytes(self) -> int:
            return 20

    with pytest.raises(SourceError, match="cannot be read"):
        make(tmp_path / "x.deb", [Liar("x", source=source)])
    assert not (tmp_path / "x.deb").exists()


def test_larger_than_a_deb_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: the size runs over its ten digits and dpkg reads rubbish."""
    monkeypatch.setattr(deb_archive, "MOST_BYTES", 100)
    with pytest.raises(ResourceError, match="at most 10 GB"):
        make(tmp_path / "x.deb", [Entry("x", data=os.urandom(500))])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 7, 60, 100, -2, -700])
def test_a_package_cut_short(tmp_path: Path, keep: int) -> None:
    """If not: half a package passes for a whole one."""
    package = make(tmp_path / "x.deb", [Entry("x", data=os.urandom(5000))])
    package.write_bytes(package.read_bytes()[:keep])
    with pytest.raises(BundleError, match="not a whole"):
        for name in (CONTROL, DATA):
            list(read_member(package, name))


def test_members_and_sums(tmp_path: Path) -> None:
    """If not: dpkg --verify compares with other sums."""
    package = make(tmp_path / "x.deb", [Entry("x", data=b"abc")])
    assert list(members(package)) == ["debian-binary", CONTROL, DATA]
    assert deb_archive.md5(Entry("x", data=b"abc")) == hashlib.md5(b"abc", usedforsecurity=False).hexdigest()
