"""The fields of an eye's examination: structures with their common findings, pressure, pupil, correction.

The words that are stored are English and of `Choice.en`, so that case, table and rules read them; `de` is for display.
A person may also write words of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml

from edge.errors import SpecError

TABLE = "eye_fields.yaml"
SEPARATOR = "; "  # between findings of one structure
IOP_LEAST_MMHG, IOP_MOST_MMHG, IOP_STEP_MMHG, IOP_BIG_STEP_MMHG, IOP_START_MMHG = 0.0, 90.0, 1.0, 5.0, 16.0
# Ordinary 10 to 21 mmHg (European Glaucoma Society, Terminology and Guidelines, 5th edition); very high from 40, as the
# red flags and the table have it.
IOP_LOW_MMHG, IOP_HIGH_MMHG, IOP_CRITICAL_MMHG = 10.0, 21.0, 40.0
IOP_METHODS = ("goldmann", "icare", "tonopen", "air-puff", "palpation")
VA_CORRECTIONS = ("uncorrected", "corrected", "pinhole")
PUPIL_LEAST_MM, PUPIL_MOST_MM, PUPIL_STEP_MM, PUPIL_BIG_STEP_MM, PUPIL_START_MM = 1.0, 10.0, 0.5, 1.0, 3.0
PUPIL_REACTIONS = ("brisk", "sluggish", "fixed")
PARTS = ("slit_lamp", "fundus")


@dataclass(frozen=True)
class Choice:
    """A finding of a structure. en: what is stored; normal: the one that says nothing is wrong."""

    id: str
    en: str
    de: str
    normal: bool = False

    def label(self, language: str) -> str:
        """For display."""
        return self.de if language == "de" else self.en


@dataclass(frozen=True)
class Structure:
    """field: as edits.set_eye_field takes it ('slit_lamp.cornea'); part: slit_lamp or fundus."""

    field: str
    part: str
    key: str
    en: str
    de: str
    choices: tuple[Choice, ...]

    @property
    def normal(self) -> Choice:
        """The choice for "nothing wrong"."""
        return next(choice for choice in self.choices if choice.normal)

    def label(self, language: str) -> str:
        """For display."""
        return self.de if language == "de" else self.en

    def show(self, words: str, language: str) -> str:
        """Stored words in a language; a person's own words stay as they are."""
        named = {choice.en: choice.label(language) for choice in self.choices}
        return SEPARATOR.join(named.get(piece, piece) for piece in pieces(words))

    def toggled(self, words: str, choice: Choice) -> str:
        """The words after a tap on a choice: normal and findings exclude each other, a second tap takes it out."""
        now = pieces(words)
        if choice.en in now:
            return SEPARATOR.join(piece for piece in now if piece != choice.en)
        if choice.normal:
            return choice.en
        return SEPARATOR.join([*(piece for piece in now if piece != self.normal.en), choice.en])


def pieces(words: str) -> list[str]:
    """The findings in a structure's words."""
    return [piece.strip() for piece in words.split(";") if piece.strip()]


@lru_cache(maxsize=1)
def eye_fields() -> Mapping[str, Structure]:
    """Every structure by its field, in the order of an examination. Errors: SpecError when the table is wrong."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        value = yaml.load(files(__package__).joinpath(TABLE).read_text(encoding="utf-8"), Loader=loader)  # noqa: S506
        return MappingProxyType({one.field: one for part in PARTS for one in _structures(part, value[part])})
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise SpecError("the fields of the eye cannot be read", where=TABLE, mend="install edge again") from error


def _structures(part: str, value: Mapping[str, Any]) -> list[Structure]:
    read = []
    for key, row in value.items():
        choices = [
            Choice(f"{key}-{name}", str(words[0]), str(words[1]), name == "normal")
            for name, words in row["choices"].items()
        ]
        read.append(Structure(f"{part}.{key}", part, key, str(row["en"]), str(row["de"]), tuple(choices)))
    return read


def grade_iop(mmhg: float) -> str:
    """'normal', 'low', 'high' or 'critical', for an adult's eye."""
    if mmhg >= IOP_CRITICAL_MMHG:
        return "critical"
    if mmhg > IOP_HIGH_MMHG:
        return "high"
    return "low" if mmhg < IOP_LOW_MMHG else "normal"


def __getattr__(name: str) -> Mapping[str, Structure]:
    if name == "EYE_FIELDS":
        return eye_fields()
    raise AttributeError(name)
