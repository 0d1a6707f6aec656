"""A row of a ranked list that opens to why it stands there."""

from __future__ import annotations

from typing import Any

from kivy.metrics import dp
from kivy.properties import BooleanProperty, ListProperty, NumericProperty, OptionProperty, StringProperty
from kivy.uix.widget import Widget

from edge.app.ui.kit.base import EdgeColumn, EdgeRow, EdgeSurface, Touchable
from edge.app.ui.kit.face import EdgeLink, EdgePill
from edge.app.ui.kit.load import load_kv


class RankHead(Touchable, EdgeSurface, EdgeRow):
    """The line of a row that a tap opens and closes."""


class EdgeRank(EdgeSurface, EdgeColumn):
    """An option: rank, name, code, score and its bar. on_toggle when its head is tapped; `is_open` the presenter sets.

    Children (EdgeBasis, buttons) stand under the bar; add them only while it is open. dimmed: dismissed.
    """

    rank = StringProperty("")
    name = StringProperty("")
    code = StringProperty("")
    score_text = StringProperty("")
    fraction = NumericProperty(0.0)
    is_open = BooleanProperty(False)
    pinned = BooleanProperty(False)
    dimmed = BooleanProperty(False)
    stacked = BooleanProperty(False)  # the code stands under the name
    narrow = BooleanProperty(False)  # and the score beside the code

    __events__ = ("on_toggle",)

    def add_widget(self, widget: Widget, *args: Any, **kwargs: Any) -> None:
        """Put a widget under the bar."""
        if "content" in self.ids:
            self.ids.content.add_widget(widget, *args, **kwargs)
        else:
            super().add_widget(widget, *args, **kwargs)

    def on_toggle(self) -> None:
        """Default handler: nothing."""


class EdgeBasis(EdgeRow):
    """Supports, against or missing, with its items. items: [(key, words, linked)]; on_item(key) when a linked one is
    tapped. Items without a place are pills that cannot be tapped.
    """

    role = OptionProperty("supports", options=("supports", "against", "missing"))
    items = ListProperty([])

    __events__ = ("on_item",)

    def on_kv_post(self, _base: Any) -> None:
        """Make the items once the kv rule made their place."""
        self.fbind("items", self._fill)
        self._fill()

    def _fill(self, *_: object) -> None:
        box = self.ids.flow
        box.clear_widgets()
        for key, words, linked in self.items:
            if linked:
                link = EdgeLink(text=words, icon="link")
                link.bind(on_release=lambda _link, key=key: self.dispatch("on_item", key))
                box.add_widget(link)
            else:
                box.add_widget(
                    EdgePill(
                        text=words, min_height=dp(48), inset_y=dp(4), medium=False, radius=dp(8), kind_of_text="label"
                    )
                )

    def on_item(self, key: str) -> None:
        """Default handler: nothing."""


load_kv(__file__)
