"""Boards with another instruction set, stood in for by the real emulator: what runs here runs there, and says the same.

Slow; the first run fetches about 120 MB. When these fail, a bundle is put on an Arm board unproven.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml

from edge.device.emulation import Emulated, count_instructions, instructions_per_token
from edge.device.emulation.count import counting_plugin
from edge.device.facts import local_facts
from edge.errors import BundleError, MissingToolError
from edge.runtime.text import ChatTokenizer
from tests.e2e.emulated_board import CACHE, board, probe_argv
from tests.e2e.test_reference import PROFILE, environment
from tests.e2e.world import REPO, World
from tests.tiny import export, tiny_ids, tiny_source

pytestmark = pytest.mark.slow

TEXT = (
    "Doctor: What brings you in? Patient: My left eye is red and it hurts since Monday. Doctor: Any drops? Patient: No."
)
TOKENS = 12
MEAN_KL_MAX = 0.1
# Engine -> what its profile says beside the reference's. A bundle of each is proven.
ENGINES: dict[str, dict[str, Any]] = {"onnxruntime": {}, "tvm": {"backend": "mlc"}}
# Instructions of one token of the reference model: a wrong kernel (float32 in place of int8) costs many times as many.
TOKEN_INSTRUCTIONS_MAX = {"onnxruntime": 90e6, "tvm": 90e6}
# Executes one instruction through a page of its own: sdot v0.4s, v1.16b, v2.16b; ret.
SDOT = """
import ctypes, mmap, struct
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(struct.pack("<2I", 0x4E829420, 0xD65F03C0))
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
print("ran")
"""


@dataclass(frozen=True)
class Told:
    """What edge.runtime.probe told on one machine. logits: [n, vocab] float64."""

    value: dict[str, Any]
    logits: npt.NDArray[np.float64]

    @property
    def growth_bytes(self) -> int:
        return int(self.value["rss_end_bytes"]) - int(self.value["rss_before_bytes"])


def here(argv: list[str]) -> str:
    """Run a probe on this machine."""
    done = subprocess.run([sys.executable, *argv[1:]], cwd=REPO, capture_output=True, text=True, check=True)
    return done.stdout


def both(
    one: Emulated,
    model: Path,
    ids: list[int],
    tokens: int,
    folder: Path,
    engine: str = "onnxruntime",
    *,
    here_model: Path | None = None,
) -> tuple[Told, Told]:
    """The same model and text on this machine and on a board. here_model: where this machine needs other code."""
    runs: dict[str, Callable[[list[str]], str]] = {
        "here": here,
        "there": lambda argv: one.run(argv, timeout_s=300, check=True).stdout,
    }
    told = []
    for name, run in runs.items():
        logits = folder / f"{name}.npy"
        folder_of = here_model or model if name == "here" else model
        value = json.loads(run(probe_argv(folder_of, ids, tokens, engine=engine, logits=logits)))
        told.append(Told(value, np.load(logits).astype(np.float64)))
    return told[0], told[1]


def log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Over the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def mean_kl(reference: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Mean KL divergence of next-token distributions, in nats."""
    p, q = log_softmax(reference), log_softmax(other)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


@pytest.fixture(scope="module")
def pi5() -> Emulated:
    return board("raspberry-pi-5", engines=tuple(ENGINES))


@pytest.fixture(scope="module", params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, pi5: Emulated, engine: str) -> Path:
    """The reference model at plain int4 as a bundle for the Pi 5. pi5: without a board nothing is built."""
    return built(tmp_path_factory.mktemp("reference-pi"), pi5.target.name, engine)


@pytest.fixture(scope="module")
def reference_here(tmp_path_factory: pytest.TempPathFactory, reference: Path, engine: str) -> Path:
    """The same for this machine: another bundle where code is compiled, the same one where it is not."""
    if engine == "onnxruntime":
        return reference
    return built(tmp_path_factory.mktemp("reference-here"), "x86_64-linux", engine)


def built(folder: Path, target: str, engine: str) -> Path:
    """A bundle of the reference model without tasks."""
    world = World.new(folder)
    (world.profiles / "data").symlink_to(REPO / "profiles" / "data")
    profile = yaml.safe_load(PROFILE.read_text())
    profile |= {"name": "tiny", "target": target, "tasks": []} | ENGINES[engine]
    profile["fidelity_text"]["tokens"] = 64  # proven in test_reference.py; here only another target is named
    profile["budgets"] = {"fidelity": {"mean_kl_max": 3.0, "top1_min": 0.1}}
    (world.profiles / "tiny.yaml").write_text(yaml.safe_dump(profile))
    world.build(env=environment()).ok()
    return world.bundle


@pytest.fixture(scope="module")
def ids(reference: Path) -> list[int]:
    return list(ChatTokenizer(reference / "tokenizer").encode_text(TEXT))


def test_the_board_is_a_pi(pi5: Emulated) -> None:
    """If not: it is this machine with another CPU, and onnxruntime reads its /proc and /sys (and crashes)."""
    assert local_facts(pi5.prefix, arch="aarch64").device_class == "aarch64-raspberry-pi-5-model-b"
    code = (
        "import json, subprocess, sys, numpy, onnxruntime, tokenizers\n"
        "from edge.device.facts import local_facts\n"
        "from edge.device.sensors import open_sensors\n"
        "child = subprocess.run([sys.executable, '-c', 'import platform; print(platform.machine())'],\n"
        "                       capture_output=True, text=True)\n"
        "print(json.dumps([local_facts().to_json(), child.stdout, list(open_sensors()[0]), sys.path]))\n"
    )
    facts, child, sensors, path = json.loads(pi5.run(["python3", "-c", code], check=True).stdout)
    assert facts["device_class"] == "aarch64-raspberry-pi-5-model-b"
    assert facts["logical_cpus"] == 4
    assert "asimddp" in facts["isa_features"]
    assert facts["memory_total_bytes"] == 8_589_934_592
    assert child == "aarch64\n", "a program that the board's python starts is not the board's"
    assert sensors == [], "a sensor of this machine is taken for the board's"
    own = (str(REPO), str(CACHE))
    assert [entry for entry in path if entry and not entry.startswith(own)] == []


def test_an_instruction_that_the_board_lacks(pi5: Emulated) -> None:
    """If not: a build for a newer board passes its test on an older one's stand-in and dies in the clinic."""
    pi4 = board("raspberry-pi-4")
    assert pi5.run(["python3", "-c", SDOT], check=True).stdout == "ran\n"
    assert board("jetson-orin-nano").run(["python3", "-c", SDOT], check=True).stdout == "ran\n"
    done = pi4.run(["python3", "-c", SDOT])
    assert done.returncode == -signal.SIGILL
    with pytest.raises(BundleError, match=r"signal 4.*raspberry-pi-4.*cortex-a72"):
        pi4.run(["python3", "-c", SDOT], check=True)
    # Seen from a program on the board, too (its worker, say).
    code = f"import subprocess, sys; print(subprocess.run([sys.executable, '-c', {SDOT!r}]).returncode)"
    assert pi4.run(["python3", "-c", code], check=True).stdout == "-4\n"
    assert list(Path.cwd().glob("*.core")) == []


def test_the_reference_bundle_on_a_pi_5(
    pi5: Emulated,
    engine: str,
    reference: Path,
    reference_here: Path,
    ids: list[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """If not: the kernels of Arm say something else than those that the bundle was proven with."""
    x86, arm = both(pi5, reference / "model", ids, TOKENS, tmp_path, engine, here_model=reference_here / "model")
    assert arm.value["machine"] == "aarch64"
    assert arm.value["tokens"] == x86.value["tokens"]
    kl = mean_kl(x86.logits, arm.logits)
    with capsys.disabled():
        print(
            f"\n  {engine}, {pi5.words}: {TOKENS} greedy tokens equal, mean KL {kl:.4f} over {len(x86.logits)} places; "
            f"memory growth {arm.growth_bytes / 1e6:.0f} MB there, {x86.growth_bytes / 1e6:.0f} MB here"
        )
    assert kl < MEAN_KL_MAX
    if engine == "tvm":  # its kernels add in one order everywhere (docs/tvm.md)
        assert np.array_equal(x86.logits, arm.logits)
    # The emulator's translations of what ran are in its process too: some 25 MB for a decoder of its own code.
    assert -0.15 * x86.growth_bytes < arm.growth_bytes - x86.growth_bytes < 0.15 * x86.growth_bytes + 16e6


def test_the_cost_of_a_token_repeats(
    pi5: Emulated, engine: str, reference: Path, ids: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """If not: the only cost that emulation can tell is noise, and a slower kernel goes unseen."""
    try:
        plugin = counting_plugin(pi5, cache=CACHE)
    except MissingToolError as error:
        pytest.skip(str(error))

    def cost(_: int) -> float:
        argv_of = lambda tokens: probe_argv(reference / "model", ids[:4], tokens, engine=engine)  # noqa: E731
        return instructions_per_token(pi5, argv_of, plugin=plugin).instructions_per_token

    with ThreadPoolExecutor(2) as pool:
        costs = list(pool.map(cost, range(2)))
    with capsys.disabled():
        print(f"\n  {engine}, {pi5.words}: {costs[0] / 1e6:.2f} M instructions a token, again {costs[1] / 1e6:.2f} M")
    assert abs(costs[0] / costs[1] - 1) < 0.01
    assert costs[0] < TOKEN_INSTRUCTIONS_MAX[engine]


def test_children_are_counted_and_either_compiler_will_do(pi5: Emulated, tmp_path: Path) -> None:
    """If not: a worker's instructions are lost, or a machine with pip alone cannot count."""
    commands = [None, [sys.executable, "-m", "ziglang", "cc"]]
    child = "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', 'sum(range(10**6))'])"
    counted = []
    for number, command in enumerate(commands):
        try:
            plugin = counting_plugin(pi5, cache=tmp_path / str(number), compile_with=command)
        except MissingToolError as error:
            if number == 0:
                pytest.skip(str(error))
            break
        alone = count_instructions(pi5, ["python3", "-S", "-c", "sum(range(10**6))"], plugin=plugin)
        counted.append(alone)
        assert count_instructions(pi5, ["python3", "-S", "-c", child], plugin=plugin) > alone
    assert max(counted) / min(counted) < 1.01


def test_a_tiny_model_on_a_pi_4(tmp_path: Path) -> None:
    """If not: a board without dot products says something else, or does not run the ONNX engine at all."""
    pi4 = board("raspberry-pi-4")
    model = export(tmp_path / "model", tiny_source())
    x86, arm = both(pi4, model, tiny_ids(20), 12, tmp_path)
    assert arm.value["tokens"] == x86.value["tokens"]
    assert mean_kl(x86.logits, arm.logits) < 1e-4
