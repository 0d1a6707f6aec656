"""An encounter as a FHIR R4 document Bundle. Pure: the same encounter, stamps and time give the same bytes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from edge.clinical.encounter.model import Encounter, EncounterState
from edge.clinical.fhir.composition import composition
from edge.clinical.fhir.entries import NAMESPACE, Entries
from edge.clinical.fhir.observations import eye_exam, found_items, vital_signs
from edge.clinical.fhir.resources import age, allergies, conditions, impression, patient, signer, transcript, visit
from edge.clinical.fhir.stamps import AuditRow, DeviceStamp
from edge.clinical.fhir.text import clean, instant, stamp
from edge.clinical.fhir.trail import audit_events, provenances, software
from edge.clinical.fhir.validate import references
from edge.errors import InputError


def document(
    enc: Encounter,
    *,
    device: DeviceStamp,
    audit: Sequence[AuditRow] = (),
    now: datetime,
    with_transcript: bool = False,
) -> dict[str, Any]:
    """The encounter as a Bundle of type document, its Composition first; labelled preliminary unless it is signed.

    device: the program and its builds. audit: rows of the log; those of other encounters are left out. now: aware.
    with_transcript: the visit's text goes along. Errors: InputError for a time without a zone.
    """
    if now.tzinfo is None:
        raise InputError("the time of an export has no zone", mend="give a time with its zone")
    signature = enc.signature if enc.state is EncounterState.SIGNED else None
    by = clean(signature.by) if signature else ""
    at = (instant(signature.at) if signature and by else "") or stamp(now)
    entries = Entries(encounter=enc, device=device, at=at, signed=by)
    patient(entries)
    visit(entries)
    signer(entries)
    software(entries)
    found = found_items(entries, "findings")
    eye = eye_exam(entries)
    chosen = conditions(entries)
    sections = {
        "HISTORY": [*age(entries), *found_items(entries, "history")],
        "ALLERGIES": allergies(entries),
        "VITALS": vital_signs(entries),
        "EXAM": found,
        "ASSESSMENT": [*impression(entries, [*found, *eye], chosen), *chosen],
    }
    if with_transcript:
        sections["HPI"] = transcript(entries)
    rows = [row for row in audit if row.encounter_id == enc.id]
    head = composition(entries, sections, eye, audit_events(entries, rows))["reference"]
    provenances(entries)
    # R4: a document holds nothing that is not referred to. A signed note without a model's line needs no program.
    used = {one for resource in entries.resources.values() for one in references(resource)}
    program = entries.address("Device", "software")
    order = [head, *(one for one in entries.resources if one != head and (one != program or one in used))]
    version = signature.content_sha256 if signature and by else f"draft {enc.revision}"
    return {
        "resourceType": "Bundle",
        "identifier": {
            "system": "urn:ietf:rfc3986",
            "value": f"urn:uuid:{uuid.uuid5(NAMESPACE, f'{enc.id}/document/{version}/{with_transcript}')}",
        },
        "type": "document",
        "timestamp": stamp(now),
        "entry": [{"fullUrl": address, "resource": entries.resources[address]} for address in order],
    }
