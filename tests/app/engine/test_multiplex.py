"""Who serves which task: the first bundle that has it, found without reading a model."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from edge.app.engine.multiplex import engines_for, listed_tasks, routes
from edge.app.engine.pipe import PipeClient


def bundle(folder: Path, *tasks: str) -> Path:
    folder.mkdir(parents=True)
    files = [{"path": f"tasks/{task}.json"} for task in tasks] + [{"path": "tasks/note.schema.json"}]
    (folder / "manifest.json").write_text(json.dumps({"files": files}), encoding="utf-8")
    return folder


def test_tasks_of_a_folder_and_of_a_tar(tmp_path: Path) -> None:
    """A schema is no task; tasks that the app does not ask for are left out."""
    made = bundle(tmp_path / "a", "ophthalmology", "differential", "mcq")
    assert listed_tasks(made) == ("differential", "ophthalmology")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(made / "manifest.json", "manifest.json")
    assert listed_tasks(tmp_path / "a.tar") == ("differential", "ophthalmology")


def test_what_cannot_be_read_lists_nothing(tmp_path: Path) -> None:
    """Nothing, a file that is none, a manifest that is none: no exception at the start of the app."""
    (tmp_path / "x").write_text("x", encoding="utf-8")
    broken = bundle(tmp_path / "broken")
    (broken / "manifest.json").write_text("[1]", encoding="utf-8")
    tarfile.open(tmp_path / "empty.tar", "w").close()
    for path in (tmp_path / "none", tmp_path / "x", broken, tmp_path / "empty.tar"):
        assert listed_tasks(path) == ()


def test_the_first_bundle_that_has_a_task_serves_it(tmp_path: Path) -> None:
    """And one that is missing serves what nobody has, so that it is told instead of hidden."""
    notes, both_ = bundle(tmp_path / "n", "note"), bundle(tmp_path / "b", "note", "differential")
    missing = tmp_path / "none"
    assert routes([missing, notes, both_]) == {"note": notes, "differential": both_, "ophthalmology": missing}
    assert routes([]) == {}
    engines = engines_for([notes, both_], results=tmp_path / "r", force=True)
    assert set(engines) == {"note", "differential"}
    assert all(isinstance(client, PipeClient) and not client.alive for client in engines.values())
    shared = engines_for([both_])
    assert shared["note"] is shared["differential"]
