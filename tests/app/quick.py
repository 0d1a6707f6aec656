"""What makes tests with a screen or a desk quick: folders in memory, and a collector that skips what stays anyway."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")  # noqa: S108  (each test makes a folder of its own there)


@pytest.fixture()
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory where there is such a place: a desk writes much, and only the vault's own tests ask the disk."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        yield tmp_path_factory.mktemp("desk")
        return
    folder = Path(tempfile.mkdtemp(prefix="edge-test-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def collect_less() -> None:
    """Leave what is loaded out of every collection, and collect less often: a screen makes 30,000 objects at once."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
