"""The CUDA C that is compiled for a GPU, run by threads of this CPU through TVM's real CUDA runtime."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tvm", reason="apache-tvm (extra mlc) is not installed", exc_type=ImportError)

from tests.cuda_toy import BYTES_ISAS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BYTES_ISAS, reason="this CPU has no byte products, whose tiles the GPU's kernels read"),
    pytest.mark.skipif(
        shutil.which("nvidia-smi") is not None, reason="a real driver is here: tests/runtime/test_tvm_cuda_engine.py"
    ),
]


@pytest.mark.parametrize("name", ["qwen3-qk-norm"])
def test_the_engine_on_a_gpu_of_threads(name: str, tmp_path: Path) -> None:
    """Fails when what is launched on a GPU is not what was described: arguments, sizes of grids, barriers, races."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TVM_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fake_gpu", name, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    made = json.loads(done.stdout.splitlines()[-1])
    assert made["texts"][0] == made["texts"][1]
    assert made["difference"] < 0.02  # a rounding to 8 bits may fall to the other side
    assert made["prefix"]
    assert made["launches"] > 100
