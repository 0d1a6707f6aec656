"""A phone without Android: the project's own Python and assets, and jnius over the stand-ins of fake_java.

    python -I -S phone.py SERVICE APP SITE REPO      start a service of the project as python-for-android would

The process sees the project, what recipes would bring, and nothing else of this machine; the stand-ins alone may use
the real onnxruntime.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def load(name: str, path: Path) -> Any:
    """A module from a file, under a name that nobody else imports."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def fake_jnius(fake_java: Any) -> types.ModuleType:
    """The module `jnius` over the stand-ins."""
    java = fake_java.FakeJava()
    module = types.ModuleType("jnius")
    vars(module).update(autoclass=java.find, cast=java.cast)
    return module


class Assets:
    """Assets of a project as the platform reads them."""

    def __init__(self, project: Path) -> None:
        self.folder = project / "assets"

    def __call__(self, name: str) -> Iterator[bytes]:
        with (self.folder / name).open("rb") as file:
            while piece := file.read(1 << 16):
                yield piece


def main() -> None:
    """Start the service."""
    service, app, site, repo = sys.argv[1:5]
    sys.argv[1:3] = [app, site]
    gate = load("device_imports", Path(repo) / "tests/package/android/device_imports.py")
    without = os.environ.get("EDGE_TEST_WITHOUT")
    gate.FROM_SITE = (*(name for name in gate.FROM_SITE if name != without), "onnxruntime")
    gate.use_project()
    sys.modules["jnius"] = fake_jnius(load("fake_java", Path(repo) / "tests/runtime/fake_java.py"))
    sys.argv[:] = [service]
    runpy.run_path(str(Path(app) / service), run_name="__main__")


if __name__ == "__main__":
    main()
