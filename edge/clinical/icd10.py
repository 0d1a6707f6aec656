"""ICD-10-CM codes: whether one exists, what it is called, and the code of a diagnosis by its name.

The tables in data/ are made by benchmarks/make_icd10.py from the April 2026 release (CDC/NCHS, a work of the United
States government, in the public domain) and MeSH entry terms (National Library of Medicine). A code that is not in
the code system is never given: a name that is not known well enough has none.

How a name finds its code, in this order: the same words as a title, inclusion term or synonym (British spelling,
plurals, word order and "unspecified" apart); the same words but for one typing error, by rapidfuzz with a cut-off and
only where the mistyped word is no word of the code system. "hypo-" never becomes "hyper-", nor type 1 type 2.
"""

from __future__ import annotations

import gzip
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from edge.errors import BundleError

RELEASE = "ICD-10-CM April 2026"
SYSTEM = "http://hl7.org/fhir/sid/icd-10-cm"
DATA = Path(__file__).parent / "data"
CODES_FILE, NAMES_FILE = "icd10cm.tsv.gz", "icd10-names.tsv.gz"
CUT_OFF = 90.0  # rapidfuzz ratio, 0 to 100: one letter in ten
TYPO_LETTERS = 7  # a shorter word is never taken for a mistyped one

_CODE = re.compile(r"[A-Z]\d[0-9A-Z](?:\.?[0-9A-Z]{1,4})?")
_ASIDE = re.compile(r"\([^)]*\)")
_WORD = re.compile(r"[a-z0-9]+")
_AMERICAN = (
    ("oedema", "edema"),
    ("oesoph", "esoph"),
    ("diarrhoea", "diarrhea"),
    ("rrhoea", "rrhea"),
    ("anaem", "anem"),
    ("leukaem", "leukem"),
    ("ischaem", "ischem"),
    ("glycaem", "glycem"),
    ("uraem", "urem"),
    ("haem", "hem"),
    ("paed", "ped"),
    ("gynaec", "gynec"),
    ("foet", "fet"),
    ("tumour", "tumor"),
    ("dyspnoea", "dyspnea"),
    ("apnoea", "apnea"),
    ("coeliac", "celiac"),
    ("caec", "cec"),
)
_NO_MEANING = frozenset({"a", "an", "and", "by", "for", "in", "nos", "of", "on", "site", "the", "to", "unspecified"})


@dataclass(frozen=True)
class IcdCode:
    """A code of the code system with its official title."""

    code: str
    title: str

    def to_json(self) -> dict[str, str]:
        """Plain JSON types."""
        return {"code": self.code, "title": self.title}


def name_key(name: str) -> str:
    """The words of a name, sorted, in American spelling and singular: equal for two spellings of one diagnosis."""
    text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower().replace("'s", "")
    for british, american in _AMERICAN:
        text = text.replace(british, american)
    words = {_singular(word) for word in _WORD.findall(text)} - _NO_MEANING
    return " ".join(sorted(words))


def plain_name(name: str) -> str:
    """Without what stands in brackets: an abbreviation or another name."""
    return _ASIDE.sub(" ", name)


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if (
        len(word) > 3
        and word.endswith("s")
        and (word.endswith("ias") or not word.endswith(("ss", "us", "is", "as", "os")))
    ):
        return word[:-1]
    return word


def dotted(code: str) -> str:
    """H401131 and h40.1131 as H40.1131."""
    bare = code.strip().upper().replace(".", "")
    return bare if len(bare) <= 3 else f"{bare[:3]}.{bare[3:]}"


class IcdTable:
    """The code system in memory: titles at the first look-up of a code, names at the first search by name."""

    def __init__(self, folder: Path = DATA) -> None:
        self._folder = folder

    @cached_property
    def _titles(self) -> Mapping[str, str]:
        return dict(_pairs(self._folder / CODES_FILE))

    @cached_property
    def _names(self) -> Mapping[str, str]:
        return dict(_pairs(self._folder / NAMES_FILE))

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(word for key in self._names for word in key.split(" "))

    def __len__(self) -> int:
        return len(self._titles)

    def lookup(self, code: str) -> IcdCode | None:
        """The code, dotted or not, in any case; None when the code system has no such code."""
        if not _CODE.fullmatch(code.strip().upper()):
            return None
        wanted = dotted(code)
        title = self._titles.get(wanted)
        return None if title is None else IcdCode(wanted, title)

    def code_for(self, name: str) -> IcdCode | None:
        """The code of a diagnosis by its name, or None: no code is better than a wrong one."""
        whole, plain = name_key(name), name_key(plain_name(name))
        for key in dict.fromkeys((whole, plain)):
            if key and (code := self._names.get(key) or self._names.get(self._mended(key))):
                return self.lookup(code)
        return None

    def _mended(self, key: str) -> str:
        """The key with its one mistyped word mended, or ''."""
        words = key.split(" ")
        odd = [word for word in words if word not in self._words]
        if len(odd) != 1 or len(odd[0]) < TYPO_LETTERS or not odd[0].isalpha():
            return ""
        from rapidfuzz import fuzz, process
        from rapidfuzz.distance import DamerauLevenshtein

        close = {
            word
            for word in self._words
            if abs(len(word) - len(odd[0])) <= 1
            and word[:4] == odd[0][:4]
            and DamerauLevenshtein.distance(word, odd[0], score_cutoff=1) <= 1
        }
        rest = [word for word in words if word != odd[0]]
        choices = sorted(candidate for word in close if (candidate := " ".join(sorted({*rest, word}))) in self._names)
        found = process.extract(key, choices, scorer=fuzz.ratio, score_cutoff=CUT_OFF, limit=2)
        # Two ways to mend a word are none.
        return str(found[0][0]) if len(found) == 1 else ""


def _pairs(path: Path) -> Iterable[tuple[str, str]]:
    try:
        text = gzip.decompress(path.read_bytes()).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BundleError("the ICD-10-CM table cannot be read", where=path.name, mend="install edge again") from error
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            left, _, right = line.partition("\t")
            yield left, right


@lru_cache(maxsize=1)
def icd_table() -> IcdTable:
    """The table that is shipped with edge."""
    return IcdTable()
