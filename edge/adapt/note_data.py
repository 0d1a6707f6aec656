"""Training pairs for the note task: a part of a visit, and the note lines that come from it.

From ACI-Bench (whole visits) and MTS-Dialog (single sections), train splits only, both CC BY 4.0. A note is read into
(section, sentence) pairs, each given to the part it comes from (alignment.py); what has no source in the transcript is
left out. A patient's name becomes "The patient": a draft must not carry a name that nobody said.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.adapt.alignment import SUPPORTED_SHARE, Aligner, numbers_supported
from edge.clinical.note_prompt import part_answer, patient_phrase
from edge.clinical.overlap import words_of
from edge.clinical.parts import Part, split_parts
from edge.clinical.patient import patient_context
from edge.clinical.sections import NOTHING
from edge.clinical.transcript import parse_transcript

ACI_TRAIN = "aci-bench/train.csv"
ACI_VALID = "aci-bench/valid.csv"
MTS_TRAIN = "mts-dialog/MTS-Dialog-TrainingSet.csv"
MTS_VALID = "mts-dialog/MTS-Dialog-ValidationSet.csv"

# A heading of ACI-Bench's notes -> our section; the first match counts.
HEADINGS: tuple[tuple[str, str], ...] = (
    (r"CHIEF COMPLAINT|CC|REASON FOR VISIT", "CC"),
    (r"HISTORY OF PRESENT ILLNESS|HPI|SUBJECTIVE|INTERVAL HISTORY", "HPI"),
    (r"REVIEW OF SYSTEMS|ROS", "ROS"),
    (r"(CURRENT )?MEDICATIONS?( LIST)?", "MEDICATIONS"),
    (r"ALLERG(Y|IES)", "ALLERGIES"),
    (r"(SOCIAL|FAMILY)( AND FAMILY)? HISTORY|SOCIAL|FAMILY", "SOCIAL"),
    (r"(PAST )?(MEDICAL|SURGICAL|BIRTH|OBSTETRIC|GYNECOLOGIC)?( AND SURGICAL)? ?HISTORY|PAST HISTORY|"
     r"MEDICAL|SURGICAL", "HISTORY"),
    (r"VITALS?( SIGNS)?( REVIEWED)?", "VITALS"),
    (r"PHYSICAL EXAM(INATION)?|EXAM(INATION)?|OBJECTIVE", "EXAM"),
    (r"(LAB(ORATORY)? |DIAGNOSTIC )?RESULTS|PROCEDURES?|IMAGING|LABS", "RESULTS"),
    (r"ASSESSMENT (AND|&) PLAN|A/?P", "ASSESSMENT"),
    (r"ASSESSMENT|IMPRESSION|DIAGNOS[EI]S", "ASSESSMENT"),
    (r"PLAN|INSTRUCTIONS|DISPOSITION", "PLAN"),
)  # fmt: skip
MTS_SECTIONS = {
    "GENHX": "HPI", "CC": "CC", "FAM/SOCHX": "SOCIAL", "PASTMEDICALHX": "HISTORY", "PASTSURGICAL": "HISTORY",
    "GYNHX": "HISTORY", "OTHER_HISTORY": "HISTORY", "IMMUNIZATIONS": "HISTORY", "ALLERGY": "ALLERGIES",
    "MEDICATIONS": "MEDICATIONS", "ROS": "ROS", "EXAM": "EXAM", "LABS": "RESULTS", "IMAGING": "RESULTS",
    "ASSESSMENT": "ASSESSMENT", "DIAGNOSIS": "ASSESSMENT", "PLAN": "PLAN", "DISPOSITION": "PLAN", "EDCOURSE": "PLAN",
    "PROCEDURES": "RESULTS",
}  # fmt: skip
_HEADINGS = tuple((re.compile(rf"(?:{pattern})\s*:?\s*$", re.IGNORECASE), label) for pattern, label in HEADINGS)
_TITLED = re.compile(r"\b(?:Mr|Mrs|Ms|Miss|Dr)\.? [A-Z][a-z]+(?: [A-Z][a-z]+)?(?=('s)?\b)")
_NAMED = re.compile(r"^[A-Z][a-z]+ (?:[A-Z][a-z]+ )?(?=is an? |presents |returns |is here )")
_ACTION = re.compile(
    r"\b(will|recommend\w*|order\w*|prescri\w+|continue\w*|advis\w+|follow[- ]?up|refer\w*|instruct\w*|encourag\w+|"
    r"start\w*|schedul\w+|discussed|counsel\w*|increase|decrease|obtain|repeat|return|consider|plan|educat\w+|agree\w*)\b",
    re.IGNORECASE,
)
_INNER_LABEL = re.compile(
    r"^(Medical Reasoning|Medical Treatment|Additional Testing|Patient Education and Counseling|Specialist Referrals?|"
    r"Patient Agreements?|Additional Workup|Medical Decision[- ]Making|Treatment|Testing)\s*:\s*",
    re.IGNORECASE,
)
_PLAN_LABELS = frozenset({"medical treatment", "additional testing", "patient education and counseling", "treatment",
                          "specialist referral", "specialist referrals", "additional workup", "testing"})  # fmt: skip
_SENTENCES = re.compile(r"(?<=[a-z0-9)%\]][.!?])\s+(?=[A-Z0-9])")


@dataclass(frozen=True)
class NoteExample:
    """One training pair. visit: the id of its visit in the data set. dialogue_part: what the model reads."""

    visit: str
    patient: str
    dialogue_part: str
    answer: str


def note_sentences(note: str) -> Iterator[tuple[str, str]]:
    """(section, sentence) pairs of a note in ACI-Bench's form."""
    section, combined = "HPI", False
    for raw in note.splitlines():
        line = raw.strip().lstrip("•-*· ").strip()
        if not line:
            continue
        known = next((label for pattern, label in _HEADINGS if pattern.fullmatch(line)), None)
        if known is not None and (line.isupper() or line.endswith(":") or len(line.split()) == 1):
            section = known
            combined = known == "ASSESSMENT"
            continue
        inner = _INNER_LABEL.match(line)
        forced = ""
        if inner:
            forced = "PLAN" if inner[1].lower() in _PLAN_LABELS else "ASSESSMENT"
            line = line[inner.end() :]
        for sentence in _SENTENCES.split(anonymous(line)):
            words = anonymous(sentence.strip())
            if words:
                label = section
                if section in {"ASSESSMENT", "PLAN"} and combined:
                    label = forced or ("PLAN" if _ACTION.search(words) else "ASSESSMENT")
                yield label, words


def anonymous(sentence: str) -> str:
    """A sentence without the patient's name."""
    sentence = _TITLED.sub(lambda found: "The patient" if found.start() == 0 else "the patient", sentence)
    return _NAMED.sub("The patient ", sentence)


def pairs_for_visit(
    visit: str, dialogue: str, sentences: list[tuple[str, str]], aligner: Aligner, patient: str, *, part_words: int
) -> list[NoteExample]:
    """Training pairs of one visit; a part that no sentence comes from asks for NONE."""
    parts: tuple[Part, ...] = split_parts(parse_transcript(dialogue), part_words)
    if not parts:
        return []
    bags = [frozenset(words_of(part.text)) for part in parts]
    numbers = [part.text + " " + patient for part in parts]
    lines: list[list[tuple[str, str]]] = [[] for _ in parts]
    for label, sentence in sentences:
        index, share = aligner.best(sentence, bags)
        if share >= SUPPORTED_SHARE and numbers_supported(sentence, numbers[index]):
            lines[index].append((label, sentence))
    return [
        NoteExample(visit, patient, part.text, part_answer(found)) for part, found in zip(parts, lines, strict=True)
    ]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a data set's CSV."""
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def aci_examples(path: Path, aligner: Aligner, *, part_words: int) -> list[NoteExample]:
    """Training pairs of an ACI-Bench file, in the file's order."""
    examples: list[NoteExample] = []
    for row in read_rows(path):
        patient = patient_phrase(patient_context(row["dialogue"]))
        sentences = list(note_sentences(row["note"]))
        examples += pairs_for_visit(
            row["encounter_id"], row["dialogue"], sentences, aligner, patient, part_words=part_words
        )
    return examples


def mts_examples(path: Path, aligner: Aligner, *, part_words: int) -> list[NoteExample]:
    """Training pairs of an MTS-Dialog file; a part without a supported sentence teaches nothing and is left out."""
    examples: list[NoteExample] = []
    for row in read_rows(path):
        label = MTS_SECTIONS.get(row["section_header"])
        if label is None:
            continue
        text = " ".join(row["section_text"].split())
        sentences = [(label, anonymous(sentence)) for sentence in _SENTENCES.split(text) if sentence.strip()]
        patient = patient_phrase(patient_context(row["dialogue"]))
        found = pairs_for_visit(row["ID"], row["dialogue"], sentences, aligner, patient, part_words=part_words)
        examples += [example for example in found if example.answer != NOTHING]
    return examples


def background(data: Path) -> Aligner:
    """Word weights from both train splits."""
    texts: list[str] = []
    for row in read_rows(data / ACI_TRAIN):
        texts += [row["dialogue"], row["note"]]
    for row in read_rows(data / MTS_TRAIN):
        texts.append(row["dialogue"] + " " + row["section_text"])
    return Aligner(texts)
