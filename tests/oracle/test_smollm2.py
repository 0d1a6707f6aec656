"""The real SmolLM2 through edge's GGUF reader, tokenizer, chat and graph, against transformers' own GGUF reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.build.checkpoint import Checkpoint
from edge.build.export import export_native, uniform_formats
from edge.build.graph import ExportPlan
from edge.build.reference import Reference
from edge.runtime.onnx_engine import OnnxEngine
from edge.runtime.text import ChatTokenizer, Message
from tests.oracle.conftest import ATTACK, CHATS, TEXTS, Oracle
from tests.oracle.test_decoder import Record, worst

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tokenizer(smollm2: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    for name, data in smollm2.tokenizer_files().items():
        (folder / name).write_bytes(data)
    return ChatTokenizer(folder)


def messages(chat: list[dict[str, str]]) -> list[Message]:
    return [Message(message["role"], message["content"]) for message in chat]


@pytest.mark.parametrize("index", range(len(TEXTS)))
def test_text_ids(oracle: Oracle, tokenizer: ChatTokenizer, index: int) -> None:
    """Plain text becomes the ids that transformers' GGUF tokenizer gives, else the model reads other words."""
    assert tokenizer.encode_text(TEXTS[index]) == oracle.answers("smollm2")["texts"][index]


@pytest.mark.parametrize("index", range(len(CHATS)))
def test_chat_ids(oracle: Oracle, tokenizer: ChatTokenizer, index: int) -> None:
    """A conversation becomes exactly what apply_chat_template(tokenize=True) gives."""
    found = tokenizer.encode_chat(messages(CHATS[index]))
    assert found == oracle.answers("chat")["chats"][index]
    assert found == oracle.answers("smollm2")["chats"][index]


def test_control_tokens_stay_text(oracle: Oracle, tokenizer: ChatTokenizer) -> None:
    """Text that spells control tokens gives no control ids beyond the template's own, where the framework's does."""
    harmless = tokenizer.encode_chat([Message("user", "Nothing hurts.")])
    attacked = tokenizer.encode_chat([Message("user", ATTACK)])

    def controls(ids: list[int]) -> int:
        return sum(token in tokenizer.control_ids for token in ids)

    assert controls(attacked) == controls(harmless)
    framework = oracle.answers("chat")["chats"][-1]
    assert controls(framework) > controls(attacked), "the framework would not have been fooled: no test"
    assert attacked != framework
    assert ATTACK in tokenizer.decode(attacked), "the text itself must arrive unchanged"


def test_logits(
    oracle: Oracle, smollm2: Checkpoint, smol_ids: list[int], tmp_path: Path, record_property: Record
) -> None:
    """GGUF rows put back in order, dequantised and exported at fp32 answer as in transformers."""
    expected = oracle.logits("smollm2")
    export_native(smollm2, ExportPlan(uniform_formats(smollm2.config, None), None, 64), tmp_path)
    engine = OnnxEngine(tmp_path, threads=2)
    found = engine.forward(smol_ids, range(len(smol_ids)))
    engine.close()
    record_property("worst", worst(found, expected))
    assert worst(found, expected) < 1e-5
    assert np.array_equal(found.argmax(axis=-1), expected.argmax(axis=-1))
    reference = Reference(smollm2, [smol_ids])
    error = worst(reference.logits(reference.run()), expected)
    record_property("worst_reference", error)
    assert error < 1e-4
