"""The ONNX engine of Android: ONNX Runtime's Java API, reached through pyjnius.

The same graph and the same order of calls as edge.runtime.onnx_engine, so the same tokens: keys and values lie in one
direct buffer a layer, bound as past and as present (`OrtSession.run` with pinned outputs, in the Java API since
1.17). Logits too are written into a buffer of ours. Bytes cross between Python and Java as byte arrays; the cache
itself never does, but for a saved prefix.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (telemetry off before onnxruntime is loaded)

import contextlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge.errors import BundleError, EdgeError, MissingToolError, ResourceError
from edge.runtime.engine import Logits, TokenIds, checked_step, default_threads
from edge.runtime.held import HeldTokens
from edge.runtime.java import Java, Memory, PyJnius, no_memory

MODEL_FILE: Final = "model.onnx"
ORT: Final = "ai.onnxruntime."
FLOAT_BYTES: Final = 4


@dataclass(frozen=True)
class _Bound:
    """Memory with the tensor over it. The tensor must be closed before the memory."""

    memory: Memory
    tensor: Any

    def close(self) -> None:
        self.tensor.close()
        self.memory.close()


class OrtJavaEngine(HeldTokens):
    """Implements Engine, ExactEngine and PrefixEngine of edge.runtime.engine with ai.onnxruntime.

    model_folder: holds model.onnx and model.weights. context_tokens: capacity of the cache; None takes what the model
    was built for. Errors: MissingToolError without pyjnius or ONNX Runtime; BundleError when the model does not load;
    ResourceError without memory.
    """

    def __init__(
        self,
        model_folder: Path,
        *,
        threads: int | None = None,
        context_tokens: int | None = None,
        java: Java | None = None,
    ) -> None:
        self._java: Java = java or PyJnius()
        self._bound: list[_Bound] = []
        self._session: Any = None
        self._options: Any = None
        try:
            self._environment: Any = self._java.find(f"{ORT}OrtEnvironment").getEnvironment()
            self._tensors: Any = self._java.find(f"{ORT}OnnxTensor")
            self._maps: Any = self._java.find("java.util.HashMap")
            self._no_outputs: Any = self._java.find("java.util.HashSet")()
        except Exception as error:
            raise MissingToolError(
                "ONNX Runtime's Java library is not in this app",
                mend="build the app with android.gradle_dependencies as `edge package` writes it",
            ) from error
        try:
            self._open(model_folder / MODEL_FILE, threads or default_threads())
            self._length = 0
            self._read_graph(context_tokens)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, threads: int) -> None:
        with contextlib.suppress(Exception):  # only some platforms have it; without the network it says nothing anyway
            self._environment.setTelemetry(False)
        levels = self._java.find(f"{ORT}OrtSession$SessionOptions$OptLevel")
        options = self._java.find(f"{ORT}OrtSession$SessionOptions")()
        self._options = options
        options.setIntraOpNumThreads(threads)
        options.setInterOpNumThreads(1)
        options.setSessionLogLevel(self._java.find(f"{ORT}OrtLoggingLevel").ORT_LOGGING_LEVEL_FATAL)
        # The graph is written fused; constant folding would only copy the shared embedding.
        options.setOptimizationLevel(levels.BASIC_OPT)
        options.addConfigEntry("session.intra_op.allow_spinning", "1")
        try:
            self._session = self._environment.createSession(str(path), options)
        except Exception as error:
            if _is_memory(error):
                raise no_memory(str(path)) from error
            raise BundleError(
                f"the model does not load ({_first_line(error)})",
                where=str(path),
                mend="build or install the bundle again",
            ) from error

    def _shape(self, infos: Any, name: str) -> list[int]:
        return [int(size) for size in self._java.cast(f"{ORT}TensorInfo", infos.get(name).getInfo()).getShape()]

    def _read_graph(self, context_tokens: int | None) -> None:
        infos = self._session.getInputInfo()
        layers = 0
        while infos.containsKey(f"past.{layers}.key"):
            layers += 1
        if not layers:
            raise BundleError("the model has no cache", where=MODEL_FILE, mend="build the bundle again")
        _, self._kv_heads, _, self._head_dim = self._shape(infos, "past.0.key")
        self._vocab = self._shape(self._session.getOutputInfo(), "logits")[1]
        said = self._session.getMetadata().getCustomMetadata().get("context_tokens")
        built_for = int(str(said)) if said is not None else 0
        self._capacity = min(context_tokens or built_for, built_for) if built_for else int(context_tokens or 2048)
        self._ids = np.zeros(self._capacity, dtype=np.int64)
        shape = [1, self._kv_heads, self._capacity, self._head_dim]
        self._row_bytes = self._head_dim * FLOAT_BYTES
        self._cache = [
            (f"{layer}.{kind}", self._bind(f"cache.{layer}.{kind}", "float32", shape))
            for layer in range(layers)
            for kind in ("key", "value")
        ]
        self._inputs, self._outputs = self._maps(), self._maps()
        for name, bound in self._cache:
            self._inputs.put(f"past.{name}", bound.tensor)
            self._outputs.put(f"present.{name}", bound.tensor)
        self._past = self._bind("seqlens_k", "int32", [1])
        self._total = self._bind("total_sequence_length", "int32", [])
        self._inputs.put("seqlens_k", self._past.tensor)
        self._inputs.put("total_sequence_length", self._total.tensor)
        self._single = self._bind("logits", "float32", [1, self._vocab])

    def _bind(self, name: str, kind: str, shape: list[int]) -> _Bound:
        bound = self._tensor(name, kind, shape)
        self._bound.append(bound)
        return bound

    def _tensor(self, name: str, kind: str, shape: list[int]) -> _Bound:
        """Fresh zeroed memory as a tensor."""
        count = int(np.prod(shape)) if shape else 1
        memory = Memory(self._java, f"edge-{name}", count * np.dtype(kind).itemsize)
        try:
            tensor = self._tensors.createTensor(self._environment, memory.view(kind, count), shape)
        except Exception as error:
            memory.close()
            raise step_failed(error) from error
        return _Bound(memory, tensor)

    @property
    def state_version(self) -> str:
        """See PrefixEngine.state_version."""
        return f"onnxruntime-java {self._environment.getVersion()} {platform.machine()}"

    def forward(self, token_ids: TokenIds, wanted: Sequence[int]) -> Logits:
        """See Engine.forward. The returned array is the caller's."""
        ids, index = checked_step(token_ids, wanted, self._length, self._capacity, self._vocab)
        return self._run(self._length, ids, index)

    def forward_exact(self, token_ids: TokenIds, wanted: Sequence[int]) -> Logits:
        """See ExactEngine.forward_exact and edge.runtime.onnx_engine, which says why there are never single rows."""
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
        count, total = ids.shape[1], start + ids.shape[1]
        # Java's tensors have no empty sides: where no row is wanted, one is computed and left.
        rows = index if len(index) else np.zeros(1, dtype=np.int64)
        self._past.memory.write(0, np.array([total - 1], dtype=np.int32).tobytes())
        self._total.memory.write(0, np.array([total], dtype=np.int32).tobytes())
        with contextlib.ExitStack() as passing:
            tokens = self._filled(passing, "input_ids", ids)
            wanted = self._filled(passing, "logits_index", rows)
            logits = self._single
            if len(rows) != 1:
                logits = self._tensor("logits", "float32", [len(rows), self._vocab])
                passing.callback(logits.close)
            self._inputs.put("input_ids", tokens.tensor)
            self._inputs.put("logits_index", wanted.tensor)
            self._outputs.put("logits", logits.tensor)
            try:
                # The one overload with four arguments: between those with two pyjnius takes the first that looks right.
                # Outputs that are pinned are not closed with the result.
                self._session.run(self._inputs, self._no_outputs, self._outputs, None).close()
            except Exception as error:
                raise step_failed(error) from error
            data = logits.memory.read(0, len(index) * self._vocab * FLOAT_BYTES) if len(index) else b""
        self._ids[start:total] = ids[0, :count]
        self._length = total
        return np.frombuffer(data, dtype=np.float32).reshape(len(index), self._vocab).copy()

    def _filled(self, passing: contextlib.ExitStack, name: str, values: npt.NDArray[np.int64]) -> _Bound:
        """`values` as a tensor that goes with `passing`."""
        bound = self._tensor(name, "int64", list(values.shape))
        passing.callback(bound.close)
        bound.memory.write(0, values.tobytes())
        return bound

    def prefix_shape(self, length: int) -> tuple[int, ...]:
        """[2 x layers (key, value, key, ...), kv_heads, length, head_dim]."""
        return (len(self._cache), self._kv_heads, length, self._head_dim)

    def save_prefix(self, length: int) -> npt.NDArray[np.float32]:
        """See PrefixEngine.save_prefix; prefix_shape says how it is laid out."""
        if not 0 <= length <= self._length:
            raise ValueError(f"cannot save {length} of {self._length} tokens")
        state = np.empty(self.prefix_shape(length), dtype=np.float32)
        for part, (_, bound) in zip(state, self._cache, strict=True):
            for head in range(self._kv_heads if length else 0):
                data = bound.memory.read(head * self._capacity * self._row_bytes, length * self._row_bytes)
                part[head] = np.frombuffer(data, dtype=np.float32).reshape(length, self._head_dim)
        return state

    def load_prefix(self, token_ids: TokenIds, state: npt.NDArray[np.floating]) -> None:
        """See PrefixEngine.load_prefix."""
        ids, _ = checked_step(token_ids, (), 0, self._capacity, self._vocab)
        count = ids.shape[1]
        if state.shape != self.prefix_shape(count):
            raise ValueError(f"a state of shape {state.shape} is not one of {count} tokens of this model")
        for part, (_, bound) in zip(state, self._cache, strict=True):
            for head in range(self._kv_heads):
                bound.memory.write(head * self._capacity * self._row_bytes, part[head].astype(np.float32).tobytes())
        self._ids[:count] = ids[0]
        self._length = count

    def close(self) -> None:
        """Free session and cache. Idempotent."""
        for thing in (self._session, *self._bound, self._options):  # the session before what it reads from
            if thing is not None:
                thing.close()
        self._session = self._options = None
        self._bound.clear()


class ArmOrtJavaEngine(OrtJavaEngine):
    """On Arm its kernels are those of the ONNX engine, and as little exact over cuts: see ArmOnnxEngine."""

    forward_exact = None  # type: ignore[assignment]  # a protocol's way to say that there is none


def java_engine(machine: str = "") -> type[OrtJavaEngine]:
    """The class for a machine's architecture (default: this one's)."""
    return ArmOrtJavaEngine if (machine or platform.machine()) in ("aarch64", "arm64") else OrtJavaEngine


def open_java_engine(folder: Path, threads: int | None, context_tokens: int | None) -> OrtJavaEngine:
    """A Factory of edge.runtime.engines."""
    return java_engine()(folder, threads=threads, context_tokens=context_tokens)


def _is_memory(error: Exception) -> bool:
    text = str(error)
    return any(sign in text for sign in ("bad_alloc", "bad allocation", "Failed to allocate", "OutOfMemoryError"))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def step_failed(error: Exception) -> EdgeError:
    """A failed call of the engine. Its text names nodes and shapes only; token ids or text never appear in it."""
    if _is_memory(error):
        return no_memory("inference")
    return ResourceError(
        f"the engine failed ({_first_line(error)})", where="inference", mend="run `edge verify` on this bundle"
    )
