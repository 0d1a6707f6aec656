"""Servers, right and wrong ones, all real and on the loopback. When these fail, a device hangs on a bad server, takes
what it did not ask for, or gives up where it could go on."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import pytest

from edge.errors import EdgeError, InputError, OfflineError
from edge.fleet.pki.authority import Pki
from edge.fleet.updates.client import UpdateClient
from edge.fleet.updates.errors import ChangedDataError, NotThereError, SlowError, UnreachableError
from edge.fleet.updates.fetching import FetchOptions
from edge.fleet.updates.http_place import HttpPlace
from edge.fleet.updates.places import FolderPlace, open_place
from edge.fleet.wire.connection import Credentials
from tests.fleet.updates import bad_server
from tests.fleet.updates.bad_server import Fault, serving
from tests.fleet.updates.range_server import repository_server
from tests.fleet.updates.update_world import World, bundle_files, contents, expected


def fill_over(world: World, fault: Fault | None, *, then_folder: bool = False) -> tuple[UpdateClient, Path, list[str]]:
    """Fill v1 from a server with a fault; (client, slot, requests). then_folder: a good place stands behind it."""
    slot = world.slot("a")
    with serving(world.published) as server:
        server.fault = fault
        place = HttpPlace(server.url, read_s=2)
        more = (FolderPlace(world.published),) if then_folder else ()
        client = world.device("d", place, *more)
        client.refresh()
        try:
            client.source("v1").fill(slot, None)
        finally:
            place.close()
            requests = [path for path in server.requests if "/blobs/" in path]
    return client, slot, requests


def right(world: World, slot: Path) -> bool:
    """Whether the slot has v1."""
    return contents(slot) == expected(world.folder / "bundles" / "v1")


def test_ranges(world: World) -> None:
    """Each blob is one request, however many chunks it has."""
    _, slot, requests = fill_over(world, None)
    assert right(world, slot)
    assert len(requests) == len(set(requests)) <= 10


def test_server_without_ranges(world: World) -> None:
    """200 instead of 206: the whole file is taken as it comes, once."""
    _, slot, requests = fill_over(world, bad_server.no_ranges)
    assert right(world, slot)
    assert len(requests) == len(set(requests))


def test_server_without_ranges_and_half_a_file(world: World) -> None:
    """200 for a resumed file: what is there is skipped, and not asked for a second time."""
    _, slot, _ = fill_over(world, None)
    path = slot / "model" / "decoder.onnx.data"
    data = bytearray(path.read_bytes())
    for place in (5000, 90000, 130000):
        data[place] ^= 1
    path.write_bytes(data)
    _, slot, requests = fill_over(world, bad_server.no_ranges)
    assert right(world, slot)
    assert len(requests) == 1


@pytest.mark.parametrize("times", [1, 3])
def test_connection_cut_in_the_middle(world: World, times: int) -> None:
    """It goes on from there by itself."""
    _, slot, requests = fill_over(world, bad_server.cut_once(times))
    assert right(world, slot)
    assert len(requests) <= 10 + times


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (bad_server.shifted, UnreachableError),
        (bad_server.not_satisfiable, UnreachableError),
        (bad_server.flipped, ChangedDataError),
        (bad_server.endless, ChangedDataError),
        (bad_server.elsewhere, UnreachableError),
        (bad_server.compressed, UnreachableError),
        (bad_server.broken, UnreachableError),
    ],
)
def test_wrong_answers(world: World, fault: Fault, kind: type[EdgeError]) -> None:
    """One line each, nothing wrong is written, and a second place gives what the first does not."""
    with pytest.raises(kind) as caught:
        fill_over(world, fault)
    assert "\n" not in str(caught.value)
    _, slot, _ = fill_over(world, fault, then_folder=True)
    assert right(world, slot)


def test_always_too_short(world: World) -> None:
    """A server that always breaks off in the middle still moves the fetch on, half of the rest at a time."""
    with pytest.raises(UnreachableError):
        fill_over(world, bad_server.too_short)
    assert list((world.folder / "slots" / "a").rglob(".*.partial"))


def test_trickling_server(world: World) -> None:
    """A server that sends a few bytes a second is given up by its average, though no single wait is long."""
    with serving(world.published) as server:
        server.fault = bad_server.trickling
        place = HttpPlace(server.url, least_bytes_per_s=5000, grace_s=0.2)
        client = world.device("d", place, options=FetchOptions(retry_s=0, tries=1))
        client.refresh()
        source = client.source("v1")
        begun = time.monotonic()
        with pytest.raises(SlowError, match="bytes a second"):
            source.fill(world.slot("a"), None)
        assert time.monotonic() - begun < 10
        place.close()


def test_silent_server(world: World) -> None:
    """No byte within the limit: given up, with the limit in the line."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = HttpPlace(f"http://127.0.0.1:{listener.getsockname()[1]}/repo", read_s=0.2)
        with pytest.raises(SlowError, match="sent nothing"):
            world.device("d", place).refresh()
        place.close()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_head_that_never_ends(world: World, head: bytes) -> None:
    """Byte after byte of a header, or interim replies for ever: given up as a whole, and the next place is asked."""
    import socket
    import threading

    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            while not ended.wait(0.02):
                connection.sendall(head)
                head_of.append(head)

    head_of: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        place = HttpPlace(f"http://127.0.0.1:{listener.getsockname()[1]}/repo", read_s=0.2)
        client = world.device("d", place, FolderPlace(world.published))
        begun = time.monotonic()
        client.refresh()
        assert time.monotonic() - begun < 5 and len(head_of) > 3
        assert isinstance(client.problems[0], SlowError)
        place.close()
        ended.set()
        thread.join()


def test_numbers_that_cannot_be(world: World) -> None:
    """A header that no number holds is that place's fault: an error of Python would end the whole install."""
    _, slot, _ = fill_over(world, bad_server.impossible_date)
    assert right(world, slot)
    shutil.rmtree(slot)
    slot.mkdir()
    _, slot, _ = fill_over(world, bad_server.endless_number, then_folder=True)
    assert right(world, slot)


def test_chunks_of_http(world: World) -> None:
    """Between them a server could send headers for ever, byte by byte, and no average would see it."""
    begun = time.monotonic()
    with pytest.raises(UnreachableError, match="length"):
        fill_over(world, bad_server.endless_trailer)
    assert time.monotonic() - begun < 8


def test_certificates_that_cannot_be_used_hold_no_stick_up(world: World, tmp_path: Path) -> None:
    """A tablet whose certificate is broken can still be updated by hand."""
    credentials = Credentials(tmp_path / "ca.pem", tmp_path / "device.pem", tmp_path / "device.key")
    https = HttpPlace("https://127.0.0.1:1/repo", credentials)
    client = world.device("d", https, FolderPlace(world.published), options=FetchOptions(retry_s=0))
    client.refresh()
    assert "certificates cannot be used" in str(client.problems[0])
    client.source("v1").fill(world.slot("a"), None)
    assert right(world, world.folder / "slots" / "a")


def test_no_server(world: World) -> None:
    """Nobody answers: one line, and what is known stays."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = world.device("d", HttpPlace(f"http://127.0.0.1:{port}/repo"))
    with pytest.raises(OfflineError, match="does not answer"):
        client.refresh()


@pytest.mark.parametrize(
    "address", ["ftp://host/x", "http://clinic.example/repo", "https://", "https://u:p@host/x", "https://host/?a=1"]
)
def test_odd_addresses(address: str) -> None:
    """If not: a slip of the pen sends a device's request in the clear, or somewhere else."""
    with pytest.raises(InputError):
        open_place(address)


def test_open_place(tmp_path: Path) -> None:
    """What has no :// is a folder."""
    assert isinstance(open_place(str(tmp_path)), FolderPlace)
    assert open_place("https://updates.example/repo/").name == "https://updates.example/repo"


def test_missing_file_is_told_apart(world: World) -> None:
    """404 is NotThereError, so that the next place is asked at once."""
    with serving(world.published) as server:
        place = HttpPlace(server.url)
        with pytest.raises(NotThereError):
            list(place.read("metadata/99.root.json"))
        assert place.server_time() is not None
        place.close()


def test_the_pages_server_with_client_certificates(world: World, tmp_path: Path) -> None:
    """The real pair: the collector's page server with mutual TLS of the fleet's PKI, and a device of it. One without a
    certificate, one of another fleet, and a server of another fleet are refused in one line."""
    ours, theirs = Pki.create(tmp_path / "ours"), Pki.create(tmp_path / "theirs")
    device = ours.issue_device("tablet-1")
    with repository_server(world.published, ours.credentials("page")) as url:
        place = HttpPlace(url, device)
        client = world.device("d", place, options=FetchOptions(retry_s=0))
        client.refresh()
        slot = world.slot("a")
        source = client.source("v1")
        source.fill(slot, None)
        assert right(world, slot)
        moved = client.source("v2").fill(world.slot("b"), slot)
        assert moved.moved_bytes == len(bundle_files()["model/adapter.weights"])
        path = slot / "model" / "decoder.onnx.data"
        data = bytearray(path.read_bytes())
        data[70_000] ^= 1
        path.write_bytes(data)
        assert source.fill(slot, None).moved_bytes == 4096  # a range in the middle
        assert right(world, slot)
        place.close()
        for credentials in (theirs.issue_device("tablet-1"), None):
            stranger = HttpPlace(url, credentials, read_s=2)
            with pytest.raises(EdgeError) as caught:
                world.device("e", stranger).refresh()
            assert "\n" not in str(caught.value)
            stranger.close()
    shutil.rmtree(device.certificate.parent, ignore_errors=True)
    gone = HttpPlace(url, device)
    with pytest.raises(EdgeError, match="enrol"):
        world.device("f", gone).refresh()
