"""The transcript's rows: a recycler that stays smooth at 2,000 rows, since only the rows on the screen exist.

A recycler must know each row's height before the row is drawn. Heights are counted from the widths of words, each
measured once; a row that turns out higher when it is drawn corrects its own.
"""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock
from kivy.core.text import Label as CoreLabel
from kivy.metrics import dp
from kivy.properties import (
    BooleanProperty,
    ListProperty,
    NumericProperty,
    ObjectProperty,
    StringProperty,
)
from kivy.uix.boxlayout import BoxLayout

from edge.app.i18n import tr
from edge.app.presenters.note_text import Row, segments
from edge.app.ui.kit import EdgeRecycle, EdgeRecycleRow, EdgeSurface, Touchable, load_kv
from edge.app.ui.screens.note_markup import marked
from edge.app.ui.theme import theme
from edge.clinical.encounter.model import VisitText

SPEAKER_ICONS = {"clinician": "stethoscope", "patient": "account", "other": "account-plus", "": "help-circle"}
FONT = "Roboto"


class TranscriptRow(EdgeRecycleRow, Touchable, EdgeSurface, BoxLayout):
    """A row: its number, who speaks where a turn begins, the words. lit: a note line stands on it."""

    number = NumericProperty(0)
    speaker = StringProperty("")
    opens = BooleanProperty(False)
    markup_text = StringProperty("")
    lit = BooleanProperty(False)
    chosen = BooleanProperty(False)
    words_height = NumericProperty(0)

    def on_release(self) -> None:
        """Tell the list."""
        parent = self.parent
        while parent is not None and not isinstance(parent, TranscriptList):
            parent = parent.parent
        if parent is not None:
            parent.dispatch("on_row", self.number)

    def on_words_height(self, *_: object) -> None:
        """The words are higher than was counted: correct it."""
        parent = self.parent
        while parent is not None and not isinstance(parent, TranscriptList):
            parent = parent.parent
        if parent is not None:
            parent.correct(self.number, self.words_height)

    @staticmethod
    def icon_of(speaker: str) -> str:
        """Icon of a speaker."""
        return SPEAKER_ICONS[speaker]


class TranscriptList(EdgeRecycle):
    """on_row(number): a row was tapped."""

    rows = ObjectProperty((), allownone=True)
    marks = ListProperty([])

    __events__ = ("on_row",)

    def __init__(self, **kwargs: Any) -> None:
        self._widths: dict[str, float] = {}
        self._space = 0.0
        self._measured: tuple[float, float] = (0.0, 0.0)
        self._rows: tuple[Row, ...] = ()
        self._visit = VisitText()
        self._lit: tuple[int, int] = (0, -1)
        self._selected = 0
        self._look: tuple[Any, ...] = ()
        self._again = Clock.create_trigger(lambda *_: self._fill(force=True), -1)
        self._wanted_row = 0
        super().__init__(**kwargs)
        self.fbind("width", self._again)
        # Bound methods, not the trigger: they are held weakly, so that the list can go.
        theme.bind(overlay=self._look_changed, tiny=self._look_changed, tr=self._look_changed)

    def _look_changed(self, *_: object) -> None:
        self._again()

    def on_row(self, number: int) -> None:
        """Default handler: nothing."""

    def show_rows(self, rows: tuple[Row, ...], visit: VisitText, lit: tuple[int, int], selected: int) -> None:
        """Show these; what did not change is not made anew."""
        changed = rows is not self._rows or visit is not self._visit
        self._rows, self._visit = rows, visit
        if changed:
            self._lit, self._selected = lit, selected
            self._fill(force=True)
        elif (lit, selected) != (self._lit, self._selected):
            self._lit, self._selected = lit, selected
            for data in self.data:
                data["lit"] = lit[0] <= data["number"] <= lit[1]
                data["chosen"] = data["number"] == selected
            self.refresh_from_data()

    def scroll_to_row(self, number: int) -> None:
        """Bring a row to the upper third of the pane."""
        self._wanted_row = number
        Clock.schedule_once(self._scroll, -1)
        Clock.schedule_once(self._scroll, 0)

    def _scroll(self, *_: object) -> None:
        if not 0 < self._wanted_row <= len(self.data):
            return
        gap = self.layout_manager.spacing if self.layout_manager is not None else 0
        heights = [data["size"][1] + gap for data in self.data]
        total, above = sum(heights), sum(heights[: self._wanted_row - 1])
        room = total - self.height
        if room > 0:
            self.scroll_y = min(1.0, max(0.0, 1.0 - (above - self.height / 3) / room))

    def correct(self, number: int, words_height: float) -> None:
        """A row's words are this high."""
        if not 0 < number <= len(self.data):
            return
        data = self.data[number - 1]
        height = self._height(words_height, bool(data["opens"]))
        if data["number"] == number and height > data["size"][1] + 1:
            data["size"] = (data["size"][0], height)
            Clock.schedule_once(lambda *_: self.refresh_from_data(), 0)

    def _fill(self, *, force: bool = False) -> None:
        if self.width <= dp(101):
            return
        look = (self.width, theme.body, theme.night, theme.tr)
        if not force and look == self._look:
            return
        self._look = look
        if self._measured != (theme.body, theme.scale):
            self._measured = (theme.body, theme.scale)
            self._widths = {}
            self._space = self._width_of(" ")
        room = self.width - dp(ROW_SIDES)
        self.data = [self._data(row, room) for row in self._rows]

    def _data(self, row: Row, room: float) -> dict[str, Any]:
        lines = self.lines_of(row.text, room)
        mine = tuple(mark for mark in self._visit.marks if mark.start < row.end and row.start < mark.end)
        cut = segments(row.text, mine, row.start)
        return {
            "number": row.number,
            "speaker": row.speaker,
            "opens": row.opens,
            "markup_text": marked(cut, bold=False),
            "lit": self._lit[0] <= row.number <= self._lit[1],
            "chosen": row.number == self._selected,
            "size": (self.width, self._height(lines * self.line_height, row.opens)),
        }

    @property
    def line_height(self) -> float:
        """Pixels of a line of words."""
        if "\n" not in self._widths:
            self._widths["\n"] = float(CoreLabel(font_name=FONT, font_size=theme.body).get_extents("Ag")[1])
        return self._widths["\n"]

    def _height(self, words_height: float, opens: bool) -> float:
        head = theme.small * 1.35 + dp(4) if opens else 0
        return max(dp(48), words_height + head + dp(16))

    def lines_of(self, text: str, room: float) -> int:
        """Lines that a text takes in a width, counted as the label breaks it: at spaces, long words cut."""
        count, used = 1, 0.0
        for word in text.split():
            width = self._width_of(word)
            if used and used + self._space + width > room:
                count, used = count + 1, 0.0
            if width > room:
                extra = int(width // room)
                count, width = count + extra, width - extra * room
            used += width + (self._space if used else 0.0)
        return count

    def _width_of(self, word: str) -> float:
        found = self._widths.get(word)
        if found is None:
            label = CoreLabel(font_name=FONT, font_size=theme.body)
            found = self._widths[word] = float(label.get_extents(word)[0])
        return found

    def clear_text(self) -> None:
        """Forget every word, those that were measured too."""
        self._rows, self._visit, self._widths = (), VisitText(), {}
        self._measured, self._look = (0.0, 0.0), ()
        super().clear_text()

    def speaker_words(self, speaker: str) -> str:
        """Name of a speaker in the language in use."""
        return tr(f"note.speaker_{speaker or 'unknown'}")


# What stands beside the words of a row, in dp: paddings, number, the gap, the bar.
ROW_SIDES = 20 + 32 + 8 + 1

load_kv(__file__)
