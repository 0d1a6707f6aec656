"""Topics. When these fail, a message is read as another device's, or a topic carries more than names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bundle.canonical import SLUG
from edge.errors import InputError
from edge.fleet.wire import topics

NAMES = st.from_regex(SLUG, fullmatch=True).filter(lambda name: not name.startswith(topics.RESERVED))


@given(NAMES, st.sampled_from(topics.UP_KINDS), st.sampled_from(topics.DOWN_KINDS), st.sampled_from(topics.OPERATIONS))
def test_what_is_written_is_read(device: str, kind: str, way: str, operation: str) -> None:
    """If not: results go to nobody."""
    assert topics.parse_topic(topics.up(device, kind)) == topics.Address(device, kind)  # type: ignore[arg-type]
    assert topics.parse_topic(topics.down(device, way)) == topics.Address(device, way)  # type: ignore[arg-type]
    read = topics.parse_topic(topics.command(device, operation, "c1"))
    assert read == topics.Address(device, "command", operation, "c1")


@pytest.mark.parametrize(
    "topic",
    ["", "edge/v1", "edge/v2/a/up/result", "edge/v1/a/up", "edge/v1/a/up/result/x", "edge/v1/A/up/result",
     "edge/v1/a/up/ack", "edge/v1/a/down/result", "edge/v1/a/cmd/wipe/1", "edge/v1/a/cmd/bench", "edge/v1/+/up/result",
     "edge/v1/a/cmd/bench/Mrs Smith", "$SYS/broker/version"],
)  # fmt: skip
def test_any_other_topic_is_refused_and_not_quoted(topic: str) -> None:
    """If not: a hostile topic is taken, or shows up in a log."""
    with pytest.raises(InputError) as said:
        topics.parse_topic(topic)
    assert not topic or topic not in str(said.value)


@pytest.mark.parametrize("name", ["", "A", "a/b", "a+", "#", "é", "a" * 101, "collector", "collector-2", "operator-x"])
def test_names_that_a_device_may_not_have(name: str) -> None:
    """If not: a device named `collector` may write acknowledgements for all others."""
    with pytest.raises(InputError):
        topics.good_device(name)
