"""A bundle in words: what `edge inspect` prints.

Plain text without colours; the same bundle gives the same text.
"""

from __future__ import annotations

from typing import Any

from edge.bundle.attestation import Attestation
from edge.bundle.open import OpenBundle
from edge.bundle.signing import grouped


def format_bytes(size_bytes: int) -> str:
    """`size_bytes` in the largest fitting of B, KiB, MiB, GiB."""
    value, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{size_bytes} B" if unit == "B" else f"{value:.1f} {unit}"


def summary(bundle: OpenBundle, *, files: bool = False) -> str:
    """The bundle as lines of text, newline at the end. files: list every file with size and digest too."""
    manifest = bundle.manifest
    total = sum(entry.size_bytes for entry in manifest.files)
    base, quantisation = manifest.base_model, manifest.quantisation
    checked = "checked" if bundle.files_checked else "NOT checked"
    adapter = _adapter(manifest.adapter) if manifest.adapter else "none"
    rows = [
        ("bundle", manifest.name),
        ("bundle digest", bundle.bundle_digest),
        ("behaviour digest", bundle.behaviour_digest),
        ("signed by", f"{bundle.signer_name} ({grouped(bundle.signer_fingerprint)})"),
        ("target", f"{manifest.target['name']} ({manifest.target['arch']})"),
        ("base model", f"{base['source']} ({base['digest'][:16]}, licence {base['license']})"),
        ("adapter", adapter),
        ("quantisation", _pairs(quantisation) or "none"),
        ("runtime", _pairs(manifest.runtime)),
        ("sampler", _pairs(manifest.sampler)),
        ("predicted memory", _sizes(manifest.predicted_memory) or "not stated"),
        ("needs", ", ".join(manifest.required_features) or "nothing beyond schema 1"),
        (
            "files",
            f"{len(manifest.files)}, {format_bytes(total)}, {checked}",
        ),
    ]
    rows += [(f"  {folder}", text) for folder, text in _folders(bundle)]
    rows += _attestation_rows(bundle)
    width = max(len(label) for label, _ in rows) + 2
    lines = [f"{label:<{width}}{value}" for label, value in rows]
    if files:
        lines += [f"{e.sha256}  {e.size_bytes:>12}  {e.path}" for e in manifest.files]
    return "\n".join(lines) + "\n"


def summary_json(bundle: OpenBundle) -> dict[str, Any]:
    """The same for programs: plain JSON types."""
    return {
        "bundle_digest": bundle.bundle_digest,
        "behaviour_digest": bundle.behaviour_digest,
        "signer": {"name": bundle.signer_name, "fingerprint": bundle.signer_fingerprint},
        "files_checked": bundle.files_checked,
        "manifest": bundle.manifest.to_json(),
        "attestations": [item.to_json() for item in bundle.attestations],
        "untrusted_attestations": list(bundle.untrusted_attestations),
    }


def _adapter(facts: dict[str, Any]) -> str:
    """The digest's first digits, and what an unmerged adapter says of itself."""
    digest = str(facts["digest"])[:16]
    if facts.get("merged", True):
        return digest
    size = facts.get("file_bytes", 0)
    return f"{digest}, unmerged, rank {facts.get('rank')}, {facts.get('file')} ({format_bytes(size)})"


def _pairs(value: dict[str, Any]) -> str:
    """Keys with their values in words; a mapping inside stands in brackets."""

    def word(item: Any) -> str:
        return f"({_pairs(item)})" if isinstance(item, dict) else "none" if item is None else str(item)

    return ", ".join(f"{key} {word(item)}" for key, item in value.items())


def _sizes(value: dict[str, Any]) -> str:
    parts = []
    for key, item in value.items():
        is_size = isinstance(item, int) and not isinstance(item, bool)
        if is_size:
            parts.append(f"{key.removesuffix('_bytes')} {format_bytes(item)}")
    return ", ".join(parts)


def _folders(bundle: OpenBundle) -> list[tuple[str, str]]:
    sizes: dict[str, list[int]] = {}
    for entry in bundle.manifest.files:
        top, slash, _ = entry.path.partition("/")
        sizes.setdefault(top + slash, []).append(entry.size_bytes)
    return [(name, f"{len(each)}, {format_bytes(sum(each))}") for name, each in sorted(sizes.items())]


def _attestation_rows(bundle: OpenBundle) -> list[tuple[str, str]]:
    classes = sorted({item.device_class for item in bundle.attestations})
    rows = [(f"verified on {name}", _verdict(item)) for name in classes if (item := bundle.attestation_for(name))]
    if not rows:
        rows = [("verified", "on no device that is trusted here (run `edge verify`)")]
    if bundle.untrusted_attestations:
        rows.append(("not counted", f"{len(bundle.untrusted_attestations)} attestations by keys not trusted here"))
    return rows


def _verdict(item: Attestation) -> str:
    when = item.measured_at if item.measured_at else f"at an unknown time ({item.clock_reason})"
    failed = [check.name for check in item.checks if check.passed is False]
    why = f": {', '.join(failed)}" if failed else ""
    return f"{item.verdict} {when}, run {item.sequence}, {len(item.checks)} checks{why}"
