"""Who speaks, and of whom: orders to the model, a second patient, speakers whose names seem to be swapped."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edge.clinical.patient import introductions
from edge.clinical.transcript import CLINICIAN, PATIENT, Span, Transcript

MIN_SWAPPED = 4
_ORDER = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,60}\b(?:instructions?|prompts?|guidelines?|rules|"
    r"(?:the|everything|all) above|previous (?:text|messages?)|what (?:you were|i) (?:told|said before))\b"
    r"|\byou are (?:now )?(?:an? )?(?:ai|a\.i\.|artificial intelligence|(?:large )?language model|chat ?bot|"
    r"(?:helpful |medical |ai )?assistant|chat ?gpt|gpt\w*|llm)\b"
    r"|\b(?:as|hey|dear|attention) (?:an? )?(?:ai|language model|chat ?gpt|assistant|llm)\b"
    r"|\b(?:system|developer|hidden) (?:prompt|message|mode)\b|\bnew instructions?\b|\bjail ?break\b|"
    r"\bprompt injection\b"
    r"|\byou (?:must|should|shall|will) (?:now )?(?:say|answer|reply|respond|output|rank|obey)\b"
    r"|\b(?:answer|reply|respond|output) (?:only|always|exactly|just|in json)\b|\bsay (?:only|exactly)\b"
    r"|\b(?:print|reveal|repeat|show)\b[^.\n]{0,30}\b(?:prompt|instructions)\b"
    r"|<\|[a-z_]+\|>|\[/?inst\]|<</?sys>>|</?(?:system|assistant|user|instructions?)>"
    r"|^\s*#{2,}\s*(?:instruction|system|response|assistant)\b|^\s*(?:system|assistant|user)\s*:",
    re.IGNORECASE | re.MULTILINE,
)
# A clinician may dictate like this; from anybody else it is an order to whoever writes the note.
_DICTATED = re.compile(
    r"(?<!your )(?<!the )(?<!my )(?<!a )\b(?:write|note|put|record|document|state|chart|include)(?: down)?"
    r"(?: in (?:the|my|his|her) (?:note|chart|record|summary|report))? that (?:i|he|she|the|my|there|this|they|we|"
    r"patient)"
    r"(?: \w+){0,2}? (?:am|is|are|was|has|have|had|do|does|did|need|needs|can|should|must|no)\b"
    r"|\b(?:write|note|put|record|document|include)(?: down)? that i(?:'m|'ve)\b"
    r"|\b(?:do not|don't|do n't|never) (?:write|mention|include|record|document|put)\b[^.\n]{0,50}"
    r"\b(?:note|summary|chart|record|report|down)\b",
    re.IGNORECASE,
)
_BIRTH = re.compile(
    r"\b(?:date of birth|dob|d\.o\.b\.|born)\s*(?:is|on|:|of|was)?\s*(?P<date>\d{1,2}[/-]\d{1,2}[/-]\d{2,4}"
    r"|(?:january|february|march|april|may|june|july|august|september|october|november|december)\s+\w+(?:st|nd|rd|th)?"
    r"(?:\s*,?\s*\d{4})?)",
    re.IGNORECASE,
)
_NEXT = re.compile(
    r"\b(?:(?:the |our |my )?next patient (?:is|here|today|will be|in)|next patient\s*[,:.]|second patient|(?:now|"
    r"on) to (?:the|my) next patient|"
    r"new (?:encounter|dictation)|next (?:encounter|dictation))\b",
    re.IGNORECASE,
)
# What clinicians say and patients hardly ever do.
_CLINICAL = re.compile(
    r"\b(?:what brings you|tell me (?:more |a little bit )?about|(?:have|are|do) you (?:ever |had |having |been |"
    r"noticed|taking |"
    r"smok|drink|take |have any|taken )|any (?:fever|chest pain|chills|shortness|nausea|numbness|allerg|history|"
    r"family history|other "
    r"symptoms)|(?:quick |physical )exam\b|on (?:your |physical )?exam(?:ination)?\b|let me (?:take a look|examine|"
    r"listen|check)|"
    r"take a (?:quick )?(?:look|listen)|(?:lungs|heart) (?:are|is|sounds?) (?:clear|regular|good)|does (?:it|that|"
    r"this) hurt when i|"
    r"i(?:'m| am)? (?:gon na|going to|want to|wan na|'d like to|would like to) (?:order|prescribe|refer|start you|"
    r"put you|send you|get "
    r"you|have you)|i(?:'d| would) (?:like|recommend|suggest)|my (?:impression|recommendation|plan)|your (?:x-ray|"
    r"lab|labs|mri|results|"
    r"blood work|vital signs|vitals)|for your (?:first|second|third|next) problem|do you have any (?:questions|"
    r"allergies|pain)|"
    r"how (?:long|often) have you|follow up with (?:me|you) in|tenderness to palpation|range of motion|"
    r"i (?:do )?appreciate|i (?:hear|see|feel) "
    r"(?:a |some )?(?:murmur|wheez|edema|swelling over|tenderness))",
    re.IGNORECASE,
)
_EXAM = re.compile(
    r"\b(?:tenderness to palpation|lungs are clear|heart (?:is|sounds) regular|no murmurs?|regular rate and rhythm|"
    r"range of motion (?:is|of)|i (?:do )?appreciate (?:a|some|no)|bowel sounds|pupils (?:are )?equal|"
    r"on (?:physical )?exam(?:ination)?,? (?:you|he|she|there)|"
    r"to auscultation|capillary refill|pulses are|mcmurray|lachman)\b",
    re.IGNORECASE,
)


def order_spans(transcript: Transcript) -> list[Span]:
    """Words that are addressed to a model, or that look like the marks of a chat."""
    found = [Span(*match.span()) for match in _ORDER.finditer(transcript.text)]
    for turn in transcript.turns:
        if turn.speaker != CLINICIAN:
            words = transcript.words_of(turn)
            found += [Span(turn.start + m.start(), turn.start + m.end()) for m in _DICTATED.finditer(words)]
    return sorted(set(found))


def second_patient_spans(transcript: Transcript) -> list[Span]:
    """Places that introduce a patient other than the first: a second name, birth date, age or sex."""
    text = transcript.text
    births = [(re.sub(r"[\s,]+", " ", m["date"].lower()), Span(*m.span())) for m in _BIRTH.finditer(text)]
    found = _different(births)
    # "Next patient is ..." opens a dictation; further on it opens a second one.
    opening = transcript.turns[0].start + 40
    found += [Span(*match.span()) for match in _NEXT.finditer(text) if match.start() > opening]
    people = introductions(transcript)
    named = [(person.name, person.span) for person in people if person.name]
    names = {name for name, _ in named}
    if any(not set(one.split()) & set(other.split()) for one in names for other in names):
        found += [span for _, span in named]
    ages = [person for person in people if person.age_years is not None]
    if ages and max(p.age_years or 0 for p in ages) - min(p.age_years or 0 for p in ages) > 1:
        found += [person.span for person in ages]
    found += _different([(str(person.sex), person.span) for person in people if person.sex])
    return sorted(set(found))


def _different(said: list[tuple[str, Span]]) -> list[Span]:
    return [span for _, span in said] if len({value for value, _ in said}) > 1 else []


def swapped_spans(transcript: Transcript) -> list[Span]:
    """Turns of the patient that hold a clinician's words, where they outweigh the clinician's own or are findings."""
    patient: list[Span] = []
    exam: list[Span] = []
    clinician = 0
    for turn in transcript.turns:
        words = transcript.words_of(turn)
        count = len(_CLINICAL.findall(words))
        if turn.speaker == CLINICIAN:
            clinician += count
        elif turn.speaker == PATIENT:
            patient += [turn.span] * count
            exam += [turn.span] if _EXAM.search(words) else []
    if len(patient) >= MIN_SWAPPED and len(patient) > clinician:
        return sorted(set(patient))
    return exam if len(exam) >= 1 and len(patient) >= 1 else []


def speakers_unknown(transcript: Transcript) -> Iterator[Span]:
    """A conversation without names of speakers: its whole text."""
    if any(turn.speaker for turn in transcript.turns):
        return
    text = transcript.text
    talk = len(re.findall(r"\b(?:i|i'm|you|your|my)\b", text, re.IGNORECASE)) + 2 * text.count("?")
    if len(text.split()) >= 40 and talk >= 8:
        yield Span(0, len(text))
