"""Folders that are made once, whole, by one of several runs."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge.device.kept_folders import KEPT_FILE, is_whole, kept_folder, locked
from edge.errors import ResourceError, SourceError


def fill(stage: Path) -> None:
    (stage / "sub/__pycache__").mkdir(parents=True)
    (stage / "a").write_text("a")
    (stage / "sub/b").write_text("bb")
    (stage / "link").symlink_to("a")


def never(_stage: Path) -> None:
    raise AssertionError("made again")


def test_made_once(tmp_path: Path) -> None:
    """If it fails, each run fetches everything anew."""
    place = kept_folder(tmp_path / "x/kept", fill)
    assert (place / "link").read_text() == "a"
    assert kept_folder(place, never) == place
    (place / "sub/__pycache__/b.pyc").write_text("an interpreter was here")
    assert kept_folder(place, never) == place


@pytest.mark.parametrize("damage", ["remove", "shorten", "add", "link", "record", "garbage"])
def test_a_damaged_folder_is_made_again(tmp_path: Path, damage: str) -> None:
    """If it fails, half a folder is used after somebody's `rm` or a full disk."""
    place = kept_folder(tmp_path / "kept", fill)
    if damage == "remove":
        (place / "sub/b").unlink()
    elif damage == "shorten":
        (place / "sub/b").write_text("b")
    elif damage == "add":
        (place / "c").write_text("")
    elif damage == "link":
        (place / "link").unlink()
    elif damage == "record":
        (place / KEPT_FILE).unlink()
    else:
        (place / KEPT_FILE).write_text("{")
    assert not is_whole(place)
    assert is_whole(kept_folder(place, fill))
    assert not (place / "c").exists()


@pytest.mark.parametrize("error", [SourceError("broken"), KeyboardInterrupt()])
def test_what_fails_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    """If it fails, the next run finds half a folder."""

    def make(stage: Path) -> None:
        (stage / "half").write_text("")
        raise error

    with pytest.raises(type(error)):
        kept_folder(tmp_path / "kept", make)
    assert [path.name for path in tmp_path.iterdir()] == [".kept.lock"]


def test_no_space_is_one_line(tmp_path: Path) -> None:
    """If it fails, a full disk ends in a traceback."""

    def make(_stage: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ResourceError, match="no space left"):
        kept_folder(tmp_path / "kept", make)


def test_a_killed_run_is_swept(tmp_path: Path) -> None:
    """If it fails, its hundred megabytes stay for ever, or its lock stands in the way."""
    code = (
        "import os, signal, sys; from pathlib import Path; from edge.device.kept_folders import kept_folder\n"
        "def make(stage): (stage / 'half').write_text(''); os.kill(os.getpid(), signal.SIGKILL)\n"
        "kept_folder(Path(sys.argv[1]), make)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "kept")], check=False)
    assert list(tmp_path.glob(".kept.*.part"))
    assert is_whole(kept_folder(tmp_path / "kept", fill))
    assert not list(tmp_path.glob("*.part"))


def test_the_lock_outlives_a_killed_run_while_its_program_works(tmp_path: Path) -> None:
    """If it fails, the next run unpacks into a folder that an orphaned apt-get or dpkg still writes to."""
    code = (
        "import sys; from pathlib import Path\n"
        "from edge.device.kept_folders import locked\n"
        "from edge.device.tools import run_tool\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); run_tool(['sh', '-c', sys.argv[2]], timeout_s=60)"
    )
    fifo = tmp_path / "go-on"
    os.mkfifo(fifo)
    script = f"read line < {fifo}"
    command = [sys.executable, "-c", code, str(tmp_path / "lock"), script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with fifo.open("w") as release:  # opens when the program reads
            process.kill()
            process.wait()
            descriptor = os.open(tmp_path / "lock", os.O_RDWR)
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            release.write("x\n")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.close(descriptor)


def test_the_second_of_two_waits_and_says_so(tmp_path: Path) -> None:
    """If it fails, two runs make the same folder over each other, or the second seems to hang."""
    began, go_on = threading.Event(), threading.Event()
    made: list[str] = []
    said = threading.Event()
    words: list[str] = []

    def make(stage: Path) -> None:
        began.set()
        go_on.wait(10)
        made.append("first")
        fill(stage)

    def say(text: str) -> None:
        words.append(text)
        said.set()

    first = threading.Thread(target=kept_folder, args=(tmp_path / "kept", make))
    first.start()
    assert began.wait(10)
    second = threading.Thread(target=kept_folder, args=(tmp_path / "kept", never), kwargs={"say": say})
    second.start()
    assert said.wait(10)
    go_on.set()
    first.join()
    second.join()
    assert (made, words) == (["first"], ["waiting for another run that makes kept"])


def test_a_whole_folder_needs_no_lock(tmp_path: Path) -> None:
    """If it fails, a filled cache on a read-only disk, or one in use, cannot be used."""
    place = kept_folder(tmp_path / "kept", fill)
    with locked(tmp_path / ".kept.lock"):
        assert kept_folder(place, never) == place
