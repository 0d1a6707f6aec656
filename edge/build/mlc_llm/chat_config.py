"""mlc-chat-config.json: read back against the profile, and rid of the chat template that mlc_llm would add.

edge renders the model's own chat template and sends finished prompts. A conversation template of mlc_llm would put
its own system message or first token in front of them, so the one in the file is replaced by one that adds nothing
and stops where the model's end tokens are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge.build.checkpoint.base import TOKENIZER_FILE
from edge.build.mlc_llm.choices import Mode
from edge.errors import SourceError
from edge.files import sha256_file, write_atomic
from edge.specs.decoder import DecoderConfig

CONFIG_FILE = "mlc-chat-config.json"
ASKED_TEMPLATE = "LM"  # the command wants one of its own; replaced below
MEND = "install another version of mlc_llm"
RELATIVE = 1e-9  # floats went through JSON once


def plain_template(eos_token_ids: tuple[int, ...]) -> dict[str, Any]:
    """A conversation of mlc_llm that passes the user's text through as it is."""
    return {
        "name": "edge-plain",
        "system_template": "{system_message}",
        "system_message": "",
        "add_role_after_system_message": True,
        "roles": {"user": "", "assistant": "", "tool": ""},
        "role_templates": {"user": "{user_message}", "assistant": "{assistant_message}", "tool": "{tool_message}"},
        "messages": [],
        "seps": [""],
        "role_content_sep": "",
        "role_empty_sep": "",
        "stop_str": [],
        "stop_token_ids": list(eos_token_ids),
        "function_string": "",
        "use_function_calling": False,
    }


def finish_chat_config(
    folder: Path, config: DecoderConfig, mode: Mode, context_tokens: int, prefill_chunk_tokens: int, tokenizer: Path
) -> dict[str, Any]:
    """Check mlc-chat-config.json in `folder` field by field, write it back with the plain template, return it.

    tokenizer: the bundle's tokenizer.json, whose copy must lie beside it. Errors: SourceError names the field.
    """
    path = folder / CONFIG_FILE
    try:
        value = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError as error:
        raise SourceError(f"mlc_llm gen_config wrote no {CONFIG_FILE}", mend=MEND) from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"mlc_llm gen_config wrote a broken {CONFIG_FILE}", mend=MEND) from error
    model = value.get("model_config") if isinstance(value, dict) else None
    if not isinstance(model, dict):
        raise SourceError(f"{CONFIG_FILE} has no model_config", mend=MEND)
    for key, wanted in _wanted(config, mode, context_tokens, prefill_chunk_tokens).items():
        holder, _, name = key.rpartition(".")
        found = (model if holder else value).get(name)
        if not _same(found, wanted):
            raise SourceError(
                f"{CONFIG_FILE} has {key} {found!r}, the profile and the model ask for {wanted!r}", mend=MEND
            )
    _check_rope(model, config)
    copied = folder / TOKENIZER_FILE
    if TOKENIZER_FILE not in (value.get("tokenizer_files") or ()) or not copied.is_file():
        raise SourceError(f"mlc_llm gen_config did not take over {TOKENIZER_FILE}", mend=MEND)
    if sha256_file(copied) != sha256_file(tokenizer):
        raise SourceError(f"mlc_llm gen_config changed {TOKENIZER_FILE}", mend=MEND)
    value["conv_template"] = plain_template(config.eos_token_ids)
    value["eos_token_id"] = list(config.eos_token_ids)
    value["tokenizer_files"] = [TOKENIZER_FILE]  # all that the bundle carries, and all that is read
    write_atomic(path, (json.dumps(value, sort_keys=True, indent=1) + "\n").encode())
    return dict(value)


def _wanted(config: DecoderConfig, mode: Mode, context_tokens: int, chunk: int) -> dict[str, Any]:
    model = {
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "num_hidden_layers": config.layers,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.rms_norm_eps,
        "vocab_size": config.vocab_size,
        "context_window_size": context_tokens,
        "prefill_chunk_size": chunk,
        "tensor_parallel_shards": 1,
        "max_batch_size": 1,
    }
    if config.family != "mistral":  # which never ties them and has no such field
        model["tie_word_embeddings"] = config.tie_embeddings
    return {
        "model_type": config.family,
        "quantization": mode.name,
        "vocab_size": config.vocab_size,
        "context_window_size": context_tokens,
        "prefill_chunk_size": chunk,
        "sliding_window_size": -1,
        "tensor_parallel_shards": 1,
        **{f"model_config.{key}": value for key, value in model.items()},
    }


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(found, bool) or not isinstance(wanted, int | float):
        return bool(found == wanted)
    if not isinstance(found, int | float):
        return False
    return abs(found - wanted) <= RELATIVE * abs(wanted)


def _check_rope(model: dict[str, Any], config: DecoderConfig) -> None:
    """The rotary base, under whichever of its names the family has, and llama3's scaling."""
    bases = [model[name] for name in ("position_embedding_base", "rope_theta") if name in model]
    if not bases or not all(_same(base, config.rope_theta) for base in bases):
        raise SourceError(
            f"{CONFIG_FILE} has rotary base {bases[0] if bases else None!r}, the model has {config.rope_theta!r}",
            mend=MEND,
        )
    scaling, wanted = model.get("rope_scaling"), config.rope_scaling
    keys = {"factor": "factor", "low_freq_factor": "low_freq_factor", "high_freq_factor": "high_freq_factor"}
    keys["original_max_position_embeddings"] = "original_max_positions"
    agrees = (
        not scaling
        if wanted is None
        else isinstance(scaling, dict)
        and scaling.get("rope_type") == wanted.kind
        and all(_same(scaling.get(theirs), getattr(wanted, ours)) for theirs, ours in keys.items())
    )
    if not agrees:
        raise SourceError(f"{CONFIG_FILE} has another rope_scaling than the model", mend=MEND)
