"""GGUF tokenizer metadata to the tokenizer.json that the runtime loads.

GGUF keeps vocabulary, merges and token types, but of the pre-tokenizer only a name (`tokenizer.ggml.pre`).
PRE_TOKENIZERS says what each known name stands for in the tokenizers library, as the model's own
tokenizer.json has it. An unknown name is refused: another split gives other tokens, and nobody would notice.

The JSON is written here, key by key, and only loaded by the library for a check, so that its bytes do not
depend on the library's version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.build.cache import canonical_json
from edge.build.checkpoint.base import (
    CHAT_TEMPLATE_FILE,
    FETCH_AGAIN,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_FILE,
    SpecialTokens,
    eos_order,
)
from edge.errors import SourceError

PREFIX = "tokenizer.ggml."
USE_FOLDER = "use the Hugging Face folder of the model, which has tokenizer.json"

CONTROL, USER_DEFINED, UNUSED = 3, 4, 5  # tokenizer.ggml.token_type

# Tokens that end a turn. Some converters give only the end of text as eos; if the chat template closes turns
# with one of these, an answer ends there too.
TURN_ENDS = ("<|im_end|>", "<|eot_id|>")

# All bytes of UTF-8 text without control characters and the empty planes 4 to 13. A byte that has no token is
# dropped without a word (SmolLM2's own tokenizer drops six control characters), so these must be there.
TEXT_BYTES = (*b"\t\n\r", *range(0x20, 0x7F), *range(0x80, 0xC0), *range(0xC2, 0xF1))

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
_GPT2_SPLIT = _BYTE_LEVEL | {"use_regex": True}
_LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_PATTERN = _LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _sequence(*parts: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(parts)}


@dataclass(frozen=True)
class PreTokenizer:
    """What a name in `tokenizer.ggml.pre` stands for. add_bos: when the file does not say."""

    steps: Mapping[str, Any]
    normalizer: Mapping[str, Any] | None = None
    ignore_merges: bool = False
    add_bos: bool = False


_GPT2 = PreTokenizer(_GPT2_SPLIT)
_LLAMA3 = PreTokenizer(_sequence(_split(_LLAMA3_PATTERN), _BYTE_LEVEL), ignore_merges=True, add_bos=True)

PRE_TOKENIZERS: dict[str, PreTokenizer] = {
    "gpt-2": _GPT2,
    "llama-bpe": _LLAMA3,
    "qwen2": PreTokenizer(_sequence(_split(_QWEN2_PATTERN), _BYTE_LEVEL), normalizer={"type": "NFC"}),
    "smollm": PreTokenizer(_sequence({"type": "Digits", "individual_digits": True}, _GPT2_SPLIT)),
}


def tokenizer_files(metadata: Mapping[str, Any], where: str, *, vocab_size: int) -> dict[str, bytes]:
    """tokenizer.json, chat_template.jinja, special_tokens.json. Errors: SourceError."""
    tokens = _list(metadata, "tokens", str, where)
    if len(tokens) > vocab_size:
        raise SourceError(
            f"has {len(tokens)} tokens, the model {vocab_size}", where=where, mend="use the file of one model"
        )
    template = metadata.get("tokenizer.chat_template")
    if not isinstance(template, str) or not template:
        raise SourceError(
            "has no chat template (tokenizer.chat_template)",
            where=where,
            mend="use the instruct model's file",
        )
    return {
        TOKENIZER_FILE: tokenizer_json(metadata, where),
        CHAT_TEMPLATE_FILE: template.encode("utf-8"),
        SPECIAL_TOKENS_FILE: special_tokens(metadata, where).to_bytes(),
    }


def tokenizer_json(metadata: Mapping[str, Any], where: str) -> bytes:
    """The tokenizer.json of a byte-level BPE vocabulary, the same bytes everywhere. Errors: SourceError."""
    pre = _pre_tokenizer(metadata, where)
    tokens = _list(metadata, "tokens", str, where)
    types = _list(metadata, "token_type", int, where)
    merges = [merge.split(" ") for merge in _list(metadata, "merges", str, where)]
    if len(types) != len(tokens):
        raise SourceError(f"has {len(tokens)} tokens but {len(types)} token types", where=where, mend=FETCH_AGAIN)
    if any(len(pair) != 2 for pair in merges):
        raise SourceError("has a merge that is not a pair of tokens", where=where, mend=FETCH_AGAIN)
    # Converters fill a padded embedding up with tokens [PAD<id>] that the model's tokenizer does not have.
    numbered = [
        (number, token, kind)
        for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if not (kind == UNUSED and token == f"[PAD{number}]")
    ]
    vocabulary = {token: number for number, token, _ in numbered}
    if len(vocabulary) != len(numbered):
        raise SourceError("has a token twice", where=where, mend=FETCH_AGAIN)
    added = [
        {
            "id": number,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind == CONTROL,
        }
        for number, token, kind in numbered
        if kind in (CONTROL, USER_DEFINED)
    ]
    specials = special_tokens(metadata, where)
    document = canonical_json(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": pre.normalizer,
            "pre_tokenizer": pre.steps,
            "post_processor": _post_processor(specials),
            "decoder": {
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": True,
                "use_regex": True,
            },
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": pre.ignore_merges,
                "vocab": vocabulary,
                "merges": merges,
            },
        }
    )
    _check_loads(document, added, where)
    return document


def special_tokens(metadata: Mapping[str, Any], where: str) -> SpecialTokens:
    """Start and end tokens of a GGUF. Errors: SourceError if there is no end token."""
    tokens = _list(metadata, "tokens", str, where)

    def token_id(key: str) -> int | None:
        value = metadata.get(PREFIX + key)
        if value is None:
            return None
        if type(value) is not int or not 0 <= value < len(tokens):
            raise SourceError(f"{PREFIX}{key} is {value!r}, not a token", where=where, mend=FETCH_AGAIN)
        return value

    bos, eos = token_id("bos_token_id"), token_id("eos_token_id")
    ends = [number for key in ("eot_token_id", "eom_token_id") if (number := token_id(key)) is not None]
    template = str(metadata.get("tokenizer.chat_template", ""))
    types = metadata.get(PREFIX + "token_type") or []
    for text in TURN_ENDS:
        if text in template and text in tokens:
            number = tokens.index(text)
            if number < len(types) and types[number] == CONTROL:
                ends.append(number)
    eos_ids = eos_order(eos, ends)
    if not eos_ids:
        raise SourceError(f"names no end token ({PREFIX}eos_token_id)", where=where, mend="convert the model again")
    add_bos = metadata.get(PREFIX + "add_bos_token")
    if not isinstance(add_bos, bool):
        pre = PRE_TOKENIZERS.get(str(metadata.get(PREFIX + "pre")))
        add_bos = pre is not None and pre.add_bos
    return SpecialTokens(
        bos_token=None if bos is None else tokens[bos],
        eos_token=tokens[eos_ids[0]],
        bos_token_id=bos,
        eos_token_ids=eos_ids,
        add_bos=add_bos and bos is not None,
    )


def _pre_tokenizer(metadata: Mapping[str, Any], where: str) -> PreTokenizer:
    model = metadata.get(PREFIX + "model")
    if model != "gpt2":
        raise SourceError(
            f"has a tokenizer of kind '{model}' (known: gpt2)" if model else "has no tokenizer",
            where=where,
            mend=USE_FOLDER,
        )
    name = metadata.get(PREFIX + "pre")
    if not isinstance(name, str) or name not in PRE_TOKENIZERS:
        raise SourceError(
            f"has pre-tokenizer '{name}' (known: {', '.join(sorted(PRE_TOKENIZERS))})",
            where=where,
            mend=USE_FOLDER,
        )
    return PRE_TOKENIZERS[name]


def _list(metadata: Mapping[str, Any], key: str, kind: type, where: str) -> list[Any]:
    values = metadata.get(PREFIX + key)
    if not isinstance(values, list) or not values or not all(type(value) is kind for value in values):
        raise SourceError(f"has no tokenizer: {PREFIX}{key} is missing or wrong", where=where, mend=USE_FOLDER)
    return values


def _post_processor(specials: SpecialTokens) -> dict[str, Any] | None:
    if not specials.add_bos:
        return None
    token, number = specials.bos_token, specials.bos_token_id
    start = {"SpecialToken": {"id": token, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [start, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [
            start,
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": token, "type_id": 1}},
            {"Sequence": {"id": "B", "type_id": 1}},
        ],
        "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]}},
    }


def _check_loads(document: bytes, added: list[dict[str, Any]], where: str) -> None:
    """The library takes it, every special token keeps its number, and all text can be written."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(document.decode("utf-8"))
    except Exception as error:
        raise SourceError(f"has a broken vocabulary ({error})", where=where, mend=FETCH_AGAIN) from error
    for token in added:
        if tokenizer.token_to_id(token["content"]) != token["id"]:
            raise SourceError(f"special token {token['id']} does not keep its number", where=where, mend=FETCH_AGAIN)
    letters = _byte_letters()
    missing = [byte for byte in TEXT_BYTES if tokenizer.token_to_id(letters[byte]) is None]
    if missing:
        raise SourceError(
            f"has no token for {len(missing)} of the bytes that text is made of", where=where, mend=USE_FOLDER
        )


def _byte_letters() -> dict[int, str]:
    """Byte-level BPE's letter for each byte: itself where it can be seen, else the next from U+0100 on."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}
