"""The generation loop: what is read, when it stops, and what it says about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InputError
from edge.runtime.generate import Finished, PrefillStep, Step, TokenStep, generate
from edge.runtime.sampling import Sampler, SamplerSettings
from tests.runtime.scripted import ScriptedEngine
from tests.tiny import engine, export, tiny_ids, tiny_source

STOP = frozenset({49})


def run(
    model: ScriptedEngine,
    prompt: Sequence[int] = (1, 2, 3),
    *,
    limit: int = 10,
    cancelled: Callable[[], bool] = lambda: False,
    chunk: int = 256,
    settings: SamplerSettings | None = None,
) -> list[Step]:
    sampler = Sampler(settings or SamplerSettings())
    return list(
        generate(model, prompt, sampler, stop_ids=STOP, max_new_tokens=limit, cancelled=cancelled, chunk_tokens=chunk)
    )


def tokens(steps: Sequence[Step]) -> list[int]:
    return [step.token_id for step in steps if isinstance(step, TokenStep)]


def last(steps: Sequence[Step]) -> Finished:
    assert sum(isinstance(step, Finished) for step in steps) == 1
    end = steps[-1]
    assert isinstance(end, Finished)
    return end


def test_writes_what_follows() -> None:
    """Each token must be chosen from the logits after all tokens before it."""
    model = ScriptedEngine()
    steps = run(model, limit=4)
    assert tokens(steps) == [4, 5, 6, 7]
    end = last(steps)
    assert (end.reason, end.prompt_tokens, end.new_tokens) == ("length", 3, 4)
    # The last token is not computed on: a step that nobody asked for would cost a tenth of a second.
    assert model.calls == [3, 1, 1, 1]
    assert model.ids == [1, 2, 3, 4, 5, 6]


@given(st.integers(1, 40), st.integers(1, 45))
def test_prompt_is_read_in_chunks(count: int, chunk: int) -> None:
    """Progress and cancelling work by chunk; the last chunk's logits start the answer, whatever its size."""
    model = ScriptedEngine()
    prompt = list(range(count))
    steps = run(model, prompt, limit=1, chunk=chunk)
    reads = [step for step in steps if isinstance(step, PrefillStep)]
    assert [step.done_tokens for step in reads] == [*range(chunk, count, chunk), count]
    assert {step.total_tokens for step in reads} == {count}
    assert max(model.calls) <= chunk
    assert tokens(steps) == [count]


def test_stop_token_ends_the_answer_and_is_not_shown() -> None:
    """The end-of-turn mark must not stand at the end of a note."""
    steps = run(ScriptedEngine(), [45, 46], limit=20)
    assert tokens(steps) == [47, 48]
    assert (last(steps).reason, last(steps).new_tokens) == ("stop", 2)
    steps = run(ScriptedEngine(), [48])
    assert tokens(steps) == []
    assert (last(steps).reason, last(steps).new_tokens) == ("stop", 0)
    assert last(steps).ttft_ms is not None
    assert last(steps).decode_tokens_per_s is None


@given(after=st.integers(0, 12), count=st.integers(1, 20), chunk=st.integers(1, 8))
def test_cancel_takes_one_step(after: int, count: int, chunk: int) -> None:
    """A stop key that is answered seconds later is pressed again."""
    model = ScriptedEngine(context=200)
    done = 0

    def cancelled() -> bool:
        return done >= after

    steps = []
    for step in generate(
        model,
        list(range(count)),
        Sampler(SamplerSettings()),
        stop_ids=frozenset(),
        max_new_tokens=30,
        cancelled=cancelled,
        chunk_tokens=chunk,
    ):
        steps.append(step)
        done += 1
    assert last(steps).reason == "cancelled"
    assert len(steps) - 1 == after
    assert len(model.calls) <= after
    assert last(steps).new_tokens == len(tokens(steps))


def test_a_cancelled_engine_can_go_on() -> None:
    """After a stop the conversation continues from what was read."""
    model = ScriptedEngine()
    run(model, [1, 2, 3], cancelled=lambda: model.length >= 5)
    assert model.ids == [1, 2, 3, 4, 5]
    assert tokens(run(model, [9], limit=2)) == [10, 11]


def test_a_full_context_is_said() -> None:
    """An answer that breaks off because the cache is full must not look finished."""
    model = ScriptedEngine(context=8)
    steps = run(model, [1, 2, 3], limit=100)
    assert last(steps).reason == "context"
    assert tokens(steps) == [4, 5, 6, 7, 8, 9]
    assert model.length == 8


@pytest.mark.parametrize("read", [0, 5])
def test_a_prompt_without_room_is_refused_before_computing(read: int) -> None:
    """Reading 20,000 tokens takes minutes: the refusal must come before them, and leave the cache alone."""
    model = ScriptedEngine(context=16)
    model.ids = [7] * read
    with pytest.raises(InputError, match=f"16 tokens long, the model can read {15 - read} here"):
        run(model, [1] * 16)
    assert model.calls == []
    with pytest.raises(InputError):
        run(model, [1] * (16 - read))
    steps = run(model, [1] * (15 - read), limit=100)
    assert last(steps).reason == "context"
    assert len(tokens(steps)) == 2


@pytest.mark.parametrize(("prompt", "limit", "words"), [([], 5, "empty"), ([1], 0, "tokens is 0"), ([1], -3, "-3")])
def test_nothing_to_read_or_to_write_is_refused(prompt: list[int], limit: int, words: str) -> None:
    """`--max-new-tokens 0` that writes a token all the same is a surprise; an empty prompt has no next token."""
    model = ScriptedEngine()
    with pytest.raises(InputError, match=words):
        run(model, prompt, limit=limit)
    assert model.calls == []


def test_times_are_those_of_the_clock() -> None:
    """TTFT and speed are shown to the user and gated by budgets."""
    now = 0.0

    def clock() -> float:
        return now

    class Slow(ScriptedEngine):
        def forward(self, token_ids: Sequence[int], wanted: Sequence[int]) -> np.ndarray:
            nonlocal now
            now += 0.1 if len(token_ids) == 1 else 2.0
            return super().forward(token_ids, wanted)

    steps = list(
        generate(
            Slow(),
            list(range(30)),
            Sampler(SamplerSettings()),
            stop_ids=frozenset(),
            max_new_tokens=6,
            clock=clock,
            chunk_tokens=15,
        )
    )
    times = [step.elapsed_ms for step in steps if isinstance(step, TokenStep)]
    assert times == pytest.approx([4000 + 100 * index for index in range(6)])
    end = last(steps)
    assert end.ttft_ms == pytest.approx(4000)
    assert end.elapsed_ms == pytest.approx(4500)
    assert end.decode_tokens_per_s == pytest.approx(10.0)


def test_penalty_looks_at_the_answer_not_at_the_prompt() -> None:
    """A transcript full of 'pain' must not make the note avoid the word."""
    model = ScriptedEngine(rule=lambda _: 7)
    heavy = SamplerSettings(repetition_penalty=5.0)
    assert tokens(run(model, [7] * 10, limit=1, settings=heavy)) == [7]


def test_an_error_inside_a_step_comes_out() -> None:
    """Memory may run out in the middle: the caller must see it, not an answer that just ends."""

    def rule(ids: list[int]) -> int:
        if len(ids) > 5:
            raise MemoryError
        return 1

    seen = []
    with pytest.raises(MemoryError):
        for step in generate(
            ScriptedEngine(rule), [1, 2], Sampler(SamplerSettings()), stop_ids=STOP, max_new_tokens=20
        ):
            seen.append(step)
    assert len(tokens(seen)) == 4


def test_with_a_real_engine_chunks_do_not_change_the_answer(tmp_path: Path) -> None:
    """The same prompt in other chunks must give the same note."""
    model = engine(export(tmp_path / "m", tiny_source()))
    answers = set()
    for chunk in (1, 3, 7, 64):
        model.rewind(0)
        sampler = Sampler(SamplerSettings())
        steps = generate(model, tiny_ids(20), sampler, stop_ids=frozenset(), max_new_tokens=100, chunk_tokens=chunk)
        answers.add(tuple(tokens(list(steps))))
    assert len(answers) == 1
    assert len(answers.pop()) == 64 - 20 + 1
