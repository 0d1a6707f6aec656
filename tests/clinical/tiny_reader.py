"""A tiny random model that scores: engine, tokenizer and grammars as a session has them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edge.runtime.constraint import GrammarTokenizer
from edge.runtime.engine import Engine
from edge.runtime.text import ChatTokenizer
from tests.tiny import BASE, engine, export, tiny_source, write_tokenizer

CONTEXT = 2048


@dataclass(frozen=True)
class TinyReader:
    """Implements edge.clinical.scoring.Reader."""

    engine: Engine
    tokenizer: ChatTokenizer
    grammar_tokenizer: GrammarTokenizer


def tiny_reader(folder: Path, context_tokens: int = CONTEXT) -> TinyReader:
    """Two random layers and a tokenizer of bytes."""
    source = tiny_source(replace(BASE, max_positions=context_tokens))
    made = engine(export(folder / "model", source, context_tokens=context_tokens))
    tokenizer = ChatTokenizer(write_tokenizer(folder / "tokenizer"))
    return TinyReader(made, tokenizer, GrammarTokenizer(tokenizer, made.vocab_size))
