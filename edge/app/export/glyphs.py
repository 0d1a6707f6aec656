"""The fonts of the print and what they cannot show.

Bitstream Vera comes with reportlab and is embedded, so that a print looks the same everywhere. It covers western and
German text. A character that it lacks is printed as a visible mark, never left out, and the page says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

REGULAR, BOLD, ITALIC = "EdgeVera", "EdgeVera-Bold", "EdgeVera-Italic"
_FILES = {REGULAR: "Vera.ttf", BOLD: "VeraBd.ttf", ITALIC: "VeraIt.ttf"}
MISSING = "\u00bf"  # in the font, and no letter of a clinical text in German or English
# Look-alikes that the font has; anything else is not ours to guess.
_SAME = str.maketrans(
    {"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2011": "-", "\u2010": "-", "\u2212": "-", "\u03bc": "\u00b5"}
)


@lru_cache(maxsize=1)
def covered() -> frozenset[int]:
    """Characters that all three faces have. Registers the fonts with reportlab at its first call."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    faces = []
    for name, file in _FILES.items():
        font = TTFont(name, file)
        pdfmetrics.registerFont(font)
        faces.append(frozenset(font.face.charToGlyph))
    pdfmetrics.registerFontFamily(REGULAR, normal=REGULAR, bold=BOLD, italic=ITALIC, boldItalic=BOLD)
    return frozenset.intersection(*faces)


@dataclass
class Glyphs:
    """Makes text printable and counts what could not be shown."""

    lost: int = 0

    def text(self, words: str) -> str:
        """The words with a mark for each character that the font lacks; control characters are spaces."""
        known = covered()
        found = []
        for letter in words.translate(_SAME):
            if letter in "\t\r\n" or (not letter.isprintable() and ord(letter) < 0xA0):
                found.append(" ")
            elif ord(letter) in known:
                found.append(letter)
            else:
                self.lost += 1
                found.append(MISSING)
        return " ".join("".join(found).split())
