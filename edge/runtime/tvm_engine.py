"""The TVM engine: a compiled decoder, its weights mapped from one file, one preallocated KV cache.

Needs numpy and tvm_ffi only; the runtime library of TVM travels in the bundle. Nothing of it is loaded before this CPU
was asked for the instructions that the kernels use.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import math
import mmap
import os
import platform
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.device.facts import local_facts
from edge.errors import BundleError, EdgeError, MissingToolError, ResourceError
from edge.runtime.engine import Logits, TokenIds, checked_step, default_threads
from edge.runtime.held import HeldTokens, lazy_zeros, no_memory

ENGINE_NAME = "tvm"
WEIGHTS_FILE = "model.weights"
DESCRIPTION_FILE = "decoder.json"
RUNTIME_FILE = "libtvm_runtime.so"
SCHEMA_VERSION = 1
FFI_VERSION = "0.1.15.post2"  # its C interface and that of the runtime library belong together
ALIGNMENT_BYTES = 64  # a tensor that lies otherwise is a segmentation fault in the kernels
TILE = 16  # keys side by side in the cache
CPU = 1  # DLPack's number of the device
NUMBERS = ("vocab_size", "hidden_size", "layers", "kv_heads", "head_dim", "capacity", "context_tokens")
DTYPES = ("float32", "int32", "uint8")


def load_description(folder: Path) -> dict[str, Any]:
    """decoder.json of a model folder. Errors: BundleError."""
    path = folder / DESCRIPTION_FILE
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = value["schema_version"]
        whole = version != SCHEMA_VERSION or _is_whole(value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError("the model's description cannot be read", where=str(path), mend="build again") from error
    if version != SCHEMA_VERSION:
        raise BundleError(f"the model's description has version {version!r}", where=str(path), mend="update edge")
    if not whole:
        raise BundleError("the model's description is not whole", where=str(path), mend="build again")
    return value


def _is_whole(value: dict[str, Any]) -> bool:
    """Every key that the engine reads is there and possible: a wrong size would be a wrong address in the kernels."""
    counts = all(type(value[name]) is int and value[name] > 0 for name in NUMBERS)
    words = [value["arch"], value["tvm"]]
    libraries: list[dict[str, Any]] = value["libraries"]
    for library in libraries:
        words += [library["file"], library["kernels"], *library["cpu_features"]]
        counts = counts and all(1 in library[key] and min(library[key]) > 0 for key in ("chunks", "head_rows"))
        counts = counts and Path(library["file"]).name == library["file"]
    for name, dtype, shape, offset, size in value["tensors"]:
        words.append(name)
        counts = counts and dtype in DTYPES and offset >= 0 and min(shape) > 0
        counts = counts and math.prod(shape) * np.dtype(dtype).itemsize == size
    return counts and bool(libraries) and all(isinstance(word, str) for word in words)


def choose_library(
    description: dict[str, Any], where: str, *, root: Path = Path("/"), machine: str | None = None
) -> dict[str, Any]:
    """The best of the compiled decoders that this CPU runs, found before its first instruction.

    root: where /proc lies; machine: the architecture (default: of this interpreter). Errors: BundleError for a CPU
    that runs none of them.
    """
    arch = machine or platform.machine()
    if arch != description["arch"]:
        raise BundleError(
            f"was compiled for {description['arch']}, this is {arch}",
            where=where,
            mend="build for this device's target",
        )
    has = set(local_facts(root, arch=arch).isa_features)
    libraries: list[dict[str, Any]] = description["libraries"]
    for library in libraries:
        if has >= set(library["cpu_features"]):
            return library
    missing = [feature for feature in libraries[-1]["cpu_features"] if feature not in has]
    raise BundleError(
        f"its kernels ({libraries[-1]['kernels']}) need {', '.join(missing)}, which this CPU has not",
        where=where,
        mend="build for this device's target",
    )


def _is_cut(path: Path) -> bool:
    """The file is no 64-bit ELF, or shorter than its own segments.

    The loader maps a cut library without a word and dies of SIGBUS at the first page that is not there.
    """
    try:
        with path.open("rb") as file:
            data = file.read(4096)
        offset, size, count = struct.unpack_from("<Q", data, 0x20)[0], *struct.unpack_from("<HH", data, 0x36)
        segments = [struct.unpack_from("<IIQQQQ", data, offset + index * size) for index in range(count)]
        end = max(start + length for _, _, start, _, _, length in segments)
        return data[:4] != b"\x7fELF" or end > path.stat().st_size
    except (OSError, ValueError, struct.error):
        return True


def load_runtime(folder: Path) -> Any:
    """tvm_ffi with the bundle's runtime library; once a process."""
    try:
        import tvm_ffi
    except ImportError as error:
        raise MissingToolError(
            "the tvm engine needs the package apache-tvm-ffi", mend="pip install 'edge-kit[tvm]'"
        ) from error
    found = importlib.metadata.version("apache-tvm-ffi")
    if found.split(".")[:2] != FFI_VERSION.split(".")[:2]:
        raise MissingToolError(
            f"the tvm engine was made for apache-tvm-ffi {FFI_VERSION}, {found} is installed",
            mend="pip install 'edge-kit[tvm]'",
        )
    if tvm_ffi.get_global_func("runtime.config_threadpool", allow_missing=True) is None:
        path = folder / RUNTIME_FILE
        try:
            if _is_cut(path):
                raise OSError(path)
            # For all to see: the compiled decoder looks its symbols up in it.
            ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise BundleError(
                "the runtime library does not load here", where=str(path), mend="build for this device's target"
            ) from error
    return tvm_ffi


class TvmEngine(HeldTokens):
    """Implements edge.runtime.engine.Engine, ExactEngine and PrefixEngine.

    model_folder: holds decoder.*.so, decoder.json, model.weights and the runtime library. context_tokens: capacity of
    the cache, at most what the model was compiled for; the memory of the rest is never touched.
    """

    def __init__(
        self,
        model_folder: Path,
        *,
        threads: int | None = None,
        context_tokens: int | None = None,
        root: Path = Path("/"),
    ) -> None:
        description = load_description(model_folder)
        library = choose_library(description, str(model_folder), root=root)
        # Read when the library starts its threads: without them it takes half the cores, and nails each thread to one
        # core, where it waits for whatever else runs there.
        os.environ.setdefault("TVM_BIND_THREADS", "0")
        os.environ.setdefault("TVM_NUM_THREADS", str(threads or default_threads()))
        ffi = load_runtime(model_folder)
        ffi.get_global_func("runtime.config_threadpool")(1, threads or default_threads())
        self._vocab = int(description["vocab_size"])
        self._hidden = int(description["hidden_size"])
        self._layers, self._kv_heads = int(description["layers"]), int(description["kv_heads"])
        self._head_dim, self._places = int(description["head_dim"]), int(description["capacity"])
        built_for = int(description["context_tokens"])
        self._capacity = min(context_tokens or built_for, built_for)
        self._version = f"tvm {description['tvm']} {library['kernels']} {platform.machine()}"
        self._chunks = sorted((int(n) for n in library["chunks"]), reverse=True)
        self._head_rows = sorted((int(n) for n in library["head_rows"]), reverse=True)
        self._length = 0
        self._ids = np.zeros(self._capacity, dtype=np.int64)
        if _is_cut(model_folder / library["file"]):
            raise BundleError(
                "the model does not load (cut or missing)",
                where=str(model_folder / library["file"]),
                mend="build again",
            )
        try:
            module = ffi.load_module(str(model_folder / library["file"]))
            machine = module["vm_load_executable"]()
            machine["vm_initialization"](CPU, 0, 2)
        except Exception as error:  # tvm_ffi raises what its C++ side names
            reason = str(error).strip().splitlines()[-1][:160] if str(error).strip() else type(error).__name__
            raise BundleError(
                f"the model does not load ({reason})", where=str(model_folder / library["file"]), mend="build again"
            ) from error
        self._machine: Any = machine
        self._read = {n: machine[f"tokens_{n}"] for n in self._chunks}
        self._score = {n: machine[f"logits_{n}"] for n in self._head_rows}
        self._tensor = ffi.from_dlpack
        self._weights = ffi.Array(self._map_weights(model_folder, description))
        size = self._kv_heads * self._places * self._head_dim
        self._cache = [lazy_zeros((size,)) for _ in range(2 * self._layers)]
        self._cache_tensors: Any = ffi.Array([self._tensor(part) for part in self._cache])
        self._position = aligned(1, np.int32)
        self._position_tensor: Any = self._tensor(self._position)

    def _map_weights(self, folder: Path, description: dict[str, Any]) -> list[Any]:
        path = folder / WEIGHTS_FILE
        try:
            with path.open("rb") as file:
                # Private pages of the file: clean ones are given back when memory is short.
                pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            raise BundleError("the weights cannot be read", where=str(path), mend="build again") from error
        tensors = []
        for name, dtype, shape, offset, size in description["tensors"]:
            if offset % ALIGNMENT_BYTES or offset + size > len(pages):
                raise BundleError(f"tensor '{name}' lies outside the file", where=str(path), mend="build again")
            count = size // np.dtype(dtype).itemsize
            tensors.append(self._tensor(np.frombuffer(pages, dtype, count, offset).reshape(shape)))
        return tensors

    @property
    def state_version(self) -> str:
        """See PrefixEngine.state_version."""
        return self._version

    def forward(self, token_ids: TokenIds, wanted: Sequence[int]) -> Logits:
        """See Engine.forward. The returned array is the caller's."""
        ids, index = checked_step(token_ids, wanted, self._length, self._capacity, self._vocab)
        try:
            return self._run(ids[0], index)
        except EdgeError:
            raise
        except MemoryError as error:
            raise no_memory("the KV cache") from error
        except Exception as error:
            raise ResourceError(
                f"the engine failed ({type(error).__name__})",
                where="inference",
                mend="run `edge verify` on this bundle",
            ) from error

    def forward_exact(self, token_ids: TokenIds, wanted: Sequence[int]) -> Logits:
        """See ExactEngine.forward_exact: every kernel computes a token alone and in one order, so it is `forward`."""
        return self.forward(token_ids, wanted)

    def _run(self, ids: npt.NDArray[np.int64], index: npt.NDArray[np.int64]) -> Logits:
        start, count = self._length, len(ids)
        picked = aligned((max(1, len(index)), self._hidden), np.float32)
        done = 0
        while done < count:
            step = next(n for n in self._chunks if n <= count - done)
            tokens = aligned(step, np.int32)
            tokens[:] = ids[done : done + step]
            self._position[0] = start + done
            hidden = self._read[step](self._tensor(tokens), self._position_tensor, self._cache_tensors, self._weights)
            inside = np.flatnonzero((index >= done) & (index < done + step))
            if len(inside):
                picked[inside] = np.from_dlpack(hidden)[index[inside] - done]
            done += step
        logits = np.empty((len(index), self._vocab), dtype=np.float32)
        done = 0
        while done < len(index):
            rows = next(n for n in self._head_rows if n <= len(index) - done)
            block = picked[done : done + rows]
            if block.ctypes.data % ALIGNMENT_BYTES:
                moved = aligned(block.shape, np.float32)
                moved[:] = block
                block = moved
            made = self._score[rows](self._tensor(block), self._weights)
            logits[done : done + rows] = np.from_dlpack(made)[:, : self._vocab]
            done += rows
        self._ids[start : start + count] = ids
        self._length = start + count
        return logits

    def prefix_shape(self, length: int) -> tuple[int, ...]:
        """[2 x layers (key, value, key, ...), kv_heads, length, head_dim]."""
        return (len(self._cache), self._kv_heads, length, self._head_dim)

    def _views(self, part: int, length: int) -> tuple[npt.NDArray[np.float32], bool]:
        """(the stored array, whether it holds keys): keys [kv_heads, runs, head_dim, 16], values as prefix_shape."""
        array = self._cache[part]
        if part % 2:
            return array.reshape(self._kv_heads, self._places, self._head_dim)[:, :length], False
        runs = -(-length // TILE)
        return array.reshape(self._kv_heads, -1, self._head_dim, TILE)[:, :runs], True

    def save_prefix(self, length: int) -> npt.NDArray[np.float32]:
        """See PrefixEngine.save_prefix; prefix_shape says how it is laid out."""
        if not 0 <= length <= self._length:
            raise ValueError(f"cannot save {length} of {self._length} tokens")
        state = np.empty(self.prefix_shape(length), dtype=np.float32)
        for number, part in enumerate(state):
            stored, keys = self._views(number, length)
            if keys:
                stored = stored.transpose(0, 1, 3, 2).reshape(self._kv_heads, -1, self._head_dim)[:, :length]
            part[:] = stored
        return state

    def load_prefix(self, token_ids: TokenIds, state: npt.NDArray[np.floating]) -> None:
        """See PrefixEngine.load_prefix."""
        ids, _ = checked_step(token_ids, (), 0, self._capacity, self._vocab)
        count = ids.shape[1]
        if state.shape != self.prefix_shape(count):
            raise ValueError(f"a state of shape {state.shape} is not one of {count} tokens of this model")
        for number, part in enumerate(state):
            stored, keys = self._views(number, count)
            if keys:
                filled = np.zeros((self._kv_heads, stored.shape[1] * TILE, self._head_dim), dtype=np.float32)
                filled[:, :count] = part
                stored[:] = filled.reshape(self._kv_heads, -1, TILE, self._head_dim).transpose(0, 1, 3, 2)
            else:
                stored[:] = part
        self._ids[:count] = ids[0]
        self._length = count

    def close(self) -> None:
        """Free the model and the cache. Idempotent."""
        self._read, self._score = {}, {}
        self._machine = self._weights = self._cache_tensors = self._position_tensor = None
        self._cache = []


def aligned(shape: int | tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """An uninitialised array that begins at a multiple of 64 bytes."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT_BYTES, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT_BYTES
    return memory[start : start + size].view(dtype).reshape(shape)
