"""The engine for graphs of the second export route (`export: optimum`), for families without a native graph.

Optimum's graph has no fused attention and no shared cache: every step hands the keys and values back as new
tensors, so they are copied, and logits come for every token read. It is slower than OnnxEngine and that is the
price of knowing nothing about the family.

Inputs
    input_ids, attention_mask [1, n], [1, past + n] int64 · position_ids [1, n] int64 where the family has them ·
    past_key_values.N.key, past_key_values.N.value [1, kv_heads, past, head_dim] float32
Outputs
    logits [1, n, vocab] float32 · present.N.key, present.N.value [1, kv_heads, past + n, head_dim]
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (telemetry off before onnxruntime is imported)

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from edge.errors import BundleError
from edge.runtime.engine import Logits, TokenIds, checked_step, default_threads
from edge.runtime.held import no_memory
from edge.runtime.onnx_engine import MODEL_FILE, step_failed

ENGINE_NAME = "onnxruntime-optimum"
PAST, PRESENT = "past_key_values.", "present."
KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "position_ids"})


class OptimumEngine:
    """Implements edge.runtime.engine.Engine over optimum's graph.

    model_folder: holds model.onnx and model.weights. context_tokens: capacity; None, or more than the model has
    positions, takes the model's. Errors: BundleError when the model does not load, ResourceError without memory.
    """

    def __init__(self, model_folder: Path, *, threads: int | None = None, context_tokens: int | None = None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or default_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        path = model_folder / MODEL_FILE
        try:
            self._session: Any = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except MemoryError as error:
            raise no_memory(str(path)) from error
        except Exception as error:  # onnxruntime raises its own family without a common public base
            if "bad allocation" in str(error) or "bad_alloc" in str(error):
                raise no_memory(str(path)) from error
            raise _not_loadable(path, str(error).splitlines()[0][:160]) from error
        inputs = {item.name: item for item in self._session.get_inputs()}
        outputs = {item.name: item for item in self._session.get_outputs()}
        self._cached = [name for name in inputs if name.startswith(PAST)]
        unknown = sorted(set(inputs) - KNOWN_INPUTS - set(self._cached))
        if unknown or not self._cached or "logits" not in outputs:
            raise _not_loadable(
                path, f"input '{unknown[0]}' is not known" if unknown else "it has no logits or no cache"
            )
        self._presents = [PRESENT + name.removeprefix(PAST) for name in self._cached]
        self._shapes = [(1, *(_size(path, inputs[name].shape, axis) for axis in (1, 3))) for name in self._cached]
        self._has_positions = "position_ids" in inputs
        self._vocab = _size(path, outputs["logits"].shape, 2)
        positions = int(self._session.get_modelmeta().custom_metadata_map.get("max_positions", "0"))
        limits = [limit for limit in (context_tokens, positions) if limit]
        self._capacity = min(limits) if limits else 2048
        self._binding: Any = self._session.io_binding()
        self._length = 0
        self._cache: list[Any] = []
        self.rewind(0)

    @property
    def vocab_size(self) -> int:
        return self._vocab

    @property
    def context_tokens(self) -> int:
        return self._capacity

    @property
    def length(self) -> int:
        return self._length

    @property
    def layers(self) -> int:
        """Layers with a cache of their own."""
        return len(self._cached) // 2

    @property
    def cache_shape(self) -> tuple[int, int]:
        """(kv_heads, head_dim) of the first layer."""
        return self._shapes[0][1], self._shapes[0][2]

    def forward(self, token_ids: TokenIds, wanted: Sequence[int]) -> Logits:
        """See Engine.forward. The returned array is the caller's."""
        ids, index = checked_step(token_ids, wanted, self._length, self._capacity, self._vocab)
        total = self._length + ids.shape[1]
        binding = self._binding
        binding.clear_binding_inputs()
        binding.clear_binding_outputs()
        binding.bind_cpu_input("input_ids", ids)
        binding.bind_cpu_input("attention_mask", np.ones((1, total), dtype=np.int64))
        if self._has_positions:
            binding.bind_cpu_input("position_ids", np.arange(self._length, total, dtype=np.int64)[None])
        for name, value in zip(self._cached, self._cache, strict=True):
            binding.bind_ortvalue_input(name, value)
        for name in ("logits", *self._presents):
            binding.bind_output(name, "cpu")  # onnxruntime allocates: the size differs each time
        try:
            self._session.run_with_iobinding(binding)
        except MemoryError as error:
            raise no_memory("inference") from error
        except Exception as error:
            raise step_failed(error) from error
        logits, *presents = binding.get_outputs()
        self._cache = presents
        self._length = total
        chosen: Logits = logits.numpy()[0][index]
        return chosen

    def rewind(self, length: int) -> None:
        """See Engine.rewind; what is kept is copied."""
        if not 0 <= length <= self._length:
            raise ValueError(f"cannot rewind to {length} of {self._length}")
        if length == 0:
            kept = [np.zeros((1, heads, 0, width), dtype=np.float32) for _, heads, width in self._shapes]
        elif length < self._length:
            kept = [np.ascontiguousarray(value.numpy()[:, :, :length]) for value in self._cache]
        else:
            return
        self._cache = [ort.OrtValue.ortvalue_from_numpy(array, "cpu", 0) for array in kept]
        self._length = length

    def close(self) -> None:
        """Free session and cache. Idempotent."""
        if self._binding is None:
            return
        self._binding.clear_binding_inputs()
        self._binding.clear_binding_outputs()
        self._cache.clear()
        self._binding = self._session = None


def _size(path: Path, shape: Sequence[int | str | None], axis: int) -> int:
    size = shape[axis] if len(shape) > axis else None
    if not isinstance(size, int) or size < 1:
        raise _not_loadable(path, "a size that should be fixed is not")
    return size


def _not_loadable(path: Path, reason: str) -> BundleError:
    return BundleError(f"the model does not load ({reason})", where=str(path), mend="build or install the bundle again")
