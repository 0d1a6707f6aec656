"""Visits with notes: ACI-Bench's columns (dataset, encounter_id, dialogue, note) and MTS-Dialog's."""

from __future__ import annotations

import re
from pathlib import Path

from edge.evaluate.data.cases import NoteCase
from edge.evaluate.data.tables import Row, read_csv, read_text, unique_id

ACI_COLUMNS = ("dataset", "encounter_id", "dialogue", "note")
MTS_COLUMNS = ("ID", "section_header", "section_text", "dialogue")
META_COLUMNS = ("encounter_id", "patient_gender", "patient_age")
# Headings of MTS-Dialog's sections in words.
MTS_HEADINGS = {
    "fam/sochx": "family and social history",
    "genhx": "history of present illness",
    "pastmedicalhx": "past medical history",
    "cc": "chief complaint",
    "pastsurgical": "past surgical history",
    "allergy": "allergies",
    "ros": "review of systems",
    "medications": "medications",
    "assessment": "assessment",
    "exam": "exam",
    "diagnosis": "diagnosis",
    "disposition": "disposition",
    "plan": "plan",
    "edcourse": "emergency department course",
    "immunizations": "immunisations",
    "imaging": "imaging",
    "gynhx": "gynaecological history",
    "procedures": "procedures",
    "other_history": "other history",
    "labs": "laboratory results",
}


def read_aci(path: Path, *, text: str | None = None) -> list[NoteCase]:
    """Visits of a CSV in ACI-Bench's columns. A file `<name>_metadata.csv` beside it gives age and sex.

    Errors: InputError with row and column.
    """
    known = _metadata(path)
    seen: set[str] = set()
    cases = []
    for row in read_csv(path, ACI_COLUMNS, text=text):
        name = unique_id(row, "encounter_id", seen)
        source, reference = row.text("dialogue"), row.text("note")
        cases.append(NoteCase(name, source, reference, str(row.values["dataset"]), known.get(name, {})))
    return cases


def _metadata(path: Path) -> dict[str, dict[str, str]]:
    beside = path.with_name(f"{path.stem}_metadata.csv")
    if not beside.is_file():
        return {}
    rows = read_csv(beside, META_COLUMNS, text=read_text(beside))
    return {str(row.values["encounter_id"]).strip(): _context(row) for row in rows}


def _context(row: Row) -> dict[str, str]:
    given = {"sex": str(row.values["patient_gender"]).strip(), "age": str(row.values["patient_age"]).strip()}
    return {name: value for name, value in given.items() if value}


def read_mts(path: Path, *, text: str | None = None) -> list[NoteCase]:
    """Sections of a CSV in MTS-Dialog's columns: each dialogue with one section of a note. Errors: InputError."""
    seen: set[str] = set()
    cases = []
    for row in read_csv(path, MTS_COLUMNS, text=text):
        name = unique_id(row, "ID", seen)
        heading = re.sub(r"\s+", "", row.text("section_header")).lower()
        subset = MTS_HEADINGS.get(heading, heading)
        cases.append(NoteCase(name, row.text("dialogue"), row.text("section_text"), subset, section=subset))
    return cases
