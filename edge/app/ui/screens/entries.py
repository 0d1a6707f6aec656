"""What Exam and Eye enter things with: chips that know a long press, steppers with a number pad, messages on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kivy.clock import Clock
from kivy.properties import BooleanProperty, StringProperty

from edge.app.i18n import tr, translator
from edge.app.presenters.exam import ChipView
from edge.app.presenters.measures import Measures, MeasureView
from edge.app.ui.kit import (
    EdgeBanner,
    EdgeButton,
    EdgeChip,
    EdgeColumn,
    EdgeDialog,
    EdgeFlow,
    EdgeLabel,
    EdgeList,
    EdgeNumberPad,
    load_kv,
)

HOLD_S = 0.5
MOST_TYPED = 6
NO_FIGURE = "–"


class FindingChip(EdgeChip):
    """A chip that also tells a long press: on_hold. unconfirmed: speech made it."""

    unconfirmed = BooleanProperty(False)

    __events__ = ("on_hold",)

    def __init__(self, **kwargs: Any) -> None:
        self.chip: ChipView | None = None
        self._timer: Any = None
        self._was_held = False
        self._pressed_key = ""
        self._shown: tuple[ChipView, bool, str] | None = None
        super().__init__(**kwargs)

    def on_press(self) -> None:
        """Begin to wait for a long press."""
        self._was_held = False
        self._pressed_key = self.chip.key if self.chip else ""
        self._timer = Clock.schedule_once(self._held, HOLD_S)

    def on_state(self, widget: Any, state: str) -> None:
        """A finger that slides off or scrolls is no long press."""
        super().on_state(widget, state)
        if state == "normal" and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_release(self) -> None:
        """A tap, unless it was held, or stands for another finding since the finger came down."""
        if not self._was_held and self.chip is not None and self.chip.key == self._pressed_key:
            super().on_release()

    def activate(self) -> None:
        """The keyboard's tap."""
        if not self.disabled:
            self.dispatch("on_cycle")

    def _held(self, _dt: float) -> None:
        self._was_held = True
        if self.chip is not None and self.chip.key == self._pressed_key:
            self.dispatch("on_hold")

    def show(self, chip: ChipView, enabled: bool) -> None:
        """Draw a snapshot: the name with its eye; what is absent says so."""
        shown = (chip, enabled, translator.language)
        if shown == self._shown:
            return
        self._shown = shown
        name = f"{chip.name} {chip.eye}" if chip.eye else chip.name
        key = "exam.chip_confirm" if chip.unconfirmed else f"exam.chip_{chip.presence.value}"
        self.chip, self.disabled = chip, not enabled
        self.presence, self.unconfirmed, self.text = chip.presence.value, chip.unconfirmed, tr(key, name=name)

    def clear_text(self) -> None:
        """Forget the finding."""
        self.chip, self._shown, self.text = None, None, ""

    def on_hold(self) -> None:
        """Default handler: nothing."""


class ChipFlow(EdgeFlow):
    """Findings that flow into lines. Chips are made once and used again: making one takes longer than a frame.

    on_tap(chip view), on_hold(chip view).
    """

    __events__ = ("on_tap", "on_hold")

    def __init__(self, **kwargs: Any) -> None:
        self._pool: list[FindingChip] = []
        super().__init__(**kwargs)

    def show(self, chips: Sequence[ChipView], enabled: bool) -> None:
        """Draw these; only what changed is touched."""
        while len(self._pool) < len(chips):
            made = FindingChip()
            made.bind(
                on_cycle=lambda chip: chip.chip and self.dispatch("on_tap", chip.chip),
                on_hold=lambda chip: chip.chip and self.dispatch("on_hold", chip.chip),
            )
            self._pool.append(made)
        for widget, chip in zip(self._pool, chips, strict=False):
            widget.show(chip, enabled)
        for widget in self._pool[len(chips) : len(self.children)]:
            self.remove_widget(widget)
            widget.clear_text()
        for widget in self._pool[len(self.children) : len(chips)]:
            self.add_widget(widget)

    def row(self, key: str) -> Any:
        """The chip of a finding that is shown, or None."""
        return next((one for one in self.children if one.chip is not None and one.chip.key == key), None)

    def clear_text(self) -> None:
        """Take every chip away, with its words."""
        self.clear_widgets()
        for widget in self._pool:
            widget.clear_text()
        self._pool.clear()

    def on_tap(self, chip: ChipView) -> None:
        """Default handler: nothing."""

    def on_hold(self, chip: ChipView) -> None:
        """Default handler: nothing."""


class MeasureBox(EdgeColumn):
    """A stepper, and a button that confirms a value of speech. on_step(direction, big), on_edit, on_confirm."""

    __events__ = ("on_step", "on_edit", "on_confirm")

    def __init__(self, **kwargs: Any) -> None:
        self._button: EdgeButton | None = None
        super().__init__(**kwargs)

    def follow(self, measures: Measures, name: str) -> None:
        """Step, type and confirm this measure."""
        self.bind(
            on_step=lambda _box, direction, big: measures.step(name, direction, big),
            on_edit=lambda _box: NumberDialog(measures, measures.view(name)).open(),
            on_confirm=lambda _box: measures.confirm(name),
        )

    def show(self, view: MeasureView, enabled: bool) -> None:
        """Draw a snapshot. The grade stands as a word beside the name, as colour and icon beside the figure."""
        stepper = self.ids.stepper
        stepper.label = f"{view.label}, {view.word}" if view.word else view.label
        stepper.value_text, stepper.unit = view.value, view.unit
        stepper.grade = view.grade
        stepper.disabled = stepper.ids.value.disabled = not enabled
        if view.unconfirmed and self._button is None:
            self._button = EdgeButton(text=tr("exam.confirm"), icon="microphone")
            self._button.bind(on_release=lambda _button: self.dispatch("on_confirm"))
            self.add_widget(self._button)
        elif not view.unconfirmed and self._button is not None:
            self.remove_widget(self._button)
            self._button = None

    @property
    def target(self) -> Any:
        """What a jump lights up."""
        return self.ids.stepper.ids.value

    def clear_text(self) -> None:
        """Forget the figure."""
        self.ids.stepper.value_text = ""

    def on_step(self, direction: int, big: bool) -> None:
        """Default handler: nothing."""

    def on_edit(self) -> None:
        """Default handler: nothing."""

    def on_confirm(self) -> None:
        """Default handler: nothing."""


class CaseDialog(EdgeDialog):
    """A dialog that stays in the middle while its content grows."""

    def on_kv_post(self, base: Any) -> None:
        """The sheet is there."""
        super().on_kv_post(base)
        self.ids.card.pos_hint = {"center_x": 0.5, "center_y": 0.5}


class NumberDialog(CaseDialog):
    """A value typed on the number pad. Enter closes it only with a value that can be."""

    typed = StringProperty("")

    def __init__(self, measures: Measures, view: MeasureView) -> None:
        self.measures, self.measure = measures, view.name
        least, most = measures.limits(view.name)
        self._range = {"least": least, "most": most, "unit": view.unit}
        actions = [("enter", tr("exam.pad_ok"), "primary"), ("cancel", tr("exam.cancel"), "plain")]
        if view.value:
            actions.insert(1, ("clear", tr("exam.pad_clear"), "plain"))
        super().__init__(
            title=tr("exam.pad_title", name=view.label, unit=view.unit),
            body=tr("exam.pad_range", **self._range),
            actions=actions,
            keep=["enter"],
            icon="pencil",
        )
        self._figure = EdgeLabel(kind="display", medium=True, halign="center", text=view.value or NO_FIGURE)
        self._error = EdgeLabel(kind="small", tone="danger", halign="center", text=" ")
        pad = EdgeNumberPad(decimal="." in least, pos_hint={"center_x": 0.5})
        pad.bind(
            on_digit=lambda _pad, digit: self._put((self.typed + digit)[:MOST_TYPED]),
            on_delete=lambda _pad: self._put(self.typed[:-1]),
            on_enter=lambda _pad: self.act("enter"),
        )
        for child in (self._figure, self._error, pad):
            self.add_widget(child)

    def _put(self, typed: str) -> None:
        self.typed, self._error.text = typed, " "
        self._figure.text = typed or NO_FIGURE

    def on_action(self, key: str) -> None:
        """Put the value in, or take it out."""
        if key == "clear":
            self.measures.clear(self.measure)
        elif key == "enter" and (not self.typed or self.measures.enter(self.measure, self.typed)):
            self.close()
        elif key == "enter":
            self._put("")
            self._error.text = tr("exam.pad_wrong", **self._range)


class Messages(EdgeList):
    """Banners over a pane; no room is taken where there is nothing to say."""

    def show(self, messages: list[tuple[str, str, str]]) -> None:
        """Each (words, tone, icon); those without words are left out."""
        told = [(f"{tone}:{number}", one) for number, one in enumerate(messages) if (tone := one[1]) and one[0]]

        def update(banner: EdgeBanner, message: tuple[str, str, str]) -> None:
            banner.text, banner.tone, banner.own_icon = message

        self.set_items(told, EdgeBanner, update)


load_kv(__file__)
