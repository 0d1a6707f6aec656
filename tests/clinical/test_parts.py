"""Parts of a visit: what the model reads at once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clinical.parts import PART_WORDS, clean, split_parts
from edge.clinical.transcript import parse_transcript


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("i do n't have 45 % , um , of it .", "i don't have 45%, of it."),
        ("i , i , i have the , the pain", "i have the pain"),
        ("uh , no .", "no."),
        ("about 1 , 200 steps", "about 1,200 steps"),
        ("i'm gon na take 20 mg", "i'm gonna take 20 mg"),
    ],
)
def test_clean_keeps_what_is_said(said: str, read: str) -> None:
    """Fillers go and spacing is mended; a number, a negation or a dose must never change."""
    assert clean(said) == read


def test_a_bare_okay_counts_only_as_an_answer() -> None:
    """'yeah' after a question is the answer to it, after a statement it is noise."""
    text = "[doctor] any fever ?\n[patient] yeah .\n[doctor] i will order a test .\n[patient] okay .\n[doctor] okay ."
    (part,) = split_parts(parse_transcript(text))
    assert part.text == "Doctor: any fever?\nPatient: yeah.\nDoctor: i will order a test."


def test_a_long_dictation_is_cut_between_sentences() -> None:
    """One turn of many words gives several parts, none longer than about two of them."""
    sentence = "the lungs are clear and the heart is regular today . "
    parts = split_parts(parse_transcript("[doctor] " + sentence * 60))
    assert len(parts) > 3
    assert max(len(part.text.split()) for part in parts) <= 2 * PART_WORDS + 60
    assert all(part.text.endswith(".") for part in parts)


def test_speech_without_an_end_is_cut_too() -> None:
    """A recogniser that never writes a full stop must not give one part of thousands of words."""
    parts = split_parts(parse_transcript("[doctor] " + "word " * 3000))
    assert max(len(part.text.split()) for part in parts) <= 3 * PART_WORDS


def test_nothing_said_gives_no_part() -> None:
    """Empty turns and fillers alone ask the model nothing."""
    assert split_parts(parse_transcript("")) == ()
    assert split_parts(parse_transcript("[doctor] um .\n[patient] mm-hmm .")) == ()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["doctor", "patient"]), st.integers(1, 80), st.sampled_from([" .", " ?", ""])),
        min_size=1,
        max_size=25,
    ),
    st.integers(10, 200),
)
def test_pieces_cover_the_visit_in_order(turns: list[tuple[str, int, str]], words: int) -> None:
    """Every word said lies in exactly one piece, in order: evidence can point at all of a visit and never outside."""
    text = "\n".join(
        f"[{who}] " + " ".join(f"w{index}x{n}" for n in range(count)) + end
        for index, (who, count, end) in enumerate(turns)
    )
    transcript = parse_transcript(text)
    spans = [piece.span for part in split_parts(transcript, words) for piece in part.pieces]
    assert spans == sorted(spans)
    assert all(first.end <= second.start for first, second in pairwise(spans))
    assert (
        " ".join(span.of(text) for span in spans).split()
        == " ".join(map(transcript.words_of, transcript.turns)).split()
    )
