"""Do our scorers give the figures that the papers published, from the papers' own predictions?

    python benchmarks/run_published.py --data FOLDER [--all] [--system-notes FILE ...] [--json FILE]

FOLDER holds published-predictions/ and aci-bench/ as they come from their authors. Ophthalmology: majority of three
runs, exact set of letters. Judge: median and quartiles of the signed error of the mean of three runs. ACI-Bench: the
transcript-copied row needs only the test set; the rows of GPT-4 and BART need those systems' notes, which are not part
of the data set: give the authors' prediction CSV (a column `note`, rows in the order of the test set) to score one.
Status 8 when a figure is not reproduced.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (telemetry off before anything else is imported)

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.errors import EdgeError, ExitStatus, InputError
from edge.evaluate.data.notes import read_aci
from edge.evaluate.data.published import PublishedRuns, likert, read_published
from edge.evaluate.data.tables import read_csv
from edge.evaluate.metrics.answers import exact_set, majority
from edge.evaluate.metrics.judge import signed_error, signed_errors
from edge.evaluate.metrics.rouge import TYPES, mean_rouge, rouge
from edge.evaluate.statistics import wilson

# arXiv 2601.03266, ophthalmology, percent of 130; column prefix to figure.
OPHTHALMOLOGY = {
    "gpt5-0807": 73.8,
    "o4-mini": 71.5,
    "ds-r1-0528": 79.2,
    "oss20b (L)": 59.2,
    "oss20b (M)": 63.8,
    "oss20b (H)": 66.2,
    "oss120b (L)": 73.1,
    "oss120b (M)": 77.7,
    "oss120b (H)": 70.0,
}
# The authors' statistics/nmed_results.csv: median and quartiles of the signed error, by file and column prefix.
JUDGE = {
    "NMED_Diagnosis.csv": {
        "gpt-5.1-1113": (0.0, -0.5, 0.104),
        "gpt-5-mini-0807": (-0.5, -1.104, 0.0),
        "gemini-3.1-pro": (0.0, 0.0, 0.5),
        "deepseek-0528": (-0.333, -0.667, 0.0),
        "oss20b (H)": (-0.25, -0.667, 0.0),
        "oss120b (H)": (0.0, -0.5, 0.271),
        "qwen3.5 9B": (0.0, 0.0, 0.5),
        "qwen3.5 27B": (0.0, 0.0, 0.5),
        "qwen3.5 35B": (0.0, -0.083, 0.5),
    },
    "NMED_Treatment.csv": {
        "gpt-5.1-1113": (0.333, 0.0, 0.667),
        "gpt-5-mini-0807": (0.25, 0.0, 0.667),
        "gemini-3.1-pro": (0.5, 0.0, 1.0),
        "deepseek-r1-0528": (0.25, 0.0, 0.667),
        "oss20b (H)": (0.167, -0.292, 0.5),
        "oss120b (H)": (0.167, -0.167, 0.5),
        "qwen3.5 9B": (0.5, 0.0, 0.833),
        "qwen3.5 27B": (0.5, 0.0, 0.833),
        "qwen3.5 35B": (0.5, 0.0, 1.0),
    },
}
# Yim et al. 2023, test set 1, x 100; a system's file name begins with the key.
ACI_COPIED = {"rouge1": 32.84, "rouge2": 12.53, "rougeLsum": 30.61}
ACI_SYSTEMS = {
    "gpt4": {"rouge1": 51.76, "rouge2": 22.58, "rougeLsum": 45.97},
    "bart_large": {"rouge1": 41.76, "rouge2": 19.20, "rougeLsum": 34.70},
}
TEST_SET = "clinicalnlp_taskB_test1.csv"


@dataclass(frozen=True)
class Line:
    """One figure. published None: no published figure to hold it against; digits: to which it is compared."""

    part: str
    row: str
    figure: str
    ours: float
    published: float | None
    digits: int
    extra: str = ""

    @property
    def agrees(self) -> bool:
        """Equal to the digits that were published."""
        return self.published is None or abs(self.ours - self.published) <= 0.5001 * 10.0**-self.digits


def accuracy(published: PublishedRuns, model: str) -> tuple[int, int]:
    """Right cases by majority of the runs, and cases."""
    runs = published.runs[model]
    right = [
        majority([exact_set(run[index] or "", truth) for run in runs]) for index, truth in enumerate(published.truth)
    ]
    return sum(right), len(right)


def ophthalmology(folder: Path) -> Iterator[Line]:
    """Accuracy of every model of the published file."""
    published = read_published(folder / "Ophthalmology.csv", "GT")
    for model in published.runs:
        right, count = accuracy(published, model)
        interval = wilson(right, count)
        told = f"{right} of {count}, Wilson {100 * interval.low:.1f} to {100 * interval.high:.1f}"
        yield Line("ophthalmology", model, "%", 100 * interval.estimate, OPHTHALMOLOGY.get(model), 1, told)


def judges(folder: Path) -> Iterator[Line]:
    """Median and quartiles of every model of the two published files."""
    for file, expected in JUDGE.items():
        published = read_published(folder / file, "HumanEvalScore")
        human = [float(score) for score in published.truth]
        for model, runs in published.runs.items():
            error = signed_error(signed_errors([[likert(score) for score in run] for run in runs], human))
            known = expected.get(model, (None, None, None))
            part = file.removesuffix(".csv")
            values = (error.median, error.quartile_1, error.quartile_3)
            names = ("median", "quartile 1", "quartile 3")
            for name, value, figure in zip(names, values, known, strict=True):
                yield Line(part, model, name, value, figure, 3, f"{error.count} cases")


def copied(folder: Path) -> Iterator[Line]:
    """The transcript copied as the note."""
    cases = read_aci(folder / TEST_SET)
    means = mean_rouge([rouge(case.reference, case.source) for case in cases])
    for name in TYPES:
        yield Line("ACI-Bench test 1", "transcript copied", name, 100 * means[name], ACI_COPIED[name], 2)


def system(folder: Path, path: Path) -> Iterator[Line]:
    """A system's notes, in the order of the test set."""
    cases = read_aci(folder / TEST_SET)
    notes = [str(row.values["note"]) for row in read_csv(path, ("note",))]
    if len(notes) != len(cases):
        what = f"it has {len(notes)} notes, the test set has {len(cases)}"
        raise InputError(what, where=str(path), mend="give the predictions for test set 1")
    means = mean_rouge([rouge(case.reference, note) for case, note in zip(cases, notes, strict=True)])
    known = next((row for name, row in ACI_SYSTEMS.items() if path.name.lower().startswith(name)), {})
    for name in TYPES:
        yield Line("ACI-Bench test 1", path.stem, name, 100 * means[name], known.get(name), 2)


def all_lines(data: Path, system_notes: Sequence[Path] = ()) -> list[Line]:
    """Every figure that the folder allows. Errors: InputError when a file is missing or broken."""
    published = data / "published-predictions"
    lines = [*ophthalmology(published), *judges(published), *copied(data / "aci-bench")]
    for path in system_notes:
        lines += system(data / "aci-bench", path)
    return lines


def render(lines: Sequence[Line], *, systems_given: bool, every: bool = False) -> str:
    """A table as text, and the verdict. every: also figures that nobody published."""
    told = []
    for line in lines if every else [line for line in lines if line.published is not None]:
        published = "-" if line.published is None else f"{line.published:.{line.digits}f}"
        mark = "" if line.published is None else "ok" if line.agrees else "DIFFERS"
        ours = f"{line.ours:.{line.digits}f}"
        told.append(f"{line.part:<18} {line.row:<24} {line.figure:<11} {ours:>8} {published:>8}  {mark:<8}{line.extra}")
    compared = [line for line in lines if line.published is not None]
    agreeing = sum(line.agrees for line in compared)
    head = f"{'':<18} {'':<24} {'':<11} {'ours':>8} {'theirs':>8}"
    told = [head, *told, f"{agreeing} of {len(compared)} published figures reproduced"]
    if not systems_given:
        told.append("not compared: ACI-Bench's rows of GPT-4 and BART (their notes are not in the data folder)")
    return "\n".join(told)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder with published-predictions/ and aci-bench/")
    parser.add_argument("--system-notes", type=Path, nargs="*", default=(), help="prediction CSVs for test set 1")
    parser.add_argument("--json", type=Path, help="write the figures as JSON")
    parser.add_argument("--all", action="store_true", help="also show figures without a published counterpart")
    given = parser.parse_args(arguments)
    try:
        lines = all_lines(given.data, given.system_notes)
    except EdgeError as error:
        print(f"run_published: {error}", file=sys.stderr)
        return int(error.status)
    print(render(lines, systems_given=bool(given.system_notes), every=given.all))
    if given.json:
        given.json.write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n", encoding="utf-8")
    return int(ExitStatus.OK if all(line.agrees for line in lines) else ExitStatus.GATE)


if __name__ == "__main__":
    sys.exit(main())
