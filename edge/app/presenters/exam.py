"""The examination: findings by system, history, vital signs and pressure. Nothing is there that nobody touched.

Rules
- A tap goes unknown, present, absent, unknown. Unknown takes the entry out again: it is as if nobody asked.
- A finding that asks for an eye gets the eye that is selected, once; the same finding of the other eye is another chip.
- What speech recognition made counts only after a tap, which confirms it and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edge.app.i18n import tr, translator
from edge.app.presenters.base import Presenter
from edge.app.presenters.measures import Measures, MeasureView
from edge.app.presenters.places import Jump
from edge.clinical.encounter import edits
from edge.clinical.encounter.findings import Concept, catalogue, search, systems
from edge.clinical.encounter.model import Encounter, EncounterState, Eye, FoundItem, Presence
from edge.clinical.encounter.vitals import VITALS

if TYPE_CHECKING:
    from edge.app.workspace import Workspace

RECORDED = "recorded"
HISTORY = "history"
PRESSURES = ("iop_od", "iop_os")
LONGEST_TEXT = 80
MOST_RESULTS = 12  # of a search
FEW_CHIPS = 14  # of a system at first; what was asked is always there
_NEXT = {Presence.UNKNOWN: Presence.PRESENT, Presence.PRESENT: Presence.ABSENT, Presence.ABSENT: Presence.UNKNOWN}


@dataclass(frozen=True)
class ChipView:
    """A finding to tap. eye: OD, OS, OU or '' (of no eye, or not made yet). key: the same for the same finding."""

    key: str
    name: str = field(repr=False)
    presence: Presence = Presence.UNKNOWN
    eye: str = ""
    unconfirmed: bool = False
    red: bool = False
    item_id: str = ""
    concept: str = ""


@dataclass(frozen=True)
class TabView:
    """A system of the body. count: how many of its findings were asked."""

    name: str
    title: str
    count: int
    selected: bool


@dataclass(frozen=True)
class ExamView:
    """Everything that the exam's own pane shows. lit: key of what a jump points at; add: words of a free finding."""

    open: bool = False
    signed: bool = False
    query: str = field(default="", repr=False)
    tabs: tuple[TabView, ...] = ()
    chips: tuple[ChipView, ...] = ()
    more: str = ""
    heading: str = field(default="", repr=False)
    add: str = field(default="", repr=False)
    add_words: str = field(default="", repr=False)
    add_eye_words: str = field(default="", repr=False)
    eye: Eye = Eye.OD
    history: tuple[ChipView, ...] = ()
    vitals: tuple[MeasureView, ...] = ()
    to_confirm: str = ""
    can_undo: bool = False
    can_redo: bool = False
    lit: str = ""
    lit_number: int = 0


class ExamPresenter(Presenter[ExamView]):
    """See the module's docstring."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(ExamView())
        self.workspace = workspace
        self.measures = Measures(workspace)
        self._encounter_id = ""
        self._tab = RECORDED
        self._query = ""
        self._eye = Eye.OD
        self._all = False
        self._kept: dict[str, ChipView] = {}
        self._lit, self._lit_number = "", 0
        self.refresh()

    def refresh(self) -> bool:
        """Take over what the desk holds now; see Presenter."""
        encounter = self.workspace.encounter
        if (encounter.id if encounter else "") != self._encounter_id:
            self._encounter_id = encounter.id if encounter else ""
            self._tab = RECORDED if encounter and encounter.findings else next(iter(systems()))
            self._query, self._lit, self._kept = "", "", {}
        return super().refresh()

    # ---- findings -------------------------------------------------------------------------------------------

    def choose_tab(self, name: str) -> None:
        """Show a system, or what was recorded; ends a search."""
        self._tab, self._query, self._kept, self._all = name, "", {}, False
        self.refresh()

    def show_all(self) -> None:
        """Show all findings of the system, or the usual ones only."""
        self._all = not self._all
        self.refresh()

    def find(self, query: str) -> None:
        """Search the catalogue, synonyms and typing errors included; '' ends it."""
        self._query = query
        self.refresh()

    def choose_eye(self, eye: Eye) -> None:
        """The eye that the next finding gets."""
        self._eye = eye
        self.refresh()

    def tap(self, chip: ChipView) -> None:
        """Confirm what speech made; else the next of present, absent, unknown."""
        if chip.unconfirmed:
            self.workspace.edit(edits.confirm_item, self._kind(chip), chip.item_id)
            return
        self._set(chip, _NEXT[chip.presence])

    def hold(self, chip: ChipView) -> None:
        """Back to unknown, whatever it was; this also rejects what speech made."""
        self._set(chip, Presence.UNKNOWN)

    def add_text(self, with_eye: bool = False) -> None:
        """Record what was typed as a finding that is present, in the clinician's own words."""
        name = " ".join(self._query.split())[:LONGEST_TEXT]
        if not name:
            return
        self._query, self._tab = "", RECORDED
        item = FoundItem(self.workspace.services.new_id(), name, Presence.PRESENT, self._eye if with_eye else None)
        self.workspace.edit(edits.set_finding, replace(item, at=self.workspace.now()))

    def add_history(self, text: str) -> None:
        """Record an item of the history as present; a catalogue's word gets its concept."""
        name = " ".join(text.split())[:LONGEST_TEXT]
        if not name:
            return
        known = _named(name)
        item = FoundItem(
            self.workspace.services.new_id(),
            known.en if known else name,
            Presence.PRESENT,
            concept=known.id if known else "",
            at=self.workspace.now(),
        )
        self.workspace.edit(edits.set_history, item)

    def _kind(self, chip: ChipView) -> str:
        return HISTORY if chip.key.startswith(HISTORY) else "finding"

    def _set(self, chip: ChipView, presence: Presence) -> None:
        history = self._kind(chip) == HISTORY
        if presence is Presence.UNKNOWN:
            if chip.item_id:
                # The chip stays where it is until the tab changes: nothing moves away under the finger.
                self._kept[chip.key] = replace(chip, presence=presence, unconfirmed=False, item_id="")
                self.workspace.edit(edits.remove_history if history else edits.remove_finding, chip.item_id)
            return
        concept = catalogue().get(chip.concept)
        asks = concept is not None and concept.asks_eye and not history
        eye = Eye(chip.eye) if chip.eye else self._eye if asks else None
        item = FoundItem(
            chip.item_id or self.workspace.services.new_id(),
            concept.en if concept else chip.name,
            presence,
            eye,
            chip.concept,
            at=self.workspace.now(),
        )
        self.workspace.edit(edits.set_history if history else edits.set_finding, item)

    # ---- undo and jumps -------------------------------------------------------------------------------------

    def undo(self) -> None:
        """Back by one edit."""
        self.measures.forget_hold()
        self.workspace.undo()

    def redo(self) -> None:
        """Forward by one edit."""
        self.measures.forget_hold()
        self.workspace.redo()

    def reveal(self, jump: Jump) -> None:
        """Bring what a jump points at into the view, and light it up. `view.lit` is its key."""
        kind, key = jump.ref.kind, jump.ref.key
        self._lit_number += 1
        if kind == "vital":
            self._lit = key
        elif kind == HISTORY:
            self._lit = f"{HISTORY}:{key}" if key else HISTORY
        elif key and self.workspace.encounter:
            item = next((one for one in self.workspace.encounter.findings if one.id == key), None)
            self._query, self._tab = "", RECORDED
            self._lit = _key(item) if item else ""
        else:
            self._query = jump.words
            self._lit = "search"
        self.refresh()

    # ---- the snapshot ---------------------------------------------------------------------------------------

    def make_view(self) -> ExamView:
        """See Presenter."""
        workspace, encounter = self.workspace, self.workspace.encounter
        if encounter is None:
            return ExamView(eye=self._eye)
        query, more = " ".join(self._query.split()), ""
        found = search(query, translator.language, MOST_RESULTS) if query else ()
        if query:
            chips = self._of_concepts(encounter, found)
        elif self._tab == RECORDED:
            chips = self._recorded(encounter)
        else:
            listed = [one for one in catalogue().values() if one.system == self._tab]
            chips = self._of_concepts(encounter, listed)
            if len(chips) > FEW_CHIPS + 2:
                more = tr("exam.show_fewer") if self._all else tr("exam.show_all", count=len(chips))
                chips = (
                    chips
                    if self._all
                    else tuple(one for n, one in enumerate(chips) if n < FEW_CHIPS or one.eye or one.item_id)
                )
        items = (*encounter.findings, *encounter.history)
        speech = [one.confirmed for one in items].count(False) + [one.confirmed for one in encounter.vitals].count(
            False
        )
        exact = any(one.name.casefold() == query.casefold() for one in chips)
        return ExamView(
            open=True,
            signed=encounter.state is EncounterState.SIGNED,
            query=self._query,
            tabs=self._tabs(encounter),
            chips=chips,
            more=more,
            heading=self._heading(encounter, query, chips),
            add="" if exact else query,
            add_words=tr("exam.add_as_written", text=query) if query and not exact else "",
            add_eye_words=tr("exam.add_for_eye", eye=self._eye.value, text=query) if query and not exact else "",
            eye=self._eye,
            history=tuple(_chip(one, f"{HISTORY}:{one.id}") for one in encounter.history)
            + tuple(one for key, one in self._kept.items() if key.startswith(HISTORY)),
            vitals=tuple(self.measures.view(name) for name in (*PRESSURES, *VITALS)),
            to_confirm=tr("exam.from_speech", count=speech) if speech else "",
            can_undo=workspace.can_undo,
            can_redo=workspace.can_redo,
            lit=self._lit,
            lit_number=self._lit_number,
        )

    def _heading(self, encounter: Encounter, query: str, chips: tuple[ChipView, ...]) -> str:
        """What stands over the chips: what was searched, or how much was recorded."""
        if query:
            return tr("exam.results", query=query) if chips else tr("exam.no_result")
        if self._tab != RECORDED:
            return ""
        asked = [one.presence for one in encounter.findings]
        counts = tr("exam.counts", present=asked.count(Presence.PRESENT), absent=asked.count(Presence.ABSENT))
        return counts if chips else tr("exam.nothing_recorded")

    def _tabs(self, encounter: Encounter) -> tuple[TabView, ...]:
        asked: dict[str, int] = {}
        for one in encounter.findings:
            concept = catalogue().get(one.concept)
            if concept is not None and one.presence is not Presence.UNKNOWN:
                asked[concept.system] = asked.get(concept.system, 0) + 1
        recorded = TabView(
            RECORDED, tr("exam.tab_recorded"), len(encounter.findings), self._tab == RECORDED and not self._query
        )
        return (
            recorded,
            *(
                TabView(one, tr(f"exam.system_{one}"), asked.get(one, 0), self._tab == one and not self._query)
                for one in systems()
            ),
        )

    def _recorded(self, encounter: Encounter) -> tuple[ChipView, ...]:
        made = [_chip(one, _key(one)) for one in encounter.findings]
        keys = {one.key for one in made}
        return (*made, *(one for key, one in self._kept.items() if key not in keys and not key.startswith(HISTORY)))

    def _of_concepts(self, encounter: Encounter, concepts: Iterable[Concept]) -> tuple[ChipView, ...]:
        """Chips of a list of the catalogue: what was made of each, then one that is still to be asked."""
        chips: list[ChipView] = []
        for concept in concepts:
            made = [_chip(one, _key(one)) for one in encounter.findings if one.concept == concept.id]
            keys = {one.key for one in made}
            made += [one for key, one in self._kept.items() if one.concept == concept.id and key not in keys]
            keys |= {one.key for one in made}
            eye, name = self._eye.value if concept.asks_eye else "", concept.name(translator.language)
            if f"{concept.id}:{eye}" not in keys and not (eye and made and self._covers(made)):
                made.append(ChipView(f"{concept.id}:{eye}", name, red=concept.red, concept=concept.id))
            chips += made
        return tuple(chips)

    def _covers(self, made: list[ChipView]) -> bool:
        """Whether the eye that is selected is already told: both eyes are told by OU, and OU by both eyes."""
        told = {one.eye for one in made if one.presence is not Presence.UNKNOWN}
        return "OU" in told or (self._eye is Eye.OU and {"OD", "OS"} <= told)


def _named(words: str) -> Concept | None:
    """The finding of the catalogue that has this very name, in either language or as a synonym."""
    wanted = words.casefold()
    for concept in search(words, translator.language, MOST_RESULTS):
        if wanted in (one.casefold() for one in (concept.en, concept.de, *concept.synonyms)):
            return concept
    return None


def _key(item: FoundItem) -> str:
    """The same for the same finding of the same eye, made or not."""
    return f"{item.concept}:{item.eye.value if item.eye else ''}" if item.concept else f"item:{item.id}"


def _chip(item: FoundItem, key: str) -> ChipView:
    concept = catalogue().get(item.concept)
    name = concept.name(translator.language) if concept else item.name
    eye = item.eye.value if item.eye else ""
    red = concept is not None and concept.red
    return ChipView(key, name, item.presence, eye, not item.confirmed, red, item.id, item.concept)
