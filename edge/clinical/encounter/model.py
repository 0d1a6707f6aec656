"""The encounter: plain frozen values. Times are UTC ISO 8601 strings, offsets are characters, numbers carry units.

Rules
- Nothing is accepted in advance: a finding that nobody touched is UNKNOWN, a drafted line that nobody read is OPEN.
- What the model wrote stays beside what the clinician made of it (`draft_text` beside `text`), with its run.
- A side belongs to its finding: `eye` is set when the finding is made and never changes (edge.clinical.encounter.edits
  refuses it); the other eye is another finding.
- Everything that holds a patient's words has repr=False: an encounter in a traceback shows ids and states only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

VERSION = 1


class EncounterState(StrEnum):
    """new: only the patient; exam: something was found; draft: a note exists; signed: closed for ever."""

    NEW = "new"
    EXAM = "exam"
    DRAFT = "draft"
    SIGNED = "signed"


class Presence(StrEnum):
    """UNKNOWN is not asked, or not sure; never counted as absent."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Eye(StrEnum):
    """Right, left, both."""

    OD = "OD"
    OS = "OS"
    OU = "OU"


class Origin(StrEnum):
    """Who made a text: the model, the visit's own words, the clinician, speech recognition."""

    MODEL = "model"
    QUOTE = "quote"
    CLINICIAN = "clinician"
    SPEECH = "speech"


class LineStatus(StrEnum):
    """What the clinician did with a drafted line. OPEN blocks signing."""

    OPEN = "open"
    KEPT = "kept"
    EDITED = "edited"
    REMOVED = "removed"


@dataclass(frozen=True)
class Patient:
    """birth_date: ISO date or ''; age_years: when only that is known. allergies_asked: () means none only then."""

    name: str = field(default="", repr=False)
    birth_date: str = field(default="", repr=False)
    age_years: int | None = field(default=None, repr=False)
    sex: str = field(default="", repr=False)  # female, male, other or '' (not recorded)
    mrn: str = field(default="", repr=False)
    bed: str = field(default="", repr=False)
    allergies: tuple[str, ...] = field(default=(), repr=False)
    allergies_asked: bool = False


@dataclass(frozen=True)
class FoundItem:
    """One finding or one item of the history. id: unique in the encounter; concept: id of the catalogue or ''."""

    id: str
    name: str = field(repr=False)
    presence: Presence = Presence.UNKNOWN
    eye: Eye | None = None
    concept: str = ""
    origin: Origin = Origin.CLINICIAN
    confirmed: bool = True  # False: speech made it and nobody tapped it
    at: str = ""


@dataclass(frozen=True)
class Vital:
    """A measured value. name: key of edge.clinical.encounter.vitals.VITALS, which has unit, range and steps."""

    name: str
    value: float = field(repr=False)
    origin: Origin = Origin.CLINICIAN
    confirmed: bool = True
    at: str = ""


@dataclass(frozen=True)
class EyeSide:
    """One eye. va: as written (20/40, 6/12, CF, HM, LP, NLP); va_logmar: the same as logMAR, None for CF and below.

    slit_lamp, fundus: structure -> words; '' or absent means not examined.
    """

    va: str = field(default="", repr=False)
    va_logmar: float | None = field(default=None, repr=False)
    va_correction: str = ""  # '', uncorrected, corrected, pinhole
    iop_mmhg: float | None = field(default=None, repr=False)
    iop_method: str = ""  # '', goldmann, icare, tonopen, air-puff, palpation
    pupil_mm: float | None = field(default=None, repr=False)
    pupil_reaction: str = field(default="", repr=False)  # '', brisk, sluggish, fixed
    rapd: Presence = Presence.UNKNOWN
    slit_lamp: Mapping[str, str] = field(default_factory=dict, repr=False)
    fundus: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class EyeExam:
    """Both eyes, each by itself."""

    od: EyeSide = EyeSide()
    os: EyeSide = EyeSide()


@dataclass(frozen=True)
class Mark:
    """Something in a text that a person must confirm by a tap. kind: number, drug, negation or side."""

    kind: str
    start: int
    end: int
    confirmed: bool = False


@dataclass(frozen=True)
class VisitText:
    """The transcript. origin: CLINICIAN (typed, pasted, file) or SPEECH; marks: what speech may have got wrong."""

    text: str = field(default="", repr=False)
    origin: Origin = Origin.CLINICIAN
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Place:
    """Characters start..end of the transcript."""

    start: int
    end: int


@dataclass(frozen=True)
class Ref:
    """Where something in the encounter comes from.

    kind: finding, history, vital, eye, patient or transcript. key: the item's id, the vital's name, or the eye field as
    'OD.iop_mmhg' or 'OS.fundus.disc'; '' for a transcript, which has start and end.
    """

    kind: str
    key: str = ""
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class RunStamp:
    """Which build wrote it. behaviour_digest: of the bundle, hex."""

    run_id: str
    task: str
    bundle: str
    behaviour_digest: str
    started_at: str = ""
    finished_at: str = ""
    verified: bool = False


@dataclass(frozen=True)
class NoteLine:
    """A line of the note. section: key of edge.clinical.sections.SECTIONS. draft_text: as drafted, '' if typed by a
    person. evidence: places of the transcript; none = "Not in transcript". marks: into `text`.
    """

    id: str
    section: str
    text: str = field(repr=False)
    draft_text: str = field(default="", repr=False)
    evidence: tuple[Place, ...] = ()
    origin: Origin = Origin.MODEL
    status: LineStatus = LineStatus.OPEN
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Note:
    """withheld: lines of the model that the fact check did not let through. notices: words of rules, for the reader."""

    lines: tuple[NoteLine, ...] = ()
    run: RunStamp | None = None
    withheld: int = 0
    notices: tuple[str, ...] = ()
    transcript_sha256: str = ""  # of the text it was drafted from; another text makes the links stale


@dataclass(frozen=True)
class Basis:
    """Why a row stands where it stands: words of the encounter with their place. basis: table or model."""

    text: str = field(repr=False)
    ref: Ref | None = None
    basis: str = "table"


@dataclass(frozen=True)
class DifferentialRow:
    """An option. score: share among the options, no probability. dismissed: the clinician's reason, '' if not."""

    name: str
    icd10: str
    score: float
    supports: tuple[Basis, ...] = ()
    against: tuple[Basis, ...] = ()
    missing: tuple[str, ...] = ()
    basis: str = "table"
    eye: Eye | None = None
    pinned: bool = False
    dismissed: str = field(default="", repr=False)


@dataclass(frozen=True)
class Differential:
    """rows: as ranked; task: differential or ophthalmology; case_sha256: of what was ranked; another case is stale."""

    rows: tuple[DifferentialRow, ...] = ()
    run: RunStamp | None = None
    task: str = "differential"
    missing: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    case_sha256: str = ""


@dataclass(frozen=True)
class Signature:
    """Who closed it, when, and what exactly: content_sha256 is over the canonical JSON without this signature."""

    by: str
    at: str
    content_sha256: str
    behaviour_digests: tuple[str, ...] = ()


@dataclass(frozen=True)
class Encounter:
    """Everything of one visit. revision: counts edits, for autosave and stale results."""

    id: str
    patient: Patient = Patient()
    state: EncounterState = EncounterState.NEW
    created_at: str = ""
    updated_at: str = ""
    findings: tuple[FoundItem, ...] = ()
    history: tuple[FoundItem, ...] = ()
    vitals: tuple[Vital, ...] = ()
    eye: EyeExam = EyeExam()
    visit: VisitText = VisitText()
    note: Note | None = None
    differential: Differential | None = None
    signature: Signature | None = None
    revision: int = 0
    version: int = VERSION
