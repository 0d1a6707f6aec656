"""LoRA training: one loop for CPU and GPU, resumable at any step, the same for the same seed on the same machine.

Rules
- The base's weights are frozen, in bfloat16; the adapter's are float32, under bfloat16 autocast.
- The loss is over the answer's tokens only, and the head is computed for those alone (the head over 49,152 words is a
  quarter of a small model's work).
- Every save_every_s seconds the adapter, the optimiser and the random state go to disk, beside and renamed: a run that
  is killed goes on from there with the batches that it had not seen.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.adapt.batches import TokenExample, padded
from edge.errors import SourceError
from edge.files import write_atomic

STATE_FILE = "state.pt"
LOG_FILE = "log.jsonl"


@dataclass(frozen=True)
class LoraSettings:
    """As in peft.LoraConfig."""

    rank: int
    alpha: int
    dropout: float
    target_modules: tuple[str, ...]


@dataclass(frozen=True)
class LoopSettings:
    """learning_rate: the peak, after warmup_share of the steps, then cosine to a tenth of it."""

    learning_rate: float
    warmup_share: float
    weight_decay: float
    clip_norm: float
    seed: int
    save_every_s: float = 180.0
    threads: int | None = None


def learning_rate_at(step: int, steps: int, settings: LoopSettings) -> float:
    """Linear warm-up, then cosine down to a tenth of the peak."""
    warmup = max(1, round(settings.warmup_share * steps))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return settings.learning_rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress)))


def with_lora(model: Any, settings: LoraSettings, seed: int) -> Any:
    """The model with fresh adapters (float32); the base is frozen."""
    import peft
    import torch

    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.target_modules),
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(model, config)


def batch_loss(model: Any, batch: Sequence[TokenExample], device: str) -> tuple[Any, int]:
    """(summed cross entropy of the answers' tokens, how many there are)."""
    import torch

    width = padded(max(example.length for example in batch))
    ids = torch.zeros((len(batch), width), dtype=torch.long)
    wanted = torch.zeros((len(batch), width), dtype=torch.bool)
    for row, example in enumerate(batch):
        tokens = torch.tensor(example.prompt + example.answer)
        ids[row, : len(tokens)] = tokens
        # Position p predicts token p + 1. Padding lies behind, so a causal model never sees it.
        wanted[row, len(example.prompt) - 1 : len(tokens) - 1] = True
    ids, wanted = ids.to(device), wanted.to(device)
    labels = torch.roll(ids, -1, dims=1)[wanted]
    with torch.autocast(device.partition(":")[0], torch.bfloat16):
        hidden = model.get_base_model().model(input_ids=ids, use_cache=False).last_hidden_state[wanted]
        logits = model.get_base_model().lm_head(hidden)
    loss = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
    return loss, len(labels)


def mean_loss(model: Any, batches: Sequence[Sequence[TokenExample]], device: str) -> float:
    """Cross entropy per answer token over held-out batches."""
    import torch

    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            loss, tokens = batch_loss(model, batch, device)
            total += float(loss)
            count += tokens
    model.train()
    return total / max(count, 1)


def train(
    model: Any,
    batches: Sequence[Sequence[TokenExample]],
    held_out: Sequence[Sequence[TokenExample]],
    settings: LoopSettings,
    folder: Path,
    *,
    device: str = "cpu",
    say: Callable[[str], None] = print,
    stop_after_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Run or resume in `folder`; True when every batch was seen. log.jsonl holds a line a step."""
    import torch

    if settings.threads:
        torch.set_num_threads(settings.threads)
    folder.mkdir(parents=True, exist_ok=True)
    parameters = [value for value in model.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    first = _resume(model, optimiser, folder, len(batches))
    if first:
        say(f"resuming at step {first} of {len(batches)}")
    else:
        torch.manual_seed(settings.seed)
    model.train()
    started = saved = clock()
    check_every = max(1, len(batches) // 4)
    seen_tokens = 0
    for step in range(first, len(batches)):
        batch = batches[step]
        rate = learning_rate_at(step, len(batches), settings)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss, count = batch_loss(model, batch, device)
        value = float(loss.detach()) / count
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at step {step}")
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seen_tokens += sum(example.length for example in batch)
        entry: dict[str, Any] = {"step": step, "loss": round(value, 5), "answer_tokens": count, "rate": rate}
        last = step + 1 == len(batches)
        if held_out and ((step + 1) % check_every == 0 or last):
            entry["held_out_loss"] = round(mean_loss(model, held_out, device), 5)
        _log(folder, entry)
        speed = seen_tokens / max(clock() - started, 1e-9)
        if step % 10 == 0 or "held_out_loss" in entry:
            held = f", held out {entry['held_out_loss']:.3f}" if "held_out_loss" in entry else ""
            left = (len(batches) - step - 1) * (clock() - started) / (step + 1 - first) / 60
            say(f"step {step + 1}/{len(batches)} loss {value:.3f}{held} ({speed:.0f} tok/s, {left:.0f} min left)")
        stopping = stop_after_s is not None and clock() - started > stop_after_s
        if clock() - saved > settings.save_every_s or last or stopping:
            save(model, optimiser, folder, step + 1)
            saved = clock()
        if stopping and not last:
            return False
    return True


def save(model: Any, optimiser: Any, folder: Path, step: int) -> None:
    """All that a resumed run needs, written beside and renamed."""
    import torch

    adapter = {name: value for name, value in model.state_dict().items() if "lora_" in name}
    beside = folder / f".{STATE_FILE}.part"
    with beside.open("wb") as stream:
        torch.save(
            {"step": step, "adapter": adapter, "optimiser": optimiser.state_dict(), "random": torch.get_rng_state()},
            stream,
        )
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(folder / STATE_FILE)


def _resume(model: Any, optimiser: Any, folder: Path, steps: int) -> int:
    import torch

    path = folder / STATE_FILE
    if not path.is_file():
        (folder / LOG_FILE).unlink(missing_ok=True)
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        step = int(state["step"])
        model.load_state_dict(state["adapter"], strict=False)
        optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])
    except (EOFError, KeyError, RuntimeError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise SourceError(
            f"is not the state of this run ({type(error).__name__})", where=str(path), mend="start again with --fresh"
        ) from error
    # Steps that were logged after the save are run again.
    log = folder / LOG_FILE
    if log.is_file():
        kept = log.read_text("utf-8", errors="replace").splitlines()[:step]  # a line a step, from 0
        write_atomic(log, "".join(f"{line}\n" for line in kept).encode("utf-8"))
    return min(step, steps)


def _log(folder: Path, entry: dict[str, Any]) -> None:
    with (folder / LOG_FILE).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry, sort_keys=True) + "\n")
