"""What a visit says against itself, or says of what edge does not know: findings, sides, medicines, numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from edge.clinical.facts.lexicon import lexicon
from edge.clinical.facts.model import DRUG
from edge.clinical.facts.tokens import phrase_key
from edge.clinical.polarity import Status, around, status_of, turn_of
from edge.clinical.redflag_phrases import Phrase, compile_phrase, normalised
from edge.clinical.redflag_vitals import spoken
from edge.clinical.transcript import CLINICIAN, PATIENT, Span, Transcript

# Findings a patient can have or not have; one that comes and goes by nature ("pain") is too wide to contradict itself.
_FINDINGS = {
    "fever": ("fever(s)", "a temperature"),
    "cough": ("cough|coughing",),
    "chest pain": ("chest pain|pains|tightness|pressure",),
    "breathlessness": ("short|shortness of breath", "trouble|difficulty breathing"),
    "nausea": ("nausea|nauseous|nauseated",),
    "vomiting": ("vomiting|vomited", "throwing|threw up"),
    "diarrhoea": ("diarrhea|diarrhoea",),
    "constipation": ("constipation|constipated",),
    "headache": ("headache(s)",),
    "dizziness": ("dizzy|dizziness|lightheaded*",),
    "fainting": ("fainted|fainting|passed out",),
    "rash": ("rash(s)",),
    "palpitations": ("palpitation(s)",),
    "bleeding": ("blood in|with .. (stool|urine|vomit)",),
    "smoking": ("smoke", "smoker"),
    "alcohol": ("drink (alcohol|beer|wine)",),
    "diabetes": ("diabetes|diabetic",),
    "hypertension": ("high blood pressure", "hypertension"),
    "asthma": ("asthma|asthmatic",),
    "allergies": ("allergic to", "drug allergies", "medication allergies"),
    "pregnancy": ("pregnant",),
    "weight loss": ("lost weight", "weight loss"),
    "seizures": ("seizure(s)",),
    "double vision": ("double vision", "see|seeing double"),
    "floaters": ("floater(s)",),
    "eye pain": ("eye pain", "pain in my|the|your left|right? eye"),
    "surgery": ("had .. surgery|surgeries", "prior|previous|past surgery|surgeries"),
}
_TIMED = re.compile(
    r"\b(?:now|today|anymore|any more|yesterday|last|ago|was|were|had|used to|earlier|before|sometimes|initially|"
    r"first|at first|"
    r"stopped|went away|gone|better|when|if|after|recently|lately|yet|until|still|at night|occasionally|once|other|"
    r"usually|every now|except|unless|really|much|bad|other than|besides|in my (?:left|right)|with this|currently|"
    r"history)\b",
    re.IGNORECASE,
)
_PARTS = (
    r"knees?|ankles?|foot|feet|toes?|legs?|calf|calves|thighs?|hips?|shoulders?|elbows?|wrists?|hands?|fingers?|"
    r"thumbs?|"
    r"arms?|forearms?|breasts?|kidneys?|lungs?|ears?|eyes?|eyelids?|ovary|ovaries|testicles?|groin|flank|heel|shin"
)
_SIDED = re.compile(
    rf"\b(?<!just )(?P<side>left|right)[\s-]+(?:(?!(?:left|right|and|or|here|at|in|around|above|"
    rf"below|by|now|over|behind|on|near|away|after|up|down|about|to|there|"
    rf"before)\b)[a-z]+[\s-]+){{0,2}}?(?P<part>{_PARTS})\b"
)
_PART_SIDED = re.compile(
    rf"\b(?P<part>{_PARTS})\s*(?:on|,|is|to)? ?(?:my|the|your|his|her)? ?(?P<side>left|"
    rf"right)(?: side)?\b(?! now| after| away)"
)
_EYE_CODE = re.compile(r"\b(?P<side>od|os)\b")
_BOTH = re.compile(
    r"\b(?:both|bilateral\w*|other|opposite|either|ou|versus|vs|compared?|than|equal\w*|too|as well|also|"
    r"contralateral|unaffected|"
    r"normal|good|fine|dominant|handed|hand dominant|each|start with|first)\b"
)
_PLAN = re.compile(
    r"\b(?:assessment|plan|impression|a/p|recommend\w*|schedul\w*|surgery|operat\w*|procedure|replacement|injection|"
    r"inject|refer\w*|"
    r"order|x-ray|mri|ultrasound|prescri\w*|brace|laser|consent|we(?:'ll| will)|i(?:'ll| will)|gon na|going to|let's)\b"
)
_CORRECTED = re.compile(
    r"\b(?P<old>left|right|od|os)\b(?:[^\n]{0,60}?)\b(?:i'm sorry|sorry|i mean|i meant|excuse me|correction|no wait|"
    r"wait|scratch that|"
    r"my mistake|my bad|i misspoke|strike that|let me correct)\b[^\n]{0,30}?\b(?P<new>left|right|od|os)\b"
)
_SIDE_OF = {"od": "right", "os": "left", "left": "left", "right": "right"}
_NUMBER_WORD = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|"
    r"eighteen|"
    r"nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
)
_RUN = re.compile(
    rf"\b{_NUMBER_WORD}(?:[ -](?:{_NUMBER_WORD}|hundred|thousand|point|oh|and(?= {_NUMBER_WORD}))\b)+"
    r"(?=\s*(?:milligrams?|mg|micrograms?|mcg|units?|milliliters?|ml|percent|%|degrees)\b)"
)
_UNIT = r"(?:mg|milligrams?|mcg|micrograms?|units?|ml|milliliters?|grams?|iu|meq)"
_AMOUNT = rf"(?:\d[\d,.]*|{_NUMBER_WORD}(?:[ -](?:{_NUMBER_WORD}|hundred|thousand|point|oh))*)"
_DOSED = re.compile(
    rf"\b(?:take|takes|taking|took|prescribe[ds]?|prescribing|start(?:ed|ing)?|on|put you on|give|giving|gave|refill|"
    rf"increase|"
    rf"increasing|decrease|continue|add|adding|try|using|use|up to|up your|keep)\s+(?:you |her |him |me |back |with |"
    rf"on )?(?:the |some |a |her |his |my "
    rf"|your |of )*(?P<drug>[a-z][a-z-]{{4,}})(?P<rest>(?:\s+[a-z-]+)?)\s*,?\s*(?:(?:uh|um|to|at|of|about|from|is|"
    rf"it's|the|a|dose|and) "
    rf")*{_AMOUNT}\s*-?\s*{_UNIT}\b"
)
_ORDINARY = (
    "about after again also another approximately around because bedtime before between bigger blood "
    "brand breakfast capsule capsules chart chewable could course cream current currently daily dinner "
    "dosage dose doses double drops eight eighteen eighty eleven evening every extended extra fifteen "
    "fifty fluid fluids forty fourteen full generic going here higher hundred increased inhaler initial "
    "injection injections just least liquid little loading lower lunch maintenance maximum maybe "
    "medication medications medicine medicines minimum month months morning night nightly nights nineteen "
    "ninety only original other over-the-counter patch pills placebo point pressure probably regular "
    "release right roughly saline seven seventeen seventy short shots should sixteen sixty smaller "
    "something somewhere starting still strength sugar supplement supplements tablet tablets that their "
    "them there these thinner thirteen thirty this those thousand three today total triple twelve twenty "
    "twice under until usual vitamin vitamins water week weeks which would yesterday"
)
_NO_DRUG = frozenset(_ORDINARY.split())


def contradiction_spans(transcript: Transcript) -> list[Span]:
    """Findings that the patient both affirms and denies, without a word of time that would reconcile the two."""
    lowered = normalised(transcript.text)
    found: list[Span] = []
    for phrases in _findings().values():
        said: dict[Status, list[Span]] = {Status.PRESENT: [], Status.ABSENT: []}
        for phrase in phrases:
            for match in phrase.find(lowered):
                span = Span(*match.span())
                status = status_of(transcript, span)
                if status in said and _of_patient(transcript, span) and not _timed(transcript, span):
                    said[status].append(span)
        if said[Status.PRESENT] and said[Status.ABSENT]:
            found += [said[Status.PRESENT][0], said[Status.ABSENT][0]]
    return sorted(set(found))


@lru_cache(maxsize=1)
def _findings() -> dict[str, tuple[Phrase, ...]]:
    return {name: tuple(compile_phrase(wording) for wording in wordings) for name, wordings in _FINDINGS.items()}


def _of_patient(transcript: Transcript, span: Span) -> bool:
    """Whether the patient says it, or answers a question that names it and nothing else."""
    index = turn_of(transcript, span)
    turn = transcript.turns[index]
    if turn.speaker == PATIENT:
        return True
    if turn.speaker != CLINICIAN or index + 1 >= len(transcript.turns):
        return not turn.speaker and len(transcript.turns) == 1
    if re.search(
        r"\b(?:with|of|from|before|during|after|the|your|this|that|"
        r"these)\s*$",
        transcript.text[: span.start][-12:],
    ):
        return False  # "any nausea with the headaches?" asks about the nausea
    # Behind "any fever, cough or chills?" a "yes" may mean any of them.
    return (
        turn.end - span.end <= 3 and len(transcript.text[max(turn.start, span.start - 60) : span.start].split(",")) == 1
    )


def _timed(transcript: Transcript, span: Span) -> bool:
    turn = transcript.turns[turn_of(transcript, span)]
    start, end = max(turn.start, span.start - 60), min(turn.end, span.end + 60)
    return bool(_TIMED.search(transcript.text[start:end]))


def corrections(transcript: Transcript) -> list[Span]:
    """Sides that were corrected in the same breath: "the right, sorry, the left knee"."""
    lowered = normalised(transcript.text)
    return [
        Span(*match.span())
        for match in _CORRECTED.finditer(lowered)
        if _SIDE_OF[match["old"]] != _SIDE_OF[match["new"]]
    ]


def side_conflicts(transcript: Transcript) -> tuple[list[Span], list[Span]]:
    """(places of the eye, places of other parts) that stand on one side here and on the other side there.

    Compared are what the patient tells, what the clinician finds and what is planned: only where each names one side.
    """
    lowered = normalised(transcript.text)
    corrected = corrections(transcript)
    zones: dict[tuple[str, str], dict[str, list[Span]]] = {}
    for pattern in (_SIDED, _PART_SIDED, _EYE_CODE):
        for match in pattern.finditer(lowered):
            span = Span(*match.span())
            if any(span.start < other.end and other.start < span.end for other in corrected):
                continue
            clause = _sentence(lowered, span)
            part = match["part"] if pattern is not _EYE_CODE else "eye"
            zone = _zone(transcript, span, clause)
            if zone == "found" and around(transcript, span).asked:
                continue
            if _BOTH.search(clause) or len(set(re.findall(r"\b(?:left|right|od|os)\b", clause))) > 1:
                side = "both"
            else:
                side = _SIDE_OF[match["side"]]
            zones.setdefault((_singular(part), zone), {}).setdefault(side, []).append(span)
    eye: list[Span] = []
    other: list[Span] = []
    for part in sorted({part for part, _ in zones}):
        places = [zones.get((part, zone), {}) for zone in ("told", "found", "planned")]
        for first in places:
            for second in places:
                if set(first) == {"left"} and set(second) == {"right"}:
                    spans = [first["left"][0], second["right"][0]]
                    (eye if part in ("eye", "eyelid") else other).extend(spans)
    return sorted(set(eye)), sorted(set(other))


def _zone(transcript: Transcript, span: Span, clause: str) -> str:
    speaker = transcript.turns[turn_of(transcript, span)].speaker
    return "told" if speaker == PATIENT else "planned" if _PLAN.search(clause) else "found"


def _sentence(text: str, span: Span) -> str:
    """The sentence around a place, at most 90 characters to either side."""
    left = re.split(r"[.?!\n;]", text[max(0, span.start - 90) : span.start])[-1]
    right = re.split(r"[.?!\n;]", text[span.end : span.end + 90])[0]
    return left + text[span.start : span.end] + right


def _singular(part: str) -> str:
    known = {"feet": "foot", "calves": "calf", "ovaries": "ovary"}
    return known.get(part, part[:-1] if part.endswith("s") else part)


def unknown_drug_spans(transcript: Transcript) -> list[Span]:
    """Words in the place of a dosed medicine that stand in none of edge's lists."""
    found = []
    for match in _DOSED.finditer(normalised(transcript.text)):
        words = [match["drug"], f"{match['drug']} {match['rest'].strip()}".strip(), match["rest"].strip()]
        if any(word in _NO_DRUG for word in (match["drug"], *match["drug"].split("-"))):
            continue
        if not any(_known(word) for word in words if word):
            found.append(Span(*match.span("drug")))
    return sorted(set(found))


def _known(words: str) -> bool:
    """Whether a wording, or a word of it, is a medicine of the lists (which are read at the first dose)."""
    terms = lexicon().terms
    key = phrase_key(words)
    kind = terms.get(key, ("", ""))[0] or next((terms[part][0] for part in key.split() if part in terms), "")
    return kind == DRUG


def unread_number_spans(transcript: Transcript) -> Iterator[Span]:
    """Amounts in words that have no one reading ("ninety eighty percent", "two five milligrams")."""
    for match in _RUN.finditer(normalised(transcript.text)):
        if spoken(match[0].replace("-", " ")) is None:
            yield Span(*match.span())
