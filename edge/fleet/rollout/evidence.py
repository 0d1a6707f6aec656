"""What one message of a device says of the new build. Pure.

A benchmark that passed with its golden cases is the only thing that says "passed". A result without golden cases, an
emulated one, and an install that waits or was cut short say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Reports of an install that say nothing of the build: the device goes on by itself, or it is where it should be.
NEUTRAL_REASONS = ("busy", "interrupted", "expired_metadata", "requested")
# Reports that say that the build does not work on the device: no second try.
FINAL_REASONS = ("self_test_failed", "boots_exhausted")
# After these the device does nothing until it is asked again.
REFUSING_REASONS = ("untrusted", "changed", "wrong_target")
TAKEN_OFF = "taken_off"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A row of results (outcome "") or of installs. message: epoch/seq. digest: of the bundle that it is about.

    outcome: of an install to that bundle; TAKEN_OFF of a way back from it.
    """

    device: str
    message: str
    received_ms: int
    digest: str | None
    passed: bool = False
    golden_passed: bool | None = None
    emulated: bool = False
    outcome: str = ""
    reason: str = ""

    def verdict(self) -> Literal["passed", "failed", "refused", "install_failed", ""]:
        """What it says of the build; "" for nothing."""
        if self.emulated:
            return ""
        if not self.outcome:
            if not self.passed or self.golden_passed is False:
                return "failed"
            return "passed" if self.golden_passed else ""
        if self.outcome == TAKEN_OFF or self.reason in FINAL_REASONS:
            return "failed"
        if self.outcome == "committed" or self.reason in NEUTRAL_REASONS:
            return ""
        return "refused" if self.reason in REFUSING_REASONS else "install_failed"
