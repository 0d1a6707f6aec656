"""Lists that change little at a time: rows are found by key and reused, nothing that did not change is touched."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from kivy.properties import ObjectProperty
from kivy.uix.recycleboxlayout import RecycleBoxLayout
from kivy.uix.recycleview import RecycleView
from kivy.uix.recycleview.views import RecycleDataViewBehavior, _cached_views
from kivy.uix.widget import Widget

from edge.app.ui.kit.base import EdgeColumn, EdgeFlow
from edge.app.ui.kit.emptying import empty_whole
from edge.app.ui.kit.load import load_kv

Data = TypeVar("Data")
Key = Hashable


class _Keyed:
    """set_items for a layout."""

    children: Any
    add_widget: Any
    remove_widget: Any

    def set_items(
        self,
        items: Sequence[tuple[Key, Data]],
        factory: Callable[[], Widget],
        update: Callable[[Any, Data], None],
    ) -> None:
        """Show these rows. A row keeps its widget as long as its key is there; `update` runs only for changed data.

        Raises
        ------
        ValueError: two rows with one key.
        """
        rows: dict[Key, tuple[Widget, Any]] = self.__dict__.setdefault("_rows", {})
        wanted = dict(items)
        if len(wanted) != len(items):
            raise ValueError("two rows have the same key")
        for key in [key for key in rows if key not in wanted]:
            self.remove_widget(rows.pop(key)[0])
        for key, data in items:
            if key not in rows:
                row = factory()
                update(row, data)
                rows[key] = (row, data)
            elif rows[key][1] != data:
                update(rows[key][0], data)
                rows[key] = (rows[key][0], data)
        # children[0] is the last one drawn; move only when the order differs.
        order = [rows[key][0] for key, _ in items]
        if list(reversed(self.children)) != order:
            for row in [child for child in self.children if child in order]:
                self.remove_widget(row)
            for row in order:
                self.add_widget(row)

    def row(self, key: Key) -> Any:
        """The widget of a row, or None."""
        return self.__dict__.get("_rows", {}).get(key, (None, None))[0]

    def clear_text(self) -> None:
        """Take every row away, emptied first: something may still hold it."""
        for widget, _ in self.__dict__.pop("_rows", {}).values():
            empty_whole(widget)
            self.remove_widget(widget)


class EdgeList(_Keyed, EdgeColumn):
    """Rows one under another, up to about 200: set_items([(key, data)], factory, update)."""


class EdgeFlowList(_Keyed, EdgeFlow):
    """The same for chips that flow into lines."""


class EdgeRecycleRow(RecycleDataViewBehavior):
    """Mixin for a row of EdgeRecycle: its properties are set from the dictionaries of `data`."""

    index = 0
    _shown: tuple[str, ...] = ()

    def refresh_view_attrs(self, view: Any, index: int, data: dict[str, Any]) -> None:
        """Called when the row stands for another item."""
        self.index, self._shown = index, tuple(data)
        super().refresh_view_attrs(view, index, data)

    def clear_text(self) -> None:
        """Forget the item: words become '', objects None (such a property must allow it)."""
        row: Any = self
        for name in self._shown:
            if isinstance(getattr(row, name, None), str):
                setattr(row, name, "")
            elif isinstance(row.property(name, True), ObjectProperty):
                setattr(row, name, None)


class EdgeRecycle(RecycleView):
    """A long list (500 rows and more): `viewclass`, `data` as dictionaries, `row_height` in the layout's default_size.

    Only the rows on the screen exist.
    """

    data: Any

    def set_data(self, data: list[dict[str, Any]]) -> None:
        """Show these; nothing happens when they are the same."""
        if data != self.data:
            self.data = data

    def clear_text(self) -> None:
        """Forget every item; empty also the rows that Kivy keeps aside to use again."""
        self.data = []
        self.refresh_from_data()
        adapter: Any = self.view_adapter
        aside = [row for rows in adapter.dirty_views.values() for row in rows.values()]
        for row in (*adapter.views.values(), *aside, *_cached_views.get(self.layout_manager.viewclass, ())):
            empty_whole(row)


__all__ = ["EdgeFlowList", "EdgeList", "EdgeRecycle", "EdgeRecycleRow", "RecycleBoxLayout"]

load_kv(__file__)
