"""`edge app`: make the desk from what the command line says, then let Kivy draw it.

The order matters: telemetry off, Kivy's environment set, the vault's folder held by this process only; the engines are
other processes (edge.app.engine) and begin to load once the first frame is drawn.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (telemetry off before anything else is imported)

import json
import os
import re
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge.app.background import Worker
from edge.app.engine.multiplex import engines_for, places_for
from edge.app.presenters.errors import words
from edge.app.vault.disk import no_core_dumps
from edge.app.vault.protocol import Vault
from edge.app.workspace import Services, Workspace
from edge.bundle.update_lock import FileUpdateLock, lock_folder
from edge.errors import EdgeError, InputError, MissingToolError, ResourceError

DEFAULT_SIZE = (1280, 800)
LEAST_PX, MOST_PX = 320, 8192
_SIZE = re.compile(r"([0-9]{3,4})x([0-9]{3,4})")
_LOCAL_DISPLAY = re.compile(r"(?:unix)?:([0-9]+)(?:\.[0-9]+)?")


@dataclass(frozen=True)
class AppOptions:
    """density: pixels per dp, panel dots per inch / 160. keyboard: letters on the screen. speech_model: a folder.

    slots: where builds are installed, None where the named bundles are all there is.
    """

    bundles: tuple[Path, ...] = ()
    data: Path | None = None
    samples: bool = False
    density: float = 1.0
    size: tuple[int, int] = DEFAULT_SIZE
    fullscreen: bool = False
    keyboard: bool = False
    speech_model: Path | None = None
    slots: Path | None = None


def data_folder(given: Path | None) -> Path:
    """Where patients' data lies: --data, else EDGE_HOME/bedside, else the user's data folder."""
    if given is not None:
        return given
    if home := os.environ.get("EDGE_HOME"):
        return Path(home) / "bedside"
    from platformdirs import user_data_path

    return user_data_path("edge") / "bedside"


def parse_size(text: str) -> tuple[int, int]:
    """ "1280x800" as pixels. Errors: InputError."""
    size = _SIZE.fullmatch(text.strip().lower())
    pixels = [int(one) for one in size.groups()] if size else []
    if not pixels or not all(LEAST_PX <= one <= MOST_PX for one in pixels):
        raise InputError("not a size", where=text[:20], mend="give width x height in pixels, as 1280x800")
    return pixels[0], pixels[1]


def need_screen(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> None:
    """Somebody can see the window. Errors: ResourceError where SDL would draw into memory and say nothing."""
    if not sys.platform.startswith("linux") or "ANDROID_ARGUMENT" in environment:
        return
    told = [environment.get(name, "") for name in ("SDL_VIDEODRIVER", "WAYLAND_DISPLAY")]
    display = environment.get("DISPLAY", "")
    there = _x_server_there(display, root) if display else any((root / "dev" / "dri").glob("card*"))
    if not any(told) and not there:
        raise ResourceError("no screen was found", mend="start it in a desktop session, or on a device with a panel")


def _x_server_there(display: str, root: Path) -> bool:
    """Whether a local X server listens; one of another machine is taken at its word."""
    local = _LOCAL_DISPLAY.fullmatch(display)
    if local is None or (root / "tmp" / ".X11-unix" / f"X{local[1]}").exists():
        return True
    try:
        names = (root / "proc" / "net" / "unix").read_text(errors="replace").split()
    except OSError:
        return True
    return f"@/tmp/.X11-unix/X{local[1]}" in names


def utc_now() -> datetime:
    """The clock of the desk."""
    return datetime.now(UTC)


def choose_vault(folder: Path) -> Vault:
    """SQLCipher where it is installed, the rows of our own elsewhere; a vault that is there keeps its kind."""
    from edge.app.vault import rows, sqlcipher

    try:
        kept = json.loads((folder / "vault" / "key.json").read_bytes()).get("kind")
    except (OSError, ValueError, AttributeError):
        kept = None
    if kept == rows.RowVault.kind or (kept is None and not sqlcipher.available()):
        return rows.RowVault(folder)
    return sqlcipher.SqlCipherVault(folder)


def make_workspace(options: AppOptions) -> Workspace:
    """The desk with real services. Errors: ResourceError when another app holds the folder; those of the vault."""
    folder = data_folder(options.data)
    speech = None
    if options.speech_model is not None:
        from edge.app.speech.pipe import speech_factory

        speech = speech_factory(options.speech_model)
    places = places_for(options.bundles, options.slots)
    services = Services(
        vault=choose_vault(folder / "vault"),
        clock=utc_now,
        monotonic=time.monotonic,
        new_id=lambda: uuid.uuid4().hex,
        engines=engines_for(options.bundles, results=folder / "results", slots=options.slots),
        profiles={task: place.shown for task, place in places.items()},
        places={task: place.now for task, place in places.items()},
        speech=speech,
        background=Worker(),
        update_lock=FileUpdateLock(lock_folder()),
        data_folder=folder,
    )
    return Workspace(services)


def on_window() -> None:
    """Called once the first frame was drawn; a test puts its own here."""


def run_app(options: AppOptions) -> int:
    """Open the app; ends when it is closed. Errors: ResourceError without a screen, MissingToolError without Kivy."""
    need_screen()
    try:
        from edge.app.ui.environment import prepare
    except ImportError as error:  # pragma: no cover - the app's own folder is there
        raise MissingToolError("the app is not installed", mend="pip install 'edge-kit[app]'") from error
    try:
        prepare(
            density=options.density,
            size=options.size,
            fullscreen=options.fullscreen,
            on_screen_keyboard=options.keyboard,
        )
        from edge.app.ui.clipboard import CopiedHere, no_selection_buffer

        no_selection_buffer()
        from edge.app.ui.app import BedsideApp
        from edge.app.ui.safety_net import SafetyNet
    except ImportError as error:
        raise MissingToolError(
            f"{error.name or 'kivy'} is not installed", mend="install the app: pip install 'edge-kit[app]'"
        ) from error
    from edge.app.kiosk.notify import Notifier

    no_core_dumps()  # a crash must not leave a patient's words on the disk
    workspace = make_workspace(options)
    notifier = Notifier.from_environment()

    def shown() -> None:
        copied = CopiedHere()
        workspace.subscribe(lambda: copied.forget() if workspace.locked else None)
        notifier.ready()
        on_window()

    app = BedsideApp(workspace, samples=options.samples, on_window=shown, alive=notifier.alive)

    def refused(error: EdgeError) -> None:
        if app.shell is not None:
            app.shell.presenter.say(words(error))

    SafetyNet(refused).spread()
    try:
        app.run()
    finally:
        notifier.stopping()
        workspace.quit()
    return 0
