"""An open bundle, ready to write. Three lines:

from edge.runtime.session import Session
with Session.open("build/reference-notes") as session:
    print(session.write([Message("user", "What is a Snellen chart?")]).text)
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (telemetry off before anything else is imported)

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

from edge.bundle.install.in_force import in_force
from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle, open_bundle
from edge.errors import BundleError
from edge.runtime.constraint import Constraint, Grammar, GrammarConstraint, GrammarTokenizer
from edge.runtime.drafts import Drafter
from edge.runtime.engines import engine_factory
from edge.runtime.generate import Finished, PrefillStep, TokenStep, generate, never
from edge.runtime.prefix_cache import PrefixCache, PublicPrefix
from edge.runtime.sampling import Sampler, SamplerSettings
from edge.runtime.text import ChatTokenizer, Message


@dataclass(frozen=True)
class TextPiece:
    """New text, as soon as it is certain."""

    text: str


@dataclass(frozen=True)
class Written:
    """A whole answer."""

    text: str
    finished: Finished


Event = TextPiece | PrefillStep | Finished


class Session:
    """Bundle, tokenizer and engine together. One generation at a time."""

    def __init__(
        self,
        bundle: OpenBundle,
        *,
        threads: int | None = None,
        context_tokens: int | None = None,
        prefix_cache: PrefixCache | None = None,
    ) -> None:
        self.prefix_cache = prefix_cache
        self.bundle = bundle
        self.folder = bundle.path
        self.tokenizer = ChatTokenizer(bundle.path / "tokenizer")
        profile = bundle.manifest.profile
        make = engine_factory(str(bundle.manifest.runtime.get("engine", "")), str(bundle.path))
        limit = int(profile["context_tokens"])
        self.engine = make(
            bundle.path / "model", threads or profile.get("threads"), min(context_tokens or limit, limit)
        )
        self._chunk_tokens = int(profile.get("prefill_chunk_tokens", 256))

    @staticmethod
    def open(
        path: Path | str,
        *,
        threads: int | None = None,
        home: Path | None = None,
        prefix_cache: PrefixCache | None = None,
    ) -> Session:
        """Open and check a bundle with this user's trusted keys. Errors: BundleError, UntrustedError."""
        from edge.device.facts import local_facts

        bundle = open_bundle(in_force(Path(path)), KeyStore(home).trust_store(), device=local_facts())
        return Session(bundle, threads=threads, prefix_cache=prefix_cache)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()

    @cached_property
    def grammar_tokenizer(self) -> GrammarTokenizer:
        """What constraints need of this bundle's tokenizer; made at the first use."""
        return GrammarTokenizer(self.tokenizer, self.engine.vocab_size)

    def constraint(self, grammar: Grammar) -> GrammarConstraint:
        """A fresh constraint for one answer. Errors: InputError when the grammar is not valid."""
        return GrammarConstraint(self.grammar_tokenizer, grammar)

    def stream(
        self,
        prompt_ids: Sequence[int],
        *,
        sampler: SamplerSettings | None = None,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = never,
        constraint: Constraint | Grammar | None = None,
        drafter: Drafter | None = None,
        public_prefix_tokens: int = 0,
    ) -> Iterator[Event]:
        """Generate after `prompt_ids`, appended to what the engine already holds; the last event is Finished.

        constraint: what the answer may be made of. drafter: a fresh one; it changes the speed and no token.
        public_prefix_tokens: so many tokens at the beginning of the prompt hold no word of a patient. With a
        prefix_cache and an empty engine they are taken from there, or read and, after the answer, written there.
        """
        prefix = None
        if self.prefix_cache and public_prefix_tokens > 0 and self.engine.length == 0:
            prefix = PublicPrefix(self.prefix_cache, self.bundle.behaviour_digest, public_prefix_tokens)
        decoder = self.tokenizer.stream()
        for step in generate(
            self.engine,
            prompt_ids,
            Sampler(sampler or SamplerSettings()),
            stop_ids=self.tokenizer.stop_ids,
            max_new_tokens=max_new_tokens,
            cancelled=cancelled,
            chunk_tokens=self._chunk_tokens,
            constraint=self.constraint(constraint) if isinstance(constraint, Grammar) else constraint,
            drafter=drafter,
            prefix=prefix,
        ):
            if isinstance(step, TokenStep):
                if text := decoder.push(step.token_id):
                    yield TextPiece(text)
            elif isinstance(step, Finished):
                if text := decoder.flush():
                    yield TextPiece(text)
                yield step
                if prefix:
                    prefix.store(self.engine, prompt_ids)
            else:
                yield step

    def write(
        self,
        messages: Sequence[Message],
        *,
        sampler: SamplerSettings | None = None,
        max_new_tokens: int = 512,
    ) -> Written:
        """A whole answer to a conversation, from an empty cache."""
        self.engine.rewind(0)
        pieces: list[str] = []
        finished: Finished | None = None
        ids = self.tokenizer.encode_chat(messages)
        for event in self.stream(ids, sampler=sampler, max_new_tokens=max_new_tokens):
            if isinstance(event, TextPiece):
                pieces.append(event.text)
            elif isinstance(event, Finished):
                finished = event
        if finished is None:
            raise BundleError("the engine ended without a result", where=str(self.folder), mend="run `edge verify`")
        return Written("".join(pieces), finished)
