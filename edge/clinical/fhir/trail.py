"""Where it comes from: the program and the builds as Devices, a Provenance for all that a model wrote, the audit."""

from __future__ import annotations

from edge.clinical.encounter.model import NoteLine, Origin, RunStamp
from edge.clinical.fhir.codes import (
    AUDIT_DIGEST,
    BEHAVIOUR_DIGEST,
    BUNDLE_DIGEST,
    CONTENT_SHA256,
    DICOM,
    SOFTWARE,
    TERMINOLOGY,
    coding,
    term,
)
from edge.clinical.fhir.entries import Entries, Resource
from edge.clinical.fhir.stamps import AuditRow, BundleStamp
from edge.clinical.fhir.text import clean, instant

_RECORD, _LOGIN = ("110110", "Patient Record"), ("110114", "User Authentication")
# action of the audit log -> (DICOM audit event, FHIR action: create, read, update, delete, execute)
_EVENTS = {
    "export-fhir": (("110106", "Export"), "R"),
    "export-pdf": (("110106", "Export"), "R"),
    "encounter-new": (_RECORD, "C"),
    "encounter-open": (_RECORD, "R"),
    "encounter-close": (_RECORD, "R"),
    "encounter-delete": (_RECORD, "D"),
    "unlock": (_LOGIN, "E"),
    "lock": (_LOGIN, "E"),
    "sign": (_RECORD, "E"),
    "run-start": (("110100", "Application Activity"), "E"),
    "run-done": (("110100", "Application Activity"), "E"),
    "run-stop": (("110100", "Application Activity"), "E"),
}
_OTHER = (_RECORD, "U")
VERIFICATION = coding("urn:iso-astm:E1762-95:2013", "1.2.840.10065.1.12.1.5", "Verification Signature")


def machine_line(line: NoteLine) -> bool:
    """A line of the note that a person did not write: the model's own, or chosen by it from the visit."""
    return line.origin is not Origin.CLINICIAN


def software(entries: Entries) -> dict[str, str]:
    """The program itself."""
    content: Resource = {
        "identifier": [{"system": SOFTWARE, "value": "edge"}],
        "status": "active",
        "deviceName": [{"name": "edge bedside app", "type": "user-friendly-name"}],
        "type": {"text": "Clinical decision support software"},
    }
    if version := clean(entries.device.version):
        content["version"] = [{"value": version}]
    return entries.add("Device", "software", content)


def _device(entries: Entries, run: RunStamp | None) -> dict[str, str]:
    """The build that wrote, or the speech recognition (run: None); put into the document at its first use."""
    if run is None:
        name = clean(entries.device.speech) or "speech recognition"
        return entries.add(
            "Device",
            "speech",
            {
                "deviceName": [{"name": name, "type": "model-name"}],
                "status": "active",
                "type": {"text": "Speech recognition model"},
            },
        )
    behaviour = clean(run.behaviour_digest)
    known = entries.device.bundle_of(run.behaviour_digest) or BundleStamp(run.bundle, run.behaviour_digest)
    digests = [
        (system, words, value)
        for system, words, value in (
            (BEHAVIOUR_DIGEST, "behaviour digest", behaviour),
            (BUNDLE_DIGEST, "bundle digest", clean(known.bundle_digest)),
        )
        if value
    ]
    content: Resource = {
        "status": "active",
        "deviceName": [{"name": clean(known.model or known.name or run.bundle) or "model", "type": "model-name"}],
        "type": {"text": "Clinical language model"},
        "note": [{"text": f"Bundle {clean(run.bundle)}; {_tested(run, known)}"}],
        "parent": entries.reference("Device", "software"),
    }
    if digests:
        content["identifier"] = [{"system": system, "value": value} for system, _, value in digests]
        content["version"] = [{"type": {"text": words}, "value": value} for _, words, value in digests]
    return entries.add("Device", f"run.{run.behaviour_digest}.{run.bundle}", content)


def _tested(run: RunStamp, known: BundleStamp) -> str:
    """Whether the build had passed its test on this device class when it wrote; what is known of it now comes after."""
    then = "device test passed" if run.verified else "written without a passed device test"
    return f"{then}; at the export: {known.verified}" if clean(known.verified) else then


def provenances(entries: Entries) -> None:
    """One Provenance for each resource that a model wrote: which build, who checked it, what was signed."""
    signature = entries.encounter.signature
    for target, run in tuple(entries.machine):
        agents = [{"type": _taker("author", "Author"), "who": _device(entries, run)}]
        content: Resource = {
            "target": [{"reference": target}],
            "recorded": entries.at,
            "activity": {"coding": [coding(f"{TERMINOLOGY}/v3-DataOperation", "CREATE", "create")]},
            "agent": agents,
        }
        if written := instant(run.finished_at or run.started_at) if run else "":
            content["occurredDateTime"] = written
        if entries.signer and signature:
            agents.append({"type": _taker("verifier", "Verifier"), "who": entries.signer})
            # No `data`: the app closes a note with a PIN and a digest, it makes no cryptographic signature.
            content["signature"] = [{"type": [VERIFICATION], "when": entries.at, "who": entries.signer}]
            if digest := clean(signature.content_sha256):
                content["signature"][0]["extension"] = [{"url": CONTENT_SHA256, "valueString": digest}]
        entries.add("Provenance", target, content)


def _taker(code: str, display: str) -> Resource:
    return term("provenance-participant-type", code, display)


def audit_events(entries: Entries, rows: list[AuditRow]) -> list[dict[str, str]]:
    """The rows of this encounter as AuditEvents; rows without a time are left to the device's own log."""
    found = []
    for index, row in enumerate(rows):
        recorded = instant(row.at)
        if not recorded:
            continue
        action = clean(row.action) or "change"
        event, kind = _EVENTS.get(action, _OTHER)
        told = [(name, value) for name, text in row.detail.items() if (value := clean(text)) and clean(name)]
        if digest := clean(row.digest):
            told.append((AUDIT_DIGEST, digest))
        entity: Resource = {"what": entries.visit}
        if told:
            entity["detail"] = [{"type": clean(name), "valueString": value} for name, value in told]
        who: Resource = {"who": entries.signer} if entries.signer else {"name": "Person at the device"}
        content: Resource = {
            "type": coding(DICOM, *event),
            "subtype": [{"display": action}],
            "action": kind,
            "recorded": recorded,
            "outcome": "0",
            "agent": [who | {"requestor": True}],
            "source": {"observer": entries.reference("Device", "software")},
            "entity": [entity],
        }
        found.append(entries.add("AuditEvent", f"{index}.{row.digest}", content))
    return found
