"""Two hosts, one bundle: the same bytes under other BLAS kernels, thread counts, SIMD, locale, zone and folder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[2]
CHILD = Path(__file__).with_name("hosts_child.py")
SIMD = " ".join(np._core._multiarray_umath.__cpu_dispatch__)
SURROUNDINGS: dict[str, dict[str, str]] = {
    "as it is": {},
    "AVX2 kernels, one BLAS thread": {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"},
    "SSE kernels without fused multiply-add, two BLAS threads": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "OPENBLAS_NUM_THREADS": "2",
    },
    "another place, numpy without SIMD": {
        "OPENBLAS_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": SIMD,
        "LC_ALL": "de_DE.UTF-8",
        "LANG": "tr_TR.UTF-8",
        "TZ": "Pacific/Kiritimati",
        "PYTHONHASHSEED": "7",
    },
}
CHANGING = ("OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "LC_ALL", "LANG", "TZ")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Surroundings -> what the child found in them."""

    def run(changes: dict[str, str]) -> dict[str, str]:
        environment = {key: value for key, value in os.environ.items() if key not in CHANGING}
        folder = tmp_path_factory.mktemp("elsewhere") if "TZ" in changes else REPO
        result = subprocess.run(
            [sys.executable, "-W", "ignore", str(CHILD)],
            env=environment | {"PYTHONPATH": str(REPO)} | changes,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return dict(json.loads(result.stdout))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SURROUNDINGS, pool.map(run, SURROUNDINGS.values()), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SURROUNDINGS if name != "as it is"])
def test_same_bytes(found: dict[str, dict[str, str]], name: str) -> None:
    """A bundle that depends on the CPU that built it cannot be rebuilt, and `edge rebuild --check` is a lie."""
    wanted = found["as it is"]
    changed = [key for key in wanted if key != "plain product" and found[name][key] != wanted[key]]
    assert changed == []


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels named here are x86's")
def test_the_surroundings_do_differ(found: dict[str, dict[str, str]]) -> None:
    """If an ordinary product is the same everywhere too, the test above proves nothing."""
    assert len({digests["plain product"] for digests in found.values()}) > 1
