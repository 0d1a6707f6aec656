"""What a person is shown before signing. When these fail, somebody signs a stranger's key or an old release."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.errors import BundleError, EdgeError, SpecError, UntrustedError
from edge.fleet.updates.metadata import parse
from edge.fleet.updates.showing import lines_to_sign
from tests.fleet.updates.update_world import World, bundle_files

HERE = Path("carried.json")


def shown(world: World, role: str, change: Callable[[Any], None] = lambda _signed: None, *, alone: bool = False) -> str:
    """The lines for the staged metadata after `change` of its signed part."""
    staged, published = world.repo.staged(role), world.repo.published(role)
    assert staged is not None
    raw = json.loads(staged.to_bytes())
    change(raw["signed"])
    metadata = parse(json.dumps(raw).encode(), role, HERE)
    return "\n".join(lines_to_sign(metadata, None if alone else published, str(HERE), "published"))


@pytest.fixture
def rotated(world: World) -> World:
    """A root that waits: root-4 for root-2."""
    world.repo.rotate("root", world.keys, replace="root-2")
    return world


def test_a_root(rotated: World) -> None:
    """If not: a key that comes, or a threshold that falls, is not seen."""
    text = shown(rotated, "root")
    staged, published = rotated.repo.staged("root"), rotated.repo.published("root")
    assert staged is not None
    assert published is not None
    lines = text.splitlines()
    assert lines[0].startswith(f"root version 2, expires {staged.signed.expires:%Y-%m-%d}")
    assert "version 1" in lines[1]
    fresh = set(staged.signed.roles["root"].keyids) - set(published.signed.roles["root"].keyids)
    assert [line.split() for line in lines if "NEW" in line] == [["root-4", *fresh, "NEW"]]
    assert [line.split()[0] for line in lines if "GOES" in line] == ["root-2"]
    assert "  root: 2 of 3 keys must sign" in lines
    for role, root in staged.signed.roles.items():
        assert f"  {role}: " in text
        assert all(keyid in text for keyid in root.keyids)

    def weaker(signed: Any) -> None:
        signed["roles"]["root"]["threshold"] = 1

    assert "root: 1 of 3 keys must sign, WAS 2" in shown(rotated, "root", weaker)
    alone = shown(rotated, "root", alone=True)
    assert "--against" in alone
    assert "NEW" not in alone


def test_a_key_under_anothers_id(rotated: World) -> None:
    """If not: a thief's key is shown with the id of ours."""

    def swapped(signed: Any) -> None:
        keyid = signed["roles"]["targets"]["keyids"][0]
        signed["keys"][keyid]["keyval"]["public"] = "ab" * 32

    def odd(signed: Any) -> None:
        signed["keys"][signed["roles"]["targets"]["keyids"][0]]["keyval"]["public"] = "zz"

    for change in (swapped, odd):
        with pytest.raises(UntrustedError, match="not its own"):
            shown(rotated, "root", change)


def test_releases(world: World) -> None:
    """If not: a release that comes, goes or becomes another bundle is not seen."""
    world.repo.add(world.bundle("seven", bundle_files(adapter_seed=7)), "seven", world.trust)
    listed = world.repo.releases(world.repo.staged("targets"))
    old = next(name for name in listed if name != "seven")
    text = shown(world, "targets")
    assert f"bundle {listed['seven'].bundle_digest}  NEW" in text
    assert f"bundle {listed[old].bundle_digest}\n" in f"{text}\n"

    def exchanged(signed: Any) -> None:
        signed["targets"][f"releases/{old}.json"]["custom"]["bundle_digest"] = "c" * 64

    def other_chunks(signed: Any) -> None:
        signed["targets"][f"releases/{old}.json"]["hashes"]["sha256"] = "c" * 64

    assert f"bundle {'c' * 64}  CHANGED, was {listed[old].bundle_digest}" in shown(world, "targets", exchanged)
    assert "CHANGED" in shown(world, "targets", other_chunks)
    world.repo.withdraw(old)
    assert f"bundle {listed[old].bundle_digest}  GOES" in shown(world, "targets")
    assert "no release" in shown(world, "targets", lambda signed: signed["targets"].clear())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda signed: signed.update(version=1), "NOT NEWER"),
        (lambda signed: signed.update({"x-\x1b[2J": 1}), r"FIELDS.*'x-\x1b[2J'"),
        (lambda signed: signed.update(delegations={"keys": {}, "roles": []}), "DELEGATIONS"),
    ],
)
def test_what_no_metadata_of_edge_holds(world: World, change: Callable[[Any], None], said: str) -> None:
    """If not: something is signed that was not on the screen, or the screen is drawn over."""
    world.repo.withdraw(next(iter(world.repo.releases(world.repo.published("targets")))))
    text = shown(world, "targets", change)
    assert "\x1b" not in text
    assert all(part in text for part in said.split(".*"))


def test_refused(world: World) -> None:
    """If not: a release hides behind another's name, or text of the file reaches the screen unchecked."""
    name = next(iter(world.repo.releases(world.repo.published("targets"))))
    world.repo.add(world.bundle("seven", bundle_files(adapter_seed=7)), "seven", world.trust)

    def misnamed(signed: Any) -> None:
        signed["targets"]["releases/eight.json"] = signed["targets"].pop("releases/seven.json")

    def drawing(signed: Any) -> None:
        signed["targets"][f"releases/{name}.json"]["custom"]["profile"] = "\x1b[2J"

    for change in (misnamed, drawing):
        with pytest.raises(BundleError) as caught:
            shown(world, "targets", change)
        assert "\x1b" not in str(caught.value)
    snapshot, root, targets = (world.repo.published(role) for role in ("snapshot", "root", "targets"))
    assert snapshot is not None
    assert targets is not None
    refusals: list[EdgeError] = []
    for new, before in ((snapshot, None), (targets, root)):
        with pytest.raises(SpecError) as refused:
            lines_to_sign(new, before, "a", "b")
        refusals.append(refused.value)
    assert "edge repo publish" in str(refusals[0])
    assert "cannot be compared" in str(refusals[1])
