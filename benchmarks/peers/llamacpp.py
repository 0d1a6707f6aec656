"""llama.cpp through its C interface, without the Python layer's own work."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np

from edge.errors import ResourceError

BATCH_TOKENS = 512  # llama.cpp's own default for a physical batch


class LlamaCppPeer:
    """See base.Peer. Model, memory mapping and attention as llama.cpp chooses them by default."""

    def __init__(self, path: Path, threads: int, context_tokens: int, flash_attention: bool | None) -> None:
        llama_cpp.llama_backend_init()
        self._quiet = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = context_tokens
        parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
        if flash_attention is not None:
            parameters.flash_attn_type = int(flash_attention)
        parameters.n_threads = parameters.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, parameters) if self._model else None
        if not self._context:
            raise ResourceError("llama.cpp cannot load the model", where=path.name, mend="check the free memory")
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))

    def _decode(self, token_ids: Sequence[int]) -> int:
        for start in range(0, len(token_ids), BATCH_TOKENS):
            part = token_ids[start : start + BATCH_TOKENS]
            tokens = (llama_cpp.llama_token * len(part))(*part)
            if llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(tokens, len(part))):
                raise ResourceError("llama.cpp could not compute a step", mend="check the free memory")
        logits = llama_cpp.llama_get_logits_ith(self._context, -1)
        return int(np.ctypeslib.as_array(logits, shape=(self._vocab_size,)).argmax())

    def prefill(self, token_ids: Sequence[int]) -> int:
        llama_cpp.llama_memory_clear(self._memory, False)
        return self._decode(token_ids)

    def decode_step(self, token_id: int) -> int:
        return self._decode((token_id,))

    def rewind(self, length: int) -> None:
        llama_cpp.llama_memory_seq_rm(self._memory, 0, length, -1)

    def close(self) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)


def load(path: Path, *, threads: int, context_tokens: int, flash_attention: bool | None = None) -> LlamaCppPeer:
    """path: a GGUF file. flash_attention: None lets llama.cpp choose."""
    return LlamaCppPeer(path, threads, context_tokens, flash_attention)
