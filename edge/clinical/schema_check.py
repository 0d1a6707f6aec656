"""Does a value fit a task's JSON schema: the keywords that the schemas in schemas/ use, and no others.

A schema with a keyword that is not known here is refused, so that nothing is taken for checked that was not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_KNOWN = frozenset(
    {"$schema", "$defs", "$ref", "title", "type", "const", "enum", "properties", "required", "additionalProperties"}
    | {"items", "minLength", "pattern", "minimum", "maximum"}
)


def misfit(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, at: str = "$") -> str:
    """Where and why `value` does not fit, without the value itself; '' when it does. Errors: ValueError."""
    root = schema if root is None else root
    if unknown := set(schema) - _KNOWN:
        raise ValueError(f"schema keywords that are not known: {sorted(unknown)}")
    if "$ref" in schema:
        return misfit(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, at)
    if "const" in schema and (
        value != schema["const"] or isinstance(value, bool) is not isinstance(schema["const"], bool)
    ):
        return f"{at}: not the constant"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at}: none of the allowed values"
    if "type" in schema and not _is(value, schema["type"]):
        return f"{at}: not of type {schema['type']}"
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            return f"{at}: too short"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return f"{at}: not of the pattern"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{at}: out of range"
    if isinstance(value, dict):
        return _object(value, schema, root, at)
    if isinstance(value, list) and "items" in schema:
        return _first(misfit(item, schema["items"], root, f"{at}[{index}]") for index, item in enumerate(value))
    return ""


def _object(value: Mapping[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> str:
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    if missing := [name for name in schema.get("required", ()) if name not in value]:
        return f"{at}: {missing[0]} is missing"
    extra = [name for name in value if name not in properties]
    if extra and more is False:
        return f"{at}: a member that the schema does not name"
    told = _first(misfit(value[name], properties[name], root, f"{at}.{name}") for name in properties if name in value)
    if told or not isinstance(more, Mapping):
        return told
    return _first(misfit(value[name], more, root, f"{at}.*") for name in extra)


def _first(found: Any) -> str:
    return next((one for one in found if one), "")


def _is(value: Any, types: str | list[str]) -> bool:
    names = [types] if isinstance(types, str) else types
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES[name]) for name in names)
