"""`edge rollout` as a person uses it, on a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge.errors import EdgeError, ExitStatus, InputError, SpecError
from edge.fleet.rollout import desk
from edge.fleet.rollout.command import rollout
from tests.fleet.rollout.small_fleet import NEW, SmallFleet, changed_plan, sqlite_fleet, write_plan


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[SmallFleet]:
    """Twenty devices, nothing started."""
    found = sqlite_fleet(tmp_path)
    yield found
    found.store.close()


def edge(folder: Path, *arguments: str) -> Result:
    """Run the command on the fleet's database; edge's own errors come as they are."""
    found = CliRunner().invoke(rollout, [*arguments, "--database", f"sqlite:///{folder / 'fleet.db'}"])
    if isinstance(found.exception, EdgeError):
        raise found.exception
    assert found.exception is None, found.output
    return found


def test_a_dry_run_shows_and_starts_nothing(fleet: SmallFleet, tmp_path: Path) -> None:
    """Somebody looks, and tablets install."""
    plan = write_plan(tmp_path)
    shown = edge(tmp_path, "start", str(plan), "--dry-run").stdout
    assert "first: 4 devices, 3 must pass within 48 h; more than 1 failures stop it" in shown
    assert "d09, d11, d06, d12" in shown
    assert edge(tmp_path, "status").stdout == "no rollout was ever started\n"
    as_json = json.loads(edge(tmp_path, "start", str(plan), "--dry-run", "--json").stdout)
    assert [len(devices) for devices in as_json["rings"].values()] == [4, 16]
    assert as_json["in_no_ring"] == []


def test_start_to_abort(fleet: SmallFleet, tmp_path: Path) -> None:
    """The commands, in the order of a bad day, and what is kept of it."""
    edge(tmp_path, "start", str(write_plan(tmp_path)), "--by", "anna")
    fleet.tick_until_started(4)
    assert "is paused" in edge(tmp_path, "pause", "notes-2", "--by", "anna").stdout
    with pytest.raises(InputError, match="rollout 'notes-2': is paused, not running"):
        edge(tmp_path, "pause", "notes-2")
    assert "is running" in edge(tmp_path, "resume", "notes-2", "--by", "anna").stdout
    shown = edge(tmp_path, "status", "notes-2").stdout
    assert "first: 0 of 4 passed, 3 needed" in shown and "rest: not open, 16 devices" in shown
    assert "is aborted" in edge(tmp_path, "abort", "notes-2", "--by", "ben").stdout
    assert len(fleet.on("notes-1")) == 4 and fleet.on("notes-2") == []
    with pytest.raises(InputError, match="rollout 'notes-2': is aborted already"):
        edge(tmp_path, "abort", "notes-2")
    lines = edge(tmp_path, "decisions", "notes-2").stdout.splitlines()
    assert "started first by anna: notes-2" in lines[0]
    assert "aborted first by ben" in lines[-1] and "4 devices set back" in lines[-1]
    kept = json.loads(edge(tmp_path, "decisions", "notes-2", "--json").stdout)
    assert kept[-1]["evidence"]["set_back"] and kept[-1]["by"] == "ben"
    (state,) = json.loads(edge(tmp_path, "status", "--json").stdout)
    assert (state["phase"], state["rings"][0]["statuses"]) == ("aborted", {"set_back": 4})


def test_one_rollout_of_a_profile_at_a_time(fleet: SmallFleet, tmp_path: Path) -> None:
    """Two builds fight over the same devices."""
    edge(tmp_path, "start", str(write_plan(tmp_path)))
    other = write_plan(tmp_path, changed_plan(rollout="notes-3", release="notes-3"))
    with pytest.raises(InputError, match="rollout 'notes-2' of the same profile has not ended"):
        edge(tmp_path, "start", str(other))
    edge(tmp_path, "abort", "notes-2")
    edge(tmp_path, "start", str(other))
    with pytest.raises(InputError, match="has been started already"):
        edge(tmp_path, "abort", "notes-3")
        edge(tmp_path, "start", str(other))


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"release": "notes-9"}, InputError, "release 'notes-9' is not known; `edge rollout add-release` it first"),
        ({"profile": "differential"}, InputError, "release 'notes-2' is of profile 'notes', not 'differential'"),
        ({"rings__0__devices": {"label": "nowhere"}}, InputError, "ring 'first': is empty"),
        ({"timeout_h": -1}, SpecError, "key 'timeout_h': -1 must be more than 0"),
    ],
)
def test_start_refuses(
    fleet: SmallFleet, tmp_path: Path, changes: dict[str, Any], kind: type[EdgeError], words: str
) -> None:
    """A rollout that can only go wrong begins."""
    with pytest.raises(kind) as error:
        edge(tmp_path, "start", str(write_plan(tmp_path, changed_plan(**changes))))
    assert words in str(error.value)
    assert edge(tmp_path, "status").stdout == "no rollout was ever started\n"


def test_devices_that_could_not_be_set_back_are_said(fleet: SmallFleet, tmp_path: Path) -> None:
    """The build turns out bad, and there is nothing to go back to."""
    for number in range(20, 40):
        fleet.add_device(f"d{number}", reported=json.dumps({"bundle_digest": "e" * 64}))
    plan = write_plan(tmp_path)
    assert (
        "cannot be set back, their build is no known release: 20"
        in edge(tmp_path, "start", str(plan), "--dry-run").stdout
    )
    with pytest.raises(InputError, match="20 devices run a build that is no known release"):
        edge(tmp_path, "start", str(plan))
    edge(tmp_path, "start", str(plan), "--without-way-back")


def test_a_second_try_of_a_build_goes_back_to_what_was_before_it(fleet: SmallFleet, tmp_path: Path) -> None:
    """Devices that kept the build of an earlier try are set back to that same build."""
    fleet.start(tmp_path)
    first = fleet.tick_until_started(4)
    for device in first[:2]:
        fleet.result(device)
    for _ in range(49):
        fleet.tick(1)
    assert fleet.on("notes-2") == first[:2], "too little evidence; what passed stays"
    again = fleet.start(tmp_path, changed_plan(rollout="notes-2b"))
    assert again.no_way_back == ()
    assert {one.previous for one in fleet.state("notes-2b").devices.values()} == {"notes-1"}


def test_releases(fleet: SmallFleet, tmp_path: Path) -> None:
    """A name stands for two builds, or what is known cannot be seen."""
    assert "notes-2  notes  pi5-8gb  bundle bbbbbbbbbbbbbbbb" in edge(tmp_path, "releases").stdout
    same = desk.Release("notes-2", "notes", NEW, NEW, "pi5-8gb")
    assert desk.add_release(fleet.store, same, fleet.now) is False
    with pytest.raises(InputError, match="release 'notes-2' is another build"):
        desk.add_release(fleet.store, desk.Release("notes-2", "notes", "f" * 64, NEW, "pi5-8gb"), fleet.now)
    with pytest.raises(InputError, match="a bundle does not say its release's name"):
        edge(tmp_path, "add-release", str(tmp_path))


def test_unknown_rollout_and_name(fleet: SmallFleet, tmp_path: Path) -> None:
    """A typing error is a traceback, or a decision by nobody."""
    for command in ("status", "pause", "resume", "abort", "decisions"):
        with pytest.raises(InputError, match="there is no rollout 'nots-2'") as error:
            edge(tmp_path, command, "nots-2")
        assert error.value.status == ExitStatus.INPUT
    with pytest.raises(InputError, match="give --by NAME"):
        edge(tmp_path, "pause", "notes-2", "--by", "Anna K.")


def test_a_mistyped_database_is_not_made(tmp_path: Path) -> None:
    """An empty fleet is shown, and a rollout started in it."""
    with pytest.raises(InputError, match="there is no database"):
        edge(tmp_path, "status")
    assert not (tmp_path / "fleet.db").exists()
