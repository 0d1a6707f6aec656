"""The .deb format with the standard library: an `ar` of debian-binary, control.tar.gz and data.tar.gz.

The same entries give the same bytes: order, times, owners and modes are those given here, never those of the host; only
another zlib (zlib-ng) may pack them differently. Nothing is called done that was not read back.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from edge.errors import BundleError, ResourceError, SourceError
from edge.files import CHUNK_BYTES, atomic_file

MAGIC = b"!<arch>\n"
FORMAT = b"2.0\n"
HEADER_BYTES = 60
# The size field of an ar header has ten decimal digits.
MOST_BYTES = 9_999_999_999
# Quantised weights shrink by 6 % whatever is tried (xz takes six times as long for 4 %), wheels by more than half.
LEVEL = 1
GZIP_WINDOW = 31
CONTROL, DATA = "control.tar.gz", "data.tar.gz"


@dataclass(frozen=True)
class Entry:
    """One path of a package, from its root, without a leading slash.

    source: a file on this machine, or `data`; neither for a folder or a link. link: what a symbolic link says.
    """

    path: str
    source: Path | None = None
    data: bytes | None = None
    link: str = ""
    executable: bool = False

    @property
    def is_file(self) -> bool:
        """A regular file."""
        return self.source is not None or self.data is not None

    @property
    def mode(self) -> int:
        """Permission bits; all belongs to root."""
        if self.link:
            return 0o777
        return 0o644 if self.is_file and not self.executable else 0o755

    def size_bytes(self) -> int:
        """Of its content; 0 for folders and links. Errors: SourceError for a file that went away."""
        if self.data is not None:
            return len(self.data)
        return _status(self.source).st_size if self.source is not None else 0

    def open(self) -> BinaryIO:
        """The content of a regular file. Errors: SourceError."""
        if self.source is None:
            return io.BytesIO(self.data or b"")
        _status(self.source)
        try:
            return self.source.open("rb")
        except OSError as error:
            raise _vanished(self.source) from error


def _vanished(path: Path) -> SourceError:
    return SourceError("cannot be read for the package", where=str(path), mend="let nothing else change it meanwhile")


def _status(path: Path) -> os.stat_result:
    try:
        status = path.lstat()
    except OSError as error:
        raise _vanished(path) from error
    if not stat.S_ISREG(status.st_mode):
        raise SourceError("is not a regular file", where=str(path), mend="a package takes regular files only")
    return status


def with_folders(entries: Iterable[Entry]) -> list[Entry]:
    """The entries and every folder above them, each once, sorted so that a folder comes before what is in it.

    Errors: SourceError for a path that is not plain and relative, or that comes twice.
    """
    found: dict[str, Entry] = {}
    for entry in entries:
        path = PurePosixPath(entry.path)
        odd = any(ord(letter) < 0x20 or letter == "\x7f" for letter in entry.path)
        if odd or path.is_absolute() or ".." in path.parts or not path.parts or str(path) != entry.path:
            raise SourceError(f"{entry.path[:80]!r} is no path of a package", mend="rename the file")
        if entry.path in found:
            raise SourceError(f"{entry.path[:80]!r} comes twice into the package", mend="remove one of the two")
        found[entry.path] = entry
    for entry in list(found.values()):
        for above in list(PurePosixPath(entry.path).parents)[:-1]:
            held = found.setdefault(str(above), Entry(str(above)))
            if held.is_file or held.link:
                raise SourceError(f"{held.path[:80]!r} is a file and a folder of the package", mend="rename one")
    return sorted(found.values(), key=lambda entry: PurePosixPath(entry.path).parts)


def write_tar(entries: Iterable[Entry], output: IO[bytes], time_s: int) -> None:
    """The entries as dpkg wants them: `./` in front, root's, GNU format for long names."""
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
        for entry in [Entry("."), *entries]:
            info = tarfile.TarInfo("./" if entry.path == "." else f"./{entry.path}")
            info.uname = info.gname = "root"
            info.mtime, info.mode = time_s, entry.mode
            if entry.is_file:
                info.size = entry.size_bytes()
                with entry.open() as file:
                    _add(tar, info, file, entry)
            else:
                info.type, info.linkname = (tarfile.SYMTYPE, entry.link) if entry.link else (tarfile.DIRTYPE, "")
                tar.addfile(info)


def _add(tar: tarfile.TarFile, info: tarfile.TarInfo, file: BinaryIO, entry: Entry) -> None:
    try:
        tar.addfile(info, file)
    except (OSError, tarfile.TarError) as error:
        if isinstance(error, OSError) and error.errno is not None and "unexpected end" not in str(error):
            raise
        raise _vanished(entry.source or Path(entry.path)) from error  # shorter than a moment ago


class _Compressed(io.RawIOBase):
    """Writes gzip into `output`, without a name or a time."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_WINDOW)

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._output.write(self._packer.compress(piece))
        return len(piece)

    def finish(self) -> None:
        """What the compressor still holds."""
        self._output.write(self._packer.flush())


def _header(name: str, size_bytes: int, time_s: int) -> bytes:
    return f"{name:<16}{time_s:<12}{0:<6}{0:<6}{100644:<8}{size_bytes:<10}`\n".encode("ascii")


def _member(output: BinaryIO, name: str, entries: Iterable[Entry], time_s: int, where: str) -> None:
    """One compressed tar; its size goes into its header afterwards. Errors: ResourceError when it is too large."""
    at = output.tell()
    output.write(_header(name, 0, time_s))
    packed = _Compressed(output)
    write_tar(entries, packed, time_s)  # type: ignore[arg-type]
    packed.finish()
    size_bytes = output.tell() - at - HEADER_BYTES
    if size_bytes > MOST_BYTES:
        raise too_large(size_bytes, where)
    if size_bytes % 2:
        output.write(b"\n")
    end = output.tell()
    output.seek(at)
    output.write(_header(name, size_bytes, time_s))
    output.seek(end)


def too_large(size_bytes: int, where: str) -> ResourceError:
    """A bundle that no .deb can hold."""
    return ResourceError(
        f"a .deb holds at most 10 GB, this one has {size_bytes / 1e9:.1f}",
        where=where,
        mend="install the package of a small bundle and copy the large one beside it with `edge pack`",
    )


def write_deb(path: Path, control: Iterable[Entry], data: Iterable[Entry], *, time_s: int) -> None:
    """Write the package at `path`, whole or not at all, and read it back.

    control: control, md5sums, maintainer scripts, ...; data: as with_folders gives them.
    Errors: ResourceError when it cannot be written or is too large; SourceError for a file that changed.
    """
    data = list(data)
    with atomic_file(path) as output:
        output.write(MAGIC + _header("debian-binary", len(FORMAT), time_s) + FORMAT)
        _member(output, CONTROL, control, time_s, str(path))
        _member(output, DATA, data, time_s, str(path))
        output.flush()
        _check(Path(output.name), data, path)


def _check(written: Path, data: list[Entry], path: Path) -> None:
    wanted = [(f"./{entry.path}", entry.size_bytes(), entry.mode) for entry in data]
    found = [(name, size_bytes, mode) for name, size_bytes, mode, _ in read_member(written, DATA)]
    if found[1:] != wanted:
        raise ResourceError("the package reads back other than it was written", where=str(path), mend="check the disk")


def md5(entry: Entry) -> str:
    """As dpkg --verify compares it; no protection against anybody."""
    digest = hashlib.md5(usedforsecurity=False)
    with entry.open() as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def members(path: Path) -> dict[str, tuple[int, int]]:
    """Name -> (offset, size in bytes) of the ar. Errors: BundleError when it is no whole .deb."""
    found: dict[str, tuple[int, int]] = {}
    broken = BundleError("is not a whole .deb", where=str(path), mend="make the package again")
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise broken
        end = os.fstat(file.fileno()).st_size
        while len(header := file.read(HEADER_BYTES)) == HEADER_BYTES:
            number = header[48:58].strip()
            if header[58:] != b"`\n" or not number.isdigit():
                raise broken
            name, size_bytes = header[:16].decode("ascii", "replace").strip().rstrip("/"), int(number)
            found[name] = (file.tell(), size_bytes)
            if file.tell() + size_bytes > end:
                raise broken
            file.seek(size_bytes + size_bytes % 2, os.SEEK_CUR)
        if header.strip(b"\n"):
            raise broken
    if list(found) != ["debian-binary", CONTROL, DATA]:
        raise broken
    return found


def read_member(path: Path, name: str, *, wanted: str = "") -> Iterator[tuple[str, int, int, bytes]]:
    """(path, size in bytes, mode, content of the wanted one) of a tar member, each read to its end.

    Errors: BundleError for a package that is not whole.
    """
    offset, size_bytes = members(path)[name]
    try:
        with path.open("rb") as file:
            file.seek(offset)
            window = io.BufferedReader(_Window(file, size_bytes))
            with gzip.open(window) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
                for info in tar:
                    held, content = tar.extractfile(info) if info.isreg() else None, []
                    while held is not None and (piece := held.read(CHUNK_BYTES)):
                        content += [piece] if info.name == wanted else []
                    yield info.name or "./", info.size, info.mode, b"".join(content)
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        raise BundleError("is not a whole .deb", where=str(path), mend="make the package again") from error


class _Window(io.RawIOBase):
    """The next `size_bytes` of a file."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file, self._left = file, size_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._file.read(min(len(buffer), self._left))
        buffer[: len(piece)] = piece
        self._left -= len(piece)
        return len(piece)


def control_file(path: Path, name: str) -> str:
    """A file of the control part, as `control` or `postinst`; "" where there is none. Errors: BundleError."""
    for found, _, _, content in read_member(path, CONTROL, wanted=f"./{name}"):
        if found == f"./{name}":
            return content.decode("utf-8")
    return ""
