"""Kills publications and fetches at every step and looks at what is left; see tests/fault/bundle_kill_child.py.

    python -m tests.fleet.updates.kill_child SCENARIO FOLDER

For k = 1, 2, ... a fork does the work and kills itself with SIGKILL at step k; then the parent checks, until a fork
gets through. Prints one JSON line: {"steps": n, "seen": {...}}.
"""

from __future__ import annotations

import collections
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import tuf.ngclient  # noqa: F401  imported before forking, so that forks are quick

from edge.errors import EdgeError
from edge.fleet.updates.client import UpdateClient
from edge.fleet.updates.copying import copy_published
from edge.fleet.updates.places import FolderPlace
from tests.fault.bundle_kill_child import Fuse, expect
from tests.fleet.updates.update_world import World, bundle_files, contents, expected


class NearFuse(Fuse):
    """Counts steps in one folder alone (a publication rehearses in a temporary one), and half of every pwrite."""

    def __init__(self, fatal: int, folder: Path) -> None:
        self._near = str(folder)
        super().__init__(fatal)
        self._real_pwrite = os.pwrite
        os.pwrite = self._pwrite  # type: ignore[assignment]

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not arguments or str(arguments[0]).startswith(self._near):
            super()._audit(event, arguments)

    def _pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        half = len(data) // 2
        self._real_pwrite(descriptor, data[:half], offset)
        self.step()
        return half + self._real_pwrite(descriptor, data[half:], offset + half)


def copied(base: World, folder: Path) -> World:
    """A world to kill in, without the bundles, which nobody needs any more."""
    shutil.copytree(base.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("bundles"))
    return World(folder)


class Publish:
    """A publication with a new release and new keys for every role. At every moment a device reads the old or the new
    state, one that knew the old goes on to the new, and the same command again finishes the work."""

    def __init__(self, home: Path) -> None:
        self.base = World.new(home / "base")
        self.base.add("v1", bundle_files(adapter_seed=1, base_bytes=9000))
        self.base.publish()
        self.base.device("seen").refresh()
        for role, old in (("timestamp", None), ("snapshot", None), ("targets", None), ("root", "root-2")):
            self.base.repo.rotate(role, self.base.keys, replace=old)
        self.base.add("v2", bundle_files(adapter_seed=2, base_bytes=9000))
        self.base.sign("root")

    def prepare(self, folder: Path) -> World:
        """A copy."""
        return copied(self.base, folder)

    def work(self, world: World) -> None:
        """Publish."""
        world.publish()

    def check(self, world: World) -> str:
        """A new device and one that has seen the old state."""
        found = set()
        for name in ("seen", "fresh"):
            client = world.device(name)
            client.refresh()
            found.add(tuple(release.release for release in client.releases()))
        for release in client.releases():
            slot = world.slot(release.release)
            client.source(release).fill(slot, None)
            expect(contents(slot) == expected(self.base.folder / "bundles" / release.release), "other bytes")
        expect(found in ({("v1",)}, {("v1", "v2")}), f"neither old nor new: {found}")
        old = found == {("v1",)}
        world.publish()
        client = world.device("seen")
        client.refresh()
        expect(len(client.releases()) == 2, "the second run did not finish")
        litter = [path for path in world.published.rglob("*") if path.name.startswith(".")]
        expect(not litter, f"litter is left: {litter}")
        return "old" if old else "new"


class Copy(Publish):
    """A copy to a stick that holds an older state: devices read the old or the new."""

    def __init__(self, home: Path) -> None:
        self.base = World.new(home / "base")
        self.base.add("v1", bundle_files(adapter_seed=1, base_bytes=9000))
        self.base.publish()
        copy_published(self.base.repo, self.base.folder / "stick")
        self.base.add("v2", bundle_files(adapter_seed=2, base_bytes=9000))
        self.base.publish()

    def work(self, world: World) -> None:
        """Copy."""
        copy_published(world.repo, world.folder / "stick")

    def check(self, world: World) -> str:
        """What the stick shows, before and after the copy is made again."""
        shown = []
        for name in ("one", "two"):
            client = world.device(name, FolderPlace(world.folder / "stick"))
            client.refresh()
            shown.append(len(client.releases()))
            if name == "one":
                for release in client.releases():
                    client.source(release).fill(world.slot(release.release), None)
                copy_published(world.repo, world.folder / "stick")
        expect(shown[1] == 2, "the second copy did not finish")
        return {1: "old", 2: "new"}[shown[0]]


class Fetch:
    """A fill that is killed: every whole chunk stays, the next fill brings the rest and no more, the file is right."""

    def __init__(self, home: Path) -> None:
        self.base = World.new(home / "base")
        self.base.add("v1", bundle_files(adapter_seed=1, base_bytes=30000))
        self.base.publish()
        client = self.base.device()
        client.refresh()
        client.source("v1")
        self.whole = client.source("v1").release.size_bytes

    def prepare(self, folder: Path) -> World:
        """A copy with an empty slot."""
        world = copied(self.base, folder)
        world.slot("a")
        return world

    def _client(self, world: World) -> UpdateClient:
        return UpdateClient(world.folder / "device", [FolderPlace(world.published)], world.clock)

    def work(self, world: World) -> None:
        """Fill."""
        self._client(world).source("v1").fill(world.slot("a"), None)

    def check(self, world: World) -> str:
        """Fill again."""
        source, slot = self._client(world).source("v1"), world.slot("a")
        plan = source.plan(slot, None)
        moved = source.fill(slot, None)
        expect(moved.moved_bytes == plan.fetched_bytes, "fetched other than missing")
        expect(moved.moved_bytes + moved.kept_bytes == self.whole, "the sum is wrong")
        expect(contents(slot) == expected(self.base.folder / "bundles" / "v1"), "other bytes")
        return "none" if not plan.there_bytes else "all" if plan.there_bytes == self.whole else "some"


SCENARIOS = {"Publish": Publish, "Copy": Copy, "Fetch": Fetch}


def main(name: str, home: Path) -> None:
    """Kill at each step."""
    os.fsync = lambda descriptor: None  # a killed process leaves the page cache: real ones only take time
    scenario = SCENARIOS[name](home)
    seen: collections.Counter[str] = collections.Counter()
    step = 0
    while True:
        step += 1
        folder = home / f"step-{step}"
        world = scenario.prepare(folder)
        child = os.fork()
        if child == 0:
            NearFuse(step, folder)
            try:
                scenario.work(world)
            except EdgeError as error:
                print(error, file=sys.stderr)
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        expect(os.WIFEXITED(status) or os.WTERMSIG(status) == signal.SIGKILL, f"step {step}: {status}")
        expect(not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, f"step {step} failed")
        seen[scenario.check(world)] += 1
        shutil.rmtree(folder)
        if os.WIFEXITED(status):
            break
    print(json.dumps({"steps": step - 1, "seen": seen}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
