"""onnx_ir, imported when it is first used: with sympy behind it, that takes half a second.

A build that ends before the export, for a wrong profile or a broken source, says so without waiting for it.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType


def _later(name: str) -> ModuleType:
    """A module that is loaded at the first look at one of its names."""
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return importlib.import_module(name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


onnx_ir = _later("onnx_ir")
