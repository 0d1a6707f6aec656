"""A bundle is the same whichever architecture its builder has: here x86, there an emulated Arm machine."""

from __future__ import annotations

import pytest

from tests.e2e.emulated_board import board
from tests.e2e.world import World, tree, write_model

pytestmark = pytest.mark.slow

# Calibration, GPTQ and a mixed choice: every float that decides about bytes takes part.
PROFILE = {
    "quantisation": {
        "scheme": "mixed",
        "rounding": "gptq",
        "symmetric": False,
        "calibration": {"text": "text", "tokens": 64},
    },
    "budgets": {"fidelity": {"mean_kl_max": 0.02, "top1_min": 0.1}},
}
TIMEOUT_S = 400


def test_same_bundle_from_an_arm_host(tmp_path_factory: pytest.TempPathFactory) -> None:
    """If not: a rebuild on another machine has another digest, and nobody can check where a bundle came from.

    Everything but the signature is equal, which is by another key. The measured fidelity is not in the bundle: it is
    the engine's, and its kernels differ (see test_emulated.py).
    """
    arm = board("raspberry-pi-5", build=True)
    here = World.new(tmp_path_factory.mktemp("x86"))
    write_model(here.profiles / "model")
    here.profile(**PROFILE)
    there = here.copy(tmp_path_factory.mktemp("arm"))
    here.build().ok()
    variables = {key: value for key, value in there.environment().items() if key != "PATH"}
    command = ["python3", "-m", "edge.cli", "build", "profiles/tiny.yaml", "-o", "out/tiny"]
    done = arm.run(command, environment=variables, cwd=there.root, timeout_s=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    ours, theirs = tree(here.bundle), tree(there.bundle)
    for name in ("model/model.weights", "model/model.onnx"):
        assert ours[name] == theirs[name], f"{name} depends on the architecture of the build host"
    assert {name for name in ours | theirs if ours.get(name) != theirs.get(name)} == {"signature"}
    assert here.digest() == there.digest()
