"""`edge app` as it is, with eyes for a robot: tells over a socket where on the screen a text stands.

Only reading goes through here. Every touch and every key comes from outside, through the X server, as a person's would.
A question is a line of JSON {"text": ...} or {"all": true}; the answer is a line with the visible widgets that show it.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any


def describe(widget: Any) -> dict[str, Any] | None:
    """A widget that shows words: its text, its middle from the top left in pixels, its size."""
    text = getattr(widget, "text", "") or getattr(widget, "hint", "")
    if not isinstance(text, str) or not text.strip() or widget.width <= 1 or widget.height <= 1:
        return None
    window = widget.get_parent_window()
    if window is None or widget.opacity == 0:
        return None
    x, y = widget.to_window(*widget.center)
    return {
        "text": text,
        "kind": type(widget).__name__,
        "x": round(x),
        "y": round(window.height - y),
        "width": round(widget.width),
        "height": round(widget.height),
        "clipped": clipped(widget, x, y),
        "disabled": bool(getattr(widget, "disabled", False)),
    }


def clipped(widget: Any, x: float, y: float) -> bool:
    """Whether its middle is scrolled out of sight."""
    parent = widget.parent
    while parent is not None and parent is not parent.get_parent_window():
        if hasattr(parent, "scroll_y"):
            left, low = parent.to_window(parent.x, parent.y)
            if not (left <= x <= left + parent.width and low <= y <= low + parent.height):
                return True
        parent = parent.parent
    return False


def visible(window: Any) -> list[dict[str, Any]]:
    """All of them, front ones last."""
    found = []
    for child in reversed(window.children):
        for widget in child.walk():
            told = describe(widget)
            if told:
                found.append(told)
    return found


def serve(path: Path) -> None:
    """Answer questions for ever, each in the thread that draws."""
    from kivy.clock import Clock
    from kivy.core.window import Window

    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(1)

    def answer(connection: socket.socket) -> None:
        with connection, connection.makefile("rw", encoding="utf-8") as stream:
            for line in stream:
                question = json.loads(line)
                done = threading.Event()
                told: list[dict[str, Any]] = []

                def look(_dt: float, told: list[dict[str, Any]] = told, done: threading.Event = done) -> None:
                    told.extend(visible(Window))
                    done.set()

                Clock.schedule_once(look, 0)
                done.wait(20)
                wanted = question.get("text")
                matching = [one for one in told if wanted is None or wanted in one["text"]]
                stream.write(json.dumps(matching) + "\n")
                stream.flush()

    def run() -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()


def main() -> None:
    """bedside_probe.py SOCKET ARGUMENTS...: the arguments are those of `edge app`."""
    path = Path(sys.argv[1])
    sys.argv = ["edge", "app", *sys.argv[2:]]
    from edge.app import main as app_main

    started = app_main.on_window

    def on_window() -> None:
        started()
        serve(path)

    app_main.on_window = on_window
    from edge.cli import main as edge_main

    edge_main()


if __name__ == "__main__":
    main()
