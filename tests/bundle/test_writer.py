"""Writing: when these fail, a failed build destroys the bundle that was there, or leaves one that is not whole."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bundle_dummies import FILES, beside, build, contents, fields, write_files

from edge.bundle.open import open_bundle
from edge.bundle.place import locked, recover
from edge.bundle.signing import SigningKey, Trust
from edge.bundle.writer import BundleWriter
from edge.errors import BundleError, EdgeError, ExitStatus, ResourceError, SpecError

OTHER = FILES | {"model/decoder.onnx": b"another graph"}


def one_line(error: EdgeError) -> str:
    """The text of an error, which is one line."""
    assert "\n" not in str(error)
    return str(error)


def test_commit(tmp_path: Path, key: SigningKey, trust: Trust) -> None:
    """If not: a build that says it is done left nothing that opens."""
    written = build(tmp_path / "out" / "notes", key)
    assert written == open_bundle(tmp_path / "out" / "notes", trust)
    assert beside(tmp_path / "out" / "notes") == []
    assert set(contents(written.path)) == {*FILES, "manifest.json", "signature"}


def test_same_input_same_bytes(tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: a rebuild on another host cannot prove anything."""
    one = build(tmp_path / "a" / "notes", key)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    monkeypatch.chdir(tmp_path)
    two = build(Path("b/other"), key, dict(reversed(FILES.items())))
    assert contents(one.path) == contents(two.path)
    assert one.bundle_digest == two.bundle_digest


def test_second_build_replaces(tmp_path: Path, key: SigningKey, trust: Trust) -> None:
    """If not: a user must delete by hand, and deletes the wrong folder."""
    place = tmp_path / "notes"
    build(place, key)
    new = build(place, key, OTHER)
    assert open_bundle(place, trust).bundle_digest == new.bundle_digest
    assert (place / "model/decoder.onnx").read_bytes() == b"another graph"
    assert beside(place) == []


def test_empty_folder_is_taken(tmp_path: Path, key: SigningKey) -> None:
    """If not: `mkdir` before a build makes it fail."""
    (tmp_path / "notes").mkdir()
    build(tmp_path / "notes", key)


def test_failed_build_changes_nothing(tmp_path: Path, key: SigningKey) -> None:
    """If not: a stage that fails costs the bundle that worked."""
    place = tmp_path / "notes"
    build(place, key)
    before = contents(place)
    for failure in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(failure), BundleWriter(place) as writer:
            write_files(writer.folder, OTHER)
            raise failure
        assert contents(place) == before
        assert beside(place) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda place: (place.mkdir(), (place / "thesis.txt").write_text("mine")),
        lambda place: (place.mkdir(), (place / "manifest.json").write_text("{}")),
        lambda place: (place.mkdir(), (place / "manifest.json").write_text("not json")),
        lambda place: (place.mkdir(), (place / "photos").mkdir()),
        lambda place: place.write_text("mine"),
        lambda place: place.symlink_to("elsewhere"),
        lambda place: ((place.parent / "real").mkdir(), place.symlink_to("real")),
    ],
)
def test_never_replaces_what_is_not_a_bundle(tmp_path: Path, make: object) -> None:
    """If not: `edge build` into the wrong folder deletes somebody's work."""
    place = tmp_path / "notes"
    make(place)  # type: ignore[operator]
    before = contents(tmp_path)
    with pytest.raises(BundleError) as caught, BundleWriter(place):
        pass
    assert "move that one away" in one_line(caught.value)
    assert contents(tmp_path) == before


def test_never_deletes_a_foreign_file_in_a_bundle(tmp_path: Path, key: SigningKey) -> None:
    """If not: notes that a user kept beside the model are gone after a rebuild."""
    place = tmp_path / "notes"
    build(place, key)
    (place / "results.csv").write_text("mine")
    with pytest.raises(BundleError, match=r"results\.csv"):
        build(place, key, OTHER)
    assert (place / "results.csv").read_text() == "mine"


def test_broken_bundle_is_healed_by_a_rebuild(tmp_path: Path, key: SigningKey, trust: Trust) -> None:
    """If not: a changed file keeps a user from building again."""
    place = tmp_path / "notes"
    build(place, key)
    (place / "model/decoder.onnx").write_bytes(b"rotten")
    (place / "tokenizer/tokenizer.json").unlink()
    build(place, key)
    open_bundle(place, trust)


@pytest.mark.parametrize("missing", ["model_card.md", "sbom.cdx.json", "model/", "tokenizer/"])
def test_incomplete_build(tmp_path: Path, key: SigningKey, missing: str) -> None:
    """If not: a forgotten stage is found on the device."""
    with pytest.raises(BundleError, match="wrote no"):
        build(tmp_path / "notes", key, {name: data for name, data in FILES.items() if not name.startswith(missing)})
    assert not (tmp_path / "notes").exists()


@pytest.mark.parametrize(
    "extra", ["debug.log", "model/.decoder.onnx.0123abcd.part", "manifest.json", "attestations/a.json"]
)
def test_file_without_a_place(tmp_path: Path, key: SigningKey, extra: str) -> None:
    """If not: leftovers of a stage are signed and shipped."""
    with pytest.raises(BundleError) as caught:
        build(tmp_path / "notes", key, FILES | {extra: b"x"})
    one_line(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_link_in_the_build(tmp_path: Path, key: SigningKey) -> None:
    """If not: a bundle depends on a file of the build host."""
    with pytest.raises(BundleError, match="link"), BundleWriter(tmp_path / "notes") as writer:
        write_files(writer.folder)
        (writer.folder / "model/more").symlink_to("/etc/hostname")
        writer.commit(fields(), key)


def test_wrong_fields_and_keys(tmp_path: Path, key: SigningKey, device_key: SigningKey) -> None:
    """If not: a misspelt field is dropped, or a device signs models."""
    with pytest.raises(BundleError, match="'smapler'"):
        build(tmp_path / "notes", key, smapler={})
    with pytest.raises(BundleError, match="'golden_digest'"):
        build(tmp_path / "notes", key, golden_digest="x")
    with pytest.raises(SpecError, match="device key"):
        build(tmp_path / "notes", device_key)
    with pytest.raises(BundleError, match="not open"):
        _ = BundleWriter(tmp_path / "notes").folder
    assert list(tmp_path.iterdir()) == []


def test_second_writer_gets_one_line(tmp_path: Path, key: SigningKey, trust: Trust) -> None:
    """If not: two builds of one profile mix their files."""
    place = tmp_path / "notes"
    code = (
        "import sys; from edge.bundle.writer import BundleWriter; from edge.errors import EdgeError\n"
        "try:\n    BundleWriter(sys.argv[1]).__enter__()\n"
        "except EdgeError as error:\n    print(error); sys.exit(error.status)"
    )
    with BundleWriter(place) as writer:
        write_files(writer.folder)
        other = subprocess.run([sys.executable, "-c", code, str(place)], check=False, capture_output=True, text=True)
        assert other.returncode == ExitStatus.RESOURCE
        assert other.stdout.strip().count("\n") == 0
        assert "another run is writing this bundle" in other.stdout
        writer.commit(fields(), key)
    open_bundle(place, trust)


def test_killed_writer_frees_the_place(tmp_path: Path, key: SigningKey) -> None:
    """If not: after a crash nothing can be built until somebody finds a lock file."""
    place = tmp_path / "notes"
    code = (
        "import os, sys, signal; from edge.bundle.writer import BundleWriter\n"
        "with BundleWriter(sys.argv[1]) as writer:\n"
        "    (writer.folder / 'model').mkdir(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(place)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(beside(place)) == 2  # the lock's file and the unfinished folder
    build(place, key)
    assert beside(place) == []


def test_waiting_for_the_lock(tmp_path: Path) -> None:
    """If not: the file of a lock that was released lets two in at once."""
    import threading

    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(20):
            with locked(tmp_path / "x", wait=True):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 80
    assert list(tmp_path.iterdir()) == []


def test_recover_puts_the_old_one_back(tmp_path: Path, key: SigningKey, trust: Trust) -> None:
    """If not: a power cut between two renames loses the bundle. Opening alone must find it again."""
    place = tmp_path / "notes"
    digest = build(place, key).bundle_digest
    place.rename(tmp_path / ".notes.0123abcd.old")
    assert open_bundle(place, trust).bundle_digest == digest
    place.rename(tmp_path / ".notes.0123abcd.old")
    recover(place)
    assert open_bundle(place, trust).bundle_digest == digest
    assert beside(place) == []


def test_recover_touches_only_its_own(tmp_path: Path, key: SigningKey) -> None:
    """If not: the recovery of one bundle deletes what belongs to its neighbour."""
    build(tmp_path / "notes", key)
    others = [".notes2.0123abcd.building", ".notes.old", ".notes.xyz.trash", "notes.0123abcd.old", ".note.0123abcd.old"]
    for name in others:
        (tmp_path / name).mkdir()
    build(tmp_path / "notes", key, OTHER)
    assert beside(tmp_path / "notes") == sorted(others)


def test_attestations_survive_an_identical_rebuild(tmp_path: Path, key: SigningKey, device_key: SigningKey) -> None:
    """If not: rebuilding the same bytes throws away minutes of measurement on a device."""
    from edge.bundle.attestation import Check, new_attestation, write_attestation

    place = tmp_path / "notes"
    bundle = build(place, key)
    result = new_attestation(bundle, device_class="pi", device={}, checks=[Check("golden", True)], result=b"{}")
    path = write_attestation(place, result, device_key)
    build(place, key)
    assert path.exists()
    build(place, key, OTHER)
    assert not path.exists()


def test_everything_is_on_disk_before_the_swap(
    tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If not: a power cut after "done" leaves files of zeros behind good names."""
    place = tmp_path / "notes"
    synced: set[int] = set()
    wanted: set[int] = set()
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        real_fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        if Path(target) == place:
            wanted.update(path.stat().st_ino for path in (source, *Path(source).rglob("*")))
            assert wanted <= synced
            synced.clear()
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    build(place, key)
    assert len(wanted) == len(FILES) + 2 + 6  # files, manifest and signature, folders
    assert tmp_path.stat().st_ino in synced  # the rename itself


def _fails(number: int) -> object:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "no space left"),
        (errno.EROFS, "cannot be written"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir", "replace"])
def test_disk_errors(
    tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch, call: str, number: int, says: str
) -> None:
    """If not: a full disk ends in a traceback, or takes the old bundle along."""
    place = tmp_path / "notes"
    build(place, key)
    before = contents(place)
    with monkeypatch.context() as patch, pytest.raises(ResourceError) as caught, BundleWriter(place) as writer:
        write_files(writer.folder, OTHER)
        patch.setattr(os, call, _fails(number))
        if call == "mkdir":
            BundleWriter(tmp_path / "more" / "notes").__enter__()
        writer.commit(fields(), key)
    assert says in one_line(caught.value)
    assert caught.value.status == ExitStatus.RESOURCE
    recover(place)
    assert contents(place) == before
    assert beside(place) == []


def _limited(tmp_path: Path, key_home: Path, setup: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Build in a child after `setup`; prints the error and exits with its status."""
    code = f"""
import sys, signal, resource, subprocess
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from bundle_dummies import build, FILES
from edge.bundle.keys import KeyStore
from edge.errors import EdgeError
key = KeyStore(Path({str(key_home)!r})).load_signing_key()
{setup}
try:
    build(Path({str(place)!r}), key, FILES | {{"model/decoder.onnx.data": bytes(3 << 20)}})
except EdgeError as error:
    print(error); sys.exit(error.status)
except OSError as error:
    from edge.files import resource_error
    told = resource_error(error, "model"); print(told); sys.exit(told.status)
"""
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path)


def test_file_size_limit(tmp_path: Path, key: SigningKey, store: object, trust: Trust) -> None:
    """If not: a limit on file sizes kills the build, or the old bundle with it."""
    place = tmp_path / "notes"
    old = build(place, key)
    assert resource.RLIMIT_FSIZE is not None
    setup = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20,) * 2)"
    done = _limited(tmp_path, store.home, setup, place)  # type: ignore[attr-defined]
    assert done.returncode == ExitStatus.RESOURCE, done.stderr
    assert "File too large" in done.stdout
    assert open_bundle(place, trust).bundle_digest == old.bundle_digest
    assert beside(place) == []


@pytest.mark.parametrize(("options", "says"), [("size=1m", "no space left"), ("ro", "cannot be written")])
def test_full_and_read_only_disk(tmp_path: Path, store: object, options: str, says: str) -> None:
    """If not: a full or read-only disk ends in a traceback. On a real file system, in a mount namespace."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o {options} t "{disk}" && exec "$@"', "sh"]
    if subprocess.run([*mount, "true"], check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here; test_disk_errors covers the same errors")
    code = (
        f"import subprocess; _ = subprocess.run(['mount', '-t', 'tmpfs', '-o', '{options}', 't', '{disk}'], check=True)"
    )
    setup = (
        f"import ctypes\nctypes.CDLL(None).unshare(0x20000)\nsubprocess.run(['mount', '--make-rprivate', '/'])\n{code}"
    )
    done = _limited(tmp_path, store.home, setup, disk / "notes")  # type: ignore[attr-defined]
    assert done.returncode == ExitStatus.RESOURCE, done.stderr
    assert says in done.stdout
    assert done.stdout.count("\n") == 1


def test_parent_is_a_file(tmp_path: Path) -> None:
    """If not: a mistyped path ends in a traceback."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResourceError) as caught, BundleWriter(tmp_path / "file" / "notes"):
        pass
    one_line(caught.value)
