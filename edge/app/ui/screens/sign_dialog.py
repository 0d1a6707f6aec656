"""The PIN that signs: a dialog with its own number pad; a passphrase is typed in a field."""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock
from kivy.properties import BooleanProperty

from edge.app.i18n import tr
from edge.app.presenters.review_view import ReviewView
from edge.app.ui.kit import EdgeColumn, EdgeDialog, EdgeNumberPad, EdgePinDots, fold, load_kv

LEAST_DOTS = 6


class SignBody(EdgeColumn):
    """Dots and the pad, or a field; what was wrong; what leads to the other of them."""

    keyboard = BooleanProperty(False)


class SignDialog(EdgeDialog):
    """The PIN itself is in the presenter; a field of this dialog holds it only while it is typed."""

    def __init__(self, presenter: Any, **kwargs: Any) -> None:
        self._presenter = presenter
        super().__init__(**kwargs)
        self.title, self.body, self.icon = tr("review.pin_title"), tr("review.pin_body"), "lock"
        self.keep = ["sign"]
        self.actions = [
            ("sign", tr("review.pin_confirm"), "primary"),
            ("cancel", tr("review.cancel"), "plain"),
        ]
        self.parts = SignBody()
        ids = self.parts.ids
        self.dots: EdgePinDots = ids.dots
        self.pad: EdgeNumberPad = ids.pad
        self.field, self._swap = ids.field, ids.swap
        self.pad.bind(
            on_digit=lambda _pad, digit: presenter.digit(digit),
            on_delete=lambda _pad: presenter.back(),
            on_enter=lambda _pad: presenter.sign(),
        )
        # Bound methods are held weakly: Kivy never frees a field that was drawn.
        self.field.bind(text=self._typed)
        self.field.ids.input.bind(on_text_validate=self._entered)
        fold(self.field, False)
        self._swap.bind(on_release=lambda *_: self.swap())
        self.add_widget(self.parts)

    def show(self, view: ReviewView) -> None:
        """Draw how much is typed and what was wrong."""
        keyboard, checking = view.pin_keyboard, bool(view.checking)
        self.parts.keyboard = keyboard
        self.dots.count = max(LEAST_DOTS, view.pin_typed)
        self.dots.filled = view.pin_typed
        self.parts.ids.told.text = view.checking or view.pin_error
        self.parts.ids.told.tone = "ink_2" if checking else "danger"
        for part in (self.dots, self.pad):
            fold(part, not keyboard)
        fold(self.field, keyboard)
        self.pad.disabled = checking or keyboard
        self.field.disabled = checking or not keyboard
        self._swap.disabled = checking
        if not view.pin_typed and self.field.text:
            self.field.clear_text()

    def swap(self) -> None:
        """Pad or keyboard."""
        self._presenter.use_keyboard(not self.parts.keyboard)
        Clock.schedule_once(self._put_cursor, 0)  # the end of this touch would take it away again

    def _put_cursor(self, *_: object) -> None:
        self.field.ids.input.focus = self.parts.keyboard and self.is_open

    def _entered(self, *_: object) -> None:
        self._presenter.sign()

    def _typed(self, _field: Any, text: str) -> None:
        if self.parts.keyboard:
            self._presenter.type_pin(text)

    def on_action(self, key: str) -> None:
        """Sign, or leave."""
        if key == "sign":
            self._presenter.sign()
        else:
            self._presenter.cancel_sign()

    def on_close(self) -> None:
        """Nothing typed stays."""
        self.clear_text()

    def clear_text(self) -> None:
        """See EdgeScreen."""
        self.field.clear_text()


load_kv(__file__)
