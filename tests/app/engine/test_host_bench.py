"""A benchmark from the bedside is as good as one from the command line: signed, kept, told in one line."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from bench_dummies import BUDGETS, SMALL, command, write_bundle

from edge.app.engine.host_bench import run_benchmark
from edge.app.engine.messages import Event, Progress, RunBenchmark
from edge.bench.runner import Progress as BenchProgress
from edge.bench.verify import Verification, verify
from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle, open_bundle
from edge.errors import ResourceError

pytestmark = pytest.mark.slow  # starts processes


def measure(bundle: OpenBundle, progress: BenchProgress, root: Path) -> Verification:
    return verify(bundle, key=None, workload=SMALL, engine_command=command(), root=root, progress=progress)


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, KeyStore]:
    (tmp_path / "root/proc").mkdir(parents=True)
    (tmp_path / "root/proc/meminfo").write_text("MemTotal: 262144 kB\nMemAvailable: 131072 kB\n")
    _, store = write_bundle(tmp_path)
    return tmp_path, store


def test_it_is_signed_into_the_bundle_and_kept(machine: tuple[Path, KeyStore]) -> None:
    """The next start finds a verified build; the result and a copy of the signed outcome lie by the user's data."""
    folder, store = machine
    bundle = open_bundle(folder / "bundle", store.trust_store())
    said: list[Event] = []
    done = run_benchmark(
        bundle, RunBenchmark("b"), said.append, folder / "results", root=folder / "root", store=store, measure=measure
    )
    assert done.passed
    assert done.words == "passed"
    progress = [event.done for event in said if isinstance(event, Progress)]
    assert progress[-1] == 100
    assert progress == sorted(progress)
    (attested,) = open_bundle(folder / "bundle", store.trust_store()).attestations
    assert attested.passed
    assert hashlib.sha256(Path(done.path).read_bytes()).hexdigest() == attested.result_sha256
    assert len(list((folder / "results" / "attestations").iterdir())) == 1


def test_a_failed_budget_is_told(tmp_path: Path) -> None:
    """Which budget does not hold, in one line."""
    (tmp_path / "root/proc").mkdir(parents=True)
    (tmp_path / "root/proc/meminfo").write_text("MemTotal: 262144 kB\nMemAvailable: 131072 kB\n")
    _, store = write_bundle(tmp_path, budgets=BUDGETS | {"decode_tokens_per_s_min": 1e9})
    bundle = open_bundle(tmp_path / "bundle", store.trust_store())
    done = run_benchmark(
        bundle, RunBenchmark("b"), lambda _event: None, None, root=tmp_path / "root", store=store, measure=measure
    )
    assert not done.passed
    assert "decode_tokens_per_s_min" in done.words
    assert Path(done.path).is_file()


def test_a_bundle_that_cannot_be_written_keeps_its_state(machine: tuple[Path, KeyStore]) -> None:
    """The result is still kept; without a folder for it there is nothing to keep and that is an error."""
    folder, store = machine
    bundle = open_bundle(folder / "bundle", store.trust_store())
    (folder / "bundle" / "attestations").write_text("in the way", encoding="utf-8")
    request, root = RunBenchmark("b"), folder / "root"

    def ignore(_event: Event) -> None:
        pass

    done = run_benchmark(bundle, request, ignore, folder / "results", root=root, store=store, measure=measure)
    assert done.passed
    assert "cannot be written" in done.words
    with pytest.raises(ResourceError):
        run_benchmark(bundle, request, ignore, None, root=root, store=store, measure=measure)
