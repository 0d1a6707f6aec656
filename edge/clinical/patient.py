"""Who the patient is, as far as the visit says so: age, sex and the places of the name; a rule, no model.

A value is given only when words of the input state it of the patient: "a 58 year old male", "she's a 36-year-old",
"how old are you?" - "fifty eight", "mrs. Peterson", "he is doing well" in a clinician's dictation. Ages of relatives,
of the past ("since I was 13") and of things are passed over. Two different statements give None: nothing is guessed,
least of all a sex from a first name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from edge.clinical.age_words import MAX_AGE_YEARS, WORD_NUMBER, word_list, years_of
from edge.clinical.transcript import CLINICIAN, OTHER, PATIENT, Span, Transcript, Turn, parse_transcript

Sex = Literal["male", "female"]
_Value = TypeVar("_Value", int, Sex)

_NUMBER = rf"(?P<number>\d{{1,3}}|{WORD_NUMBER})"
_AGE = re.compile(
    rf"\b{_NUMBER}\s*-?\s*(?:(?P<unit>year|yr|month|week|day)s?\s*-?\s*old\b|(?P<short>y/o|yo|y\.o\.)(?!\w))",
    re.IGNORECASE,
)
_FORM_AGE = re.compile(rf"\b(?:age|aged)\s*(?:is|:|=)\s*{_NUMBER}\b(?!\s*(?:months?|weeks?|days?))", re.IGNORECASE)
_FORM_SEX = re.compile(r"\b(?:sex|gender)\s*(?:is|:|=)\s*(?P<sex>female|male|f|m)\b", re.IGNORECASE)
_CHART = re.compile(r"(?:^|(?<=[\s:]))(?P<number>\d{1,3}) ?(?:yo|y/o)? ?(?P<sex>[MF])(?=[\s,.]|$)")
_HOW_OLD = re.compile(
    r"\bhow old (?:are you|is he|is she|is the patient|r u)\b|\bwhat(?:'s| is) your age\b", re.IGNORECASE
)
_ANSWER = re.compile(
    rf"^\W*(?:(?:um|uh|oh|well|so|yes|yeah|i'm|i am|i just turned|he's|she's|he is|she is)\W+)*{_NUMBER}\b"
    r"(?!\s*(?:[-/]|percent|pounds|kilo|month|week|day))",
    re.IGNORECASE,
)
_PERSON: dict[str, Sex | None] = {
    "male": "male", "man": "male", "gentleman": "male", "boy": "male", "guy": "male", "fellow": "male",
    "female": "female", "woman": "female", "lady": "female", "girl": "female",
    "patient": None, "person": None, "individual": None, "child": None, "infant": None, "toddler": None, "baby": None,
}  # fmt: skip
_KIN = (
    r"mother|mom|mum|mommy|father|dad|daddy|brother|sister|sibling|son|daughter|kid|kids|child|children|wife|husband|"
    r"partner|spouse|boyfriend|girlfriend|fianc[eé]e?|aunt|uncle|cousin|grandm\w+|grandf\w+|grandpa|grandson|"
    r"granddaughter|grandkids?|eldest|oldest|youngest|other ones?|niece|nephew|friend|neighbou?r|roommate|boss|"
    r"co-?worker|in-law|twins?"
)
_OTHERS = re.compile(
    rf"\b(?:{_KIN}|doctor|dr|nurse|surgeon|therapist|provider|pcp|\w+ologist|pediatrician|midwife)\b", re.IGNORECASE
)
_KIN_WORD = re.compile(rf"\b(?:{_KIN})\b", re.IGNORECASE)
_PAST = re.compile(
    r"\b(?:when|since|until|till|before|after|at|from|was|were|by|almost|nearly|about|around|like|probably|over|under)"
    r"(?:\s+(?:i|he|she|you|they|we|the age of|age|maybe|about|a|an|was|were))*\s*$",
    re.IGNORECASE,
)
_TAIL = r"\s*(?:now |just |currently |only )?(?:an? )?(?:very |pleasant |\w+ly |elderly )*$"
_PRONOUN_IS = r"\b(?:i|he|she|you|patient|baby|infant|who)(?:\s*(?:'s|'m|'re|is|am|are))"
_COPULA = re.compile(rf"(?:{_PRONOUN_IS}|\bthis is|(?<!\bit )(?<!that )(?<!which )\bis){_TAIL}", re.IGNORECASE)
# An ulcer can be six weeks old: in weeks and months only a person counts.
_COPULA_OF_PERSON = re.compile(rf"{_PRONOUN_IS}{_TAIL}", re.IGNORECASE)
_STOP = re.compile(
    r"^(?:who|with|here|has|have|had|for|and|comes?|coming|presents?|presenting|is|was|that|in|on|of|to)$"
)
_TITLE = re.compile(
    r"\b(?P<title>mr|mrs|ms|miss|mister|missus)\b\s*\.?\s*(?P<name>[a-z][a-z'-]+(?-i:\s[A-Z][a-z'-]+)?)", re.IGNORECASE
)
_NO_NAME = frozenset(
    word_list(
        """
        a about again all an and angiogram angiography any anything arthrogram at but cholangiogram dose doses each
        elastography enterography every everything for her him i imaging in is it just me meals my of on one or out
        over right scan school so some spectroscopy that the their them there these they this those though to today
        too us venogram was we what when with work you your doing going feeling doctor dr how hi hello hey good nice
        morning afternoon evening well okay thanks thank come coming here sorry hear able sure fine great glad
        alright now still back everyone folks are day dad mom mum doc i'm am positive negative alert everybody
        ladies sir ma'am madam welcome buddy guys bud man see let tell having been not no yes yeah uh um what's
        dragon dax nurse
        """
    )
)
_BEFORE_TITLE = re.compile(
    r"(?:^|[,.?!;:\n]|\b(?:hi|hello|hey|morning|afternoon|evening|seeing|see|is|with|for|about|thanks|thank you|well|"
    r"right|okay|alright|so|are you|you|patient|name|time|and|care|bye|day))\W*$",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\b(?:(?P<male>sir)|(?P<female>ma'?am|madam))\b", re.IGNORECASE)
# What a clinician says to the recorder, not to the patient: there he and she are the patient.
_DICTATION = re.compile(
    r"\b(?:patient|date of birth|physical exam|past medical history|presents|denies|medical record|diagnosis|"
    r"dragon|dax|dictat\w+)\b",
    re.IGNORECASE,
)
_HE = re.compile(r"\b(?:(?P<male>he|him|his|himself)|(?P<female>she|her|hers|herself))\b", re.IGNORECASE)
_BODY: tuple[tuple[Sex, re.Pattern[str]], ...] = (
    (
        "female",
        re.compile(
            r"\b(?:my|your)(?: last| next| first)? (?:menstrual )?(?:periods?|cycles?|menses|uterus|ovar(?:y|ies)|"
            r"hysterectomy|pap smear|obgyn|ob-gyn|pregnanc(?:y|ies))\b(?! of)|"
            r"\b(?:i'm|i am|you're|you are|when i was) pregnant\b|"
            r"\blast menstrual period\b",
            re.IGNORECASE,
        ),
    ),
    (
        "male",
        re.compile(r"\b(?:my|your|on) prostate(?: exam| gland)?\b|\b(?:my|your) (?:testic\w+|scrotum|penis)\b", re.I),
    ),
)
_FULL_NAME = re.compile(
    r"\b(?:(?:this is|patient is)\s+(?P<name>[a-z][a-z'-]+\s[a-z][a-z'-]+)"
    r"(?=[\s,.]*(?:date of birth|dob|mrn\w*|medical record|(?:he|she)(?:'s| is)|his|her|who is|age)\b)"
    r"|(?:name is|name's|name:)\s+(?P<named>[a-z][a-z'-]+(?:\s[a-z][a-z'-]+)?))",
    re.IGNORECASE,
)
_INTRO_NAME = re.compile(
    rf"(?:^|[,.?!\n]|\b(?:so|okay|dragon|right|uh|um))\s*(?P<name>[a-z][a-z'-]+(?:\s[a-z][a-z'-]+)?)\s+is\s+an?\s+"
    rf"(?:\w+ ){{0,2}}?{_NUMBER}\s*-?\s*(?:year|month|week)",
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"(?:^|\b(?:well|so|okay)\W+)(?:hi|hey|hello|good morning|good afternoon|good evening)\W+(?:there\W+)?"
    r"(?P<name>[a-z][a-z'-]+)\b(?!\s*\.?\s+[a-z]+ologist)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class PatientContext:
    """age_years: completed years; sex: as stated; None where the visit does not say it, or says two things.

    name_spans: where the patient's name stands (for hiding it); evidence: the words that age and sex rest on.
    """

    age_years: int | None
    sex: Sex | None
    name_spans: tuple[Span, ...] = ()
    evidence: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Statement(Generic[_Value]):
    """One statement about the patient. value: years or a sex; span: the words."""

    value: _Value
    span: Span


def patient_context(text: str) -> PatientContext:
    """Age, sex and name places of the patient of a transcript or of a written case."""
    transcript = parse_transcript(text)
    ages: list[Statement[int]] = []
    stated: list[Statement[Sex]] = []
    for turn in transcript.turns:
        for said_age, said_sex in ages_in(transcript, turn):
            ages.append(said_age)
            stated += [said_sex] if said_sex else []
    ages += _answered_ages(transcript)
    form_ages, form_sexes = forms_in(text, at_head=True)
    ages, stated = ages + form_ages, stated + form_sexes
    titles, names = titles_in(transcript)
    age, age_spans = agreed(ages)
    guests = any(turn.speaker == OTHER for turn in transcript.turns)
    sexes = told_sexes(stated, titles, guests, lambda: _pronouns(transcript), lambda: bodily_in(transcript))
    sex, sex_spans = agreed(sexes)
    names += _names(transcript)
    evidence = tuple(sorted(set(age_spans) | set(sex_spans)))
    return PatientContext(age, sex, tuple(sorted(set(names))), evidence if age is not None or sex else ())


@dataclass(frozen=True)
class Introduction:
    """One sentence that presents a patient: name (lower case, "" if none), age and sex as far as it says them."""

    name: str
    age_years: int | None
    sex: Sex | None
    span: Span


def introductions(transcript: Transcript) -> tuple[Introduction, ...]:
    """Every presentation of a patient, in order: two different ones may mean two patients in one transcript."""
    found = []
    for turn in transcript.turns:
        words = transcript.words_of(turn)
        for match in (*_INTRO_NAME.finditer(words), *_FULL_NAME.finditer(words)):
            name = " ".join(part for part in _named(match)[1].lower().split() if part not in _NO_NAME)
            if name and not set(name.split()) & {*_PERSON, "she", "he", "it", "this", "mr", "mrs", "ms", "miss"}:
                found.append(Introduction(name, None, None, Span(turn.start + match.start(), turn.start + match.end())))
        for age, sex in ages_in(transcript, turn):
            found.append(Introduction("", age.value, sex.value if sex else None, age.span))
    return tuple(sorted(found, key=lambda item: item.span))


def forms_in(text: str, *, at_head: bool) -> tuple[list[Statement[int]], list[Statement[Sex]]]:
    """Ages and sexes of a written form ("Age: 58", "Sex: F"), and where the text begins a case, of its "58F"."""
    forms = [Statement(years_of(match["number"]), Span(*match.span())) for match in _FORM_AGE.finditer(text)]
    ages = [form for form in forms if 0 <= form.value <= MAX_AGE_YEARS]
    sexes = [Statement(_sex_of(match["sex"]), Span(*match.span())) for match in _FORM_SEX.finditer(text)]
    for match in _CHART.finditer(text) if at_head else ():
        # "58F" stands at the head of a written case; further down an F may be Fahrenheit.
        if match.start() >= 80:
            break
        if 0 < int(match["number"]) <= MAX_AGE_YEARS:
            ages.append(Statement(int(match["number"]), Span(*match.span("number"))))
            sexes.append(Statement(_sex_of(match["sex"]), Span(*match.span("sex"))))
    return ages, sexes


def _named(match: re.Match[str]) -> tuple[str, str]:
    """Group and words of the name that a pattern found (only _FULL_NAME has two groups)."""
    group = "name" if match["name"] else "named"
    return group, match[group]


def _sex_of(word: str) -> Sex:
    """ "F" or "female" against "M" or "male"."""
    return "female" if word.lower().startswith("f") else "male"


def agreed(statements: Sequence[Statement[_Value]]) -> tuple[_Value | None, list[Span]]:
    """The one value that all statements give, with their places; None when there is none or more than one."""
    values = {statement.value for statement in statements}
    return (statements[0].value if len(values) == 1 else None), [statement.span for statement in statements]


def ages_in(transcript: Transcript, turn: Turn) -> Iterator[tuple[Statement[int], Statement[Sex] | None]]:
    """Ages that a turn states of the patient, each with the sex that stands beside it, if any."""
    words = transcript.words_of(turn)
    for match in _AGE.finditer(words):
        in_years = bool(match["short"]) or match["unit"].lower() in ("year", "yr")
        years = years_of(match["number"]) if in_years else 0
        if match["unit"] and match["unit"].lower() == "month":
            years = years_of(match["number"]) // 12
        if years > MAX_AGE_YEARS:
            continue
        before = re.split(r"[.?!\n]", words[max(0, match.start() - 90) : match.start()])[-1]
        noun, sex, noun_end = _person_after(words, match.end())
        if noun == "kin" or _PAST.search(before):
            continue
        if turn.speaker == PATIENT and not noun and not re.search(r"\bi(?:'m| am)\b", before, re.IGNORECASE):
            continue  # a patient's "she is six weeks old" is about somebody else
        if _KIN_WORD.search(re.split(r",|\bso\b|\band\b", before)[-1]) and turn.speaker != OTHER:
            continue
        if not noun and not (_COPULA if in_years else _COPULA_OF_PERSON).search(before):
            continue
        start = turn.start + match.start()
        age = Statement(years, Span(start, turn.start + match.end()))
        yield age, Statement(sex, Span(start, turn.start + noun_end)) if sex else None


def _person_after(words: str, start: int) -> tuple[str, Sex | None, int]:
    """The person word among the next words of the sentence: (word, 'kin' or '', its sex, its end)."""
    noun, end = "", start
    for count, match in enumerate(re.finditer(r"[\w'-]+|[.?!,;\n]", words[start : start + 80])):
        word = match[0].lower()
        if count > 6 or word in ".?!;\n" or _STOP.match(word):
            break
        if word in _PERSON:
            noun, end = word, start + match.end()
            if _PERSON[word]:
                break
        elif not noun and _KIN_WORD.fullmatch(word):
            return "kin", None, end
    return noun, _PERSON.get(noun), end


def _answered_ages(transcript: Transcript) -> Iterator[Statement[int]]:
    """Ages in the answer to "how old are you?", which is the next turn of another speaker."""
    for turn, answer in zip(transcript.turns, transcript.turns[1:], strict=False):
        yield from answered_age(transcript, turn, answer)


def answered_age(transcript: Transcript, turn: Turn, answer: Turn) -> Iterator[Statement[int]]:
    """The age in a turn's answer, where the turn asks for it last."""
    asked = [match.end() for match in _HOW_OLD.finditer(transcript.words_of(turn))]
    if not asked or len(transcript.words_of(turn)) - asked[-1] > 40 or answer.speaker == turn.speaker != "":
        return
    found = _ANSWER.match(transcript.words_of(answer))
    if found and years_of(found["number"]) <= MAX_AGE_YEARS:
        start, end = found.span("number")
        yield Statement(years_of(found["number"]), Span(answer.start + start, answer.start + end))


def titles_in(transcript: Transcript, first: int = 0) -> tuple[list[Statement[Sex]], list[Span]]:
    """How the patient is titled (mr., mrs.) by the clinician or in a greeting, and the places of those names.

    first: index of the transcript's first turn in the visit that it was cut from.
    """
    statements, names = [], []
    for index, turn in enumerate(transcript.turns, first):
        if turn.speaker not in (CLINICIAN, "") and index > 2:
            continue
        words = transcript.words_of(turn)
        for match in _TITLE.finditer(words):
            before = words[max(0, match.start() - 40) : match.start()]
            if match["name"].lower() in _NO_NAME or not _BEFORE_TITLE.search(before) or _KIN_WORD.search(before[-20:]):
                continue
            sex: Sex = "male" if match["title"].lower() in ("mr", "mister") else "female"
            statements.append(Statement(sex, Span(turn.start + match.start(), turn.start + match.end())))
            names.append(Span(turn.start + match.start("name"), turn.start + match.end("name")))
    return statements, names


def told_sexes(
    stated: Sequence[Statement[Sex]],
    titles: Sequence[Statement[Sex]],
    guests: bool,
    pronouns: Callable[[], Sequence[Statement[Sex]]],
    bodily: Callable[[], Sequence[Statement[Sex]]],
) -> Sequence[Statement[Sex]]:
    """What the sex rests on: what is stated; without it what titles, the dictation's pronouns or the body say.

    guests: somebody came along, so that less is of the patient.
    """
    strong = [*stated, *(() if guests and stated else titles)]
    if strong or guests:
        return strong
    said = pronouns()
    return said if len(said) > 1 else bodily()


def _matches(transcript: Transcript, pattern: re.Pattern[str]) -> list[Statement[Sex]]:
    """Matches of a pattern with the groups male and female in what the clinician says."""
    found = []
    for turn in transcript.turns:
        for match in pattern.finditer(transcript.words_of(turn)) if turn.speaker == CLINICIAN else ():
            sex: Sex = "male" if match["male"] else "female"
            found.append(Statement(sex, Span(turn.start + match.start(), turn.start + match.end())))
    return found


def _pronouns(transcript: Transcript) -> list[Statement[Sex]]:
    """He and she of a clinician's turn that names no relative or colleague: the patient, in a dictation."""
    turns = [turn for turn in transcript.turns if turn.speaker == CLINICIAN]
    return [
        Statement(sex, Span(turn.start + start, turn.start + end))
        for turn in turns
        for sex, start, end in pronouns_in(transcript.words_of(turn))
    ]


def pronouns_in(words: str) -> list[tuple[Sex, int, int]]:
    """He and she of one turn of a clinician where they mean the patient, each with its place in the turn."""
    if not _DICTATION.search(words):
        return []
    return [
        ("male" if match["male"] else "female", *match.span())
        for match in _HE.finditer(words)
        if not _OTHERS.search(words, 0, match.start())
    ]


def bodily_in(transcript: Transcript) -> list[Statement[Sex]]:
    """Forms of address, and organs and cycles that are said to be the patient's own."""
    found = _matches(transcript, _ADDRESS)
    for turn in transcript.turns:
        words = transcript.words_of(turn)
        for sex, pattern in _BODY:
            for match in pattern.finditer(words):
                own = turn.speaker != PATIENT or not match[0].lower().startswith("your")
                if own:
                    found.append(Statement(sex, Span(turn.start + match.start(), turn.start + match.end())))
    return found


def _names(transcript: Transcript) -> list[Span]:
    """Places of the patient's name in introductions and greetings."""
    found = []
    for index, turn in enumerate(transcript.turns):
        words = transcript.words_of(turn)
        patterns = [_INTRO_NAME] if turn.speaker == PATIENT and index > 2 else [_INTRO_NAME, _FULL_NAME]
        for pattern in [*patterns, _GREETING] if index < 6 and turn.speaker in (CLINICIAN, "") else patterns:
            for match in pattern.finditer(words):
                group, name = _named(match)
                parts = name.lower().split()
                skip = 0
                while skip < len(parts) and (
                    parts[skip] in _NO_NAME or parts[skip] in _PERSON or parts[skip] in ("she", "he")
                ):
                    skip += 1
                if skip < len(parts) and parts[skip] not in ("mr", "mrs", "ms", "miss", "mister"):
                    start = match.start(group) + len(" ".join(parts[:skip])) + (1 if skip else 0)
                    found.append(Span(turn.start + start, turn.start + match.end(group)))
    return found
