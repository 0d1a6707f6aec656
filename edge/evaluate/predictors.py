"""Who answers a case: the tasks of edge/clinical on an open bundle, outputs that were kept, or a script in a test.

A prediction is a plain JSON object. What the suites read of it:

    all            parsed (bool), evidence (spans of the input: start, end, quote)
    notes          text, withheld and quoted (numbers of lines)
    diagnosis      ranked (names, best first)
    ophthalmology  letters (list)
    judge          score (1 to 5, or null)

Each adapter names the one task function that it calls, so that a change of that function shows here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edge.errors import InputError, ResourceError
from edge.evaluate.data.cases import Case, ChoiceCase, DiagnosisCase, JudgeCase, NoteCase
from edge.files import write_atomic

if TYPE_CHECKING:
    from edge.runtime.session import Session

Prediction = Mapping[str, Any]
OUTPUT_VERSION = 1


class Predictor(Protocol):
    """Answers one case. sample: 0, 1, ... for suites that ask several times."""

    @property
    def samples_differ(self) -> bool:
        """False when every sample of a case is the same, so that one is enough."""

    def predict(self, case: Any, sample: int) -> Prediction:
        """The answer. Errors: EdgeError when the case cannot be put to the model at all."""


class ScriptedPredictor:
    """Answers from a function: for tests and for outputs of another system."""

    def __init__(self, answer: Callable[[Any, int], Prediction], *, samples_differ: bool = False) -> None:
        self._answer = answer
        self.samples_differ = samples_differ

    def predict(self, case: Any, sample: int) -> Prediction:
        """What the function says."""
        return self._answer(case, sample)


class NotePredictor:
    """Drafts with edge.clinical.drafting.draft_note.

    options: checked (withhold what the fact check finds), constrained (write under the grammar); both are on in use.
    """

    samples_differ = False

    def __init__(self, session: Session, options: Mapping[str, bool] | None = None) -> None:
        from edge.clinical.drafting import draft_note

        self._draft = draft_note
        self._session = session
        self._options = dict(options or {})

    def predict(self, case: NoteCase, sample: int) -> Prediction:
        """The note's text, whether it parsed, its evidence, and how many lines were withheld or are quotes."""
        from edge.clinical.note_draft import QUOTE

        draft = self._draft(self._session, case.source, **self._options)
        plain = plain_json(draft)
        lines = [line for section in plain["sections"] for line in section["lines"]]
        return {
            "text": str(draft.text),
            "model_text": str(draft.model_text),
            "parsed": bool(draft.parsed),
            "evidence": [plain["sections"], plain["red_flags"]],
            "withheld": int(draft.withheld),
            "quoted": sum(1 for line in lines if line["origin"] == QUOTE),
        }


class DiagnosisPredictor:
    """Ranks with edge.clinical.differential.rank, as the bundle's differential task says.

    options: table, open_question; off where these are not to count in the ranking of given candidates.
    """

    samples_differ = False

    def __init__(self, session: Session, options: Mapping[str, bool] | None = None) -> None:
        from dataclasses import replace

        from edge.clinical.differential import rank, read_differential_task, with_scoring

        self._rank = rank
        self._task = read_differential_task(session.folder)
        if not (options or {}).get("table", True):
            self._task = with_scoring(self._task, replace(self._task.scoring, table_weight=0.0))
        if not (options or {}).get("open_question", True):
            self._task = with_scoring(self._task, replace(self._task.scoring, open_weight=0.0))
        self._session = session

    def predict(self, case: DiagnosisCase, sample: int) -> Prediction:
        """Names, best first, and the evidence of every option."""
        from edge.clinical.case import case_from_findings, case_from_text

        told: list[tuple[str, bool | None]] = [(name, True) for name in case.present]
        told += [(name, False) for name in case.absent]
        told += [(name, None) for name in case.unsure]
        patient = case_from_text(case.text) if case.text else case_from_findings(told)
        plain = plain_json(self._rank(self._session, patient, list(case.candidates) or None, self._task))
        options = plain.get("options", [])
        return {
            "ranked": [str(option["name"]) for option in options],
            "parsed": bool(plain.get("parsed", True)),
            "evidence": [option.get(side, []) for option in options for side in ("supports", "against")],
        }


class ChoicePredictor:
    """Answers with edge.clinical.mcq.answer_mcq, as the bundle's mcq task says."""

    samples_differ = False

    def __init__(self, session: Session, options: Mapping[str, bool] | None = None) -> None:
        from edge.clinical.mcq import NAME, McqTask, answer_mcq

        self._answer = answer_mcq
        self._task = McqTask.from_bytes(*task_bytes(session.folder, NAME))
        self._session = session

    def predict(self, case: ChoiceCase, sample: int) -> Prediction:
        """The letters chosen."""
        plain = plain_json(self._answer(self._session, case.stem, dict(case.options), case.multiple, self._task))
        return {"letters": list(plain.get("letters", ())), "parsed": bool(plain.get("parsed", True))}


class JudgePredictor:
    """Scores with edge.clinical.judge.score, as the bundle's judge task says."""

    samples_differ = False

    def __init__(self, session: Session, options: Mapping[str, bool] | None = None) -> None:
        from edge.clinical.judge import NAME, JudgeTask, score

        self._score = score
        self._task = JudgeTask.from_bytes(*task_bytes(session.folder, NAME))
        self._session = session

    def predict(self, case: JudgeCase, sample: int) -> Prediction:
        """A score from 1 to 5 in halves, or none; the reason's quote as evidence in the answer."""
        plain = plain_json(self._score(self._session, case.case_text, case.answer_text, self._task))
        return {
            "score": plain.get("score"),
            "parsed": bool(plain.get("parsed", True)),
            "evidence": plain.get("reason", ()),
        }


def task_bytes(folder: Path, name: str) -> tuple[bytes, str]:
    """A task file of an open bundle and its place. Errors: InputError when the bundle has none of that name."""
    path = folder / "tasks" / f"{name}.json"
    try:
        return path.read_bytes(), str(path)
    except OSError as error:
        what = f"this bundle has no task '{name}'"
        raise InputError(what, where=str(folder), mend=f"build one with tasks: [{name}]") from error


def plain_json(value: Any) -> dict[str, Any]:
    """What a task returned as plain JSON."""
    return dict(value.to_json())


# ---- outputs that were kept -------------------------------------------------------------------------------


def output_name(case: Case, sample: int) -> str:
    """File name of a kept output: a hash, since the id of a visit may be a patient's."""
    return f"{hashlib.sha256(case.id.encode()).hexdigest()[:20]}-{sample}.json"


def output_head(behaviour_digest: str, suite: str, options: Mapping[str, bool]) -> dict[str, Any]:
    """What a kept output is bound to."""
    return {
        "version": OUTPUT_VERSION,
        "behaviour_digest": behaviour_digest,
        "suite": suite,
        "options": dict(sorted(options.items())),
    }


class KeepingPredictor:
    """Writes every output into a folder that only its owner reads, and passes it on."""

    def __init__(self, inner: Predictor, folder: Path, head: Mapping[str, Any]) -> None:
        self._inner, self._folder, self._head = inner, folder, head
        self.samples_differ = inner.samples_differ
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError("cannot be made", where=str(folder), mend="choose another folder") from error

    def predict(self, case: Any, sample: int) -> Prediction:
        """The inner answer, kept."""
        output = dict(self._inner.predict(case, sample))
        value = {**self._head, "id": case.id, "sample": sample, "output": output}
        path = self._folder / output_name(case, sample)
        write_atomic(path, (json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode())
        path.chmod(0o600)
        return output

    def has(self, case: Case) -> bool:
        """Whether the first output of a case is there, of this build and suite."""
        try:
            value = json.loads((self._folder / output_name(case, 0)).read_bytes())
            return all(value[name] == wanted for name, wanted in self._head.items())
        except (OSError, ValueError, KeyError, TypeError):
            return False


class ReplayPredictor:
    """Answers from a folder of kept outputs, so that they can be scored again without the model."""

    def __init__(self, folder: Path, head: Mapping[str, Any], *, samples: int = 1) -> None:
        self._folder, self._head = folder, head
        self.samples_differ = samples > 1

    def predict(self, case: Any, sample: int) -> Prediction:
        """The kept output. Errors: InputError when it is not there or is of another build or suite."""
        path = self._folder / output_name(case, sample)
        try:
            value = json.loads(path.read_bytes())
            fits = all(value[name] == wanted for name, wanted in self._head.items()) and value["id"] == case.id
            output = dict(value["output"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError("no kept output of this case", where=str(path), mend="run without --outputs") from error
        if not fits:
            what = "kept by another build, suite or setting"
            raise InputError(what, where=str(path), mend="run without --outputs")
        return output
