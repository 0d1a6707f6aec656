"""The FHIR document. When these fail, another system reads a note that nobody made, or cannot read it at all."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.clinical.encounter.model import Encounter, LineStatus, Origin, Patient, VisitText, Vital
from edge.clinical.fhir import AuditRow, document
from edge.clinical.fhir.codes import SECTION_CODES, SOAP, VITAL_CODES
from edge.clinical.fhir.validate import dangling, references, validate
from edge.clinical.sections import SECTIONS
from edge.errors import InputError
from tests.clinical.fhir.encounters import AUDIT, DEVICE, EXAMPLE, NOW, encounters, signed

ZONED = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+00:00")
DATES = {
    "date", "timestamp", "recorded", "when", "time", "start", "end", "effectiveDateTime", "recordedDate",
    "occurredDateTime",
}  # fmt: skip
# resource -> the elements that R4 (4.0.1) itself defines, of those we use. R4B may have more, R4 must have these.
R4 = {
    "Composition": "id meta language text identifier status type subject encounter date author title attester section",
    "Patient": "id identifier name gender birthDate",
    "Encounter": "id identifier status class subject participant period location",
    "Practitioner": "id name",
    "ClinicalImpression": "id meta status subject encounter date assessor problem summary finding",
    "Condition": "id meta extension clinicalStatus verificationStatus category code bodySite subject encounter "
    "recordedDate recorder note",
    "Observation": "id meta status category code subject encounter effectiveDateTime valueQuantity "
    "valueCodeableConcept valueString bodySite method note component",
    "AllergyIntolerance": "id clinicalStatus code patient encounter",
    "DocumentReference": "id meta status docStatus type subject date content context",
    "Provenance": "id target occurredDateTime recorded activity agent signature",
    "Device": "id identifier status deviceName version type note parent",
    "AuditEvent": "id type subtype action recorded outcome agent source entity",
}
# Required bindings, which the library does not hold.
STATUS = {
    "Composition": {"preliminary", "final"},
    "Encounter": {"in-progress", "finished"},
    "ClinicalImpression": {"in-progress", "completed"},
    "Observation": {"preliminary", "final"},
    "DocumentReference": {"current"},
    "Device": {"active"},
}


def made(encounter: Encounter, **more: Any) -> dict[str, Any]:
    """A document as it is exported."""
    return document(encounter, device=DEVICE, audit=AUDIT, now=NOW, **more)


def of(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The resources of a kind."""
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


def one(bundle: dict[str, Any], kind: str) -> dict[str, Any]:
    """The only resource of a kind."""
    (found,) = of(bundle, kind)
    return found


def walk(value: object, key: str = "") -> Any:
    """(key, value) of everything inside."""
    yield key, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from walk(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner, key)


def aiast(resource: dict[str, Any]) -> bool:
    """Labelled as written by a model."""
    return any(label["code"] == "AIAST" for label in resource.get("meta", {}).get("security", []))


def sections(value: dict[str, Any]) -> list[dict[str, Any]]:
    """All sections, inner ones too."""
    return [found for section in value.get("section", []) for found in (section, *sections(section))]


def check(bundle: dict[str, Any]) -> None:
    """All laws that hold for every document."""
    validate(bundle)
    assert dangling(bundle) == []
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(urls) == len(set(urls))
    assert bundle["entry"][0]["resource"]["resourceType"] == "Composition"
    for entry in bundle["entry"]:
        resource = entry["resource"]
        kind = resource["resourceType"]
        assert entry["fullUrl"] == f"urn:uuid:{resource['id']}"
        assert set(resource) - {"resourceType"} <= set(R4[kind].split()), kind
        assert resource.get("status") in STATUS.get(kind, {None})
        for key, value in walk(resource):
            if key in DATES and isinstance(value, str):
                assert ZONED.fullmatch(value), (key, value)
            if key == "div" and isinstance(value, str):
                root = ElementTree.fromstring(value)  # noqa: S314 - our own text; a test of its form
                assert root.tag == "{http://www.w3.org/1999/xhtml}div"
                assert {node.tag.split("}")[1] for node in root.iter()} <= {"div", "p", "ul", "li", "i"}
                assert "".join(root.itertext()).strip(), "FHIR wants some words in a narrative"
            assert value != "" and value != [] and value != {}, f"an empty {key}"
    reached(bundle)
    # What a model wrote has one Provenance each, by a Device.
    devices = {entry["fullUrl"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Device"}
    told = [found["target"][0]["reference"] for found in of(bundle, "Provenance")]
    assert sorted(told) == sorted(e["fullUrl"] for e in bundle["entry"] if aiast(e["resource"]))
    assert all(found["agent"][0]["who"]["reference"] in devices for found in of(bundle, "Provenance"))
    json.dumps(bundle, allow_nan=False)


def reached(bundle: dict[str, Any]) -> None:
    """R4: a document holds what its Composition refers to, directly or not, and Provenances of that; nothing else."""
    entries = {entry["fullUrl"]: entry["resource"] for entry in bundle["entry"]}
    open_, seen = [bundle["entry"][0]["fullUrl"]], set()
    open_ += [url for url, found in entries.items() if found["resourceType"] == "Provenance"]
    while open_:
        url = open_.pop()
        if url not in seen:
            seen.add(url)
            open_ += references(entries[url])
    assert seen == set(entries)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(encounters(), st.booleans())
def test_every_encounter_is_a_valid_document(encounter: Encounter, with_transcript: bool) -> None:
    """If not: an export fails at the bedside, or another system refuses it."""
    check(made(encounter, with_transcript=with_transcript))


@pytest.mark.parametrize("encounter", [EXAMPLE, signed(), Encounter("e-1")], ids=["draft", "signed", "empty"])
def test_examples(encounter: Encounter) -> None:
    """The whole example and an empty encounter hold every law too."""
    check(made(encounter))
    check(made(encounter, with_transcript=True))


def test_only_what_somebody_decided_leaves() -> None:
    """If not: open, removed, dismissed or unconfirmed text is read elsewhere as if a clinician stood behind it."""
    for encounter in (EXAMPLE, signed()):
        text = json.dumps(made(encounter))
        for word in ("Secret open", "Secret removed", "migraine", "single eye", "cough unheard", "fever"):
            assert word not in text
        assert "Painful left eye" in text
    assert "1 drafted lines are not checked" in json.dumps(made(EXAMPLE))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(encounters(), st.sampled_from(LineStatus))
def test_no_undecided_line_leaves(encounter: Encounter, status: LineStatus) -> None:
    """The same for any encounter: lines are marked with words that occur nowhere else."""
    if encounter.note is None:
        return
    lines = tuple(
        replace(line, text=f"zq{index}qz", status=status if index else LineStatus.OPEN)
        for index, line in enumerate(encounter.note.lines)
    )
    text = json.dumps(made(replace(encounter, note=replace(encounter.note, lines=lines))))
    for index, line in enumerate(lines):
        assert (f"zq{index}qz" in text) == (line.status in (LineStatus.KEPT, LineStatus.EDITED))


def test_signed_and_preliminary() -> None:
    """If not: a draft passes for a record."""
    draft, final = made(EXAMPLE), made(signed())
    assert (one(draft, "Composition")["status"], one(final, "Composition")["status"]) == ("preliminary", "final")
    assert "not signed" in one(draft, "Composition")["title"]
    assert "PRELIMINARY" in one(draft, "Composition")["text"]["div"]
    assert of(draft, "Practitioner") == []
    assert one(final, "Practitioner")["name"] == [{"text": "Dr. Ada Beispiel"}]
    assert one(final, "Composition")["attester"][0]["time"] == "2026-03-04T10:20:00+00:00"
    assert {found["status"] for found in of(draft, "Observation")} == {"preliminary"}
    assert one(final, "Composition")["type"]["coding"][0]["code"] == "11506-3"
    # A signature without the state, or without a name, closes nothing.
    half = replace(signed(), state=EXAMPLE.state)
    assert one(made(half), "Composition")["status"] == "preliminary"
    assert one(made(signed(by=" ")), "Composition")["status"] == "preliminary"


def test_what_a_model_wrote_is_labelled() -> None:
    """If not: a reader takes a model's words for a colleague's."""
    final = made(signed())
    labelled = sorted(e["resource"]["resourceType"] for e in final["entry"] if aiast(e["resource"]))
    assert labelled == ["ClinicalImpression", "Composition", "Condition", "Observation"]
    (spoken,) = [found for found in of(final, "Observation") if aiast(found)]
    assert spoken["code"]["text"] == "eye pain"
    text = json.dumps(sections(one(final, "Composition")))
    assert "Painful left eye with halos. <i>[drafted by a model]</i>" in text
    assert "[drafted by a model, edited by the clinician]" in text
    assert "Acute angle closure suspected.</li>" in text
    typed = replace(EXAMPLE.note, lines=tuple(replace(x, origin=Origin.CLINICIAN) for x in EXAMPLE.note.lines))
    assert not aiast(one(made(replace(EXAMPLE, note=typed)), "Composition"))


def test_provenance_names_build_and_verifier() -> None:
    """If not: nobody can find out later which build wrote a line and who checked it."""
    final = made(signed())
    names = {url["fullUrl"]: url["resource"] for url in final["entry"]}
    (found,) = [p for p in of(final, "Provenance") if names[p["target"][0]["reference"]]["resourceType"] == "Condition"]
    author, verifier = found["agent"]
    device = names[author["who"]["reference"]]
    assert {one["value"] for one in device["version"]} == {"b" * 64, "a" * 64}
    assert {one["value"] for one in device["identifier"]} == {"b" * 64, "a" * 64}
    assert "device test passed" in device["note"][0]["text"]
    unverified = replace(EXAMPLE, note=replace(EXAMPLE.note, run=replace(EXAMPLE.note.run, verified=False)))
    assert "without a passed device test" in json.dumps(made(replace(unverified, differential=None)))
    assert names[verifier["who"]["reference"]]["resourceType"] == "Practitioner"
    signature = found["signature"][0]
    assert signature["extension"][0]["valueString"] == "c" * 64
    assert "data" not in signature
    assert all(len(p["agent"]) == 1 and "signature" not in p for p in of(made(EXAMPLE), "Provenance"))


def test_conditions_are_only_what_the_clinician_pinned() -> None:
    """If not: an option that a model ranked enters a problem list."""
    condition = one(made(signed()), "Condition")
    assert condition["verificationStatus"]["coding"][0]["code"] == "provisional"
    assert condition["code"]["coding"] == [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "H40.21"}]
    assert condition["bodySite"][0]["coding"][0]["code"] == "362503005"
    assert condition["extension"][0]["valueDecimal"] == 0.62
    rows = tuple(replace(row, dismissed="no") for row in EXAMPLE.differential.rows)
    dismissed = replace(EXAMPLE, differential=replace(EXAMPLE.differential, rows=rows))
    assert of(made(dismissed), "Condition") == []
    assert "glaucoma" not in json.dumps(made(dismissed))


def test_a_score_is_never_a_probability() -> None:
    """If not: 0.62 is read as a risk of 62 %."""
    bundle = made(signed())
    assert not [key for key, _ in walk(bundle) if "probability" in key.lower() or key == "prediction"]
    impression = one(bundle, "ClinicalImpression")
    assert "not a probability" in impression["summary"]
    options = [found for found in impression["finding"] if "itemCodeableConcept" in found]
    assert [found["extension"][0]["valueDecimal"] for found in options] == [0.62], "only what was pinned and signed"
    assert all("not a probability" in found["basis"] for found in options)
    assert "Not known: gonioscopy." in options[0]["basis"]


def test_vital_signs_have_codes_and_units() -> None:
    """If not: a value arrives without its unit, or the blood pressures apart."""
    found = {x["code"]["coding"][0]["code"]: x for x in of(made(EXAMPLE), "Observation") if "coding" in x["code"]}
    assert found["8867-4"]["valueQuantity"] == {
        "value": 92, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min",
    }  # fmt: skip
    assert found["8310-5"]["valueQuantity"]["code"] == "Cel"
    panel = found["85354-9"]
    assert [c["code"]["coding"][0]["code"] for c in panel["component"]] == ["8480-6", "8462-4"]
    assert [c["valueQuantity"]["value"] for c in panel["component"]] == [168, 95]
    assert panel["category"][0]["coding"][0]["code"] == "vital-signs"
    half = one(made(Encounter("e", vitals=(Vital("bp_diastolic", 95),))), "Observation")
    assert half["component"][0]["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
    spoken = Vital("heart_rate", 92, Origin.SPEECH, confirmed=False)
    assert of(made(Encounter("e", vitals=(spoken,))), "Observation") == []


def test_each_eye_stays_its_own() -> None:
    """If not: the pressure of one eye is read as the other's."""
    found = [x for x in of(made(EXAMPLE), "Observation") if x["code"]["text"] == "Intraocular pressure"]
    assert [
        (x["valueQuantity"]["value"], x["code"]["coding"][0]["code"], x["bodySite"]["coding"][0]["code"]) for x in found
    ] == [(16, "79892-6", "362502000"), (52, "79893-4", "362503005")]
    assert found[0]["method"]["text"] == "Goldmann applanation tonometry"
    acuity = [x for x in of(made(EXAMPLE), "Observation") if x["code"]["text"].startswith("Visual acuity")]
    assert [x["valueString"] for x in acuity] == ["20/25", "CF"]
    assert acuity[0]["component"][0]["valueQuantity"]["value"] == 0.1
    assert "component" not in acuity[1]
    rapd = [x for x in of(made(EXAMPLE), "Observation") if "pupillary" in x["code"]["text"]]
    assert [x["valueCodeableConcept"]["text"] for x in rapd] == ["Absent"]


def test_allergies_are_asserted_only_when_asked() -> None:
    """If not: "no known allergies" is told of a patient whom nobody asked."""
    known = one(made(EXAMPLE), "AllergyIntolerance")
    assert known["code"] == {"text": "penicillin"}
    asked = one(made(Encounter("e", Patient(allergies_asked=True))), "AllergyIntolerance")
    assert asked["code"]["coding"][0]["code"] == "716186003"
    assert of(made(Encounter("e")), "AllergyIntolerance") == []
    # A name of blanks is no allergy, and no absence of one either.
    assert of(made(Encounter("e", Patient(allergies=(" ",), allergies_asked=True))), "AllergyIntolerance") == []


def test_the_transcript_goes_only_when_asked_for() -> None:
    """If not: a whole conversation leaves where a note was meant to."""
    assert of(made(EXAMPLE), "DocumentReference") == []
    assert "hurts" not in json.dumps(made(EXAMPLE))
    attachment = one(made(EXAMPLE, with_transcript=True), "DocumentReference")["content"][0]["attachment"]
    assert base64.b64decode(attachment["data"]).decode() == EXAMPLE.visit.text
    assert attachment["contentType"].startswith("text/plain")
    spoken = replace(EXAMPLE, visit=VisitText("hello", Origin.SPEECH))
    assert aiast(one(made(spoken, with_transcript=True), "DocumentReference"))


def test_audit_of_this_encounter_only() -> None:
    """If not: one patient's document tells of another's visit."""
    found = of(made(EXAMPLE), "AuditEvent")
    assert [x["subtype"][0]["display"] for x in found] == ["create", "sign"]
    assert {d["valueString"] for x in found for d in x["entity"][0]["detail"]} == {"1" * 64, "2" * 64, "12"}
    assert of(document(EXAMPLE, device=DEVICE, audit=(AuditRow("", "x", "e-1"),), now=NOW), "AuditEvent") == []


def test_the_same_bytes_again() -> None:
    """If not: two exports of one signed note cannot be compared, and a server stores them as two."""
    assert json.dumps(made(signed())) == json.dumps(made(signed()))
    one_id = made(signed())["identifier"]
    assert one_id == made(signed())["identifier"]
    assert one_id != made(EXAMPLE)["identifier"]


def test_a_time_needs_a_zone() -> None:
    """If not: a document from a device abroad is hours off."""
    with pytest.raises(InputError, match="no zone"):
        document(EXAMPLE, device=DEVICE, now=datetime(2026, 3, 4, 10, 0))


def test_sections_are_all_known() -> None:
    """If not: a section of the note has no place in the document."""
    assert {key for _, keys in SOAP for key in keys} == set(SECTIONS) == set(SECTION_CODES)
    titles = [section["title"] for section in one(made(signed()), "Composition")["section"]]
    assert titles == ["Subjective", "Objective", "Assessment", "Plan", "Audit log"]


def test_every_vital_of_the_app_has_a_code() -> None:
    """If not: a value goes without LOINC and unit."""
    vitals = pytest.importorskip("edge.clinical.encounter.vitals").VITALS
    assert set(vitals) <= set(VITAL_CODES)


def test_a_refusal_names_no_word_of_the_patient() -> None:
    """If not: the library's message, which quotes values, puts a name into a log."""
    bundle = made(EXAMPLE)
    of(bundle, "Patient")[0]["birthDate"] = "Müller"
    with pytest.raises(InputError) as caught:
        validate(bundle)
    assert "entry." in str(caught.value)
    assert "birthDate" in str(caught.value)
    assert "Müller" not in str(caught.value)
    bundle = made(EXAMPLE)
    del bundle["entry"][1]
    with pytest.raises(InputError, match="refers to what is not in it"):
        validate(bundle)


def test_the_mapping_loads_no_library() -> None:
    """If not: the app starts seconds later and grows by the whole of FHIR."""
    code = (
        "import sys, edge.clinical.fhir, edge.clinical.fhir.validate;"
        "print(*(m for m in ('fhir', 'pydantic', 'onnxruntime', 'kivy') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
