"""An open bundle, ready to write. Three lines:

from edge.runtime.session import Session
with Session.open("build/reference-notes") as session:
    print(session.write([Message("user", "What is a Snellen chart?")]).text)
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (telemetry off before anything else is imported)

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle, open_bundle
from edge.errors import BundleError
from edge.runtime.engines import engine_factory
from edge.runtime.generate import Finished, PrefillStep, TokenStep, generate, never
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

    def __init__(self, bundle: OpenBundle, *, threads: int | None = None, context_tokens: int | None = None) -> None:
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
    def open(path: Path | str, *, threads: int | None = None, home: Path | None = None) -> Session:
        """Open and check a bundle with this user's trusted keys. Errors: BundleError, UntrustedError."""
        from edge.device.facts import local_facts

        bundle = open_bundle(path, KeyStore(home).trust_store(), device=local_facts())
        return Session(bundle, threads=threads)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()

    def stream(
        self,
        prompt_ids: Sequence[int],
        *,
        sampler: SamplerSettings | None = None,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[Event]:
        """Generate after `prompt_ids`, appended to what the engine already holds; the last event is Finished."""
        decoder = self.tokenizer.stream()
        for step in generate(
            self.engine,
            prompt_ids,
            Sampler(sampler or SamplerSettings()),
            stop_ids=self.tokenizer.stop_ids,
            max_new_tokens=max_new_tokens,
            cancelled=cancelled,
            chunk_tokens=self._chunk_tokens,
        ):
            if isinstance(step, TokenStep):
                if text := decoder.push(step.token_id):
                    yield TextPiece(text)
            elif isinstance(step, Finished):
                if text := decoder.flush():
                    yield TextPiece(text)
                yield step
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
