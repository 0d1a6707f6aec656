"""Every word that a person sees: `tr("note.sign")`, from the catalogues beside this file.

A catalogue is a folder of YAML files, one an area; the key is `area.name`. `{name}` in a text is filled by keyword.
Plurals are two keys, `name_one` and `name_other` (`tr_n`); both languages that ship have just these two forms. A key
that a language lacks falls back to English and then to the key itself, so that a screen never fails for a word;
tests/app/i18n holds both catalogues complete, with the same place-holders.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent
DEFAULT = "en"
LANGUAGES = {"en": "English", "de": "Deutsch"}
# libyaml reads ten times faster than pure Python, and a bedside app must open at once.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@lru_cache(maxsize=len(LANGUAGES))
def catalogue(language: str) -> dict[str, str]:
    """All texts of a language by key. An unknown language has none."""
    texts: dict[str, str] = {}
    for path in sorted((FOLDER / language).glob("*.yaml")):
        for name, text in (yaml.load(path.read_text(encoding="utf-8"), _LOADER) or {}).items():  # noqa: S506
            texts[f"{path.stem}.{name}"] = str(text)
    return texts


class Translator:
    """The language in use. `language` may be changed at any time; who draws listens with `listen`."""

    def __init__(self, language: str = DEFAULT) -> None:
        self._language = language
        self._listeners: list[Callable[[], None]] = []

    @property
    def language(self) -> str:
        """Code of the language in use."""
        return self._language

    @language.setter
    def language(self, code: str) -> None:
        if code == self._language or code not in LANGUAGES:
            return
        self._language = code
        for listener in tuple(self._listeners):
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change of the language."""
        self._listeners.append(listener)

    def text(self, key: str, values: dict[str, object]) -> str:
        """The text of a key, filled. A place-holder without a value stays visible instead of failing."""
        found = catalogue(self._language).get(key) or catalogue(DEFAULT).get(key) or key
        try:
            return found.format(**values) if values else found
        except (KeyError, IndexError, ValueError):
            return found


translator = Translator()


def tr(key: str, **values: object) -> str:
    """The text of `area.name` in the language in use."""
    return translator.text(key, values)


def tr_n(key: str, count: int, **values: object) -> str:
    """The singular or the plural of a key; {count} is filled."""
    form = "one" if count == 1 else "other"
    return translator.text(f"{key}_{form}", {"count": count, **values})
