"""The speech process, with a stand-in for its library. When these fail, audio reaches a disk or a network, the app
hangs on a process that died, or a person reads a traceback.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.app.i18n import catalogue
from edge.app.speech import messages
from edge.app.speech.host import PROMPT_WORDS, prompt_of
from edge.app.speech.messages import EVENTS, REQUESTS, audio, event, feed_line, line, parse
from edge.app.speech.pipe import PipeSpeech
from edge.app.speech.protocol import SpeechEvent
from edge.app.speech.recogniser import check_folder, check_package
from edge.errors import InputError, MissingToolError

REPO = Path(__file__).resolve().parents[3]
FAKE = Path(__file__).parent / "fake"
SECOND = b"".join((8000 * (1 if index // 20 % 2 else -1)).to_bytes(2, "little", signed=True) for index in range(16_000))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a model, and the stand-in library on the child's path."""
    monkeypatch.setenv("PYTHONPATH", f"{FAKE}{os.pathsep}{REPO}")
    folder = tmp_path / "whisper-tiny"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"x")
    return folder


@pytest.fixture
def speech(model: Path) -> Iterator[PipeSpeech]:
    """A client of the real host."""
    client = PipeSpeech(model, [sys.executable, "-m", "edge.app.speech.host", str(model)])
    yield client
    client.close()


def wait(client: PipeSpeech, holds: Callable[[], bool]) -> list[SpeechEvent]:
    """Poll until a state is there, twenty seconds at most."""
    found: list[SpeechEvent] = []
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it never came"
        found += client.poll()
        time.sleep(0.005)
    return found + client.poll()


def record(client: PipeSpeech, seconds: int) -> list[SpeechEvent]:
    """A whole recording."""
    client.start("de", ("halos", "metformin"))
    for _ in range(seconds):
        client.feed(SECOND, 16_000)
    client.stop()
    return wait(client, lambda: not client.listening)


def test_a_recording_becomes_text(speech: PipeSpeech) -> None:
    """If not: nothing is heard; or language and terms do not arrive; or a printing library breaks the lines."""
    events = record(speech, 3)
    assert [one.text for one in events] == ["3.0 s in de: no pain, pressure 52. (halos, metformin.)"]
    assert (events[0].start_ms, events[0].end_ms, events[0].final) == (500, 3000, True)
    assert speech.failure is None
    assert speech.model == "whisper-tiny"
    # The process stays for the next recording; its times begin anew.
    assert record(speech, 2)[0].end_ms == 2000


def test_pieces_come_while_recording(speech: PipeSpeech) -> None:
    """If not: nothing is seen before Stop, and a long visit is one piece beyond the recogniser's window."""
    speech.start("en", ())
    for _ in range(30):
        speech.feed(SECOND, 16_000)
    told = False

    def one() -> bool:
        nonlocal told
        told = told or bool(speech.poll())
        return told

    wait(speech, one)
    assert speech.listening
    speech.stop()
    (last,) = wait(speech, lambda: not speech.listening)
    assert last.end_ms == 30_000


def test_silence_is_not_read(speech: PipeSpeech) -> None:
    """If not: the recogniser invents a sentence for an empty room."""
    speech.start("en", ())
    speech.feed(bytes(64_000), 16_000)
    speech.stop()
    assert wait(speech, lambda: not speech.listening) == []


@pytest.mark.parametrize(("wish", "words"), [("garbage", "cannot be read"), ("dies", "stopped")])
def test_a_model_that_fails(speech: PipeSpeech, model: Path, wish: str, words: str) -> None:
    """If not: the app waits for ever, or shows a library's message, which may hold a path or words."""
    (model / wish).touch()
    speech.start("en", ())
    speech.feed(SECOND, 16_000)
    speech.stop()
    wait(speech, lambda: speech.failure is not None)
    assert words in str(speech.failure)
    assert vars(speech.failure)["key"] in catalogue("en")
    assert "Müller" not in str(speech.failure)
    assert len(str(speech.failure).splitlines()) == 1
    assert not speech.alive
    assert not speech.listening
    speech.feed(SECOND, 16_000)  # does nothing, and does not fail
    (model / wish).unlink()
    assert len(record(speech, 2)) == 1


def test_closing_a_process_that_hangs(speech: PipeSpeech, model: Path) -> None:
    """If not: the app cannot be left while a piece is being read."""
    (model / "hangs").touch()
    speech.start("en", ())
    speech.feed(SECOND, 16_000)
    speech.stop()
    before = time.monotonic()
    speech.close()
    assert time.monotonic() - before < 8
    assert not speech.alive
    assert speech.poll() == []


def test_the_process_ends_with_the_app(model: Path) -> None:
    """If not: a killed app leaves a process with a visit's audio behind, until it has read all of it."""
    (model / "hangs").touch()
    command = [sys.executable, "-m", "edge.app.speech.host", str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPO) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(line("start", language="en", terms=[]) + feed_line(SECOND, 16_000) + line("stop"))
        child.stdin.flush()
        assert b'"ready"' in child.stdout.readline()
        child.stdin.close()
        assert child.wait(10) == 0


def test_audio_touches_no_disk_and_no_network(model: Path, tmp_path: Path) -> None:
    """If not: a visit's sound lies in a temporary file. Every opening for writing and every socket ends the process."""
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(
        "import os, sys\n"
        "sys.dont_write_bytecode = True\n"
        "def watch(event, arguments):\n"
        "    if event == 'open' and isinstance(arguments[0], (str, bytes)) and isinstance(arguments[2], int) and "
        "arguments[2] & (os.O_WRONLY | os.O_RDWR):\n"
        "        os._exit(41)\n"
        "    if event.startswith('socket.') or event in ('os.mkdir', 'tempfile.mkstemp'):\n"
        "        os._exit(42)\n"
        "sys.addaudithook(watch)\n",
        encoding="utf-8",
    )
    path = f"{guard}{os.pathsep}{FAKE}{os.pathsep}{REPO}"
    requests = line("start", language="en", terms=[]) + feed_line(SECOND * 3, 16_000) + line("stop") + line("close")
    done = subprocess.run(
        [sys.executable, "-m", "edge.app.speech.host", str(model)],
        input=requests,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert [parse(one, EVENTS)[0] for one in done.stdout.splitlines()] == ["ready", "text", "stopped"]


def test_missing_model_and_package(tmp_path: Path) -> None:
    """If not: a person who chose the wrong folder, or has no package, reads something else than one clear line."""
    with pytest.raises(InputError, match="folder is not there"):
        check_folder(tmp_path / "none")
    with pytest.raises(InputError, match=r"has no model\.bin"):
        PipeSpeech(tmp_path).start("en", ())
    (tmp_path / "model.bin").write_bytes(b"")
    check_folder(tmp_path)
    from importlib.util import find_spec

    if find_spec("faster_whisper") is None:
        with pytest.raises(MissingToolError, match="faster-whisper"):
            check_package()
        with pytest.raises(MissingToolError, match="faster-whisper"):
            PipeSpeech(tmp_path).start("en", ())


def test_lines_are_checked() -> None:
    """If not: a process of another version is taken at its word."""
    assert parse(line("stop"), REQUESTS) == ("stop", {})
    kind, values = parse(feed_line(b"ab", 16_000), REQUESTS)
    assert (kind, audio(values)) == ("feed", (b"ab", 16_000))
    told = line("text", text="ä", start_ms=1, end_ms=2, final=True, speaker="")
    assert event(parse(told, EVENTS)[1]) == SpeechEvent("ä", 1, 2, True)
    for bad in (b"x", b"[]", b'{"v":2,"kind":"stop"}', b'{"v":1,"kind":"no"}', b'{"v":1,"kind":"stop","more":1}'):
        with pytest.raises(InputError):
            parse(bad, REQUESTS)
    for values in (
        {"pcm16": "%%", "rate_hz": 16_000},
        {"pcm16": "YQ==", "rate_hz": 16_000},
        {"pcm16": "", "rate_hz": 1},
    ):
        with pytest.raises(InputError, match="PCM"):
            audio(values)
    assert len(feed_line(bytes(messages.MAX_FEED_BYTES), 16_000)) < messages.MAX_LINE_BYTES


def test_the_term_prompt() -> None:
    """If not: a long prompt pushes its own beginning out of the recogniser's memory."""
    assert prompt_of([]) == ""
    assert prompt_of(["halos", "eye pain"]) == "halos, eye pain."
    assert prompt_of([str(number) for number in range(500)]).count(",") == PROMPT_WORDS - 1


def test_the_app_side_is_light() -> None:
    """If not: the app loads numpy or the recogniser for nothing."""
    code = (
        "import sys, edge.app.speech.pipe, edge.app.speech.recorder, edge.app.speech.visit, edge.app.speech.scripted;"
        "print(*(m for m in ('kivy', 'numpy', 'onnxruntime', 'faster_whisper') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    assert done.stdout.strip() == ""
