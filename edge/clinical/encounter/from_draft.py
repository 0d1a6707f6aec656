"""A drafted note (edge.clinical.note_draft.NoteDraft as JSON) as the lines of an encounter, every one of them open."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from edge.clinical.encounter.checks import line_marks
from edge.clinical.encounter.model import LineStatus, Note, NoteLine, Origin, Place, RunStamp
from edge.clinical.facts import FactSource, check_line

_ORIGINS = {"model": Origin.MODEL, "quote": Origin.QUOTE}


def to_note(value: Mapping[str, Any], run: RunStamp, transcript: str, new_id: Callable[[], str]) -> Note:
    """The note of a run.

    value: as NoteDraft.to_json gives it. transcript: what it was drafted from; evidence that does not lie in it is left
    out, and a line without evidence is shown as "Not in transcript". So is a line of the model with a fact that the
    fact check does not find there, also a minor one: an age that nobody said has no source, whatever words stand beside
    it. Nothing is accepted: each line is OPEN.
    """
    source = FactSource.of(transcript)
    lines = []
    for section in value.get("sections", ()):
        label = str(section["section"])
        for line in section["lines"]:
            text = str(line["text"])
            places = tuple(
                Place(int(one["start"]), int(one["end"]))
                for one in line.get("evidence", ())
                if 0 <= int(one["start"]) < int(one["end"]) <= len(transcript)
            )
            origin = _ORIGINS.get(str(line.get("origin")), Origin.MODEL)
            if origin is Origin.MODEL and check_line(text, label, source):
                places = ()
            marks = line_marks(text, label, transcript)
            lines.append(NoteLine(new_id(), label, text, text, places, origin, LineStatus.OPEN, marks))
    notices = tuple(str(notice["message"]) for notice in value.get("notices", ()))
    digest = hashlib.sha256(transcript.encode()).hexdigest()
    return Note(tuple(lines), run, int(value.get("withheld", 0)), notices, digest)
