"""The reader of the rule table refuses what it does not know, in one line with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.clinical.redflag_phrases import compile_phrase, normalised
from edge.clinical.redflag_rules import parse_table, read_table
from edge.errors import SpecError

GOOD = """version: 1
phrases:
  cough: [cough*, barking]
rules:
  - id: a
    area: general
    title: Possible cough
    any: [cough]
    source: A guideline, 2020
    note: A note.
    fires: [a cough]
    silent: [no cough]
"""
BAD = [
    ("version: 1", "version: 2", "t.yaml:1: key 'version': this edge reads version 1; update edge."),
    ("area: general", "area: skin", "t.yaml:6: key 'rules[0].area': must be one of general, eye."),
    ("any: [cough]", "any: [sneeze]", "t.yaml:8: key 'rules[0].any[0]': 'sneeze' is not one of the phrases;"),
    ("any: [cough]", "some: [cough]", "t.yaml:8: key 'rules[0].some': is not known (known: id,"),
    ("    any: [cough]\n", "", "t.yaml:5: key 'rules[0]': has neither 'all' nor 'any'; say what it fires on."),
    ("any: [cough]", "any: []", "t.yaml:8: key 'rules[0].any': must not be empty; leave the key out."),
    ("any: [cough]", "any: [{vital: mood, below: 3}]", "'mood' is not known (known: spo2"),
    ("any: [cough]", "any: [{vital: hr}]", "needs either 'below' or 'at_least'"),
    ("any: [cough]", "any: [{vital: hr, below: low}]", "must be a number"),
    ("any: [cough]", "any: [{near: [cough], words: 3}]", "needs two names"),
    ("any: [cough]", "any: [{far: 3}]", "'far' is not known (known: said, near, vital, any)"),
    ("any: [cough]", "any: [{said: cough, past: maybe}]", "must be true or false"),
    ("any: [cough]", "any: [cough]\n    age: {min: 9, max: 3}", "needs min, max or both, min first"),
    ("any: [cough]", "any: [cough]\n    sex: other", "must be one of female, male"),
    ("cough: [cough*, barking]", "cough: ['(cough']", "t.yaml:3: key 'phrases.cough': a bracket is not closed."),
    ("cough: [cough*, barking]", "cough: ['cough?']", "holds no word that must be said"),
    ("cough: [cough*, barking]", "cough: []", "t.yaml:3: key 'phrases.cough': must not be empty."),
    ("cough: [cough*, barking]", "cough: word", "must be a list"),
    ("fires: [a cough]", "fires: []", "t.yaml:11: key 'rules[0].fires': must not be empty."),
    ("title: Possible cough", "title: ''", "t.yaml:7: key 'rules[0].title': must not be empty."),
    ("    note: A note.\n", "", "key 'rules[0].note': is missing."),
    ("    note: A note.\n", "    note: A\n    note: B\n", "key 'rules[0].note': is given twice; keep one of them."),
    ("rules:", "rules: [", "not valid YAML"),
    ("version: 1", "- version", ": not valid YAML"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD)
def test_refuses(old: str, new: str, message: str) -> None:
    """A misspelt rule is silently dropped, or the message does not say where."""
    with pytest.raises(SpecError) as raised:
        parse_table(GOOD.replace(old, new), "t.yaml")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_reads(tmp_path: Path) -> None:
    """The table of one's own is not read, or a missing file ends in a traceback."""
    path = tmp_path / "own.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert read_table(path).rules[0].id == "a"
    with pytest.raises(SpecError, match="cannot be read"):
        read_table(tmp_path / "none.yaml")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="UTF-8"):
        read_table(path)


def test_rule_given_twice() -> None:
    """Two rules of one id hide each other."""
    rule = GOOD[GOOD.index("  - id") :]
    with pytest.raises(SpecError, match="'a' is given twice"):
        parse_table(GOOD + rule, "t.yaml")


WORDINGS = [
    ("chest pain|pressure", "pressure in the chest pressure", ["chest pressure"]),
    ("can't|cannot breathe", "i ca n't breathe and cannot breathe", ["ca n't breathe", "cannot breathe"]),
    ("eye .. red", "my eye is very red", ["eye is very red"]),
    ("eye .. red", "my eye is not red", []),
    ("eye .. red", "my eye hurts. red car", []),
    ("cough* up? .. blood", "coughing blood , coughed up some blood", ["coughing blood", "coughed up some blood"]),
    ("(lost of|out of) breath", "out of breath", ["out of breath"]),
    ("halo(s)", "halo halos halogen", ["halo", "halos"]),
    ("didn't move", "i did n't move", ["did n't move"]),
    ("light headed", "light-headed", ["light-headed"]),
]


@pytest.mark.parametrize(("wording", "text", "found"), WORDINGS)
def test_wordings(wording: str, text: str, found: list[str]) -> None:
    """The small language of the wordings means something else than its description."""
    assert [match[0] for match in compile_phrase(wording).find(normalised(text))] == found


def test_normalised_keeps_places() -> None:
    """A letter that grows in lower case would shift every place behind it."""
    text = "İ don\u2019t"
    assert len(normalised(text)) == len(text)
    assert normalised(text).endswith("don't")
