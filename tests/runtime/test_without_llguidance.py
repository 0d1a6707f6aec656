"""Where llguidance has no build (Android without its recipe) grammars are refused in one line, never left out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge.errors import MissingToolError
from edge.runtime.constraint import GrammarTokenizer, choice_grammar, json_schema_grammar, lark_grammar, regex_grammar
from edge.runtime.text import ChatTokenizer
from tests.tiny import write_tokenizer


def test_no_grammar_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unconstrained note looks like a constrained one until a line does not parse."""
    monkeypatch.setitem(sys.modules, "llguidance", None)
    for make in (
        lambda: lark_grammar('start: "a"'),
        lambda: regex_grammar("a"),
        lambda: choice_grammar(["a"]),
        lambda: json_schema_grammar({"type": "string"}),
        lambda: GrammarTokenizer(ChatTokenizer(write_tokenizer(tmp_path)), 320),
    ):
        with pytest.raises(MissingToolError, match="llguidance is not installed"):
            make()
