"""Settings: how the screen looks, units, security, backup, wipe, audit log, about.

Every choice holds at once and is kept in the vault. Sections that touch the data itself are in
edge.app.presenters.safety; what is typed there is forgotten when the section or the screen is left, and at a lock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app.i18n import LANGUAGES, tr
from edge.app.presenters.about import AboutView, AuditView, about, audit_view
from edge.app.presenters.base import Presenter
from edge.app.presenters.errors import words
from edge.app.presenters.follow import follow
from edge.app.presenters.pin_entry import PinView
from edge.app.presenters.safety import (
    Backup,
    BackupView,
    PinChange,
    Wipe,
    WipeAfter,
    WipeAfterView,
    WipeView,
    autolock_words,
)
from edge.app.settings import AUTOLOCK_S, FONT_SCALES, TEMPERATURE_UNITS, VA_NOTATIONS
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

SECTIONS = ("display", "clinical", "security", "backup", "audit", "about", "wipe")
PAPERS = ("A4", "Letter")
ENTRIES_SHOWN = 200

Options = tuple[tuple[Any, str], ...]


@dataclass(frozen=True)
class Choice:
    """A setting with few values. name: as in edge.app.settings.Settings; options: (value, words)."""

    name: str
    label: str
    value: Any
    options: Options
    hint: str = ""


@dataclass(frozen=True)
class SettingsView:
    """section: the one that is shown. sections: (name, words, hint). choices: of the section that is shown."""

    section: str
    sections: tuple[tuple[str, str, str], ...]
    choices: tuple[Choice, ...] = ()
    signer: str = field(default="", repr=False)
    pin: PinView | None = None
    wipe_after: WipeAfterView | None = None
    backup: BackupView | None = None
    wipe: WipeView | None = None
    audit: AuditView | None = None
    about: AboutView | None = None
    message: str = ""
    language: str = "en"


class SettingsPresenter(Presenter[SettingsView]):
    """See the module's docstring. start: the folder that a backup is offered first."""

    def __init__(self, workspace: Workspace, *, start: Path | None = None, zone: tzinfo | None = None) -> None:
        self._workspace = workspace
        self._zone = zone
        self._section = SECTIONS[0]
        self._audit = AuditView()
        self._message = ""
        self.pin = PinChange(workspace, self._again)
        self.wipe = Wipe(workspace, self._again)
        self.wipe_after = WipeAfter(workspace, self._again)
        self.backup = Backup(workspace, self._again, start or Path.home())
        self.backup.browser.subscribe(self._again)
        super().__init__(self.make_view())
        follow(workspace, self._workspace_changed)

    def make_view(self) -> SettingsView:
        """The section that is shown, as it is now."""
        section = self._section
        return SettingsView(
            section=section,
            sections=tuple((name, tr(f"settings.{name}"), tr(f"settings.{name}_hint")) for name in SECTIONS),
            choices=self._choices(section),
            signer=self._workspace.settings.signer,
            # One pad at a time: a keyboard types into both.
            pin=self.pin.view() if section == "security" and self.wipe_after.wanted is None else None,
            wipe_after=self.wipe_after.view() if section == "security" else None,
            backup=self.backup.view() if section == "backup" else None,
            wipe=self.wipe.view() if section == "wipe" else None,
            audit=self._audit if section == "audit" else None,
            about=about(self._workspace) if section == "about" else None,
            message=self._message,
            language=self._workspace.settings.language,
        )

    def show(self, section: str) -> None:
        """Another section; what was typed in the last one is forgotten."""
        if section not in SECTIONS:
            return
        self._forget()
        self._section = section
        if section == "audit":
            self._read_audit()
        elif section == "backup":
            self.backup.browser.refresh()
        self.refresh()

    def choose(self, name: str, value: Any) -> None:
        """A value was tapped; it holds at once."""
        self._message = ""
        try:
            self._workspace.set_setting(name, value)
        except EdgeError as error:
            self._message = words(error)
        self.refresh()

    def digit(self, digit: str) -> None:
        """A digit for the PIN that is asked."""
        self._pad(lambda entry: entry.digit(digit))

    def back(self) -> None:
        """The last digit is taken back."""
        self._pad(lambda entry: entry.back())

    def type(self, text: str) -> None:
        """The keyboard field of the PIN changed."""
        self._pad(lambda entry: entry.type(text))

    def use_keyboard(self, wanted: bool) -> None:
        """Pad or keyboard."""

        def change(entry: Any) -> None:
            entry.clear()
            entry.keyboard = wanted

        self._pad(change)

    def enter(self) -> None:
        """The PIN was typed."""
        self._asking().enter()
        self.refresh()

    def start_again(self) -> None:
        """Forget what was typed in this section."""
        self._forget()
        self.refresh()

    def left(self) -> None:
        """The screen went to the back."""
        self._forget()
        self.refresh()

    def clear(self) -> None:
        """At a lock: nothing typed and nothing of the log stays."""
        self._forget()
        self._audit = AuditView()
        self._section = SECTIONS[0]
        self.refresh()

    # ---- inside ---------------------------------------------------------------------------------------------

    def _again(self) -> None:
        self.refresh()

    def _workspace_changed(self) -> None:
        if self._workspace.locked:
            self.clear()

    def _forget(self) -> None:
        self.pin.clear()
        self.wipe.clear()
        self.wipe_after.clear()
        self.backup.clear()
        self._message = ""

    def _asking(self) -> Any:
        """What the PIN is asked for."""
        if self._section == "wipe":
            return self.wipe
        return self.pin if self.wipe_after.wanted is None else self.wipe_after

    def _pad(self, change: Any) -> None:
        flow = self._asking()
        if not flow.busy:
            flow.message = ""
            change(flow.entry)
            self.refresh()

    def _choices(self, section: str) -> tuple[Choice, ...]:
        kept = self._workspace.settings
        made: dict[str, tuple[tuple[str, Options, str], ...]] = {
            "display": (
                ("language", tuple(LANGUAGES.items()), ""),
                ("night", ((False, tr("settings.day")), (True, tr("settings.night_on"))), tr("settings.night_hint")),
                ("font_scale", tuple((size, f"{size:.0%}".replace("%", " %")) for size in FONT_SCALES), ""),
            ),
            "clinical": (
                (
                    "temperature_unit",
                    tuple((unit, tr(f"settings.unit_{unit.lower()}")) for unit in TEMPERATURE_UNITS),
                    tr("settings.temperature_unit_hint"),
                ),
                (
                    "va_notation",
                    tuple((name, tr(f"settings.va_{name}")) for name in VA_NOTATIONS),
                    tr("settings.va_notation_hint"),
                ),
                ("paper", tuple((name, name) for name in PAPERS), ""),
            ),
            "security": (
                (
                    "autolock_s",
                    tuple((seconds, autolock_words(seconds)) for seconds in AUTOLOCK_S),
                    tr("settings.autolock_s_hint"),
                ),
            ),
        }
        return tuple(
            Choice(name, tr(f"settings.{name}"), getattr(kept, name), options, hint)
            for name, options, hint in made.get(section, ())
        )

    def _read_audit(self) -> None:
        if self._workspace.locked:
            return
        vault = self._workspace.vault

        def read() -> AuditView:
            return audit_view(vault.audit_entries(ENTRIES_SHOWN), vault.check_audit(), self._zone)

        def done(answer: Any, error: BaseException | None) -> None:
            if isinstance(error, EdgeError):
                self._audit = AuditView(False, words(error), "danger")
            elif error is not None:
                raise error
            elif not self._workspace.locked:
                self._audit = answer
            self.refresh()

        self._audit = AuditView()
        self._workspace.services.background.post(read, done=done)
