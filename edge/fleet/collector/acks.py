"""What a collector answers after its commit: one message for each device and epoch. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from edge.fleet.wire import topics

# device, epoch, seq, reason: "" for accepted
Answer = tuple[str, str, int, str]
# A device sends a few dozen at a time; a longer list would make a message that it does not take.
MOST_IN_ONE = 2000


def ack_messages(answers: Iterable[Answer]) -> list[tuple[str, bytes]]:
    """Topic and payload of each acknowledgement, as `edge.fleet.wire.messages.Ack` reads it.

    Written as text, because this is done for each message: the values are numbers, hex digits and words of ours.
    """
    groups: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for device, epoch, seq, reason in answers:
        accepted, quarantined = groups.setdefault((device, epoch), ([], []))
        if reason:
            quarantined.append(f'[{seq},"{reason}"]')
        else:
            accepted.append(str(seq))
    found = []
    for (device, epoch), (accepted, quarantined) in groups.items():
        topic = topics.down(device, "ack")
        for at in range(0, max(len(accepted), len(quarantined)), MOST_IN_ONE):
            some, others = ",".join(accepted[at : at + MOST_IN_ONE]), ",".join(quarantined[at : at + MOST_IN_ONE])
            text = f'{{"accepted":[{some}],"epoch":"{epoch}","quarantined":[{others}],"version":1}}'
            found.append((topic, text.encode()))
    return found
