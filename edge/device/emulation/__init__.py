"""Boards that are not at hand, stood in for by qemu-user: the right instruction set, no clock.

What an emulated board shows: whether a bundle runs there, what it writes, how its memory grows, how many
instructions a token takes. What it cannot show: time, bandwidth, energy, temperature.
"""

from __future__ import annotations

from edge.device.emulation.count import TokenCost, count_instructions, instructions_per_token
from edge.device.emulation.emulated import Completed, Emulated, death
from edge.device.emulation.prefix import default_cache, prepare
from edge.device.emulation.target import EmulatedTarget, describe_target, read_target

__all__ = [
    "Completed",
    "Emulated",
    "EmulatedTarget",
    "TokenCost",
    "count_instructions",
    "death",
    "default_cache",
    "describe_target",
    "instructions_per_token",
    "prepare",
    "read_target",
]
