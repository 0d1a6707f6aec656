"""Exports into a folder. When these fail, half a note or a patient's name lies on somebody's stick."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.app.export import folder as folder_module
from edge.app.export.folder import SPARE_BYTES, Exported, export_fhir, export_pdf, file_stem, write
from edge.app.i18n import catalogue
from edge.clinical.encounter.codec import content_sha256
from edge.clinical.encounter.model import Encounter, Patient
from edge.errors import EdgeError, InputError, ResourceError
from tests.clinical.fhir.encounters import DEVICE, EXAMPLE, NOW, signed

REPO = Path(__file__).resolve().parents[3]


def closed() -> Encounter:
    """The example with a signature that fits it."""
    found = signed()
    assert found.signature is not None
    return replace(found, signature=replace(found.signature, content_sha256=content_sha256(found)))


def fhir(encounter: Encounter, folder: Path, **more: Any) -> Exported:
    """An export as the app makes it."""
    return export_fhir(encounter, folder, device=DEVICE, now=NOW, **more)


def test_fhir_and_pdf_are_written(tmp_path: Path) -> None:
    """If not: nothing leaves, or the digest told is not that of the file."""
    for done in (fhir(closed(), tmp_path), export_pdf(closed(), tmp_path, now=NOW)):
        data = done.path.read_bytes()
        assert done.sha256 == hashlib.sha256(data).hexdigest()
        assert done.bytes == len(data)
        assert stat.S_IMODE(done.path.stat().st_mode) == 0o600
    assert json.loads(fhir(closed(), tmp_path).path.read_text(encoding="utf-8"))["type"] == "document"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "visit-e1-2026-03-04.fhir.json",
        "visit-e1-2026-03-04.pdf",
    ]


def test_names_and_errors_tell_nothing_of_the_patient(tmp_path: Path) -> None:
    """If not: a name stands in a folder's listing, a backup's index or an error on the screen."""
    done = fhir(EXAMPLE, tmp_path)
    assert done.path.name == "visit-e1-2026-03-04-draft.fhir.json"
    for word in ("Müller", "MRN", "77", "1957", "glaucoma"):
        assert word not in done.path.name
        assert word not in repr(done)
    hostile = replace(EXAMPLE, id="../../etc/Müller", patient=Patient("x"))
    assert file_stem(hostile, NOW) == "visit-etcmller-2026-03-04-draft"
    assert file_stem(replace(EXAMPLE, id="患者"), NOW).startswith("visit-")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """If not: a second export takes the first, or an export fills a folder with equal copies."""
    first = write(tmp_path, "visit-1", ".pdf", b"one")
    assert write(tmp_path, "visit-1", ".pdf", b"one").path == first.path
    second = write(tmp_path, "visit-1", ".pdf", b"two")
    assert second.path.name == "visit-1-2.pdf"
    assert first.path.read_bytes() == b"one"
    # A link under the name is not followed.
    (tmp_path / "visit-2.pdf").symlink_to(tmp_path / "elsewhere")
    assert write(tmp_path, "visit-2", ".pdf", b"x").path.name == "visit-2-2.pdf"
    assert not (tmp_path / "elsewhere").exists()


def test_a_signature_stands_for_what_was_signed(tmp_path: Path) -> None:
    """If not: a visit that was changed on the disk leaves under a clinician's name."""
    changed = replace(closed(), patient=replace(EXAMPLE.patient, name="Somebody Else"))
    for export in (fhir, lambda encounter, folder: export_pdf(encounter, folder, now=NOW)):
        with pytest.raises(InputError, match="not what was signed"):
            export(changed, tmp_path)
    assert list(tmp_path.iterdir()) == []


def one_line(error: EdgeError, folder: Path) -> None:
    """A line for a person, without the folder's name, which may be a patient's, and a sentence of the catalogues."""
    assert all(vars(error)["key"] in catalogue(language) for language in ("en", "de"))
    assert len(str(error).splitlines()) == 1
    assert folder.name not in str(error)
    assert error.mend


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """If not: a stick that was pulled out ends in a traceback."""
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "Meier, Anna", tmp_path / "file"):
        with pytest.raises(ResourceError, match="is not there") as caught:
            fhir(EXAMPLE, folder)
        one_line(caught.value, folder)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EIO, "is not there"),
        (errno.ENODEV, "is not there"),
        (errno.EROFS, "cannot be written to"),
        (errno.EACCES, "cannot be written to"),
        (errno.ENOSPC, "no space is left"),
        (errno.EFBIG, "could not be written"),
    ],
)
@pytest.mark.parametrize("where", ["replace", "fsync"])
def test_a_folder_that_fails_while_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str, where: str
) -> None:
    """If not: a full or read-only medium, or one pulled out half-way, is told wrongly or leaves a part."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*((os, "fsync") if where == "fsync" else (Path, "replace")), fail)
    with pytest.raises(ResourceError, match=words) as caught:
        write(tmp_path, "visit-1", ".pdf", b"x" * 1000)
    one_line(caught.value, tmp_path)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_free_space_is_asked_first(tmp_path: Path) -> None:
    """If not: an export fills a disk to the last byte, on which the app's own records may lie."""
    free: Callable[[Path], int] = lambda folder: SPARE_BYTES + 2  # noqa: E731
    with pytest.raises(ResourceError, match="not enough free space"):
        write(tmp_path, "visit-1", ".pdf", b"abc", free=free)
    assert list(tmp_path.iterdir()) == []
    assert write(tmp_path, "visit-1", ".pdf", b"ab", free=free).bytes == 2


def test_a_medium_without_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: no export goes onto an ordinary USB stick, whose file system knows no owners."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no rights here")

    monkeypatch.setattr(folder_module.os, "fchmod", refuse)
    assert write(tmp_path, "visit-1", ".pdf", b"x").path.read_bytes() == b"x"


def test_a_read_only_folder(tmp_path: Path) -> None:
    """The real thing, in a child that is nobody: root may write anywhere."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    tmp_path.chmod(0o755)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from edge.app.export.folder import write\n"
        "os.geteuid() or os.setuid(65534)\n"
        "try:\n"
        "    write(Path(sys.argv[1]), 'visit-1', '.pdf', b'x')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    shared = Path("/tmp") / f"edge-export-test-{os.getpid()}"  # noqa: S108 - pytest's own folder is closed to nobody
    shutil.copytree(tmp_path, shared)
    try:
        (shared / "locked").chmod(0o555)
        shared.chmod(0o755)
        command = [sys.executable, "-c", code, str(shared / "locked")]
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
    finally:
        (shared / "locked").chmod(0o755)
        shutil.rmtree(shared)
    assert done.stdout == "ResourceError the chosen folder cannot be written to; choose another folder.\n"


def test_kill_at_every_step(tmp_path: Path) -> None:
    """If not: a power cut leaves half a note under its name, or a part with a patient's words for ever."""
    child = Path(__file__).with_name("export_kill_child.py")
    done = subprocess.run([sys.executable, child, tmp_path], check=False, capture_output=True, text=True, cwd=REPO)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["steps"] >= 3
    assert told["seen"] == ["nothing", "whole"]


def test_another_day_is_another_name() -> None:
    """If not: two days' exports of one visit cannot be told apart."""
    assert file_stem(EXAMPLE, NOW) != file_stem(EXAMPLE, NOW + timedelta(days=1))
