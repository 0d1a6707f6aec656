"""What to copy to a device: pure, from two listings to the pieces to send and the files to remove.

Rules
- A file that is there with the same sha256 and size is not sent again.
- A file that was cut off is gone on with: the device keeps what it has under the digest that it shall become, and
  checks that digest over the whole file at the end.
- What is there and not wanted goes away, except below the folders of `keep`.
- Pieces are grouped into requests of at most PIECE_BYTES, so that an error is heard of soon and thousands of small
  files do not cost a round trip each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ResourceError
from edge.files import sha256_file

PIECE_BYTES = 4 << 20
# Left free on a device after a copy: a result, an attestation, the system's own logs.
SPARE_BYTES = 64 << 20
NOT_COPIED = frozenset({"__pycache__"})


@dataclass(frozen=True)
class LocalFile:
    """One file to have on the device. path: here; sha256: hex."""

    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Listing:
    """What lies in a folder of a device.

    files: path to (sha256, size); parts: sha256 to bytes that are there of a file that was cut off; odd: paths of
    links and other things that are no files.
    """

    files: Mapping[str, tuple[str, int]]
    parts: Mapping[str, int]
    odd: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """Bytes offset..offset+length of a file that has size_bytes in all."""

    name: str
    sha256: str
    size_bytes: int
    offset: int
    length: int


@dataclass(frozen=True)
class CopyPlan:
    """send: name to first byte to send; remove: names to remove first; kept: files that are there already."""

    send: tuple[tuple[str, int], ...]
    remove: tuple[str, ...]
    kept: int
    send_bytes: int


def local_files(folder: Path) -> dict[str, LocalFile]:
    """Every regular file below a folder by its relative path, with its digest; links are followed to files.

    Errors: ResourceError when one cannot be read.
    """
    found = {}
    try:
        for base, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if name not in NOT_COPIED)
            for name in sorted(names):
                path = Path(base) / name
                if path.is_file():
                    relative = path.relative_to(folder).as_posix()
                    found[relative] = LocalFile(path, sha256_file(path), path.stat().st_size)
    except OSError as error:
        raise ResourceError(f"cannot be read ({error.strerror})", where=str(folder), mend="check the folder") from error
    return found


def plan_copy(wanted: Mapping[str, LocalFile], there: Listing, keep: Iterable[str] = ()) -> CopyPlan:
    """The plan. keep: folders ("attestations/") whose further files stay."""
    kept_folders = tuple(keep)
    send, kept, size = [], 0, 0
    parts = dict(there.parts)
    for name, file in sorted(wanted.items()):
        if there.files.get(name) == (file.sha256, file.size_bytes):
            kept += 1
            continue
        # The part serves one file; a second one with the same content is sent from its beginning.
        begun = parts.pop(file.sha256, 0)
        offset = begun if begun < file.size_bytes else 0
        send.append((name, offset))
        size += file.size_bytes - offset
    extra = [name for name in there.files if name not in wanted and not name.startswith(kept_folders or ("\0",))]
    begun_on = {wanted[name].sha256 for name, offset in send if offset}
    stale = [part_name(digest) for digest in there.parts if digest not in begun_on]
    return CopyPlan(tuple(send), tuple(sorted([*extra, *there.odd, *stale])), kept, size)


def part_name(sha256: str) -> str:
    """What the device calls a file that is not whole yet."""
    return f".edge-{sha256}.part"


def check_space(plan: CopyPlan, free_bytes: int, where: str) -> None:
    """Refuse a copy that does not fit. Errors: ResourceError with both sizes."""
    needed = plan.send_bytes + SPARE_BYTES
    if plan.send and needed > free_bytes:
        raise ResourceError(
            f"has {free_bytes / 1e6:.0f} MB free, {needed / 1e6:.0f} MB are needed; nothing was copied",
            where=where,
            mend="free space there and run the same command again",
        )


def requests(plan: CopyPlan, wanted: Mapping[str, LocalFile]) -> Iterator[tuple[Piece, ...]]:
    """The pieces of a plan, grouped."""
    group: list[Piece] = []
    filled = 0
    for name, start in plan.send:
        file = wanted[name]
        offset = start
        while True:
            length = min(PIECE_BYTES - filled, file.size_bytes - offset)
            group.append(Piece(name, file.sha256, file.size_bytes, offset, length))
            filled += length
            offset += length
            if filled >= PIECE_BYTES:
                yield tuple(group)
                group, filled = [], 0
            if offset >= file.size_bytes:
                break
    if group:
        yield tuple(group)
