"""edge's own split of DxBench: train 70, valid 10, test 20 of 100, by a hash of the case's id.

The published file has no split. A hash of the id needs no list and no seed, stays the same when cases are added or
taken away, and is the same rule for training and for evaluation.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
TRAIN_BELOW, VALID_BELOW = 70, 80


def dxbench_split(case_id: str) -> Split:
    """Which part a case is in: the first 8 bytes of sha256(id), big-endian, modulo 100."""
    bucket = int.from_bytes(hashlib.sha256(case_id.encode("utf-8")).digest()[:8], "big") % 100
    if bucket < TRAIN_BELOW:
        return "train"
    return "valid" if bucket < VALID_BELOW else "test"
