"""A real Engine without a model: its next token is a fixed function of what it has read.

Run as a program it is the measuring process with this engine; the first argument chooses what goes wrong.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.bench import worker
from edge.errors import InputError, ResourceError
from edge.runtime.engine import Logits, TokenIds

VOCAB = 97
CONTEXT = 256


def next_token(tokens: Sequence[int]) -> int:
    """The scripted prediction after `tokens`: every token and its place matter."""
    value = 7
    for place, token in enumerate(tokens):
        value = (value * 31 + int(token) * 17 + place) % 10007
    return value % VOCAB


class ScriptedEngine:
    """Follows edge.runtime.engine.Engine. fault: see `main`."""

    def __init__(
        self, model_folder: Path, *, threads: int, context_tokens: int, fault: str = "", margin: float = 5.0
    ) -> None:
        self.model_folder, self.threads = model_folder, threads
        self.context_tokens = min(CONTEXT, context_tokens)
        self.vocab_size = VOCAB
        self.fault, self.margin = fault, margin
        self.tokens: list[int] = []
        self.passes: list[int] = []
        self.closed = False

    @property
    def length(self) -> int:
        return len(self.tokens)

    def forward(self, token_ids: TokenIds, wanted: Sequence[int]) -> Logits:
        if not len(token_ids) or self.length + len(token_ids) > self.context_tokens:
            raise InputError("does not fit", mend="shorten it")
        self._go_wrong(len(token_ids))
        start = self.length
        self.passes.append(len(token_ids))
        self.tokens += [int(token) for token in token_ids]
        rows = np.zeros((len(wanted), VOCAB), dtype=np.float32)
        for row, place in enumerate(wanted):
            token = next_token(self.tokens[: start + place + 1])
            if self.fault == "wrong" or (self.fault == "drift" and len(token_ids) == 1):
                token = (token + 1) % VOCAB
            rows[row, token] = self.margin
        return rows

    def _go_wrong(self, count: int) -> None:
        if count == 1 and self.fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if count == 1 and self.fault == "illegal":
            os.kill(os.getpid(), signal.SIGILL)
        if count == 1 and self.fault == "hang":
            time.sleep(60)
        if count == 1 and self.fault == "memory":
            raise MemoryError
        if count == 1 and self.fault == "refused":
            raise ResourceError("the engine failed", where="inference", mend="run it elsewhere")
        if count == 1 and self.fault == "bug":
            raise RuntimeError("a bug of ours")
        if self.fault == "chatty":
            os.write(1, b"a native library talks on standard output\n")

    def rewind(self, length: int) -> None:
        if not 0 <= length <= self.length:
            raise ValueError("cannot rewind forward")
        del self.tokens[length:]

    def close(self) -> None:
        self.closed = True


def main() -> int:
    """The measuring process with a scripted engine; argv[1]: the fault."""
    fault = sys.argv[1] if len(sys.argv) > 1 else ""
    if fault == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        fault = "hang"
    if fault == "garbage":
        print("this is no event", flush=True)
        return 0

    def factory(model_folder: Path, *, threads: int, context_tokens: int) -> ScriptedEngine:
        time.sleep(0.05)
        return ScriptedEngine(model_folder, threads=threads, context_tokens=context_tokens, fault=fault)

    return worker.main(factory)


if __name__ == "__main__":
    sys.exit(main())
