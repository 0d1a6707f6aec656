"""Make edge/clinical/data/conditions.json and eye_conditions.json: condition, ICD-10-CM code, typical findings.

    python benchmarks/make_conditions.py --data FOLDER [--out FOLDER]

FOLDER holds ddxplus/release_conditions.json (DDXPlus, CC BY). The phrases of its evidences, its corrected names and
codes, the further conditions and the eye conditions are benchmarks/knowledge/*.yaml. Every code must exist in the code
system. The same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from edge.clinical.icd10 import DATA, icd_table
from edge.files import write_atomic

KNOWLEDGE = Path(__file__).parent / "knowledge"


def alternatives(phrases: Iterable[str]) -> list[list[str]]:
    """ "a|b" as [a, b], each first phrase once."""
    found: dict[str, list[str]] = {}
    for phrase in phrases:
        names = [name.strip() for name in str(phrase).split("|")]
        found.setdefault(names[0], names)
    return list(found.values())


def checked(conditions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order of their names. Errors: SystemExit for a code, or one with its eye, that does not exist."""
    table = icd_table()
    for condition in conditions:
        for side in ("", *condition.get("sides", "")):
            if table.lookup(condition["icd10"] + side) is None:
                raise SystemExit(f"{condition['name']}: no code {condition['icd10']}{side} in the release")
    names = [condition["name"] for condition in conditions]
    if len(set(names)) != len(names):
        raise SystemExit(f"conditions twice: {sorted({name for name in names if names.count(name) > 1})}")
    return sorted(conditions, key=lambda condition: str(condition["name"]))


def from_ddxplus(folder: Path, phrases: Mapping[str, Any]) -> list[dict[str, Any]]:
    """DDXPlus' conditions with findings in words; an evidence without a phrase is left out."""
    release = json.loads((folder / "ddxplus" / "release_conditions.json").read_text(encoding="utf-8"))
    made = []
    for name, condition in release.items():
        change = phrases["conditions"].get(name, {})
        symptoms = [phrases["evidences"][code] for code in condition["symptoms"] if code in phrases["evidences"]]
        told = {**phrases["history"], **phrases["evidences"]}
        past = [told[code] for code in condition["antecedents"] if code in told]
        made.append(
            {
                "name": change.get("name", name),
                "also": [name] if change.get("name", name) != name else [],
                "icd10": change.get("icd10", condition["icd10-id"].upper()),
                "source": "ddxplus",
                # What decides comes first: it is what is asked for when it is missing.
                "findings": alternatives([*phrases["more"].get(name, []), *symptoms]),
                "history": alternatives(past),
            }
        )
    return made


def from_yaml(path: Path, source: str) -> list[dict[str, Any]]:
    """Conditions of our own tables."""
    return [
        {
            "name": name,
            "also": value.get("also", []),
            "icd10": value.get("icd10") or code_of(name),
            "source": source,
            "findings": alternatives(value["findings"]),
            "history": alternatives(value.get("history", [])),
        }
        | ({"sides": value["sides"]} if "sides" in value else {})
        for name, value in yaml.safe_load(path.read_text(encoding="utf-8")).items()
    ]


def code_of(name: str) -> str:
    """The code of a condition's name. Errors: SystemExit when it has none."""
    code = icd_table().code_for(name)
    if code is None:
        raise SystemExit(f"{name}: no code has this name; give one")
    return code.code


def main() -> None:
    """Write both tables and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args()
    phrases = yaml.safe_load((KNOWLEDGE / "ddxplus_phrases.yaml").read_text(encoding="utf-8"))
    eye = from_yaml(KNOWLEDGE / "eye.yaml", "edge")
    same = yaml.safe_load((KNOWLEDGE / "lexicon.yaml").read_text(encoding="utf-8"))
    tables = {
        "conditions.json": [
            *from_ddxplus(options.data, phrases),
            *from_yaml(KNOWLEDGE / "general.yaml", "edge"),
            *from_yaml(KNOWLEDGE / "departments.yaml", "edge"),
        ],
        "eye_conditions.json": eye,
    }
    # A general case may be one of the eye; there the code stays without its eye.
    general = {condition["name"] for condition in tables["conditions.json"]}
    tables["conditions.json"] += [condition for condition in eye if condition["name"] not in general]
    for file, conditions in tables.items():
        value = {"version": 1, "same": same, "conditions": checked(conditions)}
        data = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=0) + "\n"
        write_atomic(options.out / file, data.encode("utf-8"))
        findings = sum(len(condition["findings"]) for condition in conditions)
        print(f"{file}: {len(conditions)} conditions, {findings} findings, {len(data) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
