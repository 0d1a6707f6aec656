"""Write beside, fsync, rename: whole or not at all, under a full disk, a read-only folder and a kill."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import EdgeError, ExitStatus, InputError, ResourceError
from edge.files import CHUNK_BYTES, atomic_file, fsync_directory, resource_error, sha256_file, write_atomic

REPO = Path(__file__).resolve().parents[1]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_new_and_over_old(tmp_path: Path) -> None:
    """The ordinary case, and nothing left beside it."""
    path = tmp_path / "x.json"
    write_atomic(path, b"one")
    assert path.read_bytes() == b"one"
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    write_atomic(path, b"")
    assert path.read_bytes() == b""
    assert names(tmp_path) == ["x.json"]


def test_nobody_sees_half_of_it(tmp_path: Path) -> None:
    """A reader at any moment must find the old file or the new one."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with atomic_file(path) as file:
        file.write(b"new" * 1000)
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" * 1000


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, InputError])
def test_an_error_inside_leaves_the_old(tmp_path: Path, raised: type[BaseException]) -> None:
    """A stage that fails, or Ctrl-C, half-way through a file."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(raised), atomic_file(path) as file:
        file.write(b"half")
        raise raised("stop")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """No space may show at the write, at the flush to the disk, or when the folder grows."""
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call == "write":
        with pytest.raises(ResourceError, match="no space left"), atomic_file(path):
            full()
    else:
        monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
        with pytest.raises(ResourceError, match="no space left") as caught:
            write_atomic(path, b"new")
        assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_a_write_that_the_system_cuts_short(tmp_path: Path) -> None:
    """A real short write (RLIMIT_FSIZE), beyond what the buffer holds."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        for size in (60_000, 5_000_000):
            with pytest.raises(ResourceError, match="File too large"):
                write_atomic(path, bytes(size))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_folders_that_cannot_take_it(tmp_path: Path) -> None:
    """A wrong --output is one line."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "x", tmp_path / "file" / "x", tmp_path / "folder", tmp_path / ("n" * 300)):
        with pytest.raises(ResourceError) as caught:
            write_atomic(path, b"new")
        assert len(str(caught.value).splitlines()) == 1
        assert caught.value.mend
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == []


def test_a_read_only_folder(tmp_path: Path) -> None:
    """Said as such. In a child, because root may write anywhere: it becomes nobody first."""
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "x").write_bytes(b"old")
    folder.chmod(0o555)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from edge.files import write_atomic\n"
        "os.geteuid() or os.setuid(65534)\n"
        "try:\n"
        "    write_atomic(Path(sys.argv[1]), b'new')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    path = folder / "x"
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=REPO, capture_output=True, text=True, check=True
    )
    folder.chmod(0o755)
    assert result.stdout == f"ResourceError {path}: cannot be written; choose a folder that you may write to.\n"
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("where", ["replace", "fsync"])
def test_killed_before_the_rename(tmp_path: Path, where: str) -> None:
    """Power off in the middle: the old file stands, what is left beside it is hidden, and the next write works."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from edge.files import write_atomic\n"
        "def wait(*_):\n"
        "    print('here', flush=True)\n"
        "    time.sleep(60)\n"
        f"{'Path.replace' if where == 'replace' else 'os.fsync'} = wait\n"
        "write_atomic(Path(sys.argv[1]), b'new' * 100_000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=REPO, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert path.read_bytes() == b"old"
    assert all(name == "x" or (name.startswith(".x.") and name.endswith(".part")) for name in names(tmp_path))
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_the_rename_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without these two the file may be empty or gone after a power cut, though the program had ended."""
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def watched_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    write_atomic(tmp_path / "x", b"new")
    assert done == ["file", "rename", "folder"]
    fsync_directory(tmp_path)
    assert done[3:] == ["folder"]


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_digest_of_a_file(tmp_path: Path, size: int) -> None:
    """Every digest of a bundle comes from here."""
    data = os.urandom(size)
    (tmp_path / "x").write_bytes(data)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "no space left"),
        (errno.EROFS, "cannot be written"),
        (errno.EACCES, "cannot be written"),
        (errno.EPERM, "cannot be written"),
        (errno.EIO, "Input/output error"),
        (None, "odd"),
    ],
)
def test_system_errors_in_a_users_words(number: int | None, words: str) -> None:
    """An errno is nothing to act on; each line says what to do."""
    raised = OSError(number, os.strerror(number)) if number else OSError("odd")
    error = resource_error(raised, "place")
    assert isinstance(error, EdgeError)
    assert error.status is ExitStatus.RESOURCE
    assert str(error).startswith(f"place: {words}")
    assert error.mend
