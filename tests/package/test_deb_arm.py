"""The arm64 package, its runner started on an emulated Raspberry Pi 5. When it fails, boards get what cannot start.

Slow; the first run fetches wheels and a small Debian. dpkg itself runs in test_deb_root.py, on x86.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edge.errors import MissingToolError, OfflineError
from edge.package import deb
from tests.e2e.emulated_board import CACHE, board
from tests.package.fakes import bundle, signer

pytestmark = pytest.mark.slow


def test_the_runner_of_the_package_starts_on_a_pi(tmp_path: Path) -> None:
    """If not: the wheels in the arm64 package are of the wrong kind, or one of them is missing."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    store, key = signer(tmp_path / "home")
    opened = bundle(tmp_path / "notes", key, screen=False)
    keys = deb.builders_of([opened], store.public)
    try:
        written = deb.write_package([opened], keys, tmp_path / "out", sources=deb.DeviceSources(CACHE))
    except (OfflineError, MissingToolError) as error:
        pytest.skip(f"no wheels for aarch64 here: {error}")
    assert written.path.name.endswith("_arm64.deb")
    assert {"python3.11", "libstdc++6"} <= set(written.depends)
    one = board("raspberry-pi-5")
    root = tmp_path / "root"
    subprocess.run(["dpkg-deb", "--extract", str(written.path), str(root)], check=True)
    home = root / "var/lib/edge"
    (home / "trusted").mkdir(parents=True)
    for path in (root / "usr/share/edge-kit/trusted").iterdir():  # as postinst does it
        shutil.copyfile(path, home / "trusted" / path.name)
    runner = {"PYTHONPATH": str(root / "usr/lib/edge-kit/site"), "EDGE_HOME": str(home), "PYTHONSAFEPATH": "1"}
    shown = one.run(["python3", "-m", "edge.cli", "inspect", str(root / "var/lib/edge-kit/notes")], environment=runner)
    assert opened.behaviour_digest in shown.stdout, shown.stderr
    code = "import onnxruntime, tokenizers, llguidance, numpy, cryptography.fernet; print(onnxruntime.__file__)"
    found = one.run(["python3", "-c", code], environment=runner)
    assert found.stdout.startswith(str(root)), found.stderr
