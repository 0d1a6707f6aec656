"""What is typical of a condition, and how a case compares with it: rules and tables, no model.

A typical finding is met by a finding of the case that holds all its words, after synonyms ("dyspnea" is "shortness of
breath"), American spelling and simple stems. Rare findings weigh more than those of many conditions (inverse document
frequency over the table). The result names spans of the input only; it is no probability.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from edge.clinical.case import Case, Finding
from edge.clinical.icd10 import DATA, IcdTable, name_key, plain_name
from edge.errors import BundleError

GENERAL, EYE = "conditions.json", "eye_conditions.json"
AGAINST_WEIGHT = 0.5
MET_LIKENESS = 0.9  # of a typical finding that is met with further words around it
LEAST_FIT = 2.0  # sum of weights below which a condition is no candidate of an open question
_WORD = re.compile(r"[a-z0-9]+(?:['’]s)?")
_NOT = re.compile(r"^(?:no|not|without|never|denies|absence of)\s+", re.IGNORECASE)
_NORMAL = re.compile(r"^(?:no|not|without|normal|full|open|quiet|clear|painless)\b", re.IGNORECASE)
_STOP = frozenset(
    {"a", "an", "and", "are", "at", "by", "for", "from", "has", "have", "in", "is", "of", "on", "or", "s", "the"}
    | {"to", "was", "with", "my", "his", "her", "their", "some", "very", "mild", "moderate"}
)


@dataclass(frozen=True)
class Typical:
    """A typical finding: its first phrase is shown; each alternative is a set of stems. negated: "no discharge"."""

    phrase: str
    stems: tuple[frozenset[str], ...]
    weight: float
    negated: bool


@dataclass(frozen=True)
class Condition:
    """sides: characters that follow the code for the right, the left and both eyes, or ''."""

    name: str
    also: tuple[str, ...]
    icd10: str
    sides: str
    source: str
    findings: tuple[Typical, ...]
    history: tuple[Typical, ...]


@dataclass(frozen=True)
class Match:
    """A finding of the case and the typical finding that it meets or denies."""

    finding: Finding
    typical: str
    weight: float


@dataclass(frozen=True)
class Fit:
    """A case against one condition. missing: typical findings of which the case says nothing, weightiest first.

    score: weights met minus AGAINST_WEIGHT of those denied. share: score over the weights of all typical findings,
    -1 to 1. likeness: for comparing candidates only: each finding of the case by its nearest typical finding, the
    words in common over all words of both times the weight, less AGAINST_WEIGHT of that where it is absent.
    """

    condition: Condition
    supports: tuple[Match, ...]
    against: tuple[Match, ...]
    missing: tuple[str, ...]
    score: float
    share: float
    likeness: float


class KnowledgeTable:
    """Conditions of one table file."""

    def __init__(self, value: Any) -> None:
        if value.get("version") != 1:
            raise BundleError("a table of conditions of an unknown version", mend="update edge")
        self.stems = lru_cache(maxsize=4096)(self._stems)  # a case's findings are read once, not once a condition
        self._groups = {member.lower(): group[0].lower() for group in value["same"] for member in group}
        longest = sorted(self._groups, key=lambda member: (-len(member), member))
        self._same = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest))})\b")
        self.conditions = self._read(value["conditions"])

    def _read(self, rows: Sequence[Any]) -> tuple[Condition, ...]:
        sets = {
            id(row): [[self._typical(group) for group in row[kind]] for kind in ("findings", "history")] for row in rows
        }
        frequency: Counter[frozenset[str]] = Counter()
        for lists in sets.values():
            frequency.update({stems for groups in lists for _, found, _ in groups for stems in found})

        def weighed(groups: Sequence[tuple[str, tuple[frozenset[str], ...], bool]]) -> tuple[Typical, ...]:
            return tuple(
                Typical(phrase, stems, math.log((len(rows) + 1) / max(frequency[one] for one in stems)), negated)
                for phrase, stems, negated in groups
            )

        return tuple(
            Condition(
                row["name"],
                tuple(row["also"]),
                row["icd10"],
                row.get("sides", ""),
                row["source"],
                weighed(sets[id(row)][0]),
                weighed(sets[id(row)][1]),
            )
            for row in rows
        )

    def _typical(self, group: Sequence[str]) -> tuple[str, tuple[frozenset[str], ...], bool]:
        negated = _NOT.match(group[0]) is not None
        stems = (self.stems(_NOT.sub("", phrase)) for phrase in group)
        return group[0], tuple(dict.fromkeys(one for one in stems if one)), negated

    def _stems(self, phrase: str) -> frozenset[str]:
        """The words of a phrase that carry it, in one form for all its synonyms."""
        text = self._same.sub(lambda match: self._groups[match.group()], _american(phrase.lower()))
        return frozenset(_stem(word) for word in _WORD.findall(text) if word not in _STOP)

    @cached_property
    def _by_name(self) -> dict[str, Condition]:
        named = [(name, one) for one in self.conditions for name in (*one.also, one.name)]
        return {name_key(name): condition for name, condition in named}

    def named(self, name: str, codes: IcdTable) -> Condition | None:
        """The condition of a name, or of another name with its code or its code's category; else None."""
        for spelled in (name, plain_name(name)):
            if known := self._by_name.get(name_key(spelled)):
                return known
        code = codes.code_for(name)
        if code is None:
            return None
        exact = [one for one in self.conditions if one.icd10 == code.code]
        alike = exact or [one for one in self.conditions if one.icd10.startswith(code.code)]
        return alike[0] if len(alike) == 1 else None

    def fit(self, case: Case, condition: Condition) -> Fit:
        """Compare a case with what is typical of a condition."""
        read = [(finding, self.stems(_NOT.sub("", finding.name)), _polarity(finding)) for finding in case.evidence]
        supports: list[Match] = []
        against: list[Match] = []
        missing: list[tuple[float, str]] = []
        for typical in condition.findings:
            met = [(finding, said) for finding, stems, said in read if any(one <= stems for one in typical.stems)]
            wanted = not typical.negated
            for finding, said in met:
                if said is not None:
                    (supports if said is wanted else against).append(Match(finding, typical.phrase, typical.weight))
            if not met and not typical.negated:
                missing.append((-typical.weight, typical.phrase))
        for typical in condition.history:  # a risk that is not there speaks against nothing
            met = [(finding, said) for finding, stems, said in read if any(one <= stems for one in typical.stems)]
            supports += [Match(finding, typical.phrase, typical.weight / 2) for finding, said in met if said]
        score = _sum(supports) - AGAINST_WEIGHT * _sum(against)
        total = sum(typical.weight for typical in condition.findings) or 1.0
        told = tuple(phrase for _, phrase in sorted(missing, key=lambda item: item[0]))
        share = max(-1.0, min(1.0, score / total))
        likeness = sum(_likeness(stems, said, condition) for _, stems, said in read)
        return Fit(condition, tuple(supports), tuple(against), told, score, share, likeness)

    def unknown(self, case: Case) -> tuple[Finding, ...]:
        """Findings of the case that are typical of no condition here."""
        known = [one for row in self.conditions for typical in (*row.findings, *row.history) for one in typical.stems]
        each = set(known)
        read = ((finding, self.stems(_NOT.sub("", finding.name))) for finding in case.evidence)
        return tuple(finding for finding, stems in read if not any(one <= stems for one in each))


def _likeness(stems: frozenset[str], said: bool | None, condition: Condition) -> float:
    """One finding of a case against its nearest typical finding; see Fit.likeness."""
    best = 0.0
    for typical in (*condition.findings, *condition.history):
        for one in typical.stems:
            common = len(one & stems)
            if common:
                near = max(common / len(one | stems), MET_LIKENESS if common == len(one) else 0.0)
                best = max(best, near * typical.weight)
    return best if said is not False else -AGAINST_WEIGHT * best


def is_normal(phrase: str) -> bool:
    """What is normal fits many conditions and points to none."""
    return _NORMAL.match(phrase) is not None


def best_fits(fits: Iterable[Fit], limit: int) -> list[Fit]:
    """Those that the findings point to, best first, at most `limit`; [] when none does."""
    pointed = [
        fit for fit in fits if fit.score >= LEAST_FIT and not all(is_normal(match.typical) for match in fit.supports)
    ]
    return sorted(pointed, key=lambda fit: (-fit.score * (1 + max(fit.share, 0.0) / 2), fit.condition.name))[:limit]


def _sum(matches: Iterable[Match]) -> float:
    """Weights, each typical finding once however often it is told."""
    return sum({match.typical: match.weight for match in matches}.values())


def _polarity(finding: Finding) -> bool | None:
    """Present or absent, a "no" in the words themselves included."""
    if finding.present is None:
        return None
    return finding.present is not (_NOT.match(finding.name) is not None)


def _american(text: str) -> str:
    return text.replace("oedema", "edema").replace("haem", "hem").replace("rrhoea", "rrhea").replace("noea", "nea")


def _stem(word: str) -> str:
    word = word.removesuffix("'s").removesuffix("’s")
    for ending in ("ing", "ed", "ful", "es", "s", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 4 and not word.endswith(("ss", "us", "is")):
            word = word.removesuffix(ending)
            break
    return word.removesuffix("e") if len(word) > 4 else word


def table_digests(names: Iterable[str]) -> dict[str, str]:
    """sha256 of the shipped tables, for a task file: what the clinician reads depends on them."""
    return {name: hashlib.sha256((DATA / name).read_bytes()).hexdigest() for name in sorted(names)}


@lru_cache(maxsize=4)
def knowledge_table(name: str = GENERAL) -> KnowledgeTable:
    """A shipped table. Errors: BundleError when it cannot be read."""
    try:
        return KnowledgeTable(json.loads((DATA / name).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError("the table of conditions cannot be read", where=name, mend="install edge again") from error
