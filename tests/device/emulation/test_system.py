"""Package sources, links and the emulator's command."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.device.emulation.system import emulator_command, inside_links, read_sources
from edge.errors import SourceError

DEB822 = """# of the image
Types: deb
URIs: http://one.test/debian
Suites: bookworm bookworm-updates
Components: main
Architectures: amd64
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://vendor.test/node
Suites: nodistro
Components: main
"""
ONE_LINE = """deb [arch=amd64 signed-by=/k.gpg] http://two.test/debian bookworm-security main contrib # note
deb http://vendor.test/apt cloud-bookworm main
deb-src http://two.test/debian bookworm main
"""


def test_sources_of_the_release_for_all_architectures(tmp_path: Path) -> None:
    """If it fails, apt asks a vendor's repository for the board's packages, or none at all."""
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    (tmp_path / "sources.list").write_text(ONE_LINE)
    found = read_sources(tmp_path, "bookworm")
    assert "http://one.test/debian" in found
    assert "Signed-By: /usr/share/keyrings/debian.gpg" in found
    assert "Suites: bookworm-security\nComponents: main contrib\nSigned-By: /k.gpg" in found
    for word in ("vendor", "amd64", "deb-src", "#"):
        assert word not in found
    assert read_sources(tmp_path, "trixie") == ""
    assert read_sources(tmp_path / "nowhere", "bookworm") == ""


def test_a_source_that_is_switched_off_stays_off(tmp_path: Path) -> None:
    """If it fails, a mirror that the administrator left is asked again."""
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(f"Enabled: no\n{DEB822.partition(chr(10))[2]}")
    assert read_sources(tmp_path, "bookworm") == ""


def test_links_lead_into_the_board(tmp_path: Path) -> None:
    """If it fails, a program of the board reads this machine's library through a link of a package."""
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/real").write_text("board")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/absolute").symlink_to("/usr/lib/real")
    (tmp_path / "etc/folder").symlink_to("/usr/lib")
    (tmp_path / "etc/relative").symlink_to("../usr/lib/real")
    (tmp_path / "etc/host").symlink_to("/etc/hostname")
    inside_links(tmp_path)
    assert (tmp_path / "etc/absolute").read_text() == "board"
    assert (tmp_path / "etc/folder/real").read_text() == "board"
    assert (tmp_path / "etc/relative").readlink() == Path("../usr/lib/real")
    assert not (tmp_path / "etc/host").is_symlink()


def test_an_emulator_without_its_loader(tmp_path: Path) -> None:
    """If it fails, half an emulator ends in a traceback."""
    with pytest.raises(SourceError, match="not complete"):
        emulator_command(tmp_path)
