"""Drafts, jump-forward and exact steps: faster, with the same tokens; and what is said about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.build.quantise import QuantFormat
from edge.runtime.constraint import Constraint, GrammarConstraint, GrammarTokenizer, lark_grammar, regex_grammar
from edge.runtime.drafts import PromptLookup, StepCosts
from edge.runtime.generate import Finished, PrefillStep, Step, TokenStep, generate
from edge.runtime.onnx_engine import OnnxEngine
from edge.runtime.sampling import Sampler, SamplerSettings
from edge.runtime.text import ChatTokenizer
from tests.runtime.scripted import VOCAB, ExactScripted, ScriptedEngine
from tests.tiny import CONTEXT_TOKENS, engine, export, tiny_ids, tiny_source, write_tokenizer

STOP = frozenset({49})
INT8 = QuantFormat(8, 32, True)
INT4 = QuantFormat(4, 32, False)


class Eager(StepCosts):
    """Every guess pays, so that as many as possible are tried."""

    def of(self, rows: int) -> float:
        return 1.0


class Script:
    """Implements Constraint: at given places of the answer only some tokens are allowed; one alone is forced."""

    def __init__(self, allowed: Sequence[frozenset[int]], stops: frozenset[int] = STOP) -> None:
        self._allowed, self._stops = allowed, stops
        self.tokens: list[int] = []

    def _now(self) -> frozenset[int]:
        return self._allowed[len(self.tokens)] if len(self.tokens) < len(self._allowed) else frozenset()

    @property
    def may_stop(self) -> bool:
        return self.finished or not self._stops.isdisjoint(self._now())

    @property
    def finished(self) -> bool:
        return len(self.tokens) >= len(self._allowed)

    def allowed(self) -> np.ndarray:
        mask = np.zeros(VOCAB, dtype=np.bool_)
        mask[list(self._now())] = True
        return mask

    def allows(self, token: int) -> bool:
        return token in self._now()

    def forced(self) -> Sequence[int]:
        forced: list[int] = []
        for place in range(len(self.tokens), len(self._allowed)):
            if len(self._allowed[place]) != 1 or not self._stops.isdisjoint(self._allowed[place]):
                break
            forced += self._allowed[place]
        return forced

    def commit(self, token: int) -> None:
        if token in self._stops or not self.allows(token):
            raise ValueError("not allowed")
        self.tokens.append(token)

    def rollback(self, tokens: int) -> None:
        del self.tokens[len(self.tokens) - tokens :]


def run(model: ScriptedEngine | OnnxEngine, prompt: Sequence[int], **options: object) -> list[Step]:
    values = {"stop_ids": STOP, "max_new_tokens": 30} | options
    sampler = Sampler(values.pop("sampler", SamplerSettings()))  # type: ignore[arg-type]
    return list(generate(model, prompt, sampler, **values))  # type: ignore[arg-type]


def tokens(steps: Sequence[Step]) -> list[int]:
    return [step.token_id for step in steps if isinstance(step, TokenStep)]


def last(steps: Sequence[Step]) -> Finished:
    end = steps[-1]
    assert isinstance(end, Finished)
    return end


def outcome(steps: Sequence[Step]) -> tuple[list[int], str, int]:
    return tokens(steps), last(steps).reason, last(steps).new_tokens


@st.composite
def scripts(draw: st.DrawFn) -> Callable[[list[int]], int]:
    """A model that knows the last two tokens only: it soon repeats itself, with surprises."""
    seed, few = draw(st.integers(0, 10**6)), draw(st.integers(2, 12))
    table = np.random.default_rng(seed).integers(0, few, (VOCAB, VOCAB))
    stop = draw(st.integers(1, 80))
    return lambda ids: 49 if len(ids) > stop else int(table[ids[-1], ids[-2] if len(ids) > 1 else 0])


ALLOWED = st.lists(st.frozensets(st.integers(0, 11), min_size=1, max_size=5), min_size=1, max_size=30)


@given(
    rule=scripts(),
    prompt=st.lists(st.integers(0, 11), min_size=1, max_size=25),
    allowed=st.none() | ALLOWED,
    limit=st.integers(1, 40),
    context=st.integers(26, 70),
    chunk=st.integers(1, 9),
    penalty=st.sampled_from([1.0, 1.3, 5.0]),
    sizes=st.tuples(st.integers(1, 2), st.integers(2, 3), st.integers(1, 9)),
)
@settings(deadline=None, max_examples=120)
def test_drafts_and_jumps_change_no_token(
    rule: Callable[[list[int]], int],
    prompt: list[int],
    allowed: list[frozenset[int]] | None,
    limit: int,
    context: int,
    chunk: int,
    penalty: float,
    sizes: tuple[int, int, int],
) -> None:
    """The law. A note that depends on a speed setting could not be tested or signed for."""
    outcomes, lengths = [], set()
    for jump in (False, True):
        for drafted in (False, True):
            model = ExactScripted(rule, context)
            steps = run(
                model,
                prompt,
                max_new_tokens=limit,
                chunk_tokens=chunk,
                sampler=SamplerSettings(repetition_penalty=penalty),
                constraint=None if allowed is None else Script(allowed),
                drafter=PromptLookup(sizes[1], sizes[0], sizes[2], costs=Eager()) if drafted else None,
                jump_forward=jump,
            )
            outcomes.append(outcome(steps))
            written = tokens(steps)
            # What the engine holds is a beginning of what was read and written, with nothing unread but at the end.
            assert model.ids == [*prompt, *written][: model.length]
            end = last(steps)
            assert end.accepted_tokens == sum(step.origin == "draft" for step in steps if isinstance(step, TokenStep))
            assert end.drafted_tokens >= end.accepted_tokens
            if not jump:
                lengths.add(model.length)
            if not (jump or drafted):
                assert set(model.calls[-(-len(prompt) // chunk) :]) <= {1}
    assert all(one == outcomes[0] for one in outcomes)
    assert len(lengths) == 1


def test_a_repeated_phrase_is_read_in_few_steps() -> None:
    """What drafts are for; and the numbers that a log shows."""
    phrase = list(range(10, 30))
    model = ExactScripted(lambda ids: ids[-1] + 1, context=200)
    steps = run(model, [*phrase, 1, 8, 9, 10, 11], max_new_tokens=16, drafter=PromptLookup(costs=Eager()))
    assert tokens(steps) == list(range(12, 28))
    end = last(steps)
    assert end.drafted_tokens == end.accepted_tokens
    assert len(model.calls) - 1 == end.steps < 5
    assert "right" in end.drafting
    plain = last(run(ExactScripted(lambda ids: ids[-1] + 1, context=200), [1, 2], max_new_tokens=16))
    assert (plain.steps, plain.drafted_tokens, plain.forced_tokens, plain.drafting) == (15, 0, 0, "")


def test_a_drafter_hears_of_steps_only() -> None:
    """The prompt is no step: taken for one it would make all guesses look free, or dear."""

    class Listening(PromptLookup):
        heard: list[tuple[int, int, int]]

        def took(self, rows: int, drafted: int, accepted: int, took_ms: float) -> None:
            self.heard.append((rows, drafted, accepted))

    drafter = Listening(costs=Eager(), draft_tokens=3)
    drafter.heard = []
    model = ExactScripted(lambda ids: ids[-1] + 1 if ids[-1] != 13 else 30)
    run(model, [*range(10, 20), 1, 9, 10, 11], max_new_tokens=5, drafter=drafter)
    assert drafter.heard == [(4, 3, 1), (1, 0, 0)]


def test_forced_tokens_are_read_at_once() -> None:
    """Jump-forward: the twelve tokens of a heading cost one step."""
    only = [frozenset({index}) for index in range(10, 22)]
    free = frozenset(range(VOCAB)) - STOP
    allowed = [free, *only, free, free]
    model = ExactScripted()
    steps = run(model, [1, 2, 3], constraint=Script(allowed))
    assert tokens(steps) == [4, *range(10, 22), 22, 23]
    assert last(steps).forced_tokens == 12
    assert model.calls == [3, 13, 1]
    # In chunks, so that a stop key is not kept waiting.
    model = ExactScripted()
    run(model, [1, 2, 3], constraint=Script(allowed), chunk_tokens=5)
    assert model.calls == [3, 5, 5, 3, 1]


def test_forced_at_the_start_and_to_the_end() -> None:
    """An answer that is wholly forced asks the model nothing."""
    model = ExactScripted()
    steps = run(model, [1, 2], constraint=Script([frozenset({7}), frozenset({8})]))
    assert (tokens(steps), last(steps).reason) == ([7, 8], "stop")
    assert model.calls == [2]


def test_a_dead_end_is_said() -> None:
    """Constraints that leave nothing must not end as if the answer were whole, and never with a wrong token."""
    free = frozenset(range(VOCAB)) - STOP
    steps = run(ExactScripted(), [1, 2], constraint=Script([free, frozenset(), free]))
    assert (tokens(steps), last(steps).reason) == ([3], "constraint")


def test_stops_only_where_the_constraint_may() -> None:
    """A model that wants to end in the middle of a record must go on."""
    letters = frozenset(range(20))
    model = ExactScripted(lambda ids: 49)
    steps = run(model, [1], constraint=Script([letters, letters, letters | STOP, letters]))
    assert (tokens(steps), last(steps).reason) == ([0, 0], "stop")


def test_an_engine_that_is_not_exact_gets_no_drafts() -> None:
    """Where rounding depends on how many tokens are read at once, drafts would change the note."""
    drafter = PromptLookup(costs=Eager())
    model = ScriptedEngine(lambda ids: 5)
    end = last(run(model, [5] * 9, max_new_tokens=12, drafter=drafter))
    assert (end.drafted_tokens, set(model.calls[1:])) == (0, {1})
    assert "no drafts" in end.drafting
    end = last(
        run(ScriptedEngine(lambda ids: 5), [5] * 9, max_new_tokens=12, drafter=PromptLookup(costs=Eager()), exact=False)
    )
    assert end.accepted_tokens > 5


def test_no_drafts_where_tokens_are_drawn() -> None:
    """A drawn token is not the likeliest; guesses would be checked against another one."""
    sampler = SamplerSettings(temperature=0.7)
    end = last(run(ExactScripted(lambda ids: 5), [5] * 9, sampler=sampler, drafter=PromptLookup(costs=Eager())))
    assert end.drafted_tokens == 0
    assert "temperature" in end.drafting


@given(after=st.integers(0, 14), drafted=st.booleans())
@settings(deadline=None)
def test_cancel_takes_one_step_with_drafts_too(after: int, drafted: bool) -> None:
    """After a stop nothing more is shown, and the engine holds nothing that was not shown."""
    model = ExactScripted(lambda ids: 10 + (len(ids) % 3))
    steps: list[Step] = []
    prompt = [10, 11, 12] * 4
    for step in generate(
        model,
        prompt,
        Sampler(SamplerSettings()),
        stop_ids=STOP,
        max_new_tokens=20,
        cancelled=lambda: len(steps) >= after,
        drafter=PromptLookup(costs=Eager()) if drafted else None,
        constraint=Script([frozenset({10 + index % 3}) if index % 5 else frozenset(range(48)) for index in range(18)]),
    ):
        steps.append(step)
    assert len(steps) - 1 == after
    assert last(steps).reason == "cancelled"
    assert model.ids == [*prompt, *tokens(steps)][: model.length] or not after
    assert model.length <= len(prompt) + len(tokens(steps))


# ---- real engines ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["float", "int4", "int8", "mixed-accuracy-4"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnnxEngine]:
    formats = {"float": (None, None, 0), "int4": (INT4, INT4, 0), "int8": (INT8, INT8, 4)}
    body, head, level = formats.get(request.param, (INT4, INT8, 4))
    folder = export(tmp_path_factory.mktemp("m"), tiny_source(seed=3), body, head=head, accuracy_level=level)
    loaded = engine(folder)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def grammar_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> GrammarTokenizer:
    return GrammarTokenizer(ChatTokenizer(write_tokenizer(tmp_path_factory.mktemp("t"))), 320)


@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 40),
    repeat=st.integers(1, 3),
    limit=st.integers(1, 60),
    chunk=st.integers(1, 20),
    penalty=st.sampled_from([1.0, 1.2]),
    grammar=st.sampled_from([None, r"(patient|pain|the user [a-z]{1,6}|[0-9]{2} mg\n)+", r"(a{1,3}b{1,3} is in )+"]),
)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_law_with_real_engines(
    real: OnnxEngine,
    grammar_tokenizer: GrammarTokenizer,
    seed: int,
    count: int,
    repeat: int,
    limit: int,
    chunk: int,
    penalty: float,
    grammar: str | None,
) -> None:
    """The same with real kernels, whose sums depend on how many rows they see unless the engine takes care."""
    prompt = (tiny_ids(count, seed=seed) * repeat)[: CONTEXT_TOKENS - 1]
    outcomes = []
    for jump, drafted, cut in ((False, False, 64), (False, True, chunk), (True, False, 64), (True, True, chunk)):
        real.rewind(0)
        constraint: Constraint | None = None
        if grammar:
            constraint = GrammarConstraint(grammar_tokenizer, regex_grammar(grammar))
        steps = run(
            real,
            prompt,
            stop_ids=frozenset({2}),
            max_new_tokens=limit,
            chunk_tokens=cut,
            sampler=SamplerSettings(repetition_penalty=penalty),
            constraint=constraint,
            drafter=PromptLookup(3, 1, 6, costs=Eager()) if drafted else None,
            jump_forward=jump,
        )
        outcomes.append(outcome(steps))
    assert all(one == outcomes[0] for one in outcomes)


@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(1, 9), min_size=1, max_size=40))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exact_steps_agree_bit_for_bit(real: OnnxEngine, seed: int, cuts: list[int]) -> None:
    """Equal tokens could be luck; equal bits are not. Also at the last place of the context."""
    ids = tiny_ids(CONTEXT_TOKENS, seed=seed)
    real.rewind(0)
    whole = real.forward_exact(ids, range(CONTEXT_TOKENS))
    state = real.save_prefix(CONTEXT_TOKENS)
    real.rewind(0)
    for cut in [*cuts, *[1] * CONTEXT_TOKENS]:
        at = real.length
        part = ids[at : at + cut]
        if not part:
            break
        rows = real.forward_exact(part, range(len(part)))
        assert rows.shape == (len(part), 320)
        assert np.array_equal(rows, whole[at : at + len(part)])
        assert real.length == at + len(part)
        assert list(real.held_ids) == ids[: real.length]
    assert real.length == CONTEXT_TOKENS
    assert np.array_equal(real.save_prefix(CONTEXT_TOKENS), state)


def test_one_row_is_computed_otherwise(tmp_path: Path) -> None:
    """Why exact steps exist. When this fails, the kernels have changed: look whether the dummy row is still needed."""
    model = engine(export(tmp_path / "m", tiny_source(), INT8, head=INT8, accuracy_level=4))
    ids = tiny_ids(40)
    exact = model.forward_exact(ids, range(40))
    model.rewind(30)
    assert not np.array_equal(model.forward(ids[30:31], (0,)), exact[30:31])


def test_steps_tell_where_tokens_came_from(real: OnnxEngine, grammar_tokenizer: GrammarTokenizer) -> None:
    """The stream that a user sees is the same; only the origin differs."""
    real.rewind(0)
    constraint = GrammarConstraint(grammar_tokenizer, lark_grammar('start: "pain: " ("user" | "on") "\\n"'))
    steps = run(real, tiny_ids(9), stop_ids=frozenset({2}), constraint=constraint)
    assert isinstance(steps[0], PrefillStep)
    origins = [step.origin for step in steps if isinstance(step, TokenStep)]
    assert origins[0] == "forced"
    assert "model" in origins
    assert last(steps).reason == "stop"
    assert last(steps).forced_tokens == origins.count("forced")
