"""Settings: sections left, what can be set right. Every choice holds at once (edge.app.presenters.settings)."""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock

from edge.app.presenters.settings import SettingsPresenter, SettingsView
from edge.app.ui.kit import EdgeScreen, load_kv
from edge.app.ui.kit.let_go import let_go
from edge.app.ui.screens.settings_about import AboutPanel, AuditPanel
from edge.app.ui.screens.settings_parts import (
    SECTION_ICONS,
    BackupPanel,
    ChoiceCard,
    PinCard,
    SampleCard,
    SectionRow,
    WipeAfterCard,
    WipePanel,
)


class SettingsScreen(EdgeScreen):
    """See the module's docstring. One panel a section is made at its first use and kept."""

    name = "settings"

    def __init__(self, presenter: SettingsPresenter, workspace: Any, **kwargs: Any) -> None:
        self._made: dict[str, Any] = {}
        self._section = ""
        super().__init__(presenter, workspace, **kwargs)
        # `ids` holds its widgets weakly: what is taken off the screen must be kept by somebody.
        self._scroll, self._column = self.ids.scroll.__self__, self.ids.column.__self__
        self._top, self._choices = self.ids.top.__self__, self.ids.choices.__self__

    def choose(self, section: str) -> None:
        """A section was tapped."""
        self.presenter.show(section)
        self.pane = 1

    def on_hide(self) -> None:
        """What was typed is forgotten."""
        for part in self._made.values():
            part.clear_text()
        self.presenter.left()

    # ---- drawing --------------------------------------------------------------------------------------------

    def render(self, view: SettingsView) -> None:
        """See EdgeScreen."""
        sections = [(name, (name, words, hint, name == view.section)) for name, words, hint in view.sections]
        self.ids.sections.set_items(sections, self._row, _show_section)
        self._choices.set_items(
            [(choice.name, choice) for choice in view.choices],
            lambda: ChoiceCard(chosen=self._chosen),
            lambda card, choice: card.show(choice),
        )
        self.ids.told.say(view.message, "alert-circle", "danger")
        parts = self._parts_of(view)
        if view.section != self._section:
            self._place(view.section, parts, bool(view.choices))
        elif view.section == "security":
            self._stack([self._top, *(part for part, _ in parts)])
        for part, data in parts:
            part.show(data)

    def _parts_of(self, view: SettingsView) -> list[tuple[Any, Any]]:
        """The panels of a section with what they show."""
        if view.section == "display":
            return [(self._make("sample", SampleCard), None)]
        if view.section == "security" and view.wipe_after is not None:
            first = [(self._make("wipe_after", WipeAfterCard), view.wipe_after)]
            return first + ([(self._make("pin", PinCard), view.pin)] if view.pin is not None else [])
        if view.section == "backup" and view.backup is not None:
            return [(self._make("backup", BackupPanel), view.backup)]
        if view.section == "wipe" and view.wipe is not None:
            return [(self._make("wipe", WipePanel), view.wipe)]
        if view.section == "audit" and view.audit is not None:
            return [(self._make("audit", AuditPanel), view.audit)]
        if view.section == "about" and view.about is not None:
            return [(self._make("about", AboutPanel), view.about)]
        return []

    def _make(self, name: str, panel: Any) -> Any:
        if name not in self._made:
            self._made[name] = panel(presenter=self.presenter)
        return self._made[name]

    def _place(self, section: str, parts: list[tuple[Any, Any]], choices: bool) -> None:
        """Put the panels of a section on the screen. The log fills the pane itself; the others scroll together."""
        for part in self._made.values():
            if part.parent is not None:
                part.parent.remove_widget(part)
            part.clear_text()
        self._section = section
        host = self.ids.host
        host.clear_widgets()
        if section == "audit":
            host.add_widget(parts[0][0])
        else:
            host.add_widget(self._scroll)
            self._stack(([self._top] if choices else []) + [part for part, _ in parts])
            self._scroll.scroll_y = 1

    def _stack(self, wanted: list[Any]) -> None:
        """These parts one under another."""
        if list(reversed(self._column.children)) != wanted:
            self._column.clear_widgets()
            for part in wanted:
                self._column.add_widget(part)

    def _row(self) -> SectionRow:
        row = SectionRow()
        row.bind(on_release=lambda row: self.choose(row.name))
        return row

    def _chosen(self, name: str, value: Any) -> None:
        # After the touch has ended: a new language or size makes this screen anew.
        Clock.schedule_once(lambda _dt: self.presenter.choose(name, value), 0)

    def clear_text(self) -> None:
        """Empty all panels, also those that are off the screen."""
        for part in self._made.values():
            part.clear_text()
        self._section = ""
        super().clear_text()
        self.presenter.clear()
        let_go(self, self._top, self._column, self._scroll, *self._made.values())


def _show_section(row: SectionRow, data: tuple[str, str, str, bool]) -> None:
    row.name, row.text, row.hint, row.selected = data
    row.icon = SECTION_ICONS[row.name]


load_kv(__file__)
