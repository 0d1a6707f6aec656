"""Scores as they are made, one line a case, so that a run that was stopped goes on where it was.

The first line binds the journal to what was run (build, suite, data, settings, the scorers themselves); any other
binding starts a new one. A line counts when it is whole: what a power cut left behind the last whole line is cut off.
The journal holds ids and scores, never texts, and only its owner reads it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from edge.errors import ResourceError
from edge.files import resource_error

VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One scored case. seconds: of the model; error: a one-line reason when the task refused the case."""

    id: str
    scores: Mapping[str, float | None]
    seconds: float
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"id": self.id, "scores": dict(self.scores), "seconds": self.seconds, "error": self.error}


def binding(parts: Mapping[str, Any]) -> str:
    """Hex digest of what a journal belongs to."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def journal_folder() -> Path:
    """`EDGE_CACHE`, or the user's cache folder of edge, `evaluate` below it."""
    if chosen := os.environ.get("EDGE_CACHE"):
        return Path(chosen) / "evaluate"
    import platformdirs

    return Path(platformdirs.user_cache_dir("edge")) / "evaluate"


class Journal:
    """An open journal, locked against a second run. `entries` are what was done before.

    Errors: ResourceError when another run holds it or the folder cannot be written.
    """

    def __init__(self, path: Path, bound: str, *, fresh: bool = False) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise resource_error(error, str(path)) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            what = "another run evaluates the same build on the same data"
            raise ResourceError(what, where=str(path), mend="wait until it is done") from error
        self.entries: dict[str, Entry] = {}
        kept = 0 if fresh else self._recover(bound)
        self._write_from(kept, b"" if kept else _line({"version": VERSION, "binding": bound}))

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.close(self._descriptor)

    def append(self, entry: Entry) -> None:
        """One case, on disk before this returns."""
        self._write_from(os.lseek(self._descriptor, 0, os.SEEK_END), _line(entry.to_json()))
        self.entries[entry.id] = entry

    def _recover(self, bound: str) -> int:
        """Read what is whole; returns the number of bytes that count."""
        content = self.path.read_bytes()
        lines = content.split(b"\n")[:-1]  # what follows the last line break was torn
        if not lines or _object(lines[0]) != {"version": VERSION, "binding": bound}:
            return 0
        kept = len(lines[0]) + 1
        for line in lines[1:]:
            entry = _entry(_object(line))
            if entry is None:
                break
            self.entries[entry.id] = entry
            kept += len(line) + 1
        return kept

    def _write_from(self, position: int, data: bytes) -> None:
        try:
            os.ftruncate(self._descriptor, position)
            os.lseek(self._descriptor, position, os.SEEK_SET)
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            raise resource_error(error, str(self.path)) from error


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _object(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _entry(value: Any) -> Entry | None:
    try:
        scores = {str(name): None if score is None else float(score) for name, score in value["scores"].items()}
        return Entry(str(value["id"]), scores, float(value["seconds"]), str(value["error"]))
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
