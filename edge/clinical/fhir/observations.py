"""Vital signs, findings, history and the eye examination as Observations.

Only what somebody found or confirmed: a value that nobody confirmed and a presence that is unknown are not sent.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge.clinical.encounter.model import EyeSide, FoundItem, Origin, Presence, Vital
from edge.clinical.fhir.codes import (
    ABSENT,
    BLOOD_PRESSURE,
    DIASTOLIC,
    EYE_SITES,
    IOP_CODES,
    IOP_METHODS,
    IOP_SNOMED,
    LOINC,
    PRESENT,
    PUPIL_SIZE,
    SNOMED,
    SYSTOLIC,
    UCUM,
    VA_CODES,
    VA_SNOMED,
    VITAL_CODES,
    VitalCode,
    coding,
    concept,
    term,
)
from edge.clinical.fhir.entries import Entries, Resource
from edge.clinical.fhir.text import clean, number

Told = tuple[dict[str, str], str]  # the reference, and the same in words
PROFILES = "http://hl7.org/fhir/StructureDefinition"


def _base(entries: Entries, category: str, code: Resource, at: str) -> Resource:
    return {
        "status": "final" if entries.signed else "preliminary",
        "category": [term("observation-category", category)],
        "code": code,
        "subject": entries.patient,
        "encounter": entries.visit,
        "effectiveDateTime": entries.when(at),
    }


def _quantity(value: float, unit: str, ucum: str) -> Resource | None:
    found = number(value)
    return None if found is None else {"value": found, "unit": unit, "system": UCUM, "code": ucum}


def site(eye: str) -> Resource:
    """The bodySite of an eye."""
    code, display, words = EYE_SITES[eye]
    return concept(words, coding(SNOMED, code, display))


def _present(presence: Presence) -> Resource:
    code, display = PRESENT if presence is Presence.PRESENT else ABSENT
    return concept(display, coding(SNOMED, code, display))


def vital_signs(entries: Entries) -> list[Told]:
    """Every confirmed vital; both blood pressures are one panel."""
    values = {one.name: one for one in entries.encounter.vitals if one.confirmed and number(one.value) is not None}
    told: list[Told] = []
    for name, vital in values.items():
        if name in (SYSTOLIC, DIASTOLIC):
            if name == SYSTOLIC or SYSTOLIC not in values:
                told.append(_blood_pressure(entries, values))
        else:
            told.append(_vital(entries, vital))
    return told


def _code(known: VitalCode) -> Resource:
    return concept(known.text, *(coding(LOINC, code, display) for code, display in known.codings))


def _vital(entries: Entries, vital: Vital) -> Told:
    known = VITAL_CODES.get(vital.name)
    if known is None:  # a value that the catalogue learned before this table did: words and a bare number
        words = clean(vital.name) or "value"
        content = _base(entries, "exam", concept(words), vital.at) | {"valueQuantity": {"value": number(vital.value)}}
        return entries.add_by(vital.origin, "Observation", f"vital.{vital.name}", content), f"{words}: {vital.value:g}"
    content = _base(entries, known.category, _code(known), vital.at)
    content["valueQuantity"] = _quantity(vital.value, known.unit, known.ucum)
    if known.profile:
        content["meta"] = {"profile": [f"{PROFILES}/{known.profile}"]}
    reference = entries.add_by(vital.origin, "Observation", f"vital.{vital.name}", content)
    return reference, f"{known.text}: {vital.value:g} {known.unit}"


def _blood_pressure(entries: Entries, values: dict[str, Vital]) -> Told:
    present = [values[name] for name in (SYSTOLIC, DIASTOLIC) if name in values]
    content = _base(entries, "vital-signs", _code(BLOOD_PRESSURE), present[0].at)
    content["meta"] = {"profile": [f"{PROFILES}/bp"]}
    content["component"] = []
    words = []
    for name in (SYSTOLIC, DIASTOLIC):
        component: Resource = {"code": _code(VITAL_CODES[name])}
        if name in values:
            component["valueQuantity"] = _quantity(values[name].value, "mmHg", "mm[Hg]")
            words.append(f"{values[name].value:g}")
        else:  # the profile wants both; one that was not measured says so
            component["dataAbsentReason"] = term("data-absent-reason", "not-performed", "Not Performed")
            words.append("not measured")
        content["component"].append(component)
    spoken = any(one.origin in (Origin.SPEECH, Origin.MODEL) for one in present)
    origin = Origin.SPEECH if spoken else Origin.CLINICIAN
    return entries.add_by(origin, "Observation", "vital.bp", content), f"Blood pressure: {'/'.join(words)} mmHg"


def found_items(entries: Entries, kind: str) -> list[Told]:
    """Findings or history (kind: findings, history) that are present or absent and confirmed."""
    items: tuple[FoundItem, ...] = getattr(entries.encounter, kind)
    told = []
    for item in items:
        name = clean(item.name)
        if not item.confirmed or item.presence is Presence.UNKNOWN or not name:
            continue
        content = _base(entries, "exam" if kind == "findings" else "survey", concept(name), item.at)
        content["valueCodeableConcept"] = _present(item.presence)
        eye = f", {EYE_SITES[item.eye][2].lower()}" if item.eye else ""
        if item.eye:
            content["bodySite"] = site(item.eye)
        if kind == "history":
            content["note"] = [{"text": "From the patient's history"}]
        reference = entries.add_by(item.origin, "Observation", f"{kind}.{item.id}", content)
        told.append((reference, f"{name}{eye}: {item.presence.value}"))
    return told


def eye_exam(entries: Entries) -> list[Told]:
    """The fields of both eyes that were filled in, right eye first."""
    told: list[Told] = []
    for eye, side in (("OD", entries.encounter.eye.od), ("OS", entries.encounter.eye.os)):
        for field, code, more, words in _fields(eye, side):
            content = _base(entries, "exam", code, "") | {"bodySite": site(eye)} | more
            reference = entries.add("Observation", f"{eye}.{field}", content)
            told.append((reference, f"{EYE_SITES[eye][2]}: {words}"))
    return told


def _fields(eye: str, side: EyeSide) -> Iterator[tuple[str, Resource, Resource, str]]:
    """(field, code, value and more, words) of one eye."""
    more: Resource
    if va := clean(side.va):
        yield ("va", *_acuity(eye, side, va))
    if side.iop_mmhg is not None and (quantity := _quantity(side.iop_mmhg, "mmHg", "mm[Hg]")):
        code = concept("Intraocular pressure", coding(LOINC, *IOP_CODES[eye]), coding(SNOMED, *IOP_SNOMED))
        method = IOP_METHODS.get(side.iop_method, clean(side.iop_method))
        more = {"valueQuantity": quantity} | ({"method": concept(method)} if method else {})
        yield "iop_mmhg", code, more, f"intraocular pressure {side.iop_mmhg:g} mmHg" + (f", {method}" if method else "")
    if side.pupil_mm is not None and (quantity := _quantity(side.pupil_mm, "mm", "mm")):
        code = concept("Pupil diameter", coding(SNOMED, *PUPIL_SIZE))
        yield "pupil_mm", code, {"valueQuantity": quantity}, f"pupil {side.pupil_mm:g} mm"
    if reaction := clean(side.pupil_reaction):
        yield "pupil_reaction", concept("Pupil reaction to light"), {"valueString": reaction}, f"pupil {reaction}"
    if side.rapd is not Presence.UNKNOWN:
        more = {"valueCodeableConcept": _present(side.rapd)}
        yield "rapd", concept("Relative afferent pupillary defect"), more, f"RAPD {side.rapd.value}"
    for part, words in (("slit_lamp", "Slit lamp"), ("fundus", "Fundus")):
        for structure, found in getattr(side, part).items():
            name, value = clean(structure).replace("_", " "), clean(found)
            if name and value:
                more = {"valueString": value}
                yield f"{part}.{structure}", concept(f"{words}, {name}"), more, f"{words.lower()}, {name}: {value}"


def _acuity(eye: str, side: EyeSide, va: str) -> tuple[Resource, Resource, str]:
    codings = [coding(LOINC, *VA_CODES[side.va_correction, eye])] if (side.va_correction, eye) in VA_CODES else []
    if side.va_correction in VA_SNOMED:
        codings.append(coding(SNOMED, *VA_SNOMED[side.va_correction]))
    correction = clean(side.va_correction)
    code = concept("Visual acuity" + (f", {correction}" if correction else ""), *codings)
    more: Resource = {"valueString": va}
    logmar = None if side.va_logmar is None else number(side.va_logmar)
    if logmar is not None:
        quantity = {"value": logmar, "unit": "logMAR", "system": UCUM, "code": "{LogMAR}"}
        more["component"] = [{"code": concept("Visual acuity, logMAR"), "valueQuantity": quantity}]
    return code, more, f"visual acuity {va}" + (f" ({correction})" if correction else "")
