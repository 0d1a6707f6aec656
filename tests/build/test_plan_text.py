"""The plan as a person reads it in a terminal."""

from __future__ import annotations

from pathlib import Path

from edge.build.plan import plan_file
from edge.build.plan_text import megabytes, millions, render, render_table

PROFILES = sorted((Path(__file__).parents[2] / "profiles").glob("*.yaml"))


def test_verdict_comes_first_and_every_item_has_a_line() -> None:
    """The reader wants yes or no, then why: nothing of the ledger may be missing."""
    for path in PROFILES:
        result = plan_file(path)
        lines = render(result).splitlines()
        assert lines[0] == f"{result.profile} on {result.target}"
        assert lines[1].strip() == result.reason
        text = render(result)
        for label in ("Weights", "Scales", "KV cache", "Activations", "Runtime", "User interface", "File pages"):
            assert label in text
        for label in ("Needed", "Available", "Peak RSS", "Download", "Disk", "Decode", "TTFT at 512"):
            assert label in text
        assert all(note in text for note in result.notes)
        assert text.endswith("\n")
        assert not any(line.endswith(" ") for line in lines)


def test_mixed_shows_both_ends_and_others_one() -> None:
    """Two columns while the layers are open, one when they are not."""
    by_name = {path.stem: render(plan_file(path)) for path in PROFILES}
    assert "smallest" in by_name["reference-notes"]
    assert "smallest" not in by_name["reference-notes-int8"]
    assert "not known" in by_name["reference-notes-pi4"]


def test_table_has_a_row_for_each_plan_in_columns() -> None:
    """`edge plan --all`: one row a profile, columns aligned, the reason last."""
    plans = [plan_file(path) for path in PROFILES]
    lines = render_table(plans).splitlines()
    assert len(lines) == len(plans) + 2
    start = lines[0].index("reason")
    for line, result in zip(lines[2:], plans, strict=True):
        assert line.startswith(result.profile)
        assert line[start:] == result.reason
        assert (" no " in line) == (not result.fits)


def test_numbers_are_short() -> None:
    """MB and GB are powers of ten, as on a data sheet."""
    assert megabytes(86_287_616) == "86.3 MB"
    assert megabytes(999_949_999) == "999.9 MB"
    assert megabytes(999_950_001) == "1.00 GB"
    assert millions(134_515_008) == "134.5 M"
    assert millions(20_914_757_184) == "20.91 B"
