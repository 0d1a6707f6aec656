"""Statements of a note that no word list names: "denies tossing and turning", "reports taking his medicines".

Each becomes an SX fact whose concept is its content words in their order, so that the polarity of free wording is
checked as well. Only statements with a cue are taken (a negation, or a verb of reporting): a plain sentence says too
much to be one fact.
"""

from __future__ import annotations

from edge.clinical.facts.bind import STOP_WORDS
from edge.clinical.facts.lexicon import Mention
from edge.clinical.facts.model import ABSENT, PRESENT, SX, Fact
from edge.clinical.facts.negation import States
from edge.clinical.facts.sections import is_major_section, section_at
from edge.clinical.facts.tokens import Reading, listed
from edge.clinical.transcript import Span

_SAYS = frozenset(("report", "endorse", "complain", "admit", "reported", "reporting", "endorsing"))
_BREAKS = frozenset(listed(", ; or nor but however : which because"))
_EMPTY = STOP_WORDS | frozenset(
    listed(
        "any known history significant evidence recent issue problem sign symptom other new change deny denies denied "
        "denying negative without report endorse complain of particular use concern complication appreciated noted"
    )
)
MOST_WORDS = 6
PHRASE = ("phrase",)  # the anchor that marks such a fact


def phrases(
    reading: Reading, mentions: list[Mention], states: States, spans: list[tuple[str, int, int]]
) -> list[tuple[int, Fact]]:
    """(first token, fact) of each free statement with a cue."""
    keys = reading.keys
    named = {token for mention in mentions for token in range(mention.first, mention.last)}
    out: list[tuple[int, Fact]] = []
    index = 0
    while index < len(keys):
        negated = states.polarity[index] == ABSENT
        opens = negated or (keys[index - 1] in _SAYS and index > 0)
        if not opens or keys[index] in _BREAKS:
            index += 1
            continue
        stop = index
        while (
            stop < len(keys)
            and reading.sentence[stop] == reading.sentence[index]
            and keys[stop] not in _BREAKS
            and (states.polarity[stop] == ABSENT) == negated
            and stop - index < 14
        ):
            stop += 1
        words = [at for at in range(index, stop) if keys[at] not in _EMPTY and keys[at][0].isalpha()]
        if len(words) > 1 and not named.intersection(range(index, stop)):
            words = words[:MOST_WORDS]
            span = Span(reading.tokens[words[0]].start, reading.tokens[words[-1]].end)
            concept = " ".join(keys[at] for at in words)
            major = is_major_section(section_at(spans, span.start))
            polarity = ABSENT if negated else PRESENT
            out.append((index, Fact(SX, span, concept, polarity=polarity, anchor=PHRASE, major=major)))
        index = max(stop, index + 1)
    return out
