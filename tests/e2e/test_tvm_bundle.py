"""`backend: mlc`, as a user types it: build, inspect, verify, run, rebuild; and what is refused, in one line each."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from edge.build.cache import cache_root
from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.device.facts import local_facts
from edge.errors import ExitStatus
from tests.e2e.world import World, tree, write_model

pytest.importorskip("tvm", reason="apache-tvm (extra mlc) is not installed", exc_type=ImportError)

X86 = pytest.mark.skipif(
    platform.machine() != "x86_64" or "avx2" not in local_facts().isa_features, reason="the bundle is for AVX2"
)
# What zig compiles once for a target takes it 6 s: shared with the tester's own runs.
ZIG = {"ZIG_GLOBAL_CACHE_DIR": str(cache_root() / "zig")}
MODEL_FILES = {
    "decoder.avx2.so",
    "decoder.avx512-vnni.so",
    "decoder.json",
    "libtvm_runtime.LICENSE",
    "libtvm_runtime.so",
    "model.weights",
}


@pytest.fixture(scope="session")
def compiled(built: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A machine with out/compiled, built once. A test that changes something copies it."""
    world = built.copy(tmp_path_factory.mktemp("compiled"))
    world.profile("compiled", backend="mlc", quantisation={"scheme": "int4", "symmetric": False})
    world.said = world.build("compiled", env=ZIG).ok()
    return world


@X86
@pytest.mark.slow
def test_what_travels(compiled: World) -> None:
    """If not: the bundle carries what nobody needs, lacks a licence, or names other kernels than it has."""
    bundle = open_bundle(compiled.root / "out" / "compiled", KeyStore(compiled.root / "home").trust_store())
    folder = compiled.root / "out" / "compiled"
    assert {path.name for path in (folder / "model").iterdir()} == MODEL_FILES
    assert not list(folder.glob("model.*"))
    runtime = bundle.manifest.runtime
    assert runtime["engine"] == "tvm"
    assert runtime["graph"] == "tvm-decoder-1"
    assert runtime["kernels"] == "avx2"
    assert runtime["cpu_features"] == ["avx2", "fma"]
    assert "tvm-decoder-1" in bundle.manifest.required_features
    assert {"apache-tvm", "apache-tvm-ffi", "ziglang"} <= set(bundle.manifest.tools)
    stages = json.loads((compiled.root / "out/compiled.build.json").read_text())["stages"]
    names = [stage["stage"] for stage in stages]
    assert names[names.index("export") :] == ["export", "pack", "golden", "describe", "clinical", "fidelity", "seal"]
    made = next(stage for stage in stages if stage["stage"] == "pack")["made"]
    assert made["undefined_symbols"] == ["TVMFFIErrorSetRaisedFromCStrParts"]
    assert made["matrices_read_back"] == 2 + 4 * 2
    assert compiled.litter() == []
    said = compiled.edge("inspect", "out/compiled").ok()
    assert bundle.bundle_digest in said.out


@X86
@pytest.mark.slow
def test_the_same_note_as_the_other_backend(compiled: World) -> None:
    """If not: the same weights write another note, or the device side needs the compiler."""
    blocked = compiled.sitecustomize("import sys\nsys.modules['tvm'] = None\nsys.modules['onnx_ir'] = None\n")
    note = compiled.note("out/compiled", env=blocked)
    assert note.status == 0, note
    assert note.out.strip()
    assert note.out == compiled.note("out/compiled").out


@X86
@pytest.mark.slow
def test_verify(compiled: World, tmp_path: Path) -> None:
    """If not: nobody can prove a compiled bundle on a device; or the proof fails where nothing is wrong."""
    world = compiled.copy(tmp_path)
    said = world.verify("out/compiled", "--json", "result.json").ok()
    assert "Passed" in said.out
    bundle = open_bundle(world.root / "out" / "compiled", KeyStore(world.root / "home").trust_store())
    (attestation,) = bundle.attestations
    assert attestation.passed


@X86
@pytest.mark.slow
def test_rebuild_gives_the_same_digest(compiled: World, tmp_path: Path) -> None:
    """If not: a compiled bundle's digest says nothing of where it came from."""
    world = compiled.copy(tmp_path / "elsewhere, again")
    world.edge("rebuild", "out/compiled", "--check", env={"PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", **ZIG}).ok()


@X86
@pytest.mark.slow
@pytest.mark.parametrize("name", ["decoder.avx2.so", "libtvm_runtime.so", "model.weights", "decoder.json"])
def test_a_changed_byte_is_refused(compiled: World, tmp_path: Path, name: str) -> None:
    """If not: machine code that nobody signed is loaded into the process that holds the patient's text."""
    world = compiled.copy(tmp_path)
    path = world.root / "out" / "compiled" / "model" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    world.note("out/compiled").fails(ExitStatus.BUNDLE, name)


REFUSED: dict[str, tuple[dict[str, Any], ExitStatus, tuple[str, ...]]] = {
    "no quantisation": (
        {"quantisation": {"scheme": "none"}},
        ExitStatus.SPEC,
        ("quantisation.scheme", "'none' has none; choose int4, int8 or mixed"),
    ),
    "optimum": ({"export": "optimum"}, ExitStatus.SOURCE, ("native export, not optimum's", "write export: native")),
    "android": ({"target": "android-arm64"}, ExitStatus.SPEC, ("runs on Linux, not on android", "engine: mlc_llm")),
    "browser": ({"target": "browser"}, ExitStatus.SPEC, ("the tvm engine", "backend: onnx")),
    "engine of another backend": (
        {"backend": "onnx", "engine": "tvm"},
        ExitStatus.SPEC,
        ("engine", "only for backend mlc"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_go_together_is_refused(built: World, tmp_path: Path, kind: str) -> None:
    """If not: an hour of work ends in a traceback, or in a bundle that no device runs."""
    world = built.copy(tmp_path)
    changes, status, parts = REFUSED[kind]
    world.profile("odd", **({"backend": "mlc"} | changes))
    world.build("odd", env=ZIG).fails(status, *parts)
    assert not (world.root / "out" / "odd").exists()
    assert world.litter() == []


@pytest.mark.slow
def test_a_sliding_window_is_refused(built: World, tmp_path: Path) -> None:
    """If not: attention sees what the model was never trained to see."""
    world = built.copy(tmp_path)
    write_model(world.profiles / "model", model_type="mistral", sliding_window=128)
    world.profile("odd", backend="mlc")
    line = world.build("odd", env=ZIG).fails(ExitStatus.SOURCE, "attention slides over 128 tokens, the context is 4096")
    assert "use backend: onnx" in line
    assert not (world.root / "out" / "odd").exists()


@pytest.mark.slow
@pytest.mark.parametrize("package", ["apache-tvm", "ziglang"])
def test_a_missing_compiler_is_one_line(built: World, tmp_path: Path, package: str) -> None:
    """If not: who installed edge without the extra sees a traceback, and not what to install."""
    world = built.copy(tmp_path)
    hidden = world.sitecustomize(
        "import importlib.metadata as m\nfound = m.version\n"
        "def version(name):\n"
        f"    if name == {package!r}:\n        raise m.PackageNotFoundError(name)\n    return found(name)\n"
        "m.version = version\n"
    )
    world.profile("odd", backend="mlc")
    line = world.build("odd", env=hidden).fails(ExitStatus.MISSING_TOOL, f"needs the package {package}")
    assert "pip install 'edge-kit[mlc]'" in line


@pytest.mark.slow
def test_a_board_offline_is_told_before_the_work(built: World, tmp_path: Path) -> None:
    """If not: the 3 MB of another architecture's runtime are missed at the end of the build, not at its beginning."""
    world = built.copy(tmp_path)
    target = "raspberry-pi-5" if platform.machine() == "x86_64" else "x86_64-linux"
    world.profile("odd", backend="mlc", target=target)
    world.build("odd").fails(ExitStatus.OFFLINE, "apache-tvm==", "pip could not fetch it")
    stages = json.loads((world.root / "out" / "odd.build.json").read_text())["stages"]
    assert "failed" in stages[0]
    assert world.litter() == []


@X86
@pytest.mark.slow
def test_nothing_of_the_builder_is_inside(compiled: World) -> None:
    """If not: paths and names of the build host travel into the ward."""
    folder = compiled.root / "out" / "compiled"
    words = [str(compiled.root), os.uname().nodename] if len(os.uname().nodename) > 4 else [str(compiled.root)]
    for name in tree(folder):
        data = (folder / name).read_bytes()
        for word in words:
            assert word.encode() not in data, f"{name} names {word}"
