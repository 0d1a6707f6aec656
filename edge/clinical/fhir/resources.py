"""The resources that stand once in a document: the patient, the visit, who signed, the assessment, the transcript."""

from __future__ import annotations

import base64
import hashlib
import re

from edge.clinical.encounter.model import DifferentialRow
from edge.clinical.fhir.codes import (
    ENCOUNTER_ID,
    EYE_SITES,
    ICD10CM,
    LOINC,
    MODEL_SCORE,
    NO_KNOWN_ALLERGY,
    SNOMED,
    TERMINOLOGY,
    TRANSCRIPT_TEXT,
    UCUM,
    coding,
    concept,
    term,
)
from edge.clinical.fhir.entries import Entries, Resource
from edge.clinical.fhir.observations import Told, site
from edge.clinical.fhir.text import birth_date, clean, instant, number

NOT_PROBABILITY = "Model score: a share among the options, not a probability"
_ICD10 = re.compile(r"[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?")
GENDERS = ("female", "male", "other")


def patient(entries: Entries) -> dict[str, str]:
    """The patient as the device knows them: a name in one piece, since a device does not know which part is which."""
    known = entries.encounter.patient
    content: Resource = {}
    if mrn := clean(known.mrn):
        content["identifier"] = [{"type": term("v2-0203", "MR", "Medical record number"), "value": mrn}]
    if name := clean(known.name):
        content["name"] = [{"text": name}]
    if known.sex in GENDERS:
        content["gender"] = known.sex
    if born := birth_date(known.birth_date):
        content["birthDate"] = born
    return entries.add("Patient", "", content)


def age(entries: Entries) -> list[Told]:
    """The age as an Observation, where only that is known: FHIR's Patient has a date of birth and no age."""
    known = entries.encounter.patient
    if known.age_years is None or birth_date(known.birth_date):
        return []
    content: Resource = {
        "status": "final" if entries.signed else "preliminary",
        "category": [term("observation-category", "survey")],
        "code": concept("Age", coding(LOINC, "30525-0", "Age")),
        "subject": entries.patient,
        "encounter": entries.visit,
        "effectiveDateTime": entries.when(entries.encounter.created_at),
        "valueQuantity": {"value": known.age_years, "unit": "years", "system": UCUM, "code": "a"},
    }
    return [(entries.add("Observation", "age", content), f"Age: {known.age_years} years")]


def visit(entries: Entries) -> dict[str, str]:
    """The FHIR Encounter."""
    source = entries.encounter
    content: Resource = {
        "identifier": [{"system": ENCOUNTER_ID, "value": clean(source.id) or "unknown"}],
        "status": "finished" if entries.signed else "in-progress",
        "class": coding(f"{TERMINOLOGY}/v3-ActCode", "AMB", "ambulatory"),
        "subject": entries.patient,
    }
    if started := instant(source.created_at):
        content["period"] = {"start": started}
        ended = instant(source.signature.at) if source.signature and entries.signed else ""
        if ended >= started:
            content["period"]["end"] = ended
    if bed := clean(source.patient.bed):
        content["location"] = [{"location": {"display": bed}}]
    if entries.signer:
        content["participant"] = [{"individual": entries.signer}]
    return entries.add("Encounter", "", content)


def signer(entries: Entries) -> None:
    """Who signed, by name."""
    if entries.signed:
        entries.add("Practitioner", "", {"name": [{"text": entries.signed}]})


def allergies(entries: Entries) -> list[Told]:
    """Each allergy; "no known allergy" only where somebody asked; nothing where nobody did."""
    known = entries.encounter.patient
    named = [(f"{index}", concept(name)) for index, one in enumerate(known.allergies) if (name := clean(one))]
    if not named and known.allergies_asked and not known.allergies:
        code, display = NO_KNOWN_ALLERGY
        named = [("none", concept("No known allergies", coding(SNOMED, code, display)))]
    told = []
    for key, code_of in named:
        content: Resource = {
            "clinicalStatus": term("allergyintolerance-clinical", "active"),
            "code": code_of,
            "patient": entries.patient,
            "encounter": entries.visit,
        }
        told.append((entries.add("AllergyIntolerance", key, content), str(code_of["text"])))
    return told


def rows(entries: Entries) -> tuple[DifferentialRow, ...]:
    """The options that leave the device: those that were pinned; of a draft, those that were not dismissed."""
    ranked = entries.encounter.differential
    # What was signed is what the review showed: the options that the clinician pinned, not all that were ranked.
    signed = entries.encounter.signature is not None
    found = ranked.rows if ranked else ()
    return tuple(row for row in found if not row.dismissed and clean(row.name) and (row.pinned or not signed))


def _diagnosis(row: DifferentialRow) -> Resource:
    codings = [coding(ICD10CM, row.icd10)] if _ICD10.fullmatch(row.icd10) else []
    eye = f" ({EYE_SITES[row.eye][2].lower()})" if row.eye else ""
    return concept(clean(row.name) + eye, *codings)


def _score(row: DifferentialRow) -> list[Resource]:
    value = number(row.score)
    return [] if value is None else [{"url": MODEL_SCORE, "valueDecimal": value}]


def conditions(entries: Entries) -> list[Told]:
    """The options that the clinician pinned, as provisional diagnoses. Nothing else of the ranking is a Condition."""
    ranked = entries.encounter.differential
    told = []
    for row in rows(entries):
        if not row.pinned or ranked is None:
            continue
        content: Resource = {
            "clinicalStatus": term("condition-clinical", "active"),
            "verificationStatus": term("condition-ver-status", "provisional"),
            "category": [term("condition-category", "encounter-diagnosis")],
            "code": _diagnosis(row),
            "subject": entries.patient,
            "encounter": entries.visit,
            "recordedDate": entries.at,
            "note": [{"text": f"Chosen by the clinician from a ranked list. {NOT_PROBABILITY}."}],
        }
        if extension := _score(row):
            content["extension"] = extension
        if row.eye:
            content["bodySite"] = [site(row.eye)]
        if entries.signer:
            content["recorder"] = entries.signer
        reference = entries.add_machine("Condition", f"{row.name}.{row.eye or ''}", content, ranked.run)
        told.append((reference, f"{content['code']['text']}: provisional"))
    return told


def impression(entries: Entries, found: list[Told], chosen: list[Told]) -> list[Told]:
    """Findings and the ranked options in one ClinicalImpression; none without either."""
    options = rows(entries)
    if not found and not options:
        return []
    lines = [words for _, words in found]
    summary = [f"Findings: {'; '.join(lines)}."] if lines else []
    if options:
        summary.append(f"Options to consider: {'; '.join(_words(row) for row in options)}. {NOT_PROBABILITY}.")
    content: Resource = {
        "status": "completed" if entries.signed else "in-progress",
        "subject": entries.patient,
        "encounter": entries.visit,
        "date": entries.at,
        "summary": " ".join(summary),
        "finding": [{"itemReference": reference} for reference, _ in found],
    }
    for row in options:
        finding: Resource = {"itemCodeableConcept": _diagnosis(row), "basis": _basis(row)}
        if extension := _score(row):
            finding["extension"] = extension
        content["finding"].append(finding)
    if chosen:
        content["problem"] = [reference for reference, _ in chosen]
    if entries.signer:
        content["assessor"] = entries.signer
    ranked = entries.encounter.differential
    if ranked and options:
        reference = entries.add_machine("ClinicalImpression", "", content, ranked.run)
    else:
        reference = entries.add("ClinicalImpression", "", content)
    return [(reference, content["summary"])]


def _words(row: DifferentialRow) -> str:
    return f"{_diagnosis(row)['text']}" + (", chosen by the clinician" if row.pinned else "")


def _basis(row: DifferentialRow) -> str:
    """What stands for and against a row, and what is missing, in words."""
    parts = [f"{NOT_PROBABILITY}."]
    for title, told in (("Supports", row.supports), ("Against", row.against)):
        if words := [text for one in told if (text := clean(one.text))]:
            parts.append(f"{title}: {'; '.join(words)}.")
    if missing := [text for one in row.missing if (text := clean(one))]:
        parts.append(f"Not known: {'; '.join(missing)}.")
    parts.append("Basis: the table of conditions." if row.basis == "table" else "Basis: the model.")
    return " ".join(parts)


def transcript(entries: Entries) -> list[Told]:
    """The visit's text as a DocumentReference, labelled where speech recognition wrote it."""
    source = entries.encounter.visit
    if not clean(source.text):
        return []
    data = source.text.encode("utf-8", errors="replace")
    content: Resource = {
        "status": "current",
        "docStatus": "final" if entries.signed else "preliminary",
        "type": concept(TRANSCRIPT_TEXT),
        "subject": entries.patient,
        "date": entries.when(""),
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain; charset=utf-8",
                    "data": base64.b64encode(data).decode("ascii"),
                    "size": len(data),
                    "hash": base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii"),
                    "title": TRANSCRIPT_TEXT,
                }
            }
        ],
        "context": {"encounter": [entries.visit]},
    }
    return [(entries.add_by(source.origin, "DocumentReference", "", content), TRANSCRIPT_TEXT)]
