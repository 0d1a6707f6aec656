"""The table of red-flag rules (redflags.yaml) as frozen objects; its reader names file, line and key of a fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from edge.clinical.redflag_phrases import Phrase, compile_phrase
from edge.clinical.redflag_vitals import VITALS
from edge.errors import SpecError

VERSION = 1
TABLE = "redflags.yaml"
MAX_BYTES = 1 << 20
AREAS = ("general", "eye")
SEXES = ("female", "male")
RULE_KEYS = ("id", "area", "title", "all", "any", "none", "age", "sex", "source", "note", "fires", "silent")
OPTIONAL_KEYS = frozenset(("all", "any", "none", "age", "sex"))


@dataclass(frozen=True)
class Said:
    """Words that are said of the patient as present, or, with `past`, also as history."""

    name: str
    past: bool = False


@dataclass(frozen=True)
class Near:
    """Both names said, at most `words` words apart."""

    first: str
    second: str
    words: int


@dataclass(frozen=True)
class Measured:
    """A vital sign or value below `below`, or at least `at_least` (the other is None)."""

    vital: str
    below: float | None
    at_least: float | None


@dataclass(frozen=True)
class AnyOf:
    """At least one of `conditions`."""

    conditions: tuple[Condition, ...]


Condition = Said | Near | Measured | AnyOf


@dataclass(frozen=True)
class Rule:
    """One red flag. age_min_years, age_max_years: bounds, both included; fires, silent: texts that the tests hold."""

    id: str
    area: str
    title: str
    source: str
    note: str
    all: tuple[Condition, ...]
    any: tuple[Condition, ...]
    none: tuple[Condition, ...]
    age_min_years: int | None
    age_max_years: int | None
    sex: str | None
    fires: tuple[str, ...]
    silent: tuple[str, ...]


@dataclass(frozen=True)
class RuleTable:
    """phrases: name -> wordings; rules: in the order of the file."""

    phrases: Mapping[str, tuple[Phrase, ...]]
    rules: tuple[Rule, ...]


@lru_cache(maxsize=1)
def rule_table() -> RuleTable:
    """The table that edge ships, read once."""
    return parse_table(files("edge.clinical").joinpath(TABLE).read_text(encoding="utf-8"), TABLE)


def read_table(path: Path) -> RuleTable:
    """A table of one's own. Errors: SpecError naming file, line and key."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SpecError(f"is larger than {MAX_BYTES >> 20} MiB, so no table of rules", where=str(path))
        return parse_table(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise SpecError(f"cannot be read ({error.strerror})", where=str(path), mend="check the path") from error
    except UnicodeDecodeError as error:
        raise SpecError("is not UTF-8 text", where=str(path), mend="save it as UTF-8") from error


def parse_table(text: str, name: str) -> RuleTable:
    """The table in YAML `text`; `name` stands for the file in messages."""
    loader_class = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        node = yaml.compose(text, Loader=loader_class)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise SpecError(f"not valid YAML ({error.problem or error.context})", where=where) from error
    except yaml.YAMLError as error:
        raise SpecError("holds a character that YAML does not allow", where=name) from error
    return _Reader(name).table(node)


class _Reader:
    """Walks the YAML nodes, so that every message has a line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.phrases: dict[str, tuple[Phrase, ...]] = {}

    def fail(self, node: yaml.Node | None, key: str, what: str, mend: str = "") -> SpecError:
        line = f":{node.start_mark.line + 1}" if node is not None else ""
        return SpecError(f"key '{key}': {what}" if key else what, where=f"{self.name}{line}", mend=mend)

    def table(self, node: yaml.Node | None) -> RuleTable:
        top = self.mapping(node, "", ("version", "phrases", "rules"), frozenset())
        if self.number(top["version"], "version") != VERSION:
            raise self.fail(top["version"], "version", f"this edge reads version {VERSION}", "update edge")
        for name, (key_node, wordings) in self.pairs(top["phrases"], "phrases").items():
            key = f"phrases.{name}"
            texts = [self.text(item, key) for item in self.items(wordings, key)]
            if not texts:
                raise self.fail(key_node, key, "must not be empty")
            try:
                self.phrases[name] = tuple(compile_phrase(wording) for wording in texts)
            except ValueError as error:
                raise self.fail(key_node, key, str(error)) from error
        rules: list[Rule] = []
        for index, item in enumerate(self.items(top["rules"], "rules")):
            rule = self.rule(item, f"rules[{index}]")
            if any(rule.id == other.id for other in rules):
                raise self.fail(item, f"rules[{index}].id", f"'{rule.id}' is given twice", "keep one of them")
            rules.append(rule)
        return RuleTable(self.phrases, tuple(rules))

    def rule(self, node: yaml.Node, key: str) -> Rule:
        values = self.mapping(node, key, RULE_KEYS, OPTIONAL_KEYS)
        words = {name: self.text(values[name], f"{key}.{name}") for name in ("id", "area", "title", "source", "note")}
        if words["area"] not in AREAS:
            raise self.fail(values["area"], f"{key}.area", f"must be one of {', '.join(AREAS)}")
        lists = {name: self.conditions(values.get(name), f"{key}.{name}") for name in ("all", "any", "none")}
        if not lists["all"] and not lists["any"]:
            raise self.fail(node, key, "has neither 'all' nor 'any'", "say what it fires on")
        low, high = self.bounds(values.get("age"), f"{key}.age")
        sex = self.text(values["sex"], f"{key}.sex") if "sex" in values else None
        if sex is not None and sex not in SEXES:
            raise self.fail(values["sex"], f"{key}.sex", f"must be one of {', '.join(SEXES)}")
        examples = {}
        for name in ("fires", "silent"):
            examples[name] = tuple(
                self.text(item, f"{key}.{name}") for item in self.items(values[name], f"{key}.{name}")
            )
            if not examples[name]:
                raise self.fail(values[name], f"{key}.{name}", "must not be empty")
        return Rule(
            id=words["id"],
            area=words["area"],
            title=words["title"],
            source=words["source"],
            note=words["note"],
            all=lists["all"],
            any=lists["any"],
            none=lists["none"],
            age_min_years=low,
            age_max_years=high,
            sex=sex,
            fires=examples["fires"],
            silent=examples["silent"],
        )

    def bounds(self, node: yaml.Node | None, key: str) -> tuple[int | None, int | None]:
        if node is None:
            return None, None
        values = self.mapping(node, key, ("min", "max"), frozenset(("min", "max")))
        low, high = (int(self.number(values[name], key)) if name in values else None for name in ("min", "max"))
        if (low is None and high is None) or (low is not None and high is not None and low > high):
            raise self.fail(node, key, "needs min, max or both, min first")
        return low, high

    def conditions(self, node: yaml.Node | None, key: str) -> tuple[Condition, ...]:
        if node is None:
            return ()
        found = tuple(self.condition(item, f"{key}[{index}]") for index, item in enumerate(self.items(node, key)))
        if not found:
            raise self.fail(node, key, "must not be empty", "leave the key out")
        return found

    def condition(self, node: yaml.Node, key: str) -> Condition:
        if isinstance(node, yaml.ScalarNode):
            return Said(self.known(node, key))
        kind = next(iter(self.pairs(node, key)), "")
        shapes: dict[str, tuple[tuple[str, ...], frozenset[str], Callable[[dict[str, yaml.Node]], Condition]]] = {
            "said": (
                ("said", "past"),
                frozenset(("past",)),
                lambda v: Said(self.known(v["said"], key), self.flag(v.get("past"), key)),
            ),
            "near": (("near", "words"), frozenset(), lambda v: self.near(v, key)),
            "vital": (
                ("vital", "below", "at_least"),
                frozenset(("below", "at_least")),
                lambda v: self.measured(node, v, key),
            ),
            "any": (("any",), frozenset(), lambda v: AnyOf(self.conditions(v["any"], f"{key}.any"))),
        }
        if kind not in shapes:
            raise self.fail(node, key, f"'{kind}' is not known (known: {', '.join(shapes)})")
        allowed, optional, make = shapes[kind]
        return make(self.mapping(node, key, allowed, optional))

    def near(self, values: dict[str, yaml.Node], key: str) -> Near:
        names = [self.known(item, key) for item in self.items(values["near"], key)]
        if len(names) != 2:
            raise self.fail(values["near"], key, "needs two names")
        return Near(names[0], names[1], int(self.number(values["words"], key)))

    def measured(self, node: yaml.Node, values: dict[str, yaml.Node], key: str) -> Measured:
        vital = self.text(values["vital"], key)
        if vital not in VITALS:
            raise self.fail(values["vital"], key, f"'{vital}' is not known (known: {', '.join(VITALS)})")
        below, least = (self.number(values[name], key) if name in values else None for name in ("below", "at_least"))
        if (below is None) == (least is None):
            raise self.fail(node, key, "needs either 'below' or 'at_least'")
        return Measured(vital, below, least)

    def known(self, node: yaml.Node, key: str) -> str:
        name = self.text(node, key)
        if name not in self.phrases:
            raise self.fail(node, key, f"'{name}' is not one of the phrases", "add it to 'phrases'")
        return name

    def pairs(self, node: yaml.Node | None, key: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self.fail(node, key, "must be a mapping of keys to values")
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value in node.value:
            name = self.text(key_node, key)
            if name in found:
                raise self.fail(key_node, f"{key}.{name}".strip("."), "is given twice", "keep one of them")
            found[name] = (key_node, value)
        return found

    def mapping(
        self, node: yaml.Node | None, key: str, allowed: Sequence[str], optional: frozenset[str]
    ) -> dict[str, yaml.Node]:
        pairs = self.pairs(node, key)
        for name, (key_node, _) in pairs.items():
            if name not in allowed:
                raise self.fail(key_node, f"{key}.{name}".strip("."), f"is not known (known: {', '.join(allowed)})")
        for name in allowed:
            if name not in pairs and name not in optional:
                raise self.fail(node, f"{key}.{name}".strip("."), "is missing")
        return {name: value for name, (_, value) in pairs.items()}

    def items(self, node: yaml.Node, key: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.fail(node, key, "must be a list")
        return list(node.value)

    def scalar(self, node: yaml.Node, key: str, kind: str, what: str) -> Any:
        if not isinstance(node, yaml.ScalarNode) or kind not in str(node.tag):
            raise self.fail(node, key, f"must be {what}")
        return node.value

    def text(self, node: yaml.Node, key: str) -> str:
        value = str(self.scalar(node, key, "", "text"))
        if not value.strip():
            raise self.fail(node, key, "must not be empty")
        return value

    def number(self, node: yaml.Node, key: str) -> float:
        value = str(self.scalar(node, key, "", "a number"))
        try:
            return float(value)
        except ValueError as error:
            raise self.fail(node, key, "must be a number") from error

    def flag(self, node: yaml.Node | None, key: str) -> bool:
        if node is None:
            return False
        value = str(self.scalar(node, key, "bool", "true or false"))
        return value.lower() == "true"
