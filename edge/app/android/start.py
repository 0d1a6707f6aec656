"""The app on Android: what `edge app` does elsewhere, with the row vault and an engine that is a service.

Order: private folders, keys that the app was built with, window. The bundle is unpacked, and the engine's service
started, once the first frame is drawn, in the engine client's own thread.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (telemetry off before anything else is imported)

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from edge.app.android import jobs
from edge.app.android.assets import FOLDER, AssetIndex, Pieces, read_index, trust_keys, unpack
from edge.app.android.places import ENGINE_SERVICE, VERIFY_SERVICE, Places
from edge.app.android.platform import Platform, Wanted, on_new_intent, run_in_ui_thread
from edge.app.background import Worker
from edge.app.engine.multiplex import TASKS
from edge.app.engine.socket_client import SocketClient
from edge.app.main import utc_now
from edge.app.presenters.errors import words
from edge.app.vault.disk import no_core_dumps
from edge.app.vault.rows import RowVault
from edge.app.workspace import Services, Workspace
from edge.bundle.keys import KeyStore
from edge.bundle.update_lock import FileUpdateLock
from edge.errors import EdgeError

# Unpacking a large bundle happens while the client waits.
CONNECT_S = 1800.0

Told = Callable[[EdgeError], None]


class Device(Protocol):
    """What the app needs of the platform; platform.Platform is the real one."""

    def asset(self, name: str) -> Any: ...

    def external(self) -> Path | None: ...

    def start_service(self, name: str, argument: str = "") -> None: ...

    def stop_service(self, name: str) -> None: ...

    def debuggable(self) -> bool: ...


def tasks_of(index: AssetIndex) -> tuple[str, ...]:
    """The app's tasks that the carried bundle has."""
    paths = {one.path for one in index.files}
    return tuple(task for task in TASKS if f"tasks/{task}.json" in paths)


class EngineStarter:
    """Unpacks the bundle and starts the engine's service; called in the client's thread whenever nobody answers.

    told: gets the error when the bundle cannot be unpacked, from that thread.
    """

    def __init__(self, index: AssetIndex, pieces: Pieces, places: Places, device: Device, told: Told) -> None:
        self._index, self._pieces, self._places, self._device, self._told = index, pieces, places, device, told

    def __call__(self) -> None:
        """Errors: OSError, which the client tells as an engine that could not be started."""
        external = self._device.external()
        pushed = external / FOLDER / "bundles" / self._index.bundle_digest if external is not None else None
        try:
            unpack(self._index, self._pieces, self._places.bundle, pushed=pushed)
        except EdgeError as error:
            self._told(error)
            raise OSError(error.what) from error
        self._device.start_service(ENGINE_SERVICE)


def make_workspace(index: AssetIndex, places: Places, launch: Callable[[], None]) -> Workspace:
    """The desk with the phone's services. Errors: those of the vault."""
    client = SocketClient(places.socket, launch=launch, connect_s=CONNECT_S)
    tasks = tasks_of(index)
    return Workspace(
        Services(
            vault=RowVault(places.data / "vault"),
            clock=utc_now,
            monotonic=time.monotonic,
            new_id=lambda: uuid.uuid4().hex,
            engines=dict.fromkeys(tasks, client),
            profiles=dict.fromkeys(tasks, "bundle"),
            background=Worker(),
            update_lock=FileUpdateLock(places.data),
            data_folder=places.data,
        )
    )


def take_job(wanted: Wanted, places: Places, device: Device) -> bool:
    """Start a verification that an intent asks for; whether one was started.

    Only a debug build does: another app on a clinic's tablet must not be able to keep it busy. The engine's service
    ends before, so that two models are never in memory.
    """
    external = device.external()
    if wanted.action != jobs.ACTION or not device.debuggable() or external is None:
        return False
    folder = jobs.job_folder(external, wanted.run)
    if folder is None or not folder.is_dir():
        return False
    if jobs.busy(places):
        jobs.refuse(folder)
        return False
    device.stop_service(ENGINE_SERVICE)
    device.start_service(VERIFY_SERVICE, f"{external}\n{wanted.run}")
    return True


def main() -> int:
    """Open the app; ends when it is closed."""
    platform, places = Platform(), Places.from_environment()
    places.settle()
    index = read_index(platform.asset)
    trust_keys(index, platform.asset, KeyStore(places.home))

    from edge.app.ui.environment import prepare

    prepare(density=platform.density(), size=platform.size_px(), fullscreen=True, home=places.cache / "kivy")
    from edge.app.ui.clipboard import CopiedHere
    from edge.app.ui.phone import PhoneApp
    from edge.app.ui.safety_net import SafetyNet

    no_core_dumps()
    platform.hide_from_others(run_in_ui_thread)
    errors: SimpleQueue[EdgeError] = SimpleQueue()  # from the client's thread to the screen's
    workspace = make_workspace(index, places, EngineStarter(index, platform.asset, places, platform, errors.put))

    def refused(error: EdgeError) -> None:
        if app.shell is not None:
            app.shell.presenter.say(words(error))

    def each_frame(_now_s: float) -> None:
        while not errors.empty():
            refused(errors.get())

    def shown() -> None:
        copied = CopiedHere()
        workspace.subscribe(lambda: copied.forget() if workspace.locked else None)
        take_job(platform.wanted(), places, platform)

    app = PhoneApp(workspace, on_window=shown, alive=each_frame)
    on_new_intent(lambda intent: take_job(platform.wanted(intent), places, platform))
    SafetyNet(refused).spread()
    try:
        app.run()
    finally:
        workspace.quit()
    return 0
