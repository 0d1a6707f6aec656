"""onnxruntime-genai with a model of its own builder."""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before onnxruntime is imported

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime_genai as og


class GenaiPeer:
    """See base.Peer."""

    def __init__(self, path: Path, threads: int, context_tokens: int) -> None:
        config = og.Config(str(path))
        session = {"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}
        config.overlay(json.dumps(session))
        self._model = og.Model(config)
        self._tokenizer = og.Tokenizer(self._model)  # as edge and llama.cpp have theirs
        self._parameters = og.GeneratorParams(self._model)
        self._parameters.set_search_options(max_length=context_tokens, do_sample=False)
        self._generator = og.Generator(self._model, self._parameters)

    def _append(self, token_ids: Sequence[int]) -> int:
        self._generator.append_tokens(np.asarray(token_ids, dtype=np.int32))
        return int(self._generator.get_logits().argmax())

    def prefill(self, token_ids: Sequence[int]) -> int:
        if self._generator.token_count():
            self._generator.rewind_to(0)
        return self._append(token_ids)

    def decode_step(self, token_id: int) -> int:
        return self._append((token_id,))

    def rewind(self, length: int) -> None:
        self._generator.rewind_to(length)

    def close(self) -> None:
        del self._generator, self._tokenizer, self._model


def load(path: Path, *, threads: int, context_tokens: int) -> GenaiPeer:
    """path: the builder's folder."""
    return GenaiPeer(path, threads, context_tokens)
