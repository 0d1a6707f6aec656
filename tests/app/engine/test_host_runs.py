"""The runs: what a clinician sees of a draft while it is written, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.app.engine.host_runs import (
    RunCancelledError,
    WatchedEngine,
    comparisons,
    left_out,
    run_note,
    run_scored,
)
from edge.app.engine.messages import (
    DraftNote,
    Event,
    LineDrafted,
    Piece,
    Progress,
    RankDifferential,
    Reading,
    Result,
    Started,
    TooLong,
    Unreadable,
    encode,
)
from edge.clinical.differential import DIFFERENTIAL_TASK, task_files
from edge.clinical.ophthalmology import OPHTHALMOLOGY_TASK
from edge.clinical.scoring import ScoringVariant
from edge.errors import InputError
from tests.clinical.test_drafting import VISIT, ScriptedSession
from tests.clinical.tiny_reader import tiny_reader
from tests.runtime.scripted import ExactScripted, ScriptedEngine


def never() -> bool:
    return False


def drafted(
    folder: Path, *answers: str, text: str = VISIT, cancelled: Any = never, most_words: int | None = None
) -> tuple[list[Event], Result]:
    """The events of a run and its result."""
    said: list[Event] = []
    session: Any = ScriptedSession(folder, list(answers))
    result = run_note(session, DraftNote("r1", "e1", text), said.append, cancelled)
    for event in (*said, result):
        encode(event)
    return said, result


def test_a_note_streams_and_ends_with_its_json(tmp_path: Path) -> None:
    """Started, reading, every piece, each checked line, then the whole note."""
    said, result = drafted(tmp_path, "HPI: He has had a cough for 2 weeks.\nPLAN: Order a chest x-ray.")
    assert said[0] == Started("r1", "e1", "note", 1)
    assert said[1] == Reading("r1", 1, 1)
    written = "".join(event.text for event in said if isinstance(event, Piece))
    assert written == "HPI: He has had a cough for 2 weeks.\nPLAN: Order a chest x-ray."
    lines = [event.line for event in said if isinstance(event, LineDrafted)]
    assert lines[0]["text"] == "He has had a cough for 2 weeks."
    assert lines[0]["origin"] == "model"
    for line in lines:
        assert all(VISIT[one["start"] : one["end"]] == one["quote"] for one in line["evidence"])
    in_note = [line["text"] for section in result.value["sections"] for line in section["lines"]]
    assert sorted(in_note) == sorted(line["text"] for line in lines)
    assert not result.cancelled
    assert result.figures.new_tokens > 0
    assert result.figures.ttft_ms is not None
    assert result.figures.elapsed_ms >= result.figures.ttft_ms


def test_a_withheld_line_is_in_no_checked_line(tmp_path: Path) -> None:
    """What the check refuses streams past as text, and is never a line."""
    said, result = drafted(tmp_path, "MEDICATIONS: Metformin 500 mg twice daily.")
    assert result.value["withheld"] == 1
    assert "Metformin" not in json.dumps([event.line for event in said if isinstance(event, LineDrafted)])
    assert "Metformin" not in json.dumps(result.value)


def test_stop_leaves_at_the_next_step_with_what_there_is(tmp_path: Path) -> None:
    """Partial, and said so."""
    count = 0

    def cancelled() -> bool:
        nonlocal count
        count += 1
        return count > 12

    said, result = drafted(
        tmp_path, "HPI: He has had a cough for 2 weeks.\nPLAN: Order a chest x-ray.", cancelled=cancelled
    )
    assert result.cancelled
    assert result.value["cancelled"]
    assert "x-ray" not in "".join(event.text for event in said if isinstance(event, Piece))


def test_an_unreadable_answer_adds_nothing(tmp_path: Path) -> None:
    """The model wrote no form: no line of any kind, an empty result, and it is said."""
    said, result = drafted(tmp_path, "bla bla bla\nmore of it")
    assert Unreadable("r1") in said
    assert not any(isinstance(event, LineDrafted) for event in said)
    assert result.value == {}


def test_a_quiet_model_is_not_unreadable(tmp_path: Path) -> None:
    """NONE is an answer: the visit's own words are still quoted."""
    said, result = drafted(tmp_path, "NONE")
    assert Unreadable("r1") not in said
    assert any(isinstance(event, LineDrafted) for event in said)
    assert result.value["sections"]


def test_an_empty_text_is_a_run_like_any_other(tmp_path: Path) -> None:
    """It starts and ends."""
    said, result = drafted(tmp_path, text=" ")
    assert said[0] == Started("r1", "e1", "note", 0)
    assert result.value["sections"] == []


def test_a_very_long_visit_says_what_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never silent; and every offset points into the text as it was given."""
    first = "\n".join(f"[patient] i walked to shop number {number} and back ." for number in range(40))
    text = f"{first}\n{VISIT}"
    monkeypatch.setattr("edge.app.engine.host_runs.left_out", lambda given: left_out(given, most_words=70))
    said, result = drafted(tmp_path, "HPI: He has had a cough for 2 weeks.", "NONE", text=text)
    assert said[0] == Started("r1", "e1", "note", 0)
    told = said[1]
    assert isinstance(told, TooLong)
    assert told.left_out_minutes >= 1
    lines = [event.line for event in said if isinstance(event, LineDrafted)]
    assert any("cough" in line["text"] for line in lines)
    from_note = [line for section in result.value["sections"] for line in section["lines"]]
    for line in (*lines, *from_note):
        assert line["evidence"]
        assert all(text[one["start"] : one["end"]] == one["quote"] for one in line["evidence"])
    for flag in result.value["red_flags"]:
        assert all(text[one["start"] : one["end"]] == one["quote"] for one in flag["evidence"])


WORDS = st.lists(st.sampled_from(["[doctor] well .", "[patient] yes it hurts .", "no", "\n", "a b c"]), max_size=40)


@given(WORDS.map(" ".join) | WORDS.map("\n".join), st.integers(1, 60))
def test_laws_of_the_cut(text: str, most_words: int) -> None:
    """A text that fits is whole; else what is left fits and minutes are said."""
    cut, minutes = left_out(text, most_words)
    fits = len(text.split()) <= most_words
    assert (cut == 0 and minutes == 0) if fits else (minutes >= 1 and 0 < cut <= len(text))
    assert len(text[cut:].split()) <= most_words


CASE = "68-year-old woman. Fever and cough for three days. Chest pain when breathing. No rash."


@pytest.fixture(scope="module")
def scoring_session(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny model with both scored tasks."""
    folder = tmp_path_factory.mktemp("scored")
    reader = tiny_reader(folder)
    (folder / "tasks").mkdir()
    for task in (DIFFERENTIAL_TASK, OPHTHALMOLOGY_TASK):
        for name, data in task_files(task).items() if task.name == "differential" else ():
            (folder / "tasks" / name).write_bytes(data)
    (folder / "tasks" / "ophthalmology.json").write_bytes(OPHTHALMOLOGY_TASK.to_bytes())
    return SimpleNamespace(
        folder=folder,
        engine=reader.engine,
        tokenizer=reader.tokenizer,
        grammar_tokenizer=reader.grammar_tokenizer,
    )


@pytest.mark.parametrize("task", ["differential", "ophthalmology"])
def test_a_differential_counts_and_ends(scoring_session: Any, task: str) -> None:
    """Progress goes up to its total and no further; the value is the task's own JSON."""
    said: list[Event] = []
    text = CASE if task == "differential" else "OD IOP 52 mmHg. OD painful red eye. OD corneal oedema. No discharge."
    result = run_scored(scoring_session, RankDifferential("r1", "e1", task, text, None), said.append, never)
    assert said[0] == Started("r1", "e1", task, 1)
    done = [(event.done, event.total) for event in said if isinstance(event, Progress)]
    assert done[0][0] == 0
    assert done == sorted(done)
    assert done[-1][0] == done[-1][1]
    assert result.value["task"] == task
    assert result.value["options"]
    assert result.figures.prompt_tokens > 0
    encode(result)


def test_a_differential_can_be_left_at_any_step(scoring_session: Any) -> None:
    """Stop between two candidates: nothing of the ranking is shown."""
    said: list[Event] = []

    def cancelled() -> bool:
        return len(said) > 4

    result = run_scored(scoring_session, RankDifferential("r1", "e1", "differential", CASE), said.append, cancelled)
    assert result.cancelled
    assert result.value == {}
    assert len(said) <= 6
    again: list[Event] = []
    whole = run_scored(scoring_session, RankDifferential("r2", "e1", "differential", CASE), again.append, never)
    assert not whole.cancelled


def test_an_unknown_task_is_one_line(scoring_session: Any) -> None:
    """No guess about what was meant."""
    with pytest.raises(InputError):
        run_scored(scoring_session, RankDifferential("r1", "e1", "prognosis", CASE), lambda _event: None, never)


def test_the_watched_engine_is_the_engine() -> None:
    """Same numbers, same errors; it only counts and looks for a stop."""
    stop, scored = [False], [0]

    def count() -> None:
        scored[0] += 1

    for inner in (ScriptedEngine(), ExactScripted()):
        engine = WatchedEngine(inner, lambda: stop[0], count)
        assert (engine.vocab_size, engine.context_tokens, engine.length) == (50, 64, 0)
        engine.forward([1, 2], (1,))
        engine.forward_exact([3], (0,))
        assert engine.length == 3
        engine.rewind(2)
        engine.rewind(0)
        engine.close()
        assert not inner.closed
        assert engine.read_tokens == 3
        stop[0] = True
        with pytest.raises(RunCancelledError):
            engine.forward([1], (0,))
        with pytest.raises(RunCancelledError):
            engine.forward_exact([1], (0,))
        stop[0] = False
    assert scored == [2]


def test_comparisons() -> None:
    """Once for each likelihood that has a weight; that of an open question takes two."""
    assert comparisons(ScoringVariant(direct_weight=1.0, prior_weight=1.0), 5) == 10
    assert comparisons(ScoringVariant(open_weight=0.5), 5) == 15
