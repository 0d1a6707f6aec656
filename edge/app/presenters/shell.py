"""What stands around every screen: who the patient is, where one can go, what the engine does. No Kivy.

The allergies are always there, also when nobody asked; the name is what gives way when there is no room. Stop is one
tap in every screen while anything runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.app.engine.state import DISMISSABLE, EngineView, overlays, status_key
from edge.app.i18n import tr
from edge.app.presenters.base import Presenter
from edge.app.presenters.follow import follow
from edge.clinical.encounter.model import Patient
from edge.clinical.encounter.summary import display_age, encounter_day, masked_mrn

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

# name, icon, needs an open patient, stands at the foot of the rail
PLACES: tuple[tuple[str, str, bool, bool], ...] = (
    ("worklist", "list", False, False),
    ("exam", "stethoscope", True, False),
    ("eye", "eye", True, False),
    ("note", "note", True, False),
    ("review", "check-decagram", True, False),
    ("device", "gauge", False, True),
    ("settings", "cog", False, True),
)
DIGEST_SHOWN = 12
# status -> (icon, tone)
LOOKS: dict[str, tuple[str, str]] = {
    "idle": ("check-circle", "plain"),
    "loading": ("sync", "plain"),
    "streaming": ("pencil", "info"),
    "cancelled": ("stop-circle", "warning"),
    "done": ("check-circle", "info"),
    "missing": ("information", "warning"),
    "mismatch": ("shield-alert", "danger"),
    "untrusted": ("shield-alert", "danger"),
    "unverified": ("shield-off", "warning"),
    "low_memory": ("memory", "warning"),
    "unsupported": ("chip", "warning"),
    "died": ("alert-octagon", "danger"),
    "too_long": ("alert", "warning"),
    "unreadable": ("alert-circle", "warning"),
    "failed": ("alert-circle", "warning"),
}
# What a person must see first when several engines have something to say; the others are quiet.
URGENCY = ("mismatch", "untrusted", "died", "low_memory", "unverified", "missing", "unsupported", "loading")
VERIFIED: dict[str, tuple[str, str]] = {
    "passed": ("shield-check", "support"),
    "failed": ("shield-alert", "danger"),
    "none": ("shield-off", "warning"),
    "forced": ("shield-alert", "warning"),
}


@dataclass(frozen=True)
class PatientBar:
    """Who is open. details: age and sex, MRN, bed as far as they are known; allergy: words that are always shown."""

    name: str = field(repr=False)
    details: tuple[str, ...] = field(repr=False)
    allergy: str = field(repr=False)
    allergy_icon: str
    allergy_tone: str


@dataclass(frozen=True)
class Place:
    """An entry of the rail. reason: why it cannot be chosen now, '' when it can."""

    name: str
    words: str
    icon: str
    at_foot: bool
    selected: bool
    reason: str


@dataclass(frozen=True)
class EngineLine:
    """What the engine does. action: stop, dismiss, restart or ''. fraction: 0 to 1, None without progress.

    note: what holds beside it (hot device, beginning left out), '' for nothing.
    """

    words: str
    icon: str
    tone: str
    action: str
    action_words: str
    task: str
    fraction: float | None
    note: str
    note_icon: str


@dataclass(frozen=True)
class ModelLine:
    """Which build serves: its words, the start of its behaviour digest, whether its device test passed."""

    words: str
    digest: str
    verified: str
    verified_icon: str
    verified_tone: str


@dataclass(frozen=True)
class ShellView:
    """Everything around a screen. figures: speed, memory, temperature as words; hint: why a tap did nothing."""

    locked: bool
    place: str
    patient: PatientBar | None
    places: tuple[Place, ...]
    engine: EngineLine
    model: ModelLine | None
    figures: tuple[str, ...]
    privacy: str
    rule: str
    save_error: str
    night: bool
    can_undo: bool
    can_redo: bool
    hint: str


class ShellPresenter(Presenter[ShellView]):
    """Follows the workspace; `place` is the screen that is shown."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.place = "worklist"
        self._hint = ""
        super().__init__(self.make_view())
        follow(workspace, self, lambda shell: shell.refresh())

    # ---- what is shown --------------------------------------------------------------------------------------

    def make_view(self) -> ShellView:
        """The snapshot as things are now."""
        desk = self._workspace
        encounter = desk.encounter
        # While it is locked nobody is open; unlocking opens again who was, in the same place.
        if encounter is None and not desk.locked and any(name == self.place and needs for name, _, needs, _ in PLACES):
            self.place = "worklist"
        return ShellView(
            locked=desk.locked,
            place=self.place,
            patient=None if encounter is None else self._patient(encounter.patient),
            places=tuple(self._place(*place) for place in PLACES),
            engine=self._engine(),
            model=self._model(),
            figures=self._figures(),
            privacy=tr("shell.privacy"),
            rule=tr("shell.rule"),
            save_error="" if desk.save_error is None else tr("shell.not_saved"),
            night=desk.settings.night,
            can_undo=desk.can_undo,
            can_redo=desk.can_redo,
            hint=self._hint,
        )

    def _patient(self, patient: Patient) -> PatientBar:
        encounter = self._workspace.encounter
        age = display_age(patient, encounter_day(encounter)) if encounter is not None else ""
        sex = tr(f"shell.sex_{patient.sex}") if patient.sex in ("female", "male", "other") else ""
        mrn = masked_mrn(patient.mrn)
        details = (
            " ".join(part for part in (sex, age) if part),
            tr("shell.mrn", number=mrn) if mrn else "",
            tr("shell.bed", bed=patient.bed) if patient.bed else "",
        )
        icon, tone = "alert", "soft_danger"
        if patient.allergies:
            words = tr("shell.allergy", names=", ".join(patient.allergies))
        elif patient.allergies_asked:
            words, icon, tone = tr("shell.allergies_none"), "check-circle", "support"
        else:
            words, icon, tone = tr("shell.allergies_not_asked"), "help-circle", "warning"
        name = patient.name or tr("shell.no_name")
        return PatientBar(name, tuple(part for part in details if part), words, icon, tone)

    def _place(self, name: str, icon: str, needs: bool, at_foot: bool) -> Place:
        reason = tr("shell.open_first") if needs and self._workspace.encounter is None else ""
        return Place(name, tr(f"shell.{name}"), icon, at_foot, name == self.place, reason)

    def _task(self) -> str:
        """The task whose engine is spoken of: the one that runs, else the most urgent, else the last one."""
        runs = self._workspace.runs
        if runs.streaming is not None:
            # A benchmark is a run of the engine that was asked last.
            return runs.streaming.task if runs.streaming.task in runs.tasks else runs.last_task
        for status in URGENCY:
            for task in runs.tasks:
                if runs.view(task).status == status:
                    return task
        return runs.last_task or (runs.tasks[0] if runs.tasks else "note")

    def _engine(self) -> EngineLine:
        task = self._task()
        view = self._workspace.runs.view(task)
        key, values = status_key(view)
        icon, tone = LOOKS[view.status]
        action = "stop" if view.busy else ""
        if not action and view.status in ("died", "low_memory"):
            action = "restart"
        elif not action and view.status in DISMISSABLE:
            action = "dismiss"
        beside = [part for part in overlays(view) if part[0] != "engine.unverified"]
        note = tr(beside[0][0], **beside[0][1]) if beside else ""
        return EngineLine(
            words=tr(key, **values),
            icon=icon,
            tone=tone,
            action=action,
            action_words=tr(f"shell.{action}") if action else "",
            task=task,
            fraction=_fraction(view),
            note=note,
            note_icon="fire" if note and "throttled" in beside[0][0] else "alert" if note else "",
        )

    def _model(self) -> ModelLine | None:
        facts = self._workspace.runs.facts(self._task())
        if facts is None:
            return None
        icon, tone = VERIFIED[facts.verified]
        words = tr(f"shell.verified_{facts.verified}")
        return ModelLine(facts.model_words, facts.behaviour_digest[:DIGEST_SHOWN], words, icon, tone)

    def _figures(self) -> tuple[str, ...]:
        runs = self._workspace.runs
        speed = runs.view(self._task()).tokens_per_s
        if speed is None and runs.figures:
            speed = runs.figures[-1][1].tokens_per_s
        device = self._workspace.device
        found = [tr("shell.speed", tok_s=round(speed))] if speed else []
        if device is not None and device.rss_bytes:
            found.append(tr("shell.memory", gb=f"{device.rss_bytes / 1e9:.1f}"))
        if device is not None and device.temperature_c is not None:
            found.append(tr("shell.temperature", celsius=round(device.temperature_c)))
        return tuple(found)

    # ---- what a finger does ---------------------------------------------------------------------------------

    def go(self, name: str) -> bool:
        """Show another screen. False when it needs an open patient and there is none; the hint says so."""
        known = {place[0]: place[2] for place in PLACES}
        if name not in known or (known[name] and self._workspace.encounter is None):
            self._hint = tr("shell.open_first") if name in known else ""
            self.refresh()
            return False
        self.place, self._hint = name, ""
        self.refresh()
        return True

    def say(self, words: str) -> None:
        """Show a line for a moment: what was refused."""
        self._hint = words
        self.refresh()

    def hint_read(self) -> None:
        """The hint was there long enough."""
        self._hint = ""
        self.refresh()

    def act(self) -> None:
        """The engine's button: stop, dismiss or start again."""
        line = self._engine()
        runs = self._workspace.runs
        if line.action == "stop":
            runs.stop()
        elif line.action == "dismiss":
            runs.dismiss(line.task)
        elif line.action == "restart":
            runs.restart(line.task)
        self.refresh()

    def night(self) -> None:
        """Change between day and night."""
        self._workspace.set_setting("night", not self._workspace.settings.night)
        self.refresh()

    def lock(self) -> None:
        """Lock now."""
        self._workspace.lock()
        self.refresh()

    def undo(self) -> None:
        """Take the last edit back."""
        self._workspace.undo()

    def redo(self) -> None:
        """Make the edit again that was taken back."""
        self._workspace.redo()


def _fraction(view: EngineView) -> float | None:
    if view.status == "loading":
        return view.fraction
    if view.status == "streaming" and view.total:
        return view.done / view.total
    if view.status == "streaming" and view.parts:
        return max(0, view.part - 1) / view.parts
    return None
