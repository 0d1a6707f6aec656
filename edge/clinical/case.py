"""A case as it was written: findings with their place in the text, vital signs, history, age and sex.

Two forms are read. Listed: lines such as `Present: cough; fever`, `Absent: rash`, `Not sure: weight loss`,
`History: asthma`, `Vitals: temperature 38.2 C`, `Age: 45`, `Sex: female`. Free text: each sentence is cut into
clauses and every clause is a finding with its polarity (negation in the manner of NegEx, Chapman et al. 2001); a
question is none.

Nothing is corrected: a finding that is said to be both present and absent is kept twice and reported. A sentence that
gives orders to the reader is data of a wrong kind: it is reported and neither a finding nor part of what a model reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from edge.clinical.differential_prompt import render_findings, tidy
from edge.clinical.transcript import Span

GROUPS = {"present": True, "absent": False, "not sure": None, "unsure": None}
LABELS = (*GROUPS, "history", "vitals", "vital signs", "age", "sex")
_LABEL = re.compile(rf"^[ \t]*(?P<label>{'|'.join(LABELS)})[ \t]*:", re.IGNORECASE | re.MULTILINE)
_SENTENCE = re.compile(r"(?:[^.!?;\n]|(?<=\d)\.(?=\d)|(?<=\b[a-zA-Z])\.(?=[a-zA-Z]\.?))+[.!?;\n]*")
# A comma between digits belongs to a number; "and" and "but" start a new clause, "or" goes on with a list.
_CLAUSE = re.compile(r",(?!\d)|\b(?:and|but|or|nor|however|although|except(?: for)?|who|which)\b", re.IGNORECASE)
_NO = re.compile(
    r"^(?:(?:there|he|she|they|it|(?:the )?patient|but|and)\b ?)?"
    r"(?:(?:is|was|are|were|has|have|had)\b ?)?\b(?:no|nor)\b",
    re.IGNORECASE,
)
# What frames a finding and is none: who has it, that it was reported.
_FRAME = re.compile(
    r"^(?:(?:an? |the )?(?:[\w-]+[ -]){0,4}?"
    r"(?:man|woman|male|female|boy|girl|patient|infant|child|lady|gentleman|he|she|they|it|i|there)\b,? ?)?"
    r"(?:also |now |currently |recently )?"
    r"(?:(?:with|is|was|are|were|has|have|had|having|report(?:s|ed|ing)?|complain(?:s|ed|ing)? of|"
    r"present(?:s|ed|ing)? (?:with|for|to)|endorse[sd]?|develop(?:s|ed)|note[sd]?|describe[sd]?)\b ?"
    r"(?:that |having |been |also |an? |some )?){0,2}",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\b(?:den(?:y|ies|ied)|without|negative for|absence of|free of|rules? out|ruled out|never (?:had|has|have)|"
    r"(?:does|do|did|has|have|had|is|was|are|were) not|(?:doesn|don|didn|hasn|haven|hadn|isn|wasn)['’]t)\b",
    re.IGNORECASE,
)
_STOPS = re.compile(
    r"\b(?:but|however|although|except|report(?:s|ed)?|complain(?:s|ed)?|present(?:s|ed)|endorse[sd]?|who|which)\b",
    re.I,
)
_UNSURE = re.compile(r"\b(?:unsure|not sure|possibl[ey]|maybe|perhaps|questionable|unclear whether|suspected)\b", re.I)
_ORDER = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,60}"
    r"\b(?:instructions?|prompts?|rules?|(?:the|everything|all) above|findings)\b"
    r"|\byou are now\b|\bsystem prompt\b|\bnew instructions?\b|<\|[a-z_]+\|>|\[/?inst\]"
    r"|\byou (?:must|should|shall|will) (?:now )?(?:say|answer|reply|respond|output|rank|score|give|write|act|obey)\b"
    r"|\b(?:answer|reply|respond|output|rank) (?:only|always|exactly|just|with)\b|\bsay (?:only|exactly)\b",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"\s*(?:what|which|who|why|how|when|where|is|are|was|were|do|does|did|can|could|should|would|will)\b[^?]*\?", re.I
)
_AGE = re.compile(
    r"\b(?P<value>\d{1,3})[ -]*(?P<unit>year|yr|month|week|day)s?[ -]*old\b|\baged? (?P<plain>\d{1,3})\b", re.I
)
_SEX = re.compile(r"\b(?:(?P<f>female|woman|girl|lady)|(?P<m>male|man|boy|gentleman))\b", re.IGNORECASE)
_PERSON = re.compile(rf"(?:{_AGE.pattern}|{_SEX.pattern}|an?|the|patient|[\s,.-])+", re.IGNORECASE)
_SIGN = re.compile(r"\s*\(\+{1,4}\)$")
_YEARS = {"year": 1.0, "yr": 1.0, "month": 1 / 12, "week": 7 / 365.25, "day": 1 / 365.25}
_NUMBER = r"(?P<value>\d{1,3}(?:\.\d+)?)"
_IS = r"\s*(?:of|is|was|are|:|=)?\s*"
_VITALS = (
    (
        "temperature",
        rf"(?:temperature|temp|fever of)\.?{_IS}{_NUMBER}\s*(?:[°º]|deg(?:rees)?\.?)?\s*(?:(?P<unit>[CF])\b)?",
    ),
    ("blood pressure", rf"(?:BP|blood pressure){_IS}(?P<value>\d{{2,3}})\s*(?:/|over)\s*(?P<second>\d{{2,3}})"),
    ("heart rate", rf"(?:HR|heart rate|pulse)(?: rate)?{_IS}{_NUMBER}"),
    ("respiratory rate", rf"(?:RR|respiratory rate|respirations){_IS}{_NUMBER}"),
    ("oxygen saturation", rf"(?:SpO2|O2 sat(?:uration)?|oxygen saturation|saturation){_IS}{_NUMBER}\s*%?"),
)
_VITAL_PATTERNS = tuple((name, re.compile(rf"\b{pattern}", re.IGNORECASE)) for name, pattern in _VITALS)
VITAL_NAMES = tuple(name for name, _ in _VITALS)


@dataclass(frozen=True)
class CaseNotice:
    """Something the reader must know. code: stable, for programs; text: one sentence; spans: where, in the input."""

    code: str
    text: str
    spans: tuple[Span, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "code": self.code,
            "text": self.text,
            "spans": [{"start": span.start, "end": span.end} for span in self.spans],
        }


@dataclass(frozen=True)
class Finding:
    """name: the words without their negation. present: None where the text is not sure. span: into Case.text."""

    name: str
    present: bool | None
    span: Span


@dataclass(frozen=True)
class Vital:
    """A measured vital sign: value as written; unit '' where none was written; second: diastolic pressure."""

    name: str
    value: float
    unit: str
    second: float | None
    span: Span


@dataclass(frozen=True)
class Case:
    """One patient's case. text: exactly what spans point into. prompt_text: what a model reads of it."""

    text: str
    findings: tuple[Finding, ...]
    prompt_text: str
    vitals: tuple[Vital, ...] = ()
    history: tuple[Finding, ...] = ()
    age_years: float | None = None
    sex: str | None = None
    listed: bool = False
    notices: tuple[CaseNotice, ...] = field(default=())

    @property
    def evidence(self) -> tuple[Finding, ...]:
        """Findings, history and what the vital signs mean: all that may support an option or speak against it."""
        measured = (Finding(name, True, vital.span) for vital in self.vitals for name in meaning(vital))
        return (*self.findings, *self.history, *measured)


def meaning(vital: Vital) -> tuple[str, ...]:
    """Findings that an adult's vital sign is by common thresholds, or ().

    Fever from 38.0 C, heart rate above 100/min, breaths above 20/min, SpO2 below 92 %, blood pressure from 140/90 or
    below 90 mmHg systolic.
    """
    value, second = vital.value, vital.second or 0.0
    if vital.name == "temperature":
        celsius = (value - 32) / 1.8 if vital.unit == "F" or value > 60 else value
        return ("fever",) if celsius >= 37.995 else ()
    if vital.name == "blood pressure":
        if value >= 140 or second >= 90:
            return ("high blood pressure",)
        return ("low blood pressure",) if value < 90 else ()
    if vital.name == "heart rate":
        return ("tachycardia",) if value > 100 else ()
    if vital.name == "respiratory rate":
        return ("tachypnea",) if value > 20 else ()
    return ("low oxygen saturation",) if value < 92 else ()


def instructions_in(text: str) -> tuple[Span, ...]:
    """Sentences that give orders to whoever reads them."""
    return tuple(_stripped(text, Span(*one.span())) for one in _SENTENCE.finditer(text) if _ORDER.search(one.group()))


def without_spans(text: str, spans: Sequence[Span]) -> str:
    """The text without some of its spans; '' when nothing but punctuation is left."""
    for span in sorted(spans, reverse=True):
        text = text[: span.start] + text[span.end :]
    left = re.sub(r"(?<=[.!?])[ \t]+[.;!?]+", "", text).strip()
    return left if left.strip(" .;!?") else ""


def case_from_findings(
    explicit: Iterable[tuple[str, bool | None]], implicit: Iterable[tuple[str, bool | None]] = ()
) -> Case:
    """A case from findings with their polarity, told first (explicit) and on being asked (implicit).

    Its text is the canonical one (`render_findings`), the same that training reads.
    """
    told = [*explicit, *implicit]
    groups = [[name for name, value in told if value is wanted] for wanted in (True, False, None)]
    return case_from_text(render_findings(*groups))


def case_from_text(text: str) -> Case:
    """Read a case; any text gives a case, an empty one without findings and with a notice."""
    listed = _LABEL.search(text) is not None
    findings: list[Finding] = []
    history: list[Finding] = []
    orders: list[Span] = []
    blocks = list(_blocks(text)) if listed else [("", Span(0, len(text)))]
    for label, block in blocks:
        if label in GROUPS:
            findings += _items(text, block, GROUPS[label], orders)
        elif label == "history":
            history += _items(text, block, True, orders)
        elif not label:
            findings += _clauses(text, block, orders)
    vitals = tuple(_vitals(text))
    age, sex = _age(text), _sex(text)
    kept = tuple(finding for finding in findings if not any(_inside(finding.span, vital.span) for vital in vitals))
    prompt = _listed_prompt(text, blocks, kept, history) if listed else without_spans(text, orders)
    notices = tuple(_notices(text, kept, history, orders))
    return Case(text, kept, prompt, vitals, tuple(history), age, sex, listed, notices)


# ---- the listed form ------------------------------------------------------------------------------------


def _blocks(text: str) -> Iterator[tuple[str, Span]]:
    """(label in small letters, span of what follows it); text before the first label has the label ''."""
    marks = list(_LABEL.finditer(text))
    if text[: marks[0].start()].strip():
        yield "", Span(0, marks[0].start())
    for index, mark in enumerate(marks):
        end = marks[index + 1].start() if index + 1 < len(marks) else len(text)
        # A list ends with its line; what follows without a label is free text again.
        line_end = text.find("\n", mark.end(), end)
        stop = end if line_end < 0 else line_end
        yield mark["label"].lower(), Span(mark.end(), stop)
        if text[stop:end].strip():
            yield "", Span(stop, end)


def _items(text: str, block: Span, present: bool | None, orders: list[Span]) -> Iterator[Finding]:
    body = block.of(text)
    separator = ";" if ";" in body else ","
    start = block.start
    for piece in body.split(separator):
        span = _stripped(text, Span(start, start + len(piece)))
        start += len(piece) + 1
        if _ORDER.search(span.of(text)):
            orders.append(span)
        elif name := tidy(span.of(text)):
            yield Finding(name, present, span)


def _listed_prompt(
    text: str, blocks: Sequence[tuple[str, Span]], findings: Sequence[Finding], history: Sequence[Finding]
) -> str:
    lines = []
    for label in ("age", "sex", "vitals", "vital signs"):
        lines += [f"{label.capitalize()}: {tidy(span.of(text))}" for name, span in blocks if name == label]
    if history:
        lines.append("History: " + "; ".join(dict.fromkeys(item.name for item in history)))
    groups = [[item.name for item in findings if item.present is wanted] for wanted in (True, False, None)]
    return "\n".join(line for line in (*lines, render_findings(*groups)) if line)


# ---- free text ------------------------------------------------------------------------------------------


def _clauses(text: str, block: Span, orders: list[Span]) -> Iterator[Finding]:
    for sentence in _SENTENCE.finditer(text, block.start, block.end):
        span = Span(*sentence.span())
        if _ORDER.search(sentence.group()):
            orders.append(_stripped(text, span))
            continue
        if _QUESTION.match(sentence.group()):
            continue
        yield from _of_sentence(text, span)


def _of_sentence(text: str, sentence: Span) -> list[Finding]:
    """Findings of one sentence. A negation goes on through the list behind it, to a word that ends it."""
    cuts = [Span(*cut.span()) for cut in _CLAUSE.finditer(text, sentence.start, sentence.end)]
    edges = [sentence.start, *(cut.end for cut in cuts), sentence.end]
    joins = ["", *(cut.of(text).lower() for cut in cuts)]
    last_or = max((index for index, join in enumerate(joins) if join in ("or", "nor")), default=-1)
    found: list[Finding] = []
    state = ""  # "list": a denied list, up to its end; "no": one that lasts only to the last "or"
    for index, join in enumerate(joins):
        stop = cuts[index].start if index < len(cuts) else sentence.end
        span = _stripped(text, Span(edges[index], stop))
        words = span.of(text)
        if _STOPS.search(join) or _STOPS.search(words) or (state == "no" and index > last_or):
            state = ""
        denied = _DENIES.search(words)
        if no := _NO.match(words):
            state = "no" if state != "list" else state
            name = words[no.end() :]
        elif denied:
            state = "list"
            name = words[denied.end() :] if words[denied.end() :].strip() else words
        else:
            name = words
        if join == "and" and state == "no" and not no and index > last_or:
            state = ""
        if not name.strip():
            continue
        at = span.start + words.rfind(name)
        at += _frame_end(name)
        span = _stripped(text, Span(at, span.end))
        name = span.of(text)
        if _PERSON.fullmatch(name):
            continue
        if name.endswith("(-)"):  # how eye and physical examinations write "absent"
            absent, name = True, name.removesuffix("(-)")
        else:
            absent, name = bool(state), _SIGN.sub("", name)
        doubt = _UNSURE.search(words) or sentence.of(text).rstrip().endswith("?")
        if cleaned := tidy(_UNSURE.sub(" ", name)):
            found.append(Finding(cleaned, None if doubt else not absent, span))
    return found


def _frame_end(name: str) -> int:
    """Characters of `name` that only frame the finding; 0 where nothing else would be left."""
    frame = _FRAME.match(name)
    return frame.end() if frame and name[frame.end() :].strip(" .") else 0


def _stripped(text: str, span: Span) -> Span:
    """Without spaces and closing punctuation at its edges."""
    words = span.of(text)
    left = len(words) - len(words.lstrip())
    right = len(words.rstrip(" \t\r\n.;,!?"))
    return Span(span.start + min(left, right), span.start + right)


def _inside(inner: Span, outer: Span) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end


# ---- vital signs, age, sex --------------------------------------------------------------------------------


def _vitals(text: str) -> Iterator[Vital]:
    for name, pattern in _VITAL_PATTERNS:
        for match in pattern.finditer(text):
            groups = match.groupdict()
            second = groups.get("second")
            unit = (groups.get("unit") or "").upper()
            yield Vital(name, float(match["value"]), unit, float(second) if second else None, Span(*match.span()))


def _age(text: str) -> float | None:
    if line := re.search(r"^[ \t]*age[ \t]*:[ \t]*(\d{1,3})\b", text, re.IGNORECASE | re.MULTILINE):
        return float(line[1])
    match = _AGE.search(text)
    if match is None:
        return None
    return float(match["plain"]) if match["plain"] else float(match["value"]) * _YEARS[match["unit"].lower()]


def _sex(text: str) -> str | None:
    match = _SEX.search(text)
    if match is None:
        return None
    return "female" if match["f"] else "male"


# ---- what the reader is told ------------------------------------------------------------------------------


def _notices(
    text: str, findings: Sequence[Finding], history: Sequence[Finding], orders: Sequence[Span]
) -> Iterator[CaseNotice]:
    if not text.strip():
        yield CaseNotice("empty", "The input is empty: nothing was compared.")
    elif not findings and not history:
        yield CaseNotice("no-findings", "No finding was read from the input.")
    if orders:
        yield CaseNotice(
            "instruction",
            "The input holds text that reads like an instruction. It was left out and not followed.",
            tuple(orders),
        )
    said: dict[str, list[Finding]] = {}
    for finding in findings:
        said.setdefault(finding.name.casefold(), []).append(finding)
    for same in said.values():
        if {True, False} <= {finding.present for finding in same}:
            yield CaseNotice(
                "contradiction",
                "A finding is said to be both present and absent.",
                tuple(finding.span for finding in same),
            )
