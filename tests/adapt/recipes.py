"""A recipe as a person would write it, for tests: keys in the file's order, changed one at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

TINY: dict[str, Any] = {
    "version": 1,
    "name": "tiny",
    "description": "A tiny model learns a few answers",
    "model": {"source": "hf:base", "sha256": "0" * 64, "license": "Apache-2.0"},
    "base_model_name": "edge/tiny",
    "adapter": {"rank": 4, "alpha": 8, "dropout": 0.1, "target_modules": "all-linear", "experts": False},
    "task": "note",
    "data": [{"kind": "chat-jsonl", "path": "train.jsonl", "epochs": 6}],
    "held_out": [{"kind": "chat-jsonl", "path": "held_out.jsonl"}],
    "training": {
        "tokens_per_step": 1024,
        "learning_rate": 0.01,
        "warmup_share": 0.1,
        "seed": 5,
        "max_length_tokens": 512,
        "threads": 1,
    },
    "output": "adapter",
}


def write_recipe(folder: Path, **changes: Any) -> Path:
    """recipe.yaml of TINY. changes: top keys; a mapping is merged into what is there."""
    value = json.loads(json.dumps(TINY))
    for key, change in changes.items():
        value[key] = value.get(key, {}) | change if isinstance(change, dict) else change
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")
    return path


def write_chats(path: Path, count: int, first: int = 0) -> Path:
    """Conversations of our own: a complaint in, a line of a note out."""
    places = ("knee", "eye", "back", "hand", "chest")
    with path.open("w", encoding="utf-8") as stream:
        for number in range(first, first + count):
            place, days = places[number % len(places)], 2 + number % 7
            messages = [
                {"role": "system", "content": "Write the note line."},
                {"role": "user", "content": f"Patient: the pain in the {place} began {days} days ago"},
                {"role": "assistant", "content": f"HPI: Pain in the {place} for {days} days."},
            ]
            stream.write(json.dumps({"messages": messages}) + "\n")
    return path
