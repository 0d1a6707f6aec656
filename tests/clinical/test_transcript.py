"""Speaker turns with offsets: evidence points through them, so a wrong offset shows the wrong words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.clinical.transcript import CLINICIAN, PATIENT, Span, parse_transcript

WORDS = st.text(alphabet="abc .,?5", min_size=1, max_size=30).filter(lambda text: bool(text.strip()))


def test_both_published_forms_are_read() -> None:
    """ACI-Bench's and MTS-Dialog's forms give the same turns; else one of them would be one long turn."""
    for text in ("[doctor] any fever ?\n[patient] no .", "Doctor: any fever ?\nPatient: no ."):
        transcript = parse_transcript(text)
        assert [turn.speaker for turn in transcript.turns] == [CLINICIAN, PATIENT]
        assert [transcript.words_of(turn) for turn in transcript.turns] == ["any fever ?", "no ."]


def test_turns_in_one_line_are_read() -> None:
    """A transcript pasted without line breaks still has its speakers."""
    transcript = parse_transcript("Doctor: What brings you in? Patient: My left eye is red. Doctor: Since when?")
    assert [turn.speaker for turn in transcript.turns] == [CLINICIAN, PATIENT, CLINICIAN]


def test_text_without_speakers_is_one_turn() -> None:
    """A dictation is kept whole; words before the first name are kept too."""
    assert [turn.speaker for turn in parse_transcript("just a dictation").turns] == [""]
    transcript = parse_transcript("Visit of Monday.\n[doctor] hello")
    assert [transcript.words_of(turn) for turn in transcript.turns] == ["Visit of Monday.", "hello"]


def test_a_word_with_a_colon_inside_a_turn_is_no_speaker() -> None:
    """'the doctor: ...' in the middle of a line belongs to who speaks."""
    assert len(parse_transcript("Patient: so I told the doctor: it hurts.").turns) == 1


def test_empty_text_has_no_turn() -> None:
    """Nothing said, nothing found."""
    assert parse_transcript(" \n ").turns == ()


@given(st.lists(st.tuples(st.sampled_from(["doctor", "patient"]), WORDS), min_size=1, max_size=8))
def test_every_word_lies_in_one_turn(turns: list[tuple[str, str]]) -> None:
    """Turns come back in order with exactly their words; nothing is lost between them."""
    text = "\n".join(f"[{name}] {words}" for name, words in turns)
    transcript = parse_transcript(text)
    assert [transcript.words_of(turn) for turn in transcript.turns] == [words.strip() for _, words in turns]
    assert all(turn.span == Span(turn.start, turn.end) for turn in transcript.turns)
