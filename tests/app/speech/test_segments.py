"""Cutting audio. When these fail, words are lost between two pieces, or silence is written down as speech."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.app.speech.segments import LEAST_S, MOST_S, RATE_HZ, Cutter, Piece, Samples, to_samples


def tone(seconds: float) -> Samples:
    """Something loud."""
    return (0.2 * np.sin(np.arange(int(seconds * RATE_HZ)) * 0.1)).astype(np.float32)


def quiet(seconds: float) -> Samples:
    """Nothing."""
    return np.zeros(int(seconds * RATE_HZ), dtype=np.float32)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 9)), min_size=1, max_size=8), st.integers(100, 20_000))
def test_no_sample_is_lost(parts: list[tuple[bool, float]], step: int) -> None:
    """If not: a word disappears. Pieces are in order, without a gap, and none is longer than a window."""
    whole = np.concatenate([tone(seconds) if loud else quiet(seconds) for loud, seconds in parts])
    cutter = Cutter()
    pieces = [piece for at in range(0, whole.size, step) for piece in cutter.feed(whole[at : at + step])]
    pieces += cutter.rest()
    assert np.array_equal(np.concatenate([piece.samples for piece in pieces]), whole)
    assert all(piece.samples.size <= MOST_S * RATE_HZ + step for piece in pieces)
    assert all(abs(one.end_ms - two.start_ms) <= 1 for one, two in itertools.pairwise(pieces))


def test_it_cuts_at_a_pause() -> None:
    """If not: a number is cut in two and both halves are read wrongly."""
    whole = np.concatenate([tone(6.0), quiet(0.8), tone(3.0)])
    (piece,) = Cutter().feed(whole)
    assert 6.0 <= piece.samples.size / RATE_HZ <= 6.8
    assert Cutter().feed(tone(LEAST_S - 0.1)) == []
    long = Cutter().feed(tone(MOST_S + 1))
    assert len(long) == 1


def test_silence_is_known() -> None:
    """If not: a recogniser of this family writes a sentence for an empty room."""
    assert Piece(quiet(5), 0).silent
    assert not Piece(np.concatenate([quiet(4), tone(0.2)]), 0).silent
    assert Cutter().rest() == []


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_any_rate_becomes_16_khz(rate_hz: int) -> None:
    """If not: speech is read at the wrong speed."""
    wave = (np.sin(np.arange(rate_hz) * 2 * np.pi * 440 / rate_hz) * 20_000).astype("<i2")
    samples = to_samples(wave.tobytes(), rate_hz)
    assert abs(samples.size - RATE_HZ) <= 2
    peak = int(np.argmax(np.abs(np.fft.rfft(samples))))
    assert abs(peak - 440) <= 1
    assert 0.5 < float(np.max(np.abs(samples))) <= 1.0
    assert to_samples(b"", rate_hz).size == 0
