"""Emulated boards for tests: prepared once, kept in the repository's cache folder, absent with a reason."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge.device.emulation import Emulated, prepare
from edge.device.wheels import closure
from edge.errors import MissingToolError, OfflineError
from tests.e2e.world import REPO

CACHE = Path(os.environ.get("EDGE_CACHE") or REPO / ".cache" / "edge")
# What the board's programs of edge are read from: the working tree, so that a test sees what was just changed.
SOURCE = REPO


@functools.cache
def board(name: str, *, engines: tuple[str, ...] = ("onnxruntime",), build: bool = False) -> Emulated:
    """A board. build: with the packages of the build host too.

    Skips the test where this machine cannot have one (no Debian, no network and nothing kept).
    """
    wanted = [f"{package}=={version}" for package, version in closure("edge-kit", extras=("build",)).items()]
    try:
        return prepare(
            name,
            cache=CACHE,
            engines=engines,
            requirements=wanted if build else (),
            source=SOURCE,
            targets=REPO / "targets",
            say=lambda words: print(f"  {words}", file=sys.stderr),
        )
    except (MissingToolError, OfflineError) as error:
        pytest.skip(f"no emulated {name} on this machine: {error}")


def probe_argv(
    model: Path, ids: Sequence[int], tokens: int, *, engine: str = "onnxruntime", logits: Path | None = None
) -> list[str]:
    """The command of edge.runtime.probe, here (with sys.executable in front) or on a board."""
    argv = ["python3", "-m", "edge.runtime.probe", str(model), "--ids", ",".join(map(str, ids))]
    argv += ["--tokens", str(tokens), "--engine", engine]
    return argv + (["--logits", str(logits)] if logits else [])
