"""What a fill fetches, copies and keeps. When these fail, an adapter's update moves a whole model, or a resumed one
gives a wrong file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle.manifest import FileEntry
from edge.bundle.tree import digest_file
from edge.errors import BundleError, EdgeError, OfflineError, ResourceError
from edge.fleet.updates.chunk_manifest import FileChunks, Span
from edge.fleet.updates.client import UpdateClient
from edge.fleet.updates.cutting import cut_file
from edge.fleet.updates.errors import ChangedDataError
from edge.fleet.updates.fetching import FetchOptions, Progress
from edge.fleet.updates.places import FolderPlace
from edge.fleet.updates.source import ChunkSource
from tests.fleet.updates.update_world import CHUNK_BYTES, World, bundle_files, contents, expected


@pytest.fixture
def client(world: World) -> UpdateClient:
    """A refreshed device."""
    client = world.device()
    client.refresh()
    return client


def bundle(world: World, name: str) -> dict[str, bytes]:
    """What a fill of a release gives."""
    return expected(world.folder / "bundles" / name)


def filled(world: World, client: UpdateClient, name: str, slot: str, installed: Path | None = None) -> Path:
    """A slot with a release."""
    place = world.slot(slot)
    client.source(name).fill(place, installed)
    return place


def test_adapter_alone_moves_its_own_bytes(world: World, client: UpdateClient) -> None:
    """From v1 to v2 the base stays: what moves is the adapter's file, in one request, and nothing of the base."""
    installed = filled(world, client, "v1", "a")
    slot = world.slot("b")
    source = client.source("v2")
    adapter = len(bundle_files()["model/adapter.weights"])
    assert source.plan(slot, installed).fetched_bytes == adapter
    moved = source.fill(slot, installed)
    assert moved.moved_bytes == adapter
    assert moved.kept_bytes == source.release.size_bytes - adapter
    assert source.last_fetch.requests == 1
    assert contents(slot) == bundle(world, "v2")


def test_same_release_moves_nothing(world: World, client: UpdateClient) -> None:
    """The installed bundle again: all is copied."""
    installed = filled(world, client, "v1", "a")
    assert client.source("v1").fill(world.slot("b"), installed).moved_bytes == 0


def test_chunks_are_found_in_any_file(world: World, client: UpdateClient) -> None:
    """A base file that was renamed between releases is still there, by its content."""
    installed = filled(world, client, "v1", "a")
    (installed / "model" / "decoder.onnx.data").rename(installed / "elsewhere.bin")
    adapter = len(bundle_files()["model/adapter.weights"])
    assert client.source("v2").fill(world.slot("b"), installed).moved_bytes == adapter


def test_broken_installed_slot(world: World, client: UpdateClient) -> None:
    """A flipped byte in the installed slot costs one chunk; a link in it, or no slot at all, costs the whole."""
    installed = filled(world, client, "v1", "a")
    path = installed / "model" / "decoder.onnx.data"
    data = bytearray(path.read_bytes())
    data[3 * CHUNK_BYTES + 7] ^= 1
    path.write_bytes(data)
    adapter = len(bundle_files()["model/adapter.weights"])
    assert client.source("v2").fill(world.slot("b"), installed).moved_bytes == adapter + CHUNK_BYTES
    (installed / "link").symlink_to("/etc/passwd")
    for number, gone in enumerate((installed, world.folder / "nothing")):
        slot = world.slot(f"c{number}")
        client.source("v2").fill(slot, gone)
        assert contents(slot) == bundle(world, "v2")


def test_changed_after_it_was_hashed(world: World, client: UpdateClient) -> None:
    """The installed slot is in use: what changes between looking and copying does not get into the new one."""
    installed = filled(world, client, "v1", "a")
    source, slot = client.source("v2"), world.slot("b")
    source.plan(slot, installed)
    path = installed / "model" / "decoder.onnx.data"
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    source.fill(slot, installed)
    assert contents(slot) == bundle(world, "v2")


def test_resume_keeps_right_chunks_and_mends_wrong_ones(world: World, client: UpdateClient) -> None:
    """After a cut: of a partial file with one flipped byte, one chunk and the missing ones are fetched."""
    slot = filled(world, client, "v1", "a")
    path = slot / "model" / "decoder.onnx.data"
    partial = path.with_name(".decoder.onnx.data.partial")
    data = bytearray(path.read_bytes()[: 20 * CHUNK_BYTES + 100])
    data[9 * CHUNK_BYTES] ^= 0x80
    path.unlink()
    partial.write_bytes(data)
    source = client.source("v1")
    missing = len(bundle(world, "v1")["model/decoder.onnx.data"]) - 19 * CHUNK_BYTES
    assert source.needed_bytes(slot, None) == missing
    assert source.fill(slot, None).moved_bytes == missing
    assert source.last_fetch.requests == 2  # the flipped chunk, and the row of missing ones
    assert contents(slot) == bundle(world, "v1")


def test_a_final_file_is_checked_too(world: World, client: UpdateClient) -> None:
    """A file that was whole and is not any more is mended; one of another size and a link are replaced."""
    slot = filled(world, client, "v1", "a")
    path = slot / "model" / "decoder.onnx.data"
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    (slot / "tokenizer" / "tokenizer.json").write_bytes(b"longer than it was")
    (slot / "sbom.cdx.json").unlink()
    (slot / "sbom.cdx.json").symlink_to("/etc/hostname")
    moved = client.source("v1").fill(slot, None).moved_bytes
    assert CHUNK_BYTES < moved < CHUNK_BYTES + 20
    assert contents(slot) == bundle(world, "v1")
    assert not (slot / "sbom.cdx.json").is_symlink()


def test_no_file_is_written_through_a_link(world: World, client: UpdateClient) -> None:
    """A folder of the slot that is a link to elsewhere is refused."""
    slot, outside = world.slot("a"), world.slot("outside")
    (slot / "model").symlink_to(outside)
    with pytest.raises(BundleError, match="link"):
        client.source("v1").fill(slot, None)
    assert not list(outside.iterdir())


def test_tampered_chunk(world: World, client: UpdateClient) -> None:
    """Wrong bytes are never written: one line, and the chunks that were right stay for the next try."""
    blob = world.published / "blobs"
    entry = digest_file(world.folder / "bundles" / "v1" / "model" / "decoder.onnx.data")[0]
    path = blob / entry[:2] / entry
    data = bytearray(path.read_bytes())
    data[10 * CHUNK_BYTES] ^= 1
    path.write_bytes(data)
    slot = world.slot("a")
    with pytest.raises(ChangedDataError, match="model/decoder") as caught:
        client.source("v1").fill(slot, None)
    assert "\n" not in str(caught.value)
    assert not (slot / "model" / "decoder.onnx.data").exists()
    data[10 * CHUNK_BYTES] ^= 1
    path.write_bytes(data)
    assert client.source("v1").fill(slot, None).kept_bytes >= 10 * CHUNK_BYTES
    assert contents(slot) == bundle(world, "v1")


def test_stick_with_broken_files(world: World, tmp_path: Path) -> None:
    """Short, missing, a folder, a pipe, a link out: each is one line; the next place fills the gap."""
    stick = tmp_path / "stick"
    shutil.copytree(world.published, stick, symlinks=True)
    digest = digest_file(world.folder / "bundles" / "v1" / "model" / "decoder.onnx.data")[0]
    blob = stick / "blobs" / digest[:2] / digest
    whole = blob.read_bytes()

    def restore() -> None:
        if blob.is_dir():
            blob.rmdir()
        else:
            blob.unlink(missing_ok=True)

    secret = tmp_path / "outside"
    secret.write_bytes(whole)
    faults = (
        lambda: blob.write_bytes(whole[:-1]),
        lambda: None,
        blob.mkdir,
        lambda: os.mkfifo(blob),
        lambda: blob.symlink_to(secret),
        lambda: blob.write_bytes(bytes(len(whole))),
    )
    for number, fault in enumerate(faults):
        restore()
        fault()
        alone = world.device("alone", FolderPlace(stick))
        alone.refresh()
        slot = world.slot(f"a{number}")
        with pytest.raises(EdgeError) as caught:
            alone.source("v1").fill(slot, None)
        assert "\n" not in str(caught.value)
        both = world.device("both", FolderPlace(stick), FolderPlace(world.published))
        both.refresh()
        both.source("v1").fill(slot, None)
        assert contents(slot) == bundle(world, "v1")


def test_read_only_stick(world: World, tmp_path: Path) -> None:
    """Nothing is written to a place."""
    stick = tmp_path / "stick"
    shutil.copytree(world.published, stick)
    before = {path: path.stat().st_mtime_ns for path in stick.rglob("*")}
    device = world.device("d", FolderPlace(stick))
    device.refresh()
    device.source("v1").fill(world.slot("a"), None)
    assert {path: path.stat().st_mtime_ns for path in stick.rglob("*")} == before


def test_no_space(world: World) -> None:
    """Said before anything is written, with both numbers."""
    client = world.device("d", options=FetchOptions(free_bytes=lambda _: 10_000))
    client.refresh()
    slot = world.slot("a")
    with pytest.raises(ResourceError, match=r"needs 0\.2 MB, 0\.0 MB are free") as caught:
        client.source("v1").fill(slot, None)
    assert getattr(caught.value, "install_reason", "") == "no_space"
    assert not list(slot.iterdir())


def test_progress_and_bandwidth(world: World) -> None:
    """Progress ends at the whole; a limit is kept on average by waiting."""
    seen: list[Progress] = []
    now, slept = [0.0], [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        slept[0] += seconds

    options = FetchOptions(
        limit_bytes_per_s=50_000, progress=seen.append, sleep=sleep, monotonic=lambda: now[0], retry_s=0
    )
    device = world.device("d", options=options)
    device.refresh()
    source = device.source("v1")
    moved = source.fill(world.slot("a"), None)
    assert slept[0] == pytest.approx(moved.moved_bytes / 50_000, rel=0.05)
    assert seen[-1].kept_bytes + seen[-1].fetched_bytes == seen[-1].total_bytes == source.release.size_bytes
    assert [item.fetched_bytes for item in seen] == sorted(item.fetched_bytes for item in seen)


def test_nowhere_to_fetch_from(world: World, client: UpdateClient) -> None:
    """Without a place one line, and a later call with one goes on."""
    slot = world.slot("a")
    with pytest.raises(OfflineError):
        UpdateClient(client.home, (), world.clock).source("v1")
    source = client.source("v1")
    with pytest.raises(OfflineError):
        ChunkSource(source.chunks, ()).fill(slot, None)
    source.fill(slot, None)
    assert contents(slot) == bundle(world, "v1")


def test_files_of_several_parts(world: World) -> None:
    """A file larger than a blob may be is joined again, resumed in the middle of a part, and shared part by part."""
    for name, base in (("w1", bundle_files(9)), ("w2", bundle_files(9))):
        data = bytearray(base["model/decoder.onnx.data"])
        data[-1] ^= name == "w2"
        files = base | {"model/decoder.onnx.data": bytes(data)}
        part_bytes = 7 * CHUNK_BYTES
        world.repo.add(world.bundle(name, files), name, world.trust, chunk_bytes=CHUNK_BYTES, part_bytes=part_bytes)
    world.sign("targets")
    world.publish()
    client = world.device()
    client.refresh()
    first = filled(world, client, "w1", "a")
    assert contents(first) == bundle(world, "w1")
    path = first / "model" / "decoder.onnx.data"
    path.write_bytes(path.read_bytes()[: 10 * CHUNK_BYTES].ljust(path.stat().st_size, b"x"))
    client.source("w1").fill(first, None)
    assert contents(first) == bundle(world, "w1")
    moved = client.source("w2").fill(world.slot("b"), first).moved_bytes
    assert moved == path.stat().st_size % CHUNK_BYTES
    assert contents(world.slot("b")) == bundle(world, "w2")


# ---- laws ------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 400), chunk=st.integers(30, 500), chunks_a_part=st.integers(1, 5), seed=st.integers(0, 99))
def test_cut_and_join_is_identity(tmp_path: Path, size: int, chunk: int, chunks_a_part: int, seed: int) -> None:
    """Whatever the sizes: the chunks, in order, are the file, and so are the blobs."""
    from tests.fleet.updates.update_world import random_bytes

    path, blobs = tmp_path / "file", tmp_path / "blobs"
    data = random_bytes(size, seed)
    path.write_bytes(data)
    digest, _ = digest_file(path)
    item = cut_file(
        path,
        FileEntry("model/file", digest, size),
        lambda name: blobs / name[:2] / name,
        chunk_bytes=chunk,
        part_bytes=chunk * chunks_a_part,
    )
    joined = b"".join((blobs / part.sha256[:2] / part.sha256).read_bytes() for part in item.parts)
    assert joined == data
    spans = list(_spans(item, chunk))
    assert b"".join(data[span.offset_bytes : span.offset_bytes + span.size_bytes] for span in spans) == data
    assert sum(span.size_bytes for span in spans) == size


def _spans(item: FileChunks, chunk: int) -> list[Span]:
    found, start = [], 0
    for part in item.parts:
        for number, digest in enumerate(part.chunks):
            offset = number * chunk
            size = min(chunk, part.size_bytes - offset)
            found.append(Span(item.entry.path, start + offset, size, digest, part.sha256, offset))
        start += part.size_bytes
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_chunks_there(world: World, data: st.DataObject) -> None:
    """Any subset of chunks on the device, in the slot or the installed one: the file is right and exactly the missing
    chunks are fetched."""
    client = world.device()
    client.refresh()
    source = client.source("v1")
    slot = world.slot(f"s{os.urandom(4).hex()}")
    installed = world.slot(f"i{os.urandom(4).hex()}")
    whole = bundle(world, "v1")
    spans = list(source.chunks.spans())
    flags = data.draw(st.lists(st.sampled_from("-si"), min_size=len(spans), max_size=len(spans)))
    loose = b""
    for span, flag in zip(spans, flags, strict=True):
        piece = whole[span.path][span.offset_bytes : span.offset_bytes + span.size_bytes]
        if flag == "s":
            path = slot / span.path
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            partial.touch()
            with partial.open("r+b") as file:
                file.seek(span.offset_bytes)
                file.write(piece)
        if flag == "i" and len(piece) == CHUNK_BYTES:
            loose += piece
        elif flag == "i":
            (installed / f"{span.sha256}.bin").write_bytes(piece)
    (installed / "loose.bin").write_bytes(loose)
    have = {span.sha256 for span, flag in zip(spans, flags, strict=True) if flag == "i"}
    there = {(span.path, span.offset_bytes) for span, flag in zip(spans, flags, strict=True) if flag == "s"}
    missing = {
        span.sha256: span.size_bytes
        for span in spans
        if span.sha256 not in have and (span.path, span.offset_bytes) not in there
    }
    moved = source.fill(slot, installed)
    assert moved.moved_bytes == sum(missing.values())
    assert contents(slot) == whole
