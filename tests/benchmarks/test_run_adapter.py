"""The comparison of an adapter beside its base with a merged one: what it counts as moved, and that it runs."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.run_adapter import (
    PAGE_BYTES,
    compare,
    fidelity_of,
    larger_model,
    layer_speeds,
    moved_bytes,
    report,
    speed_lines,
)
from edge.build.line import report_path
from edge.build.quantise import QuantFormat
from tests.build.test_lora import lora
from tests.tiny import BASE, engine, export


def test_moved_bytes(tmp_path: Path) -> None:
    """A number that counts unchanged files, or forgets new ones, is an update's size that nobody will see."""
    here, there = tmp_path / "here" / "model", tmp_path / "there" / "model"
    for folder in (here, there):
        folder.mkdir(parents=True)
        (folder / "same").write_bytes(b"a" * 9000)
    (here / "changed").write_bytes(b"b" * 3 * PAGE_BYTES)
    (there / "changed").write_bytes(b"b" * PAGE_BYTES + b"c" * PAGE_BYTES + b"b" * (PAGE_BYTES + 5))
    (there / "new").write_bytes(b"d" * 10)
    (here / "gone").write_bytes(b"e" * 50)
    assert moved_bytes(here.parent, there.parent) == {
        "total_bytes": 9000 + 3 * PAGE_BYTES + 15,
        "moved_as_files_bytes": 3 * PAGE_BYTES + 15,
        "moved_as_pages_bytes": PAGE_BYTES + 5 + 10,
    }
    assert moved_bytes(there.parent, there.parent)["moved_as_files_bytes"] == 0


def test_it_compares_and_says(tmp_path: Path) -> None:
    """The command of the documentation must print every figure that the documentation quotes."""
    adapter, low, head = lora(), QuantFormat(4, 32, False), QuantFormat(8, 32, True)
    folders = (
        export(tmp_path / "beside" / "model", adapter.base, low, head=head, adapter=adapter, context_tokens=600),
        export(tmp_path / "merged" / "model", adapter.merged(), low, head=head, context_tokens=600),
    )
    engines = [engine(folder) for folder in folders]
    try:
        speeds = compare(engines[0], engines[1], 1, 2)
    finally:
        for one in engines:
            one.close()
    assert set(speeds) == {"prefill of 512", "decode, one row", "decode, two rows"}
    assert all(value > 0 for row in speeds.values() for value in row.values())
    interval = {"mean": 0.5, "low": 0.25, "high": 0.75}
    keys = ("mean_kl", "top1", "perplexity_ratio", "greedy_agreement")
    made = {"stages": [{"stage": "fidelity", "made": dict.fromkeys(keys, interval)}]}
    report_path(tmp_path / "beside").write_text(json.dumps(made))
    facts = {
        "name": "notes",
        "model_files": {"model.weights": 2_000_000},
        "growth_bytes": 3_000_000,
        "fidelity": fidelity_of(tmp_path / "beside"),
    }
    lines = report(
        {
            "threads": 1,
            "steps": 2,
            "beside": facts,
            "merged": facts | {"fidelity": fidelity_of(tmp_path / "merged")},
            "updates": {"adapter beside": moved_bytes(tmp_path / "merged", tmp_path / "beside")},
            "speeds": speeds,
            "cut_difference": 0.0,
        }
    )
    text = "\n".join(lines)
    for part in (
        "model.weights 2.0 MB; resident growth 3 MB",
        "mean KL 0.5000",
        "top token 50.0%",
        "update, adapter beside",
    ):
        assert part in text
    assert text.count("fidelity:") == 1
    assert "largest difference of a logit between cuts of a text: 0.0" in text


def test_layers_of_a_larger_model() -> None:
    """What the adapter costs there is said of real widths: a shape read wrong would be another model's cost."""
    config = larger_model(3)
    assert (config.layers, config.hidden_size, config.intermediate_size) == (3, 2048, 8192)
    speeds = layer_speeds(BASE, 4, 1, 1, 2)
    lines = speed_lines({"threads": 1, "steps": 2, "speeds": speeds})
    assert len(lines) == 1 + len(speeds) == 4
