"""Writes an export into a folder that the person chose: whole or not at all, private, under a name without patient
words.

A file name is read by whoever sees the folder, a backup's index or a printer's queue: it holds the first characters of
the encounter's random id and the day, no name and no number of the patient. Nothing is written over: a second export of
the same day gets a number, unless it is the same to the byte.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge.app.export.keyed import keyed
from edge.app.export.pdf import Paper, pdf
from edge.app.export.sheet import FlagRow
from edge.app.i18n import DEFAULT
from edge.clinical.encounter.codec import content_sha256
from edge.clinical.encounter.model import Encounter, EncounterState
from edge.clinical.fhir import AuditRow, DeviceStamp, document
from edge.clinical.fhir.validate import validate
from edge.errors import InputError, MissingToolError, ResourceError
from edge.files import atomic_file, sha256_file

SPARE_BYTES = 1 << 20  # left free, so that the folder's file system still works afterwards
MODE = 0o600
MOST_OF_A_DAY = 99
_SAFE = re.compile(r"[^A-Za-z0-9]")
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ENOTCONN)

FreeSpace = Callable[[Path], int]


@dataclass(frozen=True)
class Exported:
    """What was written. sha256: hex, of the file; bytes: its size."""

    path: Path
    sha256: str
    bytes: int


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write where the folder is."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def export_fhir(
    enc: Encounter,
    folder: Path,
    *,
    device: DeviceStamp,
    now: datetime,
    audit: Sequence[AuditRow] = (),
    with_transcript: bool = False,
    free: FreeSpace = free_bytes,
) -> Exported:
    """Write the encounter as a FHIR document (.fhir.json), checked before it is written.

    Errors: InputError for an encounter that was changed after it was signed or a document that is not valid;
    ResourceError for a folder that cannot take it; MissingToolError without fhir.resources.
    """
    _untouched(enc)
    bundle = document(enc, device=device, audit=audit, now=now, with_transcript=with_transcript)
    try:
        validate(bundle)
    except MissingToolError as error:
        raise keyed(error, "export.missing_package") from None
    except InputError as error:
        raise keyed(error, "export.invalid") from None
    data = json.dumps(bundle, ensure_ascii=False, indent=1).encode("utf-8", errors="replace")
    return write(folder, file_stem(enc, now), ".fhir.json", data, free=free)


def export_pdf(
    enc: Encounter,
    folder: Path,
    *,
    now: datetime,
    flags: Sequence[FlagRow] = (),
    paper: Paper = "a4",
    evidence: bool = False,
    language: str = DEFAULT,
    audit_head: str = "",
    free: FreeSpace = free_bytes,
) -> Exported:
    """Write the print (.pdf). audit_head: hash of the audit log's last entry, '' leaves it out.

    Errors: as of `export_fhir`; MissingToolError without reportlab.
    """
    _untouched(enc)
    try:
        data = pdf(enc, flags, paper=paper, evidence=evidence, language=language, audit_head=audit_head)
    except MissingToolError as error:
        raise keyed(error, "export.missing_package") from None
    return write(folder, file_stem(enc, now), ".pdf", data, free=free)


def _untouched(enc: Encounter) -> None:
    """A signature stands for what was signed and for nothing else."""
    if enc.state is EncounterState.SIGNED and enc.signature and enc.signature.content_sha256 != content_sha256(enc):
        error = InputError("this visit is not what was signed", mend="do not use it; restore a backup")
        raise keyed(error, "export.changed")


def file_stem(enc: Encounter, now: datetime) -> str:
    """The name without its ending: short id and day, '-draft' before somebody signed."""
    short = _SAFE.sub("", enc.id)[:8].lower() or hashlib.sha256(enc.id.encode("utf-8", "replace")).hexdigest()[:8]
    draft = "" if enc.state is EncounterState.SIGNED else "-draft"
    return f"visit-{short}-{now:%Y-%m-%d}{draft}"


def write(folder: Path, stem: str, ending: str, data: bytes, *, free: FreeSpace = free_bytes) -> Exported:
    """Put `data` into the folder under a free name. Errors: ResourceError, one line, for a folder that cannot take it.

    A kill leaves no file under its name; what it may leave is a hidden part, which the next export of the same visit
    removes.
    """
    digest = hashlib.sha256(data).hexdigest()
    try:
        if not folder.is_dir():
            raise _gone()
        _clear_parts(folder, stem)
        if free(folder) < len(data) + SPARE_BYTES:
            error = ResourceError(
                f"not enough free space in the chosen folder ({len(data)} bytes and 1 MiB to spare are needed)",
                mend="free space or choose another folder",
            )
            raise keyed(error, "export.full")
        path = _free_name(folder, stem, ending, data, digest)
        with atomic_file(path) as file:
            # Before the first byte: at no moment can another user of this machine read a part of it. A file system
            # without owners (a USB stick's) has no such rights to set.
            with contextlib.suppress(PermissionError, NotImplementedError):
                os.fchmod(file.fileno(), MODE)
            file.write(data)
    except OSError as fault:
        raise _said(fault) from None
    except ResourceError as fault:
        # atomic_file names the file; here the cause counts, and whether the stick is still there.
        cause = fault.__cause__
        raise (_said(cause) if isinstance(cause, OSError) else fault) from None
    return Exported(path, digest, len(data))


def _said(error: OSError) -> ResourceError:
    """A system's error in one line. The folder's path stays out: it may be named after a patient."""
    if error.errno in _GONE:
        return _gone()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        full = ResourceError("no space is left in the chosen folder", mend="free space or choose another folder")
        return keyed(full, "export.full")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        closed = ResourceError("the chosen folder cannot be written to", mend="choose another folder")
        return keyed(closed, "export.read_only")
    reason = os.strerror(error.errno) if error.errno else "unknown error"
    failed = ResourceError(f"the export could not be written ({reason})", mend="choose another folder")
    return keyed(failed, "export.failed")


def _gone() -> ResourceError:
    gone = ResourceError("the chosen folder is not there", mend="plug the medium in again or choose another folder")
    return keyed(gone, "export.gone")


def _free_name(folder: Path, stem: str, ending: str, data: bytes, digest: str) -> Path:
    """The first name that is free, or that holds these very bytes."""
    for count in range(1, MOST_OF_A_DAY + 1):
        path = folder / (f"{stem}{ending}" if count == 1 else f"{stem}-{count}{ending}")
        if not os.path.lexists(path):
            return path
        if path.is_file() and path.stat().st_size == len(data) and sha256_file(path) == digest:
            return path
    many = ResourceError(f"there are {MOST_OF_A_DAY} exports of this visit already", mend="choose another folder")
    raise keyed(many, "export.many")


def _clear_parts(folder: Path, stem: str) -> None:
    """Remove what a killed export of the same visit left: it holds a patient's words."""
    for left in folder.glob(f".{stem}*.part"):
        with contextlib.suppress(OSError):
            left.unlink()
