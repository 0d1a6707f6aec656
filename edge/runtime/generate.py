"""The generation loop: chunked prefill, one token at a time, stop within one step.

Rules
- The prompt is read in chunks; between chunks and between tokens `cancelled` is asked, so a stop takes at
  most one chunk or one step.
- A prompt that leaves no room for an answer is refused before anything is computed; a generation that fills
  the context ends with finish reason "context", never silently.
- Tokens of a cancelled run stay readable in what was yielded; the caller rewinds the engine to go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edge.errors import InputError
from edge.runtime.engine import Engine, Logits
from edge.runtime.sampling import Sampler

PREFILL_CHUNK_TOKENS = 256


@dataclass(frozen=True)
class PrefillStep:
    """Progress of reading the prompt."""

    done_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class TokenStep:
    """One generated token. elapsed_ms: since the start of the generation (the first one is the TTFT)."""

    token_id: int
    elapsed_ms: float


@dataclass(frozen=True)
class Finished:
    """Why it ended: "stop" (the model ended), "length" (max_new_tokens), "context" (full), "cancelled"."""

    reason: str
    prompt_tokens: int
    new_tokens: int
    ttft_ms: float | None
    elapsed_ms: float

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Speed after the first token; None below two tokens."""
        if self.ttft_ms is None or self.new_tokens < 2 or self.elapsed_ms <= self.ttft_ms:
            return None
        return (self.new_tokens - 1) * 1000.0 / (self.elapsed_ms - self.ttft_ms)


Step = PrefillStep | TokenStep | Finished


def never() -> bool:
    """The default for `cancelled`."""
    return False


def prefill(
    engine: Engine, prompt_ids: Sequence[int], chunk_tokens: int = PREFILL_CHUNK_TOKENS
) -> Iterator[tuple[PrefillStep, Logits | None]]:
    """Append the prompt chunk by chunk; the last pair carries the logits [1, vocab] after the prompt."""
    total = len(prompt_ids)
    for start in range(0, total, chunk_tokens):
        chunk = prompt_ids[start : start + chunk_tokens]
        last = start + len(chunk) == total
        # The engine always computes one row of logits; only the last chunk's matters.
        logits = engine.forward(chunk, (len(chunk) - 1,))
        yield PrefillStep(start + len(chunk), total), logits if last else None


def generate(
    engine: Engine,
    prompt_ids: Sequence[int],
    sampler: Sampler,
    *,
    stop_ids: frozenset[int],
    max_new_tokens: int,
    cancelled: Callable[[], bool] = never,
    clock: Callable[[], float] = time.perf_counter,
    chunk_tokens: int = PREFILL_CHUNK_TOKENS,
) -> Iterator[Step]:
    """Append `prompt_ids` to the engine and generate; yields progress, tokens and one Finished at the end.

    stop_ids: end the answer and are not yielded. Errors: InputError when the prompt is empty or does not fit, or
    max_new_tokens is below 1; all before anything is computed.
    """
    started = clock()

    def elapsed_ms() -> float:
        return (clock() - started) * 1000.0

    room = engine.context_tokens - engine.length
    if len(prompt_ids) >= room:
        raise InputError(
            f"the text is {len(prompt_ids)} tokens long, the model can read {max(room - 1, 0)} here",
            mend="shorten it or build with a larger context_tokens",
        )
    if not len(prompt_ids):
        raise InputError("the prompt is empty", mend="give a text that is not empty")
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}", mend="give 1 or more")
    generated: list[int] = []
    ttft_ms: float | None = None

    def finished(reason: str) -> Finished:
        return Finished(reason, len(prompt_ids), len(generated), ttft_ms, elapsed_ms())

    logits: Logits | None = None
    if cancelled():
        yield finished("cancelled")
        return
    for progress, rows in prefill(engine, prompt_ids, chunk_tokens):
        logits = rows
        yield progress
        if cancelled():
            yield finished("cancelled")
            return
    while logits is not None:
        token = sampler.choose(logits[0], generated)
        if ttft_ms is None:
            ttft_ms = elapsed_ms()
        if token in stop_ids:
            yield finished("stop")
            return
        generated.append(token)
        yield TokenStep(token, elapsed_ms())
        if len(generated) >= max_new_tokens:
            yield finished("length")
            return
        if engine.length >= engine.context_tokens:
            yield finished("context")
            return
        if cancelled():
            yield finished("cancelled")
            return
        logits = engine.forward((token,), (0,))
