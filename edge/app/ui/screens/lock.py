"""The lock, and the first start: a PIN on the pad or a keyboard (edge.app.presenters.lock). Nothing of a patient."""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock
from kivy.metrics import dp

from edge.app.i18n import tr
from edge.app.presenters.lock import LockPresenter, LockView
from edge.app.presenters.setup import SetupView
from edge.app.ui.kit import EdgeButton, EdgeScreen, load_kv
from edge.app.ui.kit.let_go import let_go
from edge.app.ui.screens import pin_panel  # noqa: F401  (its names are used in the kv file)
from edge.app.ui.screens.backup_dialog import BackupDialog

COUNT_S = 0.25
CARD_DP = 760


class LockScreen(EdgeScreen):
    """One card in the middle: words and dots, the pad; for a first start also a backup to restore."""

    name = "lock"

    def __init__(self, presenter: LockPresenter, workspace: Any, **kwargs: Any) -> None:
        self._counting: Any = None
        self._more = False
        super().__init__(presenter, workspace, **kwargs)
        self.ids.pin.target = presenter
        # `ids` holds its widgets weakly: what is taken off the screen must be kept by somebody.
        self._kept = {name: self.ids[name].__self__ for name in ("pin", "broken", "restore", "more")}

    def on_show(self) -> None:
        """Count waits down while the screen is there."""
        self.presenter.shown()
        self._counting = Clock.schedule_interval(lambda _dt: self.presenter.tick(), COUNT_S)

    def on_hide(self) -> None:
        """Stop counting; forget what was typed."""
        if self._counting is not None:
            self._counting.cancel()
        self.presenter.clear()

    def render(self, view: LockView) -> None:
        """See EdgeScreen."""
        ids = self.ids
        ids.language.options = list(view.languages)
        ids.language.selected = view.language
        ids.pin.show(view.setup.pin if view.setup is not None else view.pin)
        broken = view.state == "broken"
        ids.mark.icon = "shield-alert" if broken else "lock"
        ids.mark.tone = "danger" if broken else "primary"
        self._setup(view.setup)
        asks_passphrase = view.setup is not None and view.setup.step == "passphrase"
        self._place(ids, "broken" if broken else "restore" if asks_passphrase else "pin")
        if broken:
            ids.broken_title.text, ids.broken_text.text = view.pin.title, f"{view.pin.message} {view.pin.text}"

    def _place(self, ids: Any, name: str) -> None:
        """Show one part, and what leads elsewhere below it."""
        wanted = [self._kept[name], self._kept["more"]] if self._more else [self._kept[name]]
        if list(reversed(ids.host.children)) != wanted:
            ids.host.clear_widgets()
            for part in wanted:
                ids.host.add_widget(part)

    def _setup(self, view: SetupView | None) -> None:
        ids = self.ids
        ids.welcome.text = ""
        if view is not None:
            ids.welcome.text = tr("lock.welcome_wiped" if view.wiped else "lock.welcome")
        wanted: list[tuple[str, tuple[str, str, str]]] = []
        if view is not None and not view.pin.busy:
            if view.step == "repeat":
                wanted.append(("again", ("again", tr("lock.start_again"), "undo")))
            if view.file:
                wanted.append(("none", ("none", tr("lock.no_restore"), "close")))
            elif view.step == "create":
                wanted.append(("restore", ("restore", tr("lock.restore"), "upload")))
        ids.more.set_items(wanted, self._button, _show_button)
        if view is not None and view.step == "passphrase":
            ids.restore_text.text = tr("lock.restore_pass_text", file=view.file)
            ids.passphrase.error = view.message
        self._more = bool(wanted)

    def _button(self) -> EdgeButton:
        button = EdgeButton(kind="quiet")
        button.bind(on_release=lambda button: self._command(button.command))
        return button

    def _command(self, key: str) -> None:
        setup = self.presenter.setup
        if key == "restore":
            BackupDialog(setup.folders(), setup.choose_file, tr("lock.restore_title")).open()
        elif key == "none":
            setup.no_restore()
        else:
            setup.start_again()

    def passphrase(self) -> None:
        """Hand the passphrase over and empty the field."""
        field = self.ids.passphrase
        text = field.text
        field.clear_text()
        self.presenter.setup.passphrase(text)

    @staticmethod
    def card_width(width: float, scale: float) -> float:
        """As wide as two columns need, never wider than the screen."""
        return min(dp(CARD_DP) * min(max(scale, 1.0), 1.5), width - dp(32))

    def clear_text(self) -> None:
        """See EdgeScreen."""
        for part in self._kept.values():
            if part.parent is None:
                self.ids.host.add_widget(part)
        super().clear_text()
        self.presenter.clear()
        let_go(self, *self._kept.values())


def _show_button(button: Any, data: tuple[str, str, str]) -> None:
    button.command, button.text, button.icon = data


load_kv(__file__)
