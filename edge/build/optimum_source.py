"""A Hugging Face folder of a family that edge has no native graph for: what the second export route builds from.

The tokenizer, the chat template, the digest and the checks of the weight files are those of every folder; only the
meaning of the tensors is left to transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.build.checkpoint.base import FETCH_AGAIN, check_digest, read_json_object
from edge.build.checkpoint.huggingface import FolderCheckpoint, folder_digest
from edge.errors import SourceError
from edge.specs.decoder import DecoderConfig

# What families call the same thing.
NAMES: dict[str, tuple[str, ...]] = {
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    "max_positions": ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"),
}
DEFAULT_POSITIONS = 2048  # of families without a table of positions


class OptimumSource(FolderCheckpoint):
    """An open folder of any family; see base.Checkpoint. Tensor names and shapes are the family's own."""

    def __init__(self, folder: Path, *, digest: str, license_id: str) -> None:
        self.folder, self.digest, self.license = folder, digest, license_id
        config_path = folder / "config.json"
        raw = read_json_object(config_path)
        if "auto_map" in raw:
            raise SourceError(
                "the model brings its own Python code, which edge does not run",
                where=str(config_path),
                mend="use a version of the model that transformers knows by itself",
            )
        self.base_name = str(raw.get("_name_or_path") or "")
        self.config = foreign_decoder(raw, str(config_path))
        self.versions: dict[str, str] = {}  # of the packages that exported it, once they have
        self._files, self._tensors = [], {}
        try:
            self._open_weights()
        except BaseException:
            self.close()
            raise
        self._names = tuple(sorted(self._tensors))

    @property
    def weight_values(self) -> int:
        """Number of stored weights, which bounds the size of the build."""
        total = 0
        for name in self._names:
            count = 1
            for size in self.shape(name):
                count *= size
            total += count
        return total


def open_optimum_source(folder: Path, sha256: str | None, license_id: str) -> OptimumSource:
    """Open `folder` if it is the pinned one. Errors: SourceError."""
    digest = folder_digest(folder)
    check_digest(digest, sha256, str(folder))
    return OptimumSource(folder, digest=digest, license_id=license_id)


def foreign_decoder(raw: Mapping[str, Any], where: str) -> DecoderConfig:
    """The sizes of a decoder of any family from its config.json; the exported graph is checked against them.

    rms_norm_eps and rope_theta are 0: edge does not compute this family itself. Errors: SourceError.
    """

    def size(field: str, default: int | None = None) -> int:
        for name in NAMES.get(field, (field,)):
            if raw.get(name) is not None:
                value = raw[name]
                if type(value) is not int or not 0 < value < 1 << 24:
                    raise SourceError(f"{name} is {value!r}", where=where, mend=FETCH_AGAIN)
                return value
        if default is None:
            raise SourceError(
                f"has none of the keys {', '.join(NAMES.get(field, (field,)))}",
                where=where,
                mend="use a decoder-only language model",
            )
        return default

    family = raw.get("model_type")
    if not isinstance(family, str) or not family:
        raise SourceError("names no model_type", where=where, mend=FETCH_AGAIN)
    if "quantization_config" in raw:
        raise SourceError("the checkpoint is already quantised", where=where, mend="use its bf16, f16 or f32 version")
    hidden, heads = size("hidden_size"), size("heads")
    # Falcon and BigCode write multi-query attention as a flag.
    shared = bool(raw.get("multi_query")) and not raw.get("new_decoder_architecture")
    bos, eos = raw.get("bos_token_id"), raw.get("eos_token_id")
    return DecoderConfig(
        family=family.replace("-", "_"),
        vocab_size=size("vocab_size"),
        hidden_size=hidden,
        intermediate_size=size("intermediate_size", 4 * hidden),
        layers=size("layers"),
        heads=heads,
        kv_heads=size("kv_heads", 1 if shared else heads),
        head_dim=size("head_dim", max(hidden // heads, 1)),
        rms_norm_eps=0.0,
        rope_theta=0.0,
        max_positions=size("max_positions", DEFAULT_POSITIONS),
        tie_embeddings=bool(raw.get("tie_word_embeddings", True)),
        bos_token_id=bos if type(bos) is int else None,
        eos_token_ids=tuple(item for item in (eos if isinstance(eos, list) else [eos]) if type(item) is int),
    )
