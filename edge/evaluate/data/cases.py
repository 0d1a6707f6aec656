"""One case of each suite, as every reader gives it. Texts are kept exactly as they lie in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class NoteCase:
    """A visit. source: the transcript; reference: the note people wrote; context: what is known besides the
    transcript (age, sex), never the note; section: the heading where the note is only one section.
    """

    id: str
    source: str
    reference: str
    subset: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    section: str = ""


@dataclass(frozen=True)
class DiagnosisCase:
    """A patient with a list to choose from, or none. Either findings or text is given.

    candidates: in alphabetical order, so that the place in the list holds no hint; answer: the true diagnosis;
    split: train, valid or test of edge's own split ("" where the data set has its own).
    """

    id: str
    answer: str
    candidates: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    text: str = ""
    group: str = ""
    split: str = ""


@dataclass(frozen=True)
class ChoiceCase:
    """A multiple-choice question. options: letter to text, in the order of the file; answer: the right letters.

    multiple: whether the question lets several letters be right, as its words say, not as its answer is.
    """

    id: str
    stem: str
    options: Mapping[str, str]
    answer: tuple[str, ...]
    group: str = ""
    multiple: bool = False


@dataclass(frozen=True)
class JudgeCase:
    """Another model's answer to be scored. human_score: 1 to 5; model: who wrote the answer; group: the specialty."""

    id: str
    case_text: str
    answer_text: str
    human_score: float
    model: str = ""
    group: str = ""


Case = NoteCase | DiagnosisCase | ChoiceCase | JudgeCase
