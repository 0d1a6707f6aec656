"""Where the build of a bundle that was named at the start lies now: an installer may exchange it between two visits.

Rules. (1) `SLOTS/PROFILE/current` means the confirmed slot (edge.bundle.install.in_force). (2) Where the app was told
of slots (`EDGE_SLOTS`, as the kiosk's unit does), a bundle that a package brought means the build of its profile in
them, once one has passed there: that is how an update reaches a panel whose unit names the package's bundle, and a
first one that fails leaves the package's. (3) Only looks: whether the build may be used is the engine's own check.
"""

from __future__ import annotations

import json
from pathlib import Path

from edge.bundle.canonical import SLUG
from edge.bundle.install.disk import CURRENT
from edge.bundle.install.in_force import confirmed, in_force

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 << 20


class BundlePlace:
    """named: a bundle folder, a .tar or SLOTS/PROFILE/current. slots: None where only the name counts."""

    def __init__(self, named: Path, slots: Path | None = None) -> None:
        self.named = named
        self._slots = slots
        self._profile: str | None = None

    @property
    def shown(self) -> str:
        """The name that a screen shows where the model is missing."""
        return self.named.parent.name if self.named.name == CURRENT else self.named.name

    def now(self) -> Path:
        """The folder, or the .tar, that an engine is to open. Costs a few reads of small files."""
        if self._slots is not None and self.named.name != CURRENT:
            profile = self._profile_of()
            updated = confirmed(self._slots / profile / CURRENT) if profile else None
            if updated is not None:
                return updated
        return in_force(self.named)

    def _profile_of(self) -> str:
        """The profile in the named folder's manifest, read once; "" where there is none."""
        if self._profile is None:
            try:
                with (self.named / MANIFEST).open("rb") as file:
                    name = json.loads(file.read(MAX_MANIFEST_BYTES))["profile"]["name"]
                self._profile = name if isinstance(name, str) and SLUG.fullmatch(name) else ""
            except (OSError, ValueError, KeyError, TypeError):
                return ""  # asked again: a package may be just about to bring it
        return self._profile
