"""A Hugging Face folder: config.json, safetensors (one file or shards with an index), tokenizer.json."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.build.cache import Cache
from edge.build.checkpoint.base import (
    CHAT_TEMPLATE_FILE,
    FETCH_AGAIN,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_FILE,
    Float32,
    ModelSpec,
    SpecialTokens,
    check_digest,
    check_tensors,
    decoder_config,
    eos_order,
    read_bytes,
    read_json_object,
)
from edge.build.checkpoint.rows import RowFile, StoredTensor
from edge.build.checkpoint.safetensors_file import read_header
from edge.errors import SourceError
from edge.files import resource_error, sha256_file
from edge.specs.decoder import DecoderConfig

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
# All that is read besides the weights, and so all that the digest covers besides them.
CONTENT_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    TOKENIZER_FILE,
    CHAT_TEMPLATE_FILE,
)


class FolderCheckpoint:
    """An open Hugging Face folder; see base.Checkpoint."""

    def __init__(self, folder: Path, *, digest: str, license_id: str, base_name: str = "") -> None:
        self.folder, self.digest, self.license = folder, digest, license_id
        config_path = folder / "config.json"
        raw = read_json_object(config_path)
        config = decoder_config(raw, str(config_path))
        for key in ("bos_token_id", "eos_token_id"):
            _token_ids(raw.get(key), key, folder)
        self.base_name = base_name or str(raw.get("_name_or_path") or "")
        self._files: list[RowFile] = []
        self._tensors: dict[str, tuple[RowFile, StoredTensor]] = {}
        try:
            self._open_weights()
            self._drop_unread(config)
            shapes = {name: tensor.shape for name, (_, tensor) in self._tensors.items()}
            if not config.tie_embeddings and "lm_head.weight" not in shapes:
                raise SourceError(
                    "tensor lm_head.weight is missing and tie_word_embeddings is not true",
                    where=str(folder),
                    mend="set tie_word_embeddings in config.json if the model ties them, else fetch it again",
                )
            self._names = check_tensors(config, shapes, str(folder))
        except BaseException:
            self.close()
            raise
        generation = _optional_json(folder / "generation_config.json")
        eos = _token_ids(generation.get("eos_token_id"), "eos_token_id", folder) or config.eos_token_ids
        self.config = _with_eos(config, eos)

    def names(self) -> tuple[str, ...]:
        return self._names

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensor(name)[1].shape

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Float32:
        file, tensor = self._tensor(name)
        return file.read(name, tensor, start, stop)

    def tokenizer_files(self) -> dict[str, bytes]:
        path = self.folder / TOKENIZER_FILE
        if not path.is_file():
            raise SourceError(
                f"has no {TOKENIZER_FILE}",
                where=str(self.folder),
                mend=f"put the model's {TOKENIZER_FILE} there (transformers writes it: "
                "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER))",
            )
        tokenizer = read_bytes(path)
        settings = _optional_json(self.folder / "tokenizer_config.json")
        return {
            TOKENIZER_FILE: tokenizer,
            CHAT_TEMPLATE_FILE: _chat_template(self.folder, settings),
            SPECIAL_TOKENS_FILE: _special_tokens(tokenizer, settings, self.config, path).to_bytes(),
        }

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _tensor(self, name: str) -> tuple[RowFile, StoredTensor]:
        if name not in self._tensors:
            raise SourceError(f"tensor {name} is missing", where=str(self.folder), mend=FETCH_AGAIN)
        return self._tensors[name]

    def _open_weights(self) -> None:
        files, index = weight_files(self.folder)
        for file_name in files:
            file = RowFile(self.folder / file_name)
            self._files.append(file)
            for name, tensor in read_header(file).items():
                if name in self._tensors or (index is not None and index.get(name) != file_name):
                    raise SourceError(
                        f"tensor {name} is not where {INDEX_FILE} says",
                        where=str(file.path),
                        mend=FETCH_AGAIN,
                    )
                self._tensors[name] = (file, tensor)
        absent = sorted(set(index or ()) - set(self._tensors))
        if absent:
            raise SourceError(
                f"tensor {absent[0]} is not in {(index or {})[absent[0]]}",
                where=str(self.folder),
                mend=FETCH_AGAIN,
            )

    def _drop_unread(self, config: DecoderConfig) -> None:
        """Tensors that old exporters wrote and no one reads: rotary tables, the copy of a tied head."""
        for name in list(self._tensors):
            tied_copy = config.tie_embeddings and name == "lm_head.weight"
            if tied_copy or name.endswith(".rotary_emb.inv_freq"):
                del self._tensors[name]


def weight_files(folder: Path) -> tuple[list[str], dict[str, str] | None]:
    """Names of the weight files and, for shards, which file holds which tensor. Errors: SourceError."""
    if (folder / WEIGHTS_FILE).is_file():
        return [WEIGHTS_FILE], None
    path = folder / INDEX_FILE
    if not path.is_file():
        if not folder.is_dir():
            raise SourceError("is not a folder", where=str(folder), mend="check the path")
        if any(folder.glob("*.bin")):
            raise SourceError(
                "has its weights only as pickle (.bin)", where=str(folder), mend="save them as safetensors"
            )
        raise SourceError(f"has no {WEIGHTS_FILE} and no {INDEX_FILE}", where=str(folder), mend=FETCH_AGAIN)
    index = read_json_object(path).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(name, str) for name in index.values()):
        raise SourceError("has no weight_map", where=str(path), mend=FETCH_AGAIN)
    for name in index.values():
        if Path(name).name != name:
            raise SourceError(f"names a file outside the folder ({name})", where=str(path), mend=FETCH_AGAIN)
    return sorted(set(index.values())), index


def content_digest(folder: Path, names: Sequence[str], known: Mapping[str, str] | None = None) -> str:
    """Hex sha256 over the sorted names and sha256 of files. known: digests that were just computed."""
    digest = hashlib.sha256()
    for name in sorted(names):
        try:
            file_digest = known[name] if known and name in known else sha256_file(folder / name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise SourceError("is missing", where=str(folder / name), mend=FETCH_AGAIN) from error
        except OSError as error:
            raise resource_error(error, str(folder / name)) from error
        digest.update(f"{name}\0{file_digest}\n".encode())
    return digest.hexdigest()


def folder_digest(folder: Path, known: Mapping[str, str] | None = None) -> str:
    """The digest that a profile pins for a folder: over all that the build reads of it."""
    weights, index = weight_files(folder)
    present = [name for name in CONTENT_FILES if (folder / name).is_file()]
    if "config.json" not in present:
        raise SourceError("has no config.json", where=str(folder), mend=FETCH_AGAIN)
    return content_digest(folder, [*present, *weights, *([INDEX_FILE] if index is not None else [])], known)


def open_folder(spec: ModelSpec, location: str, cache: Cache, base_folder: Path) -> FolderCheckpoint:
    """`hf:PATH`, relative to `base_folder`. The digest is checked before any file is parsed."""
    folder = base_folder / location
    digest = folder_digest(folder)
    check_digest(digest, spec.sha256, str(folder))
    return FolderCheckpoint(folder, digest=digest, license_id=spec.license)


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json_object(path) if path.is_file() else {}


def _token_ids(value: Any, key: str, folder: Path) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(item) is int and item >= 0 for item in values):
        raise SourceError(f"{key} is not a token id", where=str(folder), mend=FETCH_AGAIN)
    return tuple(values)


def _with_eos(config: DecoderConfig, eos: tuple[int, ...]) -> DecoderConfig:
    return DecoderConfig.from_json(config.to_json() | {"eos_token_ids": list(eos)})


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> bytes:
    path = folder / CHAT_TEMPLATE_FILE
    if path.is_file():
        return read_bytes(path)
    template = settings.get("chat_template")
    if isinstance(template, list):  # several by name
        named = {str(item.get("name")): item.get("template") for item in template if isinstance(item, dict)}
        template = named.get("default")
    if not isinstance(template, str) or not template:
        raise SourceError(
            f"has no chat template (neither {CHAT_TEMPLATE_FILE} nor chat_template in tokenizer_config.json)",
            where=str(folder),
            mend=f"use the instruct model, or put its {CHAT_TEMPLATE_FILE} there",
        )
    return template.encode("utf-8")


def _special_tokens(
    tokenizer_json: bytes, settings: Mapping[str, Any], config: DecoderConfig, path: Path
) -> SpecialTokens:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(tokenizer_json.decode("utf-8"))
    except Exception as error:
        raise SourceError(f"is not a tokenizer ({error})", where=str(path), mend=FETCH_AGAIN) from error
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if largest >= config.vocab_size:
        raise SourceError(
            f"has token id {largest}, the model has {config.vocab_size} tokens",
            where=str(path),
            mend="use the tokenizer that belongs to these weights",
        )

    def named(key: str, fallback: int | None) -> tuple[str | None, int | None]:
        if key not in settings:
            return (tokenizer.id_to_token(fallback) if fallback is not None else None), fallback
        value = settings[key]
        text = value.get("content") if isinstance(value, dict) else value
        if text is None:
            return None, None
        token_id = tokenizer.token_to_id(str(text))
        if token_id is None:
            raise SourceError(
                f"does not know the {key} of tokenizer_config.json",
                where=str(path),
                mend="use both files of one model",
            )
        return str(text), token_id

    bos, bos_id = named("bos_token", config.bos_token_id)
    eos, eos_id = named("eos_token", config.eos_token_ids[0] if config.eos_token_ids else None)
    eos_ids = eos_order(eos_id, config.eos_token_ids)
    if not eos_ids:
        raise SourceError(
            "names no end token (eos_token)", where=str(path.parent), mend="add it to tokenizer_config.json"
        )
    added = settings.get("add_bos_token")
    if not isinstance(added, bool):
        added = bos_id is not None and tokenizer.encode("", add_special_tokens=True).ids[:1] == [bos_id]
    return SpecialTokens(bos, eos, bos_id, eos_ids, added and bos_id is not None)
