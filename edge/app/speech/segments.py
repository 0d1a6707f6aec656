"""Cuts a stream of audio into pieces that a recogniser reads at once: at pauses, never longer than its window.

All in memory, as 32-bit floats of 16 kHz. A piece that is silent is not read at all: on silence recognisers of the
Whisper family write sentences that nobody said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000
LEAST_S, MOST_S = 4.0, 24.0  # a Whisper window is 30 s
PAUSE_S, FRAME_S = 0.4, 0.02
SILENCE = 0.003  # root mean square of full scale 1; a quiet room with an ordinary microphone stays below

Samples = NDArray[np.float32]


def to_samples(pcm16: bytes, rate_hz: int) -> Samples:
    """16-bit PCM of any rate as floats of 16 kHz."""
    samples = np.frombuffer(pcm16, dtype="<i2").astype(np.float32) / 32768.0
    if rate_hz == RATE_HZ or not samples.size:
        return samples
    if rate_hz % RATE_HZ == 0:
        # Mean of neighbours: a plain low-pass, so that what is above 8 kHz does not fold into speech.
        step = rate_hz // RATE_HZ
        whole = samples[: samples.size // step * step]
        mixed: Samples = whole.reshape(-1, step).mean(axis=1, dtype=np.float32)
        return mixed
    count = int(samples.size * RATE_HZ / rate_hz)
    at = np.arange(count, dtype=np.float64) * (rate_hz / RATE_HZ)
    between: Samples = np.interp(at, np.arange(samples.size), samples).astype(np.float32)
    return between


def loudness(samples: Samples) -> float:
    """Root mean square, 0 to 1."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0


@dataclass(frozen=True)
class Piece:
    """Samples to read. start_ms: since the recording began."""

    samples: Samples = field(repr=False)
    start_ms: int

    @property
    def end_ms(self) -> int:
        """Where it ends."""
        return self.start_ms + round(self.samples.size * 1000 / RATE_HZ)

    @property
    def silent(self) -> bool:
        """Nothing louder than a quiet room in any tenth of a second."""
        step = RATE_HZ // 10
        return all(loudness(self.samples[at : at + step]) < SILENCE for at in range(0, self.samples.size, step))


@dataclass
class Cutter:
    """Collects audio and gives pieces. Holds at most MOST_S seconds and what is fed at once."""

    _held: list[Samples] = field(default_factory=list, repr=False)
    _start: int = 0  # samples given away

    def feed(self, samples: Samples) -> list[Piece]:
        """Add audio; the pieces that are complete now."""
        self._held.append(samples)
        pieces = []
        while (cut := self._cut()) is not None:
            pieces.append(self._take(cut))
        return pieces

    def rest(self) -> list[Piece]:
        """What is left, at the end of a recording."""
        size = sum(one.size for one in self._held)
        return [self._take(size)] if size else []

    def _cut(self) -> int | None:
        held = self._joined()
        if held.size < LEAST_S * RATE_HZ:
            return None
        frame, pause = int(FRAME_S * RATE_HZ), int(PAUSE_S / FRAME_S)
        first = int(LEAST_S * RATE_HZ) - pause * frame
        window = held[first : int(MOST_S * RATE_HZ)]
        frames = window[: window.size // frame * frame].reshape(-1, frame)
        quiet = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1)) < SILENCE
        run = 0
        for index, one in enumerate(quiet):
            run = run + 1 if one else 0
            if run >= pause:
                return first + (index + 1 - pause // 2) * frame
        if held.size < MOST_S * RATE_HZ:
            return None
        # No pause in a whole window: at its quietest place, so that a word is rarely cut.
        level: Any = np.mean(np.abs(frames), axis=1)
        return first + int(np.argmin(level[len(level) // 2 :]) + len(level) // 2) * frame

    def _joined(self) -> Samples:
        if len(self._held) != 1:
            self._held = [np.concatenate(self._held)] if self._held else [np.zeros(0, dtype=np.float32)]
        return self._held[0]

    def _take(self, count: int) -> Piece:
        held = self._joined()
        piece = Piece(held[:count].copy(), round(self._start * 1000 / RATE_HZ))
        self._held = [held[count:].copy()]
        self._start += count
        return piece
