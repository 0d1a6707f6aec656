"""The engine of the second route, on a toy graph whose every answer depends on the whole past."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.build.optimum_graph import load_graph, save_model
from edge.errors import BundleError, ExitStatus, InputError
from edge.runtime.optimum_engine import OptimumEngine
from tests.optimum_toy import HEADS, HIDDEN, POSITIONS, VOCAB, toy_logits, write_toy

IDS = [int(index) for index in np.random.default_rng(2).integers(0, VOCAB, POSITIONS)]
EXPECTED = toy_logits(IDS)


def built(folder: Path, properties: dict[str, str] | None = None, **options: bool | str) -> Path:
    """A model folder of the toy."""
    model = load_graph(write_toy(folder / "raw", **options))
    (folder / "model").mkdir()
    save_model(model, folder / "model", {"max_positions": str(POSITIONS)} if properties is None else properties)
    return folder / "model"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> OptimumEngine:
    return OptimumEngine(built(tmp_path_factory.mktemp("toy")), threads=1)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 6)), max_size=8),
    st.integers(1, POSITIONS),
)
def test_any_order_of_chunks_and_rewinds(engine: OptimumEngine, moves: list[tuple[int, int]], last: int) -> None:
    """However the text is cut and rewound, the answer is that of reading it once; else drafts would change it."""
    engine.rewind(0)
    for size, back in moves:
        size = min(size, POSITIONS - engine.length)
        if size:
            start = engine.length
            logits = engine.forward(IDS[start : start + size], (size - 1,))
            np.testing.assert_allclose(logits[0], EXPECTED[start + size - 1], rtol=0, atol=1e-4)
        engine.rewind(max(0, engine.length - back))
    engine.rewind(min(engine.length, last - 1))
    start = engine.length
    logits = engine.forward(IDS[start:last], range(last - start))
    np.testing.assert_allclose(logits, EXPECTED[start:last], rtol=0, atol=1e-4)
    assert engine.length == last


def test_facts(engine: OptimumEngine) -> None:
    """What the bundle's plan and manifest are made from."""
    assert (engine.vocab_size, engine.layers, engine.cache_shape) == (VOCAB, 1, (HEADS, HIDDEN // HEADS))
    assert engine.context_tokens == POSITIONS


def test_only_wanted_rows(engine: OptimumEngine) -> None:
    """Rows come in the order asked for, none for none."""
    engine.rewind(0)
    np.testing.assert_allclose(engine.forward(IDS[:5], (4, 0)), EXPECTED[[4, 0]], rtol=0, atol=1e-4)
    assert engine.forward(IDS[5:6], ()).shape == (0, VOCAB)


def test_overflow_leaves_the_cache(engine: OptimumEngine) -> None:
    """More than the model has positions is one line, and the conversation can go on; past them GPT-2 reads garbage."""
    engine.rewind(0)
    engine.forward(IDS[:38], (37,))
    with pytest.raises(InputError, match="41 tokens do not fit into the context of 40"):
        engine.forward([1, 2, 3], (2,))
    assert engine.length == 38
    np.testing.assert_allclose(engine.forward(IDS[38:39], (0,))[0], EXPECTED[38], rtol=0, atol=1e-4)


@pytest.mark.parametrize("ids", [[], [VOCAB], [-1]])
def test_impossible_tokens(engine: OptimumEngine, ids: list[int]) -> None:
    """No tokens, or tokens of another vocabulary, are refused before anything is computed."""
    before = engine.length
    with pytest.raises(InputError):
        engine.forward(ids, ())
    assert engine.length == before


def test_wrong_calls(engine: OptimumEngine) -> None:
    """A caller's mistake is an error, not a wrong row."""
    engine.rewind(0)
    with pytest.raises(ValueError, match="wanted"):
        engine.forward(IDS[:2], (2,))
    with pytest.raises(ValueError, match="rewind"):
        engine.rewind(1)


def test_without_positions(tmp_path: Path) -> None:
    """A family that has no position input is fed none; no positions known means the asked context."""
    engine = OptimumEngine(built(tmp_path, {}, positions=False), threads=1, context_tokens=7)
    assert engine.context_tokens == 7
    assert engine.forward(IDS[:7], (6,)).shape == (1, VOCAB)
    engine.close()
    engine.close()


def test_context_is_at_most_the_models(tmp_path: Path) -> None:
    """A profile that asks for more context than the model has positions gets what there is."""
    engine = OptimumEngine(built(tmp_path), threads=1, context_tokens=4096)
    assert engine.context_tokens == POSITIONS
    engine.close()


@pytest.mark.parametrize("damage", ["truncated graph", "no weights", "unknown input"])
def test_broken_model(tmp_path: Path, damage: str) -> None:
    """A model that cannot be run is one line with the bundle's exit code."""
    folder = built(tmp_path, extra_input="token_type_ids" if damage == "unknown input" else "")
    if damage == "truncated graph":
        path = folder / "model.onnx"
        path.write_bytes(path.read_bytes()[:100])
    if damage == "no weights":
        (folder / "model.weights").unlink()
    with pytest.raises(BundleError) as caught:
        OptimumEngine(folder, threads=1)
    assert caught.value.status is ExitStatus.BUNDLE
    assert len(str(caught.value).splitlines()) == 1
    if damage == "unknown input":
        assert "'token_type_ids' is not known" in str(caught.value)
