"""GGUF files for llama.cpp, quantised by llama.cpp itself.

A GGUF source is quantised again from its own values; a Hugging Face checkpoint is first written as bf16,
tensor by tensor. Two files per model: `q4_0` as llama.cpp makes it by default (the head, tied to the
embedding, stays at 6 or 8 bits), and `q4_0-pure` with every matrix at 4 bits, which is what edge's int4 file
holds.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.hf_folder import to_bf16
from edge.build.checkpoint.base import Checkpoint
from edge.errors import MissingToolError, ResourceError
from edge.specs.decoder import DecoderConfig, RopeScaling

SUFFIXES = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def gguf_name(name: str) -> str:
    """The GGUF name of a Hugging Face tensor of the Llama family. Errors: KeyError for others."""
    if name in OUTER:
        return OUTER[name]
    _, _, layer, suffix = name.split(".", 3)
    return f"blk.{layer}.{SUFFIXES[suffix]}"


def interleaved(rows: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """q and k rows in the order of GGUF's Llama: the halves of each head interleaved."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def rope_factors(scaling: RopeScaling, theta: float, head_dim: int) -> npt.NDArray[np.float32]:
    """What llama.cpp divides each rotary frequency by, for Llama 3.1 and later: [head_dim / 2]."""
    wave = 2 * np.pi * theta ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    low = scaling.original_max_positions / scaling.low_freq_factor
    high = scaling.original_max_positions / scaling.high_freq_factor
    span = scaling.high_freq_factor - scaling.low_freq_factor
    smooth = (scaling.original_max_positions / wave - scaling.low_freq_factor) / span
    between = 1 / ((1 - smooth) / scaling.factor + smooth)
    factors = np.where(wave < high, 1.0, np.where(wave > low, scaling.factor, between))
    return factors.astype(np.float32)


def write_bf16(checkpoint: Checkpoint, tokenizer: Mapping[str, Any], path: Path) -> None:
    """A checkpoint of family llama as a bf16 GGUF. tokenizer: `tokenizer.*` metadata."""
    from gguf import GGMLQuantizationType, GGUFWriter

    config = checkpoint.config
    writer = GGUFWriter(path, "llama")
    _add_config(writer, config)
    adders: dict[type, Callable[[str, Any], None]] = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        str: writer.add_string,
        list: writer.add_array,
    }
    for key, value in tokenizer.items():
        adders[type(value)](key, value)
    scaling = config.rope_scaling
    factors = rope_factors(scaling, config.rope_theta, config.head_dim) if scaling else None
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    for name in checkpoint.names():
        shape = checkpoint.shape(name)
        size = int(np.prod(shape, dtype=np.int64))
        if len(shape) == 1:
            writer.add_tensor_info(gguf_name(name), shape, np.dtype(np.float32), 4 * size)
        else:
            kind = GGMLQuantizationType.BF16
            writer.add_tensor_info(gguf_name(name), shape, np.dtype(np.uint16), 2 * size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(factors)
    for name in checkpoint.names():
        values = checkpoint.read(name)
        if name.endswith((".q_proj.weight", ".k_proj.weight")):
            values = interleaved(values, config.heads if ".q_proj." in name else config.kv_heads)
        writer.write_tensor_data(values if values.ndim == 1 else to_bf16(np.ascontiguousarray(values)))
    writer.close()


def _add_config(writer: Any, config: DecoderConfig) -> None:
    writer.add_block_count(config.layers)
    writer.add_context_length(config.max_positions)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)


@functools.cache
def _log_nothing() -> object:
    """Switch llama.cpp's log off; its callback must live as long as the process, hence the cache."""
    import llama_cpp

    callback = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    return callback


def quantise_q4_0(source: Path, target: Path, *, pure: bool, threads: int) -> None:
    """Quantise a GGUF file with llama.cpp. Errors: MissingToolError, ResourceError when llama.cpp fails."""
    try:
        import llama_cpp
    except ImportError as error:
        raise MissingToolError("llama-cpp-python is not installed", mend="install with make bench") from error
    _log_nothing()
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.nthread = threads
    parameters.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0
    parameters.allow_requantize = True
    parameters.pure = pure
    failed = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), parameters)
    if failed:
        raise ResourceError("llama.cpp could not quantise it", where=source.name, mend="check memory and disk")


def tensor_summary(path: Path) -> tuple[int, dict[str, int]]:
    """(bytes of weights that a step reads, bytes by GGUF type); an untied embedding is only looked up."""
    from gguf import GGUFReader

    tensors = GGUFReader(path).tensors
    by_type: dict[str, int] = {}
    for tensor in tensors:
        kind = tensor.tensor_type.name
        by_type[kind] = by_type.get(kind, 0) + int(tensor.n_bytes)
    tied = all(tensor.name != "output.weight" for tensor in tensors)
    table = sum(int(tensor.n_bytes) for tensor in tensors if tensor.name == "token_embd.weight")
    return sum(by_type.values()) - (0 if tied else table), by_type
