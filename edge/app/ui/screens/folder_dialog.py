"""Choose a text file, or a folder to save in: a dialog over edge.app.presenters.folders. It writes nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kivy.properties import StringProperty
from kivy.uix.boxlayout import BoxLayout

from edge.app.i18n import tr
from edge.app.presenters.device_view import size
from edge.app.presenters.folders import Entry, FolderBrowser, FolderView
from edge.app.ui.kit import EdgeButton, EdgeDialog, EdgeSurface, Touchable, load_kv
from edge.app.ui.screens.note_parts import ShownWide  # noqa: F401  (known to kv)


class FolderEntry(Touchable, EdgeSurface, BoxLayout):
    """A folder or a file to tap."""

    name = StringProperty("")
    icon = StringProperty("folder-open")
    word = StringProperty("")

    def show(self, entry: Entry) -> None:
        """Draw it."""
        self.name = entry.name
        self.icon = "folder-open" if entry.folder else "file-document"
        self.word = tr("folder.folder_word") if entry.folder else f"{tr('folder.file_word')}, {size(entry.size_bytes)}"


class FolderBody(BoxLayout):
    """What the dialog shows between its title and its buttons."""


class FolderDialog(EdgeDialog):
    """chosen(path) is called with a file (when the browser lists files) or with the folder that is shown."""

    def __init__(self, browser: FolderBrowser, chosen: Callable[[Path], None], title: str, **kwargs: Any) -> None:
        self.browser, self._chosen = browser, chosen
        self.saves = not browser.endings
        super().__init__(**kwargs)
        self.title, self.icon = title, "folder-open"
        self.parts = FolderBody()
        # What is not shown hangs on no parent, and ids are weak.
        self._held = [self.parts.ids[name] for name in ("new", "name", "make")]
        self.add_widget(self.parts)
        self.parts.ids.up.bind(on_release=lambda *_: browser.up())
        self.parts.ids.make.bind(on_release=lambda *_: self._make())
        self._end = browser.subscribe(self.draw)
        self.draw()

    def draw(self, *_: object) -> None:
        """Draw the folder that is shown now."""
        view, ids = self.browser.view, self.parts.ids
        ids.path.text = view.path
        ids.up.disabled = not view.can_go_up
        self._places(view)
        ids.entries.set_items([((e.name, e.folder), e) for e in view.entries], self._entry, _show)
        words = ""
        if view.error:
            words = tr(view.error)
        elif not view.entries:
            words = tr("folder.empty" if self.saves else "folder.empty_files")
        elif view.left_out:
            words = tr("folder.left_out", count=view.left_out)
        ids.told.text = words
        ids.free.text = self._free(view) if self.saves else ""
        ids.new_box.show(self.saves and view.writable)
        cancel = ("cancel", tr("folder.cancel"), "plain")
        wanted = [("choose", tr("folder.choose"), "primary"), cancel] if self.saves and view.writable else [cancel]
        if list(self.actions) != wanted:
            self.actions = wanted

    def _free(self, view: FolderView) -> str:
        if not view.writable:
            return tr("folder.not_writable")
        if view.free_bytes is None:
            return tr("folder.free_unknown")
        return tr("folder.free", amount=size(view.free_bytes))

    def _places(self, view: FolderView) -> None:
        flow = self.parts.ids.places
        flow.clear_widgets()
        for place in view.places:
            words = tr("folder.home") if place.kind == "home" else tr("folder.disk", name=place.name)
            button = EdgeButton(text=words, icon="account" if place.kind == "home" else "content-save", kind="plain")
            button.bind(on_release=lambda _button, place=place: self.browser.go(place))
            flow.add_widget(button)

    def _entry(self) -> FolderEntry:
        entry = FolderEntry()
        entry.bind(on_release=lambda entry: self._take(entry.name))
        return entry

    def _take(self, name: str) -> None:
        path = self.browser.file(name)
        if path is None:
            self.browser.enter(name)
            self.parts.ids.scroll.scroll_y = 1
            return
        self.close()
        self._chosen(path)

    def _make(self) -> None:
        field = self.parts.ids.name
        key = self.browser.make_folder(field.text)
        field.error = tr(key) if key else ""
        if not key:
            field.clear_text()

    def on_action(self, key: str) -> None:
        """Save here, or leave."""
        if key == "choose":
            self._chosen(self.browser.path)

    def on_close(self) -> None:
        """Names of files may name patients: forget them."""
        self._end()
        self.clear_text()

    def clear_text(self) -> None:
        """Empty it."""
        ids = self.parts.ids
        ids.entries.clear_text()
        ids.name.clear_text()
        ids.places.clear_widgets()
        ids.path.text = ids.told.text = ids.free.text = ""


def _show(row: FolderEntry, entry: Entry) -> None:
    row.show(entry)


load_kv(__file__)
