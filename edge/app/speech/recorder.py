"""Audio into the recogniser: from the microphone by `arecord` or `parec`, or from a WAV file. In memory only."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import wave
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edge.app.export.keyed import keyed
from edge.app.speech.protocol import SpeechClient
from edge.errors import InputError, MissingToolError, ResourceError

RATE_HZ = 16_000
READ_BYTES = RATE_HZ * 2  # a second
WAV_FRAMES = RATE_HZ // 2
Which = Callable[[str], str | None]

# Both give 16-bit little-endian mono on standard output and write no file.
PROGRAMS: dict[str, tuple[str, ...]] = {
    "arecord": ("-q", "-t", "raw", "-f", "S16_LE", "-r", str(RATE_HZ), "-c", "1"),
    "parec": ("--raw", "--format=s16le", f"--rate={RATE_HZ}", "--channels=1", "--latency-msec=100"),
}


class Source(Protocol):
    """Where audio comes from. read: what is there now, b'' when there is nothing yet; ended: there will be no more."""

    rate_hz: int

    @property
    def ended(self) -> bool:
        """No more audio will come."""

    def read(self) -> bytes:
        """16-bit mono audio that is there; never waits. Errors: ResourceError when the microphone fails."""

    def close(self) -> None:
        """Let go of the microphone or the file."""


def microphone_command(which: Which = shutil.which) -> list[str]:
    """The program that records here. Errors: MissingToolError where there is none."""
    for name, arguments in PROGRAMS.items():
        if path := which(name):
            return [path, *arguments]
    error = MissingToolError(
        "recording needs arecord (alsa-utils) or parec (pulseaudio-utils)", mend="install one, or choose a WAV file"
    )
    raise keyed(error, "speech.no_microphone")


class MicrophoneSource:
    """The microphone. command: for tests."""

    def __init__(self, command: list[str] | None = None) -> None:
        self.rate_hz = RATE_HZ
        try:
            self._child = subprocess.Popen(
                command or microphone_command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            shut = ResourceError("the microphone cannot be opened", mend="check that one is plugged in")
            raise keyed(shut, "speech.no_microphone") from error
        if self._child.stdout is None:  # cannot be: we asked for a pipe
            raise ResourceError("the microphone cannot be read", mend="check that one is plugged in")
        self._pipe = self._child.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._odd = b""
        self._any = False
        self.ended = False

    def read(self) -> bytes:
        """What was recorded since the last call."""
        try:
            data = os.read(self._pipe, READ_BYTES) if not self.ended else b""
        except BlockingIOError:
            return b""
        if not data and not self.ended:
            self.ended = True
            if not self._any:
                error = ResourceError(
                    "the microphone gives no sound", mend="check that one is plugged in and not in use"
                )
                raise keyed(error, "speech.no_sound")
        self._any = self._any or bool(data)
        whole = self._odd + data
        self._odd = whole[len(whole) // 2 * 2 :]
        return whole[: len(whole) // 2 * 2]

    def close(self) -> None:
        """Stop recording."""
        self.ended = True
        with contextlib.suppress(OSError):
            self._child.kill()
        self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()


class WavSource:
    """A WAV file with 16-bit PCM, one or two channels. Errors: InputError in one line for anything else."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = wave.open(str(path), "rb")  # noqa: SIM115 - held until `close`
        except (wave.Error, EOFError, OSError) as error:
            raise _bad_file("the recording is no WAV file") from error
        self.rate_hz = self._file.getframerate()
        self._channels = self._file.getnchannels()
        self.ended = False
        if self._file.getsampwidth() != 2 or self._channels not in (1, 2) or not 8_000 <= self.rate_hz <= 192_000:
            self._file.close()
            raise _bad_file("the recording is not 16-bit PCM in one or two channels")

    def read(self) -> bytes:
        """Half a second, or what is left."""
        if self.ended:
            return b""
        try:
            data = self._file.readframes(WAV_FRAMES)
        except (wave.Error, OSError) as error:
            self.ended = True
            raise _bad_file("the recording cannot be read to its end") from error
        if not data:
            self.ended = True
        return data if self._channels == 1 else _mono(data)

    def close(self) -> None:
        """Close the file."""
        self.ended = True
        self._file.close()


def _bad_file(what: str) -> InputError:
    return keyed(InputError(what, mend="choose a WAV file with 16-bit PCM"), "speech.bad_file")


def _mono(stereo: bytes) -> bytes:
    """The mean of two channels."""
    samples = array("h")
    samples.frombytes(stereo[: len(stereo) // 4 * 4])
    if sys.byteorder == "big":
        samples.byteswap()
    mixed = array("h", ((left + right) // 2 for left, right in zip(samples[::2], samples[1::2], strict=True)))
    if sys.byteorder == "big":
        mixed.byteswap()
    return mixed.tobytes()


class Recorder:
    """Carries audio from a source to a recogniser; `pump` is called once a frame and never waits."""

    def __init__(self, source: Source, client: SpeechClient) -> None:
        self._source, self._client = source, client
        self.recorded_ms = 0.0
        self._stopped = False

    @property
    def running(self) -> bool:
        """Audio still comes."""
        return not self._stopped

    def pump(self) -> None:
        """Carry what is there; ends the recording when the source ends. Errors: those of the source."""
        if self._stopped:
            return
        try:
            data = self._source.read()
        except (ResourceError, InputError):
            self.stop()
            raise
        if data:
            self._client.feed(data, self._source.rate_hz)
            self.recorded_ms += len(data) / 2 / self._source.rate_hz * 1000
        if self._source.ended or not self._client.alive:
            self.stop()

    def stop(self) -> None:
        """End the recording; the recogniser still tells what it heard."""
        if not self._stopped:
            self._stopped = True
            self._source.close()
            self._client.stop()
