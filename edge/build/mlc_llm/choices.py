"""What a profile and a target mean in the words of mlc_llm: its quantisation mode, its device, its host.

Names, presets and group size are those of the command's own source (quantization.py, auto_target.py, model.py).
What has no counterpart there is refused in one line; nothing is rounded to something near.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from edge.errors import SpecError
from edge.specs.decoder import DecoderConfig
from edge.specs.profile import Quantisation
from edge.specs.target import Target

GROUP_SIZE = 32  # of q4f16_1 and q4f32_1, along the input axis
HEAD_BITS = 4  # both modes round the embedding and the head as they round every matrix
# Families -> name of the fused query, key and value matrix.
ATTENTION = {"llama": "qkv_proj", "mistral": "qkv_proj", "qwen2": "c_attn", "qwen3": "c_attn"}
LLVM_CPU = re.compile(r"(?:cortex|neoverse)-[a-z0-9]+")
LLVM_FEATURES = {
    "asimddp": "+dotprod",
    "asimdhp": "+fullfp16",
    "atomics": "+lse",
    "i8mm": "+i8mm",
    "bf16": "+bf16",
    "sve": "+sve",
    "sve2": "+sve2",
    "aes": "+aes",
    "crc32": "+crc",
}
TRIPLES = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}
SM = re.compile(r"\bsm_(\d{2,3})\b")
RUNS_NOWHERE_HERE = "mlc-llm-1"  # the feature that a bundle of this engine needs


@dataclass(frozen=True)
class Mode:
    """A quantisation of mlc_llm. bits: of the matrices, 0 for none; dtype: of all that is not rounded."""

    name: str
    bits: int
    dtype: str

    @property
    def grouped(self) -> bool:
        """Matrices lie as q_weight and q_scale."""
        return self.bits > 0


MODES = {
    mode.name: mode
    for mode in (
        Mode("q4f16_1", 4, "float16"),
        Mode("q4f32_1", 4, "float32"),
        Mode("q0f16", 0, "float16"),
        Mode("q0f32", 0, "float32"),
    )
}


@dataclass(frozen=True)
class Aim:
    """What `mlc_llm compile` is asked for.

    kind: android, webgpu, cuda, vulkan or cpu. device: `--device`, a preset or a JSON target. host: `--host`, ''
    where the preset has one. suffix: of the library, which decides its form. half: the device computes in float16.
    arch: of the machine code, as edge names it. needs: (program, what brings it) that must be on the PATH.
    """

    kind: str
    device: str
    host: str
    suffix: str
    half: bool
    arch: str
    needs: tuple[tuple[str, str], ...] = ()

    @property
    def system_library(self) -> bool:
        """Linked into an app, with symbols that begin with the model's prefix."""
        return self.suffix == ".tar"


def aim_of(target: Target, where: str, host_arch: str) -> Aim:
    """What to compile for a target on a build host of `host_arch`.

    Errors: SpecError when mlc_llm makes nothing for it.
    """
    if target.os == "android":
        adreno = any("adreno" in item.name.lower() for item in target.accelerators)
        return Aim("android", "android:adreno" if adreno else "android:generic", "", ".tar", True, "aarch64")
    if target.os == "browser":
        needs = (("emcc", "the Emscripten SDK"),)
        # float32: a browser offers float16 in shaders only where its GPU and version do.
        return Aim("webgpu", "webgpu:generic", "", ".wasm", False, "wasm32", needs)
    if target.arch not in TRIPLES:
        raise SpecError(
            f"mlc_llm compiles nothing for {target.os} on {target.arch}", where=where, mend="use another target"
        )
    triple = TRIPLES[target.arch]
    linker = _linker(target.arch, host_arch)
    for item in target.accelerators:
        if item.kind != "gpu":
            continue
        level = SM.search(item.name)
        if level is not None:
            device = _cuda(level[1])
            return Aim("cuda", device, triple, ".so", True, target.arch, (("nvcc", "the CUDA toolkit"), *linker))
        if "vulkan" in item.name.lower():
            return Aim("vulkan", "vulkan:generic", triple, ".so", True, target.arch, linker)
    return Aim("cpu", _cpu(target, triple), triple, ".so", False, target.arch, linker)


def _linker(arch: str, host_arch: str) -> tuple[tuple[str, str], ...]:
    if arch == host_arch:
        return ()
    prefix = TRIPLES[arch]
    return ((f"{prefix}-g++", f"the cross compiler (Debian: g++-{prefix.replace('_', '-')})"),)


def _json(value: dict[str, Any]) -> str:
    # More than one key, so more than one colon: a word with a single colon would be taken for a device.
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _cuda(level: str) -> str:
    return _json(
        {
            "kind": "cuda",
            "arch": f"sm_{level}",
            "max_threads_per_block": 1024,
            "max_shared_memory_per_block": 49152,
            "thread_warp_size": 32,
        }
    )


def _cpu(target: Target, triple: str) -> str:
    value: dict[str, Any] = {"kind": "llvm", "mtriple": triple}
    if target.arch == "x86_64":
        return _json(value | {"mcpu": target.isa.level})
    if LLVM_CPU.fullmatch(target.cpu):
        value["mcpu"] = target.cpu
    features = [LLVM_FEATURES[name] for name in sorted(target.isa.features) if name in LLVM_FEATURES]
    return _json(value | ({"mattr": features} if features else {}))


def mode_of(quantisation: Quantisation, aim: Aim, where: str) -> Mode:
    """The mode that stores weights as the profile says. Errors: SpecError where there is none."""
    asked = quantisation
    if asked.scheme == "none":
        return MODES["q0f16" if aim.half else "q0f32"]
    wrong, mend = "", ""
    if asked.scheme != "int4":
        wrong, mend = f"scheme '{asked.scheme}'", "scheme: int4 or none"
    elif asked.rounding != "rtn":
        wrong, mend = f"rounding '{asked.rounding}'", "rounding: rtn"
    elif asked.block_size != GROUP_SIZE:
        wrong, mend = f"block_size {asked.block_size}", f"block_size: {GROUP_SIZE}"
    elif not asked.symmetric:
        wrong, mend = "symmetric false", "symmetric: true"
    elif asked.head_bits != HEAD_BITS:
        wrong, mend = f"head_bits {asked.head_bits}", f"head_bits: {HEAD_BITS}"
    if wrong:
        raise SpecError(f"key 'quantisation': {wrong} has no counterpart in mlc_llm", where=where, mend=f"write {mend}")
    return MODES["q4f16_1" if aim.half else "q4f32_1"]


def check_decoder(config: DecoderConfig, context_tokens: int, where: str) -> None:
    """Refuse what the model of that name in mlc_llm would compute otherwise. Errors: SpecError."""
    wrong = ""
    scaling = config.rope_scaling
    if config.family not in ATTENTION or config.experts:
        wrong = f"architecture '{config.family}' (possible: {', '.join(ATTENTION)})"
    elif scaling is not None and (config.family != "llama" or scaling.kind != "llama3"):
        wrong = f"rope scaling '{scaling.kind}' of family {config.family}"
    elif config.attention_bias != (config.family == "qwen2"):
        wrong = f"family {config.family} {'with' if config.attention_bias else 'without'} attention biases"
    elif config.tie_embeddings and config.family == "mistral":
        wrong = "tied embeddings of family mistral"
    elif config.sliding_window is not None and config.sliding_window < context_tokens:
        wrong = f"a sliding window of {config.sliding_window} tokens below the context of {context_tokens}"
    elif config.hidden_size % config.heads or (config.family == "qwen2" and config.query_size != config.hidden_size):
        wrong = f"{config.heads} heads of {config.head_dim} in a hidden size of {config.hidden_size}"
    if wrong:
        raise SpecError(f"mlc_llm has no {wrong}", where=where, mend="use engine: tvm, or backend: onnx")
    if context_tokens > config.max_positions:
        raise SpecError(
            f"context_tokens is {context_tokens}, the model has {config.max_positions} positions",
            where=where,
            mend="lower context_tokens",
        )
