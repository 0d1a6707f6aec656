"""Sample patients for trying the app: synthetic, see README.md beside this file for what each is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from edge.clinical.encounter import edits
from edge.clinical.encounter.findings import catalogue
from edge.clinical.encounter.model import (
    Encounter,
    Eye,
    FoundItem,
    Patient,
    Presence,
    VisitText,
    Vital,
)
from edge.errors import InputError

FOLDER = Path(__file__).parent
VERSION = 1


def sample_names() -> tuple[str, ...]:
    """Names of all samples."""
    return tuple(path.stem for path in sorted(FOLDER.glob("*.yaml")))


def load_sample(name: str, *, encounter_id: str, now: str, new_id: Callable[[], str]) -> Encounter:
    """A sample as an encounter at the time `now`. Errors: InputError when there is none of that name."""
    path = FOLDER / f"{name}.yaml"
    if name not in sample_names():
        raise InputError("there is no such sample", where=name[:40], mend=f"one of {', '.join(sample_names())}")
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    if value.get("version") != VERSION:
        raise InputError("a sample of another version", where=str(path), mend="use the edge that it came with")
    encounter = Encounter(encounter_id, created_at=now, updated_at=now)
    patient = dict(value["patient"])
    patient["allergies"] = tuple(patient.get("allergies", ()))
    encounter = edits.set_patient(encounter, Patient(**patient), now=now)
    for item in _items(value, new_id, now):
        encounter = edits.set_finding(encounter, item, now=now)
    for text in value.get("history", ()):
        encounter = edits.set_history(encounter, FoundItem(new_id(), text, Presence.PRESENT, at=now), now=now)
    for vital, number in value.get("vitals", {}).items():
        encounter = edits.set_vital(encounter, Vital(vital, float(number), at=now), now=now)
    for eye, side in value.get("eye", {}).items():
        for field, given in side.items():
            encounter = edits.set_eye_field(encounter, Eye(eye), field, given, now=now)
    if "transcript" in value:
        text = (FOLDER / value["transcript"]).read_text(encoding="utf-8")
        encounter = edits.set_visit(encounter, VisitText(text), now=now)
    return encounter


def _items(value: dict[str, Any], new_id: Callable[[], str], now: str) -> Iterator[FoundItem]:
    for one in value.get("findings", ()):
        concept = one.get("concept", "")
        name = catalogue()[concept].en if concept else one["name"]
        eye = Eye(one["eye"]) if "eye" in one else None
        yield FoundItem(new_id(), name, Presence(one["presence"]), eye, concept, at=now)
