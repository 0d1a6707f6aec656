"""The bundle's model card: what this model is, what it is for, and what nobody knows of it.

Deterministic, so it holds no measured numbers: those of this build are made on a device and are in the signed
attestations. What is said here follows from the profile and the sources alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge.specs.decoder import DecoderConfig

INTENDED_USE = "Decision support; the clinician decides."

NOT_FOR = (
    "Use without a clinician who reads, corrects and answers for every word.",
    "Diagnosis, treatment or triage by the output alone, emergencies, or patients using it on their own.",
    "Any language, specialty or kind of document that your own evaluation does not cover.",
)

NOT_KNOWN = (
    "How well it works on your patients: no clinical study of this build exists.",
    "How it differs between groups of patients (age, sex, ethnicity, accent, language): not measured.",
    "How often it leaves out or invents findings in your setting: measure it on cases of your own.",
    "What the base model was trained on beyond what its makers say, and whether it repeats training text.",
    "Speed, memory and fidelity on a device that has no attestation in this bundle: run `edge verify` there.",
)


def model_card(
    *,
    name: str,
    description: str,
    base_model: Mapping[str, Any],
    adapter: Mapping[str, Any] | None,
    decoder: DecoderConfig,
    quantisation: Mapping[str, Any],
    target: Mapping[str, Any],
    context_tokens: int,
    tasks: Sequence[str],
    budgets: Mapping[str, Any],
) -> bytes:
    """The content of model_card.md, UTF-8.

    base_model: {source, digest, license}; adapter: {digest, license?} or None, of an unmerged one {merged: false, rank,
    file, file_bytes} too; target: the resolved target; budgets: the profile's, None where there is no limit.
    """
    merged = adapter is None or adapter.get("merged", True)
    adapter_rows = (
        [
            (f"Adapter (LoRA, {'merged' if merged else 'unmerged'})", f"`{adapter['digest']}`"),
            *([] if merged else [("Adapter file", _adapter_file(adapter))]),
            ("Adapter licence", adapter.get("license") or "not stated"),
        ]
        if adapter
        else [("Adapter", "none")]
    )
    facts = [
        ("Base model", base_model["source"]),
        ("Base model digest", f"`{base_model['digest']}`"),
        ("Base model licence", base_model["license"]),
        *adapter_rows,
        ("Architecture", _architecture(decoder)),
        ("Quantisation", _pairs(quantisation) or "none"),
        ("Context", f"{context_tokens} tokens"),
        ("Target", f"{target['name']} ({target['arch']})"),
        ("Tasks", ", ".join(tasks) or "none stated"),
    ]
    limits = [(key, limit) for key, limit in _flat(budgets) if limit is not None]
    lines = [
        f"# Model card: {_text(name)}",
        "",
        _text(description),
        "",
        "## Intended use",
        f"**{INTENDED_USE}** The output is a draft for a clinician to read, correct and sign.",
        "",
        "Not for:",
        *(f"- {line}" for line in NOT_FOR),
        "",
        "## What it is",
        *_table(("", ""), facts),
        "",
        "## What it must hold",
        *(_table(("budget", "limit"), limits) if limits else ["The profile sets no budgets."]),
        "",
        "`edge verify` checks these on a device and signs the result into `attestations/`; without a passing one for",
        "your class of device, nothing here is proven there.",
        "",
        "## What is not known",
        *(f"- {line}" for line in NOT_KNOWN),
        "",
    ]
    return "\n".join(lines).encode("utf-8")


def _adapter_file(adapter: Mapping[str, Any]) -> str:
    size = f"{adapter['file_bytes'] / 1e6:.1f} MB"
    return f"`{adapter['file']}`, rank {adapter['rank']}, {size}; the weights beside it are the base's own"


def _architecture(decoder: DecoderConfig) -> str:
    experts = f", {decoder.experts} experts ({decoder.experts_per_token} active)" if decoder.experts else ""
    return (
        f"{decoder.family}, {decoder.layers} layers, hidden {decoder.hidden_size}, "
        f"vocabulary {decoder.vocab_size}{experts}"
    )


def _text(value: object) -> str:
    """One line, safe inside a table."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _table(head: tuple[str, str], rows: Sequence[tuple[str, Any]]) -> list[str]:
    body = [f"| {_text(label)} | {_text(value)} |" for label, value in rows]
    return [f"| {head[0]} | {head[1]} |", "|---|---|", *body]


def _pairs(value: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {item}" for key, item in sorted(_flat(value)) if item is not None)


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested keys joined by dots, by name."""
    rows: list[tuple[str, Any]] = []
    for key in sorted(value):
        item = value[key]
        rows += _flat(item, f"{prefix}{key}.") if isinstance(item, Mapping) else [(f"{prefix}{key}", item)]
    return rows
