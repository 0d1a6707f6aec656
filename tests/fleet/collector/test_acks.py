"""Acknowledgements are written as text for speed; they must be what a device reads."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from edge.fleet.collector.acks import MOST_IN_ONE, Answer, ack_messages
from edge.fleet.wire.messages import Ack, QuarantineReason

ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["00000000", "0a1b2c3d"]),
        st.integers(1, 2**63 - 1),
        st.sampled_from(["", *get_args(QuarantineReason)]),
    ),
    max_size=40,
)


@given(ANSWERS)
def test_a_device_reads_what_was_answered(answers: list[Answer]) -> None:
    """If not: an outbox deletes what was not committed, or keeps for ever what was."""
    read: list[Answer] = []
    for topic, payload in ack_messages(answers):
        ack = Ack.from_bytes(payload, "ack")
        assert ack.to_bytes() == payload
        device = topic.removeprefix("edge/v1/").removesuffix("/down/ack")
        read += [(device, ack.epoch, seq, "") for seq in ack.accepted]
        read += [(device, ack.epoch, seq, reason) for seq, reason in ack.quarantined]
    assert sorted(read) == sorted(answers)


def test_one_message_for_each_device() -> None:
    """If not: a batch of one device costs the broker a message for each of its events."""
    answers: list[Answer] = [("a", "00000000", seq, "") for seq in range(1, 501)]
    assert len(ack_messages(answers)) == 1


def test_long_lists_are_cut() -> None:
    """If not: a message grows beyond what a device takes."""
    answers: list[Answer] = [("a", "00000000", seq, "forged") for seq in range(1, 2 * MOST_IN_ONE + 2)]
    sizes = [len(Ack.from_bytes(payload, "ack").quarantined) for _, payload in ack_messages(answers)]
    assert sizes == [MOST_IN_ONE, MOST_IN_ONE, 1]
