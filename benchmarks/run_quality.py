"""Every quality figure of the README in one run: base model against reference adapters, on the same cases.

    python benchmarks/run_quality.py --data FOLDER --out build/quality [--limit N]

Builds the bundles that are not there, runs `edge evaluate` for each row (resumable: a finished row is not run again)
and prints the table. FOLDER holds aci-bench/ and dxbench/ as published.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ACI_TEST1 = "aci-bench/clinicalnlp_taskB_test1.csv"
DXBENCH = "dxbench/DxBench_en.dev.json"
OPHTHALMOLOGY = "ophthalmology/ophthalmology_mcq.dev.json"


@dataclass(frozen=True)
class Row:
    """One evaluation. baseline: the row it is compared with in pairs."""

    name: str
    profile: str
    suite: str
    data: str
    options: tuple[str, ...] = ()
    baseline: str = ""


ROWS = (
    Row("base-notes-free", "reference-base", "notes", ACI_TEST1, ("--unchecked", "--unconstrained")),
    Row("base-notes", "reference-base", "notes", ACI_TEST1),
    Row("notes", "reference-notes", "notes", ACI_TEST1, (), "base-notes"),
    Row(
        "base-diagnosis-plain",
        "reference-base",
        "diagnosis",
        DXBENCH,
        ("--split", "test", "--no-table", "--no-open-question"),
    ),
    Row("base-diagnosis-model", "reference-base", "diagnosis", DXBENCH, ("--split", "test", "--no-table")),
    Row("base-diagnosis", "reference-base", "diagnosis", DXBENCH, ("--split", "test")),
    Row(
        "diagnosis-model",
        "reference-differential",
        "diagnosis",
        DXBENCH,
        ("--split", "test", "--no-table"),
        "base-diagnosis-model",
    ),
    Row("diagnosis", "reference-differential", "diagnosis", DXBENCH, ("--split", "test"), "base-diagnosis-model"),
    Row("base-ophthalmology", "reference-base", "ophthalmology", OPHTHALMOLOGY),
    Row("ophthalmology", "reference-differential", "ophthalmology", OPHTHALMOLOGY, (), "base-ophthalmology"),
)


def run(row: Row, data: Path, out: Path, limit: int | None) -> dict[str, Any] | None:
    """Evaluate one row; None where its data set is not there."""
    path = data / row.data
    if not path.is_file():
        return None
    bundle = ROOT / "build" / row.profile
    edge = [sys.executable, "-m", "edge.cli"]
    if not (bundle / "manifest.json").is_file():
        subprocess.run([*edge, "build", str(ROOT / "profiles" / f"{row.profile}.yaml")], cwd=ROOT, check=True)
    result = out / f"{row.name}.json"
    command = [*edge, "evaluate", str(bundle), row.suite, "--data", str(path), "--json", str(result), *row.options]
    if row.baseline and (out / f"{row.baseline}.json").is_file():
        command += ["--baseline", str(out / f"{row.baseline}.json")]
    if limit:
        command += ["--limit", str(limit)]
    print(f"== {row.name}", flush=True)
    subprocess.run(command, cwd=ROOT, check=True)
    value: dict[str, Any] = json.loads(result.read_text("utf-8"))
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "quality")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--only", help="names of rows, parted by commas")
    given = parser.parse_args(arguments)
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    chosen = set(given.only.split(",")) if given.only else {row.name for row in ROWS}
    if unknown := chosen - {row.name for row in ROWS}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    for row in ROWS:
        if row.name in chosen and run(row, given.data.resolve(), out, given.limit) is None:
            print(f"== {row.name}: not measured, {row.data} is not in the data folder")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
