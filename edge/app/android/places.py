"""Where things lie inside the app's private folder, and the environment that the rest of edge finds them by.

FILES/bundle/        the bundle, unpacked from the app's assets, with the attestations that are made here
FILES/bedside/       patients' data: the vault
FILES/results/       results of benchmarks
FILES/home/          keys (EDGE_HOME)
FILES/engine.sock    the engine's service listens here
CACHE/               prefixes (EDGE_CACHE): of a task's own words, none of a patient
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ResourceError

ENGINE_SERVICE, VERIFY_SERVICE = "Engine", "Verify"
PRIVATE = "ANDROID_PRIVATE"  # set by python-for-android in the app and in its services


@dataclass(frozen=True)
class Places:
    """files: the app's private folder, which Android deletes with the app and nobody else can read."""

    files: Path

    @staticmethod
    def from_environment(environment: MutableMapping[str, str] = os.environ) -> Places:
        """Errors: ResourceError where this is no app of Android."""
        folder = environment.get(PRIVATE)
        if not folder:
            raise ResourceError("the app's folder is not known", where=PRIVATE, mend="start it as an Android app")
        return Places(Path(folder))

    @property
    def bundle(self) -> Path:
        """The unpacked bundle."""
        return self.files / "bundle"

    @property
    def data(self) -> Path:
        """Patients' data."""
        return self.files / "bedside"

    @property
    def results(self) -> Path:
        """Results of benchmarks."""
        return self.files / "results"

    @property
    def home(self) -> Path:
        """Keys."""
        return self.files / "home"

    @property
    def cache(self) -> Path:
        """Prefixes."""
        return self.files.parent / "cache" / "edge"

    @property
    def socket(self) -> Path:
        """Of the engine's service."""
        return self.files / "engine.sock"

    @property
    def verify_lock(self) -> Path:
        """Held by the service that measures."""
        return self.files / "verify.lock"

    def settle(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Make the folders, mode 0700, and say in the environment where keys and cache are. Idempotent."""
        for folder in (self.home, self.data, self.results, self.cache):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        environment["EDGE_HOME"], environment["EDGE_CACHE"] = str(self.home), str(self.cache)
