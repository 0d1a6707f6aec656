"""The drafting benchmark: it compares tokens, adds up visits, and says what failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import run_drafting
from benchmarks.run_drafting import BOTH, DRAFTS, JUMP, ONE_ROW, PLAIN, WARM, Answers, by_visit, main, read_prompts
from edge.errors import ExitStatus, InputError
from tests.tiny import export, tiny_source, write_tokenizer

CONTEXT = 256


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    export(folder / "model", tiny_source(), context_tokens=CONTEXT)
    write_tokenizer(folder / "tokenizer")
    return folder


def prompts(folder: Path) -> Path:
    path = folder / "prompts.json"
    first = {"prompt": [*range(5, 40), *range(5, 30)], "new_tokens": 12, "visit": "v", "public_prefix_tokens": 20}
    second = {"prompt": list(range(9, 30)), "new_tokens": 30, "visit": "v", "grammar": 'start: "the pain " /[a-z]{3}/'}
    path.write_text(json.dumps([first, second]))
    return path


def test_every_way_of_every_prompt(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The claim behind the numbers: equal tokens; and a visit is the sum of its prompts."""
    out = tmp_path / "d.json"
    words = ["--bundle", str(bundle), "--prompts", str(prompts(tmp_path)), "--threads", "1", "--repetitions", "2"]
    assert main([*words, "--json", str(out)]) == ExitStatus.OK
    value = json.loads(out.read_text())
    ways = [(one["way"], one["equal"]) for one in value["answers"]]
    assert [way for way, _ in ways] == [ONE_ROW, PLAIN, DRAFTS, WARM, ONE_ROW, PLAIN, DRAFTS, JUMP, BOTH]
    assert all(equal for way, equal in ways if way != ONE_ROW)
    assert all(len(one["seconds"]) == len(one["ttft_s"]) == 2 for one in value["answers"])
    (visit,) = value["visits"].values()
    assert list(visit) == [ONE_ROW, PLAIN, DRAFTS, JUMP, BOTH, WARM]
    plain = [one["seconds"] for one in value["answers"] if one["way"] == PLAIN]
    assert visit[PLAIN] == pytest.approx([a + b for a, b in zip(*plain, strict=True)])
    printed = capsys.readouterr().out
    assert "times as fast as plain" in printed
    assert "NO" not in printed


def test_other_tokens_are_a_failure(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed with another note is no speed."""
    answer = run_drafting.Edge.answer

    def wrong(self: run_drafting.Edge, prompt: run_drafting.Prompt, way: str) -> object:
        tokens, end = answer(self, prompt, way)
        return ((*tokens, 1), end) if way == DRAFTS else (tokens, end)

    monkeypatch.setattr(run_drafting.Edge, "answer", wrong)
    words = ["--bundle", str(bundle), "--prompts", str(prompts(tmp_path)), "--threads", "1", "--repetitions", "1"]
    assert main(words) == ExitStatus.GATE


def test_visits_add_the_best_that_a_prompt_has() -> None:
    """A prompt without a grammar cannot jump; in a visit that jumps it counts with its drafts."""
    answers = [
        Answers(0, "a", PLAIN, 1, [10.0]),
        Answers(0, "a", DRAFTS, 1, [8.0]),
        Answers(1, "a", PLAIN, 1, [6.0]),
        Answers(1, "a", DRAFTS, 1, [5.0]),
        Answers(1, "a", JUMP, 1, [4.0]),
        Answers(2, "b", PLAIN, 1, [1.0]),
        Answers(2, "b", DRAFTS, 1, [2.0]),
    ]
    assert by_visit(answers) == {
        "a": {PLAIN: [16.0], DRAFTS: [13.0], JUMP: [12.0]},
        "b": {PLAIN: [1.0], DRAFTS: [2.0], JUMP: [2.0]},
    }


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '[{"prompt": "x", "new_tokens": 1}]', '[{"new_tokens": 1}]', '[{"p": 1}]']
)
def test_prompts_that_are_none(tmp_path: Path, text: str) -> None:
    """One line, not a traceback, for a file of another kind."""
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not a list of prompts"):
        read_prompts(path)


def test_a_peer_that_is_not_there(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without llama-cpp-python the comparison says so at once."""
    words = ["--bundle", str(bundle), "--prompts", str(prompts(tmp_path)), "--peer", str(tmp_path / "none.gguf")]
    assert main(words) in (ExitStatus.MISSING_TOOL, ExitStatus.RESOURCE)
    assert "llama.cpp" in capsys.readouterr().err
