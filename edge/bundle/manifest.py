"""The manifest: what a bundle is, as one canonical JSON file that the signature covers.

Rules: every file of the bundle is listed with its digest; a schema version, a required feature or a key that
this reader does not know is an error; the bundle digest is the sha256 of the manifest's bytes; the behaviour
digest covers all that changes what the clinician reads, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from edge.bundle.canonical import (
    HEX_DIGEST,
    MEND,
    SLUG,
    canonical_json,
    exact_keys,
    known_version,
    parse_canonical,
    plain,
)
from edge.bundle.tree import check_path
from edge.errors import BundleError
from edge.specs.decoder import DecoderConfig

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "signature"
ATTESTATIONS_FOLDER = "attestations"
MAX_MANIFEST_BYTES = 16 << 20

# What a bundle may ask of the edge that opens it. A feature is added here together with the code that honours
# it.
KNOWN_FEATURES = frozenset(
    {
        "onnx-decoder-1",  # model/ is one ONNX graph with the input contract of runtime["graph"]
        "tvm-decoder-1",  # model/ is a decoder compiled by TVM, its tiles and TVM's runtime library
        "mlc-llm-1",  # model/ is what mlc_llm made; only MLC's own runtimes run it
        "chat-template-1",  # tokenizer/ carries tokenizer.json and chat_template.jinja
        "tasks-1",  # tasks/ holds prompts and JSON schemas of clinical tasks
        "tasks-2",  # and their grammars and the digests of their rules; golden/clinical.json is their self-test
        "golden-1",  # golden/ holds cases with the tokens that this build must produce
    }
)

FOLDERS = ("model", "tokenizer", "tasks", "golden")
ROOT_FILES = ("sbom.cdx.json", "model_card.md")
BEHAVIOUR_FOLDERS = ("model/", "tokenizer/", "tasks/")
GRAMMAR_SUFFIXES = (".schema.json", ".gbnf", ".lark")


@dataclass(frozen=True)
class FileEntry:
    """One file: path relative to the bundle, hex sha256, size in bytes."""

    path: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        check_path(self.path, MANIFEST_NAME)
        top, _, rest = self.path.partition("/")
        if not (top in FOLDERS if rest else top in ROOT_FILES):
            allowed = ", ".join((*(f"{name}/" for name in FOLDERS), *ROOT_FILES))
            raise BundleError(
                f"file {self.path!r} has no place in a bundle (allowed: {allowed})",
                where=MANIFEST_NAME,
                mend=MEND,
            )
        if not (isinstance(self.sha256, str) and HEX_DIGEST.fullmatch(self.sha256)):
            raise BundleError(f"digest of {self.path!r} is not a sha256", where=MANIFEST_NAME, mend=MEND)
        if not isinstance(self.size_bytes, int) or isinstance(self.size_bytes, bool) or self.size_bytes < 0:
            raise BundleError(f"size of {self.path!r} is not a number of bytes", where=MANIFEST_NAME, mend=MEND)


def group_digest(entries: Iterable[FileEntry]) -> str:
    """Hex sha256 over the paths and digests of some files, in path order."""
    pairs = sorted([entry.path, entry.sha256] for entry in entries)
    return hashlib.sha256(canonical_json(pairs)).hexdigest()


def file_digests(files: Iterable[FileEntry]) -> dict[str, str]:
    """The three digests over groups of files that a manifest states: prompts, grammars, golden cases."""
    files = tuple(files)
    tasks = [entry for entry in files if entry.path.startswith("tasks/")]
    return {
        "prompts_digest": group_digest(e for e in tasks if not e.path.endswith(GRAMMAR_SUFFIXES)),
        "grammars_digest": group_digest(e for e in tasks if e.path.endswith(GRAMMAR_SUFFIXES)),
        "golden_digest": group_digest(e for e in files if e.path.startswith("golden/")),
    }


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds and what it was made of. Dicts are plain JSON; treat them as read-only.

    profile, target: as resolved by edge.specs (no machine paths); target has at least name and arch.
    base_model: at least source, digest, license. adapter: at least digest, or None.
    decoder: DecoderConfig.to_json(). quantisation, sampler, tools, predicted_memory (bytes): plain JSON.
    runtime: engine, its version, and the input contract of the graph.
    prompts_digest, grammars_digest, golden_digest: must agree with `files`.
    Errors: BundleError for anything unknown, missing or contradictory.
    """

    name: str
    profile: dict[str, Any]
    target: dict[str, Any]
    files: tuple[FileEntry, ...]
    base_model: dict[str, Any]
    adapter: dict[str, Any] | None
    decoder: dict[str, Any]
    quantisation: dict[str, Any]
    runtime: dict[str, Any]
    sampler: dict[str, Any]
    tools: dict[str, Any]
    predicted_memory: dict[str, Any]
    prompts_digest: str
    grammars_digest: str
    golden_digest: str
    required_features: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        known_version({"schema_version": self.schema_version}, SCHEMA_VERSION, MANIFEST_NAME)
        _known_features(self.required_features)
        if not (isinstance(self.name, str) and SLUG.fullmatch(self.name)):
            raise BundleError("name is not lower case letters, digits, '.', '_', '-'", where=MANIFEST_NAME, mend=MEND)
        for key in _DICT_FIELDS:
            value = getattr(self, key)
            if key == "adapter" and value is None:
                continue
            if not isinstance(value, dict):
                raise BundleError(f"'{key}' is not an object", where=MANIFEST_NAME, mend=MEND)
            for needed in _NEEDED_KEYS.get(key, ()):
                if not isinstance(value.get(needed), str) or not value[needed]:
                    raise BundleError(f"'{key}.{needed}' is missing", where=MANIFEST_NAME, mend=MEND)
            object.__setattr__(self, key, plain(value, f"{MANIFEST_NAME}: {key}"))
        self._check_files()
        _check_decoder(self.decoder)

    def _check_files(self) -> None:
        paths = [entry.path for entry in self.files]
        if paths != sorted(paths):
            raise BundleError("files are not in order", where=MANIFEST_NAME, mend=MEND)
        # casefold: a bundle copied to an SD card must not lose a file to one of the same letters.
        if len({path.casefold() for path in paths}) != len(paths):
            raise BundleError("a file is listed twice", where=MANIFEST_NAME, mend=MEND)
        folders = {path[: at + len("/")] for path in paths for at in range(len(path)) if path[at] == "/"}
        if any(f"{path}/" in folders for path in paths):
            raise BundleError("a file is listed as a folder too", where=MANIFEST_NAME, mend=MEND)
        for key, digest in file_digests(self.files).items():
            if getattr(self, key) != digest:
                raise BundleError(f"{key} does not agree with the files", where=MANIFEST_NAME, mend=MEND)

    @property
    def decoder_config(self) -> DecoderConfig:
        """The decoder as an object."""
        return DecoderConfig.from_json(self.decoder)

    @property
    def bundle_digest(self) -> str:
        """Hex sha256 of the manifest's bytes: the identity of the bundle."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        value = {field.name: getattr(self, field.name) for field in fields(self)}
        value["files"] = [{"path": e.path, "sha256": e.sha256, "size_bytes": e.size_bytes} for e in self.files]
        value["required_features"] = list(self.required_features)
        return value

    def to_bytes(self) -> bytes:
        """Canonical JSON, the content of manifest.json."""
        return canonical_json(self.to_json(), MANIFEST_NAME)

    @staticmethod
    def from_bytes(data: bytes, where: str = MANIFEST_NAME) -> Manifest:
        """Inverse of to_bytes. Errors: BundleError, one line, for anything not exactly as written."""
        value = parse_canonical(data, where)
        known_version(value, SCHEMA_VERSION, where)
        features = value.get("required_features")
        if not isinstance(features, list):
            raise BundleError("'required_features' is not a list", where=where, mend=MEND)
        _known_features(tuple(features))
        exact_keys(value, _FIELD_NAMES, where)
        if not isinstance(value["files"], list) or not all(isinstance(item, dict) for item in value["files"]):
            raise BundleError("'files' is not a list of objects", where=where, mend=MEND)
        for item in value["files"]:
            exact_keys(item, _ENTRY_NAMES, f"{where}: files")
        entries = tuple(FileEntry(**item) for item in value["files"])
        return Manifest(**(value | {"files": entries, "required_features": tuple(features)}))


_FIELD_NAMES = frozenset(field.name for field in fields(Manifest))
_ENTRY_NAMES = frozenset(field.name for field in fields(FileEntry))
_DICT_FIELDS = (
    "profile",
    "target",
    "base_model",
    "adapter",
    "decoder",
    "quantisation",
    "runtime",
    "sampler",
    "tools",
    "predicted_memory",
)
_NEEDED_KEYS = {
    "target": ("name", "arch"),
    "base_model": ("source", "digest", "license"),
    "adapter": ("digest",),
}


def _known_features(features: tuple[Any, ...]) -> None:
    for feature in features:
        if not isinstance(feature, str) or feature not in KNOWN_FEATURES:
            raise BundleError(
                f"needs the feature {str(feature)[:60]!r}, which this edge does not know",
                where=MANIFEST_NAME,
                mend="update edge on this device",
            )
    if list(features) != sorted(set(features)):
        raise BundleError("required features are not in order", where=MANIFEST_NAME, mend=MEND)


def _check_decoder(decoder: Mapping[str, Any]) -> None:
    try:
        agrees = DecoderConfig.from_json(decoder).to_json() == decoder
    except (TypeError, ValueError):
        agrees = False
    if not agrees:
        raise BundleError(
            "'decoder' has a key that this edge does not know, or lacks one",
            where=MANIFEST_NAME,
            mend="update edge",
        )


def behaviour_digest(manifest: Manifest) -> str:
    """Hex sha256 over all that changes what the clinician reads.

    Weights, tokenizer, chat template, prompts, grammars (the files below model/, tokenizer/ and tasks/), the
    decoder's settings, sampler, quantisation and the runtime with its version. Not in it: names, target,
    SBOM, card, golden cases, tool versions.
    """
    value = {
        "schema_version": SCHEMA_VERSION,
        "files": [[e.path, e.sha256] for e in manifest.files if e.path.startswith(BEHAVIOUR_FOLDERS)],
        "decoder": manifest.decoder,
        "quantisation": manifest.quantisation,
        "runtime": manifest.runtime,
        "sampler": manifest.sampler,
    }
    return hashlib.sha256(canonical_json(value)).hexdigest()
