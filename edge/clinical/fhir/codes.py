"""The codes of the FHIR documents, each in one place.

LOINC, SNOMED CT and UCUM codes are listed with their source in docs/fhir.md. What has no code that we are sure of is
sent as text only: a wrong code is read by machines, a text by people.
"""

from __future__ import annotations

from dataclasses import dataclass

BASE = "https://edge-kit.invalid/fhir"  # .invalid never resolves (RFC 2606): these definitions live in docs/fhir.md
MODEL_SCORE = f"{BASE}/StructureDefinition/model-score"
CONTENT_SHA256 = f"{BASE}/StructureDefinition/content-sha256"
BEHAVIOUR_DIGEST = f"{BASE}/identifier/behaviour-digest"
BUNDLE_DIGEST = f"{BASE}/identifier/bundle-digest"
SOFTWARE = f"{BASE}/identifier/software"
ENCOUNTER_ID = f"{BASE}/identifier/encounter"
AUDIT_DIGEST = "audit chain sha256"

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"

AIAST = {
    "system": f"{TERMINOLOGY}/v3-ObservationValue",
    "code": "AIAST",
    "display": "Artificial Intelligence asserted",
}
PROGRESS_NOTE = ("11506-3", "Progress note")
SUMMARY_NOTE = ("34133-9", "Summary of episode note")
TRANSCRIPT_TEXT = "Transcript of the visit"


@dataclass(frozen=True)
class SectionCode:
    """A section of the Composition. code: LOINC, '' where only the title is sent."""

    title: str
    code: str
    display: str


# SOAP heading -> its LOINC code and the sections of a note that stand in it, in order.
SOAP: tuple[tuple[SectionCode, tuple[str, ...]], ...] = (
    (
        SectionCode("Subjective", "61150-9", "Subjective Narrative"),
        ("CC", "HPI", "HISTORY", "SOCIAL", "MEDICATIONS", "ALLERGIES", "ROS"),
    ),
    (SectionCode("Objective", "61149-1", "Objective Narrative"), ("VITALS", "EXAM", "RESULTS")),
    (SectionCode("Assessment", "51848-0", "Evaluation note"), ("ASSESSMENT",)),
    (SectionCode("Plan", "18776-5", "Plan of care note"), ("PLAN",)),
)
SECTION_CODES: dict[str, SectionCode] = {
    "CC": SectionCode("Chief complaint", "10154-3", "Chief complaint Narrative - Reported"),
    "HPI": SectionCode("History of present illness", "10164-2", "History of Present illness Narrative"),
    "HISTORY": SectionCode("Medical history", "11348-0", "History of Past illness Narrative"),
    "SOCIAL": SectionCode("Social and family history", "29762-2", "Social history Narrative"),
    "MEDICATIONS": SectionCode("Medications", "10160-0", "History of Medication use Narrative"),
    "ALLERGIES": SectionCode("Allergies", "48765-2", "Allergies and adverse reactions Document"),
    "ROS": SectionCode("Review of systems", "10187-3", "Review of systems Narrative - Reported"),
    "VITALS": SectionCode("Vital signs", "8716-3", "Vital signs"),
    "EXAM": SectionCode("Physical examination", "29545-1", "Physical findings Narrative"),
    "RESULTS": SectionCode("Results", "30954-2", "Relevant diagnostic tests/laboratory data Narrative"),
    "ASSESSMENT": SectionCode("Assessment", "51848-0", "Evaluation note"),
    "PLAN": SectionCode("Plan", "18776-5", "Plan of care note"),
}
EYE_SECTION = SectionCode("Eye examination", "10197-2", "Physical findings of Eye Narrative")


@dataclass(frozen=True)
class VitalCode:
    """codings: (LOINC code, display); unit: as shown; ucum: the same in UCUM; profile: of the R4 vital signs."""

    codings: tuple[tuple[str, str], ...]
    text: str
    unit: str
    ucum: str
    profile: str = "vitalsigns"
    category: str = "vital-signs"


SYSTOLIC, DIASTOLIC = "bp_systolic", "bp_diastolic"
BLOOD_PRESSURE = VitalCode(
    (("85354-9", "Blood pressure panel with all children optional"),), "Blood pressure", "mmHg", "mm[Hg]", "bp"
)
VITAL_CODES: dict[str, VitalCode] = {
    "heart_rate": VitalCode((("8867-4", "Heart rate"),), "Heart rate", "/min", "/min", "heartrate"),
    "spo2": VitalCode(
        (
            ("2708-6", "Oxygen saturation in Arterial blood"),
            ("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry"),
        ),
        "Oxygen saturation",
        "%",
        "%",
        "oxygensat",
    ),
    SYSTOLIC: VitalCode((("8480-6", "Systolic blood pressure"),), "Systolic blood pressure", "mmHg", "mm[Hg]", ""),
    DIASTOLIC: VitalCode((("8462-4", "Diastolic blood pressure"),), "Diastolic blood pressure", "mmHg", "mm[Hg]", ""),
    "temperature_c": VitalCode((("8310-5", "Body temperature"),), "Body temperature", "C", "Cel", "bodytemp"),
    "respiratory_rate": VitalCode((("9279-1", "Respiratory rate"),), "Respiratory rate", "/min", "/min", "resprate"),
    # Pain and glucose are no vital signs of the R4 profiles; they go as survey and laboratory observations.
    "pain": VitalCode(
        (("72514-3", "Pain severity - 0-10 verbal numeric rating [Score] - Reported"),),
        "Pain, 0 to 10",
        "of 10",
        "{score}",
        "",
        "survey",
    ),
    "glucose": VitalCode(
        (("2339-0", "Glucose [Mass/volume] in Blood"),), "Blood glucose", "mg/dL", "mg/dL", "", "laboratory"
    ),
    "glucose_mmol": VitalCode(
        (("15074-8", "Glucose [Moles/volume] in Blood"),), "Blood glucose", "mmol/L", "mmol/L", "", "laboratory"
    ),
}

# Right, left and both eyes, as HL7's eye care guides use them.
EYE_SITES = {
    "OD": ("362502000", "Entire right eye", "Right eye"),
    "OS": ("362503005", "Entire left eye", "Left eye"),
    "OU": ("362508001", "Both eyes, entire", "Both eyes"),
}
IOP_CODES = {
    "OD": ("79892-6", "Right eye Intraocular pressure"),
    "OS": ("79893-4", "Left eye Intraocular pressure"),
}
IOP_METHODS = {
    "goldmann": "Goldmann applanation tonometry",
    "icare": "Rebound tonometry (iCare)",
    "tonopen": "Tono-Pen applanation tonometry",
    "air-puff": "Non-contact (air puff) tonometry",
    "palpation": "Digital palpation",
}
# (correction, eye) -> LOINC; a pinhole acuity and one of unknown correction have no LOINC code we are sure of.
VA_CODES = {
    ("uncorrected", "OD"): ("98499-7", "Visual acuity uncorrected Right eye"),
    ("uncorrected", "OS"): ("98498-9", "Visual acuity uncorrected Left eye"),
}
VA_SNOMED = {
    "": ("363983007", "Visual acuity"),
    "uncorrected": ("420050001", "Uncorrected visual acuity"),
    "corrected": ("397536007", "Corrected visual acuity"),
    "pinhole": ("419475002", "Pinhole visual acuity"),
}
PUPIL_SIZE = ("363953003", "Size of pupil")
IOP_SNOMED = ("41633001", "Intraocular pressure")
PRESENT, ABSENT = ("52101004", "Present"), ("2667000", "Absent")
NO_KNOWN_ALLERGY = ("716186003", "No known allergy")


def coding(system: str, code: str, display: str = "") -> dict[str, str]:
    """A FHIR Coding."""
    return {"system": system, "code": code} | ({"display": display} if display else {})


def concept(text: str, *codings: dict[str, str]) -> dict[str, object]:
    """A FHIR CodeableConcept: codings where there are any, and always words."""
    found: dict[str, object] = {"coding": list(codings)} if codings else {}
    return found | ({"text": text} if text else {})


def term(name: str, code: str, display: str = "") -> dict[str, object]:
    """A CodeableConcept of one of HL7's own code systems."""
    return {"coding": [coding(f"{TERMINOLOGY}/{name}", code, display)]}
