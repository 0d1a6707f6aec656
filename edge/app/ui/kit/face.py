"""Icon and words on a rounded ground: buttons, chips, pills, banners. Words are never cut; they wrap and it grows."""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock
from kivy.metrics import dp
from kivy.properties import (
    BooleanProperty,
    ColorProperty,
    NumericProperty,
    ObjectProperty,
    OptionProperty,
    StringProperty,
)
from kivy.uix.label import Label
from kivy.uix.widget import Widget

from edge.app.ui.icons import glyph
from edge.app.ui.kit.base import KINDS, EdgeSurface, Touchable, text_width
from edge.app.ui.kit.fold import folded
from edge.app.ui.kit.load import load_kv
from edge.app.ui.theme import ICON_FONT, MEDIUM

MEASURED = (
    *("text", "icon", "trailing", "font_px", "icon_px", "medium", "align", "pad_x", "pad_y", "gap"),
    *("min_height", "min_width", "most_width", "size", "pos", "size_hint", "parent"),
)


class EdgeFace(EdgeSurface, Widget):
    """An icon before words, laid out by itself. With size_hint_x None it is as wide as its words need.

    most_width: where words begin to wrap then (0: the parent's width, if it has one). trailing: an icon after them.
    """

    text = StringProperty("")
    icon = StringProperty("")
    trailing = StringProperty("")
    paint = ColorProperty([0, 0, 0, 1])
    kind_of_text = OptionProperty("label", options=KINDS)
    medium = BooleanProperty(True)
    align = OptionProperty("center", options=("center", "left"))
    font_px = NumericProperty(15)
    icon_px = NumericProperty(20)
    icon_points = NumericProperty(20)
    pad_x = NumericProperty(16)
    pad_y = NumericProperty(10)
    gap = NumericProperty(10)
    min_height = NumericProperty(32)
    min_width = NumericProperty(0)
    most_width = NumericProperty(0)
    words = ObjectProperty(None)
    mark = ObjectProperty(None)
    tail = ObjectProperty(None)

    def __init__(self, **kwargs: Any) -> None:
        self._look: tuple[object, ...] = ()
        self._arrange_soon = Clock.create_trigger(self.arrange, -1)
        super().__init__(**kwargs)
        self.words = Label(halign="left", valign="middle")
        self.mark = Label(font_name=ICON_FONT)
        self.tail = Label(font_name=ICON_FONT)
        for child in (self.mark, self.words, self.tail):
            self.add_widget(child)
        for name in MEASURED:
            self.fbind(name, self._arrange_soon)
        self.fbind("paint", self._repaint)
        self._repaint()
        self.arrange()

    def _repaint(self, *_: object) -> None:
        for label in (self.words, self.mark, self.tail):
            label.color = label.disabled_color = self.paint

    def _limit(self) -> float:
        if self.most_width:
            return float(self.most_width)
        parent = self.parent
        if parent is None or parent.width <= 100:  # 100 is the size of a widget that nobody has laid out yet
            return float("inf")
        padding = getattr(parent, "padding", (0, 0, 0, 0))
        sides = padding[0] + padding[2] if hasattr(padding, "__len__") and len(padding) == 4 else 0
        return max(float(self.min_width), parent.width - sides) if hasattr(parent, "orientation") else float("inf")

    def arrange(self, *_: object) -> None:
        """Measure, take the size that is needed, place icon and words."""
        if folded(self):
            return
        words, mark, tail = self.words, self.mark, self.tail
        words.font_name, words.font_size = MEDIUM if self.medium else "Roboto", self.font_px
        mark.font_size = tail.font_size = self.icon_px
        words.text, mark.text, tail.text = self.text, glyph(self.icon), glyph(self.trailing)
        lead = self.icon_px + (self.gap if self.text else 0) if self.icon else 0
        after = self.icon_px + self.gap if self.trailing else 0
        sides = 2 * (self.pad_x + self.inset_x)
        natural = text_width(self.text, words.font_name, self.font_px) + 1 if self.text else 0
        if self.size_hint_x is None:
            wanted = max(natural + lead + after + sides, self.min_width)
            self.width = min(wanted, max(self._limit(), self.min_width))
        room = max(self.width - sides - lead - after, dp(16))
        words.text_size = (min(natural, room), None) if natural > room else (None, None)
        words.halign = "center" if self.align == "center" and not self.icon else "left"
        look = (words.text, words.font_name, words.font_size, tuple(words.text_size), words.halign)
        if look != self._look:
            self._look = look
            words.texture_update()
            words._trigger_texture.cancel()  # it is drawn now; Kivy would draw it once more before the frame
        words.size = words.texture_size
        if self.size_hint_y is None:
            self.height = max(self.min_height, words.height + 2 * (self.pad_y + self.inset_y) if self.text else 0)
        mark.size = (self.icon_px if self.icon else 0, self.icon_px)
        tail.size = (self.icon_px if self.trailing else 0, self.icon_px)
        used = lead + (words.width if self.text else 0)
        x = self.center_x - (used + after) / 2 if self.align == "center" else self.x + self.pad_x + self.inset_x
        mark.pos = (round(x), round(self.center_y - mark.height / 2))
        words.pos = (round(x + lead), round(self.center_y - words.height / 2))
        tail.pos = (round(self.right - self.pad_x - tail.width), round(self.center_y - tail.height / 2))


class EdgeButton(Touchable, EdgeFace):
    """A command. kind: primary (one in a group), plain, danger, quiet. big: 56 dp (Stop, Sign, gloves)."""

    kind = OptionProperty("plain", options=("primary", "plain", "danger", "quiet"))
    big = BooleanProperty(False)


class EdgeIconButton(Touchable, EdgeFace):
    """A round command with an icon only; `spoken` names it for whoever tests or describes the screen."""

    kind = OptionProperty("quiet", options=("primary", "plain", "danger", "quiet"))
    big = BooleanProperty(False)
    spoken = StringProperty("")


class EdgeChip(Touchable, EdgeFace):
    """A finding with three states. A tap asks for the next (on_cycle); it does not change itself: the presenter does.

    presence: present (check), absent (minus), unknown. eye: OD, OS, OU or '', shown before the name.
    """

    name = StringProperty("")
    presence = OptionProperty("unknown", options=("present", "absent", "unknown"))
    eye = StringProperty("")

    __events__ = ("on_cycle",)

    def on_release(self) -> None:
        """Pass the tap on."""
        self.dispatch("on_cycle")

    def on_cycle(self) -> None:
        """Default handler: nothing."""


class EdgePill(EdgeFace):
    """A state in a word or two: icon, word, tone (tokens.TONES)."""

    tone = StringProperty("plain")


class EdgeTag(EdgeFace):
    """A small mark beside a text (24 dp): origin, state, laterality."""

    tone = StringProperty("plain")


class EdgeLink(Touchable, EdgeFace):
    """A word that leads to its place: evidence, a finding, a line of the transcript."""


class EdgeBanner(Touchable, EdgeFace):
    """A message over the width of its pane. own_icon: another one than the tone's. A tap is on_release."""

    tone = StringProperty("plain")
    own_icon = StringProperty("")


load_kv(__file__)
