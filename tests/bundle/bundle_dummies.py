"""Small bundles for the tests: real files, real keys, real signatures; only the model is a few bytes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.bundle.open import OpenBundle
from edge.bundle.signing import SigningKey
from edge.bundle.writer import BundleWriter
from edge.specs.decoder import DecoderConfig

FILES: dict[str, bytes] = {
    "model/decoder.onnx": b"graph",
    "model/decoder.onnx.data": bytes(range(256)) * 8,
    "tokenizer/tokenizer.json": b"{}",
    "tokenizer/chat_template.jinja": b"{{ messages }}",
    "tasks/note/prompt.txt": b"Write a note.",
    "tasks/note/note.schema.json": b'{"type":"object"}',
    "golden/case-1.json": b'{"tokens":[1,2,3]}',
    "sbom.cdx.json": b"{}",
    "model_card.md": b"# Card\n",
}

DECODER = DecoderConfig(
    family="llama",
    vocab_size=16,
    hidden_size=8,
    intermediate_size=16,
    layers=1,
    heads=2,
    kv_heads=1,
    head_dim=4,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    max_positions=64,
    tie_embeddings=True,
    eos_token_ids=(2,),
)


def fields(**changes: Any) -> dict[str, Any]:
    """What a build gives to BundleWriter.commit."""
    return {
        "name": "notes",
        "required_features": ("onnx-decoder-1", "chat-template-1"),
        "profile": {"version": 1, "name": "notes", "context_tokens": 64},
        "target": {"name": "linux", "arch": "x86_64", "isa": {"level": "x86-64-v3", "features": ["avx2", "fma"]}},
        "base_model": {"source": "pip:dummy==1", "digest": "a" * 64, "license": "Apache-2.0"},
        "adapter": None,
        "decoder": DECODER.to_json(),
        "quantisation": {"scheme": "int4", "block_size": 32},
        "runtime": {"engine": "onnxruntime", "version": "1.31.1"},
        "sampler": {"temperature": 0.0},
        "tools": {"edge": "0.1.0"},
        "predicted_memory": {"weights_bytes": 2053},
    } | changes


def write_files(folder: Path, files: Mapping[str, bytes] = FILES) -> None:
    """Write files below a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def build(place: Path, key: SigningKey, files: Mapping[str, bytes] = FILES, **changes: Any) -> OpenBundle:
    """Build a dummy bundle at `place`."""
    with BundleWriter(place) as writer:
        write_files(writer.folder, files)
        return writer.commit(fields(**changes), key)


def copy(source: Path, place: Path) -> Path:
    """A copy of a bundle that a test may damage."""
    shutil.copytree(source, place, symlinks=True)
    return place


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def beside(place: Path) -> list[str]:
    """Names in the folder of `place` other than its own."""
    return sorted(path.name for path in place.parent.iterdir() if path != place)
