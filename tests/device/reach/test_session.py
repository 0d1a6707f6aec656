"""The near side: what a strange or dying far side does to it."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from edge.device.reach.local import LocalDevice
from edge.device.reach.session import START_S, board_source, start_words
from edge.errors import BundleError, MissingToolError, ResourceError


def far_side(tmp_path: Path, script: str) -> list[str]:
    """A far side that is a shell script."""
    place = tmp_path / "far.sh"
    place.write_text(script)
    return ["/bin/sh", str(place)]


def hello(**changes: object) -> str:
    told = {
        "edge_board": 1,
        "arch": "AMD64",
        "bits": 64,
        "python": [3, 11, 2],
        "executable": "/usr/bin/python3",
        "libc": ["glibc", "2.36"],
        "system": "Linux 6.1",
        "cpuinfo": "processor: 0\nflags: avx2 fma avx2\n",
        "board": "A board",
        "folder": "/f",
        "free_bytes": 7,
    } | changes
    return f"printf '%s\\n' {shlex.quote(json.dumps(told))}\n"


def test_facts_are_read(tmp_path: Path) -> None:
    """If it fails, a board is taken for another one."""
    with LocalDevice(command=far_side(tmp_path, hello() + "cat >/dev/null")) as device:
        facts = device.facts()
        assert (facts.arch, facts.python, facts.free_bytes) == ("x86_64", (3, 11), 7)
        assert facts.isa_features == ("avx2", "fma")
        assert device.describe() == "local (A board, AMD64, Linux 6.1, Python 3.11.2)"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 3", "ended"),
        ("echo hi; exit 0", "ended"),
        ("yes nonsense | head -c 70000; cat >/dev/null", "answers with something else"),
        (hello(edge_board=2), "ended"),
    ],
)
def test_no_far_side(tmp_path: Path, script: str, words: str) -> None:
    """If it fails, a board that runs something else is waited for, or shows a traceback."""
    with pytest.raises(ResourceError, match=words) as caught:
        LocalDevice(command=far_side(tmp_path, script))
    assert "\n" not in str(caught.value)
    assert START_S > 30  # a slow board gets its time


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ('{"error": {"kind": "bundle", "what": "odd", "mend": "mend it"}}', BundleError, "local: odd; mend it."),
        ('{"error": {"kind": "new", "what": "odd", "mend": ""}}', ResourceError, "odd"),
        ("nonsense", ResourceError, "something else"),
    ],
)
def test_answers(tmp_path: Path, answer: str, kind: type[Exception], words: str) -> None:
    """If it fails, what the board says is lost on the way."""
    script = f"{hello()}head -c {len(board_source())} >/dev/null\nread line\necho {shlex.quote(answer)}\ncat >/dev/null"
    with LocalDevice(command=far_side(tmp_path, script)) as device, pytest.raises(kind, match=words):
        device.ask({"do": "space"})


def test_a_far_side_that_dies_between(tmp_path: Path) -> None:
    """If it fails, a dead connection is waited for."""
    script = f"{hello()}head -c {len(board_source())} >/dev/null\nread line\necho last words >&2\nexit 9"
    with (
        LocalDevice(command=far_side(tmp_path, script)) as device,
        pytest.raises(ResourceError, match=r"9.*last words"),
    ):
        device.ask({"do": "space"})


def test_a_program_that_is_not_there() -> None:
    """If it fails, a missing program is a traceback."""
    with pytest.raises(MissingToolError, match="cannot be started"):
        LocalDevice(command=["/none"])


def test_the_start_line_suits_every_shell() -> None:
    """If it fails, a login shell that is no bash (csh, fish, busybox) mangles the line that finds Python."""
    words = start_words(b"pass", "/a folder")
    assert not set("!\n") & set(words)
    assert words.startswith("exec /bin/sh -c '")
    assert shlex.split(words)[:3] == ["exec", "/bin/sh", "-c"]
    assert len(shlex.split(words)) == 4


def test_a_folder_with_blanks_and_quotes(tmp_path: Path) -> None:
    """If it fails, --device-folder becomes shell words."""
    odd = tmp_path / 'it\'s a "$(touch x)" folder'
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    with LocalDevice(folder=str(odd), command=["env", f"PATH={path}", "/bin/sh", "-c"]) as device:
        device.open()
        assert device.facts().folder == str(odd)
    assert (odd / "lock").exists()
