"""A fleet of real processes around a user's machine: repository, broker, collector with page, agents on two devices."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.bundle.keys import KeyStore
from edge.bundle.manifest import MANIFEST_NAME, Manifest
from edge.bundle.writer import GIVEN, BundleWriter
from tests.e2e.world import World

RINGS = ("canary", "clinic")  # as `edge fleet dev` labels its first device and the rest


def wait_until(true: Callable[[], Any], timeout_s: float, what: Callable[[], object]) -> Any:
    """The first value that counts as true; `what` tells how things stood at the end."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        found = true()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"not within {timeout_s:.0f} s: {what()}")


def with_wrong_golden(world: World, source: Path, place: Path) -> None:
    """The bundle once more, signed by the same builder, with golden cases that this model cannot meet."""
    manifest = Manifest.from_bytes((source / MANIFEST_NAME).read_bytes())
    with BundleWriter(place) as writer:
        for entry in manifest.files:
            (writer.folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / entry.path, writer.folder / entry.path)
        path = writer.folder / "golden" / "cases.json"
        cases = json.loads(path.read_bytes())
        for case in cases["cases"]:
            case["expected_top1"] = [(token + 1) % 400 for token in case["expected_top1"]]
        path.write_text(json.dumps(cases, sort_keys=True), encoding="utf-8")
        key = KeyStore(world.root / "home").load_signing_key(role="builder")
        writer.commit({name: getattr(manifest, name) for name in GIVEN}, key)


class FleetWorld:
    """A context manager: everything that it started has ended after it."""

    def __init__(self, world: World) -> None:
        self.world, self.folder = world, world.root / "fleet"
        self.processes: list[subprocess.Popen[str]] = []
        self.page = ""
        self.database = f"sqlite:///{self.folder / 'fleet.db'}"

    def __enter__(self) -> FleetWorld:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGINT)
        for process in reversed(self.processes):
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()

    def start(self, name: str, *arguments: str | Path, home: Path | None = None) -> subprocess.Popen[str]:
        """`edge ARGUMENTS` in the background; what it says goes to NAME.log."""
        environment = self.world.environment(**({"EDGE_HOME": str(home)} if home else {}))
        with (self.world.root / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self.world.command(*arguments),
                cwd=self.world.root,
                env=environment | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )
        self.processes.append(process)
        return process

    def log(self, name: str) -> str:
        """All that it said."""
        return (self.world.root / f"{name}.log").read_text(encoding="utf-8")

    def dev(self, devices: int) -> None:
        """Broker, collector, page and enrolled devices, from the published repository."""
        self.start(
            "dev", "fleet", "dev", "--folder", "fleet", "--devices", str(devices), "--profile", "tiny",
            "--repository", "repo",
        )  # fmt: skip
        wait_until(lambda: "Ctrl-C ends" in self.log("dev"), 60, lambda: self.log("dev"))
        self.page = next(line.split()[1] for line in self.log("dev").splitlines() if line.startswith("page"))

    def agent(self, number: int) -> subprocess.Popen[str]:
        """The agent of tablet-NUMBER."""
        home = self.folder / "devices" / f"tablet-{number}"
        return self.start(f"agent-{number}", "agent", "--config", home / "agent.yaml", home=home)

    def get(self, path: str) -> Any:
        """JSON of the page."""
        with urllib.request.urlopen(f"{self.page}{path}", timeout=10) as answer:  # noqa: S310
            return json.load(answer)

    def current(self, number: int) -> str:
        """The digest of the bundle in force on a device; "" for none."""
        import hashlib

        path = self.folder / "devices" / f"tablet-{number}" / "slots" / "tiny" / "current" / MANIFEST_NAME
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            return ""

    def plan(self, release: str) -> Path:
        """Two rings of one device each; the second opens on the evidence of the first."""
        ring = {
            "rate_per_h": 3600,
            "open_next": {"passed_share_min": 1.0, "devices_min": 1, "within_h": 1},
        }
        value = {
            "version": 1,
            "rollout": f"to-{release}",
            "release": release,
            "profile": "tiny",
            "rings": [{"name": label, "devices": {"label": label}} | ring for label in RINGS],
            "stop": {"failed_share_max": 0.0, "failed_max": 0},
            "timeout_h": 1,
        }
        path = self.world.root / f"{release}.yaml"
        path.write_text(json.dumps(value), encoding="utf-8")  # JSON is YAML without aliases
        return path

    def phase(self, release: str) -> str:
        """How its rollout stands, as the page tells; a command for each look would take the machine from the agents."""
        found = self.get("api/v1/rollouts")["rollouts"]
        return next((str(one["phase"]) for one in found if one["rollout"] == f"to-{release}"), "")

    def state(self) -> str:
        """For a failed test: everything that was said."""
        names = [path.stem for path in self.world.root.glob("*.log")]
        return "\n".join(f"== {name}\n{self.log(name)[-3000:]}" for name in sorted(names))


def fleet_tools() -> str:
    """Why no fleet can run here, "" when it can."""
    path = os.environ.get("PATH", "")
    return "" if shutil.which("mosquitto", path=f"{path}:/usr/sbin:/usr/local/sbin") else "mosquitto is not installed"
