"""Java's classes as far as the Android engine uses them, in Python, over the real onnxruntime.

As strict as the real ones where a mistake would only show on a device: buffers must be direct and of native order,
shapes have no empty side, a closed object refuses, `run` takes known names, and each output in the type of its tensor.
The signatures are those of ai.onnxruntime since 1.17 (pinned outputs: microsoft/onnxruntime pull request 16835).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime as ort


class JavaError(Exception):
    """Stands for jnius.JavaException."""


class ByteArray(bytes):
    """A byte[] as pyjnius gives it back."""

    def tostring(self) -> bytes:
        return bytes(self)


class ByteOrder:
    @staticmethod
    def nativeOrder() -> str:  # noqa: N802
        return "LITTLE_ENDIAN"


class Buffer:
    """java.nio.ByteBuffer and its views. A fresh ByteBuffer is big endian."""

    def __init__(self, memory: np.ndarray[Any, np.dtype[np.uint8]], direct: bool, kind: str = "uint8") -> None:
        self.memory, self.direct, self.kind = memory, direct, kind
        self.at, self.end, self.native = 0, len(memory) // np.dtype(kind).itemsize, kind != "uint8"

    @staticmethod
    def allocateDirect(count: int) -> Buffer:  # noqa: N802
        return Buffer(np.zeros(count, dtype=np.uint8), direct=True)

    @staticmethod
    def allocate(count: int) -> Buffer:
        return Buffer(np.zeros(count, dtype=np.uint8), direct=False)

    def order(self, order: str) -> Buffer:
        self.native = order == "LITTLE_ENDIAN"
        return self

    def duplicate(self) -> Buffer:
        made = Buffer(self.memory, self.direct)
        made.at, made.end = self.at, self.end
        return made

    def limit(self, end: int) -> Buffer:
        if not 0 <= end <= len(self.memory) // np.dtype(self.kind).itemsize:
            raise JavaError("IllegalArgumentException")
        self.end, self.at = end, min(self.at, end)
        return self

    def position(self, at: int) -> Buffer:
        if not 0 <= at <= self.end:
            raise JavaError("IllegalArgumentException")
        self.at = at
        return self

    def put(self, data: bytes | Buffer) -> Buffer:
        raw = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data.memory[data.at : data.end]
        if len(raw) > self.end - self.at:
            raise JavaError("BufferOverflowException")
        self.memory[self.at : self.at + len(raw)] = raw
        self.at += len(raw)
        return self

    def array(self) -> ByteArray:
        if self.direct:
            raise JavaError("UnsupportedOperationException")
        return ByteArray(self.memory.tobytes())

    def _view(self, kind: str) -> Buffer:
        made = Buffer(self.memory, self.direct, kind)
        made.native = self.native
        return made

    def asFloatBuffer(self) -> Buffer:  # noqa: N802
        return self._view("float32")

    def asLongBuffer(self) -> Buffer:  # noqa: N802
        return self._view("int64")

    def asIntBuffer(self) -> Buffer:  # noqa: N802
        return self._view("int32")


class Closing:
    closed = False

    def close(self) -> None:
        if self.closed:
            raise JavaError("IllegalStateException: closed twice")
        self.closed = True


class Tensor(Closing):
    made: ClassVar[list[Tensor]] = []

    def __init__(self, buffer: Buffer, shape: list[int]) -> None:
        self.array = buffer.memory.view(buffer.kind)[buffer.at : buffer.end].reshape(shape)
        self.value = ort.OrtValue.ortvalue_from_numpy(self.array, "cpu", 0)
        Tensor.made.append(self)

    @staticmethod
    def createTensor(environment: Any, buffer: Buffer, shape: list[int]) -> Tensor:  # noqa: N802
        if not isinstance(environment, Environment) or not buffer.direct or not buffer.native:
            raise JavaError("OrtException: this would be a copy")
        if any(side <= 0 for side in shape):
            raise JavaError(f"IllegalArgumentException: Received non-positive value in shape {shape}")
        if math.prod(shape) != buffer.end - buffer.at:
            raise JavaError("OrtException: Shape and buffer do not agree")
        return Tensor(buffer, shape)


class HashMap(dict[str, Any]):
    def put(self, key: str, value: Any) -> None:
        self[key] = value

    def containsKey(self, key: str) -> bool:  # noqa: N802
        return key in self

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, default)


class HashSet(set[str]):
    """java.util.HashSet."""


class Info:
    def __init__(self, shape: list[Any]) -> None:
        self._shape = [side if isinstance(side, int) else -1 for side in shape]

    def getInfo(self) -> object:  # noqa: N802
        return ("ValueInfo", self)

    def getShape(self) -> list[int]:  # noqa: N802
        return self._shape


class OptLevel:
    BASIC_OPT = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC


class LoggingLevel:
    ORT_LOGGING_LEVEL_FATAL = 4


class SessionOptions(Closing):
    last: SessionOptions | None = None

    def __init__(self) -> None:
        self.real = ort.SessionOptions()
        SessionOptions.last = self

    def setIntraOpNumThreads(self, count: int) -> None:  # noqa: N802
        self.real.intra_op_num_threads = count

    def setInterOpNumThreads(self, count: int) -> None:  # noqa: N802
        self.real.inter_op_num_threads = count

    def setSessionLogLevel(self, level: int) -> None:  # noqa: N802
        self.real.log_severity_level = level

    def setOptimizationLevel(self, level: Any) -> None:  # noqa: N802
        self.real.graph_optimization_level = level

    def addConfigEntry(self, key: str, value: str) -> None:  # noqa: N802
        self.real.add_session_config_entry(key, value)


class Metadata:
    def __init__(self, values: dict[str, str]) -> None:
        self._values = HashMap(values)

    def getCustomMetadata(self) -> HashMap:  # noqa: N802
        return self._values


class Session(Closing):
    def __init__(self, path: str, options: SessionOptions) -> None:
        try:
            self.real: Any = ort.InferenceSession(path, options.real, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise JavaError(f"ai.onnxruntime.OrtException: {error}") from error
        self.runs = 0
        self.fail: Callable[[int], None] = lambda _: None

    def getInputInfo(self) -> HashMap:  # noqa: N802
        return HashMap({item.name: Info(item.shape) for item in self.real.get_inputs()})

    def getOutputInfo(self) -> HashMap:  # noqa: N802
        return HashMap({item.name: Info(item.shape) for item in self.real.get_outputs()})

    def getMetadata(self) -> Metadata:  # noqa: N802
        return Metadata(self.real.get_modelmeta().custom_metadata_map)

    def run(self, inputs: HashMap, requested: HashSet, pinned: HashMap, options: None) -> Closing:
        """`run(Map<String, ? extends OnnxTensorLike>, Set<String>, Map<String, ? extends OnnxValue>, RunOptions)`."""
        if not isinstance(requested, HashSet) or requested or options is not None or not pinned:
            raise JavaError("OrtException: Unexpected outputs")
        self.runs += 1
        self.fail(self.runs)
        if self.closed or any(tensor.closed for tensor in (*inputs.values(), *pinned.values())):
            raise JavaError("IllegalStateException: closed")
        known = set(self.getInputInfo()), set(self.getOutputInfo())
        if set(inputs) != known[0] or not set(pinned) <= known[1]:
            raise JavaError("OrtException: Unknown input or output name")
        binding = self.real.io_binding()
        for name, tensor in inputs.items():
            binding.bind_ortvalue_input(name, tensor.value)
        for name, tensor in pinned.items():
            binding.bind_ortvalue_output(name, tensor.value)
        self.real.run_with_iobinding(binding)
        return Closing()


class Environment:
    sessions: ClassVar[list[Session]] = []

    @staticmethod
    def getEnvironment() -> Environment:  # noqa: N802
        return Environment()

    def setTelemetry(self, on: bool) -> None:  # noqa: N802
        if on:
            raise JavaError("telemetry")

    def getVersion(self) -> str:  # noqa: N802
        return str(ort.__version__)

    def createSession(self, path: str, options: SessionOptions) -> Session:  # noqa: N802
        if not Path(path).is_file():
            raise JavaError("ai.onnxruntime.OrtException: Load model failed. File doesn't exist\nat ...")
        made = Session(path, options)
        Environment.sessions.append(made)
        return made


class SharedMemory(Closing):
    """android.os.SharedMemory, and what is mapped of it."""

    mapped: ClassVar[dict[int, str]] = {}

    def __init__(self, name: str, size_bytes: int) -> None:
        self.name, self.size_bytes = name, size_bytes

    @staticmethod
    def create(name: str, size_bytes: int) -> SharedMemory:
        return SharedMemory(name, size_bytes)

    def mapReadWrite(self) -> Buffer:  # noqa: N802
        made = Buffer.allocateDirect(self.size_bytes)
        SharedMemory.mapped[id(made)] = self.name
        return made

    @staticmethod
    def unmap(buffer: Buffer) -> None:
        del SharedMemory.mapped[id(buffer)]


CLASSES: dict[str, Any] = {
    "ai.onnxruntime.OrtEnvironment": Environment,
    "ai.onnxruntime.OnnxTensor": Tensor,
    "ai.onnxruntime.OrtLoggingLevel": LoggingLevel,
    "ai.onnxruntime.OrtSession$SessionOptions": SessionOptions,
    "ai.onnxruntime.OrtSession$SessionOptions$OptLevel": OptLevel,
    "java.nio.ByteBuffer": Buffer,
    "java.nio.ByteOrder": ByteOrder,
    "java.util.HashMap": HashMap,
    "java.util.HashSet": HashSet,
    "android.os.SharedMemory": SharedMemory,
}


class FakeJava:
    """Implements edge.runtime.java.Java. api: Android's API level; None is an ordinary Java."""

    def __init__(self, api: int | None = 35, without: tuple[str, ...] = ()) -> None:
        self._api, self._without = api, without

    def find(self, name: str) -> Any:
        if name == "android.os.Build$VERSION" and self._api is not None:
            return type("VERSION", (), {"SDK_INT": self._api})
        if name not in CLASSES or name in self._without:
            raise JavaError(f"Class not found {name}")
        return CLASSES[name]

    def cast(self, name: str, value: Any) -> Any:
        if name != "ai.onnxruntime.TensorInfo" or value[0] != "ValueInfo":
            raise JavaError("ClassCastException")
        return value[1]

    def to_bytes(self, array: Any) -> bytes:
        return bytes(array)
