"""The word lists: keys in normal form, small, quickly loaded, nothing of their source packages imported."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from edge.clinical.facts.lexicon import lexicon
from edge.clinical.facts.tokens import phrase_key

LISTS = ("conditions.tsv", "drugs.tsv", "drugs_own.tsv", "findings.tsv", "body_parts.tsv", "units.tsv", "vitals.tsv")
DATA = Path(str(files("edge.clinical").joinpath("data")))


def test_lists_are_small() -> None:
    """The tablet carries under 1.5 MB of word lists."""
    assert sum((DATA / name).stat().st_size for name in LISTS) < 1_500_000


def test_made_keys_are_in_normal_form() -> None:
    """A key that is not in normal form can never match: the made lists are trusted without a second pass."""
    for name in ("conditions.tsv", "drugs.tsv"):
        for line in (DATA / name).read_text(encoding="utf-8").splitlines()[::37]:
            concept, _, keys = line.partition("\t")
            assert concept
            assert all(key == phrase_key(key) for key in keys.split("|"))


BRANDS = [
    ("lasix", "furosemide"),
    ("synthroid", "levothyroxine"),
    ("tylenol", "acetaminophen"),
    ("advil", "ibuprofen"),
    ("vicodin", "hydrocodone and acetaminophen"),
    ("lipitor", "atorvastatin"),
    ("coumadin", "warfarin"),
    ("mobic", "meloxicam"),
    ("zofran", "ondansetron"),
    ("lantus", "insulin glargine"),
    ("eliquis", "apixaban"),
]


@pytest.mark.parametrize(("brand", "generic"), BRANDS)
def test_brand_to_generic(brand: str, generic: str) -> None:
    """A brand in the transcript supports the generic in the note."""
    assert lexicon().terms[brand] == ("DRUG", generic)


@pytest.mark.parametrize("word", ["water", "cold", "ms", "as", "hit", "can", "all", "disease", "pain", "patient"])
def test_ordinary_words_are_no_terms(word: str) -> None:
    """An ordinary word that some list calls a disease or a drug would flood every report."""
    assert word not in lexicon().terms


def test_loading_imports_no_source_package() -> None:
    """The device never imports the packages that the lists were made from."""
    code = (
        "from edge.clinical.facts.lexicon import lexicon; import sys, time; t = time.process_time(); lexicon();"
        "took = time.process_time() - t;"
        "print(*(m for m in sys.modules if 'named_entity' in m or m in ('pandas', 'torch', 'scipy')), took < 0.15)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
