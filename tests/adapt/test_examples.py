"""A recipe's data as token ids: conversations of your own, broken files, what is too long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.adapt.examples import Tokens, make_course, open_tokens, read_chat
from edge.errors import InputError, SourceError
from edge.specs.recipe import load_recipe
from tests.adapt.recipes import write_chats, write_recipe
from tests.tiny import write_tokenizer

SECRET = "Anna Reed, born 1961"


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    """The tiny tokenizer as a checkpoint gives it."""
    source = write_tokenizer(tmp_path / "source")
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    (tmp_path / "tokens").mkdir()
    return open_tokens(files, tmp_path / "tokens")


def test_the_answer_ends_with_the_end_token(tmp_path: Path, tokens: Tokens) -> None:
    """Without it a model never learns to stop; and the loss must be over the answer alone."""
    write_chats(tmp_path / "train.jsonl", 6)
    write_chats(tmp_path / "held_out.jsonl", 2, first=6)
    course = make_course(load_recipe(write_recipe(tmp_path)), tmp_path, tokens, len)
    examples = course.sources[0].examples
    assert len(examples) == 6 and sum(map(len, course.batches)) == 36
    assert all(example.answer[-1] == tokens.end_id for example in examples)
    assert examples[0].answer[:-1] == tuple(tokens.chat.encode_text("HPI: Pain in the knee for 2 days."))
    assert [file.name for file in course.files] == ["held_out.jsonl", "train.jsonl"]


def test_too_long_is_left_out_and_counted(tmp_path: Path, tokens: Tokens) -> None:
    """Cutting an example would teach an answer without its source."""
    write_chats(tmp_path / "train.jsonl", 6)
    with (tmp_path / "train.jsonl").open("a", encoding="utf-8") as stream:
        long = [{"role": "user", "content": "pain " * 600}, {"role": "assistant", "content": "HPI: Pain."}]
        stream.write(json.dumps({"messages": long}) + "\n")
    course = make_course(load_recipe(write_recipe(tmp_path, held_out=[])), tmp_path, tokens, len)
    assert (len(course.sources[0].examples), course.sources[0].left_out, course.held_out) == (6, 1, ())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"{SECRET}", "not JSON"),
        (json.dumps({"text": SECRET}), "'messages'"),
        (json.dumps({"messages": [{"role": "user", "content": SECRET}]}), "two or more"),
        (json.dumps({"messages": [{"role": "doctor", "content": SECRET}] * 2}), "known role"),
        (json.dumps({"messages": [{"role": "user", "content": SECRET}] * 2}), "does not end with"),
        (json.dumps({"messages": [{"role": "user", "content": ""}] * 2}), "without content"),
    ],
    ids=["text", "keys", "short", "role", "end", "empty"],
)
def test_a_broken_line(tmp_path: Path, line: str, words: str) -> None:
    """The message names file and line, never a word of the patient's."""
    path = write_chats(tmp_path / "train.jsonl", 2)
    path.write_text(path.read_text("utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        list(read_chat(path))
    assert words in str(caught.value) and f"{path}:3" in str(caught.value)
    assert "Anna" not in str(caught.value) and "1961" not in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path, tokens: Tokens) -> None:
    """A wrong --data folder is one line that says which file was looked for."""
    recipe = load_recipe(write_recipe(tmp_path))
    with pytest.raises(InputError, match=r"train\.jsonl: there is no such file"):
        make_course(recipe, tmp_path, tokens, len)
    notes = load_recipe(write_recipe(tmp_path, data=[{"kind": "aci-notes", "path": "a.csv"}]))
    with pytest.raises(InputError, match="--data"):
        make_course(notes, tmp_path, tokens, len)


def test_another_form(tmp_path: Path, tokens: Tokens) -> None:
    """A file of another kind is refused with the kind's name."""
    (tmp_path / "dx.json").write_text(json.dumps([{"symptoms": [SECRET]}]), encoding="utf-8")
    data = [{"kind": "dxbench", "path": "dx.json", "copies": 1}]
    recipe = load_recipe(write_recipe(tmp_path, task="differential", data=data, held_out=[]))
    with pytest.raises(InputError, match="form of dxbench") as caught:
        make_course(recipe, tmp_path, tokens, len)
    assert "Anna" not in str(caught.value)


def test_a_tokenizer_without_an_end(tmp_path: Path) -> None:
    """Training without an end token is refused before it begins."""
    source = write_tokenizer(tmp_path / "source", eos_token_ids=[])
    with pytest.raises(SourceError, match="ends an answer"):
        open_tokens({path.name: path.read_bytes() for path in source.iterdir()}, tmp_path)
