"""An installed `mlc_llm` (the stand-in), a tiny model folder, an adapter, profiles: a whole build in about a second."""

from __future__ import annotations

import json
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from edge.build.cache import Cache
from edge.build.checkpoint import adapter_digest, folder_digest
from edge.build.mlc_llm.source_folder import config_json
from edge.build.mlc_llm.stages import mlc_llm_stages
from edge.build.state import Build
from edge.specs.decoder import DecoderConfig
from edge.specs.profile import load_profile
from edge.specs.target import load_target
from tests.tiny import BASE as TINY
from tests.tiny import tiny_source, write_tokenizer

# Not the base that mlc_llm falls back to.
BASE = replace(TINY, rope_theta=500000.0)
ROOT = Path(__file__).parents[3]
FAKE = Path(__file__).with_name("fake_mlc_llm.py")
TEXT = (
    "D: the pain is in the user's eye.\nP: in the morning, one hour, no pain in the other.\n\nHPI: pain in the eye.\n"
)
DIST = "mlc_llm_nightly_cpu-0.20.dev123.dist-info"


def install(place: Path, *, name: str = "mlc_llm") -> dict[str, str]:
    """The stand-in as a console script with its packages; returns an environment that finds it."""
    packages, programs = place / "packages", place / "bin"
    for package in ("mlc_llm", "tvm", "peft", "transformers"):
        (packages / package).mkdir(parents=True)
        (packages / package / "__init__.py").write_text("")
    for folder, top, version in (
        (DIST, "mlc_llm", "0.20.dev123"),
        ("mlc_ai_nightly_cpu-0.20.dev77.dist-info", "tvm", "0.20.dev77"),
    ):
        (packages / folder).mkdir()
        distribution = folder.partition("-")[0].replace("_", "-")
        (packages / folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        (packages / folder / "top_level.txt").write_text(f"{top}\n")
    programs.mkdir()
    script = programs / name
    # -S and the site folder at the end: the metadata of this interpreter's many packages is not read each time.
    head = f"#!{sys.executable} -S\nimport sys\nsys.path.append({sysconfig.get_path('purelib')!r})\n"
    script.write_text(head + FAKE.read_text().replace("from __future__ import annotations\n", ""))
    script.chmod(0o755)
    for helper in ("emcc", "nvcc", "aarch64-linux-gnu-g++", "x86_64-linux-gnu-g++"):
        (programs / helper).write_text("#!/bin/sh\n")
        (programs / helper).chmod(0o755)
    web = place / "source" / "web" / "dist" / "wasm"
    web.mkdir(parents=True)
    (web / "mlc_wasm_runtime.bc").write_bytes(b"BC")
    return {
        "PATH": str(programs),
        "PYTHONPATH": str(packages),
        "MLC_LLM_SOURCE_DIR": str(place / "source"),
        "SECRET_TOKEN": "not for children",
    }


def write_model(folder: Path, config: DecoderConfig = BASE, **raw: Any) -> Path:
    """A Hugging Face folder of a tiny random decoder."""
    folder.mkdir(parents=True)
    write_tokenizer(folder)
    (folder / "special_tokens.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "<|im_end|>"}))
    (folder / "config.json").write_text(json.dumps(config_json(config) | raw))
    save_file(tiny_source(config).tensors, folder / "model.safetensors")
    return folder


def write_adapter(folder: Path, size: float = 1.0) -> Path:
    """A LoRA adapter of rank 2 on q_proj and down_proj; size: of its change against the weights."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(9)
    tensors = {}
    for layer in range(BASE.layers):
        for module, (rows, columns) in {"self_attn.q_proj": (64, 64), "mlp.down_proj": (64, 96)}.items():
            name = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{name}.lora_A.weight"] = rng.standard_normal((2, columns)).astype(np.float32)
            tensors[f"{name}.lora_B.weight"] = (0.05 * size * rng.standard_normal((rows, 2))).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "down_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


@dataclass
class Bench:
    """A folder with profiles/, an installed command, and builds in out/."""

    place: Path
    environment: dict[str, str]
    config: DecoderConfig = BASE
    builds: list[Build] = field(default_factory=list)

    def profile(self, **changes: Any) -> Path:
        """A profile file; int4 as mlc_llm has it, for an Android device, unless told otherwise."""
        value: dict[str, Any] = {
            "version": 1,
            "name": "tiny",
            "description": "a tiny model",
            "model": {"source": "hf:m", "sha256": folder_digest(self.place / "profiles" / "m"), "license": "MIT"},
            "target": "android-arm64",
            "backend": "mlc",
            "quantisation": {"scheme": "int4", "head_bits": 4},
            "fidelity_text": {"text": "text", "tokens": 64},
            "context_tokens": 256,
            "prefill_chunk_tokens": 64,
        }
        path = self.place / "profiles" / "tiny.yaml"
        path.write_text(yaml.safe_dump(value | changes))
        return path

    def build(self, folder: Path | None = None, **changes: Any) -> Build:
        """A build that has not begun."""
        path = self.profile(**changes)
        profile = load_profile(path)
        target = load_target(profile.target, folder=ROOT / "targets")
        folder = folder or self.place / "out" / ".tiny.building"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        made = Build(path, profile, target, folder, Cache(self.place / "cache"))
        self.builds.append(made)
        return made

    def run(self, build: Build, until: str = "fidelity", timeouts_s: dict[str, float] | None = None) -> dict[str, Any]:
        """Run the stages up to one of them; stage -> what it made."""
        made = {}
        for name, stage in mlc_llm_stages(self.environment, timeouts_s):
            made[name] = stage(build)
            if name == until:
                break
        return made

    def close(self) -> None:
        for build in self.builds:
            if hasattr(build, "checkpoint"):
                build.checkpoint.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    write_model(tmp_path / "profiles" / "m")
    (tmp_path / "profiles" / "text").mkdir()
    (tmp_path / "profiles" / "text" / "a.txt").write_text(TEXT * 4)
    made = Bench(tmp_path, install(tmp_path / "installed"))
    yield made
    made.close()


@pytest.fixture
def adapter(bench: Bench) -> Callable[..., dict[str, Any]]:
    """Writes an adapter beside the profile; returns the profile's key for it."""

    def write(size: float = 1.0) -> dict[str, Any]:
        folder = write_adapter(bench.place / "profiles" / "adapter", size)
        return {"adapter": {"path": "adapter", "sha256": adapter_digest(folder)}}

    return write
