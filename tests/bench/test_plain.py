"""Strict reading of result files: nothing unknown, missing or of another type gets in."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from edge.bench.plain import from_plain
from edge.errors import BundleError


@dataclass(frozen=True)
class Inner:
    name: str
    share: float | None


@dataclass(frozen=True)
class Outer:
    kind: Literal["a", "b"]
    count: int
    inner: tuple[Inner, ...]
    sizes: dict[str, int]
    free: dict[str, Any]
    yes: bool


GOOD: dict[str, Any] = {
    "kind": "a",
    "count": 3,
    "inner": [{"name": "x", "share": 1}, {"name": "y", "share": None}],
    "sizes": {"k": 5},
    "free": {"any": [1, "t"]},
    "yes": True,
}


def test_a_good_value() -> None:
    """If it fails, a result that was just written cannot be read."""
    value = from_plain(Outer, GOOD, "r")
    assert value == Outer("a", 3, (Inner("x", 1.0), Inner("y", None)), {"k": 5}, {"any": [1, "t"]}, True)
    assert isinstance(value.inner[0].share, float)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"kind": "c"}, "r.kind"),
        ({"count": "3"}, "r.count"),
        ({"count": True}, "r.count"),
        ({"count": 3.5}, "r.count"),
        ({"yes": 1}, "r.yes"),
        ({"inner": {}}, "r.inner"),
        ({"inner": [{"name": "x"}]}, r"r.inner\[0\]"),
        ({"inner": [{"name": 5, "share": 1}]}, r"r.inner\[0\].name"),
        ({"sizes": [1]}, "r.sizes"),
        ({"sizes": {"k": "5"}}, "r.sizes.k"),
        ({"more": 1}, "more"),
    ],
)
def test_bad_values_name_their_place(change: dict[str, Any], where: str) -> None:
    """If it fails, a changed or newer result is read as something else."""
    with pytest.raises(BundleError, match=where):
        from_plain(Outer, GOOD | change, "r")


def test_not_an_object() -> None:
    """If it fails, a list where an object belongs ends in a traceback."""
    with pytest.raises(BundleError, match="object"):
        from_plain(Outer, [1], "r")
