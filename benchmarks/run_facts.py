"""Measure the fact check: speed, floor on gold notes, detection of one altered fact, agreement with human scores.

    python -m benchmarks.run_facts --data FOLDER [--json FILE] [--splits train,valid,test1] [--seed 7]

FOLDER holds `aci-bench/` and `mts-dialog/`. Developed on the train splits, choices made on valid, test1 only reported.

Floor: facts of the gold notes that the check calls unsupported, by kind. Detection: one word of a gold note is altered
(a digit, a medicine, a side, a negation), deterministically by seed; an alteration counts as caught when the check
reports a fact of the altered sentence that it did not report before. Sites that were reported already without any
alteration are left out of the rate and counted beside it. Intervals: percentile bootstrap (over notes), 2,000 draws.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.clinical.facts import Fact, FactReport, FactSource, check_note
from edge.clinical.facts.extract import analyse
from edge.clinical.facts.lexicon import lexicon
from edge.clinical.facts.model import DRUG
from edge.clinical.facts.numbers import AGE
from edge.clinical.facts.phrases import PHRASE
from edge.errors import InputError
from edge.files import write_atomic

ACI = {"train": "train.csv", "valid": "valid.csv", "test1": "clinicalnlp_taskB_test1.csv"}
MTS = {
    "train": "MTS-Dialog-TrainingSet.csv",
    "valid": "MTS-Dialog-ValidationSet.csv",
    "test1": "MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv",
}
SCORES = "correlation-study/MTS-Dialog-Manual-Scores4CorrelationStudy.csv"
SUMMARIES = "correlation-study/MTS-Dialog-Automatic-Summaries-ValidationSet.csv"
OTHER_DRUGS = (
    "simvastatin", "warfarin", "digoxin", "prednisone", "fluoxetine", "naproxen", "amiodarone", "clonidine",
    "doxycycline", "glipizide", "gabapentin", "tramadol", "omeprazole", "carvedilol", "sertraline", "methotrexate",
)  # fmt: skip
KINDS = ("number", "drug", "drug swap", "side", "negation")
DRAWS = 2000


@dataclass(frozen=True)
class Case:
    """One dialogue with its gold note; section: the heading when the note is one section."""

    name: str
    dialogue: str
    note: str
    section: str


@dataclass(frozen=True)
class Alteration:
    """The note with one place changed: characters start..end of the altered note hold the new words."""

    kind: str
    note: str
    start: int
    end: int
    was: tuple[int, int]


def rows(path: Path) -> list[dict[str, str]]:
    """A CSV as dictionaries."""
    if not path.is_file():
        raise InputError("a data file is not there", where=path.name, mend="give the folder with --data")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def cases(data: Path, collection: str, split: str) -> list[Case]:
    """The gold pairs of a split."""
    if collection == "aci":
        found = rows(data / "aci-bench" / ACI[split])
        return [Case(row["encounter_id"], row["dialogue"], row["note"], "") for row in found]
    found = rows(data / "mts-dialog" / MTS[split])
    return [Case(row["ID"], row["dialogue"], row["section_text"], row["section_header"]) for row in found]


_NUMBER = re.compile(r"(?<![A-Za-z\d./])\d+(?:\.\d+)?(?![A-Za-z]*\d)")
_ENUMERATES = re.compile(r"(?:^|[\n.:]\s*)$")
_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_FLIPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b([Dd])enies\b"), "reports"),
    (re.compile(r"\b([Dd])enied\b"), "reported"),
    (re.compile(r"\b(N)egative for\b"), "Positive for"),
    (re.compile(r"\b(n)egative for\b"), "positive for"),
    (re.compile(r"\b([Ww])ithout\b"), "with"),
    (re.compile(r"\b(No|no) (?=[a-z])(?!known|longer|acute distress)"), ""),
    (re.compile(r"\b([Rr])eports\b"), "denies"),
    (re.compile(r"\b([Ee])ndorses\b"), "denies"),
    (re.compile(r"\b(P)ositive for\b"), "Negative for"),
    (re.compile(r"\b(p)ositive for\b"), "negative for"),
    (re.compile(r"\b(complains) of\b"), "denies"),
)


def sites(note: str, kind: str, source: FactSource) -> Iterator[tuple[int, int, str]]:
    """Places that can be altered, by rules of their own (not by what the check extracts, medicines apart)."""
    if kind == "number":
        for match in _NUMBER.finditer(note):
            enumerates = note[match.end() : match.end() + 2] in (". ", ") ", ".\t", ".") and _ENUMERATES.search(
                note[: match.start()]
            )
            if not enumerates:
                yield match.start(), match.end(), match.group()
    elif kind == "side":
        for match in _SIDE.finditer(note):
            yield match.start(), match.end(), match.group()
    elif kind == "negation":
        for pattern, _ in _FLIPS:
            for match in pattern.finditer(note):
                yield match.start(), match.end(), match.group()
    else:
        reading = analyse(note, dialogue=False)
        for mention in reading.mentions:
            if mention.kind == DRUG:
                start = reading.reading.tokens[mention.first].start
                yield start, reading.reading.tokens[mention.last - 1].end, mention.concept


def replacement(kind: str, word: str, source: FactSource, note: str, draw: random.Random) -> str | None:
    """Other words with another meaning for a site; None when there are none."""
    if kind == "number":
        return _other_number(word, draw)
    if kind == "side":
        other = {"left": "right", "right": "left"}[word.lower()]
        return other.capitalize() if word[0].isupper() else other
    if kind == "negation":
        for pattern, becomes in _FLIPS:
            if pattern.fullmatch(word) or pattern.match(word + "x"):
                return becomes.capitalize() if word[0].isupper() and becomes else becomes
        return None
    if kind == "drug":
        pool = [name for name in OTHER_DRUGS if name not in source.drugs and name not in note.lower() and name != word]
    else:
        pool = sorted(name for name in source.drugs if name != word and name in lexicon().terms)
    return draw.choice(pool) if pool else None


def _other_number(word: str, draw: random.Random) -> str:
    """A slip of a digit, of one step, or of the decimal place; never the same value."""
    options = []
    place = draw.randrange(len(word))
    if word[place].isdigit():
        digit = draw.choice([d for d in "123456789" if d != word[place]])
        options.append(word[:place] + digit + word[place + 1 :])
    if "." not in word:
        options += [str(int(word) + draw.choice((1, 2, 3))), word + "0"]
        if len(word) > 1 and word != word[::-1]:
            options.append(word[1] + word[0] + word[2:])
    options = [item for item in options if float(item) != float(word)]
    return draw.choice(options) if options else str(int(float(word)) + 1)


def alterations(case: Case, source: FactSource, kind: str, draw: random.Random, most: int) -> list[Alteration]:
    """Up to `most` single alterations of a note."""
    found = sorted(set(sites(case.note, kind, source)))
    if len(found) > most:
        found = sorted(draw.sample(found, most))
    out = []
    for start, end, word in found:
        other = replacement(kind, word, source, case.note, draw)
        if other is not None:
            note = case.note[:start] + other + case.note[end:]
            out.append(Alteration(kind, note, start, start + len(other), (start, end)))
    return out


def sentence(note: str, start: int, end: int) -> tuple[int, int]:
    """Characters of the sentence that holds start..end."""
    left = max(note.rfind(mark, 0, start) + len(mark) for mark in (". ", "\n", "? ")) if start else 0
    rights = [at for at in (note.find(". ", end), note.find("\n", end)) if at >= 0]
    return max(left, 0), min(rights) if rights else len(note)


def said(report: FactReport, left: int, right: int) -> Counter[tuple[str, str]]:
    """Findings on characters left..right, by kind and wording."""
    return Counter(
        (found.fact.kind, found.fact.text) for found in report.unsupported if left <= found.fact.span.start < right
    )


def detection(found: list[Case], seed: int, most: int) -> dict[str, dict[str, float]]:
    """Per kind: n sites not reported before, caught, and the sites that were reported already."""
    caught: dict[str, list[tuple[int, int]]] = defaultdict(list)
    noisy: Counter[str] = Counter()
    for case in found:
        source = FactSource.of(case.dialogue)
        before = check_note(case.note, source, section=case.section)
        for kind in KINDS:
            hits = tried = 0
            for altered in alterations(case, source, kind, random.Random(f"{seed}/{case.name}/{kind}"), most):
                left, right = sentence(case.note, *altered.was)
                if any(
                    item.fact.span.start < altered.was[1] and altered.was[0] < item.fact.span.end
                    for item in before.unsupported
                ):
                    noisy[kind] += 1
                    continue
                after = check_note(altered.note, source, section=case.section)
                shift = len(altered.note) - len(case.note)
                new = said(after, left, right + shift + 1) - said(before, left, right + 1)
                tried += 1
                hits += bool(new)
            if tried:
                caught[kind].append((hits, tried))
    out = {}
    for kind in KINDS:
        pairs = caught[kind]
        total = sum(tried for _, tried in pairs)
        if total:
            rate, low, high = bootstrap(pairs, lambda some: sum(a for a, _ in some) / sum(b for _, b in some))
            out[kind] = {"n": total, "rate": rate, "low": low, "high": high, "already_reported": noisy[kind]}
    return out


def floor(found: list[Case]) -> dict[str, dict[str, float]]:
    """Per kind of fact: facts of the gold notes and the share that is called unsupported."""
    facts: Counter[str] = Counter()
    unsupported: Counter[str] = Counter()
    opposite: Counter[str] = Counter()
    for case in found:
        for fact in analyse(case.note, dialogue=False, section=case.section).facts:
            facts.update(_groups(fact))
        for item in check_note(case.note, FactSource.of(case.dialogue), section=case.section).unsupported:
            unsupported.update(_groups(item.fact))
            if "opposite" in item.reason:
                opposite.update(_groups(item.fact))
    return {
        kind: {
            "n": facts[kind],
            "rate": unsupported[kind] / facts[kind],
            "opposite_rate": opposite[kind] / facts[kind],
        }
        for kind in sorted(facts)
    }


def _groups(fact: Fact) -> tuple[str, ...]:
    """Rows of the floor table that a fact counts in: all numbers are one row, ages can be told apart from it."""
    if fact.anchor == PHRASE:
        return ("free phrase",)
    if fact.kind in ("NUM", "VITAL", "DOSE"):
        return ("number",) if fact.unit == AGE else ("number", "number but age")
    return (fact.kind,)


def speed(found: list[Case]) -> dict[str, float]:
    """ms of processor time per note, the reading of its source included; the word lists are loaded before."""
    lexicon()
    spent = []
    for case in found:
        start = time.process_time()
        check_note(case.note, FactSource.of(case.dialogue), section=case.section)
        spent.append(1e3 * (time.process_time() - start))
    return {"n": len(spent), "median_ms": statistics.median(spent), "max_ms": max(spent)}


def human(data: Path) -> dict[str, Any]:
    """Agreement with the people who scored 400 automatic summaries."""
    scores = rows(data / "mts-dialog" / SCORES)
    texts = rows(data / "mts-dialog" / SUMMARIES)
    missing: list[tuple[float, float]] = []
    listed: list[tuple[float, float]] = []
    other_half: list[tuple[float, float]] = []
    wrong: list[tuple[float, float]] = []
    sources: dict[str, FactSource] = {}
    numbers: dict[str, int] = {}
    for score, text in zip(scores, texts, strict=True):
        spoken = text["Dialogue"]
        if spoken not in sources:
            sources[spoken] = FactSource.of(spoken)
            numbers[spoken] = len(numbers)
        source = sources[spoken]
        report = check_note(text["Automatic Summary"], source)
        omitted = float(score["OmissionRate"])
        if any(fact.concept or fact.value for fact in source.analysis.facts):
            missing.append((report.omission_rate, omitted))
            if numbers[spoken] % 2:  # the constants were chosen on the even dialogues
                other_half.append((report.omission_rate, omitted))
        if report.source_facts:
            listed.append((len(report.missing) / report.source_facts, omitted))
        if report.note_facts:
            wrong.append((len(report.unsupported) / report.note_facts, float(score["HallucinationRate"])))
    out: dict[str, Any] = {}
    for name, pairs, measure in (
        ("omission_pearson", missing, pearson),
        ("omission_pearson_other_half", other_half, pearson),
        ("listed_missing_pearson", listed, pearson),
        ("hallucination_pearson", wrong, pearson),
        ("hallucination_auroc", wrong, auroc),
    ):
        value, low, high = bootstrap(pairs, measure)
        out[name] = {"n": len(pairs), "value": value, "low": low, "high": high}
    return out


def pearson(pairs: list[tuple[float, float]]) -> float:
    """Correlation of two columns; 0 when one is constant."""
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    if len(set(xs)) < 2 or len(set(ys)) < 2:
        return 0.0
    return statistics.correlation(xs, ys)


def auroc(pairs: list[tuple[float, float]]) -> float:
    """How well the rate ranks summaries with any human-marked hallucination above those without (ties half)."""
    marked = sorted(rate for rate, score in pairs if score > 0)
    clean = sorted(rate for rate, score in pairs if score <= 0)
    if not marked or not clean:
        return 0.5
    counts = Counter(clean)
    below = 0.0
    for rate in marked:
        below += sum(count for value, count in counts.items() if value < rate) + counts[rate] / 2
    return below / (len(marked) * len(clean))


def bootstrap(pairs: list[Any], measure: Callable[[list[Any]], float]) -> tuple[float, float, float]:
    """(value, low, high): percentile bootstrap, 95 %, seeded."""
    draw = random.Random(20260122)
    values = sorted(measure(draw.choices(pairs, k=len(pairs))) for _ in range(DRAWS))
    return measure(pairs), values[int(0.025 * DRAWS)], values[int(0.975 * DRAWS) - 1]


def main(argv: list[str] | None = None) -> int:
    """Print the tables; write them with --json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--splits", default="train,valid,test1")
    parser.add_argument("--limit", type=int, help="only the first N notes of each split")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args(argv)
    result: dict[str, Any] = {}
    for split in arguments.splits.split(","):
        for collection, most in (("aci", 6), ("mts", 3)):
            name = f"{collection} {split}"
            found = cases(arguments.data, collection, split)[: arguments.limit]
            result[name] = {
                "speed": speed(found),
                "floor": floor(found),
                "detection": detection(found, arguments.seed, most),
            }
            write_table(name, result[name])
    result["human"] = human(arguments.data)
    for name, row in result["human"].items():
        sys.stdout.write(f"{name}: {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}] n={row['n']}\n")
    if arguments.json:
        write_atomic(arguments.json, (json.dumps(result, indent=1, sort_keys=True) + "\n").encode())
    return 0


def write_table(name: str, row: dict[str, Any]) -> None:
    """One split as lines."""
    out = [
        f"{name}: {row['speed']['median_ms']:.1f} ms a note (max {row['speed']['max_ms']:.1f}, n={row['speed']['n']})"
    ]
    out.append(
        "  floor " + ", ".join(f"{kind} {100 * f['rate']:.1f} % of {f['n']}" for kind, f in row["floor"].items())
    )
    for kind, found in row["detection"].items():
        out.append(
            f"  {kind}: {100 * found['rate']:.1f} % [{100 * found['low']:.1f}, {100 * found['high']:.1f}] caught of "
            f"{found['n']} (reported without alteration: {found['already_reported']})"
        )
    sys.stdout.write("\n".join(out) + "\n")


if __name__ == "__main__":
    sys.exit(main())
