"""Quotes under the evidence rule are in the text, and are found there again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import InputError
from edge.runtime.constraint import GrammarConstraint, GrammarTokenizer, lark_grammar
from edge.runtime.evidence import evidence_rule, locate
from edge.runtime.text import ChatTokenizer
from tests.runtime.test_constraint import MODEL_VOCAB, wander
from tests.tiny import write_tokenizer

VISIT = "Doctor: Any fever?\nPatient: No fever, since 3 days   the knee hurts.\n\nDoctor: 120/80."


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> GrammarTokenizer:
    return GrammarTokenizer(ChatTokenizer(write_tokenizer(tmp_path_factory.mktemp("t"))), MODEL_VOCAB)


def quote(tokenizer: GrammarTokenizer, rules: str, seed: int, *, json_text: bool = False) -> str:
    start = 'start: "EVIDENCE:" ev "\\n"\n' if not json_text else 'start: "{" ev "}"\n'
    constraint = GrammarConstraint(tokenizer, lark_grammar(start + rules))
    ids = wander(constraint, seed, 2000)
    assert constraint.finished
    text = b"".join(tokenizer.token_bytes[token] for token in ids).decode()
    return text.removeprefix("EVIDENCE:").removesuffix("\n") if not json_text else text[1:-1]


@given(
    text=st.text(st.characters(codec="utf-8") | st.sampled_from(' \n"\\{}/.'), min_size=1, max_size=80),
    seed=st.integers(0, 10**6),
    max_words=st.none() | st.integers(1, 4),
    leading_space=st.booleans(),
)
@settings(deadline=None, max_examples=120)
def test_whatever_is_generated_stands_in_the_text(
    tokenizer: GrammarTokenizer, text: str, seed: int, max_words: int | None, leading_space: bool
) -> None:
    """The promise of evidence: no model can write a quote that nobody said."""
    if not text.split():
        with pytest.raises(InputError, match="no words"):
            evidence_rule("ev", text)
        return
    found = quote(tokenizer, evidence_rule("ev", text, max_words=max_words, leading_space=leading_space), seed)
    assert found.startswith(" ") == leading_space
    words = found.split(" ")[1:] if leading_space else found.split(" ")
    assert 1 <= len(words) <= (max_words or 1000)
    # Whole words of one line, in a row.
    lines = [line.split() for line in text.splitlines()]
    assert any(words == line[at : at + len(words)] for line in lines for at in range(len(line)))
    place = locate(text, found)
    assert place is not None
    assert text[place[0] : place[1]].split() == words


def test_quotes_do_not_cross_pieces(tokenizer: GrammarTokenizer) -> None:
    """Half a question and half an answer make a third statement that nobody made."""
    seen = {quote(tokenizer, evidence_rule("ev", ["a b", "c d"]), seed).strip() for seed in range(60)}
    assert seen == {"a", "b", "c", "d", "a b", "c d"}


def test_a_rule_or_a_terminal(tokenizer: GrammarTokenizer) -> None:
    """Both kinds of Lark names fit into a caller's grammar; two rules stand side by side."""
    rules = evidence_rule("first", "alpha") + evidence_rule("SECOND", "beta")
    constraint = GrammarConstraint(tokenizer, lark_grammar('start: "1:" first " 2:" SECOND\n' + rules))
    text = b"".join(tokenizer.token_bytes[token] for token in wander(constraint, 1)).decode()
    assert text == "1: alpha 2: beta"


@pytest.mark.parametrize(
    ("name", "max_words", "words"), [("Ev", None, "name"), ("1", None, "name"), ("a-b", None, "name"), ("ev", 0, "max")]
)
def test_impossible_rules(name: str, max_words: int | None, words: str) -> None:
    """A bad name would be an error deep in a grammar."""
    with pytest.raises(InputError, match=words):
        evidence_rule(name, "text", max_words=max_words)


def test_the_rule_is_json_inside() -> None:
    """Words of a visit must not be able to end the rule and begin another."""
    rule = evidence_rule("ev", 'x"}\nstart: "y')
    assert len(rule.splitlines()) == 3
    assert json.loads(rule.splitlines()[0].split("%regex ")[1])["substring_chunks"][1:3] == [" ", 'x"}']


@pytest.mark.parametrize(
    ("text", "words", "place"),
    [
        (VISIT, "No fever,", (28, 37)),
        (VISIT, " the knee", (53, 61)),
        (VISIT, "3 days the knee", (44, 61)),
        ("feverish fever", "fever", (9, 14)),
        ("feverish", "fever", (0, 5)),
        ("a.c abc", "abc", (4, 7)),
        ("abc", "a.c", None),
        ("abc", "  ", None),
        ("", "x", None),
    ],
)
def test_locate(text: str, words: str, place: tuple[int, int] | None) -> None:
    """The reader is shown the place in the transcript; a wrong one is worse than none."""
    assert locate(text, words) == place


def test_a_long_visit_is_quick_enough(tokenizer: GrammarTokenizer, tmp_path: Path) -> None:
    """A visit of an hour is 10,000 words; the rule is made once for each."""
    text = " ".join(f"word{index % 700}" for index in range(10_000))
    assert locate(text, quote(tokenizer, evidence_rule("ev", text, max_words=20), 3)) is not None
