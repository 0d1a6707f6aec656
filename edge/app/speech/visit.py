"""From speech to the visit's text: the words to expect, and what was heard put at the end of what is there.

Numbers, drugs and negations that speech made are marked; each needs a tap. Words that were typed before keep their
marks and places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from edge.app.speech.protocol import SpeechEvent
from edge.clinical.encounter.model import Encounter, Mark, Origin, Presence, VisitText

MAX_TERMS = 60
MarksOf = Callable[[str], tuple[Mark, ...]]


def terms_for(enc: Encounter) -> tuple[str, ...]:
    """Words of this visit that a recogniser should expect: findings, history, allergies' drugs, options.

    Never a name, a number or a date of the patient: a prompt may come back as text, and it leaves this process.
    """
    named = [item.name for item in (*enc.findings, *enc.history) if item.presence is not Presence.UNKNOWN]
    named += enc.patient.allergies
    if enc.differential:
        named += [row.name for row in enc.differential.rows if not row.dismissed]
    about = {word.casefold() for one in (enc.patient.name, enc.patient.mrn) for word in one.split()}
    kept = dict.fromkeys(" ".join(name.split()) for name in named)
    return tuple(one for one in kept if one and not about & {word.casefold() for word in one.split()})[:MAX_TERMS]


def speech_marks(text: str) -> tuple[Mark, ...]:
    """The marks of edge.clinical.encounter.checks; its word lists are loaded only when somebody speaks."""
    from edge.clinical.encounter import checks

    return checks.speech_marks(text)


def with_speech(visit: VisitText, events: Iterable[SpeechEvent], marks_of: MarksOf = speech_marks) -> VisitText:
    """The visit's text with what was heard, a line for each final event; events that may still change are left out.

    The text is then one that speech made, even where a part was typed: the stricter of the two.
    """
    text, marks = visit.text, list(visit.marks)
    heard = False
    for one in events:
        words = " ".join(one.text.split())
        if not one.final or not words:
            continue
        if text and not text.endswith("\n"):
            text += "\n"
        speaker = f"{one.speaker.strip()}: " if one.speaker.strip() else ""
        start = len(text) + len(speaker)
        text += speaker + words
        marks += [replace(mark, start=mark.start + start, end=mark.end + start) for mark in marks_of(words)]
        heard = True
    return VisitText(text, Origin.SPEECH, tuple(marks)) if heard else visit
