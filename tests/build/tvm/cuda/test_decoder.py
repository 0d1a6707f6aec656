"""The GPU's decoder, run as loops on this CPU, against the CPU's own: same weights, same text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tvm", reason="apache-tvm (extra mlc) is not installed", exc_type=ImportError)

from tests.cuda_toy import BYTES_ISAS, OnCpu, grid_folder
from tests.tvm_toy import WHOLE, Array, Toy, toy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BYTES_ISAS, reason="this CPU has no byte products, whose tiles the GPU's kernels read"),
]
TOKENS, CONTEXT_TOKENS = 75, 150  # more than one run of 64 keys, and a cache that is not full


@dataclass(frozen=True)
class Pair:
    """One tiny model for the CPU, and as loops with threads in both orders."""

    cpu: Toy
    forwards: Path
    backwards: Path


_pairs: dict[str, Pair] = {}


@pytest.fixture(params=["llama", "qwen2-bias", "qwen3-qk-norm"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    name = request.param
    if name not in _pairs:
        isa = BYTES_ISAS[0]
        made = toy(tmp_path_factory.mktemp, isa, WHOLE[name], context_tokens=CONTEXT_TOKENS)
        root = tmp_path_factory.mktemp("grid")
        folders = [grid_folder(made, isa, root / form, form) for form in ("forwards", "backwards")]
        _pairs[name] = Pair(made, *folders)
    return _pairs[name]


def ids_of(pair: Pair) -> Array:
    vocab = pair.cpu.shape.config.vocab_size
    return np.random.default_rng(5).integers(0, vocab, (1, TOKENS))


def test_greedy_text_is_the_cpus(pair: Pair) -> None:
    """Fails when an index or a formula of a GPU kernel is wrong: the model would write something else."""
    ids = ids_of(pair)
    ours, cpu = OnCpu(pair.forwards), pair.cpu.engine()
    got, wanted = ours.forward(ids, range(TOKENS)), cpu.forward(ids, range(TOKENS))
    # Sums in another order can move a rounding to 8 bits by one step: a hundredth of the widest logit, not more.
    assert np.abs(got - wanted).max() < 0.02 * np.abs(wanted).max()
    texts: list[list[int]] = []
    for engine, logits in ((ours, got), (cpu, wanted)):
        token, text = int(logits[-1].argmax()), []
        for _ in range(12):
            text.append(token)
            token = int(engine.forward(np.array([[token]]), [0])[0].argmax())
        texts.append(text)
    assert texts[0] == texts[1]


def test_threads_of_a_phase_have_no_order(pair: Pair) -> None:
    """Fails when a thread reads what another one writes in the same phase: on a GPU that is a race."""
    ids = ids_of(pair)
    forwards, backwards = (OnCpu(folder).forward(ids, range(TOKENS)) for folder in (pair.forwards, pair.backwards))
    assert np.array_equal(forwards, backwards)


def test_the_cut_of_a_text_changes_no_bit(pair: Pair) -> None:
    """Fails when a token's sums depend on how many are computed at once: drafts would not be verified exactly."""
    ids = ids_of(pair)
    whole = OnCpu(pair.forwards).forward(ids, range(TOKENS))
    engine = OnCpu(pair.forwards)
    parts = [engine.forward(ids[:, at : at + 5], range(5)) for at in range(0, TOKENS, 5)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_prefixes_travel(pair: Pair) -> None:
    """Fails when a saved prefix is not the cache: a note would continue from another text."""
    ids = ids_of(pair)
    engine = OnCpu(pair.forwards)
    engine.forward(ids[:, :40], [])
    state = engine.save_prefix(33)
    cpu = pair.cpu.engine()
    cpu.forward(ids[:, :40], [])
    assert state.shape == cpu.prefix_shape(33)
    assert np.abs(state - cpu.save_prefix(33)).max() < 0.02 * np.abs(state).max()
    wanted = OnCpu(pair.forwards)
    wanted.forward(ids[:, :33], [])
    other = OnCpu(pair.forwards)
    other.load_prefix(ids[:, :33], state)
    assert np.array_equal(other.forward(ids[:, 33:40], range(7)), wanted.forward(ids[:, 33:40], range(7)))
    assert other.length == 40
    other.close()
    other.close()
