"""What the eye examination asks in a dialog, always under the name of its eye: acuity, findings, one of a few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge.app.i18n import tr
from edge.app.presenters.eye import EyePresenter, OptionView, PartView
from edge.app.ui.kit import EdgeChip, EdgeField, EdgeFlowList, EdgeLabel, EdgeSegment
from edge.app.ui.screens.entries import CaseDialog
from edge.clinical.encounter.model import Eye


def chips(box: Any, options: tuple[OptionView, ...], enabled: bool, press: Callable[[str], None]) -> None:
    """Chips of a list to pick from."""

    def make() -> EdgeChip:
        chip = EdgeChip()
        chip.bind(on_cycle=lambda chip: press(chip.name))
        return chip

    def update(chip: EdgeChip, data: tuple[OptionView, bool]) -> None:
        chip.name, chip.text, chip.disabled = data[0].key, data[0].text, not data[1]
        chip.presence = "present" if data[0].selected else "unknown"

    box.set_items([(one.key, (one, enabled)) for one in options], make, update)


class PickDialog(CaseDialog):
    """One of a few."""

    def __init__(self, title: str, options: tuple[OptionView, ...], done: Callable[[str], None]) -> None:
        super().__init__(title=title, icon="eye", actions=[("cancel", tr("eye.cancel"), "plain")])
        self._done, picks = done, EdgeFlowList()
        chips(picks, options, True, self._choose)
        self.add_widget(picks)

    def _choose(self, key: str) -> None:
        self.close()
        self._done(key)


class AcuityDialog(CaseDialog):
    """The lines of the chart in the notation in use, and what is below them."""

    def __init__(self, presenter: EyePresenter, eye: Eye) -> None:
        self.presenter, self.eye = presenter, eye
        super().__init__(
            title=tr("eye.va_pick", eye=tr(f"eye.{eye.value.lower()}_name")),
            icon="eye",
            actions=[("done", tr("eye.done"), "primary"), ("clear", tr("eye.va_not"), "plain")],
        )
        self._notation = EdgeSegment()
        self._notation.bind(on_select=lambda _segment, key: self._choose_notation(key))
        self._same = EdgeLabel(kind="small", tone="ink_2")
        self._lines, self._below = EdgeFlowList(), EdgeFlowList()
        for child in (self._notation, self._same, self._lines, self._below):
            self.add_widget(child)
        self.render()

    def render(self) -> None:
        """Draw what was chosen."""
        self.presenter.refresh()
        view = self.presenter.view
        side = next((one for one in view.sides if one.eye is self.eye), None)
        if side is None:
            self.close()
            return
        self._notation.options = [(one.key, one.text) for one in view.notations]
        self._notation.selected = view.notation
        self._same.text = side.va_same or " "
        for box, found in ((self._lines, view.lines), (self._below, view.below)):
            options = tuple(OptionView(key, words, key == side.va_key) for key, words in found)
            chips(box, options, not view.signed, self._choose)

    def _choose(self, key: str) -> None:
        self.presenter.choose_va(self.eye, key)
        self.render()

    def _choose_notation(self, key: str) -> None:
        self.presenter.choose_notation(key)
        self.render()

    def on_action(self, key: str) -> None:
        """Not measured."""
        if key == "clear":
            self.presenter.choose_va(self.eye, "")


class PartDialog(CaseDialog):
    """The findings of a structure, and the clinician's own words."""

    def __init__(self, presenter: EyePresenter, eye: Eye, key: str) -> None:
        self.presenter, self.eye, self.key = presenter, eye, key
        part = self._part()
        super().__init__(
            title=f"{part.title if part else ''}, {tr(f'eye.{eye.value.lower()}_name')}",
            icon="eye",
            actions=[("done", tr("eye.done"), "primary"), ("clear", tr("eye.not_examined"), "plain")],
        )
        self._picks = EdgeFlowList()
        self._own = EdgeField(label=tr("eye.own_words"), hint=tr("eye.own_words_hint", eye=eye.value))
        self._own.bind(on_commit=lambda _field, text: self.presenter.write_own(self.eye, self.key, text))
        self.add_widget(self._picks)
        self.add_widget(self._own)
        self.render()

    def _part(self) -> PartView | None:
        self.presenter.refresh()
        side = next((one for one in self.presenter.view.sides if one.eye is self.eye), None)
        parts = (*side.slit_lamp, *side.fundus) if side else ()
        return next((one for one in parts if one.key == self.key), None)

    def render(self) -> None:
        """Draw what was chosen."""
        part = self._part()
        if part is None:
            self.close()
            return
        chips(self._picks, part.picks, not self.presenter.view.signed, self._pick)
        self._own.show(part.own)

    def _pick(self, key: str) -> None:
        self.presenter.pick(self.eye, self.key, key)
        self.render()

    def on_action(self, key: str) -> None:
        """Keep what is typed; or nothing was examined."""
        if key == "clear":
            self.presenter.clear(self.eye, self.key)
        else:
            self._own.commit()
