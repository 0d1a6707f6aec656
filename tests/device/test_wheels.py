"""What a device needs of Python, and what is refused of what a registry brings."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from edge.device.wheels import (
    MACHINES,
    NOT_ON_DEVICE_ROOMS,
    check_machine,
    check_present,
    closure,
    edge_source,
    elf_machine,
    pip_command,
    pip_error,
    runtime_requirements,
    site_for,
)
from edge.errors import MissingToolError, OfflineError, ResourceError, SourceError
from tests.device.emulation.fake_debian import AARCH64, X86_64, elf, put


def names(requirements: Sequence[str]) -> set[str]:
    return {requirement.partition("==")[0] for requirement in requirements}


def test_a_device_gets_what_edge_needs_and_no_more() -> None:
    """If it fails, `edge verify` on a board ends at an import, or the copy takes a gigabyte."""
    found = runtime_requirements("onnxruntime")
    wanted = {"onnxruntime", "numpy", "tokenizers", "pydantic-core", "cffi", "cryptography", "markupsafe", "llguidance"}
    assert wanted <= names(found)
    assert not names(found) & {"kivy", "torch", "huggingface-hub", "httpx2", "onnx", "pip", "pytest", "edge-kit"}
    assert f"numpy=={importlib.metadata.version('numpy')}" in found
    assert [one.partition("==")[0] for one in found] == sorted(names(found))
    assert runtime_requirements("onnxruntime-optimum") == found


def test_the_tvm_runner_needs_no_onnxruntime() -> None:
    """If it fails, a board pays 60 MB for an engine that it does not use."""
    try:
        found = runtime_requirements("tvm")
    except MissingToolError as error:
        pytest.skip(str(error))
    assert "apache-tvm-ffi" in names(found)
    assert not names(found) & {"onnxruntime", "apache-tvm"}
    assert "numpy" in names(found)


def test_closure_knows_extras() -> None:
    """If it fails, a build on another machine lacks its packages."""
    build = closure("edge-kit", extras=("build",))
    assert {"onnx", "onnx-ir", "safetensors", "huggingface-hub"} <= set(build)
    assert not {"onnx", "onnx-ir"} & set(closure("edge-kit"))
    assert "hf-xet" in build  # for this architecture's marker too
    with pytest.raises(MissingToolError, match="no-such-package"):
        closure("no-such-package")


def test_unknown_engine_and_architecture(tmp_path: Path) -> None:
    """If it fails, a bundle of a newer edge ends in a KeyError."""
    with pytest.raises(SourceError, match="known: onnxruntime"):
        runtime_requirements("mystery")
    with pytest.raises(SourceError, match="riscv64"):
        site_for("riscv64", (3, 11), (), cache=tmp_path)


class Pip:
    """Installs what it is asked for, with shared objects for `machine`."""

    def __init__(self, machine: int = AARCH64, lose: str = "") -> None:
        self.machine, self.lose, self.calls = machine, lose, 0

    def __call__(
        self, command: Sequence[str], *, timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        self.calls += 1
        site = Path(command[command.index("--target") + 1])
        put(site / "bin/tool")
        for requirement in (word for word in command if "==" in word and word != self.lose):
            name, _, version = requirement.partition("==")
            put(site / f"{name.replace('-', '_')}-{version}.dist-info/METADATA")
            put(site / name / f"native.cpython-311-{name}.so", elf(self.machine))
        return subprocess.CompletedProcess(command, 0, "", "")


def test_a_site_is_kept_by_what_was_asked(tmp_path: Path) -> None:
    """If it fails, a board gets the packages of another version or architecture."""
    pip = Pip()
    wanted = ("b-package==2.0", "a==1.0")
    site = site_for("aarch64", (3, 11), wanted, cache=tmp_path, run=pip)
    assert (site / "b_package-2.0.dist-info").is_dir()
    assert not (site / "bin").exists()
    assert site_for("aarch64", (3, 11), wanted[::-1], cache=tmp_path, run=pip) == site
    assert pip.calls == 1
    others = {
        site_for("aarch64", (3, 12), wanted, cache=tmp_path, run=pip),
        site_for("x86_64", (3, 11), wanted, cache=tmp_path, run=Pip(X86_64)),
        site_for("aarch64", (3, 11), wanted[:1], cache=tmp_path, run=pip),
    }
    assert len(others | {site}) == 4


def test_a_wheel_of_the_wrong_architecture(tmp_path: Path) -> None:
    """If it fails, a board dies at the first import, far from here."""
    with pytest.raises(SourceError, match=r"a/native\S+ for x86_64, not for aarch64"):
        site_for("aarch64", (3, 11), ("a==1.0",), cache=tmp_path, run=Pip(X86_64))
    with pytest.raises(SourceError, match="did not bring b=="):
        site_for("aarch64", (3, 11), ("a==1.0", "b==1.0"), cache=tmp_path, run=Pip(lose="b==1.0"))
    assert [path.name for path in (tmp_path / "sites").iterdir() if not path.name.endswith(".lock")] == []


def test_shared_objects_are_looked_into(tmp_path: Path) -> None:
    """If it fails, a library is judged by its name."""
    put(tmp_path / "libs/libx.so.1.2", elf(X86_64))
    put(tmp_path / "text.so", b"GROUP ( libx.so )")
    assert elf_machine(tmp_path / "text.so") is None
    put(tmp_path / "cut.so", elf(AARCH64)[:12])
    assert elf_machine(tmp_path / "cut.so") == -1
    big = bytearray(elf(0))
    big[5], big[18:20] = 2, (183).to_bytes(2, "big")
    put(tmp_path / "big.so", bytes(big))
    assert elf_machine(tmp_path / "big.so") == MACHINES["aarch64"]
    (tmp_path / "cut.so").unlink()
    with pytest.raises(SourceError, match=r"libx\.so\.1\.2 for x86_64"):
        check_machine(tmp_path, "aarch64")
    check_present(tmp_path, ())


PIP_SAYS = {
    "ERROR: No matching distribution found for kivy==9": (SourceError, "no wheel of kivy==9 for aarch64"),
    "WARNING: Retrying (Retry(total=1)) after connection broken\nERROR: No matching distribution found for a==1": (
        OfflineError,
        "no network",
    ),
    "/usr/bin/python3: No module named pip": (MissingToolError, "ensurepip"),
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device": (
        ResourceError,
        "no space left",
    ),
    "something new": (OfflineError, "could not fetch"),
}


@pytest.mark.parametrize("output", PIP_SAYS)
def test_what_pip_says(output: str) -> None:
    """If it fails, a user without a network is told to change a version."""
    kind, words = PIP_SAYS[output]
    error = pip_error(output, "aarch64", (3, 11))
    assert type(error) is kind
    assert words in str(error)


def test_pip_builds_nothing_and_takes_nothing_of_this_machine() -> None:
    """If it fails, an x86 build of a package lies in a board's folder."""
    command = pip_command("aarch64", (3, 12), ("a==1",), Path("/t"))
    text = " ".join(command)
    assert "--only-binary=:all:" in text
    assert "--no-deps" in text
    assert "--python-version 3.12" in text
    assert "--abi cp312 --abi abi3 --abi none" in text
    assert "manylinux_2_28_aarch64" in text
    assert "x86_64" not in " ".join(command[1:])
    assert ("--no-compile" in command) == (sys.version_info[:2] != (3, 12))


def test_the_source_of_a_device(tmp_path: Path) -> None:
    """If it fails, a board lacks a room of edge, or the build host's compiler is copied to it."""
    place = edge_source(tmp_path)
    assert edge_source(tmp_path) == place
    rooms = {path.name for path in (place / "edge").iterdir() if path.is_dir()}
    assert {"bench", "bundle", "clinical", "device", "runtime", "specs"} <= rooms
    assert not rooms & set(NOT_ON_DEVICE_ROOMS)
    assert not list(place.rglob("__pycache__"))
    code = (
        f"import sys; sys.path.insert(0, {str(place)!r})\n"
        "import edge.bench.worker, edge.bench.verify, edge.clinical.console, importlib.metadata\n"
        "print(edge.__file__, importlib.metadata.version('edge-kit'))"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(place / "edge/__init__.py"), importlib.metadata.version("edge-kit")]
