"""No kv file says a word by itself: what a person sees comes from the catalogues, in their language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import edge.app.ui
from edge.app.i18n import DEFAULT, catalogue
from edge.app.ui.icons import ICONS

FOLDER = Path(edge.app.ui.__file__).parent
FILES = sorted(FOLDER.rglob("*.kv"))
# Properties whose values a person reads.
SEEN = "text|title|hint|hint_text|label|body|note|error|spoken|command|unit|empty|reason|trailing_spoken|words"
LITERAL = re.compile(rf"^\s*(?:{SEEN}|options|panes|actions|lines)\s*:(.*)$")
STRING = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def without_keys(expression: str) -> str:
    """The expression without the first argument of each `theme.tr(...)`, which may be put together from strings."""
    while (start := expression.find("theme.tr(")) >= 0:
        depth, end = 1, start + len("theme.tr(")
        while end < len(expression) and depth and not (depth == 1 and expression[end] == ","):
            depth += {"(": 1, ")": -1}.get(expression[end], 0)
            end += 1
        expression = expression[:start] + expression[end:]
    return expression


def spoken(expression: str) -> list[str]:
    """String literals of a kv expression that are shown as they stand: not keys of the catalogue, not token names."""
    rest = without_keys(expression)
    rest = re.sub(r"[=!]=\s*(['\"])[^'\"]*\1", "", rest)
    return [a or b for a, b in STRING.findall(rest) if re.search(r"[^\W\d_]{2,}", a or b)]


def begins(known: dict[str, str], prefix: str) -> list[bool]:
    """For a key that is put together: whether some key of the catalogue begins like it."""
    return [key.startswith(prefix) for key in known]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_no_literal_words(path: Path) -> None:
    """Fails when a kv file shows a word that no catalogue can translate."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        matched = LITERAL.match(line)
        if matched:
            found += [(number, words) for words in spoken(matched.group(1)) if not words.endswith(".")]
    assert not found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_key_and_icon_exists(path: Path) -> None:
    """Fails when a screen would show `area.name` instead of words, or stop at an unknown icon."""
    text = path.read_text(encoding="utf-8")
    keys = set(re.findall(r"theme\.tr\(\s*['\"]([a-z_]+\.[a-z0-9_]+)['\"]", text))
    known = catalogue(DEFAULT)
    assert not [key for key in keys if key not in known and not (key[-1] == "_" and any(begins(known, key)))]
    icons = set(re.findall(r"^\s*(?:icon|own_icon|trailing):\s*['\"]([a-z-]+)['\"]\s*$", text, re.MULTILINE))
    assert icons <= set(ICONS), icons - set(ICONS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_no_colour_of_its_own(path: Path) -> None:
    """Fails when a kv file paints with a colour that is not in the tokens (transparent is none)."""
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"#[0-9a-fA-F]{6}", text)
    literals = re.findall(
        r"(?:rgba?|color|fill|stroke|paint)\s*:\s*\(?\s*([\d.]+\s*,\s*[\d.]+\s*,\s*[\d.]+[^\n)]*)", text
    )
    assert all(re.fullmatch(r"0\s*,\s*0\s*,\s*0\s*,\s*0\s*", literal.strip()) for literal in literals), literals


def test_every_kv_rule_has_one_class() -> None:
    """Fails when two classes have one name: Kivy finds rules by name, and each would get the other's children too."""
    found: dict[str, list[str]] = {}
    for path in sorted(FOLDER.rglob("*.py")):
        for name in re.findall(r"^class (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            found.setdefault(name, []).append(str(path.relative_to(FOLDER)))
    rules = {
        name for path in FILES for name in re.findall(r"^<(\w+)>:", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert not {name: places for name, places in found.items() if name in rules and len(places) > 1}
