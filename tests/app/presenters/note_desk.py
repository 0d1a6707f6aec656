"""A desk with one patient, a short visit and a scripted engine that drafts its note."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edge.app.engine.messages import Request
from edge.app.engine.scripted import After, ScriptedClient, note_answer
from edge.clinical.encounter import edits
from edge.clinical.encounter.model import Note, NoteLine, VisitText
from tests.app.presenters.bedside_desk import ANA, Clock, Desk

VISIT = (
    "[doctor] what brings you in today ?\n"
    "[patient] my right eye hurts since four hours .\n"
    "[doctor] how bad is the pain ?\n"
    "[patient] an eight out of ten . i take lisinopril 20 mg daily .\n"
    "[doctor] any trauma ?\n"
    "[patient] no , i deny any trauma .\n"
)


def place(words: str, text: str = VISIT) -> dict[str, Any]:
    """Evidence of some words of the visit."""
    start = text.index(words)
    return {"start": start, "end": start + len(words), "quote": words}


def line(text: str, *words: str, origin: str = "model") -> dict[str, Any]:
    return {"text": text, "origin": origin, "evidence": [place(one) for one in words]}


VALUE: dict[str, Any] = {
    "schema_version": 1,
    "sections": [
        {
            "section": "HPI",
            "lines": [
                line("Right eye pain for four hours.", "my right eye hurts since four hours"),
                line("She has diabetes."),
            ],
        },
        {
            "section": "MEDICATIONS",
            "lines": [line("Lisinopril 20 mg daily.", "i take lisinopril 20 mg daily")],
        },
    ],
    "withheld": 1,
    "notices": [{"code": "speakers-unknown", "message": "No speakers are marked: who said what is not known."}],
    "red_flags": [],
    "cancelled": False,
}


class NoteDesk(Desk):
    """visit: the transcript of the one patient; answer: what the engine does."""

    def __init__(
        self,
        folder: Path,
        visit: str = VISIT,
        answer: Callable[[Request], Iterable[After]] | None = None,
        **options: Any,
    ) -> None:
        clock = Clock()
        self.client = ScriptedClient(clock.monotonic, answer=answer or note_answer(VALUE), **options)
        super().__init__(folder, clock, {"note": self.client})
        workspace = self.open()
        workspace.new_encounter(ANA)
        if visit:
            workspace.edit(edits.set_visit, VisitText(visit))

    def pass_s(self, seconds: float, step_s: float = 0.1) -> None:
        """Let the engine go on for so long, a tick a step."""
        for _ in range(round(seconds / step_s)):
            self.clock.pass_s(step_s)
            self.workspace.touch()
            self.workspace.tick()

    def draft(self) -> None:
        """A whole draft."""
        self.workspace.runs.start_note()
        self.pass_s(30, 1.0)
        assert self.workspace.streaming is None

    @property
    def note(self) -> Note:
        encounter = self.workspace.encounter
        assert encounter is not None and encounter.note is not None
        return encounter.note

    def drafted(self, words: str) -> NoteLine:
        """The line of the note with these words."""
        return next(one for one in self.note.lines if words in one.text)
