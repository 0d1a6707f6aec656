"""What the fact check speaks of: a typed fact with its place in its own text, a finding about it, a report."""

from __future__ import annotations

from dataclasses import dataclass

from edge.clinical.transcript import Span

NUM = "NUM"
DRUG = "DRUG"
DOSE = "DOSE"
DX = "DX"
SX = "SX"
LAT = "LAT"
ALLERGY = "ALLERGY"
VITAL = "VITAL"
KINDS = (NUM, DRUG, DOSE, DX, SX, LAT, ALLERGY, VITAL)
ALWAYS_MAJOR = frozenset((DRUG, DOSE, ALLERGY, LAT, VITAL))

PRESENT = "present"
ABSENT = "absent"
UNKNOWN = "unknown"  # asked and not clearly answered, or hypothetical: it can support either polarity

STATED = "stated"  # said as a fact of this patient
FAMILY = "family"  # of a relative
HYPOTHETICAL = "hypothetical"  # "if you get a fever", "in case of"
ASKED = "asked"  # a question whose answer was not understood
REFUSED = "refused"  # a medicine or finding that was only discussed, stopped or declined


@dataclass(frozen=True)
class Fact:
    """One typed fact.

    concept: drug generic, condition, body part, substance, vital or lab measure; "" for a bare number.
    value: number in digits ("20", "127/80", "0.4", "2018-01-20"); unit: canonical unit ("mg", "week") or "".
    frequency: canonical ("daily", "twice daily") or ""; side: left, right, bilateral or "".
    polarity: present, absent or unknown; status: stated, family, hypothetical, asked or refused.
    anchor: content words around a number, which tie it to what it measures.
    span: its characters in the text it was extracted from; major: wrong, it could change diagnosis or management.
    """

    kind: str
    span: Span
    concept: str = ""
    value: str = ""
    unit: str = ""
    frequency: str = ""
    side: str = ""
    polarity: str = PRESENT
    status: str = STATED
    anchor: tuple[str, ...] = ()
    major: bool = False

    @property
    def text(self) -> str:
        """A short clinical wording: "lisinopril 20 mg daily", "no fever", "left knee", "blood pressure 127/80"."""
        amount = " ".join(word for word in (self.value, "%" if self.unit == "percent" else self.unit) if word)
        amount = amount.replace(" %", "%")
        if self.kind == DOSE:
            return " ".join(word for word in (self.concept, amount, self.frequency) if word)
        if self.kind == LAT:
            return f"{self.side} {self.concept}".strip()
        if self.kind == ALLERGY:
            if self.polarity == ABSENT:
                return f"no known {self.concept} allergy" if self.concept else "no known allergies"
            return f"allergy to {self.concept}" if self.concept else "allergies"
        if self.kind == VITAL:
            return f"{self.concept} {amount}"
        if self.kind == NUM:
            return amount
        return f"no {self.concept}" if self.polarity == ABSENT else self.concept


@dataclass(frozen=True)
class FactFinding:
    """A fact that the other text does not carry. reason: one clause, without words of the text."""

    fact: Fact
    reason: str
    major: bool


@dataclass(frozen=True)
class FactReport:
    """unsupported: facts of the note that nothing in the source supports. missing: facts of the source that the note
    leaves out. note_facts, source_facts: how many facts were compared on each side, for rates. omission_rate: share of
    the source's content that the note leaves out (coverage.omission_rate), a screen that follows human scores."""

    unsupported: tuple[FactFinding, ...]
    missing: tuple[FactFinding, ...]
    note_facts: int
    source_facts: int
    omission_rate: float = 0.0

    @property
    def major_unsupported(self) -> bool:
        """Whether any unsupported fact is major."""
        return any(finding.major for finding in self.unsupported)

    @property
    def major_missing(self) -> bool:
        """Whether any missing fact is major."""
        return any(finding.major for finding in self.missing)
