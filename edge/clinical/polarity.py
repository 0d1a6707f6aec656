"""Whether words of a visit say that something is there now: present, absent, asked, past, of a relative, hypothetical.

Built on the windows of NegEx (Chapman et al., J Biomed Inform 2001) and the contexts of ConText (Harkema et al., J
Biomed Inform 2009), with what a conversation adds: a question is settled by its answer ("any chest pain ?" - "no"),
in the next turn or, where the recorder lost the turn, right behind the question. Transcripts without punctuation
are read clause by clause: "i do have", "but", "okay" end what was said before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from edge.clinical.transcript import OTHER, PATIENT, Span, Transcript, Turn


class Status(Enum):
    """What the words around a phrase make of it. UNSURE: asked without a clear answer, or not known."""

    PRESENT = "present"
    ABSENT = "absent"
    UNSURE = "unsure"
    PAST = "past"
    FAMILY = "family"
    HYPOTHETICAL = "hypothetical"


WINDOW_CHARACTERS = 160
_SENTENCE_END = re.compile(r"(?<!\bdr)(?<!\bmr)(?<!\bmrs)(?<!\bms)[.?!;\n](?!\d)", re.IGNORECASE)
_BREAK = re.compile(
    r"\b(?:but|however|although|though|except|because|okay|alright|all right|just|only|instead|otherwise|then|which|"
    r"i (?:do|am|was|did|get|got|feel|felt|think|started|noticed)|i've|i have|i had|i'm|(?:he|she|you|they) (?:has|"
    r"have|had|got|do|does)|"
    r"there (?:is|was|are|were)|there's|it's|it is|do have|does have|and (?:i|he|she|it|they|now|then|the|my|that|"
    r"this|so|could|had|was|can|do|did|have|got|has)|"
    r"now|so|presents?|complains?|reports?|since)\b",
    re.IGNORECASE,
)
_CARRIES = (
    r"have|had|having|has|feel|felt|feeling|notice|noticed|noticing|see|seen|saw|seeing|experience|experienced|"
    r"experiencing|get|"
    r"getting|gotten|got|report|reported|any|really|been|even|appreciate|hear|complain|endorse|think|a|an|the|be|"
    r"find|show|reveal|"
    r"demonstrate|develop|developed|there|necessarily|currently|ever|actually|like|coming|having|run|running|feeling|"
    r"much|no|"
    r"taking|using|passed|lost|lose|vomited|coughed|fainted|want|wanted|wanna|wish|plan|planning|intend|trying|try|tried|say|call"
)
_NEGATOR = re.compile(
    rf"\b(?:(?:not|cannot)|(?:do|does|did|is|are|was|were|has|have|had|could|would|ca|wo)\s?n['o]?t|"
    rf"n't)(?=\W+(?:(?:{_CARRIES})\b|$)|\W*$|"
    r"\W+(?!(?:help|stop|relieve|improve|change|touch|know|sure|mind)\b)\w+(?:\W+(?:or|nor|and))?\W*$)"
    r"(?! (?:only|sure|just))"
    r"|\bno\b(?!\s*,)(?!\W+(?:i|the|my|it|that|he|she|because|well|so|okay|alright|doubt|problem|matter|wonder|idea|"
    r"longer than|change)\b)"
    r"|\b(?:without|den(?:y|ies|ied|ying)|never|neither|nor|none|negative for|neg for|absence of|free (?:of|from)|"
    r"lack of|absent|"
    r"rules? out|ruled out|resolved|no longer)\b",
    re.IGNORECASE,
)
_AFTER_ABSENT = re.compile(
    r"^(?:\W+(?:is|was|are|were|has|have|had|been|symptoms?|at all|test|exam|now|all|completely|pretty much|"
    r"or anything|"
    r"(?:or|and|,) \w+(?: \w+)?))*\W+"
    r"(?:none|negative|absent|denied|ruled out|resolved|gone|went away|gone away|subsided|unlikely|not (?:present|"
    r"there|seen|noted)|"
    r"(?:no|nope)(?=\W*(?:$|okay|alright|good|great|and|nothing|no|not|i|any|all right)))\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\b(?:any|(?:have|had|do|did|are|were|can|would) (?:you|they)|(?<!you )(?<!they )(?<!still )(?<!i )(?:has|does|"
    r"did|is|was|do|are|were|have) (?:he|"
    r"she|it|that|there|your|the|any)|"
    r"(?:what|how) about|you (?:have|had|having|get|getting|notice|feel) any|anything like|you're not|you do n't|"
    r"you don't|"
    r"you have n't|you haven't|ever (?:had|have|been|notice))\b",
    re.IGNORECASE,
)
_ASKS_YOU = re.compile(r"\b(?:do|did|have|are|were) you\b[^.?!]{0,40}$", re.IGNORECASE)
_TAG_QUESTION = re.compile(
    r"\b(?:okay|ok|right|all right|alright|sense|correct|yeah|good|you know|so far)\W*$", re.IGNORECASE
)
_ALTERNATIVE = re.compile(
    r"\bor (?:has|is|was|did|does|do|are|more|gradual\w*|not|what|just|slow\w*|come|comes|on and off)\b", re.IGNORECASE
)
_FILLER = (
    r"(?:\W*(?:um+|uh|well|oh|hmm?|so|you know|actually|i mean|ah|okay|gosh|honestly|i guess|i would say|i'd say|"
    r"doctor|"
    r"like)\b)*\W*"
)
_SAYS_NO = re.compile(
    rf"^{_FILLER}(?:(?:yeah|yes)\W+)?(?:no+|nope|nah|not (?!sure|too sure)|none|never|negative|den(?:y|ies)|neither|"
    rf"uh-uh|huh-uh|mm-mm|"
    r"nothing|(?:i|he|she|we|it|they)(?:'m| am| have| do| did| has| does| had| was|'ve| is|'s) ?(?:not|n't)\b|"
    r"(?:i|he|she|it|they) (?:don't|didn't|haven't|hasn't|doesn't|wasn't|isn't|hadn't))",
    re.IGNORECASE,
)
# "no chest pain but ..." denies what it names, not all that was asked.
_NO_TO_PART = re.compile(
    rf"^{_FILLER}no (?!i\b|not|sir|ma|doctor|nothing|none|no|okay|he\b|she\b|it\b|that|to\b|but|just|really|never|"
    rf"we\b|problem|"
    r"issue|other|more|longer|history|at\b|symptom)\w+",
    re.IGNORECASE,
)
_SAYS_YES = re.compile(
    rf"^{_FILLER}(?:yes|yeah|yep|yup|ya|mm-hmm|uh-huh|sure|correct|right|exactly|definitely|absolutely|i (?:do|have|"
    rf"did|am|was|get)\b|"
    r"(?:it|he|she|there) (?:does|is|has|was|did)|a little|a bit|some|sometimes|occasionally|often|all the time|"
    r"on and off|"
    r"every|lots|quite|just a|kind of|kinda|i've|i'm(?! sorry)|that's right|unfortunately)\b",
    re.IGNORECASE,
)
_HYPOTHETICAL = re.compile(
    r"\b(?:in case|unless|call (?:me|us|the|911|your|my|if|back)|let (?:me|us) know|(?:watch|"
    r"look)(?:ing)?(?: out)? for|come back|"
    r"return (?:if|to|for|with)|should you|risks?(?: \w+)? (?:of|for)|side effects?|(?:can|could|may|might|would|"
    r"will) (?:also )?(?:cause|lead|prevent|develop|be|include|result|make|mimic)|(?:could|may|might) (?:have|get)|"
    r"(?:to|help) (?:cause|prevent)|causes?|prevent(?:s|ing)?|leads? to|"
    r"complications?|"
    r"rule out|ruling out|make sure|concern(?:ed|ing)? (?:for|about|that)|(?:worried|worry)(?: about| that)?|"
    r"(?:screen|monitor|test|check|evaluate|look|treat|medicines?|medications?|pills?)(?:ing|ed)?(?: you)? for|"
    r"suspicious for|"
    r"chances? of|prone to|symptoms (?:like|such|of|include)|such as|for example|"
    r"avoid|possib(?:le|ility|ly)|differential|go to the (?:er|emergency)|emergency (?:room|department) (?:if|for)|"
    r"do you know what|"
    r"known as|what we call|it means|people (?:with|who)|patients (?:with|who)|used for|indicat\w+ (?:of|for))\b",
    re.IGNORECASE,
)
_IF = re.compile(r"\b(?:if|whether|in the event|when(?:ever)? you (?:get|have|feel|notice|develop))\b", re.IGNORECASE)
_IF_OWN = re.compile(r"\bif (?:i|it|my)\b(?! (?:get|have|had|develop|were|ever))", re.IGNORECASE)
_KIN = (
    r"mother|mom|mum|mommy|father|dad|daddy|parents?|brothers?|sisters?|siblings?|sons?|daughters?|kids?|wife|husband|"
    r"spouse|boyfriend|girlfriend|aunts?|uncles?|cousins?|grandm\w+|grandf\w+|grandpa|grandparents?|grandsons?|"
    r"granddaughters?|"
    r"nieces?|nephews?|in-laws?|relatives?|family|friends?|neighbou?rs?|roommate"
)
_CHILD = re.compile(r"\b(?:sons?|daughters?|kids?|grandsons?|granddaughters?)\b", re.IGNORECASE)
_FAMILY_BEFORE = re.compile(
    rf"\b(?:{_KIN})\b(?!'s house)(?! (?:say|says|said|notice[ds]?|told|tells|thinks?|saw|found|brought|called|drove|"
    rf"made|wanted|"
    r"heard|history is))(?:(?!\b(?:i|i'm|i've|me|my|myself|you|your|he's had|patient)\b).)*$",
    re.IGNORECASE,
)
_FAMILY_AFTER = re.compile(
    rf"^(?:\W+(?!but\b|no\b|i\b)\w+){{0,4}}?\W+(?:in|with|for|of|on|runs? in) (?:the |my |his |her |your |"
    rf"our )?(?:{_KIN})\b",
    re.IGNORECASE,
)
_PAST_BEFORE = re.compile(
    r"(?<!day )(?<!days )(?<!week )(?<!weeks )(?<!hour )(?<!hours )(?<!month )(?<!months )\b(?:(?<!family )history of|"
    r"histories of|past medical history|previous(?:ly)?|prior|status post|s/p|remote|used to (?:have|get|be)|years ago|"
    r"back in|when i was (?:a|little|young\w*|in|\w+teen|twenty|thirty)|as a (?:kid|child|teenager|baby)|"
    r"in (?:19|20)\d\d|last year)[^\w,;]+(?:[\w'-]+[^\w,;]+){0,4}?$",
    re.IGNORECASE,
)
_PAST_AFTER = re.compile(
    r"^(?:\W+(?!but\b|and\b|now\b)[\w'-]+){0,6}?\W+(?:years? ago|decades? ago|in (?:19|20)\d\d|in (?:nineteen|"
    r"twenty) \w+|"
    r"as a (?:kid|child|teenager|baby)|when i was (?:a|little|young\w*|in)|back in|in the past|last year)\b",
    re.IGNORECASE,
)
_UNSURE = re.compile(
    r"\b(?:not sure|unsure|n't know|n't tell|not know|unclear|no idea|maybe|perhaps|questionable|questions? about)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Around:
    """A phrase and the words around it: before and after in its sentence, the rest of its turn, what is replied."""

    speaker: str
    phrase: str
    before: str
    after: str
    rest: str
    reply: str
    asked: bool


def around(transcript: Transcript, span: Span) -> Around:
    """The context of `span`, at most 160 characters to either side."""
    index = turn_of(transcript, span)
    turn = transcript.turns[index]
    text = transcript.text.replace("\u2019", "'")
    left = text[max(turn.start, span.start - WINDOW_CHARACTERS) : span.start]
    right = text[span.end : min(turn.end, span.end + WINDOW_CHARACTERS)]
    ends = list(_SENTENCE_END.finditer(left))
    before = left[ends[-1].end() :] if ends else left
    end = _SENTENCE_END.search(right)
    after = right[: end.start()] if end else right
    rest = right[end.end() :] if end else ""
    reply = ""
    if index + 1 < len(transcript.turns):
        following: Turn = transcript.turns[index + 1]
        reply = text[following.start : min(following.end, following.start + WINDOW_CHARACTERS)]
    asked = bool(end and end[0] == "?" and not _TAG_QUESTION.search(after)) or bool(_ASKS.search(before))
    if turn.speaker != PATIENT and not rest and len(after.split()) <= 3 and _SAYS_NO.match(reply):
        asked = True  # "shortness of breath" - "no": a question without its mark
    return Around(turn.speaker, span.of(text).lower(), before, after, rest, reply, asked)


def turn_of(transcript: Transcript, span: Span) -> int:
    """Index of the turn that holds `span`; a span in a speaker's name counts to the turn before it."""
    low, high = 0, len(transcript.turns) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if transcript.turns[middle].start <= span.start:
            low = middle
        else:
            high = middle - 1
    return low


def status_of(transcript: Transcript, span: Span) -> Status:
    """What the visit says of the phrase at `span`. The transcript must have a turn."""
    return _judge(around(transcript, span))


def _judge(context: Around) -> Status:
    clause = _last_clause(context.before)
    if _of_family(context):
        return Status.FAMILY
    absent = _negated(clause) or bool(_AFTER_ABSENT.match(context.after))
    if not absent and _conditional(context):
        return Status.HYPOTHETICAL
    # A patient who asks "do you smoke" is a clinician whose name was swapped.
    asks = context.speaker != PATIENT or bool(_ASKS_YOU.search(context.before))
    if context.asked and (asks or (not context.after.strip() and context.rest)):
        # "so no chest pain?" is denied by "right" as by "no".
        return Status.ABSENT if absent else _answer(context) or Status.UNSURE
    if not absent and _HYPOTHETICAL.search(context.before[-110:]):
        return Status.HYPOTHETICAL
    if absent:
        return Status.ABSENT
    if _UNSURE.search(clause):
        return Status.UNSURE
    if _PAST_BEFORE.search(context.before) or _PAST_AFTER.match(context.after):
        return Status.PAST
    return Status.PRESENT


def _last_clause(before: str) -> str:
    """The words before the phrase back to the last word that starts a new statement (kept at their end)."""
    breaks = list(_BREAK.finditer(before))
    return before[breaks[-1].end() :] if breaks else before


def _negated(clause: str) -> bool:
    """Whether a negation in the clause reaches its end: at most eight words on, twelve in a list."""
    found = list(_NEGATOR.finditer(clause))
    if not found:
        return False
    between = clause[found[-1].end() :]
    limit = 12 if re.search(r",|\b(?:or|nor|and)\b", between) else 6
    return len(re.findall(r"[\w']+", between)) <= limit


def _conditional(context: Around) -> bool:
    """Whether an "if" governs the phrase; a patient's "if I walk" tells what happens."""
    found = _IF.search(context.before[-110:])
    return bool(found) and not (context.speaker == PATIENT and _IF_OWN.search(context.before))


def _of_family(context: Around) -> bool:
    before = context.before[-90:]
    found = _FAMILY_BEFORE.search(before)
    if found and not (context.speaker == OTHER and _CHILD.match(found[0])):
        cut = [match for match in _BREAK.finditer(before) if match.start() > found.start()]
        return not any(re.match(r"but|i\b|i'", match[0], re.IGNORECASE) for match in cut)
    return bool(_FAMILY_AFTER.match(context.after))


def _answer(context: Around) -> Status | None:
    """PRESENT or ABSENT by the answer to a question, None where there is no clear one."""
    own = context.rest.lstrip()
    for words in (own, context.after) if own else (context.after,):
        # The recorder may have lost the change of speaker: "any fever? no. okay."
        if re.match(r"\W*(?:no|nope)\b(?!\s+\w+\s*\?)", words, re.IGNORECASE):
            return Status.ABSENT
    if len(own) > 100:
        return None
    if _SAYS_NO.match(context.reply):
        part = _NO_TO_PART.match(context.reply)
        return None if part and context.phrase.split()[-1] not in context.reply[:80].lower() else Status.ABSENT
    if _SAYS_YES.match(context.reply) and not _ALTERNATIVE.search(context.after):
        return Status.PRESENT
    return None
