"""Byte-level BPE in plain Python, for platforms that the `tokenizers` library is not built for (Android).

It reads the same tokenizer.json and gives the same ids (tests/runtime/test_bpe_tokenizer.py holds both against each
other). What it does not know it refuses when the file is read: a tokenizer that cuts text differently from the one
that the model was trained with makes a worse model, in silence. Characters that are newer than this Python's Unicode
tables count as neither letters nor digits.
"""

from __future__ import annotations

import heapq
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from edge.runtime.unicode_patterns import translate

FORMAT_VERSION: Final = "1.0"
# GPT-2's own pattern, which the ByteLevel pre-tokenizer applies where it is told to.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
WORDS_KEPT = 16384
_KNOWN = ("version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor")
_KNOWN_MODEL = frozenset(("type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"))

Cutter = Callable[[str], Iterable[str]]


class UnknownPartError(ValueError):
    """A part of tokenizer.json that this reader does not know; the message names it."""


@dataclass(frozen=True)
class AddedToken:
    """A token beside the vocabulary. normalized: looked for after the normalizer and not before it."""

    content: str
    special: bool
    normalized: bool


@dataclass(frozen=True)
class Encoded:
    """The result of BpeTokenizer.encode."""

    ids: list[int] = field(repr=False)


def byte_letters() -> tuple[str, ...]:
    """The letter that stands for each of the 256 bytes in a byte-level vocabulary."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(256, 512))
    return tuple(chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256))


class BpeTokenizer:
    """As much of `tokenizers.Tokenizer` as edge.runtime.text uses.

    Parameters
    ----------
    text: the contents of tokenizer.json.

    Raises
    ------
    UnknownPartError: the file has a part that this reader does not know. ValueError, KeyError, TypeError: it is broken.
    """

    def __init__(self, text: str) -> None:
        data: dict[str, Any] = json.loads(text)
        _only(data, {*_KNOWN, "decoder", "model"}, "the file")
        if data.get("version", FORMAT_VERSION) != FORMAT_VERSION:
            raise UnknownPartError(f"version {data['version']!r}")
        self.encode_special_tokens = False
        model = data["model"]
        _check_model(model)
        if (data.get("decoder") or {}).get("type") != "ByteLevel":
            raise UnknownPartError("a decoder other than ByteLevel")
        self._vocab: dict[str, int] = {str(token): int(index) for token, index in model["vocab"].items()}
        self._ignore_merges = bool(model.get("ignore_merges", False))
        self._merges = _merges(model["merges"], self._vocab)
        self._normalize = _normalizer(data.get("normalizer"))
        self._cut = _pre_tokenizer(data.get("pre_tokenizer"))
        self._added = {int(one["id"]): _added(one) for one in data.get("added_tokens") or ()}
        self._tokens = {index: token for token, index in self._vocab.items()}
        self._tokens.update({index: one.content for index, one in self._added.items()})
        self._special = {one.content for one in self._added.values() if one.special}
        self._letters = byte_letters()
        self._bytes = {letter: byte for byte, letter in enumerate(self._letters)}
        ids = {one.content: index for index, one in self._added.items()}
        self._searches = tuple(
            _literals({one.content: ids[one.content] for one in self._added.values() if one.normalized is normalized})
            for normalized in (False, True)
        )
        self._word = lru_cache(WORDS_KEPT)(self._word_ids)

    @classmethod
    def from_file(cls, path: str) -> BpeTokenizer:
        """Read a tokenizer.json. Errors: as the constructor; OSError."""
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - the library's own signature takes a str
            return cls(file.read())

    def no_padding(self) -> None:
        """Nothing: this one never pads."""

    def no_truncation(self) -> None:
        """Nothing: this one never cuts off."""

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens by id."""
        return dict(self._added)

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """Number of different tokens."""
        return len({*self._vocab, *(one.content for one in self._added.values())} if with_added_tokens else self._vocab)

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Encoded:
        """Ids of `text`. Errors: TypeError for half a surrogate pair; ValueError when special tokens are asked for."""
        if add_special_tokens:
            raise ValueError("this tokenizer adds no special tokens")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise TypeError("not valid Unicode") from error
        ids: list[int] = []
        for piece, token in self._split(text, self._searches[0]):
            if token is not None:
                ids.append(token)
                continue
            for part, inner in self._split(self._normalize(piece), self._searches[1]):
                if inner is not None:
                    ids.append(inner)
                else:
                    for word in self._cut(part):
                        ids.extend(self._word(word))
        return Encoded(ids)

    def _split(self, text: str, search: tuple[re.Pattern[str], Mapping[str, int]] | None) -> Iterator[Piece]:
        """Cut out the added tokens; special ones stay text where `encode_special_tokens` is set."""
        position = 0
        for match in search[0].finditer(text) if search else ():
            content = match.group()
            if self.encode_special_tokens and content in self._special:
                continue
            if match.start() > position:
                yield text[position : match.start()], None
            yield content, search[1][content] if search else None
            position = match.end()
        if position < len(text):
            yield text[position:], None

    def _word_ids(self, word: str) -> tuple[int, ...]:
        """Ids of one pre-token."""
        spelled = "".join(self._letters[byte] for byte in word.encode("utf-8"))
        if self._ignore_merges and spelled in self._vocab:
            return (self._vocab[spelled],)
        # A byte without a letter of its own in the vocabulary is dropped, as the library does.
        return merged([self._vocab[letter] for letter in spelled if letter in self._vocab], self._merges)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of ids; unknown ids are nothing, half a character is U+FFFD."""
        data = bytearray()
        for index in ids:
            token = self._tokens.get(index)
            if token is None or (skip_special_tokens and token in self._special):
                continue
            try:
                data.extend([self._bytes[letter] for letter in token])
            except KeyError:  # an added token is written as it is
                data.extend(token.encode("utf-8"))
        return data.decode("utf-8", errors="replace")


Piece = tuple[str, int | None]
Merges = Mapping[tuple[int, int], tuple[int, int]]


def merged(symbols: list[int], merges: Merges) -> tuple[int, ...]:
    """Join neighbours, the pair of the lowest rank first and the leftmost among equals, until none can be joined.

    merges: (left, right) -> (rank, joined). A queue, since a word may be as long as the text.
    """
    count = len(symbols)
    after, before = list(range(1, count + 1)), list(range(-1, count - 1))
    queue: list[tuple[int, int, int]] = []

    def offer(left: int) -> None:
        right = after[left]
        if right < count and (found := merges.get((symbols[left], symbols[right]))) is not None:
            heapq.heappush(queue, (found[0], left, found[1]))

    for place in range(count):
        offer(place)
    gone = [False] * count
    while queue:
        _, left, joined = heapq.heappop(queue)
        right = after[left]
        if gone[left] or right >= count:
            continue
        found = merges.get((symbols[left], symbols[right]))
        if found is None or found[1] != joined:
            continue  # an offer from before one of the two was joined
        symbols[left] = joined
        gone[right] = True
        after[left] = after[right]
        if after[left] < count:
            before[after[left]] = left
        offer(left)
        if before[left] >= 0:
            offer(before[left])
    return tuple(symbol for symbol, was_joined in zip(symbols, gone, strict=True) if not was_joined)


def _only(data: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    odd = sorted(set(data) - set(known))
    if odd:
        raise UnknownPartError(f"{odd[0]!r} in {where}")


def _check_model(model: Mapping[str, Any]) -> None:
    kind = model.get("type", "BPE")
    if kind != "BPE":
        raise UnknownPartError(f"a model of type {kind!r}")
    _only(model, _KNOWN_MODEL | {"fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"}, "the model")
    for name in ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(name):
            raise UnknownPartError(f"{name!r} in the model")


def _merges(rows: Sequence[Any], vocab: Mapping[str, int]) -> dict[tuple[int, int], tuple[int, int]]:
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for rank, row in enumerate(rows):
        left, right = row.split(" ") if isinstance(row, str) else row
        found[vocab[left], vocab[right]] = (rank, vocab[left + right])
    return found


def _added(one: Mapping[str, Any]) -> AddedToken:
    _only(one, ("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"), "an added token")
    special = bool(one.get("special", False))
    for name in ("single_word", "lstrip", "rstrip"):
        # Text never makes a special token here, so how one would take its neighbours does not matter.
        if one.get(name) and not special:
            raise UnknownPartError(f"{name!r} in an added token")
    return AddedToken(str(one["content"]), special, bool(one.get("normalized", not special)))


def _literals(contents: Mapping[str, int]) -> tuple[re.Pattern[str], Mapping[str, int]] | None:
    """A search for the longest of some literals at the leftmost place."""
    longest_first = sorted((one for one in contents if one), key=len, reverse=True)
    return (re.compile("|".join(map(re.escape, longest_first))), contents) if longest_first else None


def _same(text: str) -> str:
    return text


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _normalizer(part: Mapping[str, Any] | None) -> Callable[[str], str]:
    kind = None if part is None else part["type"]
    if kind not in (None, "NFC"):
        raise UnknownPartError(f"a normalizer of type {kind!r}")
    return _nfc if kind else _same


def _pre_tokenizer(part: Mapping[str, Any] | None) -> Cutter:
    """One function from text to pre-tokens. The last step must be ByteLevel: it is what makes letters of bytes."""
    if part is None:
        raise UnknownPartError("no pre-tokenizer")
    steps = list(part["pretokenizers"]) if part["type"] == "Sequence" else [part]
    if not steps or steps[-1]["type"] != "ByteLevel":
        raise UnknownPartError("a pre-tokenizer that does not end with ByteLevel")
    cutters = [cutter for step in steps if (cutter := _step(step, last=step is steps[-1])) is not None]

    def cut(text: str) -> Iterable[str]:
        pieces: Iterable[str] = (text,)
        for cutter in cutters:
            pieces = [one for piece in pieces for one in cutter(piece)]
        return pieces

    return cut


def _step(step: Mapping[str, Any], *, last: bool) -> Cutter | None:
    kind = step["type"]
    if kind == "ByteLevel" and last:
        _only(step, ("type", "add_prefix_space", "trim_offsets", "use_regex"), "ByteLevel")
        if step.get("add_prefix_space", True):
            raise UnknownPartError("'add_prefix_space' in ByteLevel")
        return _isolated(GPT2) if step.get("use_regex", True) else None
    if kind == "Digits":
        _only(step, ("type", "individual_digits"), "Digits")
        return _isolated(r"\p{N}" if step.get("individual_digits") else r"\p{N}+")
    if kind == "Split":
        _only(step, ("type", "pattern", "behavior", "invert"), "Split")
        pattern = step["pattern"]
        if step["behavior"] != "Isolated" or step.get("invert") or set(pattern) not in ({"Regex"}, {"String"}):
            raise UnknownPartError("a Split that does not isolate a pattern")
        return _isolated(pattern["Regex"] if "Regex" in pattern else re.escape(pattern["String"]))
    raise UnknownPartError(f"a pre-tokenizer of type {kind!r}")


def _isolated(pattern: str) -> Cutter:
    """Matches and what lies between them, each a piece of its own. Errors: UnknownPartError for its syntax."""
    try:
        compiled = re.compile(translate(pattern))
    except (ValueError, re.error) as error:
        raise UnknownPartError("a pattern that this Python cannot read") from error

    def cut(text: str) -> Iterator[str]:
        position = 0
        for match in compiled.finditer(text):
            if match.start() > position:
                yield text[position : match.start()]
            if match.end() > match.start():
                yield match.group()
            position = match.end()
        if position < len(text):
            yield text[position:]

    return cut
