"""The process that holds one engine: JSON requests on standard input, one JSON answer each on standard output.

Requests: load {engine, path, threads, context_tokens, options} · prefill {tokens, seed, vocab_size} · decode
{context_tokens, steps, seed, vocab_size} · answer {prompt, new_tokens} · memory {} · close {}. It imports nothing that
its engine does not need, so that its memory is the engine's. It ends when its standard input closes.
"""

from __future__ import annotations

import edge.privacy  # noqa: F401  # isort: skip  # telemetry off before anything else is imported

import importlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.base import PEERS, Peer


def prompt_ids(seed: int, vocab_size: int, count: int) -> list[int]:
    """The same random prompt for every engine: speed depends on its length, not on its meaning."""
    return [int(token) for token in np.random.default_rng(seed).integers(0, vocab_size, size=count)]


def memory_bytes(status: Path = Path("/proc/self/status")) -> dict[str, int]:
    """Peak and present resident bytes of this process, the latter also by kind."""
    text = status.read_text(encoding="ascii", errors="replace")
    keys = {"VmHWM": "peak_rss", "VmRSS": "rss", "RssAnon": "anonymous", "RssFile": "file", "RssShmem": "shared"}
    found = {name: re.search(rf"^{key}:\s+(\d+) kB", text, flags=re.MULTILINE) for key, name in keys.items()}
    return {f"{name}_bytes": int(match[1]) * 1024 for name, match in found.items() if match}


class Worker:
    """Answers requests; the engine is loaded by the first one."""

    def __init__(self) -> None:
        self._peer: Peer | None = None
        self._prompt: list[int] = []

    @property
    def peer(self) -> Peer:
        if self._peer is None:
            raise ValueError("no engine is loaded")
        return self._peer

    def load(
        self, engine: str, path: str, threads: int, context_tokens: int, options: dict[str, Any]
    ) -> dict[str, Any]:
        """Import the engine, load the model, compute one token; the seconds of each."""
        start_s = time.perf_counter()
        module = importlib.import_module(PEERS[engine].module)
        imported_s = time.perf_counter()
        imported = memory_bytes()
        self._peer = module.load(Path(path), threads=threads, context_tokens=context_tokens, **options)
        self.peer.prefill((1,))
        loaded_s = time.perf_counter()
        return {"import_s": imported_s - start_s, "load_s": loaded_s - imported_s, "imported": imported}

    def prefill(self, tokens: int, seed: int, vocab_size: int) -> dict[str, Any]:
        """Read a prompt from an empty cache."""
        self._prompt = prompt_ids(seed, vocab_size, tokens)
        start_s = time.perf_counter()
        top = self.peer.prefill(self._prompt)
        return {"seconds": time.perf_counter() - start_s, "top": top}

    def decode(self, context_tokens: int, steps: int, seed: int, vocab_size: int) -> dict[str, Any]:
        """Steps of one token after `context_tokens`, greedy; the cache is taken from the last prefill if it fits."""
        wanted = prompt_ids(seed, vocab_size, max(1, context_tokens))
        if self._prompt != wanted:
            self._prompt = wanted
            self.peer.prefill(wanted)
        else:
            self.peer.rewind(len(wanted))
        token, took_s = wanted[-1], []
        for _ in range(steps):
            start_s = time.perf_counter()
            token = self.peer.decode_step(token)
            took_s.append(time.perf_counter() - start_s)
        self.peer.rewind(len(wanted))
        return {"seconds": sum(took_s), "steps_s": took_s}

    def answer(self, prompt: list[int], new_tokens: int) -> dict[str, Any]:
        """Read a prompt from an empty cache and write so many tokens after it, greedy, whatever they are."""
        self._prompt = []
        start_s = time.perf_counter()
        tokens = [self.peer.prefill(prompt)]
        first_s = time.perf_counter()
        while len(tokens) < new_tokens:
            tokens.append(self.peer.decode_step(tokens[-1]))
        return {"seconds": time.perf_counter() - start_s, "ttft_s": first_s - start_s, "tokens": tokens}

    def memory(self) -> dict[str, Any]:
        """See memory_bytes."""
        return memory_bytes()

    def close(self) -> dict[str, Any]:
        """Free the engine."""
        self.peer.close()
        self._peer = None
        return {}


def main() -> int:
    """Serve until `close` or the end of standard input."""
    private = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    worker = Worker()
    with os.fdopen(private, "w", encoding="utf-8", buffering=1) as stream:
        for line in sys.stdin:
            request = json.loads(line)
            action = request.pop("do")
            try:
                answer = getattr(worker, action)(**request)
            except ImportError as error:
                answer = {"missing": str(error).splitlines()[0]}
            except Exception as error:  # noqa: BLE001  # a peer may raise anything; its row says so, the rest runs
                text = str(error).splitlines() or [""]
                answer = {"error": f"{type(error).__name__}: {text[0][:200]}"}
            stream.write(json.dumps(answer) + "\n")
            if action == "close":
                break
    return 0


if __name__ == "__main__":
    sys.exit(main())
