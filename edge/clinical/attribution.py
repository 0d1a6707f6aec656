"""Which findings make the model name a condition that no table knows: measured, never asked for.

Each finding's log-likelihood under "Diagnosis: X" is compared with its mean under the other options of the same case
(the channel direction of edge.clinical.differential_prompt). A finding that is clearly likelier under X supports it,
one that is clearly less likely speaks against it. The evidence is a span of the input by construction, and it is the
model's: it says what the model associates, not what is true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.clinical.case import Case, Finding
from edge.clinical.differential_prompt import findings_messages, tidy
from edge.clinical.scoring import Reader, chat_ids, score_continuations

THRESHOLD_NATS = 0.7  # per finding: twice as likely as under the mean of the other options
MOST_FINDINGS = 24
ANY_OTHER = "Another condition"
_LABELS = ((True, "Present:"), (False, "Absent:"), (None, "Not sure:"))


@dataclass(frozen=True)
class Leaning:
    """nats: how much likelier the model finds this finding under the option than under the others (natural log)."""

    finding: Finding
    nats: float


def leanings(reader: Reader, case: Case, names: Sequence[str]) -> dict[str, tuple[Leaning, ...]]:
    """For each name, the case's findings in their order. One reading of the case per name."""
    groups = [(label, [one for one in case.findings if one.present is value]) for value, label in _LABELS]
    ids: list[int] = []
    owners: list[int] = []
    order: list[Finding] = []
    for label, findings in groups:
        for index, finding in enumerate(findings):
            if len(order) >= MOST_FINDINGS:
                break
            lead = f"{label}" if not index else ";"
            if ids and not index:
                lead = f"\n{label}"
            for text, owner in ((lead, -1), (f" {tidy(finding.name)}", len(order))):
                piece = reader.tokenizer.encode_text(text)
                ids += piece
                owners += [owner] * len(piece)
            order.append(finding)
    if not order or not names:
        return dict.fromkeys(names, ())
    asked = [*names, ANY_OTHER] if len(names) == 1 else list(names)
    sums = np.array([_by_finding(reader, name, ids, owners, len(order)) for name in asked])
    others = (sums.sum(axis=0) - sums) / (len(asked) - 1)
    return {
        name: tuple(Leaning(finding, float(nats)) for finding, nats in zip(order, sums[row] - others[row], strict=True))
        for row, name in enumerate(names)
    }


def _by_finding(
    reader: Reader, name: str, ids: Sequence[int], owners: Sequence[int], count: int
) -> npt.NDArray[np.float64]:
    """Summed log-likelihood of each finding's tokens: [count] float64."""
    rows = score_continuations(reader.engine, chat_ids(reader.tokenizer, findings_messages(name)), [ids])[0]
    sums = np.zeros(count)
    for owner, value in zip(owners, rows, strict=True):
        if owner >= 0:
            sums[owner] += value
    return sums
