"""YAML to checked, frozen objects, with the file, line and dotted key of whatever is wrong.

The YAML read here is the small, plain part of the language: mappings, lists, strings, whole numbers,
decimals, true/false and null. Anchors, tags, several documents and keys given twice are refused: a profile
means one thing.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from edge.errors import SpecError

Location = tuple[str | int, ...]

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_DIGITS = 30
CORE_TAG = "tag:yaml.org,2002:"


class Spec(BaseModel):
    """Base of everything a person writes: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def from_resolved(cls, value: Mapping[str, Any]) -> Self:
        """Read back what `resolved()` wrote. Errors: SpecError without a line."""
        try:
            return cls.model_validate_json(json.dumps(value))
        except ValidationError as error:
            raise _spec_error(cls, error, Positions("resolved specification", {}, {})) from error


def fault(key: str, text: str) -> PydanticCustomError:
    """An error for validators: `text` about `key` (dotted, below the validated model; "" for itself)."""
    return PydanticCustomError("edge", "{text}", {"text": text, "key": key})


@dataclass(frozen=True)
class Positions:
    """Where each value of a file was written. keys, values: location -> line, from 1."""

    path: str
    keys: Mapping[Location, int]
    values: Mapping[Location, int]

    def line(self, location: Location) -> int | None:
        """The line of a key or list item, or of the nearest thing around it that is in the file."""
        for length in range(len(location), 0, -1):
            if location[:length] in self.keys:
                return self.keys[location[:length]]
        return self.values.get(())

    def where(self, location: Location) -> str:
        """`file:line` for an error message."""
        line = self.line(location)
        return self.path if line is None else f"{self.path}:{line}"


class _Loader(yaml.SafeLoader):
    """Composes nodes only; scalars follow the JSON-like rules below, not YAML 1.1 (no `no` for False)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (yaml's own)
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not used here", problem_mark=event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _kind, _pattern, _first in (
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"^(?:true|false)$", list("tf")),
    ("int", r"^[-+]?[0-9]+(?:_[0-9]+)*$", list("-+0123456789")),
    ("float", r"^[-+]?[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?$", list("-+0123456789")),
):
    _Loader.add_implicit_resolver(CORE_TAG + _kind, re.compile(_pattern), _first)


def load_yaml(path: Path) -> tuple[dict[str, Any], Positions]:
    """Read a YAML file whose top is a mapping.

    Returns plain Python values and their lines. Errors: SpecError, one line, for a file that is missing, not
    UTF-8, empty, not a mapping, not valid YAML, or that gives a key twice.
    """
    name = str(path)
    text = _read_text(path, name)
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise SpecError(
            f"character {ord(text[int(error.position)]):#06x} is not allowed in YAML", where=f"{name}:{line}"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise SpecError(f"not valid YAML ({error.problem or error.context})", where=where) from error
    finally:
        if loader is not None:
            loader.dispose()
    if node is None or (isinstance(node, yaml.ScalarNode) and node.value == ""):
        raise SpecError("the file is empty", where=name, mend="start from a file of profiles/ or targets/")
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        raise SpecError("must be a mapping of keys to values", where=f"{name}:{line}")
    keys: dict[Location, int] = {}
    values: dict[Location, int] = {}
    value = _plain(node, (), name, keys, values)
    return value, Positions(name, keys, values)


def _read_text(path: Path, name: str) -> str:
    try:
        if path.is_dir():
            raise SpecError("is a folder, not a file", where=name, mend="name the YAML file in it")
        if path.exists() and not path.is_file():
            raise SpecError("is not a regular file", where=name)
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise SpecError("there is no such file", where=name, mend="check the path") from error
    except OSError as error:
        raise SpecError(f"cannot be read ({error.strerror})", where=name, mend="check its permissions") from error
    if len(data) > MAX_FILE_BYTES:
        raise SpecError(f"is larger than {MAX_FILE_BYTES >> 20} MiB, so no specification", where=name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError("is not UTF-8 text", where=f"{name}:{line}", mend="save it as UTF-8") from error


def _plain(
    node: yaml.Node, location: Location, name: str, keys: dict[Location, int], values: dict[Location, int]
) -> Any:
    """Plain value of a node; fills `keys` and `values` with lines."""
    line = node.start_mark.line + 1
    values[location] = line
    if isinstance(node, yaml.MappingNode) and node.tag == CORE_TAG + "map":
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise SpecError("a key must be a word", where=f"{name}:{key_line}")
            key = _scalar_text(key_node, location, f"{name}:{key_line}")
            if key in mapping:
                raise SpecError(
                    f"key '{dotted((*location, key))}' is given twice, first in line {keys[(*location, key)]}",
                    where=f"{name}:{key_line}",
                    mend="keep one of them",
                )
            keys[(*location, key)] = key_line
            mapping[key] = _plain(value_node, (*location, key), name, keys, values)
        return mapping
    if isinstance(node, yaml.SequenceNode) and node.tag == CORE_TAG + "seq":
        items = []
        for index, item in enumerate(node.value):
            keys[(*location, index)] = item.start_mark.line + 1
            items.append(_plain(item, (*location, index), name, keys, values))
        return items
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, location, f"{name}:{line}")
    raise SpecError(f"key '{dotted(location)}': tag '{node.tag}' is not used here", where=f"{name}:{line}")


def _scalar_text(node: yaml.ScalarNode, location: Location, where: str) -> str:
    text = str(node.value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SpecError(f"key '{dotted(location)}': half of a surrogate pair is not text", where=where) from error
    return text


def _scalar(node: yaml.ScalarNode, location: Location, where: str) -> str | int | float | bool | None:
    text = _scalar_text(node, location, where)
    kind = str(node.tag).removeprefix(CORE_TAG)
    number = text.replace("_", "")
    if kind == "str":
        return text
    if kind == "null":
        return None
    if kind == "bool" and text in ("true", "false"):
        return text == "true"
    if kind in ("int", "float"):
        try:
            if len(number) > MAX_DIGITS:
                raise ValueError(number)
            value = int(number) if kind == "int" else float(number)
        except ValueError as error:
            raise SpecError(f"key '{dotted(location)}': {shown(text)} is not a number", where=where) from error
        if not math.isfinite(value):
            raise SpecError(f"key '{dotted(location)}': {shown(text)} is too large", where=where)
        return value
    raise SpecError(f"key '{dotted(location)}': tag '{node.tag}' is not used here", where=where)


def dotted(location: Sequence[str | int]) -> str:
    """("sources", 0, "claim") -> "sources[0].claim"."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def shown(value: Any) -> str:
    """A value as an error message shows it: short, in quotes when it is text."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = value if isinstance(value, str) else json.dumps(value)
    text = text if len(text) <= 40 else f"{text[:37]}..."
    return f"'{text}'" if isinstance(value, str) else text


def nearest(word: str, allowed: Sequence[str]) -> str | None:
    """The allowed spelling nearest to `word`, or None when none is near. Ties: closer letters, then order."""
    best: tuple[float, int, int] | None = None
    for order, candidate in enumerate(allowed):
        ratio = difflib.SequenceMatcher(None, word.lower(), candidate.lower()).ratio()
        distance = sum(abs(ord(a) - ord(b)) for a, b in zip(word.lower(), candidate.lower(), strict=False))
        score = (-ratio, distance, order)
        if ratio >= 0.6 and (best is None or score < best):
            best = score
    return None if best is None else allowed[best[2]]


def listed(word: Any, allowed: Sequence[str], label: str = "allowed") -> str:
    """ "(allowed: a, b; did you mean a?)" for the end of a message."""
    near = nearest(word, allowed) if isinstance(word, str) else None
    guess = f"; did you mean {near}?" if near else ""
    return f"({label}: {', '.join(allowed)}{guess})"


SpecModel = TypeVar("SpecModel", bound=Spec)


def validate(model: type[SpecModel], path: Path) -> SpecModel:
    """Read `path` as a `model`. Errors: SpecError naming file, line, key, the allowed and the nearest word."""
    return validate_with_positions(model, path)[0]


def validate_with_positions(model: type[SpecModel], path: Path) -> tuple[SpecModel, Positions]:
    """As `validate`, with the lines of the file for errors that are found later."""
    value, positions = load_yaml(path)
    _check_version(model, value, positions)
    try:
        # JSON mode: strict about types, yet a list is a tuple and 1 is a valid 1.0.
        return model.model_validate_json(json.dumps(value)), positions
    except ValidationError as error:
        raise _spec_error(model, error, positions) from error


def _check_version(model: type[Spec], value: Mapping[str, Any], positions: Positions) -> None:
    """A file of a later version is refused before its unknown keys are looked at."""
    field = model.model_fields.get("version")
    version = value.get("version")
    if field is None or not isinstance(version, int) or isinstance(version, bool):
        return
    known = [int(number) for number in get_args(field.annotation)]
    if version > max(known):
        raise SpecError(
            f"key 'version': {version} is from a later edge (this one reads {', '.join(map(str, known))})",
            where=positions.where(("version",)),
            mend="update edge, or write the file for this version",
        )


def _spec_error(model: type[Spec], error: ValidationError, positions: Positions) -> SpecError:
    found = []
    for details in error.errors(include_url=False):
        location = _full_location(details)
        found.append((positions.line(location) or 0, location, _sentence(model, details, location)))
    found.sort(key=lambda entry: entry[0])
    _, location, sentence = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return SpecError(f"{sentence}{more}", where=positions.where(location))


def _full_location(details: ErrorDetails) -> Location:
    location = tuple(details["loc"])
    if details["type"] == "edge":
        key = str(details["ctx"]["key"])
        parts = (int(part) if part.isdigit() else part for part in key.split("."))
        return (*location, *parts) if key else location
    return location


_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "model_type": "a mapping of keys",
    "dict_type": "a mapping of keys",
    "tuple_type": "a list",
    "list_type": "a list",
}


def _sentence(model: type[Spec], details: ErrorDetails, location: Location) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    key = f"key '{dotted(location)}'" if location else "the file"
    if kind == "missing":
        return f"{key} is missing"
    if kind == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        return f"{key} is not known {listed(location[-1], known, 'known')}"
    if kind == "literal_error":
        allowed = _allowed_at(model, location) or [str(context.get("expected", ""))]
        return f"{key}: {shown(value)} is not allowed {listed(value, allowed)}"
    if kind == "edge":
        return f"{key}: {context['text']}"
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        limit = context[bound]
        limit = int(limit) if float(limit).is_integer() else limit
        return f"{key}: {shown(value)} must be {words} {limit}"
    if kind in _TYPES:
        return f"{key}: {shown(value)} must be {_TYPES[kind]}"
    if kind in ("too_short", "string_too_short"):
        return f"{key} must not be empty"
    message = details["msg"]
    return f"{key}: {message[:1].lower()}{message[1:]}"


def _at(annotation: Any, location: Location) -> Any:
    """The annotation below `annotation` at `location`, without None; None where there is no such place."""
    annotation = _without_none(annotation)
    if not location:
        return annotation
    part, rest = location[0], location[1:]
    if isinstance(part, int):
        arguments = get_args(annotation)
        return _at(arguments[0], rest) if get_origin(annotation) in (tuple, list) and arguments else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(part)
        return None if field is None else _at(field.annotation, rest)
    return None


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        rest = [argument for argument in get_args(annotation) if argument is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def _keys_at(model: type[Spec], location: Location) -> list[str]:
    found = _at(model, location)
    return list(found.model_fields) if isinstance(found, type) and issubclass(found, BaseModel) else []


def _allowed_at(model: type[Spec], location: Location) -> list[str]:
    found = _at(model, location)
    return [str(value) for value in get_args(found)] if get_origin(found) is Literal else []
