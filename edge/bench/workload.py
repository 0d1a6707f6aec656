"""Workloads: how long, how often and at which lengths one build is measured.

`benchmarks/workloads/*.yaml` is what a person reads and edits. A device that has only the installed package
has no such folder; `BUILT_IN` holds the same two for it, and a test holds that they are equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from edge.errors import SpecError

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "workloads"


@dataclass(frozen=True)
class Workload:
    """One workload.

    prompt_tokens: prompt lengths for TTFT and prefill speed; decode_contexts: tokens in the cache before the
    first decode step; decode_tokens: steps a repetition; sustained_s: decode without pause, judged in windows
    of window_s; load_repetitions: loads in all; seed: of the prompt's token ids; timeout_s: of the whole run.
    """

    version: int
    name: str
    warmups: int
    repetitions: int
    load_repetitions: int
    prompt_tokens: tuple[int, ...]
    decode_contexts: tuple[int, ...]
    decode_tokens: int
    sustained_s: float
    window_s: float
    seed: int
    timeout_s: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        lists = {"prompt_tokens": list(self.prompt_tokens), "decode_contexts": list(self.decode_contexts)}
        return asdict(self) | lists

    def with_prompt(self, tokens: int) -> Workload:
        """The same with one more prompt length (that of a TTFT budget), if it is not there yet."""
        if tokens in self.prompt_tokens:
            return self
        return replace(self, prompt_tokens=tuple(sorted((*self.prompt_tokens, tokens))))


BUILT_IN = {
    "quick": Workload(
        version=1,
        name="quick",
        warmups=2,
        repetitions=3,
        load_repetitions=3,
        prompt_tokens=(64, 256, 512),
        decode_contexts=(0, 512),
        decode_tokens=64,
        sustained_s=10.0,
        window_s=5.0,
        seed=20240,
        timeout_s=1800.0,
    ),
    "full": Workload(
        version=1,
        name="full",
        warmups=3,
        repetitions=5,
        load_repetitions=5,
        prompt_tokens=(64, 256, 512, 1024, 2048),
        decode_contexts=(0, 1024),
        decode_tokens=128,
        sustained_s=600.0,
        window_s=5.0,
        seed=20240,
        timeout_s=14400.0,
    ),
}

# The least that a key may be; lists hold it for each item.
LEAST = {
    "warmups": 0,
    "repetitions": 1,
    "load_repetitions": 1,
    "prompt_tokens": 1,
    "decode_contexts": 0,
    "decode_tokens": 1,
    "sustained_s": 0,
    "window_s": 0.1,
    "seed": 0,
    "timeout_s": 1,
}


def _number(key: str, value: Any, where: str, whole: bool) -> float | int:
    right = isinstance(value, int) if whole else isinstance(value, int | float)
    if not right or isinstance(value, bool) or not math.isfinite(value) or value < LEAST[key]:
        kind = "whole number" if whole else "number"
        raise SpecError(
            f"key '{key}': {value!r} is not a {kind} of {LEAST[key]} or more",
            where=where,
            mend="correct the value",
        )
    return value if whole else float(value)


def parse_workload(value: Any, where: str) -> Workload:
    """Check a parsed YAML or JSON workload. Errors: SpecError names the file and the key."""
    names = [field.name for field in fields(Workload)]
    if not isinstance(value, Mapping):
        raise SpecError("a workload is a mapping", where=where, mend=f"give the keys {', '.join(names)}")
    odd = sorted(set(map(str, value)) ^ set(names))
    if odd:
        raise SpecError(
            f"missing or unknown keys: {', '.join(odd)}", where=where, mend=f"the keys are {', '.join(names)}"
        )
    if value["version"] != 1:
        raise SpecError(
            f"key 'version': {value['version']!r} is not known (allowed: 1)", where=where, mend="update edge"
        )
    if not isinstance(value["name"], str) or not value["name"]:
        raise SpecError("key 'name': a text is needed", where=where, mend="name the workload")
    checked: dict[str, Any] = {"version": 1, "name": value["name"]}
    for key in LEAST:
        item = value[key]
        whole = not key.endswith("_s")
        if key in ("prompt_tokens", "decode_contexts"):
            if not isinstance(item, list | tuple) or not item:
                raise SpecError(f"key '{key}': a list of numbers is needed", where=where, mend="give at least one")
            checked[key] = tuple(sorted({int(_number(key, one, where, True)) for one in item}))
        else:
            checked[key] = _number(key, item, where, whole)
    return Workload(**checked)


def load_workload(name_or_path: str | Path) -> Workload:
    """A workload by name (`quick`, `full`, or a file of benchmarks/workloads/) or by the path of its YAML.

    Errors: SpecError when it is not there, not YAML, or a key is wrong.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = FOLDER / f"{name_or_path}.yaml"
        if not path.is_file() and str(name_or_path) in BUILT_IN:
            return BUILT_IN[str(name_or_path)]
    import yaml  # here, because the worker and the gates need no YAML

    try:
        return parse_workload(yaml.safe_load(path.read_text(encoding="utf-8")), str(name_or_path))
    except FileNotFoundError as error:
        known = ", ".join(sorted({*BUILT_IN, *(file.stem for file in FOLDER.glob("*.yaml"))}))
        raise SpecError(
            "no such workload", where=str(name_or_path), mend=f"use {known} or the path of a .yaml"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError("not a readable YAML file", where=str(name_or_path), mend="correct the file") from error
