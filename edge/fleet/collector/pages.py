"""Serves the fleet's page in a thread of the collector."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import uvicorn

from edge.errors import ResourceError, SpecError
from edge.fleet.collector.readers import MEND, Readers, protocol_for
from edge.fleet.page.server import make_app
from edge.fleet.store.store import Store

SHUTDOWN_S = 3


class PageServer:
    """address: where it listens. tls: certificate and key; readers then show a certificate of the fleet's CA, and who
    may read what is said by `readers.py`. crl: the revocation list, needed with `tls`. say: gets lines for the log.

    Errors: ResourceError when the address is taken; SpecError for files that do not fit.
    """

    def __init__(
        self,
        store: Store,
        address: tuple[str, int],
        tls: tuple[Path, Path] | None,
        ca: Path,
        repository: Path | None,
        metrics: Callable[[], bytes],
        *,
        crl: Path | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        readers = None
        if tls is not None:
            if crl is None:
                raise SpecError("the page's readers cannot be checked without a revocation list", mend=MEND)
            readers = Readers(ca, crl, say=say)
        app = make_app(store, repository=repository, clock=store.clock, metrics=metrics)
        config = uvicorn.Config(
            app,
            http="auto" if readers is None else protocol_for(readers),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=SHUTDOWN_S,
            ssl_certfile=None if tls is None else str(tls[0]),
            ssl_keyfile=None if tls is None else str(tls[1]),
            ssl_ca_certs=None if tls is None else str(ca),
            ssl_cert_reqs=ssl.CERT_NONE if tls is None else ssl.CERT_REQUIRED,
        )
        try:
            config.load()
            if readers is not None:
                if config.ssl is None:
                    raise SpecError("the page's certificate and key cannot be used", mend="issue them again")
                readers.guard(config.ssl)
        except (OSError, ssl.SSLError) as error:
            raise SpecError("the page's certificate and key cannot be used", mend="issue them again") from error
        # A reader without a certificate is no event worth a traceback on the log.
        logging.getLogger("asyncio").addHandler(logging.NullHandler())
        logging.getLogger("asyncio").propagate = False
        self._server = uvicorn.Server(config)
        self._socket = _listening(address)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]

    def run(self) -> None:
        """Until `stop`; the thread's body."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Answer what is asked already, then end."""
        self._server.should_exit = True


def _listening(address: tuple[str, int]) -> socket.socket:
    try:
        return socket.create_server(address, family=socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    except OSError as error:
        raise ResourceError(
            f"the page cannot be served there ({error.strerror})", where=f"{address[0]}:{address[1]}",
            mend="choose another address with --page",
        ) from error  # fmt: skip
