"""The ONNX engine's contract: append, rewind, wanted rows, overflow; and what it says when a model is broken."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.build.quantise import QuantFormat
from edge.errors import BundleError, InputError, ResourceError
from edge.runtime.engine import default_threads
from edge.runtime.held import lazy_zeros
from edge.runtime.onnx_engine import OnnxEngine, runtime_versions
from tests.tiny import CONFIGS, CONTEXT_TOKENS, engine, export, tiny_ids, tiny_source

INT8 = QuantFormat(8, 32, True)
IDS = tiny_ids(30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("model"), tiny_source(), INT8, head=INT8)


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[OnnxEngine]:
    loaded = engine(folder)
    yield loaded
    loaded.close()


@pytest.fixture
def loaded(shared: OnnxEngine) -> OnnxEngine:
    shared.rewind(0)
    return shared


def test_says_what_it_is(loaded: OnnxEngine) -> None:
    """The generation loop asks for capacity and vocabulary before it computes anything."""
    assert (loaded.vocab_size, loaded.context_tokens, loaded.length) == (320, CONTEXT_TOKENS, 0)
    versions = runtime_versions()
    assert versions["engine"] == "onnxruntime"
    assert set(versions) == {"engine", "onnxruntime", "numpy"}


@pytest.mark.parametrize("name", CONFIGS)
def test_chunked_reading_is_reading_at_once(tmp_path: Path, name: str) -> None:
    """Prefill goes in chunks and decode in single tokens: the cache must not care, in any family."""
    source = tiny_source(CONFIGS[name])
    ids = tiny_ids(30, source.config)
    built = engine(export(tmp_path / "m", source, INT8, head=INT8))
    whole = built.forward(ids, range(30))
    built.rewind(0)
    parts = [built.forward(ids[:1], (0,)), built.forward(ids[1:4], range(3)), built.forward(ids[4:], range(26))]
    assert np.concatenate(parts) == pytest.approx(whole, abs=1e-4)
    built.rewind(0)
    assert np.concatenate([built.forward((token,), (0,)) for token in ids]) == pytest.approx(whole, abs=1e-4)
    built.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 30)), min_size=1, max_size=8))
def test_any_order_of_append_and_rewind(loaded: OnnxEngine, steps: list[tuple[int, int]]) -> None:
    """Drafts and prefix reuse rewind at will: what was dropped must leave no trace in what comes after."""
    loaded.rewind(0)
    wanted = loaded.forward(IDS, range(30))
    # Length after the rewinds below is at most 30, so 31 more tokens always fit.
    junk = tiny_ids(31, seed=9)
    loaded.rewind(0)
    for count, back in steps:
        at = loaded.length
        count = min(count, 30 - at)
        if count:
            assert loaded.forward(IDS[at : at + count], range(count)) == pytest.approx(
                wanted[at : at + count], abs=1e-4
            )
        here = loaded.length
        loaded.forward(junk[: back + 1], (back,))
        loaded.rewind(max(0, here - back))


def test_wanted_rows(loaded: OnnxEngine) -> None:
    """Prefill asks for one row, verification for all, a chunk in between for none."""
    whole = loaded.forward(IDS, range(30))
    for wanted in ((29,), (0,), (3, 17), (17, 3), (5, 5), ()):
        loaded.rewind(0)
        rows = loaded.forward(IDS, wanted)
        assert rows.shape == (len(wanted), 320)
        assert rows == pytest.approx(whole[list(wanted)], abs=1e-5)
    for wanted in ((30,), (-1,), (0, 31)):
        with pytest.raises(ValueError, match="wanted rows"):
            loaded.forward(IDS[:5], wanted)


def test_logits_are_the_callers(loaded: OnnxEngine) -> None:
    """One buffer serves all steps inside: a caller that keeps yesterday's logits must keep yesterday's."""
    first = loaded.forward(IDS[:3], (2,))
    kept = first.copy()
    loaded.forward(IDS[3:9], (5,))
    assert np.array_equal(first, kept)
    first[:] = 0.0
    loaded.rewind(0)
    assert np.array_equal(loaded.forward(IDS[:3], (2,)), kept)


def test_overflow_is_said_and_changes_nothing(loaded: OnnxEngine) -> None:
    """Past the capacity lies other memory; and a refused call must leave the conversation usable."""
    loaded.forward(IDS, (0,))
    with pytest.raises(InputError, match=f"70 tokens do not fit into the context of {CONTEXT_TOKENS}"):
        loaded.forward(tiny_ids(40), (0,))
    assert loaded.length == 30
    after = loaded.forward(IDS[:2], (1,))
    loaded.rewind(0)
    loaded.forward(IDS, (0,))
    assert loaded.forward(IDS[:2], (1,)) == pytest.approx(after, abs=1e-5)


def test_the_last_place_of_the_context_can_be_used(loaded: OnnxEngine) -> None:
    """One off here loses a token of context or writes past the buffer."""
    ids = tiny_ids(CONTEXT_TOKENS)
    whole = loaded.forward(ids, (CONTEXT_TOKENS - 1,))
    assert loaded.length == loaded.context_tokens
    loaded.rewind(CONTEXT_TOKENS - 1)
    assert loaded.forward(ids[-1:], (0,)) == pytest.approx(whole, abs=1e-4)
    with pytest.raises(InputError):
        loaded.forward((1,), (0,))


@pytest.mark.parametrize("bad", [-1, 320, 10**6, 2**40])
def test_a_token_outside_the_vocabulary_is_refused(loaded: OnnxEngine, bad: int) -> None:
    """A quantised embedding is read past its end without any error: other memory becomes the prompt."""
    loaded.forward(IDS[:4], (0,))
    with pytest.raises(InputError, match="not one of the model's 320") as caught:
        loaded.forward([1, bad, 2], (2,))
    assert str(bad) not in str(caught.value).replace("320", "")
    assert loaded.length == 4


def test_nothing_to_read_is_refused(loaded: OnnxEngine) -> None:
    """An empty call would run the kernels on zero rows."""
    with pytest.raises(InputError, match="no tokens"):
        loaded.forward([], ())


def test_rewind_cannot_go_forward(loaded: OnnxEngine) -> None:
    """A length beyond what was read would make stale cache rows part of the text."""
    loaded.forward(IDS[:5], (0,))
    for length in (6, -1):
        with pytest.raises(ValueError, match="cannot rewind"):
            loaded.rewind(length)
    assert loaded.length == 5


def test_context_is_what_was_asked_for_but_never_more_than_built(folder: Path) -> None:
    """Beyond the rotary table the positions are garbage."""
    for asked, given_tokens in ((None, CONTEXT_TOKENS), (16, 16), (10**6, CONTEXT_TOKENS)):
        built = engine(folder, context_tokens=asked)
        assert built.context_tokens == given_tokens
        built.close()


def test_two_engines_do_not_share_a_cache(folder: Path) -> None:
    """A second session must not write into the first one's conversation."""
    first, second = engine(folder), engine(folder)
    wanted = first.forward(IDS, (29,))
    first.rewind(0)
    first.forward(IDS[:10], (0,))
    second.forward(tiny_ids(25, seed=4), (0,))
    assert first.forward(IDS[10:], (19,)) == pytest.approx(wanted, abs=1e-4)
    first.close()
    assert second.forward(IDS[:1], (0,)).shape == (1, 320)
    second.close()


def test_close_twice(folder: Path) -> None:
    """Error paths close in a `finally` what may be closed already."""
    built = engine(folder)
    built.close()
    built.close()


@pytest.mark.parametrize("damage", ["graph", "weights", "no graph", "no weights", "empty graph", "other graph"])
def test_a_broken_model_is_one_line(
    folder: Path, tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A clinician sees one line, not onnxruntime's own log in colours beside it."""
    broken = tmp_path / "model"
    shutil.copytree(folder, broken)
    graph, weights = broken / "model.onnx", broken / "model.weights"
    if damage == "graph":
        graph.write_bytes(graph.read_bytes()[:200])
    elif damage == "weights":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif damage == "other graph":
        graph.write_bytes(b"not a graph at all")
    elif damage == "empty graph":
        graph.write_bytes(b"")
    else:
        (graph if damage == "no graph" else weights).unlink()
    with pytest.raises(BundleError) as caught:
        engine(broken)
    assert len(str(caught.value).splitlines()) == 1
    assert "build or install the bundle again" in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_an_unused_cache_costs_no_memory() -> None:
    """The context is planned for the longest visit; a short one must not pay for it (huge pages would)."""
    process = psutil.Process()
    before = process.memory_info().rss
    cache = lazy_zeros((1, 8, 1 << 16, 64))
    assert not cache[0, :, 0, 0].any()
    cache[0, :, 0] = 1.0  # the first token of every head
    assert process.memory_info().rss - before < 4 << 20
    assert cache.nbytes == 128 << 20


def test_no_memory_for_the_cache_is_one_line() -> None:
    """A context that the device cannot hold must be said before anything is read."""
    with pytest.raises(ResourceError, match=r"the KV cache: not enough free memory"):
        lazy_zeros((1, 1 << 20, 1 << 24, 64))


def test_threads_left_free() -> None:
    """A touch screen beside the model must keep a core from four cores on."""
    assert [default_threads(cores) for cores in (1, 2, 3, 4, 8)] == [1, 2, 3, 3, 7]
    assert default_threads() >= 1
