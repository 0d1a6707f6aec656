"""Golden cases and the source's opinion: what a device is held to, the same bytes from every build host."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge.bench.golden import parse_golden
from edge.build.golden import (
    CASES,
    CASES_FILE,
    CONTINUATION_TOKENS,
    LOGPROB_UNIT,
    SOURCE_FILE,
    TOP_TOKENS,
    golden_sequences,
    make_golden,
)
from edge.build.quantise import QuantFormat
from edge.build.readback import BuiltModel
from edge.build.reference import Reference, log_softmax
from edge.runtime.text import ChatTokenizer
from tests.tiny import VOCAB_SIZE, engine, export, tiny_source, write_tokenizer

TEXTS = [(f"visit{n}.txt", f"Doctor: How is the pain? Patient {n}: It is in the eye.\n" * 6) for n in range(5)]
INT8 = QuantFormat(8, 32, True)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    tokenizer = ChatTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))
    assert tokenizer.vocab_size == VOCAB_SIZE <= tiny_source().config.vocab_size
    return tokenizer


@pytest.fixture(scope="module")
def sequences(tokenizer: ChatTokenizer) -> list[tuple[str, list[int], int]]:
    # The note prompt is long in a vocabulary of bytes: its last part will do.
    return [(name, ids[-150:], 85) for name, ids, _ in golden_sequences(TEXTS, tokenizer)]


def test_cases_are_note_prompts_with_words_of_the_visit(tokenizer: ChatTokenizer) -> None:
    """A device is to be held to what it will be asked: a note prompt, scored from the first answer token on."""
    made = golden_sequences(TEXTS, tokenizer)
    assert [name for name, _, _ in made] == [f"note-{index:02d}" for index in range(1, CASES + 1)]
    for _, ids, first in made:
        assert len(ids) - 1 - first == CONTINUATION_TOKENS
        assert ids[first - 10 : first + 1].count(1) == 1  # <|im_start|>assistant is just before
        assert tokenizer.control_ids.isdisjoint(ids[first + 1 :])
    assert golden_sequences([("a", "short")], tokenizer)[0][1]
    ((_, ids, first),) = golden_sequences([("a", "")], tokenizer)
    assert first == len(ids) - 1


def test_expectations_are_the_built_models_and_opinions_the_sources(
    tmp_path: Path, sequences: list[tuple[str, list[int], int]]
) -> None:
    """Mixed up, a device would be blamed for rounding, or a bad rounding be called the source's opinion."""
    source = tiny_source()
    folder = export(tmp_path / "m", source, QuantFormat(4, 32, True), head=INT8, context_tokens=256)
    with BuiltModel(folder, source.config) as built:
        files = make_golden(source, built, sequences)
        assert make_golden(source, built, sequences) == files
    cases = parse_golden(json.loads(files[CASES_FILE]), "cases.json").cases
    opinions = json.loads(files[SOURCE_FILE])
    assert (opinions["schema_version"], opinions["logprob_unit"]) == (1, LOGPROB_UNIT)
    device = engine(folder)
    for case, opinion, (name, ids, first) in zip(cases, opinions["cases"], sequences, strict=True):
        assert (case.id, list(case.token_ids), case.first) == (name, ids, first)
        device.rewind(0)
        logits = device.forward(ids, range(first, len(ids)))
        ordered = np.sort(logits, axis=1)
        margin = ordered[:, -1] - ordered[:, -2]
        assert case.margin == pytest.approx(margin, abs=2e-3)
        clear = margin > 0.01
        assert np.array_equal(np.array(case.expected_top1)[clear], logits.argmax(axis=1)[clear])

        reference = Reference(source, [ids])
        wanted = log_softmax(reference.logits(reference.run()[first:]))
        assert (opinion["id"], opinion["from"]) == (name, first)
        for row, top, logprobs in zip(wanted, opinion["top_ids"], opinion["logprobs"], strict=True):
            assert len(top) == len(set(top)) == TOP_TOKENS
            assert np.array(logprobs) / LOGPROB_UNIT == pytest.approx(row[top], abs=1e-3)
            assert logprobs == sorted(logprobs, reverse=True)
            assert row[top].min() >= np.sort(row)[-TOP_TOKENS] - 1e-3


def test_files_are_canonical_json(tmp_path: Path, sequences: list[tuple[str, list[int], int]]) -> None:
    """They are digested: a space or a changed order of keys is another bundle."""
    source = tiny_source()
    with BuiltModel(export(tmp_path / "m", source, INT8, head=INT8), source.config) as built:
        files = make_golden(source, built, sequences[:1])
    for data in files.values():
        value = json.loads(data)
        assert data == (json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode()
