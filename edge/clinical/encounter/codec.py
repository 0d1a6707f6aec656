"""An encounter as bytes: canonical JSON, read back strictly. One encounter has exactly one form.

Every key must be there and no other may: a file of another edge is refused and never half read, since a missing
`confirmed` must not turn into a yes. A new field of the model therefore needs a new version.
"""

from __future__ import annotations

import hashlib
import json
import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from edge.clinical.encounter.model import VERSION, Encounter
from edge.errors import InputError

_NOT_CONTENT = frozenset({"signature", "revision", "updated_at"})


def to_bytes(enc: Encounter) -> bytes:
    """Canonical JSON (sorted keys, no spaces, UTF-8). Errors: InputError for what JSON cannot hold (a NaN)."""
    return _dump(_plain(Encounter, enc, "encounter"))


def from_bytes(data: bytes) -> Encounter:
    """The encounter. Errors: InputError, naming the key but no word of the patient."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_no_constant)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise InputError("the encounter is not valid JSON", mend="restore it from a backup") from None
    if not isinstance(value, dict) or value.get("version") != VERSION or isinstance(value.get("version"), bool):
        raise InputError("an encounter of an unknown version", where="version", mend="update edge")
    read: Encounter = _read(Encounter, value, "encounter")
    return read


def content_sha256(enc: Encounter) -> str:
    """SHA-256 of what is signed, hex: all but the signature itself, the revision and the time of the last edit."""
    plain = _plain(Encounter, enc, "encounter")
    return hashlib.sha256(_dump({key: value for key, value in plain.items() if key not in _NOT_CONTENT})).hexdigest()


def _dump(value: Any) -> bytes:
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8")
    except (ValueError, UnicodeEncodeError):
        raise InputError("a text of the encounter cannot be written as UTF-8", mend="type it again") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key twice")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind)}


def _bad(where: str) -> InputError:
    return InputError("the encounter has a value of the wrong kind", where=where, mend="restore it from a backup")


def _plain(kind: Any, value: Any, where: str) -> Any:
    """A value as JSON types, by the declared type, so that 52 and 52.0 have one form."""
    origin = get_origin(kind)
    if origin in (types.UnionType, Union):
        if value is None:
            return None
        (inner,) = (one for one in get_args(kind) if one is not type(None))
        return _plain(inner, value, where)
    if origin is tuple:
        return [_plain(get_args(kind)[0], one, where) for one in value]
    if origin is Mapping:
        return {str(key): str(one) for key, one in value.items()}
    if is_dataclass(kind):
        return {name: _plain(hint, getattr(value, name), f"{where}.{name}") for name, hint in _hints(kind).items()}  # type: ignore[arg-type]
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _bad(where)
        return float(value) + 0.0  # no minus zero
    if issubclass(kind, StrEnum):
        return str(kind(value))
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _bad(where)
    return value


def _read(kind: Any, value: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (types.UnionType, Union):
        if value is None:
            return None
        (inner,) = (one for one in get_args(kind) if one is not type(None))
        return _read(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise _bad(where)
        return tuple(_read(get_args(kind)[0], one, f"{where}[{index}]") for index, one in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            raise _bad(where)
        return dict(value)
    if is_dataclass(kind):
        hints = _hints(kind)  # type: ignore[arg-type]
        if not isinstance(value, dict) or set(value) != set(hints):
            raise InputError("the encounter lacks a key or has an unknown one", where=where, mend="update edge")
        return kind(**{name: _read(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})  # type: ignore[operator]
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _bad(where)
        try:
            number = float(value)
        except OverflowError:
            raise _bad(where) from None
        if not math.isfinite(number):
            raise _bad(where)
        return number
    if issubclass(kind, StrEnum):
        try:
            return kind(value)
        except ValueError:
            raise _bad(where) from None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _bad(where)
    return value
