"""The counter of wrong PINs on disk. It is written, and synced, before a PIN is looked at.

It carries a code over its content. With a device secret that code cannot be forged without the secret; without one it
only shows accidents and naive edits, since all that a locked vault knows is on the same disk. docs/vault.md says what
follows from that.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path

from edge.app.vault import backoff
from edge.app.vault.backoff import Attempts, Moment
from edge.app.vault.disk import overwrite, write_private
from edge.app.vault.keys import derived
from edge.errors import ResourceError

NAME = "attempts.json"
FILE_BYTES = 512  # always, so that it can be overwritten where it lies


class AttemptCounter:
    """The counter of one vault. now: reads both clocks. vault_id: hex, so that another vault's record is refused."""

    def __init__(self, folder: Path, vault_id: str, device_secret: bytes, now: Callable[[], Moment]) -> None:
        self._path = folder / NAME
        self._now = now
        self._key = bytes(derived(device_secret or b"no device secret", bytes.fromhex(vault_id), "attempts"))

    def reset(self) -> None:
        """The PIN was right."""
        self._write(Attempts(at=self._now()))

    def read(self, wipe_after: int = 0) -> Attempts:
        """The state now; what is missing or not authentic is kept as the longest wait from now on."""
        now = self._now()
        found = self._read()
        if found is None:
            found = backoff.doubted(now, wipe_after)
            self._write(found)
        elif backoff.needs_anchor(found, now):
            found = backoff.anchored(found, now)
            self._write(found)
        return found

    def left_s(self, wipe_after: int = 0) -> int:
        """Seconds until the next try is taken."""
        return backoff.left_s(self.read(wipe_after), self._now())

    def look_s(self) -> int:
        """As `left_s`, without keeping anything."""
        now = self._now()
        return backoff.left_s(self._read() or backoff.doubted(now), now)

    def count(self, wipe_after: int = 0) -> Attempts:
        """Count a try before it is made; durable when it returns."""
        counted = backoff.counted(self.read(wipe_after), self._now())
        self._write(counted)
        return counted

    def _code(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()

    def _write(self, state: Attempts) -> None:
        at = state.at
        value = [state.failures, state.wait_s, at.wall_s, at.boot_s, at.boot, state.doubtful]
        body = json.dumps(value, separators=(",", ":"))
        data = json.dumps({"attempts": body, "code": self._code(body)}).encode().ljust(FILE_BYTES - 1) + b"\n"
        try:
            write_private(self._path, data)
        except ResourceError:
            # On a full disk a clinician must still get in, and a guesser get no free try: written where it lies. Torn,
            # it counts as not authentic.
            if not overwrite(self._path, data):
                raise

    def _read(self) -> Attempts | None:
        try:
            value = json.loads(self._path.read_bytes())
            body, code = value["attempts"], value["code"]
            if not hmac.compare_digest(self._code(body), code):
                return None
            failures, wait_s, wall_s, boot_s, boot, doubtful = json.loads(body)
            return Attempts(int(failures), float(wait_s), Moment(float(wall_s), float(boot_s), str(boot)), doubtful)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
