"""Laws of the order in which examples are seen."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.adapt.batches import PAD_TO_TOKENS, Source, TokenExample, padded, schedule

LENGTHS = st.lists(st.integers(2, 600), min_size=1, max_size=60)


def examples(lengths: list[int], first: int = 0) -> tuple[TokenExample, ...]:
    return tuple(
        TokenExample((first + number,) * (length - 1), (first + number,)) for number, length in enumerate(lengths)
    )


@settings(max_examples=60, deadline=None)
@given(LENGTHS, LENGTHS, st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.25]), st.integers(0, 99))
def test_each_example_is_seen_as_often_as_asked(one: list[int], two: list[int], epochs: float, seed: int) -> None:
    """A whole epoch shows each example once, a part of one shows that share; else a recipe lies."""
    sources = (Source(examples(one), epochs), Source(examples(two, first=1000), 1))
    seen = Counter(example.answer[0] for batch in schedule(sources, 1024, seed) for example in batch)
    whole, part = divmod(epochs, 1)
    counts = [seen[number] for number in range(len(one))]
    assert all(count in (whole, whole + 1) for count in counts)
    assert sum(counts) == whole * len(one) + round(part * len(one))
    assert [seen[1000 + number] for number in range(len(two))] == [1] * len(two)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.sampled_from([128, 1024, 3072]), st.integers(0, 99))
def test_a_batch_costs_no_more_than_a_step(lengths: list[int], tokens: int, seed: int) -> None:
    """Padded tokens of a batch stay below the limit, or it is one example; else memory grows until the kernel kills."""
    for batch in schedule((Source(examples(lengths), 1),), tokens, seed):
        width = padded(max(example.length for example in batch))
        assert width * len(batch) <= tokens or len(batch) == 1


@settings(max_examples=30, deadline=None)
@given(LENGTHS, st.integers(0, 99))
def test_the_same_seed_gives_the_same_order(lengths: list[int], seed: int) -> None:
    """A resumed run must meet the batches that it had not seen."""
    source = (Source(examples(lengths), 1.5),)
    assert schedule(source, 512, seed) == schedule(source, 512, seed)


def test_padding_has_few_shapes() -> None:
    """Widths are multiples; lengths of every size made a CPU run grow to 24 GB."""
    assert {padded(length) % PAD_TO_TOKENS for length in range(1, 700)} == {0}
    assert padded(PAD_TO_TOKENS) == PAD_TO_TOKENS and padded(PAD_TO_TOKENS + 1) == 2 * PAD_TO_TOKENS
