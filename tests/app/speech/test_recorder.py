"""Microphone and file. When these fail, speech is missed, or a broken microphone looks like a silent patient."""

from __future__ import annotations

import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.app.speech.protocol import SpeechEvent
from edge.app.speech.recorder import MicrophoneSource, Recorder, Source, WavSource, microphone_command
from edge.app.speech.scripted import ScriptedSpeech
from edge.errors import InputError, MissingToolError, ResourceError


def wav(path: Path, seconds: float = 2.0, rate_hz: int = 16_000, channels: int = 1, width: int = 2) -> Path:
    """A file with a rising count as samples."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        frames = b"".join(
            (index % 2000 % 256**width).to_bytes(width, "little") * channels for index in range(int(seconds * rate_hz))
        )
        file.writeframes(frames)
    return path


def until(holds: Callable[[], bool]) -> None:
    """Wait for a state, ten seconds at most."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, "it never came"


def all_of(source: Source) -> bytes:
    """Everything of a source."""
    found = b""
    while not source.ended:
        found += source.read()
    return found


def test_a_file_is_heard_whole(tmp_path: Path) -> None:
    """If not: the last words of a recording are missing."""
    speech = ScriptedSpeech([SpeechEvent("first", 0, 900, True), SpeechEvent("last", 900, 2500, True)])
    speech.start("en", ())
    recorder = Recorder(WavSource(wav(tmp_path / "a.wav", 2.3)), speech)
    heard = []
    while recorder.running:
        recorder.pump()
        heard += speech.poll()
    heard += speech.poll()
    assert [one.text for one in heard] == ["first", "last"]
    assert recorder.recorded_ms == pytest.approx(2300)
    assert speech.fed_ms == pytest.approx(2300)
    recorder.pump()
    recorder.stop()
    assert not speech.listening


def test_two_channels_become_one(tmp_path: Path) -> None:
    """If not: a stereo file is read at half speed."""
    source = WavSource(wav(tmp_path / "a.wav", 1.0, 44_100, channels=2))
    mixed = all_of(source)
    assert (source.rate_hz, len(mixed)) == (44_100, 88_200)
    assert mixed[:8] == b"\x00\x00\x01\x00\x02\x00\x03\x00"


def test_files_that_are_no_recording(tmp_path: Path) -> None:
    """If not: a wrong file ends in a traceback."""
    (tmp_path / "text.wav").write_text("hello", encoding="utf-8")
    (tmp_path / "empty.wav").write_bytes(b"")
    wav(tmp_path / "bytes.wav", width=1)
    wav(tmp_path / "slow.wav", rate_hz=4_000)
    for name in ("text.wav", "empty.wav", "none.wav", "bytes.wav", "slow.wav"):
        with pytest.raises(InputError) as caught:
            WavSource(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
        assert name not in str(caught.value)
    cut = wav(tmp_path / "cut.wav").read_bytes()[:1001]
    (tmp_path / "cut.wav").write_bytes(cut)
    all_of(WavSource(tmp_path / "cut.wav"))


def test_the_microphone_by_what_is_installed() -> None:
    """If not: a device with the one program but not the other cannot record."""
    assert microphone_command(lambda name: f"/usr/bin/{name}")[0] == "/usr/bin/arecord"
    parec = microphone_command(lambda name: "/bin/parec" if name == "parec" else None)
    assert parec[0] == "/bin/parec"
    assert "--rate=16000" in parec
    with pytest.raises(MissingToolError, match="arecord"):
        microphone_command(lambda name: None)


def test_a_microphone_that_never_waits() -> None:
    """If not: a frame of the app waits for sound. Half a sample is kept for the next reading."""
    code = "import sys,time\nsys.stdout.buffer.write(b'abc'); sys.stdout.flush()\nsys.stdin.read(); time.sleep(60)"
    source = MicrophoneSource([sys.executable, "-c", code])
    found = b""
    try:

        def some() -> bool:
            nonlocal found
            found += source.read()
            return bool(found)

        until(some)
        before = time.monotonic()
        assert source.read() == b""
        assert time.monotonic() - before < 0.5
        assert found == b"ab"
    finally:
        source.close()
    assert source.ended


def test_a_microphone_without_sound(tmp_path: Path) -> None:
    """If not: one that is in use elsewhere looks like a patient who says nothing."""
    speech = ScriptedSpeech()
    speech.start("en", ())
    recorder = Recorder(MicrophoneSource([sys.executable, "-c", ""]), speech)

    def told() -> bool:
        try:
            recorder.pump()
        except ResourceError as error:
            assert "no sound" in str(error)
            return True
        return False

    until(told)
    assert not recorder.running
    with pytest.raises(ResourceError, match="cannot be opened"):
        MicrophoneSource([str(tmp_path / "none")])


def test_the_recogniser_dies_while_recording(tmp_path: Path) -> None:
    """If not: the microphone stays open though nobody listens."""
    speech = ScriptedSpeech()
    speech.start("en", ())
    recorder = Recorder(WavSource(wav(tmp_path / "a.wav")), speech)
    recorder.pump()
    speech.die(ResourceError("gone"))
    recorder.pump()
    assert not recorder.running
