"""`edge run --task differential | ophthalmology | mcq | judge`: options on a terminal, each with its basis.

The result goes to stdout, as text or as JSON; labels, notices and figures go to stderr.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edge.clinical import judge as judge_task
from edge.clinical import mcq as mcq_task
from edge.clinical.differential import LABEL, NAME, differential, read_differential_task
from edge.clinical.ophthalmology import NAME as EYE_NAME
from edge.clinical.ophthalmology import ophthalmology, read_ophthalmology_task
from edge.errors import ExitStatus, InputError
from edge.runtime.session import Session

SCORED_TASKS = (NAME, EYE_NAME, mcq_task.NAME, judge_task.NAME)
JUDGE_LABEL = "A language model's opinion of another model's answer. It says nothing of a patient."
NO_OPTION = "No option: nothing in the input points to one."


def parse_candidates(given: str | None) -> list[str] | None:
    """ "A; B; C" as names; None when the option was not used. Errors: InputError when it names nothing."""
    if given is None:
        return None
    names = [name.strip() for name in given.split(";") if name.strip()]
    if not names:
        raise InputError("--candidates names nothing", mend='give names parted by semicolons, as "Gout; Cellulitis"')
    return names


def run_scored(session: Session, task: str, text: str, options: Mapping[str, Any]) -> int:
    """Do a scored task on a file's text and print it. Returns the exit code.

    options: candidates ("A;B"), eye (OD or OS), json (bool), multiple (bool, mcq), answer (the judged answer's text).
    """
    started = time.perf_counter()
    candidates = parse_candidates(options.get("candidates"))
    value: dict[str, Any]
    if task == NAME:
        told = differential(session, text, candidates, read_differential_task(session.folder))
        value = told.to_json()
    elif task == EYE_NAME:
        eye = options.get("eye")
        value = ophthalmology(session, text, candidates, eye, read_ophthalmology_task(session.folder)).to_json()
    elif task == mcq_task.NAME:
        if not candidates:
            raise InputError("a multiple-choice question needs its options", mend='add --candidates "A; B; C"')
        letters = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", candidates, strict=False))
        choice = mcq_task.McqTask.from_bytes(*_task_file(session, task))
        value = mcq_task.answer_mcq(session, text, letters, bool(options.get("multiple")), choice).to_json()
    else:
        if not options.get("answer"):
            raise InputError("there is no answer to judge", mend="add --answer FILE")
        judge = judge_task.JudgeTask.from_bytes(*_task_file(session, task))
        value = judge_task.score(session, text, str(options["answer"]), judge).to_json()
    label = JUDGE_LABEL if task == judge_task.NAME else LABEL
    print(f"{label} [behaviour {session.bundle.behaviour_digest[:12]}]", file=sys.stderr)
    for notice in value.get("notices", ()):
        print(f"Notice: {notice['text']}", file=sys.stderr)
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n" if options.get("json") else as_text(value))
    sys.stdout.flush()
    print(f"Done in {time.perf_counter() - started:.1f} s. Check each item.", file=sys.stderr)
    return int(ExitStatus.OK)


def _task_file(session: Session, name: str) -> tuple[bytes, str]:
    """A task file of the bundle and its place. Errors: InputError when the bundle has none of that name."""
    path = session.folder / "tasks" / f"{name}.json"
    try:
        return path.read_bytes(), str(path)
    except OSError as error:
        raise InputError(f"this bundle has no task '{name}'", where=str(session.folder), mend="build it in") from error


def as_text(value: Mapping[str, Any]) -> str:
    """A result as lines for a person."""
    if value["task"] == mcq_task.NAME:
        return f"{value['letters']}\n"
    if value["task"] == judge_task.NAME:
        quote = value["reason"]["quote"]
        said = f': "{quote["text"]}"' if quote else ""
        return f"{value['score']:.1f} of 5, {value['reason']['judgement'] or 'without a reason'}{said}\n"
    lines = [] if value["options"] else [NO_OPTION]
    for option in value["options"]:
        code = option["icd10"]["code"] if option["icd10"] else "no code"
        eye = f", {option['eye']}" if option.get("eye") else ""
        lines.append(f"{option['rank']}. {option['name']} ({code}{eye})  share of these options {option['score']:.2f}")
        for word, key in (("supports", "supports"), ("against", "against")):
            if option[key]:
                lines.append(f"   {word}: {_quotes(option[key])}")
        if option["missing"]:
            lines.append("   not told: " + "; ".join(one["what"] for one in option["missing"]))
    if value["missing"]:
        lines.append("Missing inputs: " + ", ".join(value["missing"]))
    return "\n".join(_printable(line) for line in lines) + "\n"


def _quotes(evidence: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f'"{one["text"]}" ({one["basis"]})' for one in evidence)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
