"""The law of docs/tvm.md: instruction sets that multiply bytes give the same logits, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from edge.build.tvm.isa import ISAS
from tests.tvm_toy import HOST_ISAS, toy


@pytest.mark.skipif(
    not {"avx512-vnni", "avx2"} <= {isa.name for isa in HOST_ISAS}, reason="this CPU runs one set of byte kernels only"
)
def test_avx512_and_avx2(tmp_path_factory: pytest.TempPathFactory) -> None:
    """If not: what was proven on the build host is not what another machine computes."""
    ids = [(7 * i * i + 3) % 90 + 5 for i in range(41)]
    found = []
    for name in ("avx512-vnni", "avx2"):
        engine = toy(tmp_path_factory.mktemp, ISAS[name], chunks=(1, 8)).engine()
        logits = [engine.forward(ids[:33], range(33)), *(engine.forward([i], (0,)) for i in ids[33:])]
        found.append((np.concatenate(logits), engine.save_prefix(len(ids))))
        engine.close()
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])
