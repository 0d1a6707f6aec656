"""The tables and grammars of the package that decide what the clinician reads, by digest.

A bundle records them when it is built, so that its behaviour digest covers them; a device whose installed package has
others would show something that was never tested, and refuses.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import BundleError

if TYPE_CHECKING:
    from edge.clinical.note import Task

ROOM = Path(__file__).parent
NOTE_GRAMMAR = "note.lark"
# What the note task reads beside the model: the red flags, and the lists of the fact check (facts/lexicon.py).
NOTE_TABLES = (
    "redflags.yaml",
    "data/body_parts.tsv",
    "data/conditions.tsv",
    "data/drugs.tsv",
    "data/drugs_own.tsv",
    "data/findings.tsv",
    "data/salience.tsv",
    "data/units.tsv",
    "data/vitals.tsv",
)


@lru_cache(maxsize=1)
def note_rules() -> tuple[tuple[str, str], ...]:
    """(name, sha256) of each table and of the grammar that the note task uses here, by name.

    Errors: BundleError when a table of the package cannot be read.
    """
    from edge.clinical.drafting import answer_grammar  # it imports this module's callers

    try:
        found = {name: hashlib.sha256((ROOM / name).read_bytes()).hexdigest() for name in NOTE_TABLES}
    except OSError as error:
        where = Path(str(error.filename)).name
        raise BundleError("a table of edge cannot be read", where=where, mend="install edge again") from error
    found[NOTE_GRAMMAR] = hashlib.sha256(answer_grammar().encode()).hexdigest()
    return tuple(sorted(found.items()))


def check_rules(task: Task, where: str = "") -> None:
    """Hold what a task recorded of its rules to what is installed here.

    A task that records nothing is not held to anything. Errors: BundleError that names what differs.
    """
    recorded, here = dict(task.rules), dict(note_rules()) if task.rules else {}
    odd = sorted(name for name in recorded.keys() | here.keys() if recorded.get(name) != here.get(name))
    if odd:
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        raise BundleError(
            f"the rules of the task '{task.name}' are not those installed here ({odd[0][:60]}{more})",
            where=where or task.name,
            mend="install the edge version that built the bundle, or build it again",
        )
