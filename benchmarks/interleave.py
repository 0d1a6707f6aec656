"""Measures engines in turn: for each repetition, for each measurement, every engine once.

What happens to the machine meanwhile hits all engines alike, so ratios are taken within a repetition. Only one engine
computes at a time; the order turns by one place each repetition, so that no engine is always the first. A measurement
waits for a quiet machine, and is taken again if other processes disturbed it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil

from benchmarks.models import INSTALL, ROOT, Say, Variant
from benchmarks.peers.base import PEERS
from benchmarks.results import EngineRun
from benchmarks.tables import DECODE_CONTEXTS, PREFILL_TOKENS
from edge.privacy import TELEMETRY_OFF

LONGEST_S = 900.0
SETTLE_S = 0.3  # threads of the engine before may still spin at a barrier
# With a core taken away, engines that spin at barriers become ten times slower. So a measurement waits until other
# processes take less of the CPU than this; one that they disturbed nevertheless is taken again, and the quietest one
# counts, whatever its speed. On a machine that is never quiet this ends after PATIENCE_S in all.
OTHERS_MAX = 0.05
TRIES = 3
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Settings:
    """How long to measure. load_repetitions: starts of a fresh process, the last one stays."""

    threads: int
    repetitions: int
    load_repetitions: int
    decode_steps: int
    context_tokens: int
    seed: int = 0


class WorkerProcess:
    """One engine in its own process; answers are plain dicts, `error` or `missing` say why there is none."""

    def __init__(self, python: str = sys.executable) -> None:
        environment = os.environ | TELEMETRY_OFF | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.peers.worker"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, action: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer; `others_share` tells how busy the machine was with other things."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ValueError("the worker has no pipes")
        before = self._busy()
        try:
            stdin.write(json.dumps({"do": action} | request) + "\n")
            stdin.flush()
        except OSError:
            return {"error": f"its process ended with status {self._process.wait()}"}
        if not select.select([stdout], [], [], LONGEST_S)[0]:
            self.stop()
            return {"error": f"no answer within {LONGEST_S:.0f} s"}
        line = stdout.readline()
        if not line:
            return {"error": f"its process ended with status {self._process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer | {"others_share": _others_share(before, self._busy())}

    def _busy(self) -> tuple[float, float, float]:
        """(now, CPU seconds of the whole machine, of this worker)."""
        total = _machine_busy_s()
        try:
            own = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return time.perf_counter(), total, 0.0
        return time.perf_counter(), total, own.user + own.system

    def stop(self) -> None:
        """End the process, whatever it does."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.kill()
        self._process.wait()


def _others_share(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    wall, total, own = (new - old for old, new in zip(before, after, strict=True))
    cores = os.cpu_count() or 1
    return min(1.0, max(0.0, (total - own) / (wall * cores))) if wall > 0.05 else 0.0


def _machine_busy_s() -> float:
    """CPU seconds that the whole machine has spent on anything."""
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice + times.irq + times.softirq + times.steal)


@dataclass
class Patience:
    """Seconds that a run may still spend on waiting for a quiet machine."""

    left_s: float

    def settle(self) -> None:
        """Let threads of the engine before end, then wait until nothing computes (no engine does now)."""
        waited_s = 0.0
        while True:
            before, start_s = _machine_busy_s(), time.perf_counter()
            time.sleep(SETTLE_S)
            took_s = time.perf_counter() - start_s
            share = (_machine_busy_s() - before) / ((took_s or 1.0) * (os.cpu_count() or 1))
            if waited_s:
                self.left_s -= took_s
            waited_s += took_s
            if share <= OTHERS_MAX or self.left_s <= 0:
                return


@dataclass
class _Running:
    variant: Variant
    worker: WorkerProcess
    import_s: float
    load_s: list[float]
    memory: dict[str, int] = field(default_factory=dict)
    prefill: dict[str, list[float]] = field(default_factory=dict)
    decode: dict[str, list[float]] = field(default_factory=dict)
    others: list[float] = field(default_factory=list)
    top: dict[str, int] = field(default_factory=dict)
    reason: str = ""

    def result(self) -> EngineRun:
        variant = self.variant
        return EngineRun(
            engine=variant.engine,
            holds=variant.holds,
            file_bytes=variant.file_bytes,
            weight_bytes=variant.weight_bytes,
            kv_bytes_per_position=variant.kv_bytes_per_position,
            import_s=self.import_s,
            load_s=tuple(self.load_s),
            memory=self.memory,
            prefill_tokens_per_s=self.prefill,
            decode_tokens_per_s=self.decode,
            others_share=tuple(self.others),
            top_tokens=self.top,
            reason=self.reason,
        )


def measure(
    variants: list[Variant], vocab_size: int, settings: Settings, say: Say, *, patience_s: float = PATIENCE_S
) -> list[EngineRun]:
    """Every variant in its order; one that fails says why, the others go on. patience_s: to wait for quiet, in all."""
    running = {variant.engine: _start(variant) for variant in variants if not variant.reason}
    patience = Patience(patience_s)
    try:
        for repetition in range(settings.load_repetitions):
            say(f"load {repetition + 1} of {settings.load_repetitions}")
            for one in _turned(running, repetition):
                patience.settle()
                _load(one, settings, keep=repetition + 1 == settings.load_repetitions)
        prompt = {"seed": settings.seed, "vocab_size": vocab_size}
        for repetition in range(-1, settings.repetitions):  # the first one warms up and is not counted
            say("warm-up" if repetition < 0 else f"repetition {repetition + 1} of {settings.repetitions}")
            for action, size in _measurements():
                for one in _turned(running, repetition):
                    _measure_one(one, action, size, prompt, settings.decode_steps, patience, counted=repetition >= 0)
        for one in _turned(running, 0):
            one.memory = {key: value for key, value in one.worker.ask("memory").items() if key.endswith("_bytes")}
    finally:
        for one in running.values():
            one.worker.stop()
    return [
        running[variant.engine].result()
        if variant.engine in running
        else EngineRun(variant.engine, variant.holds, reason=variant.reason)
        for variant in variants
    ]


def _measurements() -> Iterator[tuple[str, int]]:
    """Prefills and decodes; a decode follows the prefill of its length, so that the cache is there already."""
    for tokens in PREFILL_TOKENS:
        yield "prefill", tokens
        if tokens in DECODE_CONTEXTS:
            yield "decode", tokens
    yield from (("decode", context) for context in DECODE_CONTEXTS if context not in PREFILL_TOKENS)


def _turned(running: dict[str, _Running], repetition: int) -> list[_Running]:
    """The engines that still run, another one first each time."""
    alive = [one for one in running.values() if not one.reason]
    turn = repetition % len(alive) if alive else 0
    return alive[turn:] + alive[:turn]


def _start(variant: Variant) -> _Running:
    return _Running(variant, WorkerProcess(), 0.0, [])


def _load(one: _Running, settings: Settings, *, keep: bool) -> None:
    variant = one.variant
    limits: dict[str, Any] = {"threads": settings.threads, "context_tokens": settings.context_tokens}
    limits["options"] = variant.options
    answer = one.worker.ask("load", engine=variant.peer, path=str(variant.path), **limits)
    if _failed(one, answer):
        return
    one.import_s = answer["import_s"]
    one.load_s.append(answer["load_s"])
    if not keep:
        one.worker.stop()
        one.worker = WorkerProcess()


def _measure_one(
    one: _Running,
    action: str,
    size: int,
    prompt: dict[str, int],
    steps: int,
    patience: Patience,
    *,
    counted: bool,
) -> None:
    request = {"tokens": size} if action == "prefill" else {"context_tokens": size, "steps": steps}
    count, speeds = (size, one.prefill) if action == "prefill" else (steps, one.decode)
    quietest: dict[str, Any] = {}
    for attempt in range(TRIES if counted else 1):
        start_s = time.perf_counter()
        patience.settle()
        answer = one.worker.ask(action, **request, **prompt)
        if attempt:
            patience.left_s -= time.perf_counter() - start_s
        if _failed(one, answer):
            return
        if not quietest or answer["others_share"] < quietest["others_share"]:
            quietest = answer
        if quietest["others_share"] <= OTHERS_MAX or patience.left_s <= 0:
            break
    if "top" in quietest:
        one.top[str(size)] = quietest["top"]
    if counted:
        speeds.setdefault(str(size), []).append(count / quietest["seconds"])
        one.others.append(quietest["others_share"])


def _failed(one: _Running, answer: dict[str, Any]) -> bool:
    """Note why an engine cannot go on."""
    if "missing" in answer:
        package = PEERS[one.variant.peer].package
        one.reason = f"{package}: {answer['missing']}; {INSTALL}"
    elif "error" in answer:
        one.reason = answer["error"]
    return bool(one.reason)
