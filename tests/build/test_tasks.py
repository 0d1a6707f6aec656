"""What each task puts into a bundle: read back by the very reader of the device, and pinned to the package's rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from edge.build.tasks import TASKS, task_files, task_sampler
from edge.bundle.manifest import FileEntry, file_digests
from edge.clinical.differential import read_differential_task
from edge.clinical.drafting import answer_grammar
from edge.clinical.judge import JudgeTask
from edge.clinical.note import NOTE_TASK, read_task
from edge.clinical.ophthalmology import read_ophthalmology_task
from edge.clinical.rules import note_rules
from edge.errors import SourceError
from edge.runtime.sampling import SamplerSettings
from edge.specs.profile import Profile


def laid_out(folder: Path, name: str) -> Path:
    (folder / "tasks").mkdir()
    for file, data in task_files(name).items():
        (folder / "tasks" / file).write_bytes(data)
    return folder


def test_a_profile_can_name_every_task_and_no_other() -> None:
    """If it fails, a profile is accepted that no build can make, or a task can be in no bundle."""
    (choices,) = {get_args(get_args(Profile.model_fields["tasks"].annotation)[0])}
    assert set(choices) == set(TASKS)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_has_its_prompt_and_its_schema(name: str) -> None:
    """If it fails, what a clinician may get from a task is not in the bundle's digests."""
    files = task_files(name)
    assert files == task_files(name)
    assert {f"{name}.json", f"{name}.schema.json"} <= set(files)
    for file, data in files.items():
        FileEntry(f"tasks/{file}", "0" * 64, len(data))  # it has a place in a bundle
        if file.endswith(".json"):
            assert isinstance(json.loads(data), dict)
    assert SamplerSettings(**task_sampler(name, files)).temperature == 0.0


def test_the_note_is_pinned_to_the_rules_of_this_package(tmp_path: Path) -> None:
    """If it fails, a bundle can be run with tables that it was never tested with."""
    task = read_task(laid_out(tmp_path, "note"), "note")
    assert task.rules == note_rules()
    assert (task.system, task.part_words) == (NOTE_TASK.system, NOTE_TASK.part_words)
    assert (tmp_path / "tasks/note.lark").read_text(encoding="utf-8") == answer_grammar()


def test_a_grammar_changes_the_grammars_digest() -> None:
    """If it fails, another grammar hides behind the same digest."""
    files = {name: FileEntry(f"tasks/{name}", "1" * 64, 1) for name in task_files("note")}
    before = file_digests(files.values())
    after = file_digests(
        [*(e for n, e in files.items() if n != "note.lark"), FileEntry("tasks/note.lark", "2" * 64, 1)]
    )
    assert before["grammars_digest"] != after["grammars_digest"]
    assert before["prompts_digest"] == after["prompts_digest"]


def test_the_scored_tasks_are_read_back(tmp_path: Path) -> None:
    """If it fails, the device refuses what the build wrote."""
    for name in ("differential", "ophthalmology", "judge"):
        folder = tmp_path / name
        folder.mkdir()
        laid_out(folder, name)
    assert read_differential_task(tmp_path / "differential").name == "differential"
    assert read_ophthalmology_task(tmp_path / "ophthalmology").name == "ophthalmology"
    assert JudgeTask.from_bytes((tmp_path / "judge/tasks/judge.json").read_bytes(), "judge.json") == JudgeTask()


def test_an_unknown_task_names_the_known() -> None:
    """If it fails, a wrong name ends in a traceback."""
    with pytest.raises(SourceError, match="no task is named 'nott'; use one of: differential, judge, note"):
        task_files("nott")


def test_a_task_that_states_no_sampler_is_greedy() -> None:
    """If it fails, the manifest says nothing of how a task draws."""
    assert task_sampler("x", {"x.json": b"{}"}) == SamplerSettings().to_json()
