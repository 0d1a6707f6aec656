"""What is compiled for a GPU: the CUDA C, NVIDIA's machine code of it, and the object for the CPU beside it."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

pytest.importorskip("tvm", reason="apache-tvm (extra mlc) is not installed", exc_type=ImportError)

from edge.build.quantise import QuantFormat
from edge.build.tvm.cuda.compile import (
    CUBIN_MARK,
    CompiledCuda,
    check_level,
    compile_cuda_decoder,
    cuda_isa,
    level_of_target,
    load_nvrtc,
    nvidia_compiler,
)
from edge.build.tvm.decoder import Shape
from edge.build.tvm.isa import ISAS
from edge.build.tvm.objects import MACHINES
from edge.errors import MissingToolError, SourceError, SpecError
from edge.specs.target import load_target
from tests.tiny import CONFIGS

CONFIG = CONFIGS["qwen3-qk-norm"]
LOW, HEAD = QuantFormat(4, 32, False), QuantFormat(8, 32, True)
FORMATS = {f"layers.{n}.{m}": LOW for n in range(CONFIG.layers) for m in ("qkv", "o", "gate_up", "down")}
SHAPE = Shape(CONFIG, FORMATS, HEAD, 64)
CHUNKS, HEAD_ROWS = (1, 8), (1,)
JETSON = ISAS["neon-dotprod"]
# Barriers of a kernel: between its phases.
BARRIERS = {"embedding": 0, "norm": 1, "product": 1, "rotate": 0, "attend": 4, "rounded": 0, "gate": 0}
THREADS = {"embedding": 128, "norm": 128, "product": 128, "rotate": 64, "attend": 64, "rounded": 32, "gate": 32}


def no_compiler(source: str, level: str) -> bytes:
    return f"machine code of {level}".encode()


_made: list[tuple[Path, CompiledCuda]] = []


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CompiledCuda]:
    """A tiny decoder for a Jetson Orin without NVIDIA's compiler."""
    if not _made:
        folder = tmp_path_factory.mktemp("model")
        compiled = compile_cuda_decoder(
            SHAPE, JETSON, "sm_87", folder, chunks=(*CHUNKS, 128), head_rows=HEAD_ROWS, compiler=no_compiler
        )
        _made.append((folder, compiled))
    return _made[0]


def kernels_of(source: str) -> dict[str, str]:
    """name -> text of each kernel."""
    found = re.findall(r'^extern "C" __global__ void [^;{]*?(\w+)_kernel\([^;{]*\{.*?^\}', source, re.M | re.S)
    texts = re.finditer(r'^extern "C" __global__ void [^;{]*\{.*?^\}', source, re.M | re.S)
    return dict(zip(found, (text[0] for text in texts), strict=True))


def test_an_object_for_the_jetson(made: tuple[Path, CompiledCuda]) -> None:
    """Fails when the object is for the build host, or asks a device for a library that it has not."""
    folder, compiled = made
    data = (folder / compiled.file).read_bytes()
    assert compiled.file == "decoder.cuda-sm_87.so"
    assert int.from_bytes(data[18:20], "little") == MACHINES["aarch64"]
    assert compiled.chunks == CHUNKS  # 128 tokens do not fit into a context of 64
    assert compiled.to_json()["level"] == "sm_87"


def test_machine_code_travels_in_place_of_source(made: tuple[Path, CompiledCuda]) -> None:
    """Fails when a device would have to compile CUDA C, for which it has no compiler."""
    folder, compiled = made
    data = (folder / compiled.file).read_bytes()
    assert CUBIN_MARK.encode() + base64.b64encode(compiled.cubin) in data
    assert b"__global__" not in data


def test_barriers_stand_between_phases_only(made: tuple[Path, CompiledCuda]) -> None:
    """Fails when TVM adds a barrier or loses one: in a branch it would stop a block of threads for ever."""
    kernels = kernels_of(made[1].source)
    assert {name.split("_")[0] for name in kernels} == set(BARRIERS)
    for name, text in kernels.items():
        kind = name.split("_")[0]
        assert text.count("__syncthreads();") == BARRIERS[kind], name
        # Four spaces: in the loop over runs of keys, which all threads of a block walk together; deeper is a branch.
        assert all(len(indent) in (2, 4) for indent in re.findall(r"^( *)__syncthreads", text, re.M)), name
        assert f"__launch_bounds__({THREADS[kind]})" in text, name


def test_shared_arrays_lie_apart(made: tuple[Path, CompiledCuda]) -> None:
    """Fails when TVM lays two arrays of a block over each other: threads would read each other's later numbers."""
    for name, text in kernels_of(made[1].source).items():
        wanted = {"attend": 2, "norm": 1, "product": 1}.get(name.split("_")[0], 0)
        assert text.count("__shared__") == wanted, name


def test_byte_products_are_instructions(made: tuple[Path, CompiledCuda]) -> None:
    """Fails when products are multiplied byte by byte."""
    products = {name: text for name, text in kernels_of(made[1].source).items() if name.startswith("product")}
    assert products
    assert all("__dp4a(" in text for text in products.values())


@pytest.mark.slow
@pytest.mark.parametrize("level", ["sm_87", "sm_90"])
def test_nvidias_compiler_takes_it(made: tuple[Path, CompiledCuda], level: str) -> None:
    """Fails when what is written is no CUDA C for a Jetson Orin (sm_87) or a data centre's GPU (sm_90)."""
    try:
        compiler = nvidia_compiler()
    except MissingToolError as error:
        pytest.skip(str(error))
    source = made[1].source
    cubin = compiler(source, level)
    assert cubin[:4] == b"\x7fELF"
    assert int.from_bytes(cubin[18:20], "little") == 190  # EM_CUDA
    assert all(f".text.{name}_kernel".encode() in cubin for name in kernels_of(source))
    assert compiler(source, level) == cubin  # the same profile gives the same bytes
    with pytest.raises(SourceError, match="do not compile"):
        compiler('extern "C" __global__ void broken( {', level)


def test_a_refusing_compiler_is_one_line(tmp_path: Path) -> None:
    """Fails when a failure within TVM's callback is lost or ends in a traceback."""

    def refuse(source: str, level: str) -> bytes:
        raise SourceError("the GPU's kernels do not compile (no such thing)", where=level)

    with pytest.raises(SourceError, match=r"^sm_87: the GPU's kernels do not compile"):
        compile_cuda_decoder(SHAPE, JETSON, "sm_87", tmp_path, chunks=(1,), head_rows=(1,), compiler=refuse)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("level", ["sm_87a", "87", "sm_50", "sm_130", "compute_87", ""])
def test_levels_that_cannot_be(level: str) -> None:
    """Fails when a wrong level reaches NVIDIA's compiler, whose complaint nobody understands."""
    with pytest.raises(SpecError, match="level"):
        check_level(level, "profile")


def test_the_target_names_its_level() -> None:
    """Fails when a Jetson's profile would need the level a second time, or a Raspberry Pi got a GPU."""
    assert level_of_target(load_target("jetson-orin-nano"), "profile") == "sm_87"
    with pytest.raises(SpecError, match="no NVIDIA GPU"):
        level_of_target(load_target("raspberry-pi-5"), "profile")


def test_floats_are_refused() -> None:
    """Fails when a GPU would read tiles of another layout."""
    assert cuda_isa(JETSON, "sm_87", "profile").packing == JETSON.packing
    with pytest.raises(SpecError, match="generic-f32"):
        cuda_isa(ISAS["generic-f32"], "sm_87", "profile")


def test_a_missing_compiler_says_how_to_get_it() -> None:
    """Fails when a build without NVIDIA's package ends in a traceback."""
    with pytest.raises(MissingToolError, match="needs the package"):
        load_nvrtc("no-such-package-at-all")
