"""Plans of rollouts: what is read, and what is refused before a device is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.errors import SpecError
from edge.fleet.rollout.plan import load_plan
from tests.fleet.rollout.small_fleet import changed_plan, write_plan

EXAMPLES = sorted((Path(__file__).parents[3] / "profiles" / "rollouts").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_plans(path: Path) -> None:
    """Somebody copies an example and it is refused."""
    plan = load_plan(path)
    assert plan.rings[-1].devices.share == 1.0
    assert all(ring.open_next.devices_min >= 1 for ring in plan.rings)


def test_there_is_an_example() -> None:
    """The test above would pass on an empty folder."""
    assert EXAMPLES


@pytest.mark.parametrize(
    ("changes", "line", "words"),
    [
        ({"rings__0__open_next__devices_min": 0}, 12, "key 'rings[0].open_next.devices_min': 0 must be at least 1"),
        ({"rings__0__open_next__passed_share_min": 0.0}, 11, "must be at least 0.5"),
        ({"rings__0__open_next__passed_share_min": 1.2}, 11, "1.2 must be at most 1"),
        ({"rings__0__devices": {"share": 1.01}}, 8, "must be at most 1"),
        ({"rings__0__devices": {"share": 0}}, 8, "must be more than 0"),
        ({"rings__0__devices": {"share": 0.1, "label": "x"}}, 7, "give exactly one of names, label, share"),
        ({"rings__0__devices": {}}, 7, "not none"),
        ({"rings__0__devices": {"names": []}}, 8, "the ring is empty"),
        ({"rings__0__devices": {"names": ["a", "b"]}}, 12, "2 devices are fewer than devices_min 3"),
        ({"rings__0__devices": {"names": ["a", "B c"]}}, 10, "is no device's name"),
        ({"rings__0__devices": {"share": 1.0}}, 16, "is empty: ring 'first' takes all the rest"),
        ({"rings__1__name": "first"}, 15, "'first' is given twice"),
        ({"rings__0__open_next__within_h": 6}, 26, "no device would ever time out"),
        ({"rings__0__open_next__within": 6}, 15, "key 'rings[0].open_next.within' is not known"),
        ({"stop__failed_share_max": 1.0}, 24, "must be at most 0.5"),
        ({"release": "../x"}, 3, "lower-case letters"),
        ({"version": 2}, 1, "is from a later edge"),
        ({"rings": []}, 5, "must not be empty"),
    ],
)
def test_refused(tmp_path: Path, changes: dict[str, Any], line: int, words: str) -> None:
    """A plan that could never open a ring, or would open one without evidence, gets as far as a device."""
    path = write_plan(tmp_path, changed_plan(**changes))
    with pytest.raises(SpecError) as error:
        load_plan(path)
    assert words in str(error.value)
    assert str(error.value).startswith(f"{path}:{line}: "), error.value


def test_a_rate_too_slow_for_the_time_is_refused(tmp_path: Path) -> None:
    """A ring that starts one device in a day waits for its time limit, and nobody knows why."""
    plan = changed_plan(rings__0__devices={"names": ["a", "b", "c", "d"]}, rings__0__rate_per_h=0.02)
    with pytest.raises(SpecError, match=r"at 0\.02 an hour 1 of 4 devices are started within 48 h, and 3 must pass"):
        load_plan(write_plan(tmp_path, plan))


def test_one_device_in_two_rings_is_refused(tmp_path: Path) -> None:
    """The device would count in both."""
    plan = changed_plan(rings__0__devices={"names": ["a", "b", "c"]}, rings__1__devices={"names": ["c", "d", "e"]})
    with pytest.raises(SpecError, match="'c' is in ring 'first' too"):
        load_plan(write_plan(tmp_path, plan))
