"""The widgets of the kit: what a finger, a keyboard and a render do to them."""

from __future__ import annotations

from typing import Any

from edge.app.ui.kit import (
    EdgeButton,
    EdgeChip,
    EdgeColumn,
    EdgeField,
    EdgeLabel,
    EdgeList,
    EdgeNumberPad,
    EdgeRank,
    EdgeRecycle,
    EdgeRecycleRow,
    EdgeSearch,
    EdgeSegment,
    EdgeStepper,
    EdgeStreamText,
    EdgeSwitch,
    EdgeTabs,
)
from edge.app.ui.kit.stream import MOST_CHARACTERS, paragraphs
from tests.app.ui.driver import Driver


def calls(widget: Any, event: str) -> list[tuple[Any, ...]]:
    """What an event of a widget was called with."""
    heard: list[tuple[Any, ...]] = []
    widget.bind(**{event: lambda _widget, *args: heard.append(args)})
    return heard


def column(*widgets: Any) -> EdgeColumn:
    """Widgets in a column."""
    box = EdgeColumn(pos_hint={"top": 1})
    for widget in widgets:
        box.add_widget(widget)
    return box


def test_a_press_shows_at_once(ui: Driver) -> None:
    """Fails when a finger sees nothing in the frame of its touch."""
    button = ui.mount(lambda: EdgeButton(text="Save"))
    seen = []
    ui.touch(*button.center, hold=lambda: seen.append(button.pressed) or True)
    assert seen == [True]
    assert not button.pressed


def test_a_button_is_as_wide_as_its_words(ui: Driver) -> None:
    """Fails when a new text is cut or the button keeps the old width."""
    button = ui.mount(lambda: EdgeButton(text="OK"))
    short = button.width
    button.text = "Not in transcript, confirm each one"
    ui.frame()
    assert button.width > short and button.words.width <= button.width


def test_a_disabled_button_does_nothing(ui: Driver) -> None:
    """Fails when a finger or the keyboard reaches what is switched off."""
    button = ui.mount(lambda: EdgeButton(text="Sign", disabled=True))
    heard = calls(button, "on_release")
    ui.tap(button)
    button.activate()
    assert heard == [] and ui.ring.stops() == []


def test_a_chip_asks_and_does_not_decide(ui: Driver) -> None:
    """Fails when a tap changes a finding without the presenter."""
    chip = ui.mount(lambda: EdgeChip(text="Halos"))
    heard = calls(chip, "on_cycle")
    ui.tap(chip)
    assert heard == [()] and chip.presence == "unknown"
    icons = set()
    for presence in ("present", "absent", "unknown"):
        chip.presence = presence
        ui.frame()
        icons.add(chip.mark.text)
    assert len(icons) == 3, "the states must differ by more than a colour"


def test_a_stepper_repeats_while_it_is_held(ui: Driver) -> None:
    """Fails when long-press does not repeat, never becomes big, or goes on after the finger left."""
    stepper = ui.mount(lambda: column(EdgeStepper(label="IOP OD", value_text="20", unit="mmHg"))).children[0]
    heard = calls(stepper, "on_step")
    plus = ui.find(icon="plus")
    ui.touch(*plus.to_window(*plus.center), hold=lambda: (1, True) in heard)
    assert heard[0] == (1, False) and heard.count((1, False)) == 11
    count = len(heard)
    ui.frame(50)
    assert len(heard) == count
    ui.tap(ui.find(icon="minus"))
    assert heard[-1] == (-1, False)


def test_a_stepper_says_its_range_without_colour(ui: Driver) -> None:
    """Fails when a critical value is only red."""
    stepper = ui.mount(lambda: column(EdgeStepper(label="IOP", value_text="52", unit="mmHg"))).children[0]
    icons = {grade: EdgeStepper.icon_of(grade, "52") for grade in ("normal", "low", "high", "critical")}
    assert len(set(icons.values())) == 4
    heard = calls(stepper, "on_edit")
    ui.tap(stepper.ids.value)
    assert heard == [()]
    stepper.value_text = ""
    ui.frame()
    assert "Not recorded" in ui.words(stepper)


def test_a_segment_asks_and_stacks(ui: Driver) -> None:
    """Fails when it selects by itself, or cuts words where they do not fit side by side."""
    options = [("a", "Allergies not asked"), ("b", "No known allergies"), ("c", "List")]
    segment = ui.mount(lambda: column(EdgeSegment(options=options, selected="a"))).children[0]
    heard = calls(segment, "on_select")
    assert not segment.stacked
    ui.tap(ui.find(text="List"))
    assert heard == [("c",)] and segment.selected == "a"
    ui.theme.scale = 2.0
    ui.root.size_hint_x, ui.root.width = None, 420
    ui.frame(3)
    assert segment.stacked and segment.height >= 3 * 48


def test_tabs_and_switch(ui: Driver) -> None:
    """Fails when a tab does not select itself, or a switch does."""
    tabs, switch = EdgeTabs(options=[("0", "One"), ("1", "Two")], selected="0"), EdgeSwitch(text="Night")
    ui.mount(lambda: column(tabs, switch))
    told, asked = calls(tabs, "on_select"), calls(switch, "on_toggle")
    ui.tap(ui.find(text="Two"))
    ui.tap(switch)
    assert told == [("1",)] and tabs.selected == "1"
    assert asked == [(True,)] and not switch.active


def test_a_field_commits_when_it_is_left(ui: Driver) -> None:
    """Fails when typing is lost, committed twice, or overwritten by a render while somebody types."""
    field, other = EdgeField(label="Name"), EdgeField(label="Bed")
    ui.mount(lambda: column(field, other))
    heard = calls(field, "on_commit")
    ui.tap(field.ids.input)
    ui.type("Ana")
    field.show("Overwritten")
    assert field.text == "Ana"
    ui.tap(other.ids.input)
    assert heard == [("Ana",)]
    ui.tap(field.ids.input)
    ui.tap(other.ids.input)
    assert heard == [("Ana",)]
    field.show("From the desk")
    assert field.ids.input.text == "From the desk"
    field.clear_text()
    assert field.ids.input.text == "" and heard == [("Ana",)]


def test_search_follows_each_letter_and_clears(ui: Driver) -> None:
    """Fails when the list would lag behind the typing, or the cross does not clear."""
    search = ui.mount(lambda: column(EdgeSearch(trailing="microphone"))).children[0]
    texts, trailed = calls(search, "text"), calls(search, "on_trail")
    ui.tap(search.ids.button)
    assert trailed == [()]
    ui.tap(search.ids.input)
    ui.type("ha")
    assert [args[0] for args in texts] == ["h", "ha"] and search.ids.button.icon == "close"
    ui.tap(search.ids.button)
    assert search.text == "" and search.ids.input.text == ""


def test_a_list_keeps_the_widgets_of_its_keys(ui: Driver) -> None:
    """Fails when a row that did not change is touched, or a moved one is made anew."""
    rows = ui.mount(lambda: EdgeList())
    touched: list[str] = []

    def update(label: EdgeLabel, words: str) -> None:
        touched.append(words)
        label.text = words

    rows.set_items([("a", "A"), ("b", "B")], EdgeLabel, update)
    first = rows.row("a")
    touched.clear()
    rows.set_items([("b", "B"), ("a", "A2"), ("c", "C")], EdgeLabel, update)
    assert touched == ["A2", "C"] and rows.row("a") is first
    assert [w.text for w in reversed(rows.children)] == ["B", "A2", "C"]
    rows.set_items([("c", "C")], EdgeLabel, update)
    assert [w.text for w in rows.children] == ["C"]
    rows.clear_text()
    assert rows.children == [] and rows.row("c") is None


class Line(EdgeRecycleRow, EdgeLabel):
    """A row of a long list."""


def test_a_long_list_makes_only_the_rows_that_are_seen(ui: Driver) -> None:
    """Fails when 500 visits make 500 widgets."""

    def build() -> EdgeRecycle:
        recycle = EdgeRecycle()
        recycle.viewclass = Line
        recycle.set_data([{"text": f"Visit {n}"} for n in range(500)])
        return recycle

    recycle = ui.mount(build, size=(800, 600))
    ui.frame(3)
    assert 5 < len(recycle.ids.rows.children) < 30
    recycle.scroll_y = 0
    ui.until(lambda: any(row.text == "Visit 499" for row in recycle.ids.rows.children))
    recycle.clear_text()
    ui.frame(2)
    assert not recycle.ids.rows.children


def test_stream_text_freezes_paragraphs(ui: Driver) -> None:
    """Fails when a long draft is one texture, drawn whole at each token."""
    stream = ui.mount(lambda: EdgeStreamText(), size=(600, 300))
    stream.text = "One.\nTwo"
    ui.until(lambda: len(stream.ids.column.children) == 2)
    first, last = reversed(stream.ids.column.children)
    textures = []
    first.bind(texture=lambda *_: textures.append(1))
    stream.text = "One.\nTwo and more"
    ui.until(lambda: last.text == "Two and more")
    assert textures == []
    long = "word " * 1000
    assert max(map(len, paragraphs(long))) <= MOST_CHARACTERS and " ".join(paragraphs(long)).split() == long.split()


def test_stream_text_is_drawn_some_times_a_second(ui: Driver) -> None:
    """Fails when every token draws."""
    stream = ui.mount(lambda: EdgeStreamText(), size=(600, 300))
    drawn = stream.drawn
    for n in range(50):
        stream.text = "word " * n
    ui.until(lambda: stream.drawn > drawn)
    assert stream.drawn == drawn + 1


def test_stream_text_follows_only_a_reader_at_the_end(ui: Driver) -> None:
    """Fails when the page runs away under somebody who reads further up."""
    stream = ui.mount(lambda: EdgeStreamText(), size=(400, 200))
    stream.text = "\n".join(f"Line {n}" for n in range(60))
    ui.until(lambda: len(stream.ids.column.children) == 60)
    ui.frame(2)
    assert stream.at_end
    stream.scroll_y = 0.6
    top = (1 - stream.scroll_y) * (stream.ids.column.height - stream.height)
    stream.text += "\nAnother\nand another"
    ui.until(lambda: len(stream.ids.column.children) == 62)
    ui.frame(2)
    assert not stream.at_end
    assert abs((1 - stream.scroll_y) * (stream.ids.column.height - stream.height) - top) < 2


def test_number_pad(ui: Driver) -> None:
    """Fails when a key says the wrong digit, or a physical keyboard does not reach the pad."""
    pad = ui.mount(lambda: column(EdgeNumberPad())).children[0]
    digits, deleted, entered = calls(pad, "on_digit"), calls(pad, "on_delete"), calls(pad, "on_enter")
    for key in "407":
        ui.tap(ui.find(key=key))
    ui.tap(ui.find(key="delete"))
    ui.tap(ui.find(key="enter"))
    assert [d for (d,) in digits] == ["4", "0", "7"] and deleted == entered == [()]
    ui.key("5")
    ui.key("backspace")
    ui.key("enter")
    assert digits[-1] == ("5",) and len(deleted) == len(entered) == 2


def test_a_rank_opens_by_its_presenter(ui: Driver) -> None:
    """Fails when a row opens by itself and moves others under a finger."""
    rank = ui.mount(lambda: column(EdgeRank(rank="1", name="Anterior uveitis", fraction=0.4))).children[0]
    heard = calls(rank, "on_toggle")
    ui.tap(ui.find(icon="chevron-down"))
    assert heard == [()] and not rank.is_open


def test_a_field_outlives_its_form(ui: Driver) -> None:
    """If not: a tap after a form was closed takes the focus from its field, and the app ends with a traceback."""
    field = EdgeField(label="Name")
    ui.mount(lambda: column(field))

    def gone(*_: object) -> None:
        raise ReferenceError("weakly-referenced object no longer exists")

    field.bind(on_commit=gone)
    field.text = "MORALES"
    field.commit()
    assert field.text == "MORALES"
