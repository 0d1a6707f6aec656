"""The manifest: when these fail, a signed file can mean two things, or a reader ignores what it does not know."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from bundle_dummies import FILES, fields
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle.canonical import canonical_json
from edge.bundle.manifest import FileEntry, Manifest, behaviour_digest, file_digests
from edge.errors import BundleError

SLUGS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)
DIGESTS = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
PATHS = st.builds(
    lambda top, rest: "/".join([top, *rest]),
    st.sampled_from(["model", "tokenizer", "tasks", "golden"]),
    st.lists(SLUGS.filter(lambda part: not part.startswith(".")), min_size=1, max_size=2),
)
ENTRIES = st.dictionaries(PATHS, st.tuples(DIGESTS, st.integers(0, 2**40)), max_size=5).map(
    lambda files: tuple(FileEntry(path, *rest) for path, rest in sorted(files.items()))
)


def manifest(**changes: Any) -> Manifest:
    """A manifest over the dummy files."""
    files = changes.pop("files", None) or tuple(FileEntry(name, "b" * 64, 3) for name in sorted(FILES))
    given_fields = fields(**changes)
    given_fields["required_features"] = tuple(sorted(given_fields["required_features"]))
    return Manifest(files=files, **file_digests(files), **given_fields)


def value_of(item: Manifest) -> dict[str, Any]:
    """Its JSON value, to change."""
    return json.loads(item.to_bytes())


def _clash(files: tuple[FileEntry, ...]) -> bool:
    paths = [entry.path for entry in files]
    return any(other.startswith(f"{path}/") for path in paths for other in paths)


@given(ENTRIES.filter(lambda files: not _clash(files)), OBJECTS, OBJECTS, OBJECTS, SLUGS)
def test_round_trip(files: Any, profile: Any, tools: Any, sampler: Any, name: str) -> None:
    """If not: a bundle reads back other than it was written, and its digest names nothing."""
    written = manifest(files=files, profile=profile, tools=tools, sampler=sampler, name=name)
    read = Manifest.from_bytes(written.to_bytes())
    assert read == written
    assert read.to_bytes() == written.to_bytes()
    assert read.bundle_digest == written.bundle_digest
    assert behaviour_digest(read) == behaviour_digest(written)


def test_tuples_become_lists_at_once() -> None:
    """If not: a manifest differs from its own reading, because JSON has no tuples."""
    written = manifest(profile={"tasks": ("note", "differential")})
    assert written.profile == {"tasks": ["note", "differential"]}
    assert Manifest.from_bytes(written.to_bytes()) == written


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 2}, "schema version 2 is not known"),
        ({"schema_version": True}, "schema version True is not known"),
        ({"required_features": ["draft-model-9"]}, "'draft-model-9', which this edge does not know"),
        ({"required_features": [["x"]]}, "does not know"),
        ({"required_features": "x"}, "not a list"),
        ({"expires": 1}, "key 'expires' is not known"),
        ({"name": "../notes"}, "name is not"),
        ({"profile": []}, "'profile' is not an object"),
        ({"adapter": {}}, "'adapter.digest' is missing"),
        ({"base_model": {"source": "x", "digest": "y"}}, "'base_model.license' is missing"),
        ({"golden_digest": "0" * 64}, "golden_digest does not agree"),
        ({"prompts_digest": "0" * 64}, "prompts_digest does not agree"),
        ({"files": [1]}, "not a list of objects"),
        ({"files": [{"path": "model/x", "sha256": "b" * 64, "size_bytes": 1, "mode": 7}]}, "key 'mode'"),
        ({"files": [{"path": "model/x", "sha256": "b" * 64}]}, "key 'size_bytes' is missing"),
        ({"files": [{"path": "model/x", "sha256": "B" * 64, "size_bytes": 1}]}, "not a sha256"),
        ({"files": [{"path": "model/x", "sha256": "b" * 64, "size_bytes": -1}]}, "not a number of bytes"),
        ({"decoder": {"family": "llama"}}, "'decoder'"),
    ],
)
def test_unknown_and_wrong_are_refused(change: dict[str, Any], says: str) -> None:
    """If not: an old edge opens a bundle of tomorrow and ignores what it cannot honour."""
    with pytest.raises(BundleError) as caught:
        Manifest.from_bytes(canonical_json(value_of(manifest()) | change))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", sorted(value_of(manifest())))
def test_missing_key(key: str) -> None:
    """If not: a manifest that says less than it must is opened."""
    value = value_of(manifest())
    del value[key]
    with pytest.raises(BundleError):
        Manifest.from_bytes(canonical_json(value))


def test_unknown_decoder_key() -> None:
    """If not: a decoder setting of a later edge is dropped and the model answers wrongly."""
    value = value_of(manifest())
    value["decoder"]["attention_sinks"] = 4
    with pytest.raises(BundleError, match="decoder"):
        Manifest.from_bytes(canonical_json(value))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "model/../x",
        "model//x",
        "model/.",
        "model/",
        "model",
        "",
        "notes.txt",
        "manifest.json",
        "signature",
        "attestations/a.json",
        "model/.hidden",
        "model/a\\b",
        "model/a\nb",
        "model/e\u0301",
        "model/" + "x" * 300,
        "Model/x",
        7,
    ],
)
def test_paths(path: Any) -> None:
    """If not: a manifest can point outside its folder, at a hidden file, or at itself."""
    with pytest.raises(BundleError):
        FileEntry(path, "b" * 64, 1)


def test_same_letters_twice() -> None:
    """If not: on an SD card one file overwrites another."""
    files = tuple(FileEntry(path, "b" * 64, 1) for path in ("model/A", "model/a"))
    with pytest.raises(BundleError, match="twice"):
        manifest(files=files)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.rstrip(b"\n"),
        lambda data: data + b"\n",
        lambda data: data.replace(b'"name":"notes"', b'"name": "notes"', 1),
        lambda data: data.replace(b'"name":"notes"', b'"name":"note\\u0073"', 1),
        lambda data: data.replace(b'"sampler":', b'"sampler":{},"sampler":', 1),
        lambda data: data.replace(b"10000.0", b"1e4", 1),
        lambda data: data.replace(b"10000.0", b"NaN", 1),
        lambda data: b"\xff" + data,
        lambda data: b"[]\n",
        lambda data: b"[" * 100_000,
        lambda data: b"",
        lambda data: b'{"a":' + b"9" * 5000 + b"}\n",
    ],
)
def test_only_canonical_bytes(spoil: Any) -> None:
    """If not: two parsers can read two bundles from one signature."""
    with pytest.raises(BundleError) as caught:
        Manifest.from_bytes(spoil(manifest().to_bytes()))
    assert "\n" not in str(caught.value)


def test_not_json_is_told_to_the_builder() -> None:
    """If not: a numpy number or a not-a-number from a stage ends in a traceback or a broken bundle."""
    for bad in (float("nan"), object(), {1: 2}):
        with pytest.raises(BundleError):
            manifest(tools={"x": bad} if not isinstance(bad, dict) else bad)


CHANGES_BEHAVIOUR = {
    "weights": ("model/decoder.onnx.data", {}),
    "tokenizer": ("tokenizer/tokenizer.json", {}),
    "template": ("tokenizer/chat_template.jinja", {}),
    "prompt": ("tasks/note/prompt.txt", {}),
    "grammar": ("tasks/note/note.schema.json", {}),
    "sampler": (None, {"sampler": {"temperature": 0.1}}),
    "quantisation": (None, {"quantisation": {"scheme": "int8", "block_size": 32}}),
    "runtime version": (None, {"runtime": {"engine": "onnxruntime", "version": "1.31.2"}}),
    "stop token": (None, {"decoder": fields()["decoder"] | {"eos_token_ids": [3]}}),
}
KEEPS_BEHAVIOUR = {
    "golden": ("golden/case-1.json", {}),
    "card": ("model_card.md", {}),
    "sbom": ("sbom.cdx.json", {}),
    "name": (None, {"name": "other"}),
    "tools": (None, {"tools": {"edge": "0.2.0"}}),
    "target": (None, {"target": {"name": "pi", "arch": "aarch64"}}),
    "plan": (None, {"predicted_memory": {}}),
}


def _changed(path: str | None, changes: dict[str, Any]) -> Manifest:
    files = tuple(FileEntry(name, ("c" if name == path else "b") * 64, 3) for name in sorted(FILES))
    return manifest(files=files, **changes)


@pytest.mark.parametrize("what", CHANGES_BEHAVIOUR)
def test_behaviour_digest_sees(what: str) -> None:
    """If not: two builds that answer differently show the same digest to the clinician."""
    changed = _changed(*CHANGES_BEHAVIOUR[what])
    assert behaviour_digest(changed) != behaviour_digest(manifest())
    assert changed.bundle_digest != manifest().bundle_digest


@pytest.mark.parametrize("what", KEEPS_BEHAVIOUR)
def test_behaviour_digest_ignores(what: str) -> None:
    """If not: results measured on one build are thrown away for a change that nobody can read in the output."""
    changed = _changed(*KEEPS_BEHAVIOUR[what])
    assert behaviour_digest(changed) == behaviour_digest(manifest())
    assert changed.bundle_digest != manifest().bundle_digest


def test_frozen() -> None:
    """If not: a manifest can be changed after its digest was taken."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        manifest().name = "x"  # type: ignore[misc]
