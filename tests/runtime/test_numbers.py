"""Numbers in an answer are whole numbers of the source."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.runtime.constraint import GrammarTokenizer
from edge.runtime.numbers import NumberConstraint, numbers_in
from edge.runtime.text import ChatTokenizer
from tests.runtime.test_constraint import MODEL_VOCAB, STOP
from tests.tiny import write_tokenizer

NUMBERS = st.from_regex(r"\.?[0-9]{1,3}([.,/][0-9]{1,2}){0,2}", fullmatch=True)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer(write_tokenizer(tmp_path_factory.mktemp("t")))


@pytest.fixture(scope="module")
def tokenizer(chat: ChatTokenizer) -> GrammarTokenizer:
    return GrammarTokenizer(chat, MODEL_VOCAB)


def possible(chat: ChatTokenizer, constraint: NumberConstraint, text: str) -> bool:
    for token in chat.encode_text(text):
        if not constraint.allows(token):
            return False
        constraint.commit(token)
    return constraint.may_stop


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("BP 120/80, temp 98.6.", {"120/80", "98.6"}),
        ("1,000 mg of B12 at .5 and 5. 6,", {"1,000", "12", ".5", "5", "6"}),
        ("5..3 1/2/2024 x", {"5", ".3", "1/2/2024"}),
        ("none", set()),
    ],
)
def test_numbers_of_a_text(text: str, numbers: set[str]) -> None:
    """What may be written is what was found: a number cut in two would allow its halves."""
    assert numbers_in(text) == numbers


@given(st.text(st.sampled_from("0123456789.,/ x"), max_size=12), st.frozensets(NUMBERS, max_size=6))
@settings(deadline=None, max_examples=120)
def test_only_given_numbers_can_be_written(
    chat: ChatTokenizer, tokenizer: GrammarTokenizer, text: str, allowed: frozenset[str]
) -> None:
    """The law: a text can be written exactly when all its numbers were given."""
    assert possible(chat, NumberConstraint(tokenizer, allowed), text) == (numbers_in(text) <= allowed)


@given(st.text(st.sampled_from("0123456789./ x"), max_size=10), st.frozensets(NUMBERS, max_size=6))
@settings(deadline=None, max_examples=60)
def test_mask_is_what_is_allowed_one_by_one(
    chat: ChatTokenizer, tokenizer: GrammarTokenizer, text: str, allowed: frozenset[str]
) -> None:
    """The mask is computed for groups of tokens at once; it must not let one slip through."""
    constraint = NumberConstraint(tokenizer, allowed)
    for token in chat.encode_text(text):
        assert list(constraint.allowed()) == [constraint.allows(index) for index in range(MODEL_VOCAB)]
        assert constraint.allowed()[STOP] == constraint.may_stop
        assert constraint.allowed().any()  # no dead end
        if not constraint.allows(token):
            break
        constraint.commit(token)


@pytest.mark.parametrize(
    ("before", "text", "fine"),
    [
        ("take 2", " now", True),
        ("take 2", "5 mg", True),
        ("take 2", "6", False),
        ("at .", "5", False),
        ("x", "5", False),
    ],
)
def test_goes_on_from_what_stands_before(
    chat: ChatTokenizer, tokenizer: GrammarTokenizer, before: str, text: str, fine: bool
) -> None:
    """An answer prefix that ends with a digit must not be made into another number."""
    assert possible(chat, NumberConstraint(tokenizer, ["25"], before=before), text) is fine


def test_steps_can_be_taken_back(chat: ChatTokenizer, tokenizer: GrammarTokenizer) -> None:
    """Drafts are tried on it."""
    constraint = NumberConstraint(tokenizer, ["120/80"])
    ids = chat.encode_text("at 120/80")
    masks = []
    for token in ids:
        masks.append(constraint.allowed().copy())
        constraint.commit(token)
    constraint.rollback(0)
    for mask in reversed(masks):
        constraint.rollback(1)
        assert np.array_equal(constraint.allowed(), mask)
    with pytest.raises(ValueError, match="another number"):
        constraint.commit(chat.encode_text("7")[0])
    assert constraint.forced() == ()
    assert not constraint.finished
