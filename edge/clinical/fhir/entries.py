"""The entries of a document while it is made: addresses that stay the same, references that must resolve, labels."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from edge.clinical.encounter.model import Encounter, Origin, RunStamp
from edge.clinical.fhir.codes import AIAST, BASE
from edge.clinical.fhir.stamps import DeviceStamp
from edge.clinical.fhir.text import instant

Resource = dict[str, Any]
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, BASE)


@dataclass
class Entries:
    """One document in the making.

    signed: by whom, '' when nobody signed. at: the time of the document, FHIR instant. machine: what a model wrote, as
    (address, run or None for speech), in the order of the document.
    """

    encounter: Encounter
    device: DeviceStamp
    at: str
    signed: str = ""
    resources: dict[str, Resource] = field(default_factory=dict)
    machine: list[tuple[str, RunStamp | None]] = field(default_factory=list)

    def address(self, kind: str, key: str = "") -> str:
        """The fullUrl of a resource: the same for the same encounter on every export."""
        return f"urn:uuid:{uuid.uuid5(NAMESPACE, f'{self.encounter.id}/{kind}/{key}')}"

    def add(self, kind: str, key: str, content: Resource) -> dict[str, str]:
        """Put a resource into the document; the reference to it."""
        address = self.address(kind, key)
        self.resources[address] = {"resourceType": kind, "id": address.removeprefix("urn:uuid:"), **content}
        return {"reference": address}

    def add_machine(self, kind: str, key: str, content: Resource, run: RunStamp | None) -> dict[str, str]:
        """The same for what a model wrote: labelled AIAST, with its origin told later. run: None for speech."""
        labelled = content | {"meta": {**content.get("meta", {}), "security": [dict(AIAST)]}}
        reference = self.add(kind, key, labelled)
        self.machine.append((reference["reference"], run))
        return reference

    def add_by(self, origin: Origin, kind: str, key: str, content: Resource) -> dict[str, str]:
        """A value of the examination: labelled where speech recognition made it, though a person confirmed it."""
        if origin in (Origin.SPEECH, Origin.MODEL):
            return self.add_machine(kind, key, content, None)
        return self.add(kind, key, content)

    def reference(self, kind: str, key: str = "") -> dict[str, str]:
        """A reference to a resource that is in the document, now or later."""
        return {"reference": self.address(kind, key)}

    @property
    def patient(self) -> dict[str, str]:
        """Reference to the patient."""
        return self.reference("Patient")

    @property
    def visit(self) -> dict[str, str]:
        """Reference to the encounter."""
        return self.reference("Encounter")

    @property
    def signer(self) -> dict[str, str] | None:
        """Reference to who signed, None before."""
        return self.reference("Practitioner") if self.signed else None

    def when(self, text: str) -> str:
        """A time of the encounter; where it has none, that of the last edit, else that of the document."""
        return instant(text) or instant(self.encounter.updated_at) or self.at
