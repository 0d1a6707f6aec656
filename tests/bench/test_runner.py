"""The measuring process and its watcher: every way in which it can end is one line or a result."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bench_dummies import BUDGETS, SMALL, command, write_bundle

from edge.bench import runner
from edge.bench.result import BenchResult
from edge.bench.runner import WorkerProcess, death, run_bench
from edge.bench.worker import JOB_VERSION, Job
from edge.errors import BundleError, EdgeError, ExitStatus, ResourceError

pytestmark = pytest.mark.slow  # starts processes

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small device: 128 MiB free, so that the bandwidth is measured with small buffers."""
    (tmp_path / "root/proc").mkdir(parents=True)
    (tmp_path / "root/proc/meminfo").write_text("MemTotal: 262144 kB\nMemAvailable: 131072 kB\n")
    (tmp_path / "root/proc/loadavg").write_text("0.50 0.40 0.30 1/99 1234\n")
    zone = tmp_path / "root/sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu\n")
    (zone / "temp").write_text("48300\n")
    return tmp_path / "root"


def bench(tmp_path: Path, root: Path, fault: str = "", **changes: float) -> BenchResult:
    bundle, _ = write_bundle(tmp_path)
    return run_bench(
        bundle.path,
        bundle.manifest,
        replace(SMALL, **changes),
        engine_command=command(fault),
        root=root,
        now=lambda: NOW,
    )


def job(folder: Path) -> Job:
    return Job(JOB_VERSION, str(folder), 1, 256, 16, False, SMALL)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_whole_run(tmp_path: Path, root: Path) -> None:
    """If it fails, nothing is measured: every part of a result must be filled by a real process."""
    bundle, _ = write_bundle(tmp_path)
    seen: list[tuple[str, float]] = []
    result = run_bench(
        bundle.path,
        bundle.manifest,
        SMALL,
        engine_command=command(),
        root=root,
        now=lambda: NOW,
        progress=lambda label, fraction: seen.append((label, fraction)),
    )
    assert [row.prompt_tokens for row in result.prefill] == [16, 40, 48]  # 40: of the TTFT budget
    assert [row.context_tokens for row in result.decode] == [0, 32]
    assert len(result.decode[0].step_ms) == 16
    assert result.load.load_ms.count == 2
    assert result.load.load_ms.minimum >= 50
    assert result.memory.peak_rss_bytes >= result.memory.baseline_rss_bytes > 1 << 20
    assert result.memory.samples > 20
    assert result.sustained is not None
    assert len(result.sustained.tokens_per_s) == 3
    assert result.golden is not None
    assert result.golden.passed
    assert result.prediction is not None
    assert result.bandwidth is not None
    assert result.measured_at == "2026-11-21T10:00:00Z"
    assert result.environment.load_average_before == (0.5, 0.4, 0.3)
    assert result.environment.threads == 1
    assert result.environment.context_tokens == 256
    assert result.environment.sensors["temperature"] == "present"
    assert result.environment.sensors["energy"].startswith("no sensor")
    assert result.energy.j_per_token is None
    assert result.temperature.highest_celsius == 48.3
    assert result.bundle.bundle_digest == bundle.bundle_digest
    assert result.bundle.behaviour_digest == bundle.behaviour_digest
    assert result.bundle.model_bytes == 4096
    assert result.bundle.disk_bytes > 4096
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert BenchResult.from_json(result.to_json()) == result


def test_a_chatty_library_does_not_disturb(tmp_path: Path, root: Path) -> None:
    """If it fails, a native library that prints to standard output breaks the measurement."""
    assert bench(tmp_path, root, "chatty").golden is not None


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("killed", ResourceError, r"died \(signal 9\) during 'warm-up 1 of 1', most likely for lack of memory"),
        ("illegal", BundleError, "lacks an instruction"),
        ("memory", ResourceError, "not enough memory"),
        ("refused", ResourceError, "inference: the engine failed. run it elsewhere"),
        ("bug", EdgeError, r"stopped with code 1 during 'warm-up 1 of 1' \(RuntimeError: a bug of ours\)"),
        ("garbage", EdgeError, "something else than an event"),
    ],
)
def test_every_death_is_one_line(tmp_path: Path, root: Path, fault: str, kind: type[EdgeError], words: str) -> None:
    """If it fails, a device that runs out of memory shows a traceback, or hangs."""
    with pytest.raises(kind, match=words) as caught:
        bench(tmp_path, root, fault)
    assert "\n" not in str(caught.value)


def test_time_out(tmp_path: Path, root: Path) -> None:
    """If it fails, a hanging engine hangs `edge verify`."""
    start_s = time.monotonic()
    with pytest.raises(ResourceError, match="more than 2 s and was stopped during 'warm-up"):
        bench(tmp_path, root, "hang", timeout_s=2.0)
    assert time.monotonic() - start_s < 15


def test_broken_golden_cases_come_through(tmp_path: Path, root: Path) -> None:
    """If it fails, a damaged bundle is reported as a dead process."""
    bundle, _ = write_bundle(tmp_path, golden={"schema_version": 9})
    with pytest.raises(BundleError, match="schema version 9"):
        run_bench(bundle.path, bundle.manifest, SMALL, engine_command=command(), root=root)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """If it fails, a broken installation is a traceback."""
    with pytest.raises(ResourceError, match="cannot be started"):
        WorkerProcess([str(tmp_path / "none")], job(tmp_path))


@pytest.mark.parametrize("fault", ["hang", "deaf"])
def test_the_process_never_stays(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, Ctrl-C leaves a process that holds the model's memory, even one deaf to SIGTERM."""
    monkeypatch.setattr(runner, "STOP_S", 0.3)
    with pytest.raises(KeyboardInterrupt), WorkerProcess(command(fault), job(tmp_path)) as worker:
        for event in worker.events(30):
            if event["event"] == "loaded":
                raise KeyboardInterrupt
    assert not alive(worker.pid)


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    """If it fails, a killed `edge bench` leaves its measuring process behind."""
    with WorkerProcess(command("hang"), job(tmp_path)) as worker:
        for event in worker.events(30):
            if event["event"] == "loaded":
                break
        worker._stdin().close()  # what the kernel does when this process is killed
        deadline_s = time.monotonic() + 10
        while worker._process.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert worker._process.poll() == ExitStatus.INTERRUPTED


def test_ctrl_c_in_the_terminal_reaches_this_process_only(tmp_path: Path) -> None:
    """If it fails, Ctrl-C kills the measuring process first and shows as its death."""
    with WorkerProcess(command("hang"), job(tmp_path)) as worker:
        assert os.getsid(worker.pid) != os.getsid(0)


def test_interrupt_during_a_run_goes_up(tmp_path: Path, root: Path) -> None:
    """If it fails, Ctrl-C during a measurement ends in an error of another kind."""
    bundle, _ = write_bundle(tmp_path)
    timer = threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run_bench(bundle.path, bundle.manifest, SMALL, engine_command=command("hang"), root=root)
    timer.join()


def test_other_deaths() -> None:
    """If it fails, an unusual signal is taken for lack of memory."""
    assert "signal 11" in str(death(-11, "load", ""))
    assert "before it began" in str(death(1, "", "x"))


def test_the_real_worker_without_a_model(tmp_path: Path, root: Path) -> None:
    """If it fails, a model that does not load ends `edge verify` with something else than one line."""
    bundle, _ = write_bundle(tmp_path)
    with pytest.raises(BundleError, match="does not load"):
        run_bench(bundle.path, bundle.manifest, SMALL, root=root)


def test_threads_come_from_the_profile_or_the_call(tmp_path: Path) -> None:
    """If it fails, speeds are measured with other threads than the runtime uses."""
    bundle, _ = write_bundle(tmp_path)
    assert runner.job_for(bundle.path, bundle.manifest, SMALL, None).threads == 1
    assert runner.job_for(bundle.path, bundle.manifest, SMALL, 3).threads == 3
    free = replace(bundle.manifest, profile=bundle.manifest.profile | {"threads": None, "budgets": BUDGETS})
    assert runner.job_for(bundle.path, free, SMALL, None).threads >= 1


@pytest.mark.parametrize("line", ["", "{}\n", "[]\n", '{"version": 9}\n', "\xff\n"])
def test_a_job_that_is_none(line: str) -> None:
    """If it fails, starting the measuring process by hand ends in a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "edge.bench.worker"], input=line.encode(), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == ExitStatus.BUNDLE
    assert done.stdout.count(b"\n") == 1
    assert b"Traceback" not in done.stderr
