"""A picture of the window, drawn into a buffer of its own: for the gallery, for tests and for the documentation."""

from __future__ import annotations

from typing import Any

from kivy.graphics import ClearBuffers, ClearColor, Fbo

from edge.app.ui.theme import theme


def pixels(window: Any) -> tuple[int, int, bytes]:
    """Width, height and RGBA rows from the bottom up. Needs a backend that draws.

    The window's own buffer will not do: without a display it keeps the size that it was opened with.
    """
    width, height = (int(value) for value in window.size)
    buffer = Fbo(size=(width, height), with_stencilbuffer=True)
    with buffer:
        ClearColor(*theme.background)
        ClearBuffers(clear_stencil=True)
    shown = [child.canvas for child in reversed(window.children)]
    for canvas in shown:
        window.canvas.remove(canvas)
        buffer.add(canvas)
    buffer.draw()
    data = bytes(buffer.pixels)
    for canvas in shown:
        buffer.remove(canvas)
        window.canvas.add(canvas)
    return width, height, data
