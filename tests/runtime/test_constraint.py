"""Grammars over tokens: what is forced, what is allowed, when it may end, and what an error tells."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import BundleError, InputError
from edge.runtime.constraint import (
    Both,
    Constraint,
    Grammar,
    GrammarConstraint,
    GrammarTokenizer,
    choice_grammar,
    json_schema_grammar,
    lark_grammar,
    lark_string,
    regex_grammar,
)
from edge.runtime.numbers import NumberConstraint
from edge.runtime.text import ChatTokenizer
from tests.tiny import VOCAB_SIZE, write_tokenizer

MODEL_VOCAB = 320  # more than the tokenizer has: models are padded
STOP = 2


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer(write_tokenizer(tmp_path_factory.mktemp("t")))


@pytest.fixture(scope="module")
def tokenizer(chat: ChatTokenizer) -> GrammarTokenizer:
    return GrammarTokenizer(chat, MODEL_VOCAB)


def feed(constraint: Constraint, ids: Sequence[int]) -> None:
    for index in ids:
        constraint.commit(index)


def wander(constraint: Constraint, seed: int, longest: int = 200) -> list[int]:
    """A random answer under a constraint, as a model of random weights would write it."""
    chance, ids = random.Random(seed), list[int]()
    while len(ids) < longest and not constraint.finished:
        forced = constraint.forced()
        for token in forced:
            constraint.commit(token)
        ids += forced
        if forced:
            continue
        mask = constraint.allowed()
        assert bool(mask[STOP]) == constraint.may_stop
        choices = [int(token) for token in np.flatnonzero(mask)]
        assert choices, "a dead end"
        token = chance.choice(choices)
        if token == STOP:
            break
        constraint.commit(token)
        ids.append(token)
    return ids


def test_a_grammar_is_followed_from_start_to_end(chat: ChatTokenizer, tokenizer: GrammarTokenizer) -> None:
    """What is forced needs no model, what is not is masked, and the end is known."""
    constraint = GrammarConstraint(tokenizer, lark_grammar('start: "RISK: " ("low" | "high") "\\n"'))
    assert not constraint.may_stop
    forced = constraint.forced()
    assert chat.decode(forced) in ("RISK:", "RISK: ")
    feed(constraint, forced)
    feed(constraint, chat.encode_text("RISK: high"[len(chat.decode(forced)) :]))
    assert not constraint.finished
    assert chat.decode(constraint.forced()) == "\n"
    feed(constraint, constraint.forced())
    assert (constraint.may_stop, constraint.finished) == (True, True)
    assert list(constraint.forced()) == []
    assert list(np.flatnonzero(constraint.allowed())) == [STOP]


def test_masks_are_of_the_models_size(tokenizer: GrammarTokenizer) -> None:
    """Ids beyond the tokenizer's have no text: a grammar that lets them through writes nothing, for ever."""
    constraint = GrammarConstraint(tokenizer, regex_grammar(r"(.|\n)*"))
    mask = constraint.allowed()
    assert mask.shape == (MODEL_VOCAB,)
    assert mask.dtype == np.bool_
    assert not mask[VOCAB_SIZE:].any()
    assert mask[STOP]
    assert not mask[[0, 1, 3, 4]].any()  # control tokens are no text


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=30)
def test_json_is_json(chat: ChatTokenizer, tokenizer: GrammarTokenizer, seed: int) -> None:
    """Whatever a model of random weights writes under a schema must parse and fit it."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "likelihood": {"enum": ["low", "high"]},
            "codes": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 999}, "maxItems": 2},
        },
        "required": ["name", "likelihood", "codes"],
        "additionalProperties": False,
    }
    constraint = GrammarConstraint(tokenizer, json_schema_grammar(schema))
    value = json.loads(chat.decode(wander(constraint, seed)))
    assert constraint.finished
    assert list(value) == ["name", "likelihood", "codes"]
    assert len(value["name"]) <= 8
    assert value["likelihood"] in ("low", "high")
    assert all(0 <= code <= 999 for code in value["codes"])


@given(st.integers(0, 10**6), st.integers(0, 40))
@settings(deadline=None, max_examples=30)
def test_rollback_is_as_if_never_committed(tokenizer: GrammarTokenizer, seed: int, back: int) -> None:
    """Drafts are tried and taken back: a trace of them would forbid what is right."""
    grammar = regex_grammar(r"([a-z]{1,5} (low|high) [0-9]{2}\n)+")
    there, straight = GrammarConstraint(tokenizer, grammar), GrammarConstraint(tokenizer, grammar)
    numbers = NumberConstraint(tokenizer, [f"{number:02}" for number in range(100)])
    both = Both(there, numbers)
    ids = wander(straight, seed, 40)
    for token in ids:
        both.commit(token)
    back = min(back, len(ids))
    both.rollback(back)
    again = GrammarConstraint(tokenizer, grammar)
    feed(again, ids[: len(ids) - back])
    assert np.array_equal(there.allowed(), again.allowed())
    assert (there.may_stop, there.finished, there.forced()) == (again.may_stop, again.finished, again.forced())
    for token in ids[len(ids) - back :]:
        assert both.allows(token)
        both.commit(token)


def test_allows_is_the_mask(tokenizer: GrammarTokenizer) -> None:
    """The sampler asks for one token only; an answer that differs from the mask's would break the grammar."""
    grammar = lark_grammar('start: "a"+ ("b" | "cd" | /[0-9]/)?')
    walked = GrammarConstraint(tokenizer, grammar)
    for _ in range(3):
        fresh = [GrammarConstraint(tokenizer, grammar) for _ in range(MODEL_VOCAB)]
        done = [walked.forced()] if walked.forced() else [[int(np.flatnonzero(walked.allowed())[0])]]
        mask = walked.allowed()
        assert [one.allows(token) for token, one in enumerate(fresh)] == list(
            GrammarConstraint(tokenizer, grammar).allowed()
        )
        assert [walked.allows(token) for token in range(MODEL_VOCAB)] == list(mask)
        if done[0] == [STOP]:
            break
        feed(walked, done[0])


def test_what_is_not_allowed_is_not_committed(tokenizer: GrammarTokenizer, chat: ChatTokenizer) -> None:
    """A matcher that swallows a wrong token in silence allows anything afterwards."""
    constraint = GrammarConstraint(tokenizer, choice_grammar(["yes", "no"]))
    for wrong in (*chat.encode_text("x"), STOP):
        with pytest.raises(ValueError, match="does not allow"):
            constraint.commit(wrong)
    feed(constraint, chat.encode_text("no"))
    assert constraint.finished
    both = Both(GrammarConstraint(tokenizer, regex_grammar("[0-9]+")), NumberConstraint(tokenizer, ["12"]))
    with pytest.raises(ValueError, match="do not allow"):
        both.commit(chat.encode_text("7")[0])


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6), st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_a_choice_is_one_of_the_options(
    chat: ChatTokenizer, tokenizer: GrammarTokenizer, options: list[str], seed: int
) -> None:
    """Option texts hold quotes, slashes and any script: escaping must keep them."""
    options = [text for text in (option.encode("utf-8", "ignore").decode() for option in options) if text] or ["x"]
    constraint = GrammarConstraint(tokenizer, choice_grammar(options))
    written = b"".join(tokenizer.token_bytes[token] for token in wander(constraint, seed))
    assert written.decode() in options


@pytest.mark.parametrize(
    "grammar",
    [
        lark_grammar("start: secretname ("),
        lark_grammar('start: "secretname" other'),
        regex_grammar("(secretname"),
        json_schema_grammar({"type": "secretname"}),
        Grammar("secretname"),
    ],
)
def test_a_bad_grammar_is_one_line_without_its_words(tokenizer: GrammarTokenizer, grammar: Grammar) -> None:
    """Grammars hold a patient's words; errors land in logs."""
    with pytest.raises(InputError, match="the grammar is not valid") as caught:
        GrammarConstraint(tokenizer, grammar)
    assert "secretname" not in str(caught.value)
    assert "secretname" not in repr(grammar)
    assert "\n" not in str(caught.value)


def test_a_public_grammar_says_what_is_wrong(tokenizer: GrammarTokenizer) -> None:
    """Whoever writes a task's own grammar needs the reason."""
    with pytest.raises(InputError, match=r"not valid \(.*nosuchrule"):
        GrammarConstraint(tokenizer, lark_grammar("start: nosuchrule", public=True))
    with pytest.raises(InputError, match=r"\(line 2, column \d+\)"):
        GrammarConstraint(tokenizer, lark_grammar('start: "a"\n)'))


def test_inputs_that_are_no_grammar() -> None:
    """Said at once, not as a crash of a library."""
    with pytest.raises(InputError, match="options"):
        choice_grammar([])
    with pytest.raises(InputError, match="options"):
        choice_grammar(["a", ""])
    with pytest.raises(InputError, match="JSON schema"):
        json_schema_grammar({"type": {1, 2}})


def test_a_tokenizer_that_is_gone(tmp_path: Path) -> None:
    """A bundle removed under a running session gives a line, not a traceback."""
    chat = ChatTokenizer(write_tokenizer(tmp_path / "t"))
    (tmp_path / "t" / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match="with grammars"):
        GrammarTokenizer(chat, MODEL_VOCAB)


def test_forced_tokens_that_the_other_forbids_are_not_forced(chat: ChatTokenizer, tokenizer: GrammarTokenizer) -> None:
    """Together two constraints may only do what both allow."""
    both = Both(
        GrammarConstraint(tokenizer, lark_grammar('start: "BP 120/80\\n"')), NumberConstraint(tokenizer, ["120"])
    )
    assert chat.decode(both.forced()) == "BP 120/"
    feed(both, both.forced())
    assert both.forced() == []
    assert not both.allowed().any()
    assert not both.finished
    fitting = Both(
        GrammarConstraint(tokenizer, lark_grammar('start: "BP 120/80\\n"')), NumberConstraint(tokenizer, ["120/80"])
    )
    feed(fitting, fitting.forced())
    assert fitting.finished
    assert fitting.may_stop


def test_literals() -> None:
    """A literal with quotes or line feeds must not end early."""
    assert lark_string('a "b"\n') == '"a \\"b\\"\\n"'
    assert lark_string("\x7fé\\") == r'"\u007f\u00e9\\"'
