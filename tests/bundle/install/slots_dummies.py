"""A device with slots for the tests: small bundles, real keys, a self-test that a test decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bundle_dummies

from edge.bundle.attestation import Check, new_attestation, write_attestation
from edge.bundle.install.installer import Installer, InstallOutcome, SelfTestOutcome
from edge.bundle.install.source import FolderSource
from edge.bundle.open import OpenBundle, open_bundle
from edge.bundle.signing import SigningKey, Trust
from edge.errors import EdgeError

BIG = bytes(range(256)) * 40


@dataclass
class Device:
    """verdict: what the next self-test says, or an error that it raises. tested: the slots that were tested."""

    folder: Path
    key: SigningKey
    device_key: SigningKey
    trust: Trust
    verdict: bool | EdgeError = True
    tested: list[str] = field(default_factory=list)
    during: Callable[[], None] = lambda: None
    files: Mapping[str, bytes] = field(default_factory=lambda: bundle_dummies.FILES)

    @property
    def slots(self) -> Path:
        return self.folder / "slots"

    @property
    def base(self) -> Path:
        return self.slots / "notes"

    def build(self, text: str, **changes: Any) -> Path:
        """A bundle whose model is a text; most of its files are those of every other one."""
        place = self.folder / "built" / text
        files = dict(self.files) | {"model/decoder.onnx": text.encode(), "model/decoder.onnx.data": BIG}
        bundle_dummies.build(place, self.key, files, **changes)
        return place

    def self_test(self, path: Path) -> SelfTestOutcome:
        """Signs what it says, as the real one does."""
        self.tested.append(path.name)
        self.during()
        if isinstance(self.verdict, EdgeError):
            raise self.verdict
        opened = open_bundle(path, self.trust)
        checks = [Check("golden", self.verdict)]
        item = new_attestation(opened, device_class="dummy", device={}, checks=checks, result=b"")
        write_attestation(opened.path, item, self.device_key)
        return SelfTestOutcome(self.verdict, "" if self.verdict else "golden case 1 differs")

    def installer(self, **changes: Any) -> Installer:
        """A new installer, as after a start."""
        options: dict[str, Any] = {
            "trust": self.trust,
            "lock_folder": self.folder / "home",
            "self_test": self.self_test,
            "margin_bytes": 0,
        }
        return Installer(self.slots, "notes", **(options | changes))

    def install(self, text: str, **changes: Any) -> InstallOutcome:
        """Build and install."""
        place = self.folder / "built" / text
        return self.installer(**changes).install(FolderSource(place if place.exists() else self.build(text)))

    def running(self) -> OpenBundle:
        """What `current` opens as, everything checked."""
        return open_bundle(self.base / "current", self.trust)

    def text(self) -> str:
        """The model in force."""
        return (self.running().path / "model/decoder.onnx").read_text()
