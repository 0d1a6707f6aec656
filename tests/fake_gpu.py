"""A GPU of threads: stand-ins for NVIDIA's driver and runtime libraries that run CUDA C on this CPU.

The kernels' own text is compiled as C++, each thread of a block is a thread of this machine, `__syncthreads` is a real
barrier, and fresh memory is full of NaN. TVM's real CUDA runtime loads and launches through them. Run as a program in
a process of its own: `python -m tests.fake_gpu MODEL FOLDER` prints what came out as JSON.
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

PRELUDE = r"""
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <pthread.h>
#include <string>
#include <thread>
#include <vector>
struct Place { int x = 0; };
static thread_local Place threadIdx, blockIdx;
typedef unsigned char uchar;
typedef unsigned int uint;
static pthread_barrier_t barrier;
static void __syncthreads() { pthread_barrier_wait(&barrier); }
static int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 4; i++) c += (int)(signed char)(a >> (8 * i)) * (int)(signed char)(b >> (8 * i));
  return c;
}
using std::max;
using std::min;
#define __global__
#define __launch_bounds__(n)
#define __restrict__
#define alignas(n)
#define __shared__ static
static void together(unsigned grid, unsigned block, std::function<void()> kernel) {
  pthread_barrier_init(&barrier, nullptr, block);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < block; t++)
    threads.emplace_back([=] {
      for (unsigned b = 0; b < grid; b++) { threadIdx.x = t; blockIdx.x = b; kernel(); __syncthreads(); }
    });
  for (auto& thread : threads) thread.join();
  pthread_barrier_destroy(&barrier);
}
static void alone(unsigned grid, unsigned block, std::function<void()> kernel) {
  for (unsigned b = 0; b < grid; b++)
    for (unsigned t = 0; t < block; t++) { threadIdx.x = t; blockIdx.x = b; kernel(); }
}
"""
DRIVER = r"""
struct Config { unsigned gx, gy, gz, bx, by, bz, shared; void *stream, *attributes; unsigned count; };
static long launched = 0;
extern "C" {
long fake_launches() { return launched; }
int cuDeviceGetName(char* name, int size, int) { strncpy(name, "threads", size); return 0; }
int cuFuncSetAttribute() { return 0; }
int cuGetErrorName(int, const char** text) { *text = "error"; return 0; }
int cuGetErrorString(int, const char** text) { *text = "error"; return 0; }
int cuModuleLoadData(void** module, const void* image) {
  *module = (void*)1;
  return memcmp(image, "\x7f" "ELF", 4) ? 200 : 0;
}
int cuModuleUnload(void*) { return 0; }
int cuTensorMapEncodeTiled() { return 1; }
int cuModuleGetFunction(void** function, void*, const char* name) {
  Dl_info own;
  dladdr((void*)&cuModuleUnload, &own);
  *function = dlsym(dlopen(own.dli_fname, RTLD_NOW), (std::string("launch_") + name).c_str());
  return *function ? 0 : 500;
}
int cuLaunchKernelEx(const Config* config, void* function, void** arguments, void**) {
  launched++;
  if (config->gy != 1 || config->gz != 1 || config->by != 1 || config->bz != 1) return 1;
  ((void (*)(unsigned, unsigned, void**))function)(config->gx, config->bx, arguments);
  return 0;
}
}
"""
# Of the CUDA runtime: what TVM's library asks for; all else answers that it went well.
RUNTIME = {
    "cudaDeviceGetAttribute": "int *v, int a, int d) { *v = a == 75 ? 9 : a == 76 ? 0 : 1024; return d != 0; }",
    "cudaGetDeviceCount": "int *n) { *n = 1; return 0; }",
    "cudaGetDevice": "int *n) { *n = 0; return 0; }",
    "cudaMalloc": "void **p, size_t n) { *p = aligned_alloc(256, n / 256 * 256 + 256); memset(*p, 255, n); return 0; }",
    "cudaFree": "void *p) { free(p); return 0; }",
    "cudaMallocHost": "void **p, size_t n) { *p = malloc(n); return 0; }",
    "cudaFreeHost": "void *p) { free(p); return 0; }",
    "cudaMemcpyAsync": "void *d, void *s, size_t n, int k, void *t) { memcpy(d, s, n); return 0; }",
    "cudaMemGetInfo": "size_t *a, size_t *b) { *a = *b = 1l << 33; return 0; }",
}
TEXTS = ("cudaGetErrorName", "cudaGetErrorString")
KERNEL = re.compile(r'^extern "C" __global__ void __launch_bounds__\((\d+)\) (\w+)\(([^)]*)\) \{(.*?)^\}', re.M | re.S)


def launcher(found: re.Match[str]) -> str:
    """C++ that runs one kernel with the arguments that a launch gives."""
    threads, name, parameters, text = found.groups()
    kinds = [one.split("*")[0].strip() for one in parameters.split(",")]
    given = ", ".join(f"*({kind}**)p[{i}]" for i, kind in enumerate(kinds))
    how = "together" if "__syncthreads" in text else "alone"
    return (
        f'extern "C" void launch_{name}(unsigned g, unsigned b, void** p) '
        f"{{ if (b != {threads}) abort(); {how}(g, b, [=] {{ {name}({given}); }}); }}"
    )


def build(source: str, runtime_library: Path, folder: Path) -> tuple[Path, Path]:
    """(libcudart.so.13, libcuda.so.1) that run the kernels of `source`; runtime_library: TVM's, which asks for them."""
    body = source[source.index('extern "C" __global__') :]
    (folder / "driver.cpp").write_text(PRELUDE + body + "\n".join(map(launcher, KERNEL.finditer(body))) + DRIVER)
    asked = sorted(set(re.findall(rb"\0(cuda[A-Z]\w+)(?=\0)", runtime_library.read_bytes())))
    lines = ["#include <stdlib.h>", "#include <string.h>"]
    for name in (one.decode() for one in asked):
        answer = f'"{name}"' if name in TEXTS else "0"
        kind = "const char *" if name in TEXTS else "int "
        lines.append(f"{kind}{name}(" + RUNTIME.get(name, f"void) {{ return {answer}; }}"))
    (folder / "cudart.c").write_text("\n".join(lines) + "\n")
    (folder / "cudart.map").write_text("libcudart.so.13 { global: *; };\n")
    runtime, driver = folder / "libcudart.so.13", folder / "libcuda.so.1"
    version = f"-Wl,--version-script={folder / 'cudart.map'}"
    _compile("cc", [version, "-Wl,-soname,libcudart.so.13", "-o", str(runtime), str(folder / "cudart.c")])
    options = ["-O1", "-std=c++17", "-Wl,-soname,libcuda.so.1", "-lpthread", "-ldl"]
    _compile("c++", [*options, "-o", str(driver), str(folder / "driver.cpp")])
    return runtime, driver


def _compile(language: str, options: list[str]) -> None:
    command = [sys.executable, "-m", "ziglang", language, "-shared", "-fPIC", "-w", *options]
    subprocess.run(command, check=True, capture_output=True, timeout=300)


def machine_code(source: str, level: str) -> bytes:
    """In place of NVIDIA's compiler: the stand-in driver has the kernels already and looks at the first bytes only."""
    return b"\x7fELF" + f"stand-in for {level}".encode()


def main(name: str, folder: Path) -> dict[str, Any]:
    """Build a tiny model, run it on the GPU of threads and on the CPU."""
    import numpy as np

    from edge.build.cache import Cache
    from edge.build.tvm.cuda.compile import compile_cuda_decoder
    from edge.build.tvm.cuda.runtime_library import write_cuda_runtime
    from edge.runtime.tvm_cuda_engine import CUDA_RUNTIME_FILE, TvmCudaEngine
    from tests.cuda_toy import BYTES_ISAS, GRID_CHUNKS, GRID_ROWS, add_cuda
    from tests.tvm_toy import WHOLE, toy

    def make_folder(part: str) -> Path:
        (folder / part).mkdir()
        return folder / part

    isa = BYTES_ISAS[0]
    made = toy(make_folder, isa, WHOLE[name], context_tokens=150)
    built = compile_cuda_decoder(
        made.shape, isa, "sm_90", made.folder, chunks=GRID_CHUNKS, head_rows=GRID_ROWS, compiler=machine_code
    )
    write_cuda_runtime(isa.arch, made.folder, Cache(folder / "cache"))
    add_cuda(made.folder, built.to_json())
    libraries = build(built.source, made.folder / CUDA_RUNTIME_FILE, folder)
    _, driver = (ctypes.CDLL(str(one), ctypes.RTLD_GLOBAL) for one in libraries)
    engine, cpu = TvmCudaEngine(made.folder), made.engine()
    ids = np.random.default_rng(5).integers(0, made.shape.config.vocab_size, (1, 75))
    logits = [one.forward(ids, range(75)) for one in (engine, cpu)]
    texts: list[list[int]] = [[], []]
    for one, first, text in zip((engine, cpu), logits, texts, strict=True):
        token = int(first[-1].argmax())
        for _ in range(6):
            text.append(token)
            token = int(one.forward(np.array([[token]]), [0])[0].argmax())
    state = engine.save_prefix(33)
    other = TvmCudaEngine(made.folder)
    other.load_prefix(ids[:, :33], state)
    return {
        "texts": texts,
        "difference": float(np.abs(logits[0] - logits[1]).max() / np.abs(logits[1]).max()),
        "prefix": bool(np.array_equal(other.save_prefix(33), state)),
        "launches": int(driver.fake_launches()),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
