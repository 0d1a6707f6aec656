"""transformers on torch, not quantised: what the model costs before any build."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache


class TransformersPeer:
    """See base.Peer. The weights stay in the type that the folder has."""

    def __init__(self, path: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        self._model = AutoModelForCausalLM.from_pretrained(path, torch_dtype="auto", local_files_only=True)
        self._model.eval()
        self._cache = DynamicCache()

    def _append(self, token_ids: Sequence[int]) -> int:
        ids = torch.tensor([list(token_ids)])
        with torch.inference_mode():
            output = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        return int(output.logits[0, -1].argmax())

    def prefill(self, token_ids: Sequence[int]) -> int:
        self._cache = DynamicCache()
        return self._append(token_ids)

    def decode_step(self, token_id: int) -> int:
        return self._append((token_id,))

    def rewind(self, length: int) -> None:
        self._cache.crop(length)

    def close(self) -> None:
        del self._model


def load(path: Path, *, threads: int, context_tokens: int) -> TransformersPeer:
    """path: a Hugging Face folder. context_tokens: not needed, the cache grows."""
    return TransformersPeer(path, threads)
