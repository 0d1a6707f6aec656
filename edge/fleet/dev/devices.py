"""A device of `edge fleet dev`: enrolled by the same steps as one in the field, in a folder instead of on a tablet.

FOLDER/keys, trusted        the device's EDGE_HOME: its Ed25519 key, the builders that it trusts
FOLDER/fleet/               the agent's home: TLS key, certificate, outbox
FOLDER/slots/               installed bundles
FOLDER/agent.yaml           written once, then yours to change
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from edge.bundle.signing import PublicKey
from edge.errors import SpecError
from edge.fleet.agent.enrolled import UPDATES, make_request_file, read_enrolled, take_enrolment
from edge.fleet.dev.enrol import Offer, enrol_device, read_request_file, write_enrolment
from edge.fleet.dev.registry import Placing
from edge.fleet.pki.authority import Pki
from edge.fleet.pki.enrolment import REQUEST_SUFFIX
from edge.fleet.pki.files import make_folder, read_file, write_public
from edge.fleet.store.store import Store
from edge.fleet.updates.client import ROOT_NAME

SETTINGS = "agent.yaml"
OURS = "# Of `edge fleet dev`, which writes it anew; take this line away to keep your changes."


@dataclass(frozen=True)
class TrialDevice:
    """An enrolled device. folder: its EDGE_HOME."""

    name: str
    folder: Path

    @property
    def settings(self) -> Path:
        """Of its agent."""
        return self.folder / SETTINGS

    @property
    def command(self) -> str:
        """What starts its agent."""
        return f"EDGE_HOME={shlex.quote(str(self.folder))} edge agent --config {shlex.quote(str(self.settings))}"


@dataclass(frozen=True)
class TrialPlace:
    """What devices are told. repository: a published update repository in a folder; builders: whom they trust."""

    host: str
    port: int
    profile: str = "trial"
    repository: Path | None = None
    builders: tuple[PublicKey, ...] = ()

    def update_root(self) -> bytes | None:
        """The repository's first root. Errors: SpecError when nothing was published there."""
        if self.repository is None:
            return None
        return read_file(self.repository / "metadata" / "1.root.json", "publish it first, see `edge repo`")


def settings_text(name: str, folder: Path, place: TrialPlace) -> str:
    """agent.yaml. JSON's strings and lists are YAML's too."""
    import json

    profile = place.profile
    updates = "" if place.repository is None else f"updates: {json.dumps([str(place.repository)])}\n"
    return (
        f"{OURS}\nversion: 1\ndevice: {name}\nprofile: {profile}\n"
        f"home: {json.dumps(str(folder / 'fleet'))}\nslots: {json.dumps(str(folder / 'slots'))}\n"
        f"{updates}# bundle: /path/of/a/bundle   # measured until one is installed in the slots\n"
    )


def prepare_device(folder: Path, name: str, pki: Pki, store: Store, place: TrialPlace, ring: str) -> TrialDevice:
    """Enrol it, where it is not yet, or not with this broker and repository.

    Errors: as enrol_device; those of the agent; SpecError for the repository.
    """
    device, home, root = TrialDevice(name, folder), folder / "fleet", place.update_root()
    make_folder(folder, 0o700)
    make_folder(home, 0o700)
    if not device.settings.exists() or device.settings.read_text(encoding="utf-8").startswith(OURS):
        write_public(device.settings, settings_text(name, folder, place).encode())
    if _enrolled(home) == (place.host, place.port) and (root is None or (home / UPDATES / ROOT_NAME).exists()):
        return device
    make_request_file(home, folder, name, folder, lambda _line: None)
    request = read_request_file(folder / f"{name}{REQUEST_SUFFIX}")
    offer = Offer(place.host, place.port, builders=place.builders, tuf_root=root)
    enrolment, _renewal = enrol_device(pki, store, request, offer, Placing(ring=ring, profile=place.profile))
    if root is not None:
        make_folder(home / UPDATES, 0o700)
    take_enrolment(home, folder, name, write_enrolment(pki, enrolment, folder), lambda _line: None)
    return device


def _enrolled(home: Path) -> tuple[str, int] | None:
    try:
        found = read_enrolled(home)
    except SpecError:
        return None
    return found.host, found.port
