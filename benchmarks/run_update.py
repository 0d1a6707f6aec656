"""What an update moves: from bundle A to bundle B, over real HTTP on the loopback.

    python -m benchmarks.run_update BUNDLE_A BUNDLE_B [--limit-mbit 10]

Makes a repository of both in a temporary folder, serves it by the page's server in a process of its own, and fills B
into an empty slot: from nothing; with A installed; and resumed after a kill -9 at half of it with one byte flipped on
disk. Then the size of a chunk: what moves from A to B, and how large the list of chunks is. On the loopback the time is
hashing, reading and writing; --limit-mbit shows it behind a slower line (edge's own limit, the average is kept).
"""

from __future__ import annotations

import edge.privacy  # isort: skip  # noqa: F401  telemetry off before anything else is imported

import argparse
import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edge.bundle.keys import KeyStore
from edge.bundle.manifest import Manifest
from edge.bundle.tree import digest_file
from edge.errors import EdgeError
from edge.fleet.updates.client import UpdateClient, ship_root
from edge.fleet.updates.fetching import FetchOptions, Progress
from edge.fleet.updates.http_place import HttpPlace
from edge.fleet.updates.places import FolderPlace
from edge.fleet.updates.publishing import publish
from edge.fleet.updates.repository import create

CHUNK_SIZES = (64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20)


def serve(folder: Path) -> None:
    """Serve a repository until killed; prints the port."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from edge.fleet.page.repository import repository_file

    async def answer(request: Request) -> Response:
        return await repository_file(folder, request)

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    app = Starlette(routes=[Route("/repo/{path:path}", answer)])
    uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", access_log=False)).run([listener])


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.run_update", "--serve", str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}/repo"
    finally:
        child.kill()
        child.wait()


def identical(slot: Path, bundle: Path) -> bool:
    """Whether every file of the bundle's manifest is in the slot, by digest."""
    manifest = Manifest.from_bytes((bundle / "manifest.json").read_bytes())
    return all(digest_file(slot / entry.path) == (entry.sha256, entry.size_bytes) for entry in manifest.files)


def fill(home: Path, url: str, release: str, slot: Path, installed: Path | None, options: FetchOptions) -> str:
    """Fill a slot and say what it took."""
    place = HttpPlace(url)
    client = UpdateClient(home, [place], options=options)
    begun = time.perf_counter()
    client.refresh()
    metadata_s = time.perf_counter() - begun
    source = client.source(release)
    slot.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    moved = source.fill(slot, installed)
    took = time.perf_counter() - begun
    place.close()
    return (
        f"| {moved.moved_bytes / 1e6:9.3f} | {moved.kept_bytes / 1e6:9.3f} | {source.last_fetch.requests:4} | "
        f"{took:6.2f} | {metadata_s:.2f} |"
    )


def fill_until_killed(home: Path, url: str, release: str, slot: Path, options: FetchOptions) -> int:
    """Fill in a child that kills itself at half; then flip a byte. Returns the bytes that were there before that."""
    child = os.fork()
    if child == 0:

        def die_at_half(progress: Progress) -> None:
            if progress.fetched_bytes * 2 >= progress.total_bytes:
                os.kill(os.getpid(), signal.SIGKILL)

        slot.mkdir(parents=True)
        mine = FetchOptions(limit_bytes_per_s=options.limit_bytes_per_s, progress=die_at_half)
        UpdateClient(home, [HttpPlace(url)], options=mine).source(release).fill(slot, None)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child was not killed"
    partial = max(slot.rglob(".*.partial"), key=lambda path: path.stat().st_blocks)
    with partial.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    return partial.stat().st_blocks * 512


def chunk_digests(bundle: Path, chunk_bytes: int) -> dict[str, int]:
    """Digest to size of every chunk of a bundle's files."""
    found = {}
    for entry in Manifest.from_bytes((bundle / "manifest.json").read_bytes()).files:
        with (bundle / entry.path).open("rb") as file:
            while data := file.read(chunk_bytes):
                found[hashlib.sha256(data).hexdigest()] = len(data)
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE")
    parser.add_argument("--limit-mbit", type=float, default=0.0, help="bandwidth limit of the fills")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    if len(arguments.bundles) != 2:
        parser.error("give two bundles")
    options = FetchOptions(limit_bytes_per_s=int(arguments.limit_mbit * 1e6 / 8))
    with tempfile.TemporaryDirectory(prefix="edge-update-") as folder:
        try:
            measure(Path(folder), arguments.bundles[0], arguments.bundles[1], options)
        except EdgeError as error:
            print(error, file=sys.stderr)
            sys.exit(error.status)


def measure(folder: Path, old: Path, new: Path, options: FetchOptions) -> None:
    """Make the repository, fill three times, print."""
    repository = create(folder / "repo", folder / "keys")
    begun = time.perf_counter()
    for name, bundle in (("a", old), ("b", new)):
        repository.add(bundle, name, KeyStore().trust_store())
    added_s = time.perf_counter() - begun
    repository.sign("targets", [folder / "keys"], lambda _: b"")
    begun = time.perf_counter()
    publish(repository, [folder / "keys"], lambda _: b"")
    print(f"add both {added_s:.1f} s, publish {time.perf_counter() - begun:.2f} s\n")
    published = folder / "repo" / "published"
    home = folder / "device"
    ship_root(home, (published / "metadata" / "1.root.json").read_bytes())
    installed = folder / "installed"
    installed.mkdir()
    client = UpdateClient(home, [FolderPlace(published)])
    client.refresh()
    client.source("a").fill(installed, None)
    with served(published) as url:
        print("| fill B | moved MB | kept MB | requests | s | metadata s |\n|---|---|---|---|---|---|")
        print("| from nothing", fill(home, url, "b", folder / "s1", None, options))
        print("| with A installed", fill(home, url, "b", folder / "s2", installed, options))
        there = fill_until_killed(home, url, "b", folder / "s3", options)
        print("| resumed after kill -9", fill(home, url, "b", folder / "s3", None, options))
    same = all(identical(folder / name, new) for name in ("s1", "s2", "s3"))
    print(f"\nkilled with {there / 1e6:.1f} MB on disk, one byte flipped; all three identical to B: {same}\n")
    print("| chunk KiB | chunks of B | moved MB from A to B | digests kB |\n|---|---|---|---|")
    for size in CHUNK_SIZES:
        had, has = chunk_digests(old, size), chunk_digests(new, size)
        moved = sum(length for digest, length in has.items() if digest not in had)
        print(f"| {size >> 10} | {len(has)} | {moved / 1e6:.3f} | {len(has) * 67 / 1e3:.1f} |")


if __name__ == "__main__":
    main()
