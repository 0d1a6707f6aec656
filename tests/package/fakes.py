"""Runners for packages: a small one of a few files, and one of what is installed here. Bundles for any target."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle
from edge.bundle.signing import SigningKey
from edge.bundle.writer import BundleWriter
from edge.device import wheels
from edge.specs.decoder import DecoderConfig
from tests.package.elf import elf

REPO = Path(__file__).resolve().parents[2]
MACHINES = {"x86_64": 62, "aarch64": 183}
FILES = {
    "model/model.onnx": b"graph",
    "tokenizer/tokenizer.json": b"{}",
    "tasks/note.json": b"{}",
    "golden/cases.json": b"[]",
    "sbom.cdx.json": b"{}",
    "model_card.md": b"# Card\n",
}
DECODER = DecoderConfig(
    family="llama", vocab_size=16, hidden_size=8, intermediate_size=16, layers=1, heads=2, kv_heads=1, head_dim=4,
    rms_norm_eps=1e-5, rope_theta=10000.0, max_positions=64, tie_embeddings=True, eos_token_ids=(2,),
)  # fmt: skip


def target(name: str, **changes: Any) -> dict[str, Any]:
    """A target of the repository as a manifest has it."""
    found: dict[str, Any] = yaml.safe_load((REPO / "targets" / f"{name}.yaml").read_text(encoding="utf-8"))
    return {"screen": False, "panel": None, "accelerators": []} | found | changes


def bundle(
    place: Path, key: SigningKey, *, on: str = "raspberry-pi-5", name: str = "notes", text: str = "Write.", **more: Any
) -> OpenBundle:
    """A signed bundle without a model. text: changes what it says, so its digests. more: changes of the target."""
    with BundleWriter(place) as writer:
        for path, data in (FILES | {"tasks/note.json": f'{{"text": "{text}"}}'.encode()}).items():
            (writer.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (writer.folder / path).write_bytes(data)
        return writer.commit(
            {
                "name": name, "required_features": ("tasks-1",), "profile": {"version": 1, "name": name},
                "target": target(on, **more), "adapter": None, "decoder": DECODER.to_json(),
                "base_model": {"source": "pip:dummy==1", "digest": "a" * 64, "license": "Apache-2.0"},
                "quantisation": {"scheme": "int4"}, "runtime": {"engine": "onnxruntime", "onnxruntime": "1.31.1"},
                "sampler": {}, "tools": {}, "predicted_memory": {},
            },
            key,
        )  # fmt: skip


def signer(home: Path) -> tuple[KeyStore, SigningKey]:
    """A home with a builder key."""
    store = KeyStore(home)
    store.create("clinic")
    return store, store.load_signing_key()


@dataclass
class SmallSources:
    """A runner of four files, for layouts and scripts. asked: what was asked for."""

    folder: Path
    needed: tuple[str, ...] = ("libc.so.6", "libstdc++.so.6")
    asked: list[tuple[str, tuple[int, int], tuple[str, ...]]] = field(default_factory=list)

    def site(self, arch: str, python: tuple[int, int], requirements: Sequence[str]) -> Path:
        """One wheel with a library, and what pip leaves beside it."""
        self.asked.append((arch, python, tuple(requirements)))
        place = self.folder / f"site-{arch}"
        files = {
            "one/__init__.py": b"",
            "one/_native.so": elf(self.needed, machine=MACHINES[arch], glibc="2.31"),
            "one/__pycache__/__init__.cpython-311.pyc": b"compiled here",
            "one-1.0.dist-info/METADATA": b"Name: one\nVersion: 1.0\nLicense-Expression: MIT\n\nText",
            "one-1.0.dist-info/RECORD": str(self.folder).encode(),
            "one-1.0.dist-info/direct_url.json": str(self.folder).encode(),
            "bin/one": f"#!{self.folder}/python\n".encode(),
            ".edge-kept.json": b"{}",
        }
        for path, data in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(data)
        return place

    def edge(self) -> Path:
        """A package `edge` that prints its arguments."""
        place = self.folder / "source" / "edge"
        place.mkdir(parents=True, exist_ok=True)
        (place / "__init__.py").write_text("")
        (place / "cli.py").write_text("import os, sys\nprint(sys.argv[1:], os.environ.get('EDGE_HOME'))\n")
        return place.parent


@dataclass
class InstalledSources:
    """The packages that are installed here, as a folder of wheels: no network, the same versions."""

    folder: Path

    def site(self, arch: str, python: tuple[int, int], requirements: Sequence[str]) -> Path:
        """Copies of the distributions' own files."""
        place = self.folder / "site"
        for requirement in requirements:
            found = importlib.metadata.distribution(requirement.partition("==")[0])
            for name in found.files or ():
                source = Path(str(found.locate_file(name)))
                if ".." in name.parts or source.suffix == ".pyc" or not source.is_file():
                    continue
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, place / name)
        return place

    def edge(self) -> Path:
        """As on a device."""
        return wheels.edge_source(self.folder)
