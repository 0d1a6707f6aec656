"""The chunk manifest. When these fail, a device follows a list of chunks that contradicts the signed bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from edge.bundle.canonical import canonical_json
from edge.errors import BundleError
from edge.fleet.updates.chunk_manifest import ChunkManifest
from tests.fleet.updates.update_world import CHUNK_BYTES, World


@pytest.fixture(scope="module")
def data(two_releases: World) -> bytes:
    """The published chunk manifest of v1."""
    folder = two_releases.published / "targets" / "releases"
    (path,) = [path for path in folder.iterdir() if path.name.endswith(".v1.json")]
    return path.read_bytes()


def test_round_trip(data: bytes) -> None:
    """If not: the digest that TUF signs is not that of what was read."""
    chunks = ChunkManifest.from_bytes(data, "v1")
    assert chunks.to_bytes() == data
    assert chunks.chunk_bytes == CHUNK_BYTES
    spans = list(chunks.spans())
    assert sum(span.size_bytes for span in spans) == chunks.release.size_bytes
    assert max(span.size_bytes for span in spans) == CHUNK_BYTES
    assert sum(chunks.blobs().values()) <= chunks.release.size_bytes  # equal files are one blob


def first_part(value: dict[str, Any]) -> dict[str, Any]:
    """The first part of the first file."""
    part: dict[str, Any] = value["files"][0]["parts"][0]
    return part


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "from the future": lambda v: v.update(version=2),
    "version true": lambda v: v.update(version=True),
    "unknown key": lambda v: v.update(more=1),
    "missing key": lambda v: v.pop("chunk_bytes"),
    "no chunk size": lambda v: v.update(chunk_bytes=0),
    "huge chunk size": lambda v: v.update(chunk_bytes=1 << 40),
    "chunk size as text": lambda v: v.update(chunk_bytes="4096"),
    "fewer chunks": lambda v: first_part(v)["chunks"].pop(),
    "odd digest": lambda v: first_part(v)["chunks"].__setitem__(0, "../../etc/passwd"),
    "odd part": lambda v: first_part(v).update(sha256="x"),
    "other part": lambda v: first_part(v).update(sha256="0" * 64),
    "wrong size": lambda v: first_part(v).update(size_bytes=1),
    "negative size": lambda v: first_part(v).update(size_bytes=-1),
    "missing file": lambda v: v["files"].pop(),
    "other file": lambda v: v["files"][0].update(path="../x"),
    "files no list": lambda v: v.update(files=7),
    "other bundle": lambda v: v["release"].update(bundle_digest="0" * 64),
    "other behaviour": lambda v: v["release"].update(behaviour_digest="0" * 64),
    "other total": lambda v: v["release"].update(size_bytes=1),
    "odd release": lambda v: v["release"].update(release="../x"),
    "odd profile": lambda v: v["release"].update(profile=3),
    "release no object": lambda v: v.update(release=[]),
    "other manifest": lambda v: v.update(manifest="{}\n"),
    "manifest no text": lambda v: v.update(manifest=None),
}


@pytest.mark.parametrize("name", CHANGES)
def test_contradictions(data: bytes, name: str) -> None:
    """Each is one line."""
    value = json.loads(data)
    CHANGES[name](value)
    with pytest.raises(BundleError) as caught:
        ChunkManifest.from_bytes(canonical_json(value), "v1")
    assert "\n" not in str(caught.value)


def test_not_canonical(data: bytes) -> None:
    """Two spellings of one manifest would be two digests."""
    with pytest.raises(BundleError):
        ChunkManifest.from_bytes(json.dumps(json.loads(data), indent=1).encode(), "v1")
