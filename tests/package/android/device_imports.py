"""Run in a process of its own: the project's Python with nothing beside it but what python-for-android would bring.

    python -I -S device_imports.py APP SITE [module ...]

numpy, cryptography, kivy and the like come from SITE; every other import that is neither the project's nor the standard
library's fails, compiled parts of vendored libraries included.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
import types

APP, SITE = sys.argv[1:3]
# Brought by recipes, and what those bring along themselves.
FROM_SITE = ("numpy", "cryptography", "cffi", "_cffi_backend", "pycparser", "kivy", "filetype", "PIL", "llguidance")


class Gate(importlib.abc.MetaPathFinder):
    """Finds in the project first, in SITE for what a recipe brings, and refuses the rest."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top.startswith("_sysconfigdata"):
            return None
        folder = SITE if top in FROM_SITE or top.endswith("_libs") else APP
        found = importlib.machinery.PathFinder.find_spec(name, path if path is not None else [folder], target)
        if found is None or (folder == APP and found.origin and found.origin.endswith(".so")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found

    def find_distributions(self, context=importlib.metadata.DistributionFinder.Context()):  # type: ignore[no-untyped-def]  # noqa: B008
        """Recipes install wheels with their metadata."""
        if context.name in FROM_SITE:
            wanted = importlib.metadata.DistributionFinder.Context(name=context.name, path=[SITE])
            return importlib.metadata.MetadataPathFinder.find_distributions(wanted)
        return iter(())


def use_project() -> None:
    """From here on imports are those of the device. jnius and android are there, and do nothing."""
    sys.meta_path.insert(0, Gate())
    sys.path.insert(0, APP)
    jnius = types.ModuleType("jnius")
    jnius.autoclass = jnius.cast = lambda *_: None  # type: ignore[attr-defined]
    sys.modules["jnius"] = jnius


if __name__ == "__main__":
    use_project()
    for module in sys.argv[3:]:
        importlib.import_module(module)
    tops = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
    print(*sorted(name for name in tops if not name.startswith("_")))
