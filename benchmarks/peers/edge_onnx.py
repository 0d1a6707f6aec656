"""edge's own engine and tokenizer, as `edge run` uses them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.runtime.generate import prefill
from edge.runtime.onnx_engine import OnnxEngine
from edge.runtime.text import ChatTokenizer


class EdgePeer:
    """See base.Peer."""

    def __init__(self, path: Path, threads: int, context_tokens: int) -> None:
        # Not used, but kept: a task has it in memory too, and llama.cpp loads its vocabulary as well.
        self._tokenizer = ChatTokenizer(path / "tokenizer")
        self._engine = OnnxEngine(path / "model", threads=threads, context_tokens=context_tokens)

    def prefill(self, token_ids: Sequence[int]) -> int:
        self._engine.rewind(0)
        *_, (_, logits) = prefill(self._engine, token_ids)
        if logits is None:
            raise ValueError("a prompt of no tokens")
        return int(np.argmax(logits))

    def decode_step(self, token_id: int) -> int:
        return int(np.argmax(self._engine.forward((token_id,), (0,))))

    def rewind(self, length: int) -> None:
        self._engine.rewind(length)

    def close(self) -> None:
        self._engine.close()


def load(path: Path, *, threads: int, context_tokens: int) -> EdgePeer:
    """path: a folder with model/ and tokenizer/."""
    return EdgePeer(path, threads, context_tokens)
