"""The Composition: SOAP sections with the words of the note and what they rest on.

A line leaves the device only when somebody decided on it: open and removed lines are not sent, not even in a
preliminary document, whose reader might be a machine. How many are still open is said.
"""

from __future__ import annotations

from edge.clinical.encounter.model import LineStatus, NoteLine, Origin
from edge.clinical.fhir.codes import (
    EYE_SECTION,
    LOINC,
    PROGRESS_NOTE,
    SECTION_CODES,
    SOAP,
    SUMMARY_NOTE,
    SectionCode,
    coding,
    concept,
)
from edge.clinical.fhir.entries import Entries, Resource
from edge.clinical.fhir.observations import Told
from edge.clinical.fhir.text import clean, escaped, items, narrative, paragraph
from edge.clinical.fhir.trail import machine_line

DECIDED = (LineStatus.KEPT, LineStatus.EDITED)


def decided(entries: Entries) -> list[NoteLine]:
    """The lines that are part of the document."""
    note = entries.encounter.note
    return [line for line in note.lines if line.status in DECIDED and clean(line.text)] if note else []


def composition(
    entries: Entries, sections: dict[str, list[Told]], eye: list[Told], audit: list[dict[str, str]]
) -> dict[str, str]:
    """Put the Composition into the document. sections: what stands in which section of the note."""
    lines = decided(entries)
    machine = any(machine_line(line) for line in lines)
    title = "Visit note" if entries.encounter.note else "Visit summary"
    content: Resource = {
        "identifier": {"system": "urn:ietf:rfc3986", "value": entries.address("Composition")},
        "language": "en",
        "status": "final" if entries.signed else "preliminary",
        "type": concept("", coding(LOINC, *(PROGRESS_NOTE if entries.encounter.note else SUMMARY_NOTE))),
        "subject": entries.patient,
        "encounter": entries.visit,
        "date": entries.at,
        "author": [entries.signer or entries.reference("Device", "software")],
        "title": title if entries.signed else f"{title} (preliminary, not signed)",
        "section": _soap(entries, lines, sections, eye),
    }
    if entries.signer:
        content["attester"] = [{"mode": "legal", "time": entries.at, "party": entries.signer}]
    if audit:
        words = paragraph(f"{len(audit)} entries of the device's audit log for this visit.")
        content["section"].append({"title": "Audit log", "text": narrative(words), "entry": audit})
    content["text"] = narrative(*_preface(entries, machine))
    if not content["section"]:
        del content["section"]
    if not machine:
        return entries.add("Composition", "", content)
    note = entries.encounter.note
    return entries.add_machine("Composition", "", content, note.run if note else None)


def _preface(entries: Entries, machine: bool) -> list[str]:
    """What a reader must know first, as XHTML paragraphs."""
    words = []
    if entries.signed:
        words.append(f"Signed by {entries.signed}.")
    else:
        words.append("PRELIMINARY: not signed. Not for use as a record.")
    if machine:
        words.append("Lines marked [drafted by a model] were written by a language model and checked by a person.")
    note = entries.encounter.note
    left = sum(line.status is LineStatus.OPEN for line in note.lines) if note else 0
    if left and not entries.signed:
        words.append(f"{left} drafted lines are not checked yet and are not in this document.")
    return [paragraph(text) for text in words]


def _soap(entries: Entries, lines: list[NoteLine], sections: dict[str, list[Told]], eye: list[Told]) -> list[Resource]:
    known = {key for _, keys in SOAP for key in keys}
    found = []
    for heading, keys in SOAP:
        inner = [
            _section(SECTION_CODES[key], [line for line in lines if line.section == key], sections.get(key, []))
            for key in keys
        ]
        if heading.title == "Objective":
            inner.append(_section(EYE_SECTION, [], eye))
        inner = [one for one in inner if one]
        if inner and keys == (heading.title.upper(),):
            found += inner  # Assessment and Plan are their own heading
        elif inner:
            found.append(_head(heading) | {"section": inner})
    if others := [line for line in lines if line.section not in known]:
        found.append(_section(SectionCode("Other", "", ""), others, []))
    return found


def _head(code: SectionCode) -> Resource:
    head: Resource = {"title": code.title}
    if code.code:
        head["code"] = concept("", coding(LOINC, code.code, code.display))
    return head


def _section(code: SectionCode, lines: list[NoteLine], told: list[Told]) -> Resource:
    """A section with its lines and entries; {} when it has neither."""
    if not lines and not told:
        return {}
    parts = [items(_line(line) for line in lines), items(escaped(words) for _, words in told)]
    section = _head(code) | {"text": narrative(*parts, status="additional" if lines else "generated")}
    if entry := [reference for reference, _ in told]:
        section["entry"] = entry
    return section


def _line(line: NoteLine) -> str:
    """One line as XHTML, with who wrote it."""
    mark = ""
    if line.origin is Origin.QUOTE:
        mark = " <i>[the visit's words, chosen by a model]</i>"
    elif line.origin is Origin.SPEECH:
        mark = " <i>[from speech recognition]</i>"
    elif line.origin is Origin.MODEL:
        edited = ", edited by the clinician" if line.status is LineStatus.EDITED else ""
        mark = f" <i>[drafted by a model{edited}]</i>"
    return escaped(line.text) + mark
