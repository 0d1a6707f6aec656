"""How much one device may send: a token bucket each, so that one gone mad neither starves others nor fills the disk.

Rules. A bucket holds `burst` messages and gains `per_s`. A message that finds a token takes it and is judged. One that
finds none is *over*: nothing of it is checked or kept, except that

- telemetry over half a bucket may not take tokens that results need: below half, only the newest state is kept;
- anything else is not acknowledged to the device, whose outbox keeps it and sends it again later.

A device that was over its budget is told as noisy. Buckets that are full again are forgotten, so that memory is bounded
by the devices that sent something lately.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

BURST = 2000.0
PER_S = 0.2  # 720 an hour, over hours
_SWEEP_AT = 50_000


class Pass(Enum):
    """What a message may cost."""

    JUDGE = "judge"
    NEWEST_ONLY = "newest only"  # telemetry: judged, but only the newest of the device is kept
    LATER = "later"


@dataclass
class Budget:
    """The buckets. Times in seconds of a clock that never goes back."""

    burst: float = BURST
    per_s: float = PER_S
    _held: dict[str, tuple[float, float]] = field(default_factory=dict)  # device -> tokens, when

    def take(self, device: str, *, telemetry: bool, now_s: float) -> Pass:
        """Ask for one message of `device`."""
        tokens, when = self._held.get(device, (self.burst, now_s))
        tokens = min(self.burst, tokens + max(0.0, now_s - when) * self.per_s)
        least = self.burst / 2 if telemetry else 1.0
        granted = tokens >= least
        if len(self._held) >= _SWEEP_AT and device not in self._held:
            self._sweep(now_s)
        self._held[device] = (tokens - 1.0 if granted else tokens, now_s)
        if granted:
            return Pass.JUDGE
        return Pass.NEWEST_ONLY if telemetry else Pass.LATER

    def _sweep(self, now_s: float) -> None:
        """Forget buckets that are full again; when none is, all of them: fairness comes back within a burst."""
        self._held = {
            device: (tokens, when)
            for device, (tokens, when) in self._held.items()
            if tokens + (now_s - when) * self.per_s < self.burst
        }
        if len(self._held) >= _SWEEP_AT:
            self._held = {}
