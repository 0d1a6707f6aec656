"""The bundle's software bill of materials (CycloneDX 1.6 JSON): model, adapter, tokenizer, runtime libraries.

Deterministic: no time, no serial number, nothing of this host but the versions of the installed libraries. The
libraries are those of the device side, found by following edge-kit's requirements as a Linux device would.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.bundle.canonical import canonical_json
from edge.errors import MissingToolError

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

DISTRIBUTION = "edge-kit"
# How wheels that carry no License-Expression say what SPDX calls otherwise. Ambiguous words ("BSD License") stay.
SPDX_OF = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
UNKNOWN_LICENSE = "unknown"


@dataclass(frozen=True)
class Library:
    """A runtime library. license: SPDX where the library says so, else its own words."""

    name: str
    version: str
    license: str


def installed_library(name: str) -> Library:
    """A library as installed here. Errors: MissingToolError when it is not."""
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingToolError(
            f"'{name}' is not installed, so its version cannot be stated", mend="install edge-kit with its requirements"
        ) from error
    return Library(_normal(metadata["Name"]), metadata["Version"], _license(metadata))


def runtime_libraries(arch: str = "x86_64", distribution: str = DISTRIBUTION) -> tuple[Library, ...]:
    """edge-kit and all it needs on a Linux device of `arch`, by name, in the versions installed here.

    Markers are read for that device, not for this host. Errors: MissingToolError names a missing library.
    """
    try:
        from packaging.requirements import Requirement
    except ImportError as error:
        raise _no_build_extra("packaging") from error
    environment = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": arch,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": "3.11.0",
        "python_version": "3.11",
        "sys_platform": "linux",
        "extra": "",
    }
    found: dict[str, Library] = {}
    pending = [distribution]
    while pending:
        name = _normal(pending.pop())
        if name in found:
            continue
        found[name] = installed_library(name)
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                pending.append(requirement.name)
    return tuple(found[name] for name in sorted(found))


def build_sbom(
    *,
    name: str,
    base_model: Mapping[str, Any],
    adapter: Mapping[str, Any] | None,
    tokenizer_files: Mapping[str, str],
    libraries: Iterable[Library],
) -> bytes:
    """The content of sbom.cdx.json, canonical JSON.

    name: of the bundle. base_model: {source, digest, license, name?}; adapter: {digest, license?, name?,
    merged?, file?} or None, digests as hex sha256. tokenizer_files: {path: hex sha256}.
    Errors: MissingToolError without the build extra.
    """
    try:
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.output import make_outputter
        from cyclonedx.schema import OutputFormat, SchemaVersion
        from packageurl import PackageURL
    except ImportError as error:
        raise _no_build_extra("cyclonedx-python-lib") from error
    root = Component(name=name, type=ComponentType.APPLICATION, bom_ref=f"bundle:{name}")
    parts = [_model("base-model", base_model)]
    if adapter is not None:
        parts.append(_model("adapter", adapter))
    parts.append(_tokenizer(tokenizer_files))
    for library in libraries:
        purl = PackageURL("pypi", None, library.name, library.version)
        part = Component(
            name=library.name,
            type=ComponentType.LIBRARY,
            version=library.version,
            bom_ref=purl.to_string(),
            purl=purl,
        )
        part.licenses.add(_cyclonedx_license(library.license))
        parts.append(part)
    bom = Bom(components=parts)
    bom.metadata.component = root
    bom.register_dependency(root, parts)
    value = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
    # The library puts in a random number and the time of day; both are optional in the standard.
    value.pop("serialNumber", None)
    value["metadata"].pop("timestamp", None)
    return canonical_json(value, "sbom.cdx.json")


def _no_build_extra(name: str) -> MissingToolError:
    return MissingToolError(f"'{name}' is not installed", mend="install edge-kit[build]")


def _model(ref: str, facts: Mapping[str, Any]) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    model = Component(
        name=str(facts.get("name") or facts.get("source") or ref),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=ref,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=str(facts["digest"]))],
    )
    model.licenses.add(_cyclonedx_license(str(facts.get("license") or UNKNOWN_LICENSE)))
    if facts.get("source"):
        model.properties.add(Property(name="edge:source", value=str(facts["source"])))
    if not facts.get("merged", True):
        model.properties.add(Property(name="edge:merged", value="false"))
        model.properties.add(Property(name="edge:file", value=str(facts["file"])))
    return model


def _tokenizer(files: Mapping[str, str]) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name="tokenizer",
        type=ComponentType.DATA,
        bom_ref="tokenizer",
        components=[
            Component(
                name=path,
                type=ComponentType.FILE,
                bom_ref=f"file:{path}",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
            )
            for path, digest in sorted(files.items())
        ],
    )


def _cyclonedx_license(text: str) -> Any:
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
    from cyclonedx.spdx import is_supported_id

    if is_supported_id(text):
        return DisjunctiveLicense(id=text)
    if any(word in text.split() for word in ("AND", "OR", "WITH")):
        return LicenseExpression(value=text)
    return DisjunctiveLicense(name=text)


def _normal(name: str) -> str:
    """A distribution's name as the package index compares it."""
    return name.lower().replace("_", "-").replace(".", "-")


def _license(metadata: Any) -> str:
    """What a distribution says of its licence: SPDX expression, short text, or classifier."""
    if expression := metadata.get("License-Expression"):
        return str(expression)
    text = str(metadata.get("License") or "").strip()
    if not text or "\n" in text or len(text) > 60:
        classifiers = [str(line) for line in metadata.get_all("Classifier") or ()]
        licenses = sorted(line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: "))
        text = " / ".join(licenses) or UNKNOWN_LICENSE
    return SPDX_OF.get(text, text)
