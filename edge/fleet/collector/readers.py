"""Who may read the page behind TLS: by the certificate that a reader shows, asked again at every request.

Rules
- TLS lets in certificates of the fleet's CA only, and none that the revocation list names.
- An operator (`operator`, `operator-N`) reads everything.
- A device reads /repo/, the update repository, and nothing else. Nobody else (a collector, say) reads anything.
- The revocation list is looked at again whenever its file changes, without a restart: for new connections, for those
  that are open, and for resumed TLS sessions, of which TLS itself would not check the certificate again.
- A file that is missing by then, broken, of another CA or older than the list in force changes nothing; it is said.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from edge.errors import EdgeError, InputError, SpecError
from edge.fleet.pki.certificates import common_name, kind_of
from edge.fleet.pki.files import read_file

REPOSITORY = "/repo/"
MEND = "copy crl.pem from the PKI, or give its path as page_crl"


class Readers:
    """ca, crl: files of the fleet's PKI. say: gets a line when a new list cannot be used.

    Errors: SpecError when the list is missing or not one of this CA.
    """

    def __init__(self, ca: Path, crl: Path, *, say: Callable[[str], None]) -> None:
        self._crl, self._say = crl, say
        self._context: ssl.SSLContext | None = None
        try:
            self._roots = x509.load_pem_x509_certificates(read_file(ca, "copy it from the PKI"))
        except ValueError as error:
            raise SpecError("is not a CA's certificate", where=str(ca), mend="copy it from the PKI") from error
        self._seen = self._stamp()
        self._list = self._read()

    def guard(self, context: ssl.SSLContext) -> None:
        """Have TLS itself refuse whoever is on the list."""
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        context.load_verify_locations(cafile=self._crl)
        self._context = context

    def refusal(self, certificate: bytes | None, path: str) -> str:
        """Why who shows `certificate` (DER) may not read `path`; "" if it may."""
        self._refresh()
        try:
            shown = x509.load_der_x509_certificate(certificate or b"")
            kind = kind_of(common_name(shown.subject))
        except (ValueError, InputError):
            return "a certificate of an operator is needed"
        if self._list.get_revoked_certificate_by_serial_number(shown.serial_number) is not None:
            return "this certificate is revoked"
        if kind == "operator" or (kind == "device" and path.startswith(REPOSITORY)):
            return ""
        return "this page is for operators"

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self._crl)  # noqa: PTH116  asked at every request
        except OSError:
            return (0, 0, 0)
        return (found.st_ino, found.st_size, found.st_mtime_ns)

    def _read(self) -> x509.CertificateRevocationList:
        data = read_file(self._crl, MEND)
        try:
            found = x509.load_pem_x509_crl(data)
            good = any(found.is_signature_valid(root.public_key()) for root in self._roots)  # type: ignore[arg-type]
        except (ValueError, TypeError):
            good = False
        if not good:
            raise SpecError("is not a revocation list of this fleet's CA", where=str(self._crl), mend=MEND)
        return found

    def _refresh(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            fresh = self._read()
            if fresh.last_update_utc < self._list.last_update_utc:
                raise SpecError("is older than the revocation list in force", where=str(self._crl), mend=MEND)
            if self._context is not None:  # of two lists TLS takes the newer
                self._context.load_verify_locations(cafile=self._crl)
        except (EdgeError, OSError) as error:
            self._say(f"the page goes on with the revocation list that it has: {error}")
        else:
            self._list = fresh


def protocol_for(readers: Readers) -> type[H11Protocol]:
    """uvicorn's HTTP protocol, with `readers` asked before the application: its scope does not know certificates."""

    class Guarded(H11Protocol):
        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop)
            self.app: Any = _nobody  # until it is known who reads

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            tls = transport.get_extra_info("ssl_object")
            shown = None if tls is None else tls.getpeercert(binary_form=True)
            self.app = _asked(self.config.loaded_app, readers, shown)
            super().connection_made(transport)

    return Guarded


def _asked(app: ASGIApp, readers: Readers, certificate: bytes | None) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        said = readers.refusal(certificate, str(scope.get("path", "")))
        await (_refused(said) if said else app)(scope, receive, send)

    return answer


def _refused(said: str) -> ASGIApp:
    return PlainTextResponse(f"{said}\n", 403, {"connection": "close", "cache-control": "no-store"})


_nobody = _refused("a certificate of an operator is needed")
