"""Fingers: every target is large enough and far enough from the next; every word is whole, at any size of type."""

from __future__ import annotations

import pytest

from benchmarks import app_gallery as gallery
from edge.app.ui.kit import EdgeButton, EdgeLabel, Touchable
from edge.app.ui.kit.face import EdgeFace
from edge.app.ui.kit.fields import EdgeInput
from tests.app.ui.driver import Driver
from tests.app.ui.reach import too_near, too_small

SCALES = (1.0, 1.3, 2.0)


@pytest.mark.parametrize("scale", SCALES)
def test_targets(ui: Driver, scale: float) -> None:
    """Fails when something that can be touched is below 48 dp, or two stand closer than 8 dp."""
    root = ui.mount(gallery.build, size=(1280, 4000), scale=scale)
    ui.frame(3)
    assert too_small(ui, root) == []
    assert too_near(ui, root) == []


@pytest.mark.parametrize("scale", SCALES)
def test_big_targets(ui: Driver, scale: float) -> None:
    """Fails when Stop or Sign would be below 56 dp."""
    button = ui.mount(lambda: EdgeButton(text="Sign", icon="check-decagram", big=True), scale=scale)
    assert button.height >= 56 and button.width >= 56


@pytest.mark.parametrize("size", [(1280, 4000), (800, 7000), (400, 9000)])
@pytest.mark.parametrize("scale", SCALES)
def test_no_word_is_cut(ui: Driver, scale: float, size: tuple[int, int]) -> None:
    """Fails when words stand out of their widget or lie over one another's rows."""
    root = ui.mount(lambda: gallery.build(2 if size[0] > 840 else 1), size=size, scale=scale)
    ui.frame(3)
    for widget in ui.walk(root):
        if isinstance(widget, EdgeFace):
            assert widget.words.width <= widget.width + 1, widget.text
            assert widget.words.height <= widget.height + 1, widget.text
        if isinstance(widget, EdgeLabel) and widget.text and not widget.elide:
            assert widget.texture_size[0] <= widget.width + 1, widget.text
            assert widget.texture_size[1] <= widget.height + 1, widget.text
        if isinstance(widget, EdgeInput):
            assert widget.height + 1 >= widget.line_height


def test_children_stay_in_their_cards(ui: Driver) -> None:
    """Fails when something in a column is wider than the column."""
    root = ui.mount(gallery.build, size=(1280, 4000), scale=2.0)
    ui.frame(3)
    for widget in ui.walk(root):
        if isinstance(widget, Touchable):
            assert widget.x >= -1 and widget.right <= 1281, widget
