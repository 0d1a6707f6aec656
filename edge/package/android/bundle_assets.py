"""The bundle as assets of the app: parts of a bounded size, and the index that edge.app.android.assets reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.app.android.assets import FOLDER, INDEX, PART_BYTES, AssetFile, AssetIndex, TrustedAsset, listed
from edge.bundle.manifest import ATTESTATIONS_FOLDER
from edge.bundle.open import OpenBundle
from edge.bundle.signing import PublicKey
from edge.errors import BundleError
from edge.files import CHUNK_BYTES

# A zip without 64-bit extensions, which Android's installer asks for, ends below 4 GiB; half of it is left for care.
MOST_CARRIED_BYTES: Final = 1_900_000_000


def bundle_bytes(bundle: OpenBundle) -> int:
    """All files of a bundle together."""
    return sum((bundle.path / name).stat().st_size for name in listed(bundle.path))


def write_assets(
    bundle: OpenBundle,
    keys: Sequence[PublicKey],
    assets: Path,
    *,
    most_bytes: int = MOST_CARRIED_BYTES,
    part_bytes: int = PART_BYTES,
) -> AssetIndex:
    """Write `assets/edge`; returns the index. A bundle larger than most_bytes is listed and not carried.

    Errors: BundleError when a file changed since the bundle was opened; OSError.
    """
    place = assets / FOLDER
    place.mkdir(parents=True)
    carried = bundle_bytes(bundle) <= most_bytes
    known = {entry.path: entry.sha256 for entry in bundle.manifest.files}
    files: list[AssetFile] = []
    count = 0
    for name in listed(bundle.path):
        if not carried and name.startswith(f"{ATTESTATIONS_FOLDER}/"):
            continue  # what is pushed is the bundle of that day, with its own
        one, count = _write_file(bundle.path, name, place if carried else None, count, part_bytes)
        if known.get(name, one.sha256) != one.sha256:
            raise BundleError(f"file {name!r} was changed", where=str(bundle.path), mend="build the bundle again")
        files.append(one)
    trusted: list[TrustedAsset] = []
    for number, key in enumerate(keys, 1):
        asset = f"key-{number}.pem"
        (place / asset).write_bytes(key.to_pem())
        trusted.append(TrustedAsset(asset, key.name, key.role))
    index = AssetIndex(bundle.bundle_digest, carried, tuple(files), tuple(trusted))
    (place / INDEX).write_bytes(index.to_bytes())
    return index


def _write_file(folder: Path, name: str, place: Path | None, count: int, part_bytes: int) -> tuple[AssetFile, int]:
    """One file in parts below `place` (None: only hashed); returns it and the number of parts so far."""
    digest, size = hashlib.sha256(), 0
    parts: list[str] = []
    with (folder / name).open("rb") as source:
        while True:
            left, sink = part_bytes, None
            while left and (piece := source.read(min(CHUNK_BYTES, left))):
                digest.update(piece)
                size += len(piece)
                left -= len(piece)
                if place is not None:
                    if sink is None:
                        count += 1
                        parts.append(f"part-{count:05}.bin")
                        sink = (place / parts[-1]).open("wb")
                    sink.write(piece)
            if sink is not None:
                sink.close()
            if left:  # the file ended inside of this part
                break
    return AssetFile(name, digest.hexdigest(), size, tuple(parts)), count
