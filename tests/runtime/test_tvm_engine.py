"""The TVM engine's contract: the same bits however a text is cut, prefixes, rewind, overflow."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import InputError, ResourceError
from edge.runtime.engine import ExactEngine, PrefixEngine
from edge.runtime.held import lazy_zeros
from edge.runtime.tvm_engine import TvmEngine, aligned
from tests.tiny import BASE, CONTEXT_TOKENS, tiny_ids
from tests.tvm_toy import CHUNKS, HOST_ISAS, Toy, child, toy

IDS = tiny_ids(CONTEXT_TOKENS)
LAW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=HOST_ISAS, ids=lambda isa: isa.name)
def every(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TvmEngine]:
    """An engine for each set of kernels that this host runs; the best with all its programs."""
    chunks = CHUNKS if request.param == HOST_ISAS[0] else (1, 8)
    loaded = toy(tmp_path_factory.mktemp, request.param, chunks=chunks).engine()
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """The tiny decoder for the best kernels of this host."""
    return toy(tmp_path_factory.mktemp, HOST_ISAS[0])


@pytest.fixture(scope="module")
def shared(made: Toy) -> Iterator[TvmEngine]:
    loaded = made.engine()
    yield loaded
    loaded.close()


@pytest.fixture
def loaded(shared: TvmEngine) -> TvmEngine:
    shared.rewind(0)
    return shared


# ---- the same bits -------------------------------------------------------------------------------------------------


@LAW
@given(st.sets(st.integers(1, 39), max_size=12))
def test_any_cut_gives_the_same_bits(every: TvmEngine, cuts: set[int]) -> None:
    """Prefill, drafts and single tokens are different programs; a greedy text must not know which of them read it."""
    every.rewind(0)
    whole = every.forward(IDS[:40], range(40))
    state = every.save_prefix(40)
    every.rewind(0)
    parts = [every.forward(IDS[a:b], range(b - a)) for a, b in pairwise([0, *sorted(cuts), 40])]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert every.save_prefix(40).tobytes() == state.tobytes()


@LAW
@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 30)), min_size=1, max_size=8))
def test_any_order_of_append_and_rewind(loaded: TvmEngine, steps: list[tuple[int, int]]) -> None:
    """Drafts and prefix reuse rewind at will: what was dropped must leave no trace in what comes after."""
    loaded.rewind(0)
    wanted = loaded.forward(IDS[:30], range(30))
    junk = tiny_ids(31, seed=9)
    loaded.rewind(0)
    for count, back in steps:
        at = loaded.length
        count = min(count, 30 - at)
        if count:
            found = loaded.forward_exact(IDS[at : at + count], range(count))
            assert found.tobytes() == wanted[at : at + count].tobytes()
        here = loaded.length
        loaded.forward(junk[: back + 1], (back,))
        loaded.rewind(max(0, here - back))


def test_threads_do_not_show(made: Toy) -> None:
    """A tablet with four cores and a board with two must write the same note."""
    code = (
        "import sys, hashlib\nfrom pathlib import Path\nfrom edge.runtime.tvm_engine import TvmEngine\n"
        "e = TvmEngine(Path(sys.argv[1]), threads=int(sys.argv[2]))\n"
        "print(hashlib.sha256(e.forward(list(range(40)), range(40)).tobytes()).hexdigest())"
    )
    one, two = (child(code, str(made.folder), threads) for threads in ("1", "2"))
    assert one == two


# ---- the contract --------------------------------------------------------------------------------------------------


def test_says_what_it_is(loaded: TvmEngine) -> None:
    """The loop asks for capacity and vocabulary; a saved prefix is bound to version, kernels and machine."""
    assert (loaded.vocab_size, loaded.context_tokens, loaded.length) == (320, CONTEXT_TOKENS, 0)
    assert loaded.state_version == f"tvm test {HOST_ISAS[0].name} {platform.machine()}"
    assert isinstance(loaded, ExactEngine)
    assert isinstance(loaded, PrefixEngine)


def test_wanted_rows(loaded: TvmEngine) -> None:
    """Prefill asks for one row, verification for all, a chunk in between for none; in any order, twice too."""
    whole = loaded.forward(IDS[:30], range(30))
    for wanted in ((29,), (0,), (3, 17), (17, 3), (5, 5), (), (29, 0, 11, 12, 8), tuple(range(29, -1, -1))):
        loaded.rewind(0)
        rows = loaded.forward(IDS[:30], wanted)
        assert rows.shape == (len(wanted), 320)
        assert rows.tobytes() == whole[list(wanted)].tobytes()
    for wanted in ((30,), (-1,), (0, 31)):
        with pytest.raises(ValueError, match="wanted rows"):
            loaded.forward(IDS[:5], wanted)


def test_logits_are_the_callers(loaded: TvmEngine) -> None:
    """A caller that keeps yesterday's logits must keep yesterday's."""
    first = loaded.forward(IDS[:3], (2,))
    kept = first.copy()
    loaded.forward(IDS[3:9], (5,))
    assert np.array_equal(first, kept)
    first[:] = 0.0
    loaded.rewind(0)
    assert np.array_equal(loaded.forward(IDS[:3], (2,)), kept)


def test_overflow_is_said_and_changes_nothing(loaded: TvmEngine) -> None:
    """Past the capacity lies other memory; and a refused call must leave the conversation usable."""
    loaded.forward(IDS[:30], (0,))
    with pytest.raises(InputError, match=f"70 tokens do not fit into the context of {CONTEXT_TOKENS}"):
        loaded.forward(tiny_ids(40), (0,))
    assert loaded.length == 30
    after = loaded.forward(IDS[30:32], (1,))
    loaded.rewind(0)
    assert loaded.forward(IDS[:32], (31,)).tobytes() == after.tobytes()


def test_the_last_place_of_the_context_can_be_used(loaded: TvmEngine) -> None:
    """One off here loses a token of context or writes past the cache."""
    whole = loaded.forward(IDS, (CONTEXT_TOKENS - 1,))
    assert loaded.length == loaded.context_tokens
    loaded.rewind(CONTEXT_TOKENS - 1)
    assert loaded.forward(IDS[-1:], (0,)).tobytes() == whole.tobytes()
    with pytest.raises(InputError):
        loaded.forward((1,), (0,))


@pytest.mark.parametrize("bad", [-1, 320, 10**6, 2**40])
def test_a_token_outside_the_vocabulary_is_refused(loaded: TvmEngine, bad: int) -> None:
    """The embedding is read at an address made of the token: other memory becomes the prompt."""
    loaded.forward(IDS[:4], (0,))
    with pytest.raises(InputError, match="not one of the model's 320"):
        loaded.forward([1, bad, 2], (2,))
    assert loaded.length == 4


def test_nothing_to_read_and_no_way_forward(loaded: TvmEngine) -> None:
    """An empty call has no last row; a length beyond what was read would make stale rows part of the text."""
    with pytest.raises(InputError, match="no tokens"):
        loaded.forward([], ())
    loaded.forward(IDS[:5], (0,))
    for length in (6, -1):
        with pytest.raises(ValueError, match="cannot rewind"):
            loaded.rewind(length)
    assert loaded.length == 5


@pytest.mark.parametrize("length", [1, 15, 16, 17, 33])
def test_a_prefix_comes_back(made: Toy, loaded: TvmEngine, length: int) -> None:
    """The instructions before every note are read once: what is put back must be what was read, bit for bit."""
    loaded.forward(IDS[:length], ())
    state = loaded.save_prefix(length)
    assert state.shape == loaded.prefix_shape(length) == (2 * BASE.layers, BASE.kv_heads, length, BASE.head_dim)
    assert list(loaded.held_ids) == IDS[:length]
    wanted = loaded.forward(IDS[length : length + 9], range(9))
    other = made.engine()
    other.forward(tiny_ids(50, seed=7), ())
    other.load_prefix(IDS[:length], state)
    assert other.length == length
    assert list(other.held_ids) == IDS[:length]
    assert other.save_prefix(length).tobytes() == state.tobytes()
    assert other.forward(IDS[length : length + 9], range(9)).tobytes() == wanted.tobytes()
    assert other.save_prefix(length - 1).tobytes() == np.ascontiguousarray(state[:, :, : length - 1]).tobytes()
    other.close()


def test_a_prefix_that_does_not_fit_is_refused(loaded: TvmEngine) -> None:
    """Half a state would be continued with what lay in the cache before."""
    loaded.forward(IDS[:8], ())
    state = loaded.save_prefix(8)
    for ids, value in ((IDS[:7], state), (IDS[:8], state[1:]), (IDS[:8], state[:, :, :, 1:])):
        with pytest.raises(ValueError, match="is not one of"):
            loaded.load_prefix(ids, value)
    for length in (9, -1):
        with pytest.raises(ValueError, match="cannot save"):
            loaded.save_prefix(length)
    with pytest.raises(InputError):
        loaded.load_prefix([320] * 8, state)
    assert loaded.length == 8


def test_context_is_what_was_asked_for_but_never_more_than_built(made: Toy) -> None:
    """Beyond the rotary tables positions are garbage."""
    for asked, given_tokens in ((None, CONTEXT_TOKENS), (16, 16), (10**6, CONTEXT_TOKENS)):
        built = made.engine(context_tokens=asked)
        assert built.context_tokens == given_tokens
        built.close()


def test_two_engines_do_not_share_a_cache(made: Toy) -> None:
    """A second session must not write into the first one's conversation."""
    first, second = made.engine(), made.engine()
    wanted = first.forward(IDS[:30], (29,))
    first.rewind(0)
    first.forward(IDS[:10], (0,))
    second.forward(tiny_ids(25, seed=4), (0,))
    assert first.forward(IDS[10:30], (19,)).tobytes() == wanted.tobytes()
    first.close()
    assert second.forward(IDS[:1], (0,)).shape == (1, 320)
    second.close()


def test_close_twice(made: Toy) -> None:
    """Error paths close in a `finally` what may be closed already; a closed engine says so instead of crashing."""
    built = made.engine()
    built.close()
    built.close()
    with pytest.raises(ResourceError, match="the engine failed"):
        built.forward([1], (0,))


def test_memory_for_the_kernels() -> None:
    """An array that begins elsewhere than at a multiple of 64 bytes is a crash; a cache too large, one line."""
    for size in (1, 3, 1000):
        array = aligned((size, 5), np.float32)
        assert array.ctypes.data % 64 == 0
        assert array.shape == (size, 5)
    with pytest.raises(ResourceError, match="the KV cache: not enough free memory"):
        lazy_zeros((1 << 60,))


# ---- a process of its own ------------------------------------------------------------------------------------------


def test_a_device_needs_no_compiler_and_little_memory(made: Toy) -> None:
    """The compiler is 150 MB; a board has the runtime library of 3 MB and must stay below 60 MB before weights."""
    code = (
        "import sys\nfrom pathlib import Path\nimport numpy\nfrom edge.runtime import tvm_engine\n"
        "folder = Path(sys.argv[1])\n"
        "tvm_engine.load_runtime(folder)\n"
        "rss = [int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmRSS')][0]\n"
        "engine = tvm_engine.TvmEngine(folder, threads=1)\n"
        "rows = engine.forward([1, 2, 3], (2,))\n"
        "engine.close()\n"
        "heavy = {'tvm', 'onnxruntime', 'onnx_ir', 'torch', 'gguf'} & set(sys.modules)\n"
        "print(rss * 1024, rows.shape, sorted(heavy))"
    )
    size, rest = child(code, str(made.folder)).split(" ", 1)
    assert rest.strip() == "(1, 320) []"
    assert int(size) < 60e6
