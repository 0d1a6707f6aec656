"""`edge adapt` for real, in the environment with torch: it learns, survives a kill, and edge merges the result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edge.build.checkpoint.adapter import adapter_digest, with_adapter
from edge.build.checkpoint.huggingface import FolderCheckpoint, folder_digest
from tests.adapt.recipes import write_chats, write_recipe
from tests.oracle.conftest import ROOT, oracle_python
from tests.oracle.folders import write_folder
from tests.tiny import BASE, CONFIGS, tiny_source, write_tokenizer

pytestmark = pytest.mark.slow

CODE = """
import json, sys
from pathlib import Path
from edge.adapt.console import run_adapt
from edge.errors import EdgeError
folder, run, out, options = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
try:
    print(run_adapt(folder / "recipe.yaml", folder, out, run_folder=run, say=len, as_json=True, **options))
except EdgeError as error:
    print(f"edge: {error}", file=sys.stderr)
    sys.exit(error.status)
"""

SAME = """
import sys
from pathlib import Path
from edge.adapt.model import load_base, prepare_environment
prepare_environment()
import torch, transformers
from edge.build.checkpoint.huggingface import FolderCheckpoint
torch.set_num_threads(1)
ids = torch.arange(3, 51).unsqueeze(0)
for folder in sorted(Path(sys.argv[1]).iterdir()):
    checkpoint = FolderCheckpoint(folder, digest="0" * 64, license_id="Apache-2.0")
    ours = load_base(checkpoint, "cpu").eval()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    assert ours.model.rotary_emb.inv_freq.dtype == torch.float32, folder.name
    assert not any(value.requires_grad for value in ours.parameters()), folder.name
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, theirs(ids).logits), folder.name
    print(folder.name)
"""


def command(folder: Path, run: Path, out: Path, **options: Any) -> list[str]:
    """A training run as a process; one thread, so that it is the same on every machine and kind to others."""
    settings = {"save_every_s": 0.0, "device": "cpu", "threads": 1} | options
    return [str(oracle_python()), "-c", CODE, str(folder), str(run), str(out), json.dumps(settings)]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        arguments, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err[-3000:]
    answer: dict[str, Any] = json.loads(out)
    return answer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder with model, data and recipe, and an unbroken run of it."""
    folder = tmp_path_factory.mktemp("adapt")
    base = write_folder(folder / "base", tiny_source(BASE))
    write_tokenizer(base)
    write_chats(folder / "train.jsonl", 30)
    write_chats(folder / "held_out.jsonl", 5, first=30)
    write_recipe(folder, model={"sha256": folder_digest(base)})
    done = finished(start(command(folder, folder / "whole", folder / "out")))
    yield folder, done


def test_it_learns_and_edge_merges_it(world: tuple[Path, dict[str, Any]]) -> None:
    """The loss falls on held-out examples, and the build's reader takes the folder; else nothing can be shipped."""
    folder, done = world
    log = [json.loads(line) for line in (folder / "out" / "log.jsonl").read_text("utf-8").splitlines()]
    held_out = [entry["held_out_loss"] for entry in log if "held_out_loss" in entry]
    assert log[-1]["loss"] < 0.6 * log[0]["loss"]
    assert held_out[-1] < held_out[0]
    assert done["finished"] and done["steps"] == len(log)
    base = FolderCheckpoint(folder / "base", digest="0" * 64, license_id="Apache-2.0")
    merged = with_adapter(base, folder / "out", done["sha256"])
    changed = [name for name in merged.names() if not np.array_equal(merged.read(name), base.read(name))]
    merged.close()
    assert len(changed) == 7 * BASE.layers
    card = (folder / "out" / "DATA_CARD.md").read_text("utf-8")
    assert done["sha256"] in card and "knee" not in card
    assert (folder / "out" / "loss.svg").read_text("utf-8").startswith("<svg xmlns=")


def test_kill_and_go_on(world: tuple[Path, dict[str, Any]]) -> None:
    """Killed twice, then ended by the same command: the very bits of the unbroken run. Else a night is lost."""
    folder, done = world
    run, out = folder / "broken", folder / "broken-out"
    log = run / "tiny" / "log.jsonl"
    for steps in (3, 9):
        process = start(command(folder, run, out))
        give_up = time.monotonic() + 200
        while process.poll() is None and time.monotonic() < give_up:
            if log.is_file() and len(log.read_bytes().splitlines()) >= steps:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed; make the run longer"
        assert not out.exists()
    assert (run / "tiny" / "state.pt").is_file()
    assert finished(start(command(folder, run, out)))["sha256"] == done["sha256"]
    assert adapter_digest(out) == done["sha256"]
    log_of_whole = (folder / "whole" / "tiny" / "log.jsonl").read_bytes()
    assert log.read_bytes() == log_of_whole


def test_minutes_then_a_changed_recipe(world: tuple[Path, dict[str, Any]]) -> None:
    """--minutes stops and saves; a changed recipe is refused in one line; --fresh starts anew."""
    folder, _ = world
    run, out = folder / "timed", folder / "timed-out"
    assert finished(start(command(folder, run, out, minutes=0.0)))["finished"] is False
    assert (run / "tiny" / "state.pt").is_file() and not out.exists()
    recipe = folder / "recipe.yaml"
    before = recipe.read_text("utf-8")
    value = yaml.safe_load(before)
    value["training"]["learning_rate"] = 0.02
    try:
        recipe.write_text(yaml.safe_dump(value), encoding="utf-8")
        process = start(command(folder, run, out))
        _, err = process.communicate(timeout=400)
        assert process.returncode == 4
        assert err.count("\n") == 1 and "another state of the recipe" in err
        assert finished(start(command(folder, run, out, fresh=True, minutes=0.0)))["finished"] is False
    finally:
        recipe.write_text(before, encoding="utf-8")


def test_the_base_is_the_checkpoint(tmp_path: Path) -> None:
    """Every family gives the logits of transformers' own loading, rotary frequencies in float32: rounded to bfloat16
    they turn distant tokens by half a radian, and the adapter would be trained for a model that nobody runs."""
    for name, config in CONFIGS.items():
        write_folder(tmp_path / "models" / name, tiny_source(config))
    process = start([str(oracle_python()), "-c", SAME, str(tmp_path / "models")])
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err[-3000:]
    assert out.split() == sorted(CONFIGS)
