"""Encounters for the tests: one as the picture of the bedside app shows it, and any, as hypothesis draws them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from edge.clinical.encounter import edits
from edge.clinical.encounter.findings import catalogue
from edge.clinical.encounter.model import (
    Basis,
    Differential,
    DifferentialRow,
    Encounter,
    Eye,
    FoundItem,
    LineStatus,
    Mark,
    Note,
    NoteLine,
    Origin,
    Patient,
    Place,
    Presence,
    Ref,
    RunStamp,
    VisitText,
    Vital,
)
from edge.clinical.encounter.vitals import VITALS
from edge.clinical.sections import SECTIONS
from edge.errors import InputError

NOW = "2026-03-02T08:15:00Z"
RUN = RunStamp("r1", "note", "reference", "ab12", NOW, NOW, True)
VISIT = "[doctor] how is the right eye ?\n[patient] it hurts since 6 hours . no fever . i take metoprolol 25 mg ."


def new(**fields: Any) -> Encounter:
    """A patient with a name, allergies asked, nothing found."""
    who = Patient("Ida Test", "1964-05-06", None, "female", "00944821", "B4", (), True)
    return Encounter("e1", created_at=NOW, updated_at=NOW, patient=replace(who, **fields))


def found(id: str, name: str, presence: Presence = Presence.PRESENT, eye: Eye | None = None) -> FoundItem:
    """A finding of the clinician."""
    return FoundItem(id, name, presence, eye)


def angle_closure() -> Encounter:
    """The patient of the picture: IOP 52 in the right eye, sudden pain, halos, nausea, a fixed pupil, a hazy cornea."""
    enc = new()
    for id, name, eye in (
        ("pain", "Sudden eye pain", Eye.OD),
        ("halos", "Halos around lights", Eye.OD),
        ("nausea", "Nausea", None),
        ("pupil", "Mid-dilated pupil", Eye.OD),
        ("haze", "Corneal haze", Eye.OD),
    ):
        enc = edits.set_finding(enc, found(id, name, eye=eye), NOW)
    enc = edits.set_finding(enc, found("flashes", "Flashes", Presence.ABSENT, Eye.OD), NOW)
    for eye, va, iop in ((Eye.OD, "20/200", 52), (Eye.OS, "20/25", 16)):
        enc = edits.set_eye_field(enc, eye, "va", va, NOW)
        enc = edits.set_eye_field(enc, eye, "iop_mmhg", iop, NOW)
    return edits.set_vital(enc, Vital("heart_rate", 88), NOW)


def line(id: str, text: str, section: str = "HPI", origin: Origin = Origin.MODEL, linked: bool = True) -> NoteLine:
    """A line as a draft has it."""
    return NoteLine(id, section, text, text, (Place(0, 5),) if linked else (), origin)


def drafted(*lines: NoteLine, transcript: str = VISIT) -> Note:
    """A draft of VISIT."""
    return Note(lines, RUN, transcript_sha256=hashlib.sha256(transcript.encode()).hexdigest())


def with_note(*lines: NoteLine) -> Encounter:
    """A visit with its draft."""
    enc = edits.set_visit(new(), VisitText(VISIT), NOW)
    return edits.set_note(enc, drafted(*lines), NOW)


# ---- any encounter ----------------------------------------------------------------------------------------

words = st.one_of(
    st.sampled_from([concept.en for concept in catalogue().values()]),
    st.sampled_from(["IOP 44", "pain; redness", "left arm weakness", "fever of", "no cough", "Temp", "5 mg", "a, b"]),
    st.text(max_size=24),
)
ids = st.sampled_from(["a", "b", "c", "d"])
eyes = st.sampled_from([None, Eye.OD, Eye.OS, Eye.OU])
one_eye = st.sampled_from([Eye.OD, Eye.OS])
origins = st.sampled_from([Origin.CLINICIAN, Origin.SPEECH])
items = st.builds(
    FoundItem, ids, words, st.sampled_from(Presence), eyes, st.just(""), origins, st.booleans(), st.just(NOW)
)
measured = st.builds(
    lambda name, share, origin: Vital(
        name, VITALS[name].least + share * (VITALS[name].most - VITALS[name].least), origin
    ),
    st.sampled_from(sorted(VITALS)),
    st.floats(0, 1),
    origins,
)
sections = st.sampled_from(sorted(SECTIONS))
line_texts = st.sampled_from(
    ["Eye pain for 6 hours.", "Takes metoprolol 25 mg.", "No fever.", "IOP 52 OD.", "Metoprolol twice daily.", "Rest."]
)
lines = st.builds(
    lambda id, section, text, origin, linked: line(id, text, section, origin, linked),
    ids,
    sections,
    line_texts,
    st.sampled_from([Origin.MODEL, Origin.QUOTE]),
    st.booleans(),
)
notes = st.builds(
    lambda told, text: drafted(*{one.id: one for one in told}.values(), transcript=text),
    st.lists(lines, max_size=4),
    st.sampled_from(["one", "two"]),
)
rows = st.builds(
    DifferentialRow,
    st.sampled_from(["Acute angle-closure glaucoma", "Anterior uveitis", "Migraine"]),
    st.just("H40.21"),
    st.floats(0, 1),
    st.just((Basis("Nausea", Ref("finding", "a")),)),
    st.just(()),
    st.just(("IOP",)),
    st.just("table"),
    eyes,
    st.booleans(),
    st.sampled_from(["", "came with it"]),
)
rankings = st.builds(lambda told: Differential(tuple(told), RUN), st.lists(rows, max_size=4))
visits = st.builds(VisitText, st.sampled_from([VISIT, VISIT + " no pain now .", "no 5", ""]), origins)
fields = st.one_of(
    st.tuples(st.just("iop_mmhg"), st.one_of(st.none(), st.floats(0, 90))),
    st.tuples(st.just("va"), st.sampled_from(["", "20/40", "6/12-2", "0,5", "logMAR 0.3", "CF 1 m", "NLP", "20/8"])),
    st.tuples(st.just("pupil_mm"), st.floats(1, 10)),
    st.tuples(st.just("pupil_reaction"), st.sampled_from(["", "brisk", "fixed"])),
    st.tuples(st.just("rapd"), st.sampled_from(Presence)),
    st.tuples(st.sampled_from(["slit_lamp.cornea", "fundus.disc", "slit_lamp.iris"]), words),
)

Step = Callable[[Encounter], Encounter]


def _step(function: Callable[..., Encounter], *arguments: Any) -> Step:
    def run(enc: Encounter) -> Encounter:
        try:
            return function(enc, *arguments, now=NOW)
        except InputError:
            return enc  # refused: nothing changed

    run.__name__ = function.__name__
    return run


def _steps(function: Callable[..., Encounter], *arguments: Any) -> st.SearchStrategy[Step]:
    return st.tuples(*arguments).map(lambda told: _step(function, *told))


steps = st.one_of(
    _steps(edits.set_finding, items),
    _steps(edits.set_history, items),
    _steps(edits.remove_finding, ids),
    _steps(edits.remove_history, ids),
    _steps(edits.set_vital, measured),
    _steps(edits.clear_vital, st.sampled_from(sorted(VITALS))),
    fields.flatmap(lambda told: _steps(edits.set_eye_field, one_eye, st.just(told[0]), st.just(told[1]))),
    _steps(edits.copy_eye, one_eye, one_eye),
    _steps(edits.set_visit, visits),
    _steps(edits.confirm_visit_mark, st.integers(0, 4)),
    _steps(edits.confirm_item, st.sampled_from(["finding", "history"]), ids),
    _steps(edits.set_note, notes),
    _steps(edits.edit_line, ids, line_texts),
    _steps(edits.set_line_status, ids, st.sampled_from(LineStatus)),
    _steps(edits.confirm_mark, ids, st.integers(0, 3)),
    _steps(edits.add_line, sections, line_texts, ids),
    _steps(edits.set_differential, rankings),
    _steps(edits.pin_row, st.sampled_from(["Migraine", "Anterior uveitis"]), eyes, st.booleans()),
    _steps(edits.dismiss_row, st.sampled_from(["Migraine", "Anterior uveitis"]), eyes, st.sampled_from(["", "known"])),
)
# Of a note and of a ranking alone, so that most of them meet what is there.
note_steps = st.one_of(
    _steps(edits.set_note, notes),
    _steps(edits.edit_line, ids, line_texts),
    _steps(edits.set_line_status, ids, st.sampled_from(LineStatus)),
    _steps(edits.confirm_mark, ids, st.integers(0, 3)),
    _steps(edits.add_line, sections, line_texts, ids),
)
row_steps = st.one_of(
    _steps(edits.set_differential, rankings),
    _steps(edits.pin_row, st.sampled_from(["Migraine", "Anterior uveitis"]), eyes, st.booleans()),
    _steps(edits.dismiss_row, st.sampled_from(["Migraine", "Anterior uveitis"]), eyes, st.sampled_from(["", "known"])),
)
runs = st.lists(steps, max_size=12)


@st.composite
def encounters(draw: st.DrawFn) -> Encounter:
    """What any sequence of edits makes of a patient."""
    enc = new(name=draw(words), age_years=draw(st.none() | st.integers(0, 120)))
    for step in draw(runs):
        enc = step(enc)
    return enc


def marks_of(text: str, marks: tuple[Mark, ...], kind: str) -> list[str]:
    """The words of one kind of marks."""
    return [text[mark.start : mark.end] for mark in marks if mark.kind == kind]


@st.composite
def noted(draw: st.DrawFn) -> Encounter:
    """An encounter with a draft that a person worked on."""
    enc = edits.set_note(edits.set_visit(new(), VisitText(VISIT), NOW), draw(notes), NOW)
    for step in draw(st.lists(note_steps, min_size=1, max_size=8)):
        enc = step(enc)
    return enc


@st.composite
def ranked(draw: st.DrawFn) -> Encounter:
    """An encounter with a ranking that a person decided of."""
    enc = edits.set_differential(new(), draw(rankings), NOW)
    for step in draw(st.lists(row_steps, min_size=1, max_size=8)):
        enc = step(enc)
    return enc
