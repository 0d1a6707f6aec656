"""Android itself, through pyjnius and python-for-android's `android` module. Nothing else of edge imports either.

Java is asked from Python's main thread or from a thread that began there; classes of the app itself are looked up once,
in the main thread, since a thread that Java did not start sees the system's classes only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edge.app.android.places import ENGINE_SERVICE, VERIFY_SERVICE
from edge.errors import MissingToolError
from edge.runtime.java import Java, PyJnius

READ_BYTES: Final = 1 << 20
FLAG_SECURE: Final = 0x2000  # android.view.WindowManager.LayoutParams
FLAG_DEBUGGABLE: Final = 0x2  # android.content.pm.ApplicationInfo


@dataclass(frozen=True)
class Wanted:
    """What an intent asks for. action: of the intent; run: its extra of that name."""

    action: str
    run: str


@dataclass
class Platform:
    """This app on this device."""

    java: Java = field(default_factory=PyJnius)

    def __post_init__(self) -> None:
        try:
            self._activity: Any = self.java.find("org.kivy.android.PythonActivity").mActivity
            package = str(self._activity.getPackageName())
            self._services: dict[str, Any] = {
                name: self.java.find(f"{package}.Service{name}") for name in (ENGINE_SERVICE, VERIFY_SERVICE)
            }
            self._channels: Any = self.java.find("java.nio.channels.Channels")
            self._buffers: Any = self.java.find("java.nio.ByteBuffer")
        except Exception as error:
            raise MissingToolError("this is not the Android app", mend="build it with `edge package`") from error

    def asset(self, name: str) -> Iterator[bytes]:
        """The bytes of an asset, a piece at a time. Errors: OSError."""
        try:
            stream = self._activity.getAssets().open(name)
        except Exception as error:  # a java.io.FileNotFoundException
            raise FileNotFoundError(name) from error
        channel = self._channels.newChannel(stream)
        try:
            while True:
                buffer = self._buffers.allocate(READ_BYTES)
                count = 0
                # A compressed asset gives a few kilobytes a time: the buffer is filled before it crosses over.
                while count < READ_BYTES and (read := int(channel.read(buffer))) > 0:
                    count += read
                if not count:
                    return
                yield self.java.to_bytes(buffer.array())[:count]
        finally:
            channel.close()

    def external(self) -> Path | None:
        """The app's folder that a cable can write to (no permission is needed); None while it is not mounted."""
        folder = self._activity.getExternalFilesDir(None)
        return None if folder is None else Path(str(folder.getAbsolutePath()))

    def start_service(self, name: str, argument: str = "") -> None:
        """Start one of the app's own services; one that runs goes on."""
        self._services[name].start(self._activity, argument)

    def stop_service(self, name: str) -> None:
        """End a service with its process."""
        self._services[name].stop(self._activity)

    def density(self) -> float:
        """Pixels per dp."""
        return max(0.5, min(4.0, float(self._activity.getResources().getDisplayMetrics().density)))

    def size_px(self) -> tuple[int, int]:
        """Of the window."""
        metrics = self._activity.getResources().getDisplayMetrics()
        return int(metrics.widthPixels), int(metrics.heightPixels)

    def debuggable(self) -> bool:
        """Whether this is a debug build."""
        return bool(int(self._activity.getApplicationInfo().flags) & FLAG_DEBUGGABLE)

    def hide_from_others(self, run_in_ui: Callable[[Callable[[], None]], None]) -> None:
        """No screenshot, no screen recording, nothing in the list of recent apps: a patient's words are on it."""

        def hide() -> None:
            self._activity.getWindow().addFlags(FLAG_SECURE)

        run_in_ui(hide)

    def wanted(self, intent: Any = None) -> Wanted:
        """What the intent that started (or woke) the app asks for."""
        given = intent if intent is not None else self._activity.getIntent()
        if given is None:
            return Wanted("", "")
        return Wanted(str(given.getAction() or ""), str(given.getStringExtra("run") or ""))


def run_in_ui_thread(function: Callable[[], None]) -> None:
    """Call a function in Android's own thread, where windows may be changed."""
    from android.runnable import run_on_ui_thread  # type: ignore[import-not-found]

    run_on_ui_thread(function)()


def on_new_intent(function: Callable[[Any], object]) -> None:
    """Call a function with each intent that wakes the running app."""
    from android import activity  # type: ignore[import-not-found]

    activity.bind(on_new_intent=function)
