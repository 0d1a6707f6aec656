"""The measurements on a scripted engine with a scripted clock: what is timed and what is not."""

from pathlib import Path
from typing import Any

import pytest
from bench_dummies import SMALL
from scripted_worker import ScriptedEngine, next_token

from edge.bench.measure import Speeds, Steps, count_steps, fitting, prefill, prompt_ids
from edge.bench.workload import BUILT_IN
from edge.errors import InputError


class Run:
    """An engine whose clock advances by 10 ms in each pass."""

    def __init__(self, context: int = 256) -> None:
        self.engine = ScriptedEngine(Path("m"), threads=1, context_tokens=context)
        self.events: list[dict[str, Any]] = []
        self.steps = Steps(self.events.append, 99)

    def clock(self) -> float:
        return len(self.engine.passes) * 0.010

    def speeds(self, workload: Any = SMALL) -> Speeds:
        return Speeds(
            self.engine,
            workload,
            chunk_tokens=16,
            emit=self.events.append,
            steps=self.steps,
            clock=self.clock,
            wall=self.clock,
        )

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]


def test_prompts_are_the_same_everywhere() -> None:
    """If it fails, two machines measure different prompts."""
    assert prompt_ids(20240, 49152, 5) == prompt_ids(20240, 49152, 9)[:5]
    assert prompt_ids(20240, 49152, 5) == [31328, 14423, 32521, 37541, 13704]
    assert max(prompt_ids(1, 97, 500)) < 97


def test_prefill_is_chunked_like_the_generation_loop() -> None:
    """If it fails, a prompt is measured in one pass that no task makes."""
    run = Run()
    logits = prefill(run.engine, list(range(40)), 16)
    assert run.engine.passes == [16, 16, 8]
    assert int(logits.argmax()) == next_token(range(40))
    with pytest.raises(InputError):
        prefill(run.engine, [], 16)


def test_time_to_first_token() -> None:
    """If it fails, the time of the whole prompt is not what is told."""
    run = Run()
    run.speeds().measure_prefill(48, 0)
    assert run.of("prefill") == [{"event": "prefill", "tokens": 48, "ms": pytest.approx(30.0)}]


def test_decode_times_each_step_and_not_the_prompt() -> None:
    """If it fails, prefill leaks into decode speed."""
    run = Run()
    run.speeds().measure_decode(32, 0)
    (event,) = run.of("decode")
    assert event["step_ms"] == pytest.approx([10.0] * 8)
    assert run.engine.length == 40


def test_decode_at_nothing_starts_from_one_token() -> None:
    """If it fails, decode at context 0 asks a model to predict from no token."""
    run = Run()
    run.speeds().measure_decode(0, 0)
    assert run.engine.length == 9


def test_sustained_windows_last_and_the_context_stays() -> None:
    """If it fails, windows are too short to count, or the context grows and looks like throttling."""
    run = Run()
    run.speeds().measure_sustained()
    windows = run.of("window")
    assert len(windows) == 3
    assert all(window["seconds"] >= 0.1 for window in windows)
    assert sum(window["tokens"] for window in windows) == run.of("sustained")[0]["tokens"]
    assert run.engine.length <= 128 + 64


def test_a_step_longer_than_a_window_still_ends() -> None:
    """If it fails, a slow device gives windows without a token, or none at all."""
    run = Run()
    workload = BUILT_IN["quick"]
    slow = Speeds(
        run.engine,
        workload,
        chunk_tokens=16,
        emit=run.events.append,
        steps=run.steps,
        clock=lambda: len(run.engine.passes) * 7.0,
    )
    slow.measure_sustained()
    assert [window["tokens"] for window in run.of("window")] == [1, 1]


def test_everything_announces_as_many_steps_as_it_takes() -> None:
    """If it fails, the progress bar ends early or runs past its end."""
    run = Run()
    prompts, contexts, _ = fitting(SMALL, 256)
    run.speeds().run(prompts, contexts)
    assert len(run.of("step")) == count_steps(SMALL, 256, 0) - (SMALL.load_repetitions - 1)
    assert run.engine.length == 0


@pytest.mark.parametrize("context", [64, 300, 1100, 4096])
def test_what_does_not_fit_is_left_out_aloud(context: int) -> None:
    """If it fails, a small context ends the run with an error or drops lengths without a word."""
    workload = BUILT_IN["full"]
    prompts, contexts, skipped = fitting(workload, context)
    assert all(prompt < context for prompt in prompts)
    assert len(prompts) + len(contexts) + len(skipped) == 7
    run = Run(min(context, 256))
    assert all(str(context) in reason for reason in skipped)
    assert run.engine.context_tokens <= context
