"""Quotes that cannot be made up: a grammar rule for the spans of a text, and where a quote stands in it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from edge.errors import InputError


def evidence_rule(
    name: str, text: str | Sequence[str], *, max_words: int | None = None, leading_space: bool = True
) -> str:
    """Lark lines that define `name` as: some consecutive whole words of one piece of `text`.

    text: pieces that a quote may not cross (turns, sentences), or one text, whose lines are the pieces. White space
    between words is written as one space. name: lower case for a rule, upper case for a terminal. max_words: longest
    quote. leading_space: the match begins with one space, as fits after `"EVIDENCE:"`: most tokenizers hold a word
    together with the space before it. What was matched is found again by `locate`.
    Errors: InputError when there is no word to quote, or a bad name or number.
    """
    pieces = [words for piece in ([*text.splitlines()] if isinstance(text, str) else text) if (words := piece.split())]
    if not pieces:
        raise InputError("there are no words to quote from", mend="give a text that is not empty")
    if not re.fullmatch(r"[a-z][a-z0-9_]*|[A-Z][A-Z0-9_]*", name):
        raise InputError("a grammar rule needs a name of letters, digits and _ in one case", mend="give another name")
    if max_words is not None and max_words < 1:
        raise InputError(f"max_words is {max_words}", mend="give 1 or more")
    # Chunks in the order of the text; a quote is a run of chunks. The line feed stands between pieces and the
    # expression below has none, so no quote crosses it.
    chunks = [chunk for words in pieces for chunk in ("\n", *(part for word in words for part in (" ", word)))]
    terminal = name.upper()
    parts, span = f"{terminal}_PARTS", terminal if name == terminal else f"{terminal}_SPAN"
    more = "*" if max_words is None else f"{{0,{max_words - 1}}}"
    shape = f"/{' ' if leading_space else ''}[^ \\n]+( [^ \\n]+){more}/"
    lines = [f"{parts}: %regex {json.dumps({'substring_chunks': chunks})}", f"{span}: {parts} & {shape}"]
    return "\n".join([*lines, *([] if span == name else [f"{name}: {span}"])]) + "\n"


def locate(text: str, quote: str) -> tuple[int, int] | None:
    """(start, end) of the first place where `quote` stands in `text`, whole words before parts of words.

    White space is compared as white space, however much of it; the quote's own at its ends does not count.
    """
    words = quote.split()
    if not words:
        return None
    pattern = r"\s+".join(map(re.escape, words))
    found = re.search(rf"(?<!\S){pattern}(?!\S)", text) or re.search(pattern, text)
    return found.span() if found else None
