"""Taking a screen apart when it is thrown away.

Kivy's text fields are never freed once they were drawn, and each holds its parents: a whole screen would stay in memory
at every lock. Kivy and the kit also remember the widths of words that were drawn. Both are let go of here.
"""

from __future__ import annotations

from kivy.cache import Cache
from kivy.lang import Builder
from kivy.uix.recycleview import RecycleView
from kivy.uix.widget import Widget

from edge.app.ui.kit.base import text_width

_OF_FIELDS = ("textinput.label", "textinput.width")  # Kivy's own: keys are the words that were typed


def take_apart(root: Widget) -> None:
    """Part every widget below from its parent; rows of a recycled list stay whole, since Kivy uses them again.

    Their rules end first: a part that outlives its neighbours would ask for them at the next change of the theme, and
    a ReferenceError there ends the app.
    """
    if isinstance(root, RecycleView):
        return
    Builder.unbind_widget(root.uid)
    for child in tuple(root.children):
        take_apart(child)
        root.remove_widget(child)


def forget_words() -> None:
    """Empty what remembers words by their text. Costs a measuring of what is drawn next."""
    text_width.cache_clear()
    for name in _OF_FIELDS:
        Cache.remove(name)


def let_go(*roots: Widget) -> None:
    """The end of a screen: call it when its words are cleared."""
    for root in roots:
        take_apart(root)
    forget_words()
