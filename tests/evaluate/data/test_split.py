"""edge's own split of DxBench."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from edge.evaluate.data.diagnosis import read_dxbench
from edge.evaluate.data.split import SPLITS, dxbench_split


def test_the_split_never_changes() -> None:
    """An adapter was trained on these parts: another rule would put training cases into the test."""
    first = [dxbench_split(f"DxBench_{n}")[:2] for n in range(1, 13)]
    assert first == ["tr", "tr", "te", "tr", "te", "te", "va", "tr", "tr", "tr", "tr", "tr"]


def test_the_shares_are_about_70_10_20() -> None:
    """A hash that prefers a part would starve another."""
    counts = Counter(dxbench_split(f"case-{n}") for n in range(20_000))
    shares = [counts[split] / 20_000 for split in SPLITS]
    assert all(abs(share - wanted) < 0.01 for share, wanted in zip(shares, (0.7, 0.1, 0.2), strict=True))


def test_the_public_file_splits_as_reported(data_sets: Path) -> None:
    """The counts that are quoted with every figure."""
    cases = read_dxbench(data_sets / "dxbench" / "DxBench_en.dev.json")
    assert Counter(case.split for case in cases) == {"train": 408, "valid": 64, "test": 101}
