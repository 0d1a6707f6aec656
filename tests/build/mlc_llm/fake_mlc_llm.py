"""A stand-in for the `mlc_llm` command that behaves like the documented one, written from its public source.

Options, messages and exits of argparse; gen_config, convert_weight and compile with the same inputs, outputs and
formats (real shards from a real safetensors folder: fused matrices, group quantisation, f32-to-bf16, an index with
md5 sums). Independent of edge: what edge reads back was not written by edge's own code.

MLC_FAKE=step:what makes that step go wrong: exit, segv, kill, hang, nothing, short, md5, gap, stray, permute,
noadapter, half_adapter, drop, extra, shape, rope, context, tokenizer, broken, arch, empty. MLC_FAKE_NO_LORA: a version
without --lora-adapter. MLC_FAKE_SEEN: a file that gets the words and variables that each step was given.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import math
import os
import shutil
import signal
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

MODES = ("q0f16", "q0bf16", "q0f32", "q3f16_1", "q4f16_0", "q4f16_1", "q4f32_1", "q4f16_2", "q4f16_autoawq")
MODELS = ("llama", "mistral", "qwen2", "qwen3", "gemma")
SHARD_BYTES = int(os.environ.get("MLC_FAKE_SHARD_BYTES", 1 << 14))
ATTENTION = {"llama": "qkv_proj", "mistral": "qkv_proj", "qwen2": "c_attn", "qwen3": "c_attn"}


def fault(step: str) -> str:
    asked = os.environ.get("MLC_FAKE", "")
    return asked.partition(":")[2] if asked.startswith(f"{step}:") else ""


def die(what: str) -> None:
    """Faults that are the same in every step."""
    if what == "exit":
        print("Traceback (most recent call last):\n  ...\n\x1b[1;31mValueError: Unknown model type: nobody\x1b[0m")
        sys.exit(1)
    if what == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        print("[INFO] working", flush=True)
        time.sleep(600)


def parser_of(step: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(f"mlc_llm {step}")
    add = parser.add_argument
    add("model" if step == "compile" else "config")
    add("--quantization", choices=MODES, required=step != "compile")
    add("--model-type", default="auto", choices=["auto", *MODELS])
    if step == "gen_config":
        add("--conv-template", required=True, choices=["LM", "chatml", "llama-3"])
        for name in ("context-window-size", "sliding-window-size", "prefill-chunk-size", "tensor-parallel-shards"):
            add(f"--{name}", type=int, default=None)
        add("--max-batch-size", type=int, default=128)
    if step == "convert_weight":
        add("--device", default="auto")
        add("--source", default="auto")
        add("--source-format", default="auto", choices=["auto", "huggingface-torch", "huggingface-safetensor", "awq"])
        if "MLC_FAKE_NO_LORA" not in os.environ:
            add("--lora-adapter", type=Path, default=None)
    if step == "compile":
        add("--device", default="auto")
        if "MLC_FAKE_OLD" not in os.environ:
            add("--host", default="auto")
        add("--opt", default="O2")
        add("--system-lib-prefix", default="auto")
        add("--overrides", default="")
    add("--output", "-o", type=Path, required=True)
    return parser


# ---- gen_config ------------------------------------------------------------------------------------------------


def gen_config(asked: Any, what: str) -> None:
    raw = json.loads(Path(asked.config).read_text())
    folder = Path(asked.config).parent
    family = raw["model_type"]
    context = asked.context_window_size or raw["max_position_embeddings"]
    theta = raw.get("rope_theta", 10000)  # top level only, as the real one reads it
    model = {
        key: raw[key]
        for key in ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "rms_norm_eps")
    }
    model |= {
        "vocab_size": raw["vocab_size"],
        "num_key_value_heads": raw.get("num_key_value_heads", raw["num_attention_heads"]),
        "head_dim": raw.get("head_dim") or raw["hidden_size"] // raw["num_attention_heads"],
        "context_window_size": context,
        "prefill_chunk_size": asked.prefill_chunk_size or min(context, 8192),
        "tensor_parallel_shards": asked.tensor_parallel_shards or 1,
        "max_batch_size": asked.max_batch_size,
    }
    model["rope_theta" if family.startswith("qwen") else "position_embedding_base"] = theta
    if family == "llama":
        scaling = raw.get("rope_scaling")
        model["rope_scaling"] = scaling if scaling and "rope_type" in scaling else None
    if family == "mistral":
        model |= {"sliding_window_size": raw.get("sliding_window", -1), "attention_sink_size": 4}
    else:
        model["tie_word_embeddings"] = raw.get("tie_word_embeddings", False)
    if what == "rope":
        model = {
            key: 10000 if key in ("rope_theta", "position_embedding_base") else item for key, item in model.items()
        }
    if what == "context":
        model["context_window_size"] = context = 17
    files = [
        name for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json") if (folder / name).exists()
    ]
    for name in files:
        shutil.copy(folder / name, asked.output / name)
    if what == "tokenizer":
        (asked.output / "tokenizer.json").write_text("{}")
    value = {
        "version": "0.1.0",
        "model_type": family,
        "quantization": asked.quantization,
        "model_config": model,
        "vocab_size": raw["vocab_size"],
        "context_window_size": context,
        "sliding_window_size": model.get("sliding_window_size", -1),
        "prefill_chunk_size": model["prefill_chunk_size"],
        "attention_sink_size": -1,
        "tensor_parallel_shards": 1,
        "pipeline_parallel_stages": 1,
        "active_vocab_size": raw["vocab_size"],
        "temperature": 1.0,
        "tokenizer_files": files,
        "tokenizer_info": {"token_postproc_method": "byte_level"},
        "conv_template": {
            "name": "LM",
            "roles": {"user": "", "assistant": ""},
            "seps": [""],
            "stop_token_ids": [2],
            "system_prefix_token_ids": [1],
        },
        "bos_token_id": raw.get("bos_token_id"),
        "eos_token_id": raw.get("eos_token_id"),
    }
    text = json.dumps(value, indent=2)
    if what != "nothing":
        (asked.output / "mlc-chat-config.json").write_text(text[: len(text) // 2] if what == "broken" else text)


# ---- convert_weight --------------------------------------------------------------------------------------------


def safetensors(folder: Path) -> dict[str, Any]:
    import numpy as np

    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    tensors: dict[str, Any] = {}
    for name in sorted(set(index.values())):
        data = (folder / name).read_bytes()
        size = int.from_bytes(data[:8], "little")
        for tensor, entry in json.loads(data[8 : 8 + size]).items():
            if tensor == "__metadata__" or tensor not in index:
                continue
            start, stop = (8 + size + place for place in entry["data_offsets"])
            flat = np.frombuffer(data[start:stop], {"F32": "<f4", "F16": "<f2"}[entry["dtype"]])
            tensors[tensor] = flat.reshape(entry["shape"]).astype(np.float32)
    return tensors


def merged(tensors: dict[str, Any], adapter: Path, what: str) -> dict[str, Any]:
    settings = json.loads((adapter / "adapter_config.json").read_text())
    data = (adapter / "adapter_model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    import numpy as np

    def read(entry: Any) -> Any:
        start, stop = (8 + size + place for place in entry["data_offsets"])
        return np.frombuffer(data[start:stop], "<f4").reshape(entry["shape"])

    header = json.loads(data[8 : 8 + size])
    scale = settings["lora_alpha"] / settings["r"] * {"noadapter": 0.0, "half_adapter": 0.25}.get(what, 1.0)
    result = dict(tensors)
    for name, entry in header.items():
        if name.endswith(".lora_A.weight"):
            base = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight") + ".weight"
            b = read(header[name.replace("lora_A", "lora_B")])
            result[base] = result[base] + np.float32(scale) * (b @ read(entry))
    return result


def fused(tensors: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    rest, result = dict(tensors), {}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        kinds = ("weight", "bias") if f"{prefix}.self_attn.q_proj.bias" in rest else ("weight",)
        for kind in kinds:
            parts = [rest.pop(f"{prefix}.self_attn.{name}_proj.{kind}") for name in "qkv"]
            result[f"{prefix}.self_attn.{ATTENTION[config['model_type']]}.{kind}"] = np.concatenate(parts)
        parts = [rest.pop(f"{prefix}.mlp.{name}_proj.weight") for name in ("gate", "up")]
        result[f"{prefix}.mlp.gate_up_proj.weight"] = np.concatenate(parts)
    return result | rest


def group_quantised(weight: Any) -> tuple[Any, Any]:
    """GroupQuantize._quantize and pack_weight: [rows, k] -> uint32 [rows, 4 * groups], scales [rows, groups]."""
    import numpy as np

    dtype = weight.dtype
    rows, k = weight.shape
    groups = math.ceil(k / 32)
    padded = np.zeros((rows, groups * 32), dtype)
    padded[:, :k] = weight
    blocks = padded.reshape(rows, groups, 32)
    scale = (np.abs(blocks).max(-1) / dtype.type(7)).astype(dtype)
    with np.errstate(all="ignore"):
        codes = np.nan_to_num(np.round(blocks / scale[..., None] + dtype.type(7)), nan=0.0)
    codes = np.clip(codes, 0, 14).astype(np.uint32).reshape(rows, -1)
    codes[:, k:] = 0
    words = np.zeros((rows, groups * 4), np.uint32)
    for place in range(8):
        words |= codes[:, place::8] << np.uint32(4 * place)
    return words, scale


def bf16(values: Any) -> bytes:
    import numpy as np

    data = np.ascontiguousarray(values).view("uint32")
    return bytes(((data + ((data >> 16) & 1) + 0x7FFF) >> 16).astype("uint16").tobytes())


def convert_weight(asked: Any, what: str) -> None:
    import numpy as np

    config = json.loads(Path(asked.config).read_text())
    source = Path(asked.config).parent if asked.source == "auto" else Path(asked.source)
    tensors = safetensors(source)
    if getattr(asked, "lora_adapter", None) is not None:
        tensors = merged(tensors, asked.lora_adapter, what)
    dtype = np.float16 if "f16" in asked.quantization else np.float32
    arrays: dict[str, Any] = {}
    for name, value in fused(tensors, config).items():
        value = value.astype(dtype)
        if what == "permute" and name == "model.layers.1.mlp.down_proj.weight":
            value = value[::-1].copy()
        if asked.quantization.startswith("q4") and value.ndim == 2:
            stem = name.removesuffix(".weight")
            arrays[f"{stem}.q_weight"], arrays[f"{stem}.q_scale"] = group_quantised(value)
        else:
            arrays[name] = value
    if what == "drop":
        arrays.pop("model.norm.weight")
    if what == "extra":
        arrays["model.layers.9.input_layernorm.weight"] = np.ones(4, dtype)
    if what == "shape":
        arrays["model.norm.weight"] = np.ones(3, dtype)
    records, current, pending = [], [], b""

    def commit() -> None:
        nonlocal current, pending
        if pending:
            path = asked.output / f"params_shard_{len(records)}.bin"
            path.write_bytes(pending)
            records.append(
                {
                    "dataPath": path.name,
                    "format": "raw-shard",
                    "nbytes": len(pending),
                    "records": current,
                    "md5sum": hashlib.md5(pending, usedforsecurity=False).hexdigest(),
                }
            )
        current, pending = [], b""

    for name, value in arrays.items():
        data = bf16(value) if value.dtype == np.float32 else value.tobytes()
        if len(pending) + len(data) >= SHARD_BYTES:
            commit()
        current.append(
            {
                "name": name,
                "shape": list(value.shape),
                "dtype": str(value.dtype),
                "format": "f32-to-bf16",
                "nbytes": len(data),
                "byteOffset": len(pending) + (4 if what == "gap" and current else 0),
            }
        )
        pending += data
    commit()
    last = asked.output / records[-1]["dataPath"]
    if what == "short":
        last.write_bytes(last.read_bytes()[:-8])
    if what == "md5":
        last.write_bytes(bytes([last.read_bytes()[0] ^ 1]) + last.read_bytes()[1:])
    if what == "stray":
        (asked.output / "params_shard_99.bin").write_bytes(b"x")
    if what == "nothing":
        return
    metadata = {"ParamSize": len(arrays), "ParamBytes": float(sum(shard["nbytes"] for shard in records))}
    text = json.dumps({"metadata": metadata, "records": records}, indent=4)
    name = "ndarray-cache.json" if "MLC_FAKE_OLD_INDEX" in os.environ else "tensor-cache.json"
    (asked.output / name).write_text(text[: len(text) // 2] if what == "broken" else text)
    if dtype == np.float32:
        (asked.output / name.replace(".json", "-b16.json")).write_text(text)


# ---- compile ---------------------------------------------------------------------------------------------------


def elf(kind: int, machine: int, content: bytes) -> bytes:
    header = bytearray(64)
    header[:7] = b"\x7fELF\x02\x01\x01"
    header[16:20] = kind.to_bytes(2, "little") + machine.to_bytes(2, "little")
    header[40:48] = (64 + len(content)).to_bytes(8, "little")
    header[58:62] = (64).to_bytes(2, "little") + (1).to_bytes(2, "little")
    return bytes(header) + content + bytes(64)


def compile_model(asked: Any, what: str) -> None:
    value = json.loads(Path(asked.model).read_text())
    prefix = f"{value['model_type']}_{value['quantization']}_"
    device, suffix = asked.device, asked.output.suffix
    if what == "nothing":
        return
    machine = 183
    if device.startswith("{"):
        triple = json.loads(device).get("mtriple") or getattr(asked, "host", "auto")
        machine = 62 if triple.startswith("x86_64") else 183
    elif device.startswith("vulkan"):
        machine = 62 if asked.host.startswith("x86_64") else 183
    if what == "arch":
        machine = 40
    if device.startswith("android"):
        if suffix != ".tar":
            sys.exit("AssertionError")
        objects = {name: elf(1, machine, f"{prefix}__tvm_ffi_main".encode()) for name in ("lib0.o", "devc.o")}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in objects.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size, info.mtime, info.uname = len(data), int(time.time()), "builder"
                archive.addfile(info, io.BytesIO(data))
        data = gzip.compress(buffer.getvalue())
    elif device.startswith("webgpu"):
        if suffix != ".wasm":
            sys.exit("AssertionError")
        data = b"\0asm\x01\0\0\0" + bytes([1, 4, 1, 0x60, 0, 0]) + bytes([0, 0x83, 0x02]) + bytes(259)
    else:
        data = elf(3, machine, b"\0" * 4096)
    if what == "empty":
        data = b""
    asked.output.write_bytes(data[: len(data) - 5] if what == "short" else data)


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in ("compile", "convert_weight", "gen_config"):
        print("usage: MLC LLM Command Line Interface. [-h] {compile,convert_weight,gen_config,chat,serve,package}")
        sys.exit(2)
    step = sys.argv[1]
    asked = parser_of(step).parse_args(sys.argv[2:])
    if seen := os.environ.get("MLC_FAKE_SEEN"):
        with Path(seen).open("a") as file:
            file.write(json.dumps({"step": step, "words": sys.argv[2:], "environment": dict(os.environ)}) + "\n")
    print(f"[2026-11-22 10:00:00] \x1b[1mINFO\x1b[0m {step} with arguments: {sys.argv[2:]}", flush=True)
    if not hasattr(asked, "model"):
        asked.output.mkdir(parents=True, exist_ok=True)
    what = fault(step)
    die(what)
    {"gen_config": gen_config, "convert_weight": convert_weight, "compile": compile_model}[step](asked, what)


if __name__ == "__main__":
    main()
