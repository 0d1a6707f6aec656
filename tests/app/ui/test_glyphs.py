"""Every character that the catalogues and the icons use has a picture in the fonts that ship."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import edge.app.ui
from edge.app.i18n import LANGUAGES, catalogue
from edge.app.ui.icons import FONT, ICONS, glyph

FONTS = Path(edge.app.ui.__file__).parent / "fonts"


def cmap(path: Path) -> set[int]:
    """Characters of a TrueType font: the tables of format 4 and 12, read by hand so that no library is needed."""
    data = path.read_bytes()
    tables = {}
    for n in range(struct.unpack(">H", data[4:6])[0]):
        tag, _, offset, _ = struct.unpack(">4sIII", data[12 + 16 * n : 28 + 16 * n])
        tables[tag] = offset
    start, found = tables[b"cmap"], set()
    for n in range(struct.unpack(">H", data[start + 2 : start + 4])[0]):
        at = start + struct.unpack(">HHI", data[start + 4 + 8 * n : start + 12 + 8 * n])[2]
        form = struct.unpack(">H", data[at : at + 2])[0]
        if form == 4:
            count = struct.unpack(">H", data[at + 6 : at + 8])[0] // 2
            ends = struct.unpack(f">{count}H", data[at + 14 : at + 14 + 2 * count])
            starts = struct.unpack(f">{count}H", data[at + 16 + 2 * count : at + 16 + 4 * count])
            found |= {c for low, high in zip(starts, ends, strict=True) for c in range(low, high + 1) if c != 0xFFFF}
        elif form == 12:
            for group in range(struct.unpack(">I", data[at + 12 : at + 16])[0]):
                low, high, _ = struct.unpack(">III", data[at + 16 + 12 * group : at + 28 + 12 * group])
                found |= set(range(low, high + 1))
    return found


def text_fonts() -> dict[str, Path]:
    """The fonts that words are written in."""
    import importlib.util

    spec = importlib.util.find_spec("kivy")
    assert spec is not None and spec.origin is not None
    kivy = Path(spec.origin).parent / "data" / "fonts"
    return {
        "regular": kivy / "Roboto-Regular.ttf",
        "bold": kivy / "Roboto-Bold.ttf",
        "medium": FONTS / "Edge-Medium.ttf",
    }


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("weight", ["regular", "bold", "medium"])
def test_every_word_can_be_drawn(language: str, weight: str) -> None:
    """Fails when a translation uses an arrow, a check mark or a letter that would be an empty box."""
    covered = cmap(text_fonts()[weight])
    wrong = {
        (key, f"U+{ord(letter):04X}")
        for key, text in catalogue(language).items()
        for letter in text
        if ord(letter) not in covered and letter not in "\n\u200b"
    }
    assert not wrong


def test_figures_are_tabular() -> None:
    """Fails when a font's digits differ in width, so that a changing number would dance."""
    from PIL import ImageFont

    for path in text_fonts().values():
        font = ImageFont.truetype(str(path), 64)
        assert len({font.getlength(digit) for digit in "0123456789"}) == 1, path.name


def test_every_icon_can_be_drawn() -> None:
    """Fails when icons.py and icons.ttf are not from the same run of make_icons.py."""
    covered = cmap(FONT)
    assert {ord(letter) for letter in ICONS.values()} <= covered
    assert glyph("") == ""
    with pytest.raises(KeyError):
        glyph("no such icon")


def test_icons_stand_in_the_middle_of_their_box() -> None:
    """Fails when a font tool loses the side bearings, so that every plus and check stands left of its button."""
    from PIL import ImageFont

    font = ImageFont.truetype(str(FONT), 96)
    for name in ("plus", "minus", "close", "stop-circle", "list", "lock", "check-circle"):
        left, _, right, _ = font.getbbox(ICONS[name])
        assert abs((left + right) / 2 - 48) <= 3, name


def test_the_fonts_are_small_and_licensed() -> None:
    """Fails when the whole icon set is committed, or a font without its licence."""
    assert FONT.stat().st_size < 40_000
    assert "Apache" in (FONTS / "LICENSE-icons.txt").read_text(encoding="utf-8")
    assert "Apache License" in (FONTS / "LICENSE-medium.txt").read_text(encoding="utf-8")


def test_icons_are_named_as_in_their_script() -> None:
    """Fails when a name was added to one of the two lists only."""
    import runpy

    names = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "make_icons.py"), run_name="names")["NAMES"]
    assert set(names) == set(ICONS)
