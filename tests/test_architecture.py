"""The rooms of docs/architecture.md: who may import whom. A failing line names the module that broke a wall."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edge"

# room -> rooms it may import. "" is the top level (errors, files, privacy), open to all.
ROOMS: dict[str, frozenset[str]] = {
    "specs": frozenset(),
    "device": frozenset(),
    "bundle": frozenset({"specs"}),
    "runtime": frozenset({"bundle", "device"}),
    "clinical": frozenset({"runtime", "bundle", "device"}),
    # The harness runs the tasks' own golden cases and the clinical gate.
    "bench": frozenset({"runtime", "bundle", "device", "clinical"}),
    # The build reads its own artefact through the runtime (fidelity, tokenizer) and writes the clinical prompts; for
    # compiled kernels it must know its own CPU.
    "build": frozenset({"specs", "bundle", "runtime", "clinical", "device"}),
    # Both sides of the fleet; which libraries belong to the server alone, a test below holds.
    "fleet": frozenset({"specs", "bundle", "device", "bench"}),
    "package": frozenset({"specs", "bundle", "device", "runtime", "build", "app"}),
    # The app shows what tasks and runs give; its engine's child process alone holds a session (tests below).
    "app": frozenset({"clinical", "runtime", "bundle", "device", "bench"}),
    "evaluate": frozenset({"clinical", "runtime", "bundle", "device"}),
    # Training reads the same checkpoints as the build, the prompts of the device, the split of the evaluation, and
    # draws its plot with the harness's pure SVG helper.
    "adapt": frozenset({"specs", "build", "clinical", "runtime", "evaluate", "bench"}),
}
DEVICE_ROOMS = ("device", "bundle", "runtime", "clinical", "bench", "app", "fleet")
SERVER_PARTS = ("store", "collector", "page", "rollout", "dev")  # of the fleet
SERVER_ONLY = {"sqlalchemy", "alembic", "psycopg", "starlette", "uvicorn", "prometheus_client"}
BUILD_ONLY = {
    "torch", "transformers", "onnx", "onnx_ir", "gguf", "safetensors", "huggingface_hub", "cyclonedx", "peft", "tvm",
}  # fmt: skip


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere, functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms(path: Path) -> None:
    """A room imports only what the architecture lets it; else the device side would pull in the build side."""
    parts = path.relative_to(PACKAGE).parts
    if len(parts) == 1:
        return
    room = parts[0]
    used = {name.split(".")[1] for name in imports(path) if name.startswith("edge.")}
    rooms = {name for name in used if (PACKAGE / name).is_dir()}
    assert rooms - {room} <= ROOMS[room], f"{room} may not import {sorted(rooms - {room} - ROOMS[room])}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_device_side_is_light(path: Path) -> None:
    """No device room imports a build-only library, not even inside a function."""
    parts = path.relative_to(PACKAGE).parts
    if parts[0] not in DEVICE_ROOMS:
        return
    heavy = {name.split(".")[0] for name in imports(path)} & BUILD_ONLY
    assert not heavy, f"{path.name} imports {heavy}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_device_needs_no_database_and_no_web_server(path: Path) -> None:
    """The agent, the installer and what both sides share import no library of the fleet's server."""
    parts = path.relative_to(PACKAGE).parts
    if parts[0] == "fleet" and parts[1] in SERVER_PARTS:
        return
    assert not {name.split(".")[0] for name in imports(path)} & SERVER_ONLY


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_small(path: Path) -> None:
    """A module past 400 lines has two jobs."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_no_torch_in_the_default_environment() -> None:
    """The default build path needs no torch and no transformers: neither is installed beside edge."""
    code = (
        "import edge.cli, edge.build.stages, edge.runtime.session, edge.bench.verify, sys;"
        "print(*(m for m in ('torch', 'transformers', 'llama_cpp', 'requests') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_run_command_imports_nothing_of_the_build() -> None:
    """`edge run` starts in a second: it imports neither the build side nor rich nor pydantic."""
    code = (
        "import edge.cli, edge.clinical.console, sys;"
        "print(*(m for m in sys.modules if m.startswith('edge.build') or m in ('rich', 'pydantic', 'onnx_ir')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


APP = PACKAGE / "app"


@pytest.mark.parametrize("path", sorted(APP.rglob("*.py")), ids=lambda path: str(path.relative_to(APP)))
def test_only_screens_know_kivy(path: Path) -> None:
    """Rules of the app are tested without a screen: Kivy stays in edge/app/ui."""
    uses = any(name.split(".")[0] == "kivy" for name in imports(path))
    assert not uses or path.is_relative_to(APP / "ui")


def test_presenters_import_without_kivy_and_without_an_engine() -> None:
    """The process that draws holds no engine, and what it decides needs no screen: both imports are blocked here."""
    code = (
        "import sys, pkgutil, importlib\n"
        "for name in ('kivy', 'onnxruntime', 'llguidance', 'tokenizers', 'torch'): sys.modules[name] = None\n"
        "import edge.app.workspace, edge.app.presenters\n"
        "for found in pkgutil.iter_modules(edge.app.presenters.__path__):\n"
        "    importlib.import_module('edge.app.presenters.' + found.name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
