"""Panels of the settings: choices, the sample of a text size, change of PIN, backup, wipe."""

from __future__ import annotations

from typing import Any

from kivy.properties import BooleanProperty, ObjectProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from edge.app.i18n import tr
from edge.app.presenters.pin_entry import PinView
from edge.app.presenters.safety import BackupView, WipeAfterView, WipeView
from edge.app.presenters.settings import Choice
from edge.app.ui.kit import EdgeCard, EdgeColumn, EdgeSurface, Touchable, load_kv
from edge.app.ui.screens.folder_dialog import FolderDialog
from edge.app.ui.screens.pin_panel import TONES, IconWords

SECTION_ICONS = {
    "display": "format-size",
    "clinical": "thermometer",
    "security": "lock",
    "backup": "content-save",
    "audit": "history",
    "about": "information",
    "wipe": "delete",
}
NIGHT_ICONS = {False: "white-balance-sunny", True: "weather-night"}


class SectionRow(Touchable, EdgeSurface, BoxLayout):
    """A section on the left."""

    name = StringProperty("display")
    icon = StringProperty("")
    text = StringProperty("")
    hint = StringProperty("")
    selected = BooleanProperty(False)


class ChoiceCard(EdgeCard):
    """A setting with few values. chosen(name, value) is called at a tap."""

    chosen = ObjectProperty(None, allownone=True)

    def show(self, choice: Choice) -> None:
        """Draw it."""
        ids = self.ids
        self._name = choice.name
        self._values = {str(value): value for value, _ in choice.options}
        ids.label.text, ids.hint.text = choice.label, choice.hint
        if choice.name == "night":
            ids.segment.options = [(str(value), words, NIGHT_ICONS[value]) for value, words in choice.options]
        else:
            ids.segment.options = [(str(value), words) for value, words in choice.options]
        ids.segment.selected = str(choice.value)

    def pick(self, key: str) -> None:
        """A value was tapped."""
        if self.chosen is not None and key in self._values:
            self.chosen(self._name, self._values[key])


class Panel(EdgeColumn):
    """A section's panel over the presenter."""

    presenter = ObjectProperty(None, allownone=True)

    def clear_text(self) -> None:
        """Nothing typed stays."""


class SampleCard(Panel):
    """How text looks in this size."""

    def show(self, _data: None) -> None:
        """It draws itself by the theme."""


class PinCard(Panel):
    """Another PIN, in three steps."""

    def show(self, view: PinView) -> None:
        """Draw a snapshot."""
        self.ids.pin.target = self.presenter
        self.ids.pin.show(view)

    def clear_text(self) -> None:
        """Nothing typed stays."""
        self.ids.pin.clear_text()


class WipeAfterCard(Panel):
    """After how many wrong PINs the data is destroyed; another value asks for the PIN."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # `ids` holds its widgets weakly: what is taken off the screen must be kept by somebody.
        self._asked = self.ids.asked.__self__

    def show(self, view: WipeAfterView) -> None:
        """Draw a snapshot."""
        ids = self.ids
        ids.segment.options = [(str(value), words) for value, words in view.options]
        ids.segment.selected = str(view.wanted)
        ids.message.say(view.message, *TONES[view.tone])
        wanted = [self._asked] if view.pin is not None else []
        if ids.host.children != wanted:
            ids.host.clear_widgets()
            for part in wanted:
                ids.host.add_widget(part)
        if view.pin is not None:
            ids.pin.target = self.presenter
            ids.pin.show(view.pin)

    def clear_text(self) -> None:
        """Nothing typed stays."""
        self.ids.pin.clear_text()


class BackupPanel(Panel):
    """Folder, passphrase twice, write."""

    def show(self, view: BackupView) -> None:
        """Draw a snapshot."""
        ids = self.ids
        ids.folder.text = view.folder
        if view.busy:
            ids.message.say(tr("settings.backup_writing"), "clock", "ink_2")
        else:
            ids.message.say(view.message, *TONES[view.tone])
        ids.write.disabled = view.busy
        if view.tone == "support":
            self.clear_text()

    def choose_folder(self) -> None:
        """Ask where it goes."""
        browser = self.presenter.backup.browser
        browser.refresh()
        FolderDialog(browser, lambda _path: self.presenter.refresh(), tr("folder.save_title")).open()

    def write(self) -> None:
        """Write the backup with what was typed."""
        self.presenter.backup.write(self.ids.passphrase.text, self.ids.again.text)

    def clear_text(self) -> None:
        """Nothing typed stays."""
        self.ids.passphrase.clear_text()
        self.ids.again.clear_text()


class WipePanel(Panel):
    """What is lost, the word, the PIN."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # `ids` holds its widgets weakly: what is taken off the screen must be kept by somebody.
        self._word, self._pin = self.ids.word_part.__self__, self.ids.pin_part.__self__

    def show(self, view: WipeView) -> None:
        """Draw a snapshot."""
        ids = self.ids
        part = self._word if view.pin is None else self._pin
        if ids.host.children != [part]:
            ids.host.clear_widgets()
            ids.host.add_widget(part)
        lines = [(str(number), words) for number, words in enumerate(view.lost)]
        ids.lost.set_items(lines, IconWords, _say_lost)
        ids.stays.say(view.stays, "check-circle", "support")
        ids.word.label = tr("settings.wipe_type", word=view.word)
        ids.word.show(view.typed)
        ids.next.disabled = not view.right
        if view.pin is not None:
            ids.pin.target = self.presenter
            ids.pin.show(view.pin)

    def typed(self, text: str) -> None:
        """A letter of the word."""
        if self.presenter is not None and text != self.presenter.wipe.typed:
            self.presenter.wipe.type(text)

    def clear_text(self) -> None:
        """Nothing typed stays."""
        self.ids.word.clear_text()
        self.ids.pin.clear_text()


def _say_lost(row: IconWords, words: str) -> None:
    row.say(words, "delete", "ink")


load_kv(__file__)
