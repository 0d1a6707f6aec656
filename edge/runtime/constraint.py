"""What an answer may be made of: a grammar, given numbers only, or both; asked before every token.

A constraint is the state of one answer. `allowed` masks the vocabulary, `forced` gives the tokens that must come next
anyway, so that they need not be asked of the model one by one (jump-forward), `commit` takes what was chosen. Grammars
run in llguidance (Lark, JSON schema, regular expressions), over the bytes of each token: a grammar holds however the
tokenizer cuts the text.

Grammars may hold words of a patient (see evidence.py), so an error about one says the place in it and never the words,
unless the grammar was declared to be `public`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge.errors import BundleError, InputError, MissingToolError
from edge.runtime.text import ChatTokenizer

Mask = npt.NDArray[np.bool_]
_PLACE = re.compile(r"^(?:<[^>]*>:)?(\d+)\((\d+)\)")


class Constraint(Protocol):
    """The state of one answer. Tokens are given by `commit` in order; stop tokens are never committed."""

    @property
    def may_stop(self) -> bool:
        """The answer may end here."""
        ...

    @property
    def finished(self) -> bool:
        """Nothing but the end can follow."""
        ...

    def allowed(self) -> Mask:
        """[vocab] bool: the ordinary tokens that may come next. Not to be written to. Stop tokens are in it exactly
        when `may_stop`."""
        ...

    def allows(self, token: int) -> bool:
        """`allowed()[token]`, mostly without computing the rest."""
        ...

    def forced(self) -> Sequence[int]:
        """Tokens that come next whatever the model says; empty where it has a choice."""
        ...

    def commit(self, token: int) -> None:
        """Take a token. Errors: ValueError when it is not allowed."""
        ...

    def rollback(self, tokens: int) -> None:
        """Forget the last `tokens` committed ones."""
        ...


@dataclass(frozen=True)
class Grammar:
    """A grammar in llguidance's own form. public: it holds no words of a patient, so that errors may quote it."""

    source: str = field(repr=False)
    public: bool = False


def lark_grammar(text: str, *, public: bool = False) -> Grammar:
    """A Lark grammar as llguidance reads it; `start` is its first rule."""
    return Grammar(_llguidance().LLMatcher.grammar_from_lark(text), public)


def regex_grammar(pattern: str, *, public: bool = False) -> Grammar:
    """The whole answer matches a regular expression (Rust's syntax, no look-around)."""
    return Grammar(_llguidance().LLMatcher.grammar_from_regex(pattern), public)


def json_schema_grammar(schema: Mapping[str, Any], *, public: bool = False, spaces: bool = False) -> Grammar:
    """JSON of a schema. spaces: white space wherever JSON allows it; without, one compact form, which forces more."""
    options = {"whitespace_flexible": spaces}
    try:
        source = _llguidance().LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=options)
    except (ValueError, TypeError) as error:
        raise InputError("the JSON schema cannot be read", mend="give a schema of plain JSON types") from error
    return Grammar(source, public)


def choice_grammar(options: Sequence[str], *, public: bool = False) -> Grammar:
    """The whole answer is one of `options`. Errors: InputError without any."""
    if not options or not all(options):
        raise InputError("a choice needs options that are not empty", mend="give at least one")
    return lark_grammar("start: " + " | ".join(lark_string(option) for option in options), public=public)


def lark_string(text: str) -> str:
    """`text` as a Lark literal."""
    return json.dumps(text).replace("\x7f", "\\u007f")  # the one control character that JSON leaves as it is


class GrammarTokenizer:
    """The bundle's tokenizer as llguidance needs it, made once a session (0.2 s for 49,152 tokens).

    vocab_size: the model's, which may be larger than the tokenizer's. Errors: BundleError.
    """

    def __init__(self, tokenizer: ChatTokenizer, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.stop_ids = frozenset(index for index in tokenizer.stop_ids if index < vocab_size)
        library = _llguidance()
        try:
            self.native: Any = library.LLTokenizer(
                tokenizer.definition(),
                n_vocab=max(vocab_size, tokenizer.vocab_size),
                eos_token=sorted(self.stop_ids) or None,
            )
        except Exception as error:  # OSError, and whatever llguidance raises
            raise BundleError(
                "the tokenizer cannot be used with grammars", where="tokenizer", mend="generate without a grammar"
            ) from error
        self._control = tokenizer.control_ids | self.stop_ids

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes that each token writes, [vocab]; a control token writes none."""
        decode: Callable[[list[int]], bytes] = self.native.decode_bytes
        return tuple(b"" if index in self._control else bytes(decode([index])) for index in range(self.vocab_size))


class GrammarConstraint:
    """Implements Constraint with llguidance. Errors: InputError when the grammar is not valid or too large."""

    def __init__(self, tokenizer: GrammarTokenizer, grammar: Grammar) -> None:
        self._tokenizer = tokenizer
        self._public = grammar.public
        self._matcher: Any = _llguidance().LLMatcher(tokenizer.native, grammar.source, log_level=0)
        self._mask: Mask | None = None
        if self._matcher.is_error():
            raise InputError(f"the grammar is not valid{self._reason()}", mend="correct it")

    @property
    def may_stop(self) -> bool:
        return bool(self._matcher.is_accepting())

    @property
    def finished(self) -> bool:
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()

    def allowed(self) -> Mask:
        """See Constraint.allowed."""
        if self._mask is None:
            bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
            mask = np.unpackbits(bits, bitorder="little")[: self._tokenizer.vocab_size].astype(np.bool_)
            self._check()
            mask[list(self._tokenizer.stop_ids)] = self.may_stop
            self._mask = mask
        return self._mask

    def allows(self, token: int) -> bool:
        """See Constraint.allows."""
        if self._mask is not None:
            return bool(self._mask[token])
        if token in self._tokenizer.stop_ids:
            return self.may_stop
        return not self.finished and self._matcher.validate_tokens([token]) == 1

    def forced(self) -> Sequence[int]:
        """See Constraint.forced; llguidance gives them where their cut into tokens is beyond doubt."""
        if self.finished:
            return ()
        forced: list[int] = self._matcher.compute_ff_tokens()
        return forced

    def commit(self, token: int) -> None:
        """See Constraint.commit."""
        if not self.allows(token) or token in self._tokenizer.stop_ids:
            raise ValueError("a token that the grammar does not allow")
        self._mask = None
        if not self._matcher.consume_token(token):
            self._check()

    def rollback(self, tokens: int) -> None:
        """See Constraint.rollback."""
        if tokens:
            self._mask = None
            self._matcher.rollback(tokens)
            self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise InputError(f"the grammar needs more work than it may{self._reason()}", mend="make it simpler")

    def _reason(self) -> str:
        text = str(self._matcher.get_error())
        if self._public and text.strip():
            return f" ({text.strip().splitlines()[0][:160]})"
        place = _PLACE.match(text)
        return f" (line {place[1]}, column {place[2]})" if place else ""


class Both:
    """Two constraints at once, `first` the one that forces. They must leave each other a way on: where together they
    allow nothing, generation ends with the reason "constraint"."""

    def __init__(self, first: Constraint, second: Constraint) -> None:
        self._first, self._second = first, second

    @property
    def may_stop(self) -> bool:
        return self._first.may_stop and self._second.may_stop

    @property
    def finished(self) -> bool:
        return self.may_stop and (self._first.finished or self._second.finished)

    def allowed(self) -> Mask:
        """See Constraint.allowed."""
        mask: Mask = self._first.allowed() & self._second.allowed()
        return mask

    def allows(self, token: int) -> bool:
        """See Constraint.allows."""
        return self._first.allows(token) and self._second.allows(token)

    def forced(self) -> Sequence[int]:
        """See Constraint.forced: as many as the other one allows."""
        agreed: list[int] = []
        for token in self._first.forced():
            if not self._second.allows(token):
                break
            self._second.commit(token)
            agreed.append(token)
        self._second.rollback(len(agreed))
        return agreed

    def commit(self, token: int) -> None:
        """See Constraint.commit."""
        if not self.allows(token):
            raise ValueError("a token that the constraints do not allow")
        self._first.commit(token)
        self._second.commit(token)

    def rollback(self, tokens: int) -> None:
        """See Constraint.rollback."""
        self._first.rollback(tokens)
        self._second.rollback(tokens)


def _llguidance() -> Any:
    try:
        import llguidance  # 40 ms: only for those who constrain
    except ImportError as error:  # a note whose lines need not parse would look like one whose lines do
        raise MissingToolError(
            "llguidance is not installed, without which no grammar can be held", mend="install it, see docs/android.md"
        ) from error
    return llguidance
