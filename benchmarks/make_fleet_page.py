"""The picture of the fleet's page: python -m benchmarks.make_fleet_page [docs/fleet-page.png]

A made-up fleet (benchmarks/synthetic_fleet.py) is put into a new database, the page is served from it on a free port of
the loopback, and a headless Chromium draws it. With `--serve` it stays there to be looked at; `--database URL` fills a
database of your own, which must be empty. Needs playwright (python) and Chromium (apt).
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.synthetic_fleet import NOW, fill
from edge.fleet.page.server import make_app
from edge.fleet.store.store import Store, open_store

SIZE = (1280, 1440)
MOST_BYTES = 400_000


@contextlib.contextmanager
def served(store: Store) -> Iterator[str]:
    """The page on a free port of the loopback; gives its address."""
    import uvicorn

    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    app = make_app(store, clock=lambda: NOW)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def draw(address: str, picture: Path) -> None:
    """Write the overview as PNG, in few enough bytes for a repository."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="light")
        page.goto(address)
        page.wait_for_selector("#main[data-shown] .charts", timeout=20_000)
        page.screenshot(path=str(picture))
        browser.close()
    if picture.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{picture}: {picture.stat().st_size} bytes, more than {MOST_BYTES}")


def main() -> None:
    """Fill, serve, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?", type=Path, default=Path("docs/fleet-page.png"))
    parser.add_argument("--database", help="an empty database to fill, instead of one that is thrown away")
    parser.add_argument("--serve", action="store_true", help="stay there until Ctrl-C, without a picture")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(given.database or f"{folder}/fleet.db", clock=lambda: NOW)
        fill(store)
        with served(store) as address:
            if given.serve:
                print(f"{address} (Ctrl-C ends it)")
                with contextlib.suppress(KeyboardInterrupt):
                    while True:
                        time.sleep(3600)
            else:
                draw(address, given.picture)
                print(f"{given.picture}: {given.picture.stat().st_size:,} bytes", file=sys.stderr)
        store.close()


if __name__ == "__main__":
    main()
