"""The adapters on the real tasks of edge/clinical, with a tiny random model: their form, their evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.clinical import drafting
from edge.clinical.differential import task_files as differential_files
from edge.clinical.judge import task_files as judge_files
from edge.clinical.mcq import task_files as mcq_files
from edge.clinical.note_draft import MODEL, Figures, NoteDraft, NoteLine
from edge.clinical.transcript import Span
from edge.errors import InputError
from edge.evaluate.data.cases import ChoiceCase, DiagnosisCase, JudgeCase, NoteCase
from edge.evaluate.evidence import evidence_problems
from edge.evaluate.metrics.learned import LearnedMetrics
from edge.evaluate.predictors import ChoicePredictor, DiagnosisPredictor, JudgePredictor, NotePredictor
from edge.evaluate.suites import SUITES, case_input
from tests.clinical.tiny_reader import tiny_reader
from tests.evaluate.conftest import NOTE, VISIT


@dataclass
class FolderSession:
    """A session as the scoring tasks use it: an engine, a tokenizer and the bundle's folder."""

    folder: Path
    engine: Any
    tokenizer: Any
    grammar_tokenizer: Any


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny random model in a folder with the tasks' files."""
    folder = tmp_path_factory.mktemp("bundle")
    reader = tiny_reader(tmp_path_factory.mktemp("model"))
    (folder / "tasks").mkdir()
    for name, data in (differential_files() | judge_files() | mcq_files()).items():
        (folder / "tasks" / name).write_bytes(data)
    return FolderSession(folder, reader.engine, reader.tokenizer, reader.grammar_tokenizer)


CASES = [
    DiagnosisCase("1", "Gout", ("Cellulitis", "Gout"), ("painful toe", "fever"), ("trauma",)),
    DiagnosisCase("2", "Gout", (), text="A 50-year-old man has a painful swollen toe. No fever."),
]


@pytest.mark.parametrize("case", CASES, ids=["listed", "open"])
def test_a_differential_is_ranked_with_evidence_in_the_input(session: Any, case: DiagnosisCase) -> None:
    """The offsets count in the text that the suite itself builds; all candidates are ranked."""
    output = DiagnosisPredictor(session).predict(case, 0)
    if case.candidates:
        assert sorted(output["ranked"]) == sorted(case.candidates)
    assert evidence_problems(output, case_input(case))[1] == 0
    scores = SUITES["diagnosis"].scorer(LearnedMetrics())(case, [output])
    assert scores["unparsable"] == 0.0


def test_a_choice_is_letters_of_the_options(session: Any) -> None:
    """Single choice: one letter, always an option's."""
    case = ChoiceCase("1", "Which organ pumps blood?", {"A": "The heart", "B": "The liver"}, ("A",))
    output = ChoicePredictor(session).predict(case, 0)
    assert set(output["letters"]) <= {"A", "B"} and len(output["letters"]) == 1
    assert SUITES["ophthalmology"].scorer(LearnedMetrics())(case, [output])["unparsable"] == 0.0


def test_a_judgement_is_a_score_whose_quote_stands_in_the_answer(session: Any) -> None:
    """1 to 5, and evidence that the suite finds in the judged answer."""
    case = JudgeCase("1", "A sore throat.", "Viral pharyngitis. Rest and fluids.", 4.0)
    output = JudgePredictor(session).predict(case, 0)
    assert 1 <= output["score"] <= 5
    scores = SUITES["judge"].scorer(LearnedMetrics())(case, [output])
    assert (scores["unparsable"], scores["evidence_outside"]) == (0.0, 0.0)


def test_a_bundle_without_the_task_is_refused(session: Any, tmp_path: Path) -> None:
    """One line that says how to get it, before anything runs."""
    bare = FolderSession(tmp_path, session.engine, session.tokenizer, session.grammar_tokenizer)
    for make in (DiagnosisPredictor, ChoicePredictor, JudgePredictor):
        with pytest.raises(InputError, match="has no task"):
            make(bare)  # type: ignore[arg-type]


def test_a_note_draft_becomes_text_and_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the drafting task returns reaches the scorer: text, form, and every line's places in the visit."""
    start = VISIT.index("amoxicillin")
    line = NoteLine("PLAN", "Amoxicillin 500 mg.", (Span(start, start + 11),), MODEL, 0)
    given: dict[str, Any] = {}

    def draft_note(session: Any, text: str, **options: Any) -> NoteDraft:
        given.update(options)
        return NoteDraft(text, (line,), 0, (), (), True, Figures())

    monkeypatch.setattr(drafting, "draft_note", draft_note)
    predictor = NotePredictor(object(), {"checked": False})  # type: ignore[arg-type]
    output = predictor.predict(NoteCase("1", VISIT, NOTE), 0)
    assert given == {"checked": False}
    assert "Amoxicillin 500 mg." in output["text"]
    assert output["parsed"] is True
    assert (output["withheld"], output["quoted"]) == (0, 0)
    assert evidence_problems(output, VISIT) == (1, 0)
