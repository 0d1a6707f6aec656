"""The measurements that run inside the measuring process, on any Engine, with an injected clock.

Each function times only what a user waits for: the engine's pass and the choice of the next token. Prompts
are token ids drawn from the workload's seed: speed depends on their number, not on their meaning, and no
text of a patient is needed. Results go out as events (plain dicts); `collect.py` makes a result of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.bench.workload import Workload
from edge.errors import InputError
from edge.runtime import generate
from edge.runtime.engine import Engine, Logits

Emit = Callable[[dict[str, Any]], None]
Clock = Callable[[], float]

# The sustained run decodes between these two cache lengths again and again, so that a fall in speed is the
# device's doing and not that of a growing context.
SUSTAINED_CONTEXT_TOKENS = 256
SUSTAINED_CYCLE_TOKENS = 64
# Places that an engine may need beyond the tokens asked for (a row of padding, rewound after the pass).
SPARE_TOKENS = 2


def prompt_ids(seed: int, vocab_size: int, count: int) -> list[int]:
    """`count` token ids, the same for the same seed and vocabulary on every machine."""
    return [int(token) for token in np.random.default_rng(seed).integers(0, vocab_size, size=count)]


def pick(logits: Logits) -> int:
    """The greedy next token of logits [1, vocab]."""
    return int(np.argmax(logits[-1]))


def prefill(engine: Engine, token_ids: Sequence[int], chunk_tokens: int) -> Logits:
    """Append a prompt of at least one token just as the generation loop does; its last logits, [1, vocab]."""
    last: Logits | None = None
    for _, rows in generate.prefill(engine, token_ids, chunk_tokens):
        last = rows
    if last is None:
        raise InputError("a prompt of no tokens cannot be measured", mend="use prompt_tokens of 1 or more")
    return last


@dataclass
class Steps:
    """Counts units of work and tells which one begins."""

    emit: Emit
    total: int
    done: int = 0

    def begin(self, label: str) -> None:
        """Say that the next unit begins."""
        self.emit({"event": "step", "label": label, "done": self.done, "total": self.total})
        self.done += 1


def fitting(workload: Workload, context_tokens: int) -> tuple[list[int], list[int], list[str]]:
    """Prompt lengths and decode contexts that the engine's cache holds, and why the others are left out."""
    prompts = [n for n in workload.prompt_tokens if n + SPARE_TOKENS <= context_tokens]
    room = context_tokens - workload.decode_tokens - SPARE_TOKENS
    # Context 0 starts from one token: a model predicts nothing from none.
    contexts = [n for n in workload.decode_contexts if max(1, n) <= room]
    skipped = [
        f"prompt of {n} tokens: the context holds {context_tokens}" for n in workload.prompt_tokens if n not in prompts
    ]
    skipped += [
        f"decode of {workload.decode_tokens} tokens at {n}: the context holds {context_tokens}"
        for n in workload.decode_contexts
        if n not in contexts
    ]
    return prompts, contexts, skipped


def count_steps(workload: Workload, context_tokens: int, golden_cases: int) -> int:
    """Units of work after the first load, for the progress bar."""
    prompts, contexts, _ = fitting(workload, context_tokens)
    windows = math.ceil(workload.sustained_s / workload.window_s)
    golden = golden_cases + 1 if golden_cases else 0
    repeated = workload.repetitions * (len(prompts) + len(contexts))
    return workload.warmups + repeated + windows + golden + workload.load_repetitions - 1


class Speeds:
    """Warm-up, prefill, decode and the sustained run on one loaded engine."""

    def __init__(
        self,
        engine: Engine,
        workload: Workload,
        *,
        chunk_tokens: int,
        emit: Emit,
        steps: Steps,
        clock: Clock = time.perf_counter,
        wall: Clock = time.monotonic,
    ) -> None:
        self.engine, self.workload, self.chunk_tokens = engine, workload, chunk_tokens
        self.emit, self.steps, self.clock, self.wall = emit, steps, clock, wall
        self.ids = prompt_ids(workload.seed, engine.vocab_size, engine.context_tokens)

    def warm_up(self, prompts: Sequence[int]) -> None:
        """Two chunks of prompt and a few steps, untimed: arenas, threads and clocks settle."""
        length = min(max(prompts, default=1), 2 * self.chunk_tokens)
        for index in range(self.workload.warmups):
            self.steps.begin(f"warm-up {index + 1} of {self.workload.warmups}")
            self.engine.rewind(0)
            token = pick(prefill(self.engine, self.ids[:length], self.chunk_tokens))
            for _ in range(min(8, self.engine.context_tokens - length - SPARE_TOKENS)):
                token = pick(self.engine.forward([token], (0,)))

    def measure_prefill(self, tokens: int, repetition: int) -> None:
        """Time to first token of one prompt from an empty cache."""
        self.steps.begin(f"prompt of {tokens} tokens, {repetition + 1} of {self.workload.repetitions}")
        self.engine.rewind(0)
        began_s, start_s = self.wall(), self.clock()
        pick(prefill(self.engine, self.ids[:tokens], self.chunk_tokens))
        self.emit({"event": "prefill", "tokens": tokens, "ms": (self.clock() - start_s) * 1e3})
        self.tell_work(tokens, 0, began_s)

    def measure_decode(self, context: int, repetition: int) -> None:
        """Every step of a greedy decode that begins with `context` tokens in the cache.

        With its prefill it is one piece of work as a note is: so much read, so much written.
        """
        self.steps.begin(f"decode at {context} tokens, {repetition + 1} of {self.workload.repetitions}")
        self.engine.rewind(0)
        began_s = self.wall()
        token = pick(prefill(self.engine, self.ids[: max(1, context)], self.chunk_tokens))
        step_ms = []
        for _ in range(self.workload.decode_tokens):
            start_s = self.clock()
            token = pick(self.engine.forward([token], (0,)))
            step_ms.append((self.clock() - start_s) * 1e3)
        self.emit({"event": "decode", "context": context, "step_ms": step_ms})
        self.tell_work(max(1, context), len(step_ms), began_s)

    def tell_work(self, read: int, written: int, began_s: float) -> None:
        """When a piece of work was done, on the clock that the sensors' samples have."""
        self.emit({"event": "work", "read": read, "written": written, "start": began_s, "end": self.wall()})

    def measure_sustained(self) -> None:
        """Decode without pause; one event for each window of at least `window_s` seconds."""
        if not self.workload.sustained_s:
            return
        base = min(SUSTAINED_CONTEXT_TOKENS, self.engine.context_tokens // 2)
        cycle = min(SUSTAINED_CYCLE_TOKENS, self.engine.context_tokens - base - SPARE_TOKENS)
        windows = math.ceil(self.workload.sustained_s / self.workload.window_s)
        self.engine.rewind(0)
        first = token = pick(prefill(self.engine, self.ids[:base], self.chunk_tokens))
        started_s, tokens = self.wall(), 0
        for window in range(windows):
            self.steps.begin(f"sustained decode, window {window + 1} of {windows}")
            window_tokens, start_s = 0, self.clock()
            while (elapsed_s := self.clock() - start_s) < self.workload.window_s or not window_tokens:
                if self.engine.length >= base + cycle:
                    self.engine.rewind(base)
                    token = first
                token = pick(self.engine.forward([token], (0,)))
                window_tokens += 1
            tokens += window_tokens
            self.emit({"event": "window", "tokens": window_tokens, "seconds": elapsed_s})
        self.emit({"event": "sustained", "start": started_s, "end": self.wall(), "tokens": tokens})

    def run(self, prompts: Sequence[int], contexts: Sequence[int]) -> None:
        """All of it. Repetitions go round the lengths, so that a slow minute hits each length alike."""
        self.warm_up(prompts)
        for repetition in range(self.workload.repetitions):
            for tokens in prompts:
                self.measure_prefill(tokens, repetition)
            for context in contexts:
                self.measure_decode(context, repetition)
        self.measure_sustained()
        self.engine.rewind(0)
