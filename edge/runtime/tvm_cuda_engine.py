"""The TVM engine on an NVIDIA GPU: the same decoder and weights file, kernels compiled for one sm level.

NOT PROVEN ON A GPU. No machine with one was at hand when this was written. What was proven without: the kernels'
descriptions, run as loops of a CPU, give the CPU engine's text; the CUDA C that is made of them, run by threads of a
CPU through TVM's real CUDA runtime, does so too; NVIDIA's compiler takes it. `edge verify` on the device is the first
real proof; until then the CPU engine is the default, and a GPU is used only where EDGE_ACCELERATOR=cuda asks for it.

Needs, beside what the CPU engine needs: libtvm_runtime_cuda.so in the model folder, NVIDIA's driver, and of CUDA 13
(which JetPack 6 of a Jetson has not) libcudart.so.13 from the system or the package nvidia-cuda-runtime. It compiles
nothing.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import ctypes
import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import BundleError, ResourceError
from edge.runtime.engine import TokenIds
from edge.runtime.tvm_engine import CPU, TvmEngine, aligned, load_description, load_runtime

ACCELERATOR_VARIABLE = "EDGE_ACCELERATOR"
CUDA = 2  # DLPack's number of the device
CUDA_RUNTIME_FILE = "libtvm_runtime_cuda.so"
CUDART_PACKAGE, CUDART_FILE = "nvidia-cuda-runtime", "libcudart.so.13"
CUBIN_MARK = "edge-cubin:"  # as edge/build/tvm/cuda/compile.py writes it
EXISTS, COMPUTE_VERSION = 0, 4  # TVM's numbers of device attributes
POOLED = 2  # TVM's allocator that keeps freed memory


def wants_cuda(description: Mapping[str, Any], environment: Mapping[str, str]) -> bool:
    """Whether this model has GPU kernels and the device's owner asked for them."""
    return "cuda" in description and environment.get(ACCELERATOR_VARIABLE) == "cuda"


def embedded_cubin(text: str) -> bytes:
    """The machine code that the build put where TVM keeps a kernel's source. Errors: BundleError."""
    try:
        if not text.startswith(CUBIN_MARK):
            raise ValueError
        return base64.b64decode(text.removeprefix(CUBIN_MARK), validate=True)
    except (ValueError, binascii.Error) as error:
        raise BundleError("the GPU's kernels cannot be read", where="model", mend="build again") from error


def load_cuda_runtime(ffi: Any, folder: Path, level: str) -> None:
    """Make TVM able to drive the GPU, which has to be of `level` ("sm_87"). Errors: BundleError, ResourceError."""
    if ffi.get_global_func("device_api.cuda", allow_missing=True) is None:
        path = folder / CUDA_RUNTIME_FILE
        with contextlib.suppress(importlib.metadata.PackageNotFoundError, OSError):
            for file in importlib.metadata.distribution(CUDART_PACKAGE).files or ():
                if file.name == CUDART_FILE:
                    ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
        try:
            ctypes.CDLL(str(path))
        except OSError as error:
            raise ResourceError(
                f"the GPU's runtime does not load ({str(error).splitlines()[0][:120]})",
                where=str(path),
                mend=f"install NVIDIA's driver and CUDA 13, or unset {ACCELERATOR_VARIABLE}",
            ) from error
    attribute = ffi.get_global_func("runtime.GetDeviceAttr")
    if not attribute(CUDA, 0, EXISTS):
        raise ResourceError("no NVIDIA GPU is there", where="cuda", mend=f"unset {ACCELERATOR_VARIABLE}")
    found = "sm_" + str(attribute(CUDA, 0, COMPUTE_VERSION)).replace(".", "")
    if found != level:
        raise BundleError(
            f"its GPU kernels are for {level}, this GPU is {found}",
            where=str(folder),
            mend=f"build for this GPU's level, or unset {ACCELERATOR_VARIABLE}",
        )
    ffi.register_global_func("tvm_callback_cuda_compile", embedded_cubin, override=True)


class TvmCudaEngine(TvmEngine):
    """`TvmEngine` with weights, cache and kernels on the first GPU; what it takes and gives stays on the CPU.

    model_folder: as TvmEngine, with an entry "cuda" in decoder.json. Its prefixes are those of the CPU engine in
    shape, but carry another version, for their numbers differ in the last bits.
    """

    device = CUDA

    def __init__(self, model_folder: Path, *, threads: int | None = None, context_tokens: int | None = None) -> None:
        description = load_description(model_folder)
        library = _cuda_library(description, model_folder)
        ffi = load_runtime(model_folder)
        self._load_device(ffi, model_folder, library["level"])
        self._vocab, self._hidden = int(description["vocab_size"]), int(description["hidden_size"])
        self._layers, self._kv_heads = int(description["layers"]), int(description["kv_heads"])
        self._head_dim, self._places = int(description["head_dim"]), int(description["capacity"])
        built_for = int(description["context_tokens"])
        self._capacity = min(context_tokens or built_for, built_for)
        self._version = f"tvm {description['tvm']} {library['kernels']} {platform.machine()}"
        self._chunks = sorted((int(n) for n in library["chunks"]), reverse=True)
        self._head_rows = sorted((int(n) for n in library["head_rows"]), reverse=True)
        self._length = 0
        self._ids = np.zeros(self._capacity, dtype=np.int64)
        self._tensor = ffi.from_dlpack
        self._memory = _Memory(ffi, "cuda" if self.device == CUDA else "cpu")
        try:
            machine = ffi.load_module(str(model_folder / library["file"]))["vm_load_executable"]()
            # The host comes last: the machine keeps its own numbers there.
            machine["vm_initialization"](*((CUDA, 0, POOLED) if self.device == CUDA else ()), CPU, 0, POOLED)
        except Exception as error:  # tvm_ffi raises what its C++ side names
            reason = str(error).strip().splitlines()[-1][:160] if str(error).strip() else type(error).__name__
            raise BundleError(
                f"the model does not load ({reason})", where=str(model_folder / library["file"]), mend="build again"
            ) from error
        self._machine = machine
        try:
            mapped = self._map_weights(model_folder, description)
            self._weights = ffi.Array([self._memory.put(np.from_dlpack(tensor)) for tensor in mapped])
            size = self._kv_heads * self._places * self._head_dim
            nothing = np.zeros(size, np.float32)
            self._on_device = [self._memory.put(nothing) for _ in range(2 * self._layers)]
        except BundleError:
            raise
        except Exception as error:
            raise ResourceError(
                "not enough memory on the GPU", where="cuda", mend="use a smaller model or context"
            ) from error
        # forward() of the CPU engine gives host arrays to these and takes host arrays from them.
        self._position = aligned(1, np.int32)
        self._position_tensor = self._position
        self._cache_tensors = ffi.Array(self._on_device)
        self._read = {n: self._reader(machine[f"tokens_{n}"]) for n in self._chunks}
        self._score = {n: self._scorer(machine[f"logits_{n}"]) for n in self._head_rows}
        self._cache = [np.empty(0, np.float32)] * len(self._on_device)

    def _load_device(self, ffi: Any, folder: Path, level: str) -> None:
        load_cuda_runtime(ffi, folder, level)

    def _reader(self, function: Any) -> Callable[..., npt.NDArray[Any]]:
        def read(tokens: Any, position: npt.NDArray[Any], cache: Any, weights: Any) -> npt.NDArray[Any]:
            ids, at = self._memory.put(np.from_dlpack(tokens)), self._memory.put(position)
            return self._memory.get(function(ids, at, cache, weights))

        return read

    def _scorer(self, function: Any) -> Callable[..., npt.NDArray[Any]]:
        def score(hidden: Any, weights: Any) -> npt.NDArray[Any]:
            return self._memory.get(function(self._memory.put(np.from_dlpack(hidden)), weights))

        return score

    def save_prefix(self, length: int) -> npt.NDArray[np.float32]:
        """See PrefixEngine.save_prefix; the cache comes to the CPU for it."""
        self._cache = [self._memory.get(tensor) for tensor in self._on_device]
        try:
            return super().save_prefix(length)
        finally:
            self._cache = [np.empty(0, np.float32)] * len(self._on_device)

    def load_prefix(self, token_ids: TokenIds, state: npt.NDArray[np.floating]) -> None:
        """See PrefixEngine.load_prefix."""
        size = self._kv_heads * self._places * self._head_dim
        self._cache = [np.zeros(size, np.float32) for _ in self._on_device]
        try:
            super().load_prefix(token_ids, state)
            for tensor, array in zip(self._on_device, self._cache, strict=True):
                self._memory.fill(tensor, array)
        finally:
            self._cache = [np.empty(0, np.float32)] * len(self._on_device)

    def close(self) -> None:
        """Free the model and the cache. Idempotent."""
        super().close()
        self._on_device = []


class _Memory:
    """Tensors of a device, and copies of them; each copy is done when the call returns."""

    def __init__(self, ffi: Any, device: str) -> None:
        self._device, self._shape, self._dtype = ffi.Device(device, 0), ffi.Shape, ffi.dtype
        self._new = ffi.get_global_func("runtime.TVMTensorAllocWithScope")
        self._in = ffi.get_global_func("runtime.TVMTensorCopyFromBytes")
        self._out = ffi.get_global_func("runtime.TVMTensorCopyToBytes")

    def put(self, array: npt.NDArray[Any]) -> Any:
        """A new tensor on the device."""
        tensor = self._new(self._shape(array.shape), self._dtype(str(array.dtype)), self._device, None)
        self.fill(tensor, array)
        return tensor

    def fill(self, tensor: Any, array: npt.NDArray[Any]) -> None:
        """Overwrite a tensor of the device."""
        array = np.ascontiguousarray(array)
        self._in(tensor, ctypes.c_void_p(array.ctypes.data), array.nbytes)

    def get(self, tensor: Any) -> npt.NDArray[Any]:
        """A tensor's numbers on the CPU."""
        array = np.empty(tuple(tensor.shape), np.dtype(str(tensor.dtype)))
        self._out(tensor, ctypes.c_void_p(array.ctypes.data), array.nbytes)
        return array


def _cuda_library(description: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """decoder.json's entry of the GPU. Errors: BundleError."""
    machine = platform.machine()
    try:
        library: dict[str, Any] = dict(description["cuda"])
        words = [library["file"], library["kernels"], library["level"]]
        if not all(isinstance(word, str) for word in words) or Path(library["file"]).name != library["file"]:
            raise ValueError
        if 1 not in library["chunks"] or 1 not in library["head_rows"]:
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            "the bundle has no kernels for a GPU",
            where=str(folder),
            mend=f"build with accelerator: cuda, or unset {ACCELERATOR_VARIABLE}",
        ) from error
    if machine != description["arch"]:
        raise BundleError(
            f"was compiled for {description['arch']}, this is {machine}",
            where=str(folder),
            mend="build for this device's target",
        )
    return library
