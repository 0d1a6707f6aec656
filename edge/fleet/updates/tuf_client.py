"""python-tuf's client with edge's ways in and out: files by name instead of URLs, an injected clock, a given root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tuf.api import exceptions
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edge.fleet.updates.errors import NotThereError

if TYPE_CHECKING:
    from tuf.api.metadata import Targets

# The client forms URLs; ours are this and a path inside the repository, which the fetcher takes off again.
BASE = "edge-repo:/"


class PathFetcher(FetcherInterface):
    """Gives python-tuf the file of a path, by a function that raises NotThereError where there is none."""

    def __init__(self, read: Callable[[str], Iterator[bytes]]) -> None:
        self._read = read

    def _fetch(self, url: str) -> Iterator[bytes]:
        # A generator, so that our own errors reach the caller as they are: fetch() wraps only what is raised at once.
        try:
            yield from self._read(url.removeprefix(BASE))
        except NotThereError as error:
            raise exceptions.DownloadHTTPError(str(error), 404) from error


def make_updater(folder: Path, read: Callable[[str], Iterator[bytes]], root: bytes, now: datetime) -> Updater:
    """A client that keeps its metadata in `folder` and trusts `root` first.

    Errors: tuf.api.exceptions.RepositoryError when the root is not one; OSError.
    """
    config = UpdaterConfig(prefix_targets_with_hash=True)
    updater = Updater(
        str(folder),
        f"{BASE}metadata",
        target_dir=None,
        target_base_url=f"{BASE}targets",
        fetcher=PathFetcher(read),
        config=config,
        bootstrap=root,
    )
    # python-tuf asks the system for the time and has no way to give it another; this is the one place it keeps it in.
    updater._trusted_set.reference_time = now
    return updater


def verified_targets(updater: Updater) -> Targets:
    """The list of targets after a refresh that went well; python-tuf itself only answers for one name at a time."""
    return updater._trusted_set.targets


def mapping_reader(files: dict[str, bytes]) -> Callable[[str], Iterator[bytes]]:
    """A reader over files in memory, by path inside the repository."""

    def read(path: str) -> Iterator[bytes]:
        if path not in files:
            raise NotThereError("is not there", where=path)
        yield files[path]

    return read
