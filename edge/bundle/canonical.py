"""Canonical JSON: one value, one sequence of bytes.

Everything in a bundle that is signed or hashed is written this way and refused when it was not, so that no
two readers can see two meanings in one signed file (duplicate keys, odd numbers, blanks, escapes).
"""

from __future__ import annotations

import json
import re
from typing import Any

from edge.errors import BundleError

SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
MEND = "fetch or build the bundle again"


def canonical_json(value: Any, where: str = "manifest") -> bytes:
    """Sorted keys, no blanks, UTF-8 unescaped, one newline at the end.

    Errors: BundleError when the value is not plain JSON (another type, not-a-number, a key that is no
    string).
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"not plain JSON ({error})", where=where, mend="write only JSON types") from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands there twice")
    return value


def parse_canonical(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object in `data`, which must be exactly what `canonical_json` writes for it.

    Errors: BundleError (changed) otherwise.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates)
        canonical = canonical_json(value, where)
    except (ValueError, RecursionError, BundleError) as error:
        raise BundleError("is not valid JSON, so it was changed", where=where, mend=MEND) from error
    if not isinstance(value, dict):
        raise BundleError("is not a JSON object, so it was changed", where=where, mend=MEND)
    if canonical != data:
        raise BundleError("is not written canonically, so it was changed", where=where, mend=MEND)
    return value


def plain(value: Any, where: str) -> Any:
    """A copy of `value` in plain JSON types (tuples become lists), equal to what a reader will get back."""
    copy = json.loads(canonical_json(value, where))
    if isinstance(value, dict) and set(copy) != set(value):
        raise BundleError("has keys that are not text", where=where, mend="write only JSON types")
    return copy


def exact_keys(value: dict[str, Any], known: frozenset[str], where: str) -> None:
    """Refuse keys that are not known and keys that are missing; nothing is ever ignored."""
    unknown, missing = sorted(set(value) - known), sorted(known - set(value))
    if unknown:
        raise BundleError(
            f"key '{unknown[0]}' is not known to this edge",
            where=where,
            mend="use the edge that the bundle was made with",
        )
    if missing:
        raise BundleError(f"key '{missing[0]}' is missing", where=where, mend=MEND)


def known_version(value: dict[str, Any], known: int, where: str) -> None:
    """Refuse a schema version that this edge does not know, before anything else is read."""
    version = value.get("schema_version")
    if version != known or isinstance(version, bool):
        raise BundleError(
            f"schema version {version!r} is not known (known: {known})",
            where=where,
            mend="use the edge that the bundle was made with",
        )
