"""The same profile gives the same bits: in another folder, locale, time zone, on other threads and kernels.

When these fail, a bundle's digest says nothing of where it came from, and `edge rebuild --check` is worthless.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from edge.build.checkpoint import adapter_digest
from tests.build.checkpoint.test_adapter import write_adapter
from tests.e2e.world import World, tree

HERE = {
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "1",
    "OPENBLAS_NUM_THREADS": "2",
    "OMP_NUM_THREADS": "2",
}
# tr_TR turns "I".lower() into another letter; where it is not installed the C library falls back to C. ASCII file
# names and streams; other BLAS and numpy kernels, as an older CPU has them.
THERE = {
    "LC_ALL": "tr_TR.UTF-8" if Path("/usr/lib/locale/tr_TR.utf8").exists() else "POSIX",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONUTF8": "0",
    "TZ": "Asia/Tokyo",
    "PYTHONHASHSEED": "4242",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "SOURCE_DATE_EPOCH": "1",
}
UNSIGNED = {"signature"}

KINDS: dict[str, dict[str, Any]] = {
    "int4": {},
    "mixed-gptq-adapter": {
        "quantisation": {
            "scheme": "mixed",
            "rounding": "gptq",
            "symmetric": False,
            "calibration": {"text": "text", "tokens": 64},
        },
        "budgets": {"fidelity": {"mean_kl_max": 0.02, "top1_min": 0.1}},
        "adapter": {"path": "adapter"},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_elsewhere(built: World, tmp_path: Path, kind: str) -> None:
    """Everything that may differ between two hosts differs; all files but the signature are equal."""
    asked = dict(KINDS[kind])
    source = built.copy(tmp_path / "Prüfung, erster Rechner" / "deep")
    write_adapter(source.profiles / "adapter", lora_alpha=1)
    if "adapter" in asked:
        asked["adapter"] = {"path": "adapter", "sha256": adapter_digest(source.profiles / "adapter")}
    source.profile("same", **asked)
    other = source.copy(tmp_path / "b")
    for path in (other.root / "home" / "keys", other.root / "home" / "trusted", other.root / "cache"):
        for file in sorted(path.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
    for path in sorted((other.profiles / "text").iterdir(), reverse=True):
        os.utime(path, (time.time() - 1e6, time.time() - 1e6))  # neither times nor the order of writing count
    source.build("same", env=HERE, before=lambda: os.umask(0o022) and None).ok()
    other.build("same", env=THERE, before=lambda: os.umask(0o077) and None).ok()
    here, there = tree(source.root / "out" / "same"), tree(other.root / "out" / "same")
    assert {name for name in here | there if here.get(name) != there.get(name)} == UNSIGNED
    assert source.digest("same") == other.digest("same")
    manifest = (source.root / "out" / "same" / "manifest.json").read_text()
    for text in (str(tmp_path), "deep", os.uname().nodename):
        assert text not in manifest, f"the manifest names {text}"
