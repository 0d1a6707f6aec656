"""The ONNX engine: one session, one preallocated KV cache, bound as past and present at once.

Nothing is copied between steps: GroupQueryAttention writes new keys and values into the buffers that it reads
from (1.7 times as fast at context 1,024 as copying). Pages of the cache become resident as they are used.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (telemetry off before onnxruntime is imported)

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edge.errors import BundleError, EdgeError, ResourceError
from edge.runtime.engine import Logits, TokenIds, checked_step, default_threads
from edge.runtime.held import HeldTokens, lazy_zeros, no_memory

MODEL_FILE = "model.onnx"


class OnnxEngine(HeldTokens):
    """Implements edge.runtime.engine.Engine with ONNX Runtime.

    model_folder: holds model.onnx and model.weights. context_tokens: capacity of the cache; None takes what
    the model was built for. Errors: BundleError when the model does not load, ResourceError without memory.
    """

    def __init__(self, model_folder: Path, *, threads: int | None = None, context_tokens: int | None = None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or default_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its errors come to us as exceptions; on the screen stands one line, ours
        # The graph is written fused; constant folding would only copy the shared embedding.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        path = model_folder / MODEL_FILE
        try:
            self._session: Any = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except MemoryError as error:
            raise no_memory(str(path)) from error
        except Exception as error:  # onnxruntime raises its own family without a common public base
            if "bad allocation" in str(error) or "bad_alloc" in str(error):
                raise no_memory(str(path)) from error
            reason = str(error).splitlines()[0][:160]
            raise BundleError(
                f"the model does not load ({reason})",
                where=str(path),
                mend="build or install the bundle again",
            ) from error
        inputs = {item.name: item for item in self._session.get_inputs()}
        self._layers = sum(1 for name in inputs if name.startswith("past.") and name.endswith(".key"))
        _, kv_heads, _, head_dim = inputs["past.0.key"].shape
        built_for = int(self._session.get_modelmeta().custom_metadata_map.get("context_tokens", "0"))
        self._capacity = min(context_tokens or built_for, built_for) if built_for else int(context_tokens or 2048)
        self._vocab = int(self._session.get_outputs()[0].shape[1])
        self._length = 0
        self._ids = np.zeros(self._capacity, dtype=np.int64)
        self._binding: Any = self._session.io_binding()
        self._cache: list[Any] = []
        for layer in range(self._layers):
            for kind in ("key", "value"):
                buffer = lazy_zeros((1, kv_heads, self._capacity, head_dim))
                value = ort.OrtValue.ortvalue_from_numpy(buffer, "cpu", 0)
                self._binding.bind_ortvalue_input(f"past.{layer}.{kind}", value)
                self._binding.bind_ortvalue_output(f"present.{layer}.{kind}", value)
                self._cache.append((buffer, value))
        self._single = np.empty((1, self._vocab), dtype=np.float32)
        self._single_value = ort.OrtValue.ortvalue_from_numpy(self._single, "cpu", 0)

    @property
    def state_version(self) -> str:
        """See PrefixEngine.state_version."""
        return f"onnxruntime {ort.__version__} {platform.machine()}"

    def forward(self, token_ids: TokenIds, wanted: Sequence[int]) -> Logits:
        """See Engine.forward. The returned array is the caller's."""
        ids, index = checked_step(token_ids, wanted, self._length, self._capacity, self._vocab)
        return self._run(self._length, ids, index)

    def forward_exact(self, token_ids: TokenIds, wanted: Sequence[int]) -> Logits:
        """See ExactEngine.forward_exact.

        For a single row onnxruntime takes other kernels (attention with a cache; on some machines the quantised
        product too), whose sums differ in the last bits; for two rows and more all cuts agree. So one token is read
        together with another that is forgotten at once, and one row of logits is computed twice.
        """
        ids, index = checked_step(token_ids, wanted, self._length, self._capacity, self._vocab)
        rows = np.repeat(index, 2) if len(index) == 1 else index
        at = self._length
        if ids.shape[1] > 1:
            logits = self._run(at, ids, rows)
        elif at + 2 <= self._capacity:
            logits = self._run(at, np.repeat(ids, 2, axis=1), rows)
            self._length = at + 1
        elif at:  # the context's last place: the token before is read again, with the same result
            logits = self._run(at - 1, np.concatenate([self._ids[at - 1 : at, None], ids], axis=1), rows + 1)
        else:
            logits = self._run(at, ids, rows)
        return logits[: len(index)]

    def _run(self, start: int, ids: npt.NDArray[np.int64], index: npt.NDArray[np.int64]) -> Logits:
        total = start + ids.shape[1]
        binding = self._binding
        binding.bind_cpu_input("input_ids", ids)
        binding.bind_cpu_input("seqlens_k", np.array([total - 1], dtype=np.int32))
        binding.bind_cpu_input("total_sequence_length", np.array(total, dtype=np.int32))
        binding.bind_cpu_input("logits_index", index)
        if len(index) == 1:
            logits, value = self._single, self._single_value
        else:
            logits = np.empty((len(index), self._vocab), dtype=np.float32)
            value = ort.OrtValue.ortvalue_from_numpy(logits, "cpu", 0)
        binding.bind_ortvalue_output("logits", value)
        try:
            self._session.run_with_iobinding(binding)
        except MemoryError as error:
            raise no_memory("inference") from error
        except Exception as error:
            raise step_failed(error) from error
        self._ids[start:total] = ids[0]
        self._length = total
        return logits.copy() if logits is self._single else logits

    def prefix_shape(self, length: int) -> tuple[int, ...]:
        """[2 x layers (key, value, key, ...), kv_heads, length, head_dim]."""
        _, kv_heads, _, head_dim = self._cache[0][0].shape
        return (len(self._cache), kv_heads, length, head_dim)

    def save_prefix(self, length: int) -> npt.NDArray[np.float32]:
        """See PrefixEngine.save_prefix; prefix_shape says how it is laid out."""
        if not 0 <= length <= self._length:
            raise ValueError(f"cannot save {length} of {self._length} tokens")
        state = np.empty(self.prefix_shape(length), dtype=np.float32)
        for part, (buffer, _) in zip(state, self._cache, strict=True):
            part[:] = buffer[0, :, :length]
        return state

    def load_prefix(self, token_ids: TokenIds, state: npt.NDArray[np.floating]) -> None:
        """See PrefixEngine.load_prefix."""
        ids, _ = checked_step(token_ids, (), 0, self._capacity, self._vocab)
        count = ids.shape[1]
        if state.shape != self.prefix_shape(count):
            raise ValueError(f"a state of shape {state.shape} is not one of {count} tokens of this model")
        for part, (buffer, _) in zip(state, self._cache, strict=True):
            buffer[0, :, :count] = part
        self._ids[:count] = ids[0]
        self._length = count

    def close(self) -> None:
        """Free session and cache. Idempotent."""
        if self._binding is None:
            return
        self._binding.clear_binding_inputs()
        self._binding.clear_binding_outputs()
        self._cache.clear()
        self._binding = self._session = None


class ArmOnnxEngine(OnnxEngine):
    """The ONNX engine where steps are not exact: it has no `forward_exact`, so generation goes without drafts.

    Seen on emulated Arm cores (cortex-a76, onnxruntime 1.31): attention's sums for a key depend on how many keys there
    are, so the same text cut otherwise differs in the last bits, whatever the number of rows, and a draft could change
    an answer. The tvm engine is exact there.
    """

    forward_exact = None  # type: ignore[assignment]  # a protocol's way to say that there is none


def native_engine(machine: str = "") -> type[OnnxEngine]:
    """The class for a machine's architecture (default: this one's)."""
    return ArmOnnxEngine if (machine or platform.machine()) in ("aarch64", "arm64") else OnnxEngine


def step_failed(error: Exception) -> EdgeError:
    text = str(error)
    if "bad allocation" in text or "bad_alloc" in text or "Failed to allocate" in text:
        return no_memory("inference")
    # onnxruntime's text names nodes and shapes only; token ids or text never appear in it.
    return ResourceError(
        f"the engine failed ({text.splitlines()[0][:160]})",
        where="inference",
        mend="run `edge verify` on this bundle",
    )


def runtime_versions() -> dict[str, str]:
    """What produces the tokens here, for results and manifests."""
    return {"engine": "onnxruntime", "onnxruntime": ort.__version__, "numpy": np.__version__}
