"""The device's side of the update repository: which releases there are, by metadata that the shipped root vouches for.

Below its home it keeps `root.json` (shipped with the device, see `ship_root`), `metadata/` (what python-tuf has seen,
so that nothing older is taken again) and `releases/` (chunk manifests).

Rules. (1) The clock first: with one that cannot be true nothing is asked, because nobody could tell what has expired.
(2) Every place is asked; one that fails hinders no other, and what failed is kept in `problems`. (3) What counts is
what is kept below home, verified anew, signatures and expiry, at each use: metadata that has expired blocks updates.
(4) Nothing here is read by what runs the installed model: an update that is refused leaves it as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bundle.tree import read_small
from edge.errors import ClockError, EdgeError, InputError, UntrustedError
from edge.files import resource_error, write_atomic
from edge.fleet.updates.chunk_manifest import MAX_CHUNK_MANIFEST_BYTES, ChunkManifest, Release
from edge.fleet.updates.errors import ChangedDataError, ExpiredError, NotThereError, refusal
from edge.fleet.updates.fetching import FetchOptions
from edge.fleet.updates.layout import MAX_METADATA_BYTES, release_path
from edge.fleet.updates.metadata import SIGNED_AT_FIELD, plausible
from edge.fleet.updates.places import UpdatePlace
from edge.fleet.updates.source import ChunkSource

if TYPE_CHECKING:
    from tuf.ngclient import Updater

ROOT_NAME = "root.json"
# How far a device's clock may be behind the time of signing before it is the clock that is wrong.
CLOCK_SLACK = timedelta(days=1)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def ship_root(home: Path, root: bytes) -> int:
    """Put the root metadata that this device is to trust into its home; returns its version. Idempotent.

    Errors: UntrustedError when it is not root metadata signed by its own keys, or another root was shipped before.
    """
    from tuf.api.metadata import Metadata, Root

    path = home / ROOT_NAME
    try:
        metadata = Metadata[Root].from_bytes(root)
        if metadata.signed.type != "root":
            raise ValueError
        metadata.signed.verify_delegate("root", metadata.signed_bytes, metadata.signatures)
    except Exception as error:  # python-tuf has many; each means the same here
        raise UntrustedError(
            "is no root metadata that its own keys signed", where="root", mend="take metadata/1.root.json again"
        ) from error
    if os.path.lexists(path):
        if read_small(path, MAX_METADATA_BYTES) != root:
            raise UntrustedError(
                "this device trusts another update root already",
                where=str(path),
                mend="compare the two; remove that file only when the new one is right",
            )
        return int(metadata.signed.version)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise resource_error(error, str(home)) from error
    write_atomic(path, root)
    return int(metadata.signed.version)


class UpdateClient:
    """Updates for one device. places: asked in this order. options: of every fetch (bandwidth, progress).

    Not for two processes at once on one home: whoever installs holds a lock of its own.
    """

    def __init__(
        self,
        home: Path,
        places: Sequence[UpdatePlace],
        clock: Callable[[], datetime] = _utc_now,
        *,
        options: FetchOptions | None = None,
    ) -> None:
        self.home = home
        self.places = tuple(places)
        self.clock = clock
        self.options = options or FetchOptions()
        self.problems: tuple[EdgeError, ...] = ()

    def refresh(self) -> None:
        """Ask every place for newer metadata.

        Errors: ClockError, ExpiredError, RollbackError, SignatureError, ... of edge.fleet.updates.errors: the first
        place's, when no place had good metadata; UntrustedError when no root was shipped.
        """
        now, root = plausible(self.clock(), "this device's"), self._root()
        problems: list[EdgeError] = []
        good = 0
        for place in self.places:
            try:
                self._refresh_from(place, root, now)
                good += 1
            except EdgeError as error:
                problems.append(self._clock_or(error, place, now))
        self.problems = tuple(problems)
        if not self.places:
            raise InputError("no place to take updates from is set", mend="give an https:// address or a folder")
        if not good:
            raise problems[0]
        self._verified()

    def releases(self) -> tuple[Release, ...]:
        """All releases that the last good metadata lists, by name. No place is asked.

        Errors: as refresh, for what is kept here (ExpiredError above all).
        """
        targets = self._targets()
        found = []
        for path, target in targets.items():
            release = Release.from_json(target.custom, path)
            if path == release_path(release.release):
                found.append(release)
        return tuple(sorted(found, key=lambda item: item.release))

    def source(self, release: Release | str) -> ChunkSource:
        """What an installer takes a release from. Fetches its chunk manifest where it is not here yet.

        Errors: InputError when no such release is listed; ChangedDataError, OfflineError for its chunk manifest.
        """
        name = release if isinstance(release, str) else release.release
        target = self._targets().get(release_path(name))
        if target is None:
            raise InputError(f"no release {name[:60]!r} is listed", mend="refresh, or take one that is")
        data = self._chunk_manifest(target)
        chunks = ChunkManifest.from_bytes(data, release_path(name))
        if chunks.release != Release.from_json(target.custom, release_path(name)) or chunks.release.release != name:
            raise ChangedDataError("its chunk manifest is of another release", where=name, mend="add it anew")
        if not isinstance(release, str) and release != chunks.release:
            raise InputError(f"release '{name}' is another now", mend="list the releases again")
        return ChunkSource(chunks, self.places, self.options)

    # ---- inside -----------------------------------------------------------------------------------------

    def _root(self) -> bytes:
        path = self.home / ROOT_NAME
        if not path.is_file():
            raise UntrustedError(
                "this device has no update root to trust", where=str(path), mend="ship one: `edge repo trust`"
            )
        return read_small(path, MAX_METADATA_BYTES)

    def _updater(self, read: Callable[[str], Iterator[bytes]], root: bytes, now: datetime) -> Updater:
        from edge.fleet.updates.tuf_client import make_updater

        folder = self.home / "metadata"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise resource_error(error, str(folder)) from error
        return make_updater(folder, read, root, now)

    def _refresh_from(self, place: UpdatePlace, root: bytes, now: datetime) -> None:
        try:
            self._updater(place.read, root, now).refresh()
        except OSError as error:
            raise resource_error(error, str(self.home)) from error
        except EdgeError:
            raise
        except Exception as error:  # python-tuf on hostile input: each is a refusal, none a crash
            raise refusal(error, place.name) from error

    def _verified(self) -> Updater:
        """The metadata that is kept here, checked from the shipped root on as if this device served itself."""
        now, root = plausible(self.clock(), "this device's"), self._root()
        folder = self.home / "metadata"

        def read(path: str) -> Iterator[bytes]:
            name = path.removeprefix("metadata/")
            number, _, rest = name.partition(".")
            kept = folder / ("root_history" if rest == ROOT_NAME else "") / (name if rest == ROOT_NAME else rest)
            kept = kept if number.isdecimal() else folder / name
            if not kept.is_file():
                raise NotThereError("nothing was refreshed yet", where=str(self.home), mend="refresh first")
            yield kept.read_bytes()

        try:
            updater = self._updater(read, root, now)
            updater.refresh()
        except OSError as error:
            raise resource_error(error, str(self.home)) from error
        except EdgeError:
            raise
        except Exception as error:  # as above
            raise self._behind(refusal(error, str(self.home)), now) from error
        self._check_signed_at(now)
        return updater

    def _targets(self) -> dict[str, Any]:
        from edge.fleet.updates.tuf_client import verified_targets

        return dict(verified_targets(self._verified()).targets)

    def _chunk_manifest(self, target: Any) -> bytes:
        name = Path(target.get_prefixed_paths()[0]).name
        kept = self.home / "releases" / name
        problems: list[EdgeError] = []
        if kept.is_file():
            data = read_small(kept, MAX_CHUNK_MANIFEST_BYTES)
            if _is(target, data):
                return data
        for place in self.places:
            try:
                data = _limited(place, f"targets/releases/{name}", target.length)
                if not _is(target, data):
                    raise ChangedDataError(
                        "its chunk manifest was changed", where=place.name, mend="copy the repository again"
                    )
                kept.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(kept, data)
            except OSError as error:
                raise resource_error(error, str(kept)) from error
            except EdgeError as error:
                problems.append(error)
            else:
                return data
        raise problems[0] if problems else NotThereError("no place to take updates from is set")

    def _clock_or(self, error: EdgeError, place: UpdatePlace, now: datetime) -> EdgeError:
        """Where a place's own time says that nothing has expired, it is this device's clock that is wrong."""
        told = place.server_time()
        if isinstance(error, ExpiredError) and told is not None and now - told > CLOCK_SLACK:
            return ClockError(
                f"this device's clock says {now:%Y-%m-%d %H:%M}, the server's {told:%Y-%m-%d %H:%M} UTC, and by the"
                " device's the updates have expired",
                where=place.name,
                mend="set the device's clock if the server's is right; the installed model runs on",
            )
        return self._behind(error, now)

    def _signed_at(self) -> datetime | None:
        """When the newest timestamp that is kept here was signed; python-tuf keeps only what has good signatures."""
        from tuf.api.exceptions import RepositoryError
        from tuf.api.metadata import Metadata

        try:
            timestamp = Metadata.from_bytes((self.home / "metadata" / "timestamp.json").read_bytes())
            signed = datetime.fromisoformat(timestamp.signed.unrecognized_fields[SIGNED_AT_FIELD])
            return plausible(signed.replace(tzinfo=signed.tzinfo or UTC), "its signer's")
        except (OSError, ValueError, KeyError, TypeError, RepositoryError, ClockError):
            # Of another tool, or impossible: nothing can be said.
            return None

    def _behind(self, error: EdgeError, now: datetime) -> EdgeError:
        signed = self._signed_at()
        return error if signed is None or now >= signed - CLOCK_SLACK else _clock_behind(now, signed)

    def _check_signed_at(self, now: datetime) -> None:
        signed = self._signed_at()
        if signed is not None and now < signed - CLOCK_SLACK:
            raise _clock_behind(now, signed)


def _clock_behind(now: datetime, signed: datetime) -> ClockError:
    return ClockError(
        f"this device's clock says {now:%Y-%m-%d %H:%M}, but the updates were signed on {signed:%Y-%m-%d %H:%M} UTC",
        mend="set the device's clock; the installed model runs on",
    )


def _is(target: Any, data: bytes) -> bool:
    from tuf.api.exceptions import LengthOrHashMismatchError

    try:
        target.verify_length_and_hashes(data)
    except LengthOrHashMismatchError:
        return False
    return True


def _limited(place: UpdatePlace, path: str, size_bytes: int) -> bytes:
    pieces, count = [], 0
    if size_bytes > MAX_CHUNK_MANIFEST_BYTES:
        raise ChangedDataError("its chunk manifest is too large", where=path, mend="update edge on this device")
    for piece in place.read(path):
        pieces.append(piece)
        count += len(piece)
        if count > size_bytes:
            raise ChangedDataError("sends more than the chunk manifest has", where=place.name, mend="look at it")
    return b"".join(pieces)
