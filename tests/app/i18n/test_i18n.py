"""Catalogues: a missing word in one language shows the wrong language at the bedside."""

from __future__ import annotations

import re
import string

import pytest

from edge.app.i18n import LANGUAGES, Translator, catalogue, tr, tr_n, translator


def placeholders(text: str) -> set[str]:
    """Names in braces."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_keys() -> None:
    """A key that only one language has falls back silently: the reader would see two languages."""
    english = set(catalogue("en"))
    for language in LANGUAGES:
        assert set(catalogue(language)) == english


@pytest.mark.parametrize("key", sorted(catalogue("en")))
def test_placeholders_agree(key: str) -> None:
    """A number that a translation forgets is a number that the clinician does not read."""
    assert placeholders(catalogue("de")[key]) == placeholders(catalogue("en")[key])


def test_plurals_come_in_pairs() -> None:
    """`tr_n` with one form missing would print a key."""
    for key in catalogue("en"):
        if key.endswith("_one"):
            assert f"{key[:-4]}_other" in catalogue("en")


def test_names_are_plain_words() -> None:
    """YAML reads on, off, yes and no as truth values: such a key would never be found."""
    assert all(re.fullmatch(r"[a-z_]+\.[a-z0-9_]+", key) for code in LANGUAGES for key in catalogue(code))


def test_no_empty_text() -> None:
    """An empty text is a button without a word."""
    assert not [(code, key) for code in LANGUAGES for key, text in catalogue(code).items() if not text.strip()]


def test_change_of_language_is_told() -> None:
    """Screens redraw when the language changes, and only then."""
    told: list[str] = []
    own = Translator()
    own.listen(lambda: told.append(own.language))
    own.language = "de"
    own.language = "de"
    own.language = "xx"
    assert told == ["de"]


def test_unknown_key_and_missing_value_never_fail() -> None:
    """A word must not be able to stop the app."""
    assert tr("nowhere.nothing") == "nowhere.nothing"
    assert tr_n("nowhere.items", 1) == "nowhere.items_one"
    assert translator.text("{x}", {"y": 1}) == "{x}"


def test_the_note_has_one_word_in_german() -> None:
    """'Befund' is what was found; a note of that name sends a clinician to the wrong screen."""
    german = catalogue("de")
    assert {german[key] for key in ("shell.note", "note.note_title", "review.note", "worklist.note")} == {"Bericht"}
    named = [key for key, text in german.items() if key.startswith(("note.", "review.")) and "Befund" in text]
    assert sorted(named) == ["note.notice_contradiction", "review.findings"]
    # A Fallnummer names a stay, not a person.
    assert "Patient" in german["print.mrn"]


@pytest.mark.parametrize(("code", "word"), [("en", "passed"), ("de", "bestanden")])
def test_a_build_that_was_forced_is_not_called_untested(code: str, word: str) -> None:
    """It ran its test and failed it: 'without a test' would be kinder than the truth."""
    for area in ("shell", "settings", "device"):
        assert word in catalogue(code)[f"{area}.verified_forced"].lower()
