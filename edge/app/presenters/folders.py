"""A browser over folders for choosing a text file or a place to save in, without a screen.

It shows what a person may choose and nothing else: no hidden names, only the wanted endings, folders first. Places are
the home folder and whatever removable disks are mounted. It never follows a name that was not listed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge.app.presenters.base import Presenter
from edge.errors import InputError

MOST_ENTRIES = 300
MOST_TEXT_BYTES = 1_000_000  # some eight hours of talk
TEXT_ENDINGS = (".txt", ".md", ".text", ".transcript")
_MOUNTS = ("media", "run/media", "mnt")


@dataclass(frozen=True)
class Entry:
    """One name of the folder. size_bytes: 0 for a folder."""

    name: str = field(repr=False)
    folder: bool = False
    size_bytes: int = 0


@dataclass(frozen=True)
class Place:
    """Where a person may begin. kind: home or disk; name: of the disk."""

    kind: str
    path: Path = field(repr=False)
    name: str = ""


@dataclass(frozen=True)
class FolderView:
    """What is listed. error: a key of the catalogue or ''. left_out: entries beyond MOST_ENTRIES. writable: a file can
    be made here. free_bytes: of the disk, None when it does not say."""

    path: str = field(default="", repr=False)
    entries: tuple[Entry, ...] = field(default=(), repr=False)
    places: tuple[Place, ...] = ()
    can_go_up: bool = False
    free_bytes: int | None = None
    writable: bool = False
    left_out: int = 0
    error: str = ""


class FolderBrowser(Presenter[FolderView]):
    """endings: of the files that are listed; () lists folders only. root: the file system's root, for tests."""

    def __init__(
        self,
        start: Path,
        endings: tuple[str, ...] = (),
        *,
        root: Path = Path("/"),
        free: Callable[[Path], int] | None = None,
    ) -> None:
        self._path, self.endings, self._root = start, endings, root
        self._home = start
        self._free = free or (lambda path: shutil.disk_usage(path).free)
        super().__init__(FolderView())
        self.refresh()

    @property
    def path(self) -> Path:
        """The folder that is shown."""
        return self._path

    def make_view(self) -> FolderView:
        """The folder as it is on the disk now."""
        places = self._places()
        try:
            found = self._listed()
        except OSError:
            return FolderView(str(self._path), places=places, can_go_up=self._can_go_up(), error="folder.unreadable")
        return FolderView(
            path=str(self._path),
            entries=tuple(found[:MOST_ENTRIES]),
            places=places,
            can_go_up=self._can_go_up(),
            free_bytes=self._free_bytes(),
            writable=os.access(self._path, os.W_OK | os.X_OK),
            left_out=max(0, len(found) - MOST_ENTRIES),
        )

    def enter(self, name: str) -> None:
        """Show a listed folder; any other name does nothing."""
        if any(entry.folder and entry.name == name for entry in self.view.entries):
            self._show(self._path / name)

    def up(self) -> None:
        """Show the folder above."""
        if self._can_go_up():
            self._show(self._path.parent)

    def go(self, place: Place) -> None:
        """Show a place."""
        if place in self.view.places:
            self._show(place.path)

    def file(self, name: str) -> Path | None:
        """Path of a listed file; None for any other name."""
        listed = any(not entry.folder and entry.name == name for entry in self.view.entries)
        return self._path / name if listed else None

    def make_folder(self, name: str) -> str:
        """Make a folder here and show it. Returns '' or the key of what went wrong."""
        name = name.strip()
        if not name or name.startswith(".") or "/" in name or "\0" in name or len(name.encode()) > 200:
            return "folder.bad_name"
        try:
            (self._path / name).mkdir()
        except FileExistsError:
            return "folder.exists"
        except OSError:
            return "folder.not_writable"
        self._show(self._path / name)
        return ""

    def _show(self, path: Path) -> None:
        self._path = path
        self.refresh()

    def _can_go_up(self) -> bool:
        return self._path != self._root and self._path.parent != self._path

    def _free_bytes(self) -> int | None:
        try:
            return self._free(self._path)
        except OSError:
            return None

    def _listed(self) -> list[Entry]:
        found = []
        with os.scandir(self._path) as items:
            for item in items:
                if item.name.startswith("."):
                    continue
                try:
                    if item.is_dir():
                        found.append(Entry(item.name, True))
                    elif item.is_file() and item.name.lower().endswith(self.endings or ("\0",)):
                        found.append(Entry(item.name, False, item.stat().st_size))
                except OSError:
                    continue  # it went away, or a link points nowhere: nothing to choose
        return sorted(found, key=lambda entry: (not entry.folder, entry.name.casefold(), entry.name))

    def _places(self) -> tuple[Place, ...]:
        places = [Place("home", self._home)]
        for mount in _MOUNTS:
            folder = self._root / mount
            for disk in _folders(folder):
                # A user's own folder of mounts lies one level deeper: /media/USER/STICK, /run/media/USER/STICK.
                inner = _folders(disk)
                for path in inner if inner and not os.path.ismount(disk) else [disk]:
                    if os.path.ismount(path):
                        places.append(Place("disk", path, path.name))
        return tuple(places)


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith("."))
    except OSError:
        return []


class TextFileError(InputError):
    """A file that is no transcript. key: of the catalogue, with the words for the person; no name, no content."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__("this file cannot be used as a transcript", mend="choose a text file")


def read_text(path: Path) -> str:
    """A transcript file's text. Errors: TextFileError when it is too large, no UTF-8 text, empty or not readable."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_TEXT_BYTES + 1)
    except OSError:
        raise TextFileError("note.file_unreadable") from None
    if len(data) > MOST_TEXT_BYTES:
        raise TextFileError("note.file_too_large")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # "from None": the error would carry the bytes of the file into a traceback.
        raise TextFileError("note.file_not_text") from None
    if "\0" in text:
        raise TextFileError("note.file_not_text")
    if not text.strip():
        raise TextFileError("note.file_empty")
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()
