"""Frozen dataclasses from plain JSON, strictly: a missing, unknown or wrongly typed key is refused."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from edge.errors import BundleError

T = TypeVar("T")


def _fail(where: str, wanted: str) -> BundleError:
    return BundleError(f"not a valid result ({wanted} expected)", where=where, mend="measure again")


def _simple(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise _fail(where, kind.__name__)


def from_plain(kind: Any, value: Any, where: str) -> Any:
    """Build a value of type `kind` from JSON types.

    kind: a dataclass, or a tuple[X, ...], dict[str, X], X | None, Literal, Any, str, int, float, bool of
    such. where: the key path that an error names. Errors: BundleError.
    """
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        inner = [item for item in get_args(kind) if item is not type(None)]
        return None if value is None else from_plain(inner[0], value, where)
    if origin is Literal:
        if value in get_args(kind):
            return value
        raise _fail(where, " or ".join(map(str, get_args(kind))))
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _fail(where, "list")
        inner_kind = get_args(kind)[0]
        return tuple(from_plain(inner_kind, item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _fail(where, "object")
        inner_kind = get_args(kind)[1]
        return {str(key): from_plain(inner_kind, item, f"{where}.{key}") for key, item in value.items()}
    if is_dataclass(kind):
        return dataclass_from_plain(kind, value, where)
    return _simple(kind, value, where)


def dataclass_from_plain(kind: Any, value: Any, where: str) -> Any:
    """One dataclass, with exactly its fields as keys. Errors: BundleError."""
    if not isinstance(value, Mapping):
        raise _fail(where, "object")
    hints = get_type_hints(kind)
    names = {field.name for field in fields(kind)}
    odd = sorted(set(value) ^ names)
    if odd:
        raise BundleError(
            f"missing or unknown keys ({', '.join(map(str, odd[:4]))})", where=where, mend="measure again"
        )
    return kind(**{name: from_plain(hints[name], value[name], f"{where}.{name}") for name in sorted(names)})
