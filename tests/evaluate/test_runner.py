"""Running, resuming, killing, refusing: no case is lost, run twice or left out in silence."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edge.errors import InputError, ResourceError
from edge.evaluate.data.cases import ChoiceCase, DiagnosisCase
from edge.evaluate.journal import Entry, Journal, binding
from edge.evaluate.predictors import KeepingPredictor, ReplayPredictor, ScriptedPredictor, output_head, output_name
from edge.evaluate.runner import SAME_CHECK, Data, Identity, Settings, choose, get_suite, load_data, run_suite
from edge.evaluate.suites import SUITES
from tests.evaluate.conftest import NOTE

BUILD = Identity("tiny", "tiny-profile", "b" * 64, "d" * 64)


def right(case: DiagnosisCase, sample: int) -> dict[str, Any]:
    """The true diagnosis first, with evidence in the input."""
    rest = [name for name in case.candidates if name != case.answer]
    return {"ranked": [case.answer, *rest], "parsed": True, "evidence": [{"start": 0, "end": 7, "quote": "Present"}]}


def dx(path: Path) -> Data:
    return load(path, "diagnosis")


def load(path: Path, suite: str) -> Data:
    return load_data(path, SUITES[suite])[1]


def run(data: Data, folder: Path, answer: Any = right, **more: Any) -> Any:
    """One run with a scripted model; how many cases it was asked for."""
    asked: list[str] = []

    def counted(case: Any, sample: int) -> Mapping[str, Any]:
        asked.append(case.id)
        result: Mapping[str, Any] = answer(case, sample)
        return result

    differ = more.pop("samples_differ", False)
    predictor = ScriptedPredictor(counted, samples_differ=differ)
    suite = next(suite for suite in SUITES.values() if isinstance(data.cases[0], suite.case))
    return run_suite(suite, data, predictor, BUILD, folder=folder, **more), asked


def test_a_whole_run(dx_file: Path, tmp_path: Path) -> None:
    """Figures, groups, identity and scores by case; no text of a case anywhere in the result."""
    result, asked = run(dx(dx_file), tmp_path)
    assert len(asked) == 6
    assert result.figure("top1").value == 1.0
    assert result.figure("evidence_outside").value == 0
    assert result.figure("chance_top1").value == pytest.approx(1 / 3)
    assert {group.grouping for group in result.groups} >= {"department"}
    assert result.bundle["behaviour_digest"] == "b" * 64
    assert [case.id for case in result.cases] == [f"Ours_{n}" for n in range(6)]
    assert "ear pain" not in result.to_bytes().decode()
    journal = next(tmp_path.glob("*.jsonl"))
    assert "ear pain" not in journal.read_text(encoding="utf-8")
    assert journal.stat().st_mode & 0o777 == 0o600


def test_a_second_run_asks_nothing(dx_file: Path, tmp_path: Path) -> None:
    """Resume: the same build, data and code; the figures are the same and the reader is told."""
    first, _ = run(dx(dx_file), tmp_path)
    second, asked = run(dx(dx_file), tmp_path)
    assert asked == []
    assert second.figures == first.figures
    assert any("taken over" in remark for remark in second.remarks)
    _, asked = run(dx(dx_file), tmp_path, fresh=True)
    assert len(asked) == 6


def test_a_limit_grows(dx_file: Path, tmp_path: Path) -> None:
    """`--limit 2`, then all: the two are not run again."""
    result, asked = run(dx(dx_file), tmp_path, settings=Settings(limit=2))
    assert asked == ["Ours_0", "Ours_1"]
    assert any("Only 2 of the 6" in remark for remark in result.remarks)
    _, asked = run(dx(dx_file), tmp_path)
    assert asked == [f"Ours_{n}" for n in range(2, 6)]


@pytest.mark.parametrize("change", ["data", "build", "samples"])
def test_another_binding_starts_anew(mcq_file: Path, tmp_path: Path, change: str) -> None:
    """Scores of another build, file or setting must never be mixed in."""
    suite = SUITES["ophthalmology"]
    predictor = ScriptedPredictor(lambda case, sample: {"letters": ["B"]}, samples_differ=True)
    data = load(mcq_file, suite.name)
    run_suite(suite, data, predictor, BUILD, folder=tmp_path)
    who, settings = BUILD, Settings()
    if change == "data":
        mcq_file.write_text(mcq_file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        data = load(mcq_file, suite.name)
    elif change == "build":
        who = Identity("tiny", "tiny-profile", "c" * 64)
    else:
        settings = Settings(samples=1)
    result = run_suite(suite, data, predictor, who, folder=tmp_path, settings=settings)
    assert not any("taken over" in remark for remark in result.remarks)


def test_killed_in_the_middle_goes_on(dx_file: Path, tmp_path: Path) -> None:
    """kill -9 during the third case: two are kept, and the next run asks for the other four."""
    data = dx(dx_file)
    child = os.fork()
    if child == 0:  # pragma: no cover - it never comes back

        def dies(case: DiagnosisCase, sample: int) -> dict[str, Any]:
            if case.id == "Ours_2":
                os.kill(os.getpid(), signal.SIGKILL)
            return right(case, sample)

        run(data, tmp_path, dies)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    result, asked = run(data, tmp_path)
    assert asked == ["Ours_2", "Ours_3", "Ours_4", "Ours_5"]
    assert len(result.cases) == 6


def test_a_refused_case_counts_as_wrong(dx_file: Path, tmp_path: Path) -> None:
    """Leaving out what the task refuses would flatter the build."""

    def refuses(case: DiagnosisCase, sample: int) -> dict[str, Any]:
        if case.id == "Ours_0":
            raise InputError("longer than the model can read", where="secret words")
        return right(case, sample)

    result, _ = run(dx(dx_file), tmp_path, refuses)
    assert result.figure("top1").value == pytest.approx(5 / 6)
    assert result.figure("unparsable").value == 1
    assert result.cases[0].error == "InputError: longer than the model can read"
    assert any("refused" in remark for remark in result.remarks)


def test_a_bug_is_no_wrong_answer(dx_file: Path, tmp_path: Path) -> None:
    """A crash of ours must stop the run, not lower a figure."""

    def broken(case: DiagnosisCase, sample: int) -> dict[str, Any]:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run(dx(dx_file), tmp_path, broken)


def test_evidence_that_is_not_there_is_found(dx_file: Path, tmp_path: Path) -> None:
    """The check here does not trust who made the evidence."""

    def liar(case: DiagnosisCase, sample: int) -> dict[str, Any]:
        return right(case, sample) | {"evidence": [{"start": 0, "end": 7, "quote": "Absent:"}]}

    result, _ = run(dx(dx_file), tmp_path, liar)
    assert (result.figure("evidence_spans").value, result.figure("evidence_outside").value) == (6, 6)


def test_majority_of_three_samples(mcq_file: Path, tmp_path: Path) -> None:
    """Right in two of three is right; one sample stands for all where answers never differ."""
    answers = [["B"], ["A"], ["B"]]

    def sometimes(case: ChoiceCase, sample: int) -> dict[str, Any]:
        return {"letters": answers[sample] if case.id == "2" else ["A"]}

    data = load(mcq_file, "ophthalmology")
    result, asked = run(data, tmp_path, sometimes, samples_differ=True)
    assert len(asked) == 6
    assert [case.scores["correct"] for case in result.cases] == [0.0, 1.0]
    assert result.figure("one_sample").value == pytest.approx(1 / 3)
    result, asked = run(data, tmp_path, sometimes, fresh=True)
    assert len(asked) == 2
    assert any("one sample stands for 3" in remark for remark in result.remarks)


def test_unparsable_choices_are_counted(mcq_file: Path, tmp_path: Path) -> None:
    """No letters, or letters that are no option, are unparsable."""
    data = load(mcq_file, "ophthalmology")
    result, _ = run(data, tmp_path, lambda case, sample: {"letters": ["Z"] if case.id == "1" else []})
    assert result.figure("unparsable").value == 2
    assert result.figure("correct").value == 0.0


def test_notes_suite(aci_file: Path, tmp_path: Path) -> None:
    """People's own notes: ROUGE 1, no unsupported number; learned metrics say why they are missing."""
    data = load(aci_file, "notes")
    result, _ = run(data, tmp_path, lambda case, sample: {"text": case.reference, "parsed": True})
    assert result.figure("rouge1").value == pytest.approx(1.0)
    assert result.figure("visit_unsupported_major").value == result.figure("gold_unsupported_major").value
    assert result.figure("bleurt").reason == "no model folder was given"
    assert NOTE[:20] not in result.to_bytes().decode()
    assert SAME_CHECK in result.remarks
    wrong = NOTE.replace("500 mg", "850 mg")
    own = Settings(options={"checked": False})
    result, _ = run(data, tmp_path, lambda case, sample: {"text": wrong, "parsed": False}, settings=own)
    assert SAME_CHECK not in result.remarks
    assert "Not as in use: checked is off." in result.remarks
    assert result.figure("visit_unsupported_major").value == 1.0
    assert result.figure("unparsable").value == 3


def test_judge_suite(judge_file: Path, tmp_path: Path) -> None:
    """Signed errors; a score off the scale is unparsable and no number."""
    data = load(judge_file, "judge")
    result, _ = run(data, tmp_path, lambda case, sample: {"score": 5 if case.human_score > 4 else 7})
    assert result.figure("signed_error").value == 0.75
    assert result.figure("signed_error").count == 1
    assert result.figure("unparsable").value == 1


def test_kept_outputs_are_private_and_can_be_scored_again(dx_file: Path, tmp_path: Path) -> None:
    """--keep-outputs: one file a case, its name no id, only for the owner; replay needs the same build and suite."""
    data, kept = dx(dx_file), tmp_path / "kept"
    head, other = output_head("b" * 64, "diagnosis", {}), output_head("c" * 64, "diagnosis", {})
    keeping = KeepingPredictor(ScriptedPredictor(right), kept, head)
    first = run_suite(SUITES["diagnosis"], data, keeping, BUILD, folder=tmp_path / "a")
    files = sorted(kept.iterdir())
    assert len(files) == 6
    assert all(file.stat().st_mode & 0o777 == 0o600 and "Ours" not in file.name for file in files)
    assert kept.stat().st_mode & 0o777 == 0o700
    assert keeping.has(data.cases[0])
    assert not KeepingPredictor(keeping, kept, other).has(data.cases[0])
    (kept / output_name(data.cases[0], 0)).unlink()
    run_suite(SUITES["diagnosis"], data, keeping, BUILD, folder=tmp_path / "a", again=lambda one: not keeping.has(one))
    assert keeping.has(data.cases[0])
    replay = ReplayPredictor(kept, head)
    second = run_suite(SUITES["diagnosis"], data, replay, BUILD, folder=tmp_path / "b")
    assert second.figures == first.figures
    with pytest.raises(InputError, match="another build"):
        ReplayPredictor(kept, other).predict(data.cases[0], 0)
    (kept / output_name(data.cases[0], 0)).unlink()
    with pytest.raises(InputError, match="no kept output"):
        replay.predict(data.cases[0], 0)


def test_data_of_another_suite_is_refused(dx_file: Path) -> None:
    """The right suite is named."""
    with pytest.raises(InputError, match="use --suite diagnosis"):
        load(dx_file, "notes")
    with pytest.raises(InputError, match="use one of: notes, diagnosis, ophthalmology, judge"):
        get_suite("note")


def test_multiple_choice_may_be_called_diagnosis(mcq_file: Path) -> None:
    """`--suite diagnosis` takes the ophthalmology form too, and scores it as what it is."""
    suite, data = load_data(mcq_file, SUITES["diagnosis"])
    assert (suite.name, data.form.name) == ("ophthalmology", "multiple choice")


def test_split_chooses_edges_own_part(dx_file: Path, mcq_file: Path) -> None:
    """Only data in DxBench's form has the split; the remark warns of training cases."""
    data = dx(dx_file)
    parts = [len([case for case in data.cases if getattr(case, "split", "") == name]) for name in ("train", "test")]
    for name, count in zip(("train", "test"), parts, strict=True):
        if count:
            assert len(choose(data, Settings(split=name))) == count
    with pytest.raises(InputError, match="no split"):
        choose(load(mcq_file, "ophthalmology"), Settings(split="test"))
    with pytest.raises(InputError, match="no split"):
        choose(data, Settings(split="dev"))


# ---- the journal itself ----------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b'{"id":"C","sco', b'{"id":"C","scores":{}}\n', b"\xff\xfe\n", b"\n"])
def test_a_torn_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    """What a power cut left behind neither counts nor stops the next run."""
    path = tmp_path / "j.jsonl"
    with Journal(path, "x") as journal:
        journal.append(Entry("A", {"top1": 1.0}, 0.5))
    path.write_bytes(path.read_bytes() + torn)
    with Journal(path, "x") as journal:
        assert list(journal.entries) == ["A"]
        journal.append(Entry("B", {"top1": None}, 0.5, "refused"))
    with Journal(path, "x") as journal:
        assert journal.entries["B"] == Entry("B", {"top1": None}, 0.5, "refused")
    assert all(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


def test_a_journal_has_one_writer(tmp_path: Path) -> None:
    """Two runs of the same build on the same data would write into each other."""
    with Journal(tmp_path / "j.jsonl", "x"), pytest.raises(ResourceError, match="another run"):
        Journal(tmp_path / "j.jsonl", "x")


def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    """One line, before anything is run."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ResourceError):
        Journal(tmp_path / "file" / "j.jsonl", "x")


def test_the_binding_knows_every_part() -> None:
    """Equal parts, equal digest; any change, another."""
    assert binding({"a": 1, "b": 2}) == binding({"b": 2, "a": 1})
    assert binding({"a": 1}) != binding({"a": 2})
