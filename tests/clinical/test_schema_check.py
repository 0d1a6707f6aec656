"""The small schema checker: what it passes fits, what it does not know it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from edge.clinical.schema_check import misfit

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["a"],
    "properties": {
        "a": {"type": "integer", "minimum": 1, "maximum": 5},
        "b": {"type": ["string", "null"], "minLength": 2, "pattern": "^x"},
        "c": {"type": "array", "items": {"$ref": "#/$defs/d"}},
        "e": {"enum": [1.5, None]},
        "f": {"const": False},
    },
    "$defs": {"d": {"type": "boolean"}},
}


def test_what_fits() -> None:
    """Every keyword once."""
    assert misfit({"a": 3, "b": "xy", "c": [True, False], "e": None, "f": False}, SCHEMA) == ""
    assert misfit({"a": 1, "b": None}, SCHEMA) == ""


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([], "$: not of type object"),
        ({}, "$: a is missing"),
        ({"a": 0}, "$.a: out of range"),
        ({"a": True}, "$.a: not of type integer"),
        ({"a": 1.5}, "$.a: not of type integer"),
        ({"a": 1, "b": "x"}, "$.b: too short"),
        ({"a": 1, "b": "yy"}, "$.b: not of the pattern"),
        ({"a": 1, "c": [True, 0]}, "$.c[1]: not of type boolean"),
        ({"a": 1, "e": 2}, "$.e: none of the allowed values"),
        ({"a": 1, "f": 0}, "$.f: not the constant"),
        ({"a": 1, "zz": 1}, "$: a member that the schema does not name"),
    ],
)
def test_what_does_not_fit_is_told_by_its_place(value: object, place: str) -> None:
    """The value itself may be a patient's words and is not in the message."""
    assert misfit(value, SCHEMA) == place


def test_an_unknown_keyword_is_refused() -> None:
    """Nothing is taken for checked that was not."""
    with pytest.raises(ValueError, match="oneOf"):
        misfit(1, {"oneOf": []})
