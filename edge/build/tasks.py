"""What each task puts into a bundle's tasks/ folder: its prompt and settings, its schema, its grammar.

Everything here comes from edge.clinical, so that the device reads back what the very same code wrote, and is part of
the behaviour digest.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edge.errors import SourceError
from edge.runtime.sampling import SamplerSettings

Files = dict[str, bytes]


def _note() -> Files:
    from edge.clinical.drafting import answer_grammar
    from edge.clinical.note import NOTE_TASK
    from edge.clinical.rules import NOTE_GRAMMAR, ROOM, note_rules

    schema = "note.schema.json"
    return {
        "note.json": replace(NOTE_TASK, rules=note_rules()).to_bytes(),
        schema: (ROOM / "schemas" / schema).read_bytes(),
        NOTE_GRAMMAR: answer_grammar().encode(),
    }


def _differential() -> Files:
    from edge.clinical.differential import task_files

    return task_files()


def _ophthalmology() -> Files:
    from edge.clinical.ophthalmology import task_files

    return task_files()


def _judge() -> Files:
    from edge.clinical.judge import task_files

    return task_files()


# Looked up when a profile asks for one: a build of one task needs nothing of the others.
TASKS: dict[str, Callable[[], Files]] = {
    "differential": _differential,
    "judge": _judge,
    "note": _note,
    "ophthalmology": _ophthalmology,
}


def task_files(name: str) -> Files:
    """File name -> content of one task. Errors: SourceError for a task that this edge cannot build."""
    make = TASKS.get(name)
    if make is None:
        raise SourceError(f"no task is named '{name}'", where="tasks", mend=f"use one of: {', '.join(sorted(TASKS))}")
    return make()


def task_sampler(name: str, files: Files) -> dict[str, Any]:
    """The sampler that a task states, for the manifest; a task that only scores never draws."""
    stated = json.loads(files[f"{name}.json"]).get("sampler")
    return dict(stated) if stated else SamplerSettings().to_json()
