"""Makes edge/clinical/data/salience.tsv: how often a word that was said in a visit is in its note.

    python benchmarks/make_salience.py --data FOLDER

From ACI-Bench's train split (CC BY 4.0; Yim et al., Scientific Data 2023): for each stem the share of the visits with
it in the dialogue whose note has it too, with two pseudo-visits of one half. Stems of fewer than two visits are left
out. Holds counts of single words, no sentence of the data.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edge.clinical.overlap import words_of

TARGET = Path(__file__).resolve().parent.parent / "edge" / "clinical" / "data" / "salience.tsv"


def salience(rows: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Share by stem, from (dialogue, note) pairs."""
    said: Counter[str] = Counter()
    written: Counter[str] = Counter()
    for dialogue, note in rows:
        words = set(words_of(dialogue))
        said.update(words)
        written.update(words & set(words_of(note)))
    return {word: (written[word] + 1) / (count + 2) for word, count in said.items() if count >= 2 and word.isalpha()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args(arguments)
    csv.field_size_limit(1 << 30)
    with (given.data / "aci-bench" / "train.csv").open(encoding="utf-8", newline="") as stream:
        rows = [(row["dialogue"], row["note"]) for row in csv.DictReader(stream)]
    lines = [f"{word}\t{share:.2f}\n" for word, share in sorted(salience(rows).items())]
    TARGET.write_text("".join(lines), encoding="utf-8")
    print(f"{TARGET.name}: {len(lines)} stems from {len(rows)} visits")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
