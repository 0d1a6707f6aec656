"""The words a model reads to compare diagnoses: one pure form, for training, for scoring and for the bundle.

Training and use must meet in the same characters, so nothing here depends on a model, a file or a setting.
Candidates are always listed alphabetically: their place in the list tells nothing, and the order in which a caller
gives them changes nothing.

Two directions, both scored and never sampled:
- direct: `differential_messages(case, candidates)` followed by `completion(name)`: how likely the name is;
- channel: `findings_messages(name)` followed by `findings_completion(case)`: how likely the findings are under a name
  (Min et al. 2022, noisy channel language model prompting), in which a common name has no advantage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SYSTEM = "You compare possible diagnoses with the findings of one patient. Answer with one name from the list."
OPEN_SYSTEM = "You compare possible diagnoses with the findings of one patient. Answer with one name."
CHANNEL_SYSTEM = "You list the findings of a patient with a given diagnosis."
NO_FINDINGS = "none given"
_SPACE = re.compile(r"\s+")


def tidy(text: str) -> str:
    """One line: spaces squeezed, no semicolon, which parts findings."""
    return _SPACE.sub(" ", text.replace(";", ",")).strip(" ,")


def render_findings(present: Iterable[str], absent: Iterable[str] = (), unsure: Iterable[str] = ()) -> str:
    """The canonical text of a case that is a list of findings; a group without findings has no line."""
    groups = (("Present", present), ("Absent", absent), ("Not sure", unsure))
    lines = []
    for label, names in groups:
        told = list(dict.fromkeys(name for name in map(tidy, names) if name))
        if told:
            lines.append(f"{label}: {'; '.join(told)}")
    return "\n".join(lines)


def ordered(candidates: Iterable[str]) -> list[str]:
    """Candidates as they are listed: tidy, each once, alphabetical without regard to case."""
    names = dict.fromkeys(name for name in map(tidy, candidates) if name)
    return sorted(names, key=lambda name: (name.casefold(), name))


def differential_messages(case_text: str, candidates: Sequence[str]) -> list[dict[str, str]]:
    """Messages whose answer is `completion(name)`. Without candidates the question is open."""
    names = ordered(candidates)
    told = case_text.strip() or NO_FINDINGS
    listed = "".join(f"- {name}\n" for name in names)
    middle = f"\n\nPossible diagnoses:\n{listed}\n" if names else "\n\n"
    return [
        {"role": "system", "content": SYSTEM if names else OPEN_SYSTEM},
        {"role": "user", "content": f"Findings:\n{told}{middle}Most likely diagnosis:"},
    ]


def completion(name: str) -> str:
    """What the assistant says; the end of its turn follows."""
    return tidy(name)


def findings_messages(name: str) -> list[dict[str, str]]:
    """Messages whose answer is `findings_completion(case)`."""
    return [
        {"role": "system", "content": CHANNEL_SYSTEM},
        {"role": "user", "content": f"Diagnosis: {tidy(name)}\n\nFindings:"},
    ]


def findings_completion(case_text: str) -> str:
    """What the assistant says of a diagnosis: the case's own text; the end of its turn follows."""
    return case_text.strip() or NO_FINDINGS
