"""The folder browser: it must show no more than may be chosen, and say why a file or a folder cannot be used."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from edge.app.i18n import catalogue
from edge.app.presenters.folders import (
    MOST_ENTRIES,
    MOST_TEXT_BYTES,
    TEXT_ENDINGS,
    FolderBrowser,
    Place,
    TextFileError,
    read_text,
)


@pytest.fixture()
def home(tmp_path: Path) -> Path:
    (tmp_path / "Visits").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b.txt", "A.TXT", "photo.png", ".secret.txt"):
        (tmp_path / name).write_text("hello")
    return tmp_path


def test_lists_folders_and_texts_only(home: Path) -> None:
    """A hidden file or a picture that can be chosen only leads to an error."""
    browser = FolderBrowser(home, TEXT_ENDINGS)
    assert [(one.name, one.folder) for one in browser.view.entries] == [
        ("Visits", True),
        ("A.TXT", False),
        ("b.txt", False),
    ]
    assert browser.file("b.txt") == home / "b.txt"
    assert browser.file("photo.png") is None and browser.file("../x") is None
    assert [one.name for one in FolderBrowser(home).view.entries] == ["Visits"]


def test_goes_down_up_and_home(home: Path) -> None:
    """Who cannot go back is lost in a folder."""
    browser = FolderBrowser(home, free=lambda _path: 7)
    browser.enter("Visits")
    assert browser.path == home / "Visits" and browser.view.free_bytes == 7
    browser.enter("..")
    assert browser.path == home / "Visits"
    browser.up()
    browser.up()
    browser.go(browser.view.places[0])
    assert browser.path == home
    browser.go(Place("disk", Path("/nowhere")))
    assert browser.path == home


def test_never_above_the_root(home: Path) -> None:
    """Above the root there is nothing to show."""
    browser = FolderBrowser(home / "Visits", root=home)
    browser.up()
    browser.up()
    assert browser.path == home and not browser.view.can_go_up


def test_makes_a_folder(home: Path) -> None:
    """A person who exports wants a folder of their own; a bad name is said in words."""
    browser = FolderBrowser(home)
    assert browser.make_folder("Exports") == "" and browser.path == home / "Exports"
    browser.up()
    for name, key in (("Exports", "folder.exists"), ("a/b", "folder.bad_name"), (" ", "folder.bad_name")):
        assert browser.make_folder(name) == key
        assert key in catalogue("en")


def test_many_entries_are_counted(home: Path) -> None:
    """What is left out in silence is a file that seems not to be there."""
    for number in range(MOST_ENTRIES + 5):
        (home / f"t{number}.txt").touch()
    view = FolderBrowser(home, TEXT_ENDINGS).view
    assert len(view.entries) == MOST_ENTRIES and view.left_out == 8


def test_a_folder_without_permission_is_said() -> None:
    """An empty list would say that nothing is there."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as outer:
        Path(outer).chmod(0o755)
        (visits := Path(outer) / "Visits").mkdir()
        visits.chmod(0)
        try:
            if user == 0:  # the administrator may read every folder
                os.seteuid(65534)
            assert FolderBrowser(Path(outer)).view.error == ""
            assert FolderBrowser(visits).view.error == "folder.unreadable"
        finally:
            os.seteuid(user)
            visits.chmod(0o700)


def test_a_folder_that_went_away_is_said(home: Path) -> None:
    """A stick that was pulled out must not end the app."""
    browser = FolderBrowser(home / "Visits")
    (home / "Visits").rmdir()
    browser.refresh()
    assert browser.view.error == "folder.unreadable" and browser.view.can_go_up


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b"\xff\xfe\x00", "note.file_not_text"),
        (b"a\0b", "note.file_not_text"),
        (b" \n ", "note.file_empty"),
        (b"x" * (MOST_TEXT_BYTES + 1), "note.file_too_large"),
        (None, "note.file_unreadable"),
    ],
)
def test_what_is_no_transcript_is_said_without_its_words(tmp_path: Path, data: bytes | None, key: str) -> None:
    """The reason is for the person; neither the file's name nor its content may reach a log."""
    path = tmp_path / "MORALES.txt"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(TextFileError) as caught:
        read_text(path)
    assert caught.value.key == key and key in catalogue("de")
    assert "MORALES" not in str(caught.value) and caught.value.__cause__ is None


def test_reads_text_of_any_system(tmp_path: Path) -> None:
    """A file from Windows has other line ends and a mark at its beginning."""
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffDoctor: hi\r\nPatient: Grüezi\r\n".encode())
    assert read_text(path) == "Doctor: hi\nPatient: Grüezi"
