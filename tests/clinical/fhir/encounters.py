"""Encounters for the tests of the exports: one whole example, and any encounter by hypothesis."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from edge.clinical.encounter.model import (
    Basis,
    Differential,
    DifferentialRow,
    Encounter,
    EncounterState,
    Eye,
    EyeExam,
    EyeSide,
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
    Signature,
    VisitText,
    Vital,
)
from edge.clinical.fhir import AuditRow, BundleStamp, DeviceStamp
from edge.clinical.sections import SECTIONS

NOW = datetime(2026, 3, 4, 10, 30, tzinfo=UTC)
BEHAVIOUR = "b" * 64
DEVICE = DeviceStamp(
    "0.1.0", (BundleStamp("reference-notes", BEHAVIOUR, "a" * 64, "SmolLM2-135M int4", "passed"),), "whisper-base"
)
RUN = RunStamp(
    "run-1", "note", "reference-notes", BEHAVIOUR, "2026-03-04T10:10:00+00:00", "2026-03-04T10:10:14+00:00", True
)
AUDIT = (
    AuditRow("2026-03-04T10:00:00+00:00", "create", "e-1", {}, "1" * 64),
    AuditRow("2026-03-04T10:20:00+00:00", "sign", "e-1", {"revision": "12"}, "2" * 64),
    AuditRow("2026-03-04T10:21:00+00:00", "open", "another", {}, "3" * 64),
)


def line(
    number: int, section: str, text: str, status: LineStatus = LineStatus.KEPT, origin: Origin = Origin.MODEL
) -> NoteLine:
    """A line of the note."""
    evidence = (Place(0, 7),) if origin is Origin.MODEL else ()
    return NoteLine(f"l{number}", section, text, text if origin is Origin.MODEL else "", evidence, origin, status)


EXAMPLE = Encounter(
    id="e-1",
    patient=Patient("Änne Müller-Weiß", "1957-05-06", None, "female", "MRN-77", "12b", ("penicillin",), True),
    state=EncounterState.DRAFT,
    created_at="2026-03-04T10:00:00+00:00",
    updated_at="2026-03-04T10:19:00+00:00",
    findings=(
        FoundItem("f1", "halos", Presence.PRESENT, Eye.OS, at="2026-03-04T10:02:00+00:00"),
        FoundItem("f2", "vomiting", Presence.ABSENT),
        FoundItem("f3", "fever", Presence.UNKNOWN),
        FoundItem("f4", "cough unheard", Presence.PRESENT, origin=Origin.SPEECH, confirmed=False),
        FoundItem("f5", "eye pain", Presence.PRESENT, Eye.OS, origin=Origin.SPEECH),
    ),
    history=(FoundItem("h1", "hypertension", Presence.PRESENT),),
    vitals=(
        Vital("heart_rate", 92),
        Vital("bp_systolic", 168),
        Vital("bp_diastolic", 95),
        Vital("temperature_c", 36.9),
        Vital("spo2", 97),
        Vital("respiratory_rate", 16),
        Vital("pain", 8),
    ),
    eye=EyeExam(
        EyeSide("20/25", 0.1, "corrected", 16.0, "goldmann", 3.0, "brisk", Presence.ABSENT, {"cornea": "clear"}),
        EyeSide(
            "CF",
            None,
            "uncorrected",
            52.0,
            "goldmann",
            6.0,
            "fixed",
            Presence.UNKNOWN,
            {"cornea": "oedema", "chamber": "shallow"},
            {"disc": "no view"},
        ),
    ),
    visit=VisitText("Doctor: How are you?\nPatient: My left eye hurts and I see halos."),
    note=Note(
        (
            line(1, "CC", "Painful left eye with halos."),
            line(2, "HPI", "Pain for 6 hours <b>& nausea</b>.", LineStatus.EDITED),
            line(3, "HPI", "Secret open line.", LineStatus.OPEN),
            line(4, "HPI", "Secret removed line.", LineStatus.REMOVED),
            line(5, "ASSESSMENT", "Acute angle closure suspected.", LineStatus.KEPT, Origin.CLINICIAN),
            line(6, "PLAN", "Refer to ophthalmology now."),
        ),
        RUN,
        1,
        ("The eye is named right in one place and left in another.",),
    ),
    differential=Differential(
        (
            DifferentialRow(
                "acute angle-closure glaucoma",
                "H40.21",
                0.62,
                (Basis("halos", Ref("finding", "f1")), Basis("IOP 52 mmHg", Ref("eye", "OS.iop_mmhg"))),
                (),
                ("gonioscopy",),
                eye=Eye.OS,
                pinned=True,
            ),
            DifferentialRow("anterior uveitis", "H20.9", 0.2, (), (Basis("no cells"),), ("flare",), "model", Eye.OS),
            DifferentialRow("migraine with aura", "G43.1", 0.1, dismissed="single eye"),
        ),
        RUN,
        "ophthalmology",
    ),
    revision=12,
)


def signed(encounter: Encounter = EXAMPLE, by: str = "Dr. Ada Beispiel") -> Encounter:
    """The same, closed. Open lines would block it in the app; here they stay, to show that none leaves."""
    from dataclasses import replace

    signature = Signature(by, "2026-03-04T10:20:00+00:00", "c" * 64, (BEHAVIOUR,))
    return replace(encounter, state=EncounterState.SIGNED, signature=signature)


# Words that break a careless mapping: mark-up, quotes, control characters, other scripts, right-to-left, nothing.
HOSTILE = st.sampled_from(
    (
        "<script>alert(1)</script>",
        "a & b < c > d \" e ' f",
        "]]>",
        "&nbsp;",
        "\x00\x08null\x1f",
        "\ufffe\uffff",
        "Ωμέγα кровь 患者 مريض",
        "\u202egnp",
        " ",
        "",
        "\n\t",
        "e\u0301" * 3,
        "😀",
        "%s {0} {name}",
    )
)
WORDS = st.one_of(st.text(max_size=20), HOSTILE, st.sampled_from(("halos", "chest pain", "öde Hornhaut")))
TIMES = st.sampled_from(
    ("", "2026-03-04T10:00:00+00:00", "2026-03-04T10:00:00", "2026-03-04T11:00:00+01:00", "yesterday", "0001-01-01")
)
IDS = st.uuids(version=4).map(str)
EYES = st.sampled_from((None, *Eye))
NUMBERS = st.floats(-10, 400, width=32)
RUNS = st.one_of(st.none(), st.just(RUN), st.builds(RunStamp, WORDS, WORDS, WORDS, WORDS, TIMES, TIMES))


def _items() -> st.SearchStrategy[tuple[FoundItem, ...]]:
    item = st.builds(
        FoundItem, IDS, WORDS, st.sampled_from(Presence), EYES, WORDS, st.sampled_from(Origin), st.booleans(), TIMES
    )
    return st.lists(item, max_size=4, unique_by=lambda one: one.id).map(tuple)


_VITAL_NAMES = st.sampled_from(
    ("heart_rate", "spo2", "bp_systolic", "bp_diastolic", "temperature_c", "respiratory_rate", "pain", "glucose", "new")
)
_VITALS = st.lists(
    st.builds(Vital, _VITAL_NAMES, st.floats(), st.sampled_from(Origin), st.booleans(), TIMES),
    max_size=6,
    unique_by=lambda one: one.name,
).map(tuple)
_SIDES = st.builds(
    EyeSide,
    WORDS,
    st.none() | NUMBERS,
    st.sampled_from(("", "uncorrected", "corrected", "pinhole")),
    st.none() | NUMBERS,
    st.sampled_from(("", "goldmann", "icare", "tonopen", "air-puff", "palpation")),
    st.none() | NUMBERS,
    WORDS,
    st.sampled_from(Presence),
    st.dictionaries(WORDS, WORDS, max_size=2),
    st.dictionaries(WORDS, WORDS, max_size=2),
)
_LINES = st.lists(
    st.builds(
        NoteLine,
        IDS,
        st.sampled_from((*SECTIONS, "OTHER")),
        WORDS,
        WORDS,
        st.lists(st.builds(Place, st.integers(0, 9), st.integers(10, 20)), max_size=2).map(tuple),
        st.sampled_from(Origin),
        st.sampled_from(LineStatus),
        st.lists(st.builds(Mark, st.just("number"), st.just(0), st.just(1)), max_size=1).map(tuple),
    ),
    max_size=5,
    unique_by=lambda one: one.id,
).map(tuple)
_BASIS = st.lists(st.builds(Basis, WORDS), max_size=2).map(tuple)
_ROWS = st.lists(
    st.builds(
        DifferentialRow,
        WORDS,
        st.one_of(st.sampled_from(("H40.21", "I21", "")), WORDS),
        st.floats(),
        _BASIS,
        _BASIS,
        st.lists(WORDS, max_size=2).map(tuple),
        st.sampled_from(("table", "model")),
        EYES,
        st.booleans(),
        st.one_of(st.just(""), WORDS),
    ),
    max_size=4,
    unique_by=lambda one: (one.name, one.eye),
).map(tuple)
_PATIENTS = st.builds(
    Patient,
    WORDS,
    st.sampled_from(("", "1957-05-06", "1957-13-40", "57", "٢٠٢٠-01-01")),
    st.none() | st.integers(0, 120),
    st.sampled_from(("", "female", "male", "other", "unheard of")),
    WORDS,
    WORDS,
    st.lists(WORDS, max_size=2).map(tuple),
    st.booleans(),
)


@st.composite
def encounters(draw: st.DrawFn) -> Encounter:
    """Any encounter that the model can hold, signed or not; also ones that the app would not let be signed."""
    signature = draw(st.none() | st.builds(Signature, WORDS, TIMES, st.just("c" * 64), st.just((BEHAVIOUR,))))
    state = EncounterState.SIGNED if signature else draw(st.sampled_from(tuple(EncounterState)[:3]))
    return Encounter(
        id=draw(st.one_of(IDS, WORDS)),
        patient=draw(_PATIENTS),
        state=state,
        created_at=draw(TIMES),
        updated_at=draw(TIMES),
        findings=draw(_items()),
        history=draw(_items()),
        vitals=draw(_VITALS),
        eye=EyeExam(draw(_SIDES), draw(_SIDES)),
        visit=VisitText(draw(WORDS), draw(st.sampled_from((Origin.CLINICIAN, Origin.SPEECH)))),
        note=draw(st.none() | st.builds(Note, _LINES, RUNS)),
        differential=draw(st.none() | st.builds(Differential, _ROWS, RUNS)),
        signature=signature,
        revision=draw(st.integers(0, 99)),
    )
