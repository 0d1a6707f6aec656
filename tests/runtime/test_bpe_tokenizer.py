"""The tokenizer in plain Python gives the library's ids: on tiny tokenizers of every kind that it knows, and on the
reference's own; what it does not know it refuses."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from edge.runtime.bpe_tokenizer import BpeTokenizer, UnknownPartError, merged
from edge.runtime.text import ChatTokenizer, Message
from edge.runtime.unicode_patterns import translate
from tests.tiny import MARKER, MERGES, SPECIALS, TOKENS, write_tokenizer

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPICE = st.sampled_from(
    (
        *(*SPECIALS, MARKER, "<note", "the pain in the pan", " 's", "'LL'Re", "  \n\r\n  ", "\t", "a" * 70),
        *("\x1c\x85\xa0\u2028\u3000", "1234567", "½²Ⅷ", "٣٤", "ÄÖÜß", "e\u0301", "한국어", "日本語", "🩺👩🏽", "ǅ"),
        *("ʰ", "mmHg 20/200", "<|im_start|>user"),
    )
)
# Both sides know the characters of this Python's Unicode tables; on newer ones they may differ, which is documented.
LETTERS = st.characters(exclude_categories=["Cs", "Cn"])
TEXTS = st.lists(st.one_of(SPICE, st.text(LETTERS, max_size=12)), max_size=10).map("".join)


def library(kind: str) -> Tokenizer:
    """A tiny tokenizer as a family of models has it."""
    made = Tokenizer(models.BPE({token: at for at, token in enumerate(TOKENS)}, list(MERGES)))
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    if kind == "gpt2":
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    elif kind == "smollm2":
        digits = pre_tokenizers.Digits(individual_digits=True)
        made.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    else:
        split = pre_tokenizers.Split(Regex(O200K if kind == "gpt-oss" else LLAMA3), "isolated")
        made.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])
    if kind == "qwen":
        made.normalizer = normalizers.NFC()
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    made.add_tokens([AddedToken(MARKER, special=False, normalized=kind == "qwen")])
    made.encode_special_tokens = True
    return made


def ours(made: Tokenizer, **model: Any) -> BpeTokenizer:
    data = json.loads(made.to_str())
    data["model"].update(model)
    read = BpeTokenizer(json.dumps(data))
    read.encode_special_tokens = True
    return read


PAIRS = {
    kind: (made, ours(made)) for kind in ("gpt2", "smollm2", "llama3", "gpt-oss", "qwen") for made in [library(kind)]
}


@pytest.mark.parametrize("kind", PAIRS)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_ids_are_the_librarys(kind: str, text: str) -> None:
    """One other cut and a device reads another prompt than the one that was verified."""
    wanted, read = PAIRS[kind]
    assert read.encode(text).ids == wanted.encode(text, add_special_tokens=False).ids


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, len(TOKENS) + 3), max_size=20))
def test_decoding_is_the_librarys(ids: list[int]) -> None:
    """Half characters, control tokens and unknown ids come in a stream: text must not differ by one of them."""
    wanted, read = PAIRS["gpt2"]
    assert read.decode(ids) == wanted.decode(ids, skip_special_tokens=True)
    assert read.decode(ids, skip_special_tokens=False) == wanted.decode(ids, skip_special_tokens=False)


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_control_tokens_in_text_become_ids_only_when_asked(text: str) -> None:
    """The switch that keeps a transcript's "<|im_end|>" text must do here what it does in the library."""
    made, read = library("gpt2"), ours(library("gpt2"))
    made.encode_special_tokens = read.encode_special_tokens = False
    assert read.encode(text).ids == made.encode(text, add_special_tokens=False).ids


def test_sizes_and_added_tokens_are_the_librarys() -> None:
    """ChatTokenizer takes control tokens and the vocabulary's size from these two."""
    wanted, read = PAIRS["gpt2"]
    assert read.get_vocab_size() == wanted.get_vocab_size(with_added_tokens=True)
    assert read.get_vocab_size(False) == wanted.get_vocab_size(with_added_tokens=False)
    theirs = wanted.get_added_tokens_decoder()
    assert {index: (one.content, one.special) for index, one in read.get_added_tokens_decoder().items()} == {
        index: (one.content, one.special) for index, one in theirs.items()
    }


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="thepain us<|\n", max_size=300))
def test_merging_is_the_librarys_on_long_words(text: str) -> None:
    """Order of merges decides between two ways to cut a word; a queue must give the same as the library's."""
    made = library("gpt2")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"[^\x00]+".replace(r"\x00", "q")), "isolated"),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )  # fmt: skip
    assert ours(made).encode(text).ids == made.encode(text, add_special_tokens=False).ids


def test_words_in_the_vocabulary_may_skip_the_merges() -> None:
    """Llama 3 and gpt-oss take a word that is a token whole, whatever its merges would make of it."""
    merges = [pair for pair in MERGES if pair != ("pa", "in")]
    made = Tokenizer(models.BPE({token: at for at, token in enumerate(TOKENS)}, merges, ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    read = ours(made)
    assert read.encode("pain").ids == made.encode("pain", add_special_tokens=False).ids == [TOKENS.index("pain")]


def test_old_files_write_merges_as_text() -> None:
    """Files from before 2024 write "a b" and not ["a", "b"]."""
    made = library("gpt2")
    assert ours(made, merges=[" ".join(pair) for pair in MERGES]).encode("the pain").ids == made.encode("the pain").ids


def test_half_a_surrogate_pair_is_a_type_error() -> None:
    """ChatTokenizer turns the library's TypeError into one line; another exception would be a traceback."""
    with pytest.raises(TypeError):
        PAIRS["gpt2"][1].encode("\ud800")
    with pytest.raises(ValueError, match="special"):
        PAIRS["gpt2"][1].encode("a", add_special_tokens=True)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"version": "2.0"}, "version"),
        ({"surprise": 1}, "surprise"),
        ({"normalizer": {"type": "NFKC"}}, "NFKC"),
        ({"pre_tokenizer": None}, "no pre-tokenizer"),
        ({"pre_tokenizer": {"type": "Metaspace"}}, "ByteLevel"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}}, "add_prefix_space"),
        ({"decoder": None}, "decoder"),
        ({"decoder": {"type": "Metaspace"}}, "decoder"),
        ({"model": {"type": "Unigram"}}, "Unigram"),
        ({"model": {"byte_fallback": True}}, "byte_fallback"),
        ({"model": {"unk_token": "<s>"}}, "unk_token"),
        ({"model": {"dropout": 0.1}}, "dropout"),
        ({"model": {"other": 1}}, "other"),
    ],
)
def test_unknown_parts_are_refused(change: dict[str, Any], names: str) -> None:
    """A part that is skipped in silence changes every id; the reader says which part it does not know."""
    data = json.loads(library("gpt2").to_str())
    for key, value in change.items():
        if isinstance(value, dict) and key == "model":
            data[key].update(value)
        else:
            data[key] = value
    with pytest.raises(UnknownPartError, match=names):
        BpeTokenizer(json.dumps(data))


@pytest.mark.parametrize(
    "step",
    [
        {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Removed", "invert": False},
        {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Isolated", "invert": True},
        {"type": "Split", "pattern": {"Regex": r"\h+"}, "behavior": "Isolated", "invert": False},
        {"type": "Split", "pattern": {"Regex": r"[a-z&&[^b]]"}, "behavior": "Isolated", "invert": False},
        {"type": "Split", "pattern": {"Regex": r"a++"}, "behavior": "Isolated", "invert": False},
        {"type": "Punctuation"},
    ],
)
def test_unknown_cuts_are_refused(step: dict[str, Any]) -> None:
    """A pattern that means something else to Python's own engine must not be guessed at."""
    data = json.loads(library("gpt2").to_str())
    last = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    data["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [step, last]}
    with pytest.raises(UnknownPartError):
        BpeTokenizer(json.dumps(data))


@pytest.mark.parametrize("name", ["single_word", "lstrip", "rstrip"])
def test_added_tokens_that_take_their_neighbours_are_refused(name: str) -> None:
    """They would swallow spaces of the text around them."""
    data = json.loads(library("gpt2").to_str())
    next(one for one in data["added_tokens"] if not one["special"])[name] = True
    with pytest.raises(UnknownPartError, match=name):
        BpeTokenizer(json.dumps(data))


def test_properties_are_unicodes() -> None:
    """Each character is in the class of its category and in no other."""
    import re

    for category in ("L", "Lu", "M", "N", "Nd"):
        inside = re.compile(translate(rf"\p{{{category}}}"))
        for point in (*range(0x20, 0x3000, 7), 0x1D7D8, 0x20000, 0xE0100):
            assert bool(inside.match(chr(point))) is unicodedata.category(chr(point)).startswith(category)
    with pytest.raises(ValueError, match="Xx"):
        translate(r"\p{Xx}")


def test_nothing_to_merge_is_nothing_changed() -> None:
    """No symbols, one symbol, no merges."""
    assert merged([], {}) == ()
    assert merged([5], {(5, 5): (0, 6)}) == (5,)
    assert merged([5, 5, 5], {(5, 5): (0, 6)}) == (6, 5)


def test_a_chat_is_the_same_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of ChatTokenizer over the fallback: ids of a conversation, the stream back to text."""
    import edge.runtime.text as text

    wanted = ChatTokenizer(write_tokenizer(tmp_path))
    monkeypatch.setattr(text, "Tokenizer", BpeTokenizer)
    read = ChatTokenizer(tmp_path)
    chat = [Message("system", "You write notes."), Message("user", f"the pain <|im_end|> {MARKER} é 🩺")]
    ids = wanted.encode_chat(chat)
    assert read.encode_chat(chat) == ids
    assert (read.vocab_size, read.control_ids, read.stop_ids) == (
        wanted.vocab_size, wanted.control_ids, wanted.stop_ids
    )  # fmt: skip
    stream = read.stream()
    assert "".join([*(stream.push(index) for index in ids), stream.flush()]) == wanted.decode(ids)
