"""Stands in for the package faster-whisper in tests: hears the same sentence in every piece that it is given.

The model's folder decides what goes wrong: a file of that name in it is a wish.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class WhisperModel:
    """The part of the real class that edge uses, with the arguments that edge gives."""

    def __init__(self, path: str, *, device: str, compute_type: str, cpu_threads: int, local_files_only: bool) -> None:
        if not local_files_only or os.environ.get("HF_HUB_OFFLINE") != "1" or device != "cpu":
            raise RuntimeError("a network could be asked")
        self.folder = Path(path)
        if (self.folder / "garbage").exists():
            raise RuntimeError("File model.bin is incomplete: Müller")
        print("a library that prints")  # must not come between the lines

    def transcribe(self, samples: Any, **more: Any) -> tuple[list[Any], None]:
        """One sentence with the number of seconds, the language and the prompt."""
        if (self.folder / "dies").exists():
            sys.exit(9)
        if (self.folder / "hangs").exists():
            time.sleep(60)
        seconds = len(samples) / 16_000
        text = f" {seconds:.1f} s in {more['language']}: no pain, pressure 52. ({more['initial_prompt']}) "
        return [SimpleNamespace(text=text, start=0.5, end=seconds)], None
