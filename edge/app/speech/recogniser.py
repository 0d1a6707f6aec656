"""faster-whisper behind a small door: loaded only in the speech process, with a model folder that a person gives."""

from __future__ import annotations

import edge.privacy  # noqa: F401  isort: skip  (faster-whisper brings libraries that report unless told not to)

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edge.app.export.keyed import keyed
from edge.errors import EdgeError, InputError, MissingToolError

if TYPE_CHECKING:  # numpy, which the app's side of the pipe does not need
    from edge.app.speech.segments import Piece

WEIGHTS = "model.bin"
PACKAGE = "faster_whisper"
NO_SPEECH = 0.6  # above it faster-whisper itself takes a piece for silence
THREADS = 2


class Recogniser(Protocol):
    """Reads pieces of speech."""

    name: str

    def read(self, piece: Piece, language: str, prompt: str) -> Iterator[tuple[str, float, float]]:
        """(text, start, end) of what is said, seconds since the piece began."""


def check_folder(folder: Path) -> None:
    """A folder that holds a CTranslate2 Whisper model. Errors: InputError in one line."""
    if not folder.is_dir():
        raise _bad_model("the speech model's folder is not there")
    if not (folder / WEIGHTS).is_file():
        raise _bad_model(f"the speech model's folder has no {WEIGHTS}")


def _bad_model(what: str) -> InputError:
    error = InputError(what, mend="choose the folder of a faster-whisper (CTranslate2) model")
    return keyed(error, "speech.bad_model")


def check_package() -> None:
    """faster-whisper is installed. It is looked for, not loaded. Errors: MissingToolError."""
    from importlib.util import find_spec

    if find_spec(PACKAGE) is None:
        raise missing_package()


def missing_package() -> MissingToolError:
    """The one line for a device without the package."""
    error = MissingToolError(
        "speech needs the package faster-whisper",
        mend="install it with pip install 'edge-kit[speech]', or type the visit",
    )
    return keyed(error, "speech.no_package")


class FasterWhisper:
    """A Whisper model on the CPU, integers of 8 bits. Reads the folder it was given and never asks a network."""

    def __init__(self, folder: Path) -> None:
        check_folder(folder)
        # The libraries below look for weights at a hub by default; this process must not even try.
        os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise missing_package() from error
        self.name = folder.name
        try:
            self._model: Any = WhisperModel(
                str(folder), device="cpu", compute_type="int8", cpu_threads=THREADS, local_files_only=True
            )
        except EdgeError:
            raise
        except Exception as error:  # noqa: BLE001 - the library raises whatever its parsers raise
            raise _bad_model(f"the speech model cannot be read ({type(error).__name__})") from None

    def read(self, piece: Piece, language: str, prompt: str) -> Iterator[tuple[str, float, float]]:
        """See Recogniser. No text of one piece is told to the next: an error would repeat itself."""
        segments, _ = self._model.transcribe(
            piece.samples,
            language=language or None,
            initial_prompt=prompt or None,
            condition_on_previous_text=False,
            no_speech_threshold=NO_SPEECH,
            beam_size=1,
        )
        for one in segments:
            yield one.text, one.start, one.end
