"""The page's own way of serving a repository, by uvicorn on a free port of the loopback, with TLS where asked for."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.fleet.page.repository import repository_file
from edge.fleet.updates.http_place import TlsFiles


@contextlib.contextmanager
def repository_server(folder: Path, tls: TlsFiles | None = None, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve `folder` below /repo/; gives the address. tls: mutual, only clients of that CA get in."""

    async def answer(request: Request) -> Response:
        return await repository_file(folder, request)

    app = Starlette(routes=[Route("/repo/{path:path}", answer)])
    config = uvicorn.Config(app, log_level="error", lifespan="off", access_log=False)
    if tls is not None:
        config.ssl_ca_certs, config.ssl_certfile, config.ssl_keyfile = str(tls.ca), str(tls.certificate), str(tls.key)
        config.ssl_cert_reqs = ssl.CERT_REQUIRED
    listener = socket.create_server((host, 0))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://{host}:{listener.getsockname()[1]}/repo"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
