"""A desk with findings and a ranking, for the tests of exam, eye and differential."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.app.engine.messages import RankDifferential, Request
from edge.app.engine.scripted import After, Answer, differential_answer
from edge.clinical.encounter import edits
from edge.clinical.encounter.findings import catalogue
from edge.clinical.encounter.model import Eye, FoundItem, Presence
from tests.app.desk import Desk

PAIN, HALOS, FEVER = "eye.eye-pain-sudden", "eye.halos", "general.fever"


def open_desk(folder: Path, answer: Answer | None = None) -> Desk:
    """An open patient, and an engine that answers as the script says."""
    desk = Desk(folder, answer or ranking_answer()).create().with_patient(visit="")
    desk.engine.answer = answer or ranking_answer()
    return desk


def found(desk: Desk, concept: str, presence: Presence = Presence.PRESENT, eye: Eye | None = None, **more: Any) -> str:
    """Record a finding of the catalogue; returns its id."""
    item = FoundItem(f"{concept}-{eye or ''}", catalogue()[concept].en, presence, eye, concept, **more)
    desk.workspace.edit(edits.set_finding, item)
    return item.id


def option(name: str, score: float, supports: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """An option of a task's answer."""
    return {
        "rank": 1,
        "name": name,
        "icd10": {"code": "H40.211", "title": ""},
        "score": score,
        "supports": supports or [],
        "against": [],
        "missing": [{"what": "mid-dilated pupil", "basis": "table"}, {"what": "gonioscopy", "basis": "table"}],
        "basis": "table",
        **more,
    }


def evidence(text: str, words: str, basis: str = "table") -> dict[str, Any]:
    """A span of the case."""
    start = text.index(words)
    return {"text": words, "start": start, "end": start + len(words), "basis": basis}


def ranking_answer(*names: str, step_s: float = 0.1, total: int = 5) -> Answer:
    """A ranking of the request's own case: the first option rests on all its lines of the eye."""

    def answer(request: Request) -> list[After]:
        if not isinstance(request, RankDifferential):
            return []
        told = [
            one for one in ("Sudden eye pain OD", "Halos around lights OD", "OD IOP 52 mmHg.") if one in request.text
        ]
        supports = [evidence(request.text, one) for one in told]
        options = [
            option(name, 0.68 / (place + 1), supports if not place else [], eye="OD" if not place else None)
            for place, name in enumerate(names or ("Acute angle-closure glaucoma", "Anterior uveitis"))
        ]
        value = {
            "options": [] if names == ("",) else options,
            "missing": ["fundus", "heart rate"],
            "notices": [{"text": "The table knows nothing of some findings."}],
            "task": request.task,
        }
        return list(differential_answer(value, step_s=step_s, total=total)(request))

    return answer
