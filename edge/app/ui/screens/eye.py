"""The eye examination: OD left, OS right, always; one eye at a time under its name where the pane is narrow."""

from __future__ import annotations

from typing import Any

from kivy.clock import Clock
from kivy.metrics import dp
from kivy.properties import BooleanProperty, ListProperty, ObjectProperty, StringProperty
from kivy.uix.boxlayout import BoxLayout

from edge.app.i18n import tr
from edge.app.presenters.exam import ChipView
from edge.app.presenters.eye import EYES, EyePresenter, EyeView, OptionView, PartView, SideView
from edge.app.ui.kit import (
    EdgeCard,
    EdgeColumn,
    EdgeLabel,
    EdgeRow,
    EdgeSurface,
    Touchable,
    load_kv,
    ring,
)
from edge.app.ui.kit.face import EdgeFace
from edge.app.ui.screens.case import CaseScreen
from edge.app.ui.screens.entries import CaseDialog, FindingChip, MeasureBox
from edge.app.ui.screens.eye_dialogs import AcuityDialog, PartDialog, PickDialog, chips
from edge.app.ui.theme import theme
from edge.clinical.encounter.model import Eye

PAIR_DP = 520  # from this width on, times the font scale, both eyes stand side by side
PICKS = {"va_correction": "correction", "iop_method": "method"}  # field -> name of its options and of its words


class SideHead(EdgeFace):
    """The name of an eye over its column."""

    side = StringProperty("OD")


class PairRow(EdgeRow):
    """The same field of both eyes, or of one."""


class AcuityBox(Touchable, EdgeSurface, BoxLayout):
    """Visual acuity; a tap opens the chart's lines."""

    title = StringProperty("")
    value = StringProperty("")
    same = StringProperty("")

    def clear_text(self) -> None:
        """Forget it."""
        self.value = self.same = ""


class PartBox(Touchable, EdgeSurface, BoxLayout):
    """A structure of one eye; a tap opens its findings."""

    title = StringProperty("")
    words = StringProperty("")
    empty = StringProperty("")
    normal = BooleanProperty(False)

    def show(self, part: PartView, eye: str) -> None:
        """Draw a snapshot."""
        self.title, self.words, self.normal = f"{part.title} {eye}", part.text, part.normal
        self.empty = tr("eye.not_examined")

    def clear_text(self) -> None:
        """Forget it."""
        self.words = ""


class ChoiceBox(EdgeColumn):
    """One of a few as chips. on_choice(key)."""

    title = StringProperty("")

    __events__ = ("on_choice",)

    def show(self, title: str, options: tuple[OptionView, ...], enabled: bool) -> None:
        """Draw a snapshot."""
        self.title = title
        chips(self.ids.chips, options, enabled, lambda key: self.dispatch("on_choice", key))

    def on_choice(self, key: str) -> None:
        """Default handler: nothing."""


class SideCells:
    """The entries of one eye, by field; each stands in the row of its field."""

    def __init__(self, presenter: EyePresenter, eye: Eye) -> None:
        self.presenter, self.eye = presenter, eye
        self.acuity = AcuityBox()
        self.acuity.bind(on_release=lambda _box: AcuityDialog(presenter, eye).open())
        self.reaction = ChoiceBox()
        self.reaction.bind(on_choice=lambda _box, key: presenter.choose(eye, "pupil_reaction", key))
        self.picks = {name: PartBox() for name in PICKS}
        for name, box in self.picks.items():
            box.bind(on_release=lambda _box, name=name: self._ask(name))
        self.iop, self.pupil = MeasureBox(), MeasureBox()
        self.iop.follow(presenter.measures, f"iop_{eye.value.lower()}")
        self.pupil.follow(presenter.measures, f"pupil_{eye.value.lower()}")
        self.rapd, self.rapd_cell = FindingChip(), EdgeColumn()
        self.rapd_cell.add_widget(self.rapd)
        self.rapd.bind(
            on_cycle=lambda _chip: presenter.cycle_rapd(eye), on_hold=lambda _chip: presenter.forget_rapd(eye)
        )
        self.parts: dict[str, PartBox] = {}

    def cells(self) -> dict[str, Any]:
        """Every cell by the field of EyeSide that it shows."""
        return {
            "va": self.acuity,
            "va_correction": self.picks["va_correction"],
            "iop_mmhg": self.iop,
            "iop_method": self.picks["iop_method"],
            "pupil_mm": self.pupil,
            "pupil_reaction": self.reaction,
            "rapd": self.rapd_cell,
            **self.parts,
        }

    def _ask(self, name: str) -> None:
        """Ask for one of a few, under the eye's name."""
        view = next(one for one in self.presenter.view.sides if one.eye is self.eye)
        title = f"{tr(f'eye.{PICKS[name]}')}, {view.title}"
        PickDialog(title, getattr(view, PICKS[name]), lambda key: self.presenter.choose(self.eye, name, key)).open()

    def show(self, side: SideView, enabled: bool) -> None:
        """Draw a snapshot."""
        eye = self.eye.value
        self.acuity.title = f"{tr('eye.va')} {eye}"
        self.acuity.value, self.acuity.same, self.acuity.disabled = side.va, side.va_same, not enabled
        for name, area in PICKS.items():
            pick, options = self.picks[name], getattr(side, area)
            pick.title, pick.disabled, pick.normal = f"{tr(f'eye.{area}')} {eye}", not enabled, True
            pick.words = next((one.text for one in options if one.selected), "")
            pick.empty = tr("eye.not_given")
        self.reaction.show(f"{tr('eye.reaction')} {eye}", side.reaction, enabled)
        self.iop.show(side.iop, enabled)
        self.pupil.show(side.pupil, enabled)
        self.rapd.show(ChipView(f"rapd:{eye}", tr("eye.rapd"), side.rapd, eye), enabled)
        for part in (*side.slit_lamp, *side.fundus):
            box = self.parts.get(part.key)
            if box is None:
                box = self.parts[part.key] = PartBox()
                box.bind(on_release=lambda _box, key=part.key: PartDialog(self.presenter, self.eye, key).open())
            box.show(part, eye)
            box.disabled = not enabled


class EyePane(BoxLayout):
    """Both eyes field by field, in cards."""

    presenter = ObjectProperty(None)
    paired = BooleanProperty(True)
    shown_eye = StringProperty("OD")
    lost = ListProperty([])

    def __init__(self, **kwargs: Any) -> None:
        self._sides: dict[Eye, SideCells] = {}
        self._rows: dict[str, PairRow] = {}
        self._heads: dict[Eye, SideHead] = {}
        self._lit_number = 0
        super().__init__(**kwargs)

    def on_kv_post(self, _base: Any) -> None:
        """The parts are there."""
        self._heads = {eye: SideHead(side=eye.value) for eye in EYES}
        self.ids.tabs.bind(on_select=lambda _tabs, key: setattr(self, "shown_eye", key))
        for name in ("width", "shown_eye"):
            self.fbind(name, self._arrange)
        theme.bind(tiny=self._arrange)

    # ---- drawing --------------------------------------------------------------------------------------------

    def render(self, view: EyeView) -> None:
        """Draw a snapshot."""
        ids, enabled = self.ids, view.open and not view.signed
        signed = tr("exam.signed") if view.signed else ""
        ids.messages.show([(signed, "info", "lock"), (view.warning, "warning", "alert")])
        ids.copy_eye.disabled = not enabled or not view.copy.possible
        self.lost = list(view.copy.lost)
        ids.undo.disabled, ids.redo.disabled = not view.can_undo, not view.can_redo
        for side in view.sides:
            if side.eye not in self._sides:
                self._sides[side.eye] = SideCells(self.presenter, side.eye)
            self._sides[side.eye].show(side, enabled)
            self._heads[side.eye].text = side.title
        if view.sides and not self._rows:
            self._build(view.sides[0])
        self._arrange()
        if view.lit_number != self._lit_number:
            self._lit_number = view.lit_number
            self._reach(view.lit)

    def _build(self, side: SideView) -> None:
        """Cards with a row for each field."""
        groups = [
            ("eye.va", ("va", "va_correction")),
            ("eye.iop", ("iop_mmhg", "iop_method")),
            ("eye.pupil", ("pupil_mm", "pupil_reaction", "rapd")),
            ("eye.slit_lamp", tuple(one.key for one in side.slit_lamp)),
            ("eye.fundus", tuple(one.key for one in side.fundus)),
        ]
        for title, names in groups:
            card = EdgeCard(spacing=dp(8))
            card.add_widget(EdgeLabel(text=tr(title), kind="small", medium=True, tone="ink_2"))
            for name in names:
                row = self._rows[name] = PairRow()
                card.add_widget(row)
            self.ids.column.add_widget(card)

    def _arrange(self, *_: object) -> None:
        """Both eyes, or the one of the tab."""
        self.paired = self.width >= dp(PAIR_DP) * max(1.0, theme.scale)
        eyes = list(EYES) if self.paired else [Eye(self.shown_eye)]
        tabs = self.ids.tabs
        tabs.options = [] if self.paired else [(eye.value, self._heads[eye].text) for eye in EYES]
        tabs.selected = self.shown_eye
        _fill(self.ids.heads, [self._heads[eye] for eye in eyes])
        if len(self._sides) == len(EYES):
            cells = {eye: self._sides[eye].cells() for eye in EYES}
            for name, row in self._rows.items():
                _fill(row, [cells[eye][name] for eye in eyes])

    def clear_text(self) -> None:
        """Forget what copying would overwrite."""
        self.lost = []

    # ---- what a finger does ---------------------------------------------------------------------------------

    def ask_copy(self) -> None:
        """Say what would be overwritten, then copy."""
        body = "\n".join([tr("eye.copy_body"), *self.lost]) if self.lost else tr("eye.copy_body_none")
        dialog = CaseDialog(
            title=tr("eye.copy_title"),
            body=f"{body}\n{tr('eye.copy_note')}" if self.lost else body,
            icon="copy",
            actions=[("copy", tr("eye.copy_yes"), "primary"), ("cancel", tr("eye.cancel"), "plain")],
        )
        dialog.bind(on_action=lambda _dialog, key: key == "copy" and self.presenter.copy())
        dialog.open()

    def _reach(self, key: str) -> None:
        """Light up a field: 'OD.iop_mmhg'."""
        eye, _, name = key.partition(".")
        if eye not in ("OD", "OS"):
            return
        self.shown_eye = eye
        Clock.schedule_once(lambda _dt: self.light(Eye(eye), name), 0.05)  # after the next layout

    def light(self, eye: Eye, name: str) -> None:
        """Bring a field into sight, with the keyboard's ring around it."""
        cell = self._sides[eye].cells().get(name) if eye in self._sides else None
        if cell is None:
            return
        target = cell.target if isinstance(cell, MeasureBox) else cell
        if isinstance(cell, ChoiceBox):
            target = cell.ids.chips.children[-1]
        elif name == "rapd":
            target = cell.children[0]
        self.ids.scroll.show(target)
        ring.move_to(target)


def _fill(row: Any, widgets: list[Any]) -> None:
    """These and no others, in order."""
    if list(reversed(row.children)) == widgets:
        return
    row.clear_widgets()
    for widget in widgets:
        if widget.parent is not None:
            widget.parent.remove_widget(widget)
        row.add_widget(widget)


class EyeScreen(CaseScreen):
    """Eye examination left, ranked differential right."""

    name = "eye"

    def render(self, view: EyeView) -> None:
        """See EdgeScreen."""
        self.ids.exam.render(view)


load_kv(__file__)
