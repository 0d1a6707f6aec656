"""A device over a real sshd on loopback: what a cut, a wrong key, a full disk or an old Python does to it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.device.reach.base import Address
from edge.device.reach.ssh import SshDevice, options, ssh_failure
from edge.errors import EdgeError, InputError, MissingToolError, ResourceError, UntrustedError
from tests.device.reach.sshd import NEEDED, Board

pytestmark = [NEEDED]


def files(folder: Path, count: int = 40, large: int = 9_000_000) -> Path:
    """A folder with small files and one of two and a bit requests."""
    (folder / "deep/er").mkdir(parents=True)
    for number in range(count):
        (folder / f"small-{number}.txt").write_text(f"file {number}\n" * number)
    (folder / "deep/er/large.bin").write_bytes(os.urandom(large))
    (folder / "deep/empty").write_bytes(b"")
    return folder


def same(left: Path, right: Path) -> bool:
    def tree(folder: Path) -> dict[str, str]:
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    return tree(left) == tree(right)


def connect(board: Board, **options: object) -> SshDevice:
    return SshDevice(board.address, ssh_command=board.ssh, **options)  # type: ignore[arg-type]


def test_facts_copy_run_and_pull(board: Board, tmp_path: Path) -> None:
    """If it fails, nothing can be brought to a board or back from it."""
    source = files(tmp_path / "source")
    with connect(board) as device:
        facts = device.facts()
        assert facts.folder == str(board.folder)
        assert facts.python is not None
        assert facts.python >= (3, 11)
        assert facts.free_bytes > 0
        first = device.push(source, "bundles/a")
        assert first.sent_files == 42
        assert same(source, board.folder / "bundles/a")
        done = device.run(["/bin/sh", "-c", "echo $WORD; echo told >&2; exit 3"], {"WORD": "hé"}, 10)
        assert (done.returncode, done.stdout, done.stderr) == (3, "hé", "told\n")
        device.pull("bundles/a/small-3.txt", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == (source / "small-3.txt").read_bytes()
        # A second time nothing is sent; a changed file is, a strange one goes.
        (source / "small-1.txt").write_text("other")
        (board.folder / "bundles/a/strange").write_text("x")
        (board.folder / "bundles/a/link").symlink_to("/etc/passwd")
        again = device.push(source, "bundles/a")
        assert (again.sent_files, again.kept_files) == (1, 41)
        assert same(source, board.folder / "bundles/a")
        assert not (board.folder / "bundles/a/link").is_symlink()
    with pytest.raises(ResourceError, match="not there"), connect(board) as device:
        device.pull("bundles/a/none", tmp_path / "none")


def test_cut_in_the_middle_of_the_copy(board: Board, tmp_path: Path) -> None:
    """If it fails, a lost connection shows a traceback, leaves half a file that counts, or starts anew."""
    source = files(tmp_path / "source")

    def cut(_label: str, fraction: float) -> None:
        if fraction > 0.6:
            board.cut()

    with pytest.raises(ResourceError, match="was cut") as caught, connect(board) as device:
        device.push(source, "bundles/a", cut)
    assert "\n" not in str(caught.value)
    assert not (board.folder / "bundles/a/deep/er/large.bin").exists()
    parts = list((board.folder / "bundles/a").glob(".edge-*.part"))
    assert len(parts) == 1  # kept to go on with, under a name that no bundle has
    held = parts[0].stat().st_size
    assert 0 < held < 9_000_000
    with connect(board) as device:
        rest = device.push(source, "bundles/a")
    assert rest.sent_bytes < 9_000_000 - held + 100_000
    assert same(source, board.folder / "bundles/a")


def test_a_damaged_part_is_not_used(board: Board, tmp_path: Path) -> None:
    """If it fails, a part that a power cut damaged becomes a file."""
    source = files(tmp_path / "source", count=0)
    digest = hashlib.sha256((source / "deep/er/large.bin").read_bytes()).hexdigest()
    (board.folder / "bundles/a").mkdir(parents=True)
    (board.folder / f"bundles/a/.edge-{digest}.part").write_bytes(b"\0" * 5_000_000)
    with connect(board) as device, pytest.raises(ResourceError, match="reads back other"):
        device.push(source, "bundles/a")
    assert not list((board.folder / "bundles/a").rglob("*large*"))
    with connect(board) as device:
        device.push(source, "bundles/a")
    assert same(source, board.folder / "bundles/a")


def test_what_runs_ends_with_the_connection(board: Board, tmp_path: Path) -> None:
    """If it fails, a measuring process goes on alone on the board and spoils the next measurement."""
    pid_file = tmp_path / "pid"
    started = threading.Event()

    def line(text: str) -> None:
        pid_file.write_text(text)
        started.set()
        board.cut()

    with pytest.raises(ResourceError, match="cut"), connect(board) as device:
        device.run(["/bin/sh", "-c", "echo $$; exec sleep 60"], {}, 60, line)
    assert started.is_set()
    stat = Path(f"/proc/{int(pid_file.read_text())}")
    for _ in range(500):
        if not stat.exists() or ") Z" in (stat / "stat").read_text():
            break
        threading.Event().wait(0.01)
    else:
        pytest.fail("it runs on")


def test_two_at_once(board: Board) -> None:
    """If it fails, two verifications measure on one board at once, or the second breaks the first's files."""
    with connect(board) as first, connect(board) as second:
        first.open()
        with pytest.raises(ResourceError, match="another verification is running on this device"):
            second.open()
    with connect(board) as third:
        third.open()


def test_an_unknown_host_key_is_refused_unless_asked_for(board: Board) -> None:
    """If it fails, anybody on the net can stand in for the board at the first contact."""
    known = board.root / "known_hosts"
    known.unlink()
    with pytest.raises(UntrustedError, match="host key is not known") as caught:
        connect(board)
    assert "--accept-new-host-key" in str(caught.value)
    with connect(board, accept_new_host_key=True) as device:
        assert device.facts().arch
    assert known.read_text().startswith(f"[127.0.0.1]:{board.port}")
    connect(board).close()  # known from now on


def test_a_changed_host_key_is_refused_even_then(board: Board) -> None:
    """If it fails, another machine at a known address gets the bundle."""
    board.trust_host_key((board.root / "user-key.pub").read_text())
    for accept in (False, True):
        with pytest.raises(UntrustedError, match="another than the known one") as caught:
            connect(board, accept_new_host_key=accept)
        assert "\n" not in str(caught.value)


def test_login_refused_and_nobody_there(board: Board) -> None:
    """If it fails, the most common mistakes end in a traceback or a prompt for a password."""
    (board.root / "authorized_keys").write_text("")
    with pytest.raises(ResourceError, match="login was refused"):
        connect(board)
    board.stop()
    with pytest.raises(ResourceError, match="no ssh server answers"):
        connect(board)
    with pytest.raises(InputError, match="no such host"):
        SshDevice(Address("ssh", "no-such-host.invalid"), ssh_command=board.ssh)
    with pytest.raises(MissingToolError, match="not installed"):
        SshDevice(board.address, ssh_command=("ssh-that-is-not-there",))


@pytest.fixture
def bare_board(tmp_path: Path) -> Iterator[Board]:
    """A board whose only programs are those of its folder bin."""
    (tmp_path / "bin").mkdir()
    made = Board(tmp_path / "bare", path=str(tmp_path / "bin"))
    yield made
    made.stop()


def test_python_missing_or_too_old(bare_board: Board, tmp_path: Path) -> None:
    """If it fails, an old system gets hundreds of megabytes before it is refused, or a traceback."""
    with pytest.raises(MissingToolError, match=r"no Python 3\.11 or newer on the device \(found: none\)"):
        connect(bare_board)
    old = tmp_path / "bin/python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2\nexit 1\n')
    old.chmod(0o755)
    with pytest.raises(MissingToolError, match=r"found: Python 3\.9\.2"):
        connect(bare_board)


def test_a_talking_login_shell(board: Board, tmp_path: Path) -> None:
    """If it fails, a board whose profile prints something cannot be reached."""
    noisy = tmp_path / "noisy"
    noisy.write_text('#!/bin/sh\necho "Welcome!"\necho "{not json"\nexec "$@"\n')
    noisy.chmod(0o755)
    config = board.root / "authorized_keys"
    config.write_text(f'command="{noisy} /bin/sh -c \\"$SSH_ORIGINAL_COMMAND\\"" ' + config.read_text())
    with connect(board) as device:
        assert device.run(["/bin/echo", "hi"], {}, 5).stdout == "hi"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 80 MB."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted (not root)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def test_too_little_space_is_said_before_the_copy(board: Board, small_disk: Path, tmp_path: Path) -> None:
    """If it fails, a board is filled up before anybody learns that the bundle does not fit."""
    source = files(tmp_path / "source", count=2, large=20_000_000)
    with connect(board, folder=str(small_disk / "edge")) as device, pytest.raises(ResourceError) as caught:
        device.push(source, "bundles/a")
    assert "nothing was copied" in str(caught.value)
    assert not list((small_disk / "edge").rglob("*.bin"))


def test_space_that_ends_in_the_middle(board: Board, small_disk: Path, tmp_path: Path) -> None:
    """If it fails, a full board keeps a part that fills it for ever, or the error is a traceback."""
    source = files(tmp_path / "source", count=2)
    filler = small_disk / "filler"

    def fill(_label: str, fraction: float) -> None:
        if fraction > 0 and not filler.exists():
            free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
            filler.write_bytes(b"x" * (free - 1_000_000))

    with connect(board, folder=str(small_disk / "edge")) as device:
        with pytest.raises(ResourceError, match="no space left on the device"):
            device.push(source, "bundles/a", fill)
        assert not list((small_disk / "edge").rglob("*.part"))
        filler.unlink()
        device.push(source, "bundles/a")  # the same connection goes on
    assert same(source, small_disk / "edge/bundles/a")


def test_options_win_over_the_configuration() -> None:
    """If it fails, a user's `StrictHostKeyChecking no` or a prompt decides."""
    told = options(Address("ssh", "board", "pi", 2222), accept_new_host_key=False)
    for part in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ForwardAgent=no"):
        assert part in told
    assert told[-4:] == ["-l", "pi", "-p", "2222"]
    assert "StrictHostKeyChecking=accept-new" in options(Address("ssh", "board"), accept_new_host_key=True)


@pytest.mark.parametrize(
    ("said", "words", "kind"),
    [
        ("ssh: connect to host b port 22: Connection timed out", "cannot be reached", ResourceError),
        ("ssh: connect to host b port 22: No route to host", "cannot be reached", ResourceError),
        ("pi@b: Permission denied (publickey,password).", "login was refused", ResourceError),
        ("/etc/x: line 3: Bad configuration option: foo", "refuses its configuration", InputError),
        ("No ED25519 host key is known for b and you have requested strict checking.", "not known", UntrustedError),
        ("kex_exchange_identification: read: Connection reset by peer", "was cut", ResourceError),
        ("", "was cut", ResourceError),
    ],
)
def test_what_ssh_says(said: str, words: str, kind: type[EdgeError]) -> None:
    """If it fails, a person reads ssh's protocol words instead of what to do."""
    error = ssh_failure(f"debug\n{said}\n", 255, Address("ssh", "b", "pi"))
    assert isinstance(error, kind)
    assert words in str(error)
    assert "\n" not in str(error)
    assert json.dumps(str(error)).count("ssh://pi@b") == 1
