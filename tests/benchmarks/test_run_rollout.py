"""The rollout benchmark, small: what it promises must hold on every run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.rollout_fleet import HEALTHY, MIX, Build
from benchmarks.run_rollout import FIRST, cannot_pass, passes_by_luck, simulate
from edge.fleet.store.store import Store, open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One database for all seeds."""
    found = open_store(f"sqlite:///{tmp_path_factory.mktemp('fleet') / 'fleet.db'}")
    yield found
    found.close()


@pytest.mark.parametrize("percent", [30, 50, 100])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_bad_build_never_passes_its_first_ring(store: Store, percent: int, seed: int) -> None:
    """The next ring opens over a build that fails on more devices than the plan lets through."""
    build = Build(f"bad {percent} %", golden_fails=percent / 100)
    run = simulate(store, build, 100 * percent + seed, MIX, only_first=True, count=200)
    if run.first_failing >= cannot_pass(FIRST):
        assert not run.first_open and run.phase == "stopped" and run.told <= FIRST
    if percent == 100:
        assert run.first_failing == FIRST


def test_a_slow_build_is_stopped_and_set_back(store: Store) -> None:
    """A build over its speed budget stays on the devices that got it."""
    run = simulate(store, Build("slow", slow=True), 3, MIX, only_first=False, count=200)
    assert (run.phase, run.reason, run.still) == ("stopped", "failures", 0)
    assert run.told <= FIRST


@pytest.mark.slow
def test_a_good_build_reaches_the_fleet(store: Store) -> None:
    """Offline, hot and lying devices hold up a build that works."""
    run = simulate(store, Build("good"), 4, MIX, only_first=False, count=200)
    assert (run.phase, run.ring_reached, run.told) == ("done", 4, 200)
    assert run.still > 180


def test_luck_is_computed() -> None:
    """The benchmark compares with a wrong number."""
    assert passes_by_luck(0.1, 20) == pytest.approx(0.8670, abs=1e-4)  # P(X <= 3), X ~ B(20, 0.1)
    assert cannot_pass(20) == 6
    assert sum(HEALTHY.values()) == 1 and sum(MIX.values()) == pytest.approx(1)
