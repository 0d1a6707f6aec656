"""The far side alone, over pipes: it ends with its other side, whatever it is doing."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.device.reach.board import GoneError, RefusedError, Store, Wire, answer, facts, run


class Pipes:
    """A Wire and its other side."""

    def __init__(self, silence_s: float = 5.0) -> None:
        source, self.write_to = os.pipe()
        self.read_from, sink = os.pipe()
        self._ends = [source, sink]
        self.wire = Wire(source, sink, silence_s)
        self._closed = False

    def send(self, value: Any, data: bytes = b"") -> None:
        os.write(self.write_to, json.dumps(value).encode() + b"\n" + data)

    def hang_up(self) -> None:
        if not self._closed:
            os.close(self.write_to)
            self._closed = True

    def told(self) -> list[Any]:
        """All answers, once nothing more is said."""
        for end in self._ends[1:]:
            os.close(end)
        self._ends = self._ends[:1]
        with os.fdopen(self.read_from, "rb") as file:
            return [json.loads(line) for line in file.read().splitlines()]

    def close(self) -> None:
        self.hang_up()
        for end in self._ends:
            os.close(end)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    made.close()


def test_lines_and_bytes(pipes: Pipes) -> None:
    """If it fails, a sign of life or a file's bytes are taken for a request."""
    os.write(pipes.write_to, b'\n\n{"do": "a"}\nABC\nDEF\n\n{"do"')
    assert pipes.wire.line() == b'{"do": "a"}'
    assert pipes.wire.take(7) == b"ABC\nDEF"
    os.write(pipes.write_to, b': "b"}\n')
    assert json.loads(pipes.wire.line()) == {"do": "b"}
    pipes.hang_up()
    with pytest.raises(GoneError):
        pipes.wire.line()


def test_silence_ends_it() -> None:
    """If it fails, a connection that died without a word keeps a board locked for hours."""
    pipes = Pipes(silence_s=0.01)
    with pytest.raises(GoneError):
        pipes.wire.line()
    pipes.close()


def program(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(("import sys, time, os", *lines))]


def test_a_program_ends_when_the_other_side_hangs_up(pipes: Pipes, tmp_path: Path) -> None:
    """If it fails, a cut connection leaves a measuring process behind."""
    request = {"argv": program("print(os.getpid(), flush=True)", "time.sleep(60)"), "environment": {}, "timeout_s": 60}
    threading.Timer(0.3, pipes.hang_up).start()
    with pytest.raises(GoneError):
        run(pipes.wire, request)
    (line,) = [value["line"] for value in pipes.told()]
    assert not Path(f"/proc/{line}").exists()


def test_a_program_ends_when_it_is_stopped_or_takes_too_long(pipes: Pipes) -> None:
    """If it fails, Ctrl-C or a time limit does not reach the board."""
    request = {"argv": program("time.sleep(60)"), "environment": {}, "timeout_s": 60}
    pipes.send({"do": "stop"})
    with pytest.raises(RefusedError, match="was stopped"):
        run(pipes.wire, request)
    with pytest.raises(RefusedError, match="took more than 0 s"):
        run(pipes.wire, request | {"timeout_s": 0})


def test_signs_of_life_do_not_stop_a_program(pipes: Pipes) -> None:
    """If it fails, a run longer than a quarter of a minute is stopped by our own signs of life."""
    os.write(pipes.write_to, b"\n\n")
    request = {
        "argv": program("print('a\\nb')", "sys.stderr.write('e')", "sys.exit(3)"),
        "environment": {},
        "timeout_s": 9,
    }
    assert run(pipes.wire, request) == {"returncode": 3, "stderr": "e"}
    assert [value["line"] for value in pipes.told()] == ["a", "b"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"do": "dance"}, "not known on the device"),
        ({"do": "get", "name": "none", "limit": 1}, "not there"),
        ({"do": "run", "argv": ["/none"], "environment": {}, "timeout_s": 1}, "cannot be started"),
        ({"do": "list", "under": "../x"}, "leaves edge's folder"),
    ],
)
def test_every_refusal_is_an_answer(pipes: Pipes, tmp_path: Path, request_: dict[str, Any], words: str) -> None:
    """If it fails, a wrong request ends the connection with a traceback."""
    answer(Store(str(tmp_path)), pipes.wire, request_)
    (told,) = pipes.told()
    assert words in told["error"]["what"]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """If it fails, a board can fill this machine's memory."""
    (tmp_path / "x").write_bytes(b"123")
    store = Store(str(tmp_path))
    assert store.read("x", 3) == b"123"
    with pytest.raises(RefusedError, match="larger than 2"):
        store.read("x", 2)


def test_facts_are_plain(tmp_path: Path) -> None:
    """If it fails, a board cannot say what it is."""
    told = json.loads(json.dumps(facts(Store(str(tmp_path / "new")))))
    assert told["edge_board"] == 1
    assert told["bits"] in (32, 64)
    assert not (tmp_path / "new").exists()  # asking changes nothing


def test_the_program_needs_nothing_of_edge() -> None:
    """If it fails, a board without edge cannot run the far side."""
    text = Path(sys.modules[Store.__module__].__file__ or "").read_text()
    assert "import edge" not in text
    assert "from edge" not in text
