"""Whether what is named is said to be there: NegEx-style scopes, lists, and the answer to a question.

After Chapman 2001 (NegEx) and Harkema 2009 (ConText: family, hypothetical), widened for dialogue: in "any fever or
chills ?" / "no ." the answer decides what the question named; in run-on speech ("any fever no any chills no") a bare
"no" closes the question before it. Every token gets one state; the rules only look inside a sentence or, for answers,
one turn ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.clinical.facts.model import ABSENT, ASKED, FAMILY, HYPOTHETICAL, PRESENT, REFUSED, STATED, UNKNOWN
from edge.clinical.facts.tokens import Reading, listed
from edge.clinical.transcript import CLINICIAN, PATIENT

# A cue and how many tokens its scope may run; a listing cue runs to the end of its sentence or a terminator.
_LIST = 60
_PRE = {
    "deny": _LIST, "denies": _LIST, "denied": _LIST, "denying": _LIST, "denie": _LIST, "negative": _LIST,
    "without": _LIST, "no": _LIST, "never": 7, "nor": 8, "neither": 12, "none": 0, "not": 7, "n't": 7, "cannot": 5,
    "absent": 6, "resolved": 0, "lack": 5, "denial": _LIST, "unremarkable": 0, "non": 2, "nontender": 0,
}  # fmt: skip
_PRE_PAIRS = {
    ("free", "of"): 8, ("rule", "out"): 0, ("absence", "of"): 8, ("ruled", "out"): 6, ("rather", "than"): 4,
    ("rules", "out"): 6, ("instead", "of"): 4,
}  # fmt: skip
_PERCEIVING = frozenset(
    listed("think believe appreciate see hear feel notice have had find detect experience report observe palpate any")
)
_POST = frozenset(("negative", "absent", "denied", "none", "no", "never", "ruled"))
_STOP = frozenset(
    (
        "but", "however", "although", "except", "though", "endorse", "report", "reporting", "positive", "admit",
        "admitting", "complain", "states", "because", "which", "who", "since", "therefore", "yet", ";", "aside",
        "besides", "other", "apart", "still", "admits", "endorses", "reports", "complains", "then", "just", "only",
        "due", "secondary", "presents", "present", "presented", "until", "when", "despite", "has", "does",
        "continue", "so", "unless", "notes", "noted", "had", "exacerbate", "was", "is",
    )
)  # fmt: skip
# After these a listing "no" goes on ("no fever is noted, chills or cough"): verbs that report the absence.
_SOFT_STOP = frozenset(listed("is was noted notes has had does report present when other"))
_NEW_CLAUSE = frozenset(
    listed(
        "you i we your my okay alright so then on i'm we'll gon there it that's it's you're she he they what let let's"
    )
)
_PSEUDO_AFTER = {
    "not": frozenset(listed("sure only really certain bad too clear necessarily know")),
    "n't": frozenset(("know", "sure", "remember", "get", "matter", "mind", "want", "worry", "wait")),
    "no": frozenset(("longer", "worries", "change", "worry", "matter", "one", "idea", "improvement", "relief")),
    "without": frozenset(("improvement", "relief", "help", "change")),
}
_HYPOTHETICAL_STRONG = frozenset(("if", "unless", "case", "whether"))
_RELATIVE = frozenset(
    listed(
        "mother father mom dad brother sister grandmother grandfather aunt uncle cousin grandma grandpa wife husband "
        "son daughter parent sibling maternal paternal grandparent niece nephew relative mum"
    )
)
_YES = frozenset(
    ("yes", "yeah", "yep", "yup", "correct", "right", "exactly", "definitely", "absolutely", "sure", "mm-hmm")
)
_NO = frozenset(
    ("no", "nope", "nah", "not", "never", "none", "negative", "neither", "n't", "nothing", "denies", "uh-uh")
)
_NO_WORDS = frozenset(listed("don't haven't didn't hasn't isn't wasn't doesn't can't aren't"))
_ASK_PAIRS = frozenset(
    (
        ("do", "you"), ("have", "you"), ("are", "you"), ("did", "you"), ("any", "problem"), ("were", "you"),
        ("do", "they"), ("does", "he"), ("does", "she"), ("has", "he"), ("has", "she"), ("is", "he"), ("is", "she"),
        ("had", "you"), ("can", "you"), ("did", "he"), ("did", "she"), ("is", "there"),
    )
)  # fmt: skip
_AFTER_ANSWER = frozenset(
    listed(
        "no i okay ok alright all it not nothing never none and that but , . uh um just yeah you so he she well we "
        "really do they good any have are did"
    )
) | {""}
TAIL = 30
_FILLER = frozenset(listed("um uh oh well okay ok , hm hmm ah so like honestly and"))
_REFUSING = frozenset(
    ("refused", "declined", "refuse", "decline", "stopped", "discontinued", "quit", "discontinue", "hold")
)


@dataclass(frozen=True)
class States:
    """polarity and status of each token; question: whether the token stands in a question of the clinician."""

    polarity: tuple[str, ...]
    status: tuple[str, ...]


def is_no(key: str) -> bool:
    """A word that says no, or ends in n't."""
    return key in _NO or key in _NO_WORDS or key.endswith("n't")


def read_states(reading: Reading) -> States:
    """State of every token of a text."""
    size = len(reading.keys)
    polarity, status = [PRESENT] * size, [STATED] * size
    index = 0
    spans = []
    while index < size:
        number = reading.sentence[index]
        end = index
        while end < size and reading.sentence[end] == number:
            end += 1
        spans.append((index, end))
        index = end
    for first, last in spans:
        _scopes(reading.keys, first, last, polarity, status)
    for place, (first, last) in enumerate(spans):
        _question(reading, spans, place, first, last, polarity, status)
    return States(tuple(polarity), tuple(status))


def _scopes(keys: tuple[str, ...], first: int, last: int, polarity: list[str], status: list[str]) -> None:
    index = first
    while index < last:
        key = keys[index]
        reach = _reach(keys, index, last)
        if reach:
            runs_on = last - first > 28 and "," not in keys[first:last]  # speech without punctuation
            stop = min(last, index + 1 + (min(reach, 11) if runs_on else reach))
            index = _negate(keys, index + 1, stop, reach >= _LIST, runs_on, polarity)
            continue
        if key in _POST and index > first and not reach:
            _backwards(keys, index, first, polarity)
        if key in _HYPOTHETICAL_STRONG:
            for place in range(index + 1, min(last, index + 16)):
                status[place] = HYPOTHETICAL
        elif key in _RELATIVE:
            for place in range(max(first, index - 3), min(last, index + 14)):
                if keys[place] in ("i", "patient", "she", "he") and place > index + 2:
                    break
                status[place] = FAMILY
        elif key in _REFUSING:
            for place in range(index + 1, min(last, index + 8)):
                if status[place] == STATED:
                    status[place] = REFUSED
        index += 1


def _reach(keys: tuple[str, ...], index: int, last: int) -> int:
    """How far a negation cue at `index` runs; 0 if there is none."""
    key = keys[index]
    following = keys[index + 1] if index + 1 < last else ""
    if (key, following) in _PRE_PAIRS:
        return _PRE_PAIRS[key, following]
    base = "n't" if key.endswith("n't") else key
    reach = _PRE.get(base, 0)
    if base in ("n't", "not") and following in _PERCEIVING:
        reach = 16
    if not reach or following in _PSEUDO_AFTER.get(base, ()):
        return 0
    if base == "no" and (
        not following or following in (",", ".", "?", "no", "i", "and", "it", "not", "that", "okay", ")", "any")
    ):
        return 0
    if (base == "negative" and following in (".", ",", ";")) or (base == "negative" and not following):
        return 0
    return reach


def _negate(keys: tuple[str, ...], start: int, stop: int, listing: bool, runs_on: bool, polarity: list[str]) -> int:
    """Mark the scope; returns the token to go on with."""
    place = start
    clause = (
        listing and keys[start - 1] != "no" and keys[start : start + 1] in (("that",), ("she",), ("he",), ("they",))
    )
    while place < stop:
        key = keys[place]
        grace = 7 if clause else 2  # "denies that he had ..." denies the whole clause
        soft = key in _SOFT_STOP and (
            place - start < grace or (listing and place - start < 6 and key not in ("has", "had"))
        )
        if key in _STOP and not soft:
            break
        if runs_on and place > start and key in _NEW_CLAUSE:
            break
        if (
            key == "and"
            and place + 1 < stop
            and keys[place + 1] in ("i", "he", "she", "it", "we", "has", "is", "the", "you")
        ):
            break
        if (
            key == ","
            and place + 1 < stop
            and keys[place + 1] in ("she", "he", "it", "i", "we", "you", "there", "patient")
        ):
            break
        if not listing and stop - start < 10 and key in (",", "and") and place > start + 1:
            break
        if place > start and key in ("no", "denies", "yes", "yeah", "okay", "alright") and key != "no":
            break
        polarity[place] = ABSENT
        place += 1
    return place


def _backwards(keys: tuple[str, ...], index: int, first: int, polarity: list[str]) -> None:
    """ "fever : no", "strep test was negative" """
    if keys[index] in ("no", "never", "none") and keys[index - 1] not in (":", "?"):
        return
    if keys[index] == "ruled" and keys[index + 1 : index + 2] != ("out",):
        return
    place = index - 1
    steps = 0
    while place >= first and steps < 6:
        if keys[place] in (";", "but", "positive", "with"):
            break
        polarity[place] = ABSENT
        place -= 1
        steps += 1


def _question(
    reading: Reading,
    spans: list[tuple[int, int]],
    place: int,
    first: int,
    last: int,
    polarity: list[str],
    status: list[str],
) -> None:
    keys = reading.keys
    if not reading.turns:
        return
    turn = reading.tokens[first].turn
    speaker = reading.turns[turn].speaker
    marked = keys[last - 1] == "?"
    start = _ask_start(keys, first, last, polarity)
    if not marked and start < 0 and last - first <= TAIL:
        return
    if speaker not in (CLINICIAN, PATIENT, "other") and not marked:
        return
    if not marked and (_inline(keys, first, last, polarity) or start < 0):
        return
    start = max(start, first)
    answer = UNKNOWN
    if place + 1 < len(spans):
        follow = place + 1
        same = reading.tokens[spans[follow][0]].turn == turn
        goes_on = same and marked and follow + 1 < len(spans) and speaker == CLINICIAN
        if goes_on and (keys[spans[follow][1] - 1] == "?" or _ask_start(keys, *spans[follow], polarity) >= 0):
            # The clinician asks another question first: the answer comes after it.
            while follow < len(spans) and reading.tokens[spans[follow][0]].turn == turn:
                follow += 1
        if follow < len(spans) and reading.tokens[spans[follow][0]].turn <= turn + 1:
            answer = _answer(keys, *spans[follow])
    for index in range(first, start if marked else first):  # said on the way to the question, perhaps asked as well
        if status[index] == STATED and not {"you", "your"} & set(keys[first:start]):
            status[index], polarity[index] = ASKED, UNKNOWN
    for index in range(start, last):
        if answer == ABSENT:
            polarity[index] = ABSENT if polarity[index] == PRESENT else polarity[index]
            if status[index] != FAMILY:
                status[index] = STATED
        elif answer == PRESENT:
            continue  # "no chest pain , right ?" "yes .": what the question denied stays denied
        elif status[index] == STATED:
            status[index] = ASKED
            if polarity[index] == PRESENT:
                polarity[index] = UNKNOWN


def _ask_cue(keys: tuple[str, ...], index: int, first: int, last: int, polarity: list[str]) -> bool:
    """Whether a question opens at `index`: "any ...", "do you ..."; not "without any", not "i will have you ..."."""
    before = keys[index - 1] if index > first else ""
    if keys[index] == "any":
        return polarity[index] != ABSENT and before not in ("n't", "not", "without", "of", "in", "if", "have", "for")
    if index + 1 >= last or (keys[index], keys[index + 1]) not in _ASK_PAIRS:
        return False
    return before not in ("to", "na", "will", "'ll", "we'll", "i'll", "would", "should", "as", "how", "what", "where")


def _ask_start(keys: tuple[str, ...], first: int, last: int, polarity: list[str]) -> int:
    """First token of the asking part, -1 if nothing asks: "you have asthma , any fever ?" asks about the fever only.

    Speech without punctuation makes one sentence of a whole turn: only its last words can be the question that the next
    turn answers.
    """
    floor = first if keys[last - 1] == "?" else max(first, last - TAIL)
    cues = [index for index in range(floor, last) if _ask_cue(keys, index, first, last, polarity)]
    if not cues:
        return -1
    best = cues[0]
    while best > floor and keys[best - 1] in ("and", "or", "any", "do", "have", "you", "had"):
        best -= 1
    return best


def _inline(keys: tuple[str, ...], first: int, last: int, polarity: list[str]) -> bool:
    """Run-on speech: a bare "no" or "yes" inside the sentence answers what was asked since the last answer."""
    asked = -1
    done = False
    index = first
    while index < last:
        key = keys[index]
        if (asked < 0 or index - asked > 28) and _ask_cue(keys, index, first, last, polarity):
            asked = index
        elif asked >= 0 and index > asked + 1 and key in ("no", "nope", "yes", "yeah"):
            following = keys[index + 1] if index + 1 < last else ""
            if index - asked > 28 or (key == "no" and following not in _AFTER_ANSWER):
                asked = -1
                index += 1
                continue
            for place in range(asked, index):
                if key in ("no", "nope"):
                    polarity[place] = ABSENT
            asked, done = -1, True
        index += 1
    return done


def _answer(keys: tuple[str, ...], first: int, last: int) -> str:
    """What the first words of an answer say: present, absent or unknown."""
    index = first
    while index < last and keys[index] in _FILLER:
        index += 1
    if index >= last:
        return UNKNOWN
    head = keys[index]
    window = keys[index : min(last, index + 4)]
    if head in ("no", "nope", "nah", "none", "never", "nothing", "negative", "neither"):
        return ABSENT
    if head in _YES:
        return ABSENT if keys[index + 1 : index + 2] == ("not",) else PRESENT
    if head == "not" and "sure" not in window:
        return ABSENT
    if (
        head == "i"
        and any(is_no(word) for word in window)
        and not {"know", "think", "sure", "remember"} & set(keys[index : min(last, index + 6)])
    ):
        return ABSENT
    if head == "i" and window[1:2] in (("do",), ("have",), ("did",), ("am",)):
        return PRESENT
    if head in ("he", "she", "they", "we") and any(is_no(word) for word in window):
        return ABSENT
    return UNKNOWN
