"""What a run wrote down: the log's lines read, checked against the batches, thinned and drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.adapt.batches import TokenExample
from edge.bench.svg import RIGHT, WIDTH, Canvas, nice_step
from edge.errors import SourceError

LOG_BYTES_MAX = 60_000
SMOOTH_STEPS = 15
_STYLE = (
    "<style>svg{background:#fff;font:12px sans-serif}text{fill:#333}.unit{fill:#777}.grid{stroke:#ddd}"
    ".base{stroke:#777}.raw{fill:none;stroke:#b9c6d6;stroke-width:1}.mean{fill:none;stroke:#1f5fa8;stroke-width:2}"
    ".held{fill:#c2410c}.key{fill:#333}</style>"
)


@dataclass(frozen=True)
class Journal:
    """entries: {step, loss, answer_tokens, rate, held_out_loss?}, one a step, in order."""

    entries: tuple[dict[str, Any], ...]

    @property
    def held_out(self) -> tuple[tuple[int, float], ...]:
        """(step from 1, loss) on held-out examples."""
        return tuple((e["step"] + 1, e["held_out_loss"]) for e in self.entries if "held_out_loss" in e)

    def mean_loss(self, first: int, last: int) -> float:
        """Loss per answer token over entries first..last."""
        chosen = self.entries[first:last]
        tokens = sum(e["answer_tokens"] for e in chosen)
        return float(sum(e["loss"] * e["answer_tokens"] for e in chosen) / max(tokens, 1))


def read_journal(path: Path) -> Journal:
    """Read log.jsonl. Errors: SourceError when a line is broken or a step is missing."""
    entries: list[dict[str, Any]] = []
    try:
        for number, line in enumerate(path.read_text("utf-8").splitlines()):
            entry = json.loads(line)
            if entry["step"] != number or not isinstance(entry["loss"], float):
                raise ValueError(number)
            entries.append(entry)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError("is not the whole log of a run", where=str(path), mend="train again with --fresh") from error
    return Journal(tuple(entries))


def check_batches(journal: Journal, batches: Sequence[Sequence[TokenExample]], where: str) -> None:
    """Refuse a log that was not written by a whole run over these batches: steps and answer tokens must agree."""
    wanted = [sum(len(example.answer) for example in batch) for batch in batches]
    found = [entry["answer_tokens"] for entry in journal.entries]
    if found != wanted:
        raise SourceError(
            f"{len(found)} of {len(wanted)} steps were run"
            if found == wanted[: len(found)]
            else "was written by a run over other data or another recipe",
            where=where,
            mend="run the same command again to go on" if found == wanted[: len(found)] else "train with --fresh",
        )


def thinned(journal: Journal, limit_bytes: int = LOG_BYTES_MAX) -> bytes:
    """JSON lines of at most limit_bytes: every n-th step, all held-out losses, the last step."""
    every = 1
    while True:
        kept = [
            json.dumps(entry, sort_keys=True)
            for number, entry in enumerate(journal.entries)
            if number % every == 0 or "held_out_loss" in entry or number + 1 == len(journal.entries)
        ]
        content = "".join(f"{line}\n" for line in kept).encode("utf-8")
        if len(content) <= limit_bytes or every > len(journal.entries):
            return content
        every += 1


def loss_svg(journal: Journal, title: str) -> bytes:
    """The loss a step, its moving mean, and the held-out losses as dots."""
    entries = journal.entries
    steps = max(len(entries), 2)
    losses = [entry["loss"] for entry in entries]
    held = journal.held_out
    canvas = Canvas(label=title, x_high=steps, y_high=max([*losses, *(loss for _, loss in held)], default=1.0))
    canvas.y_axis("loss")
    tick = nice_step(steps)
    canvas.x_axis([tick * number for number in range(1 + int(steps // tick))], "step")
    canvas.path([(canvas.x(number + 1), canvas.y(loss)) for number, loss in enumerate(losses)], "raw")
    means = [
        sum(losses[max(0, number - SMOOTH_STEPS + 1) : number + 1]) / min(number + 1, SMOOTH_STEPS)
        for number in range(len(losses))
    ]
    canvas.path([(canvas.x(number + 1), canvas.y(loss)) for number, loss in enumerate(means)], "mean")
    for step, loss in held:
        canvas.dot(canvas.x(step), canvas.y(loss), "held", f"held out, step {step}: {loss:.3f}")
    canvas.text(
        WIDTH - RIGHT,
        22,
        f"line: mean of {SMOOTH_STEPS} steps, per answer token; dots: held out",
        kind="key",
        anchor="end",
    )
    text = canvas.svg().replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, close, rest = text.partition("</title>")
    return f"{head}{close}{_STYLE}{rest}\n".encode()
