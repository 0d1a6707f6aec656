"""Transcripts that grow and change, as hypothesis draws them: every form of speakers, words over two lines."""

from __future__ import annotations

from hypothesis import strategies as st

from edge.clinical.redflag_rules import rule_table

_RULES = rule_table().rules
_SPEAKERS = ("[doctor] ", "[patient] ", "[guest_family] ", "Doctor: ", "Patient: ", "DOCTOR - ", "", "", "  ")
_SAID = (
    "any chest pain ?",
    "no .",
    "yes , all of a sudden",
    "i do",
    "my father had a stroke",
    "call me if you get a fever",
    "how old are you ?",
    "fifty eight",
    "what's your age",
    "mr. Miller is a 58 year old male with chest pain",
    "she's a 36-year-old woman . the patient denies fever , she is well",
    "Age: 61. Sex: F",
    "58F with",
    "age :",
    "61 years old",
    "sir",
    "i'm pregnant",
    "my prostate",
    "blood pressure is one eighty over",
    "one ten",
    "blood pressure 82/50 , pulse 130 .",
    "iop is 52 in the right eye and 18 in the left",
    "vision 20/400 in the left eye",
    "20 /",
    "40",
    "my eye hurts and i see halos around lights .",
    "counting fingers",
    "eye",
    "sats are 84 %",
    "5",
    "% of it",
    "five",
    "hundred milligrams of metoprolol twice",
    "a day . no aspirin",
    "aspirin",
    "81 mg daily",
    "metoprolol 25 mg b . i .",
    "d . and",
    "i don't take any insulin lispro , only vitamin",
    "b12 shots",
    "allergic to penicillin",
    "two thousand and",
    "nine",
    "may",
    "worst headache of my life , suddenly ,",
    "",
    " ",
    "Is it İ or ß ? ΑΣ ’s can’t breathe",
    "dragon , physical exam : he has a rash , her mother too",
    "so " * 90 + "no chest pain",
)
_examples = [text for rule in _RULES for text in (*rule.fires, *rule.silent)]
_words = st.one_of(st.sampled_from(_SAID), st.sampled_from(_examples), st.text(max_size=30))
lines = st.builds(lambda speaker, words: speaker + words, st.sampled_from(_SPEAKERS), _words)
_forms = st.sampled_from([("[doctor] ", "[patient] "), ("Doctor: ", "Patient: "), ("",)])
# Of one form of speakers, as an app writes them.
_even = _forms.flatmap(lambda names: st.lists(st.builds(str.__add__, st.sampled_from(names), _words), max_size=14))
texts = st.one_of(_even, st.lists(lines, max_size=14)).map("\n".join)


@st.composite
def grown(draw: st.DrawFn) -> list[str]:
    """A text and what becomes of it by changes: a line at its end, words put in, a place taken out, all undone."""
    text = draw(texts)
    states = [text]
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["append", "append", "append", "put in", "take out", "back"]))
        if kind == "append":
            text = f"{text}\n{draw(lines)}" if text else draw(lines)
        elif kind == "put in":
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.one_of(lines, st.sampled_from(["\n", "[", ":", "no ", "4"]))) + text[at:]
        elif kind == "take out":
            at = draw(st.integers(0, len(text)))
            text = text[:at] + text[at + draw(st.integers(0, 60)) :]
        else:
            text = draw(st.sampled_from(states))
        states.append(text)
    return states
