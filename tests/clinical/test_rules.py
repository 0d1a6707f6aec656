"""The rules of a bundle's task are those of the package that runs it, or it does not run."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from edge.clinical import extracts, rules
from edge.clinical.drafting import answer_grammar
from edge.clinical.facts import lexicon
from edge.clinical.note import NOTE_TASK, read_task
from edge.clinical.rules import NOTE_GRAMMAR, NOTE_TABLES, ROOM, check_rules, note_rules
from edge.errors import BundleError

PINNED = replace(NOTE_TASK, rules=note_rules())


def write(folder: Path, data: bytes) -> Path:
    (folder / "tasks").mkdir()
    (folder / "tasks" / "note.json").write_bytes(data)
    return folder


def test_rules_are_every_table_that_the_note_reads_and_its_grammar() -> None:
    """If it fails, a table can change what a clinician reads and no digest changes."""
    recorded = dict(note_rules())
    assert set(recorded) == {*NOTE_TABLES, NOTE_GRAMMAR}
    assert list(recorded) == sorted(recorded)
    assert recorded[NOTE_GRAMMAR] == hashlib.sha256(answer_grammar().encode()).hexdigest()
    for name in NOTE_TABLES:
        assert recorded[name] == hashlib.sha256((ROOM / name).read_bytes()).hexdigest()
    source = Path(lexicon.__file__).read_text(encoding="utf-8")
    read = {line.split('"')[1] for line in source.splitlines() if ".tsv" in line and "_rows(" in line}
    read |= {"drugs.tsv", "conditions.tsv"}  # the one loop over both
    read |= {extracts.SALIENCE.name}
    assert {f"data/{name}" for name in read if name.endswith(".tsv")} == {
        n for n in NOTE_TABLES if n.startswith("data")
    }


def test_a_task_with_these_rules_is_read(tmp_path: Path) -> None:
    """If it fails, every bundle is refused by the edge that built it."""
    check_rules(PINNED)
    assert read_task(write(tmp_path, PINNED.to_bytes()), "note") == PINNED


def test_a_task_without_rules_is_held_to_nothing() -> None:
    """If it fails, a task that records no digests cannot be used at all."""
    check_rules(NOTE_TASK)


@pytest.mark.parametrize("change", ["other", "gone", "new"])
def test_other_rules_are_refused_in_one_line(change: str, tmp_path: Path) -> None:
    """If it fails, a device shows notes checked by tables that the build was never tested with."""
    recorded = dict(note_rules())
    if change == "other":
        recorded["data/drugs.tsv"] = "0" * 64
    elif change == "gone":
        del recorded["data/drugs.tsv"]
    else:
        recorded["data/herbs.tsv"] = "0" * 64
    task = replace(NOTE_TASK, rules=tuple(sorted(recorded.items())))
    with pytest.raises(BundleError, match=r"rules of the task 'note' .*build it again") as caught:
        read_task(write(tmp_path, task.to_bytes()), "note")
    assert "\n" not in str(caught.value)
    assert ("herbs" if change == "new" else "drugs") in str(caught.value)


def test_a_package_without_its_table_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a broken installation ends in a traceback."""
    monkeypatch.setattr(rules, "ROOM", tmp_path)
    note_rules.cache_clear()
    try:
        with pytest.raises(BundleError, match="cannot be read"):
            note_rules()
    finally:
        note_rules.cache_clear()
