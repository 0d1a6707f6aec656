"""What the model reads and writes for one part of a visit; the training form and the device's form are this one."""

from __future__ import annotations

from collections.abc import Iterable

from edge.clinical.patient import PatientContext
from edge.clinical.sections import NOTHING, SECTIONS

SYSTEM = "Write the clinical note lines for this part of a visit. Use only what is said."


def part_messages(part_text: str, patient: str = "") -> list[dict[str, str]]:
    """The conversation for one part. patient: 'a 58-year-old male', or '' where the transcript does not say."""
    head = f"Patient: {patient}\n" if patient else ""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": head + part_text}]


def patient_phrase(context: PatientContext) -> str:
    """'a 58-year-old male', 'a female', 'age 58' or '': only what the transcript says."""
    if context.sex:
        age = f"{context.age_years}-year-old " if context.age_years is not None else ""
        return f"a {age}{context.sex}"
    return f"age {context.age_years}" if context.age_years is not None else ""


def part_answer(lines: Iterable[tuple[str, str]]) -> str:
    """The answer for (label, text) lines: `HPI: text` a line, the lines of one section together, in section order."""
    gathered: dict[str, list[str]] = {}
    for label, text in lines:
        gathered.setdefault(label, []).append(text)
    written = [f"{label}: {text}" for label in SECTIONS for text in gathered.get(label, [])]
    return "\n".join(written) or NOTHING


def read_answer(text: str) -> list[tuple[str, str]]:
    """(label, text) lines of an answer; a last line that was cut off by the length limit is dropped if it has no end.

    Under the grammar every line parses; without it (the base model, unconstrained) what does not is left out.
    """
    lines = []
    for line in text.splitlines():
        label, colon, words = line.partition(":")
        if colon and label.strip() in SECTIONS and words.strip():
            lines.append((label.strip(), words.strip()))
    return lines
