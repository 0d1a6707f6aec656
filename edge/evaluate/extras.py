"""Importing the packages of the extra [eval], or saying in one line how to get them."""

from __future__ import annotations

import importlib
from typing import Any

from edge.errors import MissingToolError

INSTALL = "pip install 'edge-kit[eval]'"


def need(module: str, purpose: str) -> Any:
    """The imported module. Errors: MissingToolError that names the extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.split(".")[0].replace("_", "-")
        raise MissingToolError(f"{purpose} needs the package {name}", mend=INSTALL) from error
