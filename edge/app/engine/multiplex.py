"""Several bundles behind one door: which engine serves which task.

The first bundle on the command line that has a task serves it. Routing reads each manifest's list of tasks and nothing
else: no hashing, no signature. It decides who is asked; whether a bundle may be used is the engine's own check. A
bundle that cannot be read serves what no other one does, so that asking for it tells what is wrong.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.app.engine.bundle_place import BundlePlace
from edge.app.engine.client import EngineClient
from edge.app.engine.messages import NOTE
from edge.app.engine.pipe import PipeClient, host_command

TASKS = (NOTE, "differential", "ophthalmology")
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 << 20


def listed_tasks(bundle: Path) -> tuple[str, ...]:
    """The app's tasks that a bundle folder or .tar lists; () when it cannot be read."""
    try:
        if bundle.is_dir():
            with (bundle / MANIFEST).open("rb") as file:
                data = file.read(MAX_MANIFEST_BYTES)
        else:
            with tarfile.open(bundle, "r:") as archive:
                data = _member(archive)
        names = {str(entry["path"]) for entry in json.loads(data)["files"]}
    except (OSError, ValueError, KeyError, TypeError, tarfile.TarError):
        return ()
    return tuple(task for task in TASKS if f"tasks/{task}.json" in names)


def _member(archive: tarfile.TarFile) -> bytes:
    for member in archive:
        if member.isfile() and Path(member.name).name == MANIFEST and member.name.count("/") <= 1:
            file = archive.extractfile(member)
            return file.read(MAX_MANIFEST_BYTES) if file is not None else b""
    return b""


def routes(bundles: Sequence[Path], slots: Path | None = None) -> dict[str, Path]:
    """The bundle, as it was named, of each task that any of them can be asked for. slots: as BundlePlace has it."""
    found: dict[str, Path] = {}
    listed = [(bundle, listed_tasks(BundlePlace(bundle, slots).now())) for bundle in bundles]
    for bundle, tasks in listed:
        for task in tasks:
            found.setdefault(task, bundle)
    for bundle, tasks in listed:
        for task in TASKS if not tasks else ():
            found.setdefault(task, bundle)
    return found


def places_for(bundles: Sequence[Path], slots: Path | None = None) -> dict[str, BundlePlace]:
    """Task -> where its build lies."""
    return {task: BundlePlace(bundle, slots) for task, bundle in routes(bundles, slots).items()}


def engines_for(
    bundles: Sequence[Path],
    *,
    results: Path | None = None,
    force: bool = False,
    make: Callable[[Path], EngineClient] | None = None,
    slots: Path | None = None,
) -> dict[str, EngineClient]:
    """Task -> client, none of them started; tasks of the same bundle share one. make: in place of a child process.

    Each start of a child opens the build that is in force then.
    """

    def pipe(bundle: Path) -> EngineClient:
        place = BundlePlace(bundle, slots)
        return PipeClient(lambda: host_command(place.now(), results=results, force=force))

    routed = routes(bundles, slots)
    clients = {bundle: (make or pipe)(bundle) for bundle in dict.fromkeys(routed.values())}
    return {task: clients[bundle] for task, bundle in routed.items()}
