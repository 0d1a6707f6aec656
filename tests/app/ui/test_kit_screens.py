"""The base of the screens, and what the kit empties, folds and holds still: else words stay or touches are lost."""

from __future__ import annotations

from typing import Any

from kivy.uix.boxlayout import BoxLayout

from edge.app.ui.kit import (
    EdgeButton,
    EdgeField,
    EdgeLabel,
    EdgeList,
    EdgeNumberPad,
    EdgeRecycle,
    EdgeScreen,
    EdgeScroll,
    EdgeSearch,
    fold,
)
from edge.app.ui.kit.screen import EdgePane
from tests.app.ui.driver import Driver
from tests.app.ui.test_kit import Line, calls, column


class Told(EdgeScreen):
    """A screen that counts its drawings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.drawn: list[Any] = []
        super().__init__(*args, **kwargs)
        for name in ("left", "right"):
            pane = EdgePane()
            pane.add_widget(EdgeLabel(text=name))
            self.add_widget(pane)

    def render(self, view: Any) -> None:
        """Remember it."""
        self.drawn.append(view)


def presenter() -> Any:
    """A presenter over a number."""
    from edge.app.presenters.base import Presenter

    class Count(Presenter[int]):
        number = 0

        def make_view(self) -> int:
            return self.number

    return Count(0)


def test_a_screen_draws_once_a_frame_and_only_when_shown(ui: Driver) -> None:
    """Fails when a burst of changes draws a burst, or a hidden screen draws."""
    count = presenter()
    screen = ui.mount(lambda: Told(count, None))
    screen.show()
    assert screen.drawn == [0]
    for count.number in range(1, 20):
        count.refresh()
    ui.frame()
    assert screen.drawn == [0, 19]
    ui.frame(3)
    assert screen.drawn == [0, 19]
    screen.hide()
    count.number = 50
    count.refresh()
    ui.frame()
    assert screen.drawn == [0, 19]
    screen.show()
    assert screen.drawn == [0, 19, 50]


def test_a_screen_has_two_panes_or_tabs(ui: Driver) -> None:
    """Fails when a narrow window loses a pane, or a wide one has tabs."""
    screen = ui.mount(lambda: Told(presenter(), None, panes=["Findings", "Differential"]), size=(1280, 800))
    assert screen.wide and {"left", "right"} <= set(ui.words().split("\n"))
    assert abs(screen.left.width / screen.width - 0.42) < 0.01
    ui.resize((800, 1280))
    ui.frame(3)
    assert not screen.wide and "right" not in ui.words().split("\n")
    ui.tap(ui.find(text="Differential"))
    assert screen.pane == 1 and "right" in ui.words().split("\n")
    screen.pane = 0
    ui.frame(2)
    assert "left" in ui.words().split("\n")


def test_clear_text_leaves_no_word(ui: Driver) -> None:
    """Fails when a locked screen keeps a patient's word in some widget, also in the pane that is not shown."""
    from benchmarks import app_gallery as gallery

    screen = Told(presenter(), None)
    screen.left.add_widget(gallery.build())
    ui.mount(screen, size=(700, 900))
    screen.clear_text()
    ui.frame(3)
    left = [w.text for pane in (screen.left, screen.right) for w in ui.walk(pane) if getattr(w, "text", "")]
    assert all(len(words) == 1 for words in left), left


def test_scroll_shows_what_it_is_asked_for(ui: Driver) -> None:
    """Fails when a link leads to a row that stays out of sight."""
    labels = [EdgeLabel(text=f"Row {n}") for n in range(100)]

    def build() -> BoxLayout:
        root, scroll = BoxLayout(), EdgeScroll()
        scroll.add_widget(column(*labels))
        root.add_widget(scroll)
        return root

    root = ui.mount(build, size=(600, 400))
    scroll = root.children[0]
    scroll.show(labels[90])
    ui.frame(2)
    assert 0 <= labels[90].to_window(*labels[90].pos)[1] <= 400


def test_a_folded_widget_takes_no_touch(ui: Driver) -> None:
    """What is transparent or disabled swallows touches: a button below would seem dead."""
    pad, below = EdgeNumberPad(), EdgeButton(text="Below")
    box = ui.mount(lambda: column(pad, below))
    height, pressed = pad.height, calls(below, "on_release")
    fold(pad, False)
    ui.frame(3)
    assert pad.size == [0, 0] and box.height < height
    ui.theme.scale = 1.3
    ui.frame(3)
    assert pad.size == [0, 0]
    ui.tap(below)
    assert len(pressed) == 1
    fold(pad, True)
    ui.frame(3)
    assert pad.opacity == 1 and pad.height > height
    search = ui.mount(lambda: EdgeSearch(hint="Find", size_hint_x=None, width=400))
    ui.frame(2)
    ui.touch(search.right - 10, search.center_y)
    assert search.typing
    search.text = "eye"
    ui.frame(2)
    ui.tap(search.ids.button)
    assert search.text == "" and search.ids.button.width == 0


def test_a_steady_field_moves_nothing(ui: Driver) -> None:
    """Words that come while somebody types push the next field away under the finger."""
    field, below = EdgeField(label="Born", steady=True, help_icon="calendar"), EdgeButton(text="Below")
    ui.mount(lambda: column(field, below))
    place = tuple(below.pos)
    for field.help, field.error in (("2 May 1957", ""), ("", "no such day"), ("", "")):
        ui.frame(3)
        assert tuple(below.pos) == place
    field.help = "2 May 1957"
    ui.frame(2)
    assert "2 May 1957" in ui.words(field)
    field.clear_text()
    assert field.help == ""


def test_rows_are_emptied_before_they_go(ui: Driver) -> None:
    """A row that something still holds after a lock must hold no word of a patient."""
    rows = ui.mount(lambda: EdgeList())
    rows.set_items([("a", "Ana")], EdgeLabel, lambda label, words: setattr(label, "text", words))
    row = rows.row("a")
    rows.clear_text()
    assert row.text == "" and row.parent is None

    def build() -> EdgeRecycle:
        recycle = EdgeRecycle()
        recycle.viewclass = Line
        recycle.set_data([{"text": f"Ana {number}"} for number in range(50)])
        return recycle

    recycle = ui.mount(build, size=(800, 600))
    ui.frame(4)
    seen = [widget for widget in ui.walk(recycle) if isinstance(widget, Line)]
    recycle.set_data([{"text": "Ana alone"}])
    ui.frame(4)
    assert len(seen) > 3
    recycle.clear_text()
    assert not [widget.text for widget in seen if widget.text]


def test_large_type_has_one_pane(ui: Driver) -> None:
    """Two panes with type of double size hold a word or two a line."""

    def two() -> EdgeScreen:
        screen = EdgeScreen()
        screen.add_widget(EdgePane())
        screen.add_widget(EdgePane())
        return screen

    screen = ui.mount(two, size=(1280, 800), scale=1.3)
    assert screen.wide
    ui.theme.scale = 2.0
    ui.frame(2)
    assert not screen.wide
