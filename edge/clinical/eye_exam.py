"""An eye examination in words as structure: visual acuity, pressure, cup-to-disc ratio, pupils and findings by eye.

The eye of a value is the mention that stands with it in its sentence ("OD 24", "24 OD"), else the last eye that was
named; a value of which neither tells has no eye, it is never assumed. OD, OS, OU (and RE, LE) count only in capitals:
"od" is also a dose. Every value has its span in the input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge.clinical.case import Case, CaseNotice, Finding
from edge.clinical.transcript import Span

OD, OS, OU = "OD", "OS", "OU"
RAISED_MMHG, VERY_HIGH_MMHG, LOW_MMHG = 21.0, 40.0, 6.0
REDUCED_DECIMAL, LARGE_CUP = 0.5, 0.6
_EYE = re.compile(
    r"(?P<both>\bOU\b|\b[Bb]oth (?:eyes?|upper|lower|lids|pupils|corneas|discs|optic|fundi)\b|\b[Bb]ilateral(?:ly)?\b|"
    r"\b[Ee]ither eye\b)|"
    r"(?P<right>\bOD\b|\bRE\b|\b[Rr]ight(?:[ -](?:eye|upper|lower|lid|eyelid|pupil|cornea|fundus|disc|optic))?\b)|"
    r"(?P<left>\bOS\b|\bLE\b|\b[Ll]eft(?:[ -](?:eye|upper|lower|lid|eyelid|pupil|cornea|fundus|disc|optic))?\b)"
)
_SENTENCE = re.compile(r"(?:[^.;?!\n]|\.(?=\d)|(?<=\d)\.(?=\S))+")
_KEYS = re.compile(
    r"(?P<va>\b(?:BCVA|UCVA|V\.?A\.?|visual acuit(?:y|ies)|vision|acuity)(?=[\s:=,])|\bV/A\b)|"
    r"(?P<iop>\b(?:IOP|intraocular pressures?|eye pressures?|tensions?|Tn|Ta)\b)|"
    r"(?P<cd>\b(?:C/D|C:D|CDR|cup[- ](?:to[- ])?disc)(?: ratio)?s?\b)|"
    r"(?P<other>\b(?:fundus|slit[- ]lamp|cornea|pupils?)\b)",
    re.IGNORECASE,
)
_VA = re.compile(
    r"(?P<snellen>\b(?:20/\d{2,4}|6/\d{1,3}(?:\.\d)?)\b(?:[+-]\d)?)|"
    r"(?P<none>\bNLP\b|\bno light perception\b)|(?P<hm>\bHM\b|\bhand (?:motions?|movements?)\b)|"
    r"(?P<cf>\bCF\b|\bFC\b|\bcount(?:ing)? fingers\b|\bfinger count(?:ing)?\b)|(?P<lp>\bLP\b|\blight perception\b)|"
    r"(?P<decimal>(?<![\d./])(?:0\.\d{1,2}|[12]\.\d)(?![\d/]))",
    re.IGNORECASE,
)
_IOP = re.compile(
    r"(?<![\d./+-])(?P<value>\d{1,2}(?:\.\d)?)(?![\d/%]|\.\d)(?!\s*(?:days?|weeks?|months?|years?|hours?|mm\b))"
)
_IOP_PAIR = re.compile(r"(?<![\d./])(?P<right>\d{1,2})\s*/\s*(?P<left>\d{1,2})(?![\d/])")
_CD = re.compile(r"(?<![\d.])(?P<value>[01]?\.\d{1,2})(?!\d)")
_RAPD = re.compile(
    r"\b(?:RAPD|APD|(?:relative )?afferent pupillary defect|Marcus[- ]Gunn(?: pupil)?)\b(?:\s*\((?P<sign>[+-])\))?",
    re.I,
)
_NO = re.compile(r"\b(?:no|not|without|negative|denies|absent)\b[^,;]{0,20}$|[-(]\s*$", re.IGNORECASE)
_PARTS = (
    ("pupils", re.compile(r"\bpupil|\bRAPD\b|\bAPD\b|anisocoria|light reaction", re.I)),
    (
        "slit lamp",
        re.compile(
            r"\bcornea|anterior chamber|\biris\b|\blens\b|conjunctiv|keratic|\bKPs?\b|flare|hypopyon|hyphema|cataract|"
            r"sclera|epithel",
            re.I,
        ),
    ),
    ("fundus", re.compile(r"fundus|\bdisc\b|retin|macul|vitre|fovea|drusen|C/D|cup|optic nerve|choroid", re.I)),
    ("lids", re.compile(r"\blids?\b|eyelid|lash|lacrimal|punctum|ptosis|proptosis", re.I)),
    ("motility", re.compile(r"motility|eye movement|ductions|abduction|adduction|diplopia|double vision", re.I)),
)


@dataclass(frozen=True)
class EyeValue:
    """kind: visual acuity, IOP (number in mmHg) or C/D. eye: OD, OS, OU or None. number: VA as a decimal, 0 for NLP."""

    kind: str
    eye: str | None
    value: str
    number: float
    span: Span

    def to_json(self) -> dict[str, object]:
        """Plain JSON types."""
        unit = {"unit": "mmHg"} if self.kind == "IOP" else {}
        where = {"start": self.span.start, "end": self.span.end}
        return {"kind": self.kind, "eye": self.eye, "value": self.value, "number": self.number, **unit, **where}


@dataclass(frozen=True)
class EyeFinding:
    """A finding with its eye and the part of the examination that it belongs to ('' when neither is told)."""

    finding: Finding
    eye: str | None
    part: str

    def to_json(self) -> dict[str, object]:
        """Plain JSON types."""
        one = self.finding
        where = {"start": one.span.start, "end": one.span.end}
        return {"name": one.name, "present": one.present, "eye": self.eye, "part": self.part, **where}


@dataclass(frozen=True)
class EyeExam:
    """values: numbers as written. findings: those of the case and those that the numbers mean."""

    values: tuple[EyeValue, ...]
    findings: tuple[EyeFinding, ...]
    notices: tuple[CaseNotice, ...]

    def to_json(self) -> dict[str, object]:
        """Plain JSON types."""
        return {"values": [one.to_json() for one in self.values], "findings": [one.to_json() for one in self.findings]}

    def eye_of(self, finding: Finding) -> str | None:
        """The eye of a finding of this exam."""
        return next((one.eye for one in self.findings if one.finding == finding), None)


def read_exam(case: Case) -> EyeExam:
    """The examination in a case's text."""
    text = case.text
    eyes = _EyeMap(text)
    values = tuple(sorted(_values(text, eyes), key=lambda one: (one.span, one.kind)))
    rapd = list(_rapd(text, eyes))
    taken = [*(one.finding.span for one in rapd), *(value.span for value in values)]
    plain = [
        EyeFinding(one, eyes.at(one.span), _part(one.span.of(text)))
        for one in case.evidence
        # A clause that holds a value is that value; it is no finding in words beside it.
        if not any(span.start < one.span.end and one.span.start < span.end for span in taken)
    ]
    meant = [
        EyeFinding(Finding(name, present, value.span), value.eye, _part_of_value(value))
        for value in values
        for name, present in meanings(value)
    ]
    return EyeExam(values, (*plain, *rapd, *meant), tuple(_contradictions(values)))


def meanings(value: EyeValue) -> tuple[tuple[str, bool], ...]:
    """(finding, present) that a value means by common thresholds; see benchmarks/knowledge/eye.yaml."""
    number = value.number
    if value.kind == "IOP":
        raised = number > RAISED_MMHG
        told = [("raised eye pressure", raised), ("normal eye pressure", LOW_MMHG <= number <= RAISED_MMHG)]
        if number >= VERY_HIGH_MMHG:
            told.append(("very high eye pressure", True))
        if number < LOW_MMHG:
            told.append(("low eye pressure", True))
        return tuple(told)
    if value.kind == "C/D":
        return (("large cup-to-disc ratio", number >= LARGE_CUP),)
    told = [("reduced vision", number < REDUCED_DECIMAL), ("normal vision", number >= 0.8)]
    return (*told, ("severe vision loss", True)) if number <= 0.02 else tuple(told)


class _EyeMap:
    """Which eye a place of the text speaks of."""

    def __init__(self, text: str) -> None:
        self.mentions = [(Span(*one.span()), _eye(one)) for one in _EYE.finditer(text)]
        self.sentences = [Span(*one.span()) for one in _SENTENCE.finditer(text)]

    def within(self, span: Span) -> list[tuple[Span, str]]:
        """Mentions inside a span."""
        return [(at, eye) for at, eye in self.mentions if span.start <= at.start and at.end <= span.end]

    def sentence(self, place: int) -> Span:
        """The sentence of a place."""
        return next((one for one in self.sentences if one.start <= place < one.end), Span(place, place))

    def at(self, span: Span) -> str | None:
        """Of a finding: named in it, before it in its sentence, behind it in its sentence, or the last one named."""
        inside = {eye for _, eye in self.within(span)}
        if inside:
            return next(iter(inside)) if len(inside) == 1 else OU
        sentence = self.sentence(span.start)
        before = self.within(Span(sentence.start, span.start))
        after = self.within(Span(span.end, sentence.end))
        chosen = before[-1:] or after[:1]
        return chosen[0][1] if chosen else self.carried(sentence)

    def carried(self, sentence: Span) -> str | None:
        """The eye that the last sentence with a mention speaks of, when that is one eye only."""
        for earlier in reversed([one for one in self.sentences if one.end <= sentence.start]):
            if eyes := {eye for _, eye in self.within(earlier)}:
                return next(iter(eyes)) if len(eyes) == 1 else None
        return None


def _eye(match: re.Match[str]) -> str:
    return OU if match["both"] else OD if match["right"] else OS


def _values(text: str, eyes: _EyeMap) -> Iterator[EyeValue]:
    for sentence in eyes.sentences:
        keys = list(_KEYS.finditer(text, sentence.start, sentence.end))
        for index, key in enumerate(keys):
            end = keys[index + 1].start() if index + 1 < len(keys) else sentence.end
            kind = key.lastgroup or "other"
            if kind != "other":
                yield from _in_region(text, kind, Span(key.end(), end), key.start(), sentence, eyes)


def _in_region(text: str, kind: str, region: Span, key: int, sentence: Span, eyes: _EyeMap) -> Iterator[EyeValue]:
    if kind == "iop" and (pair := _IOP_PAIR.search(text, region.start, region.end)):
        # "IOP 16/18": by convention the right eye first.
        for side, name in ((OD, "right"), (OS, "left")):
            yield EyeValue("IOP", side, pair[name], float(pair[name]), Span(*pair.span(name)))
        return
    pattern = {"va": _VA, "iop": _IOP, "cd": _CD}[kind]
    found = list(pattern.finditer(text, region.start, region.end))
    if not found:
        return
    mentions = eyes.within(region)
    behind = bool(mentions) and mentions[0][0].start > found[0].start()  # "24 OD, 18 OS"
    before = eyes.within(Span(sentence.start, key))
    around = before[-1][1] if before else eyes.carried(sentence)
    if behind and before and len(found) == 1:
        behind = False  # "Left eye VA 0.6, right eye normal": the mention before the value is its own
    for one in found:
        if behind:
            named = [name for at, name in mentions if at.start >= one.end()][:1]
        else:
            named = [name for at, name in mentions if at.end <= one.start()][-1:]
        eye = named[0] if named else around
        value, number = _number(kind, one)
        yield EyeValue({"va": "visual acuity", "iop": "IOP", "cd": "C/D"}[kind], eye, value, number, Span(*one.span()))


def _number(kind: str, match: re.Match[str]) -> tuple[str, float]:
    if kind != "va":
        return match["value"], float(match["value"])
    words = {"none": ("NLP", 0.0), "lp": ("LP", 0.002), "hm": ("HM", 0.005), "cf": ("CF", 0.014)}
    if match.lastgroup in words:
        return words[match.lastgroup]
    if match["snellen"]:
        above, below = re.split(r"[+-]", match["snellen"])[0].split("/")
        return match["snellen"], round(float(above) / max(float(below), 0.1), 3)
    return match["decimal"], float(match["decimal"])


def _rapd(text: str, eyes: _EyeMap) -> Iterator[EyeFinding]:
    for match in _RAPD.finditer(text):
        sentence = eyes.sentence(match.start())
        denied = match["sign"] == "-" or _NO.search(text[sentence.start : match.start()]) is not None
        span = Span(*match.span())
        finding = Finding("relative afferent pupillary defect", not denied, span)
        after = eyes.within(Span(span.end, sentence.end))
        near = [eye for at, eye in after if at.start - span.end <= 12]
        eye = eyes.at(span) if finding.present or eyes.within(sentence) else None
        yield EyeFinding(finding, near[0] if near else eye, "pupils")


def _part(words: str) -> str:
    return next((name for name, pattern in _PARTS if pattern.search(words)), "")


def _part_of_value(value: EyeValue) -> str:
    return {"C/D": "fundus"}.get(value.kind, value.kind)


def _contradictions(values: Sequence[EyeValue]) -> Iterator[CaseNotice]:
    """One kind of value told twice of one eye with different numbers."""
    told: dict[tuple[str, str], list[EyeValue]] = {}
    for one in values:
        if one.eye:
            told.setdefault((one.kind, one.eye), []).append(one)
    for (kind, eye), same in sorted(told.items()):
        if len({one.number for one in same}) > 1:
            yield CaseNotice(
                "contradiction", f"More than one {kind} is given for {eye}.", tuple(one.span for one in same)
            )
