"""The generation loop: chunked prefill, steps of one or several tokens, stop within one step.

Rules
- The prompt is read in chunks; between chunks and between tokens `cancelled` is asked, so a stop takes at
  most one chunk or one step.
- A prompt that leaves no room for an answer is refused before anything is computed; a generation that fills
  the context ends with finish reason "context", never silently.
- Tokens of a cancelled run stay readable in what was yielded; the caller rewinds the engine to go on.
- Drafts (edge.runtime.drafts) and jump-forward save time and change no token: every token is the one that the
  sampler takes from the logits after all tokens before it, or the one that the constraint forces there. With
  `exact` the engine computes these logits bit for bit the same however many tokens it reads at once, so the
  same holds of the numbers behind them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from edge.errors import InputError
from edge.runtime.constraint import Constraint
from edge.runtime.drafts import Drafter
from edge.runtime.engine import Engine, ExactEngine, Forward, Logits, PrefixEngine, forward_of
from edge.runtime.sampling import Sampler

PREFILL_CHUNK_TOKENS = 256
Origin = Literal["model", "draft", "forced"]


@dataclass(frozen=True)
class PrefillStep:
    """Progress of reading the prompt."""

    done_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class TokenStep:
    """One generated token. elapsed_ms: since the start of the generation (the first one is the TTFT).

    origin: "model" chosen from a step of its own, "draft" guessed before and confirmed by the model, "forced" by
    the constraint.
    """

    token_id: int
    elapsed_ms: float
    origin: Origin = "model"


@dataclass(frozen=True)
class Finished:
    """Why it ended: "stop" (the model or the constraint ended), "length" (max_new_tokens), "context" (full),
    "cancelled", "constraint" (nothing that the constraint allows is left, and it does not allow to stop).

    drafted_tokens, accepted_tokens: guessed ones and those that were right. forced_tokens: by the constraint.
    steps: calls of the engine after the prompt. drafting: how drafting went, in words; "" without a drafter.
    """

    reason: str
    prompt_tokens: int
    new_tokens: int
    ttft_ms: float | None
    elapsed_ms: float
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    forced_tokens: int = 0
    steps: int = 0
    drafting: str = ""

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Speed after the first token; None below two tokens."""
        if self.ttft_ms is None or self.new_tokens < 2 or self.elapsed_ms <= self.ttft_ms:
            return None
        return (self.new_tokens - 1) * 1000.0 / (self.elapsed_ms - self.ttft_ms)


Step = PrefillStep | TokenStep | Finished


class Prefix(Protocol):
    """The beginning of a prompt that a store may hold the state of."""

    @property
    def tokens(self) -> int:
        """Its length; one token of the prompt is read in any case."""
        ...

    def restore(self, engine: Engine, token_ids: Sequence[int]) -> bool:
        """Make the empty engine hold `token_ids`; False when they are not known."""
        ...


def never() -> bool:
    """The default for `cancelled`."""
    return False


def prefill(
    engine: Engine, prompt_ids: Sequence[int], chunk_tokens: int = PREFILL_CHUNK_TOKENS, *, exact: bool = False
) -> Iterator[tuple[PrefillStep, Logits | None]]:
    """Append the prompt chunk by chunk; the last pair carries the logits [1, vocab] after the prompt."""
    total = len(prompt_ids)
    forward = forward_of(engine, exact=exact)
    for start in range(0, total, chunk_tokens):
        chunk = prompt_ids[start : start + chunk_tokens]
        last = start + len(chunk) == total
        # The engine always computes one row of logits; only the last chunk's matters.
        logits = forward(chunk, (len(chunk) - 1,))
        yield PrefillStep(start + len(chunk), total), logits if last else None


def _prefill_after(
    prefix: Prefix | None, engine: Engine, prompt_ids: Sequence[int], chunk_tokens: int, *, exact: bool
) -> Iterator[tuple[PrefillStep, Logits | None]]:
    """`prefill`, the prefix first, from the store if it is there."""
    total = len(prompt_ids)
    known = min(prefix.tokens, total - 1) if prefix and engine.length == 0 else 0
    if prefix and known:
        if prefix.restore(engine, prompt_ids[:known]):
            yield PrefillStep(known, total), None
        else:
            for progress, _ in prefill(engine, prompt_ids[:known], chunk_tokens, exact=exact):
                yield PrefillStep(progress.done_tokens, total), None
    for progress, logits in prefill(engine, prompt_ids[known:], chunk_tokens, exact=exact):
        yield PrefillStep(known + progress.done_tokens, total), logits


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
    constraint: Constraint | None = None,
    jump_forward: bool = True,
    drafter: Drafter | None = None,
    exact: bool = True,
    prefix: Prefix | None = None,
) -> Iterator[Step]:
    """Append `prompt_ids` to the engine and generate; yields progress, tokens and one Finished at the end.

    stop_ids: end the answer and are not yielded. constraint: fresh, or as the answer so far left it. jump_forward:
    read forced tokens together and not one by one. drafter: fresh; it guesses from what the engine holds, the prompt
    and the answer, only where the sampler is greedy. exact: the same tokens with and without drafts and jump-forward,
    for a plain step that is a little dearer; with an engine that cannot promise it neither is used. prefix: the
    prompt's beginning, taken from a store if the engine is empty; it is read apart from the rest, known or not.

    At the end the engine holds the prompt and the answer but for tokens at its end that it did not have to read:
    its `length` says how many. A caller that stops iterating may find some tokens more in it.

    Errors: InputError when the prompt is empty or does not fit, or max_new_tokens is below 1; all before anything
    is computed.
    """
    started = clock()
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
    run = _Run(engine, sampler, stop_ids, max_new_tokens, lambda: (clock() - started) * 1000.0, len(prompt_ids))
    run.constraint, run.forward, run.chunk_tokens = constraint, forward_of(engine, exact=exact), chunk_tokens
    many = not exact or isinstance(engine, ExactEngine)
    run.jump_forward = jump_forward and many
    if drafter is not None and sampler.settings.temperature > 0.0:
        run.drafting = "no drafts at a temperature above 0"
    elif drafter is not None and not many:
        run.drafting = "no drafts: with this engine they could change the answer"
    elif drafter is not None:
        run.drafter = drafter
        drafter.read([*(engine.held_ids if isinstance(engine, PrefixEngine) else ()), *prompt_ids])
    logits: Logits | None = None
    if cancelled():
        yield run.finished("cancelled")
        return
    for progress, rows in _prefill_after(prefix, engine, prompt_ids, chunk_tokens, exact=exact):
        logits = rows
        yield progress
        if cancelled():
            yield run.finished("cancelled")
            return
    while logits is not None:
        for step in run.step(logits):
            yield step
            if isinstance(step, Finished):
                return
            if cancelled():
                yield run.finished("cancelled")
                return
        logits = run.read()


class _Run:
    """One generation between two yields: what was written, what the engine has not read, what is guessed."""

    constraint: Constraint | None = None
    drafter: Drafter | None = None
    drafting = ""
    jump_forward = True
    chunk_tokens = PREFILL_CHUNK_TOKENS
    forward: Forward

    def __init__(
        self,
        engine: Engine,
        sampler: Sampler,
        stop_ids: frozenset[int],
        max_new_tokens: int,
        elapsed_ms: Callable[[], float],
        prompt_tokens: int,
    ) -> None:
        self.engine, self.sampler, self.stop_ids = engine, sampler, stop_ids
        self.max_new_tokens, self.elapsed_ms, self.prompt_tokens = max_new_tokens, elapsed_ms, prompt_tokens
        self.start = engine.length + prompt_tokens  # place of the first new token
        self.written: list[int] = []
        self.ttft_ms: float | None = None
        self.stopped = False
        self._draft: Sequence[int] = ()
        self._forced: deque[int] = deque()
        self._drafted = self._accepted = self._forced_count = self._steps = 0
        self._rows, self._step_ms = 0, 0.0

    def finished(self, reason: str) -> Finished:
        """The last event. What the engine has read beyond the answer is forgotten."""
        # A stop token was chosen after all was read; otherwise the last token has not been, or need not have been.
        kept = len(self.written) - (0 if self.stopped or not self.written else 1)
        self.engine.rewind(min(self.engine.length, self.start + kept))
        return Finished(
            reason,
            self.prompt_tokens,
            len(self.written),
            self.ttft_ms,
            self.elapsed_ms(),
            self._drafted,
            self._accepted,
            self._forced_count,
            self._steps,
            self.drafter.report() if self.drafter else self.drafting,
        )

    def step(self, rows: Logits) -> Iterator[TokenStep | Finished]:
        """The tokens that follow from the logits of one call of the engine, up to the first that was not guessed, and
        those that the constraint forces after it. rows: [1 + drafted, vocab], after each of the last tokens read.
        """
        draft = self._draft
        accepted = 0
        for place, logits in enumerate(rows):
            forced = self._next_forced()
            token = forced if forced is not None else self._sampled(logits)
            self.ttft_ms = self.elapsed_ms() if self.ttft_ms is None else self.ttft_ms
            if token is None or token in self.stop_ids:
                self.stopped = True
                yield self.finished("constraint" if token is None else "stop")
                return
            guessed = place < len(draft) and token == draft[place]
            accepted += guessed
            yield self._write(token, "draft" if guessed else "model" if forced is None else "forced")
            if reason := self._reason_to_end():
                yield self.finished(reason)
                return
            if not guessed:
                break
        self.engine.rewind(self.start + len(self.written) - 1)  # drafts that were wrong
        if self.drafter and self._steps:  # the prompt was no step
            self.drafter.took(self._rows, len(draft), accepted, self._step_ms)
        while self.jump_forward and (forced := self._next_forced()) is not None:
            yield self._write(forced, "forced")
            if reason := self._reason_to_end():
                yield self.finished(reason)
                return

    def read(self) -> Logits:
        """Let the engine read what was written, and behind it a guess of what comes next; the logits after them."""
        unread = self.written[self.engine.length - self.start :]
        for _ in range(0, len(unread) - self.chunk_tokens, self.chunk_tokens):  # a long run of forced tokens
            self.forward(unread[: self.chunk_tokens], (self.chunk_tokens - 1,))
            unread = unread[self.chunk_tokens :]
        self._draft = self._guess()
        ids = [*unread, *self._draft]
        before_ms = self.elapsed_ms()
        rows = self.forward(ids, range(len(unread) - 1, len(ids)))
        self._rows, self._step_ms = len(ids), self.elapsed_ms() - before_ms
        self._steps += 1
        self._drafted += len(self._draft)
        return rows

    def _guess(self) -> Sequence[int]:
        if self.drafter is None:
            return ()
        end = min(self.max_new_tokens - 1, self.engine.context_tokens - self.start)
        guess = self.drafter.propose(max(0, end - len(self.written)))
        usable = 0
        for token in guess:  # what could not be written is not worth a row
            if token in self.stop_ids or (self.constraint and not self._could_follow(token)):
                break
            if self.constraint:
                self.constraint.commit(token)
            usable += 1
        if self.constraint:
            self.constraint.rollback(usable)
        return guess[:usable]

    def _could_follow(self, token: int) -> bool:
        forced = self.constraint.forced() if self.constraint else ()
        return forced[0] == token if forced else self.constraint is None or self.constraint.allows(token)

    def _next_forced(self) -> int | None:
        if self.constraint and not self._forced:
            self._forced.extend(self.constraint.forced())
        return self._forced.popleft() if self._forced else None

    def _sampled(self, logits: npt.NDArray[np.float32]) -> int | None:
        if self.constraint is None:
            return self.sampler.choose(logits, self.written)
        return self.sampler.choose_allowed(logits, self.written, self.constraint)

    def _write(self, token: int, origin: Origin) -> TokenStep:
        self.written.append(token)
        if self.constraint:
            self.constraint.commit(token)
        if self.drafter:
            self.drafter.read((token,))
        self._accepted += origin == "draft"
        self._forced_count += origin == "forced"
        return TokenStep(token, self.elapsed_ms(), origin)

    def _reason_to_end(self) -> str:
        """After a token; "" to go on. It depends on what was written only, never on how."""
        if self.constraint and self.constraint.finished:
            return "stop"
        if len(self.written) >= self.max_new_tokens:
            return "length"
        return "context" if self.start + len(self.written) > self.engine.context_tokens else ""
