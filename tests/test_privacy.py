"""Library telemetry is off before the library is imported, whichever door somebody comes in by.

When these fail, onnxruntime writes a device id below ~/.cache and looks up its vendor's host, from a clinic.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edge.privacy import TELEMETRY_OFF

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "edge").rglob("*.py"))
# Libraries that report home unless they are told not to before they are imported.
REPORTING = {"faster_whisper", "onnxruntime", "onnxruntime_genai", "huggingface_hub", "transformers", "optimum"}
ENTRIES = (
    "edge.cli",
    "edge.app.engine.host",
    "edge.app.main",
    "edge.app.speech.host",
    "edge.bench.worker",
    "edge.bench.console",
    "edge.bench.on_device",
    "edge.build.console",
    "edge.build.line",
    "edge.build.stages",
    "edge.clinical.console",
    "edge.device.emulation.__main__",
    "edge.fleet.agent.change",
    "edge.fleet.agent.measure",
    "edge.runtime.onnx_engine",
    "edge.runtime.probe",
    "edge.runtime.session",
)
# Runs in another environment, without edge: whoever starts it sets the variables.
STARTED_BY = {"edge.build.optimum_worker": "edge.build.optimum_route"}
# Looks at each import of a reporting library, and ends the process where a variable is not set yet.
WATCH = f"""
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {REPORTING!r}:
            seen.add(name.partition(".")[0])
            missing = [key for key, value in {TELEMETRY_OFF!r}.items() if os.environ.get(key) != value]
            if missing:
                print(name, "was imported before", *missing)
                os._exit(3)
seen = set()
sys.meta_path.insert(0, Watch())
"""


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Python without any of the variables."""
    environment = {key: value for key, value in os.environ.items() if key not in TELEMETRY_OFF}
    command = [sys.executable, "-c", WATCH + code]
    return subprocess.run(command, check=False, env=environment, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("module", ENTRIES)
def test_entry(module: str) -> None:
    """If not: this entry point imports a reporting library before it was silenced, or never silences it."""
    done = run(f"import {module}\nassert all(os.environ[k] == v for k, v in {TELEMETRY_OFF!r}.items())")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_watch_sees() -> None:
    """If not: the tests above prove nothing."""
    done = run("import onnxruntime")
    assert done.returncode == 3
    assert "onnxruntime was imported before ORT_DISABLE_TELEMETRY" in done.stdout
    done = run("import edge.runtime.onnx_engine\nassert 'onnxruntime' in seen")
    assert done.returncode == 0, done.stdout + done.stderr


def imports(path: Path) -> list[str]:
    """Imported modules of a file in the order of the text, functions included."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.lineno, node.module))
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return [name for _, name in sorted(found)]


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_whoever_imports_a_reporting_library_silences_it_first(path: Path) -> None:
    """If not: importing this module alone, as a script or a notebook does, lets the library report."""
    name = dotted(path)
    if name in STARTED_BY:
        starter = ROOT / Path(*STARTED_BY[name].split(".")).with_suffix(".py")
        assert "edge.privacy.TELEMETRY_OFF" in imports(starter), f"{name} is started with telemetry on"
        return
    names = imports(path)
    reporting = [index for index, name in enumerate(names) if name.partition(".")[0] in REPORTING]
    if reporting:
        assert "edge.privacy" in names, f"{name} imports {names[reporting[0]]} and never edge.privacy"
        assert names.index("edge.privacy") < reporting[0]


def test_every_program_is_an_entry() -> None:
    """If not: a new program (a console script, a module with __main__) is not held to this."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    programs = {target.partition(":")[0] for target in scripts.values()}
    programs |= {dotted(path) for path in MODULES if '__name__ == "__main__"' in path.read_text(encoding="utf-8")}
    for name in programs - STARTED_BY.keys():
        path = ROOT / Path(*name.split(".")).with_suffix(".py")
        names = [item for item in imports(path) if item != "__future__" and not item.startswith("__future__.")]
        assert names[0] == "edge.privacy" or names[:2] == ["edge", "edge.privacy"], f"{name} imports {names[0]} first"
