"""The palette and the sizes; pure, no Kivy."""

from __future__ import annotations

import re

import pytest

from edge.app.ui.tokens import LIGHT, NIGHT, SHAPE_PAIRS, TEXT_PAIRS, TONES, TYPE, contrast

PALETTES = {"light": LIGHT, "night": NIGHT}


def test_both_palettes_have_the_same_colours() -> None:
    """Fails when night lacks a token: a screen would stop at the switch."""
    assert set(LIGHT) == set(NIGHT)
    assert all(re.fullmatch(r"#[0-9A-F]{6}([0-9A-F]{2})?", c) for p in PALETTES.values() for c in p.values())


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("words, ground", TEXT_PAIRS)
def test_contrast_of_text(palette: str, words: str, ground: str) -> None:
    """Fails when words on a ground fall below 4.5:1 (WCAG 2.1 AA)."""
    colours = PALETTES[palette]
    assert contrast(colours[words], colours[ground]) >= 4.5


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("shape, ground", SHAPE_PAIRS)
def test_contrast_of_shapes(palette: str, shape: str, ground: str) -> None:
    """Fails when a border, a bar or the focus ring falls below 3:1 (WCAG 2.1, 1.4.11)."""
    colours = PALETTES[palette]
    assert contrast(colours[shape], colours[ground]) >= 3.0


def test_every_tone_is_a_pair_that_is_checked() -> None:
    """Fails when a pill is painted with a pair that no contrast test sees."""
    assert {(words, ground) for ground, words, _ in TONES.values()} <= set(TEXT_PAIRS)
    assert len({icon for _, _, icon in TONES.values()}) >= 5, "tones must differ by their icon too"


def test_night_is_dark_and_not_white() -> None:
    """Fails when night shines: near black ground, no pure white."""
    assert contrast(NIGHT["background"], "#000000") < 1.2
    assert "#FFFFFF" not in NIGHT.values()


def test_no_type_below_13() -> None:
    """Fails when a text size is too small to read at arm's length."""
    assert min(TYPE.values()) >= 13


def test_contrast_is_that_of_wcag() -> None:
    """Fails when the formula is wrong: black on white is 21, a colour on itself 1."""
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21.0)
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)
    assert contrast("#123456", "#123456") == 1.0
