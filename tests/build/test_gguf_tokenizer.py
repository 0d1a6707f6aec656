"""GGUF tokenizer metadata to tokenizer.json: the split that each name stands for, specials, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from edge.build.gguf_tokenizer import PRE_TOKENIZERS, special_tokens, tokenizer_files, tokenizer_json
from edge.errors import SourceError

SEEN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
LETTERS = [chr(b) if b in SEEN else chr(256 + [h for h in range(256) if h not in SEEN].index(b)) for b in range(256)]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PAIRS = ["h e", "l l", "he ll", "hell o", "1 2", "12 3", "123 4", "Ġ hello", "Ċ Ċ", "! Ċ"]
TOKENS = [*SPECIALS, *LETTERS, *(pair.replace(" ", "") for pair in PAIRS), "xyz", "<user>"]


def metadata(pre: str = "smollm", **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "model": "gpt2",
        "pre": pre,
        "tokens": TOKENS,
        "token_type": [3] * 3 + [1] * (len(TOKENS) - 4) + [4],
        "merges": PAIRS,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    values = {key: value for key, value in (values | changes).items() if value is not ...}
    return {f"tokenizer.ggml.{key}": value for key, value in values.items()} | {
        "tokenizer.chat_template": "{{ messages }}<|im_end|>"
    }


def load(pre: str = "smollm", **changes: Any) -> Tokenizer:
    return Tokenizer.from_str(tokenizer_json(metadata(pre, **changes), "m.gguf").decode())


def pieces(pre: str, text: str) -> list[str]:
    return load(pre).encode(text, add_special_tokens=False).tokens


def test_each_name_splits_as_its_model_does() -> None:
    """Another split gives other tokens than the model was trained on: it still answers, but worse."""
    text = " hello1234 hello!\n\nhello"
    assert pieces("smollm", text) == ["Ġhello", "1", "2", "3", "4", "Ġhello", "!", "Ċ", "Ċ", "hello"]
    assert pieces("gpt-2", text) == ["Ġhello", "1234", "Ġhello", "!", "Ċ", "Ċ", "hello"]
    assert pieces("qwen2", text) == ["Ġhello", "1", "2", "3", "4", "Ġhello", "!", "ĊĊ", "hello"]
    assert pieces("llama-bpe", text) == ["Ġhello", "123", "4", "Ġhello", "!", "ĊĊ", "hello"]


def test_whole_words_without_merges() -> None:
    """Llama 3 takes a word that is in its vocabulary as it is; the others must be able to merge it."""
    assert pieces("llama-bpe", "xyz") == ["xyz"]
    assert pieces("qwen2", "xyz") == ["x", "y", "z"]


@pytest.mark.parametrize("pre", sorted(PRE_TOKENIZERS))
@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_text_comes_back(pre: str, text: str) -> None:
    """A byte that is lost between text and tokens may be the minus of a refraction."""
    tokenizer = TOKENIZERS[pre]
    normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == normal


TOKENIZERS = {pre: load(pre) for pre in PRE_TOKENIZERS}


def test_special_tokens_keep_their_numbers() -> None:
    """<|im_start|> split into letters is a prompt that the model has never seen."""
    tokenizer = load()
    ids = tokenizer.encode("<|im_start|>hello<|im_end|><user>").ids
    assert ids == [1, TOKENS.index("hello"), 2, len(TOKENS) - 1]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "hello<user>"


def test_the_bytes_are_always_the_same() -> None:
    """They are part of the bundle digest."""
    assert tokenizer_json(metadata(), "a") == tokenizer_json(dict(reversed(metadata().items())), "b")


def test_the_start_token_is_added_where_the_model_wants_it() -> None:
    """Llama 3's converter does not write add_bos_token; its tokenizer adds it all the same."""
    assert special_tokens(metadata("llama-bpe"), "m").add_bos is True
    assert load("llama-bpe").encode("hello").ids[0] == 1
    assert special_tokens(metadata("llama-bpe", add_bos_token=False), "m").add_bos is False
    assert special_tokens(metadata("smollm"), "m").add_bos is False
    assert special_tokens(metadata("smollm", add_bos_token=True), "m").add_bos is True
    assert load("smollm", add_bos_token=True).encode("hello", "hello").ids[:1] == [1]
    assert special_tokens(metadata("llama-bpe", bos_token_id=...), "m").add_bos is False


def test_what_ends_an_answer() -> None:
    """eos first, then every other end: the turn's end in the chat template counts even if the file forgot it."""
    assert special_tokens(metadata(), "m").eos_token_ids == (2,)
    forgot = special_tokens(metadata(eos_token_id=0), "m")
    assert (forgot.eos_token, forgot.eos_token_ids) == ("<|endoftext|>", (0, 2))
    assert special_tokens(metadata(eot_token_id=5, eom_token_id=4), "m").eos_token_ids == (2, 4, 5)
    plain = metadata(token_type=[1] * len(TOKENS), eos_token_id=0)
    assert special_tokens(plain, "m").eos_token_ids == (0,)
    assert json.loads(special_tokens(metadata(), "m").to_bytes()) == {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "bos_token_id": 1,
        "eos_token_ids": [2],
        "add_bos": False,
    }


def test_padding_of_the_embedding_is_left_out() -> None:
    """Qwen's file names tokens that its tokenizer does not have."""
    padded = [*TOKENS, f"[PAD{len(TOKENS)}]"]
    types = [3] * 3 + [1] * (len(TOKENS) - 3) + [5]
    tokenizer = load("qwen2", tokens=padded, token_type=types)
    assert tokenizer.get_vocab_size() == len(TOKENS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "llama"}, "known: gpt2"),
        ({"model": ...}, "has no tokenizer"),
        ({"pre": "tekken"}, "'tekken' (known: gpt-2, llama-bpe, qwen2, smollm)"),
        ({"pre": "default"}, "'default' (known:"),
        ({"pre": ...}, "'None' (known:"),
        ({"pre": ["smollm"]}, "known:"),
        ({"tokens": ...}, "tokenizer.ggml.tokens is missing"),
        ({"tokens": [1, 2]}, "tokenizer.ggml.tokens is missing or wrong"),
        ({"merges": ...}, "tokenizer.ggml.merges is missing"),
        ({"merges": ["h e", "nonsense"]}, "not a pair"),
        ({"merges": ["h zz"]}, "broken vocabulary"),
        ({"token_type": [1, 1]}, "2 token types"),
        ({"tokens": [*TOKENS[:-1], "a"]}, "a token twice"),
        ({"tokens": [token if token != "a" else "aa" for token in TOKENS]}, "no token for 1 of the bytes"),
        ({"eos_token_id": ...}, "token"),
        ({"eos_token_id": 10**6}, "eos_token_id is 1000000"),
        ({"bos_token_id": -1}, "bos_token_id is -1"),
        ({"bos_token_id": True}, "bos_token_id is True"),
    ],
)
def test_what_is_wrong_is_one_line(changes: dict[str, Any], says: str) -> None:
    """A guess here is a model that misreads every text."""
    values = metadata(**changes)
    if changes == {"eos_token_id": ...}:
        values["tokenizer.chat_template"] = "{{ messages }}"
    with pytest.raises(SourceError) as caught:
        tokenizer_files(values, "m.gguf", vocab_size=len(TOKENS))
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert line.startswith("m.gguf: ")
    assert says in line
    assert caught.value.mend


def test_files_that_do_not_go_together() -> None:
    """More tokens than embeddings, or no chat template."""
    with pytest.raises(SourceError, match=r"has \d+ tokens, the model 5"):
        tokenizer_files(metadata(), "m", vocab_size=5)
    without = metadata()
    del without["tokenizer.chat_template"]
    with pytest.raises(SourceError, match="no chat template"):
        tokenizer_files(without, "m", vocab_size=len(TOKENS))
