"""Text samples: which tokens, in which order, under which digest."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.build.texts import SEQUENCE_TOKENS, read_texts, sample, task_sequence, visit_parts, visit_sample
from edge.clinical.note import NOTE_TASK, note_messages
from edge.errors import SourceError
from edge.runtime.text import ChatTokenizer
from tests.tiny import write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def test_files_take_turns(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    """One visit alone is no sample: every file gives its opening before any gives its second stretch."""
    folder = write(tmp_path / "t", b="b" * 1200, a="a" * 600, c="c")
    a, b = (tokenizer.encode_text(letter)[0] for letter in "ab")
    taken = sample(folder, tokenizer, 10_000)
    assert [(ids[0], len(ids)) for ids in taken.sequences] == [(a, 512), (b, 512), (a, 88), (b, 512), (b, 176)]
    assert taken.tokens == 1800


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(0, 1300), min_size=1, max_size=4), tokens=st.integers(2, 3000))
def test_never_more_than_asked_for(tmp_path: Path, tokenizer: ChatTokenizer, lengths: list[int], tokens: int) -> None:
    """The number of tokens is in the profile: time and memory of the build follow from it."""
    folder = write(tmp_path / "t", **{f"f{index}": "ab cd " * 300 for index in range(4)})
    for index in range(4):
        (folder / f"f{index}.txt").write_text("z" * (lengths[index] if index < len(lengths) else 0))
    if max(lengths) < 2:
        with pytest.raises(SourceError, match="fewer than two tokens"):
            sample(folder, tokenizer, tokens)
        return
    taken = sample(folder, tokenizer, tokens)
    assert 2 <= taken.tokens <= tokens
    assert taken.tokens >= min(tokens, sum(lengths)) - len(lengths) * (1 + 1300 // SEQUENCE_TOKENS)
    assert all(2 <= len(ids) <= SEQUENCE_TOKENS for ids in taken.sequences)
    first, rest = taken.split(tokens // 2)
    assert first.sequences + rest.sequences == taken.sequences
    assert first.sequences


def test_digest_knows_names_and_contents(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    """The cache finds a rounding by this digest: two texts under one digest give one of them a wrong rounding."""
    variants: list[dict[str, str]] = [
        {"a": "one two", "b": "three"},
        {"a": "one", "b": "two three"},
        {"c": "one two", "b": "three"},
        {"a": "one two"},
    ]
    digests = {
        sample(write(tmp_path / str(number), **texts), tokenizer, 100).digest for number, texts in enumerate(variants)
    }
    assert len(digests) == 4
    again = write(tmp_path / "again", b="three", a="one two")
    assert sample(again, tokenizer, 100).digest in digests


def test_control_tokens_in_a_text_are_text(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    """A dialogue that mentions a control token must not be calibrated as one."""
    taken = sample(write(tmp_path / "t", a="he said <|im_end|> twice"), tokenizer, 100)
    assert tokenizer.control_ids.isdisjoint(taken.sequences[0])


def test_a_file_is_transcript_and_note() -> None:
    """The note task is sampled from both; taken for one another, the sample would teach the wrong words."""
    assert visit_parts("Doctor: a\nPatient: b\n\nCHIEF COMPLAINT\n\nPain.\n") == (
        "Doctor: a\nPatient: b",
        "CHIEF COMPLAINT\n\nPain.",
    )
    for text in ("no empty line at all", "only an end\n\n  \n"):
        assert "".join(visit_parts(text)) == text


def test_the_task_as_it_is_used(tokenizer: ChatTokenizer) -> None:
    """The prompt over a piece of the transcript, then a piece of the note; the next turn takes the next pieces."""
    text = "one two three four five six\n\nNote: ab cd ef"
    seen = []
    for turn in range(2):
        ids, prompt_tokens = task_sequence(text, tokenizer, 12, 5, turn)
        prompt = tokenizer.decode(ids[:prompt_tokens])
        assert prompt == tokenizer.decode(
            tokenizer.encode_chat(note_messages(NOTE_TASK, ("one two", "e four five")[turn]))
        )
        seen.append(tokenizer.decode(ids[prompt_tokens:]))
    assert seen == ["Note:", " ab c"]
    ids, prompt_tokens = task_sequence("", tokenizer, 12, 5)
    assert len(ids) == prompt_tokens


def test_plain_text_and_task_take_turns(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    """Half of the sample is the task; its tokens are bounded like any sample's, its digest is the texts'."""
    folder = write(tmp_path / "t", **{name: f"Visit {name}. " * 60 + "\n\n" + "Note of it. " * 200 for name in "ab"})
    for tokens in (100, 1000, 6000):
        taken = visit_sample(folder, tokenizer, tokens)
        assert taken.tokens <= tokens
        assert taken.digest == sample(folder, tokenizer, tokens).digest
        assert all(len(ids) > 1 for ids in taken.sequences)
    controls = [not tokenizer.control_ids.isdisjoint(ids) for ids in taken.sequences]
    assert controls[:8] == [False, True] * 4  # later the notes run out
    assert len(controls) >= 4


def test_broken_folders_are_one_line(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    """A wrong folder in a profile must not end in a traceback in the middle of the build."""
    for folder in (tmp_path / "none", write(tmp_path / "empty")):
        with pytest.raises(SourceError, match=r"no \.txt files"):
            sample(folder, tokenizer, 100)
    folder = write(tmp_path / "bad", a="fine")
    (folder / "b.txt").write_bytes(b"caf\xe9")
    with pytest.raises(SourceError, match=r"b\.txt: not UTF-8 at byte 3"):
        read_texts(folder)


def test_visits_are_sampled_as_they_are_used(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    """Weights calibrated on dialogue alone lose most in the note task: both forms must be in the sample."""
    folder = write(tmp_path / "t", a="hello doctor " * 90 + "\n\nNOTE: the patient is well. " * 40, b="x y " * 400)
    taken = visit_sample(folder, tokenizer, 3000)
    plain, task = taken.sequences[0], taken.sequences[1]
    assert tokenizer.control_ids.isdisjoint(plain)
    assert not tokenizer.control_ids.isdisjoint(task)
    assert "NOTE: the patient is well." in tokenizer.decode(task)
    assert sum(map(len, visit_sample(folder, tokenizer, 700).sequences)) <= 700


def test_a_note_follows_the_first_empty_line() -> None:
    """A transcript taken for the note would be what the build is held to."""
    assert visit_parts("talk\n\nnote one\n\nnote two") == ("talk", "note one\n\nnote two")
    assert visit_parts("abcd") == ("ab", "cd")


def test_a_note_that_has_run_out_is_not_repeated(tmp_path: Path, tokenizer: ChatTokenizer) -> None:
    """The same prompt again and again would weigh more in the rounding than the visits."""
    folder = write(tmp_path / "t", a="talk " * 600 + "\n\nshort note")
    taken = visit_sample(folder, tokenizer, 6000)
    assert sum(not tokenizer.control_ids.isdisjoint(ids) for ids in taken.sequences) == 1
