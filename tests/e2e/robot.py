"""A robot at the bedside: a virtual screen, `edge app` on it, and xdotool for fingers and keys."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.e2e.world import REPO


class Robot:
    """Start the app with `arguments`; `see` waits for words on the screen, `tap`, `write` and `key` act on it."""

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        size: tuple[int, int] = (1280, 800),
    ) -> None:
        self.folder, self.size = folder, size
        self._arguments, self._environment = list(arguments), dict(environment)
        self._screen: subprocess.Popen[bytes] | None = None
        self.app: subprocess.Popen[bytes] | None = None
        self.display = ""
        self._stream: Any = None

    def __enter__(self) -> Robot:
        read, write = os.pipe()
        screen = f"{self.size[0]}x{self.size[1]}x24"
        self._screen = subprocess.Popen(
            # -noreset: without it the server starts anew when its last client goes, and the next one finds no display.
            ["Xvfb", "-displayfd", str(write), "-screen", "0", screen, "-noreset", "-nolisten", "tcp"],
            pass_fds=(write,),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        if not select.select([read], [], [], 30)[0]:
            raise RuntimeError("Xvfb did not start")
        with os.fdopen(
            read, encoding="ascii"
        ) as line:  # the whole line: the server dies of a pipe that is closed early
            self.display = f":{line.readline().strip()}"
        self.start()
        return self

    def start(self) -> None:
        """Start the app (again)."""
        path = self.folder / f"probe-{time.monotonic_ns()}.sock"
        self.app = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.bedside_probe", str(path), *self._arguments],
            cwd=REPO,
            # Nothing of this process: the tests of the kit hide the screen from it (SDL_VIDEODRIVER).
            env={**self._environment, "DISPLAY": self.display},
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "app.err").open("ab"),
        )
        deadline = time.monotonic() + 60
        link = socket.socket(socket.AF_UNIX)
        while True:
            try:
                link.connect(str(path))
                break
            except OSError:
                if time.monotonic() > deadline or self.app.poll() is not None:
                    raise RuntimeError(f"the app did not start: {self.errors()[-2000:]}") from None
                time.sleep(0.1)
        self._stream = link.makefile("rw", encoding="utf-8")

    def errors(self) -> str:
        """What the app wrote to stderr."""
        return (self.folder / "app.err").read_text(errors="replace")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.picture(self.folder / "last.png")  # a fixture is not told of a failure; pytest keeps the folder of one
        for process in (self.app, self._screen):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()

    # ---- eyes -----------------------------------------------------------------------------------------------

    def look(self, text: str | None = None) -> list[dict[str, Any]]:
        """What shows words now; with `text`, what shows these."""
        self._stream.write(json.dumps({"text": text}) + "\n")
        self._stream.flush()
        found: list[dict[str, Any]] = json.loads(self._stream.readline())
        return found

    def words(self) -> list[str]:
        """All words on the screen."""
        return [one["text"] for one in self.look()]

    def find(self, text: str, *, kind: str = "", exact: bool = False) -> list[dict[str, Any]]:
        """What shows these words now, also when it is scrolled out of sight."""
        return [
            one for one in self.look(text) if (not kind or one["kind"] == kind) and (not exact or one["text"] == text)
        ]

    def see(self, text: str, *, within_s: float = 20, **options: Any) -> dict[str, Any]:
        """Wait until words are there; returns the front one. Errors: AssertionError with what is there."""
        deadline = time.monotonic() + within_s
        while not (found := self.find(text, **options)):
            if time.monotonic() > deadline:
                raise AssertionError(f"{text!r} is not on the screen: {self.words()}")
            time.sleep(0.05)
        return next((one for one in reversed(found) if not one["clipped"]), found[-1])

    def steady(self, text: str, **options: Any) -> dict[str, Any]:
        """As `see`, once it stands still: a finger is slower than a layout."""
        found = self.see(text, **options)
        for _ in range(40):
            time.sleep(0.05)
            again = self.see(text, **options)
            if (again["x"], again["y"]) == (found["x"], found["y"]):
                break
            found = again
        return found

    def gone(self, text: str, *, within_s: float = 20) -> None:
        """Wait until words are on the screen no more."""
        deadline = time.monotonic() + within_s
        while self.look(text):
            if time.monotonic() > deadline:
                raise AssertionError(f"{text!r} is still on the screen")
            time.sleep(0.05)

    def picture(self, path: Path) -> None:
        """What the screen shows, as PNG, where a tool for it is installed."""
        try:
            subprocess.run(
                ["import", "-display", self.display, "-window", "root", str(path)], check=False, capture_output=True
            )
        except FileNotFoundError:
            return

    # ---- hands ----------------------------------------------------------------------------------------------

    def xdotool(self, *arguments: str) -> None:
        """One gesture."""
        subprocess.run(["xdotool", *arguments], check=True, env={"PATH": os.environ["PATH"], "DISPLAY": self.display})

    def tap(self, text: str, **options: Any) -> None:
        """Touch the middle of what shows these words; what is out of sight is scrolled to with the wheel."""
        found = self.steady(text, **options)
        for _ in range(80):
            if not found["clipped"]:
                break
            down = found["y"] > self.size[1] // 2
            self.xdotool("mousemove", str(min(found["x"], self.size[0] - 40)), str(self.size[1] // 2))
            self.xdotool("click", "5" if down else "4", "sleep", "0.1")
            found = self.steady(text, **options)
        self.tap_at(found["x"], found["y"])

    def tap_at(self, x: int, y: int) -> None:
        """Touch a place."""
        self.xdotool("mousemove", str(x), str(y), "mousedown", "1", "sleep", "0.06", "mouseup", "1", "sleep", "0.06")

    def write(self, text: str) -> None:
        """Type on a keyboard."""
        self.xdotool("type", "--delay", "12", text)

    def fill(self, place: dict[str, Any], text: str) -> None:
        """Write into a field in place of what is there; the cursor takes a moment to come."""
        for _ in range(3):
            self.tap_at(place["x"], place["y"])
            time.sleep(0.3)
            self.key("ctrl+a")
            self.write(text)
            time.sleep(0.2)
            if self.find(text, exact=True):
                return
        raise AssertionError(f"the field does not take {len(text)} letters: {self.words()}")

    def key(self, name: str) -> None:
        """Press a key by its X name."""
        self.xdotool("key", name)

    def kill(self) -> None:
        """A power cut for the app."""
        if self.app is not None:
            self.app.send_signal(signal.SIGKILL)
            self.app.wait()
