"""Writes the kiosk's files below a root folder: a board's own "/", or an image that is being built."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from edge.app.kiosk.unit import (
    NAME,
    KioskOptions,
    options_of,
    render_sysusers,
    render_tmpfiles,
    render_udev,
    render_unit,
)
from edge.errors import InputError
from edge.files import resource_error, write_atomic

UNIT = f"usr/lib/systemd/system/{NAME}.service"
ENABLED = f"etc/systemd/system/multi-user.target.wants/{NAME}.service"
SYSUSERS = f"usr/lib/sysusers.d/{NAME}.conf"
TMPFILES = f"usr/lib/tmpfiles.d/{NAME}.conf"
UDEV = f"usr/lib/udev/rules.d/70-{NAME}.rules"
MODE = 0o644  # systemd and udev read them as any user; they hold no secret


def files(options: KioskOptions) -> dict[str, str]:
    """Path below the root -> text. Errors: InputError."""
    return {
        UNIT: render_unit(options),
        SYSUSERS: render_sysusers(),
        TMPFILES: render_tmpfiles(),
        UDEV: render_udev(),
    }


def install(
    root: Path,
    *,
    bundles: Sequence[Path],
    density: float = 1.0,
    size_px: tuple[int, int] | None = None,
    program: str = "/opt/edge/bin/edge",
    memory_max_bytes: int | None = None,
    speech_model: Path | None = None,
) -> list[Path]:
    """Write the files and enable the unit; what was written, in order. Writing again changes nothing.

    bundles, program, speech_model: as they are on the device. A path below `root` is told as the device will see it.
    Errors: InputError for a root that is no folder or a path that is not absolute; ResourceError for what cannot be
    written.
    """
    if not root.is_dir():
        raise InputError("the root folder is not there", where=str(root), mend="name a folder, or / for this machine")
    options = dataclasses.replace(
        options_of([_on_device(root, one) for one in bundles], density),
        size_px=size_px,
        program=PurePosixPath(program),
        memory_max_bytes=memory_max_bytes,
        speech_model=_on_device(root, speech_model) if speech_model else None,
    )
    if not options.bundles:
        raise InputError("no bundle is named for the kiosk", mend="name the bundles as they are on the device")
    written = []
    try:
        for name, text in files(options).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, text.encode("utf-8"))
            path.chmod(MODE)
            written.append(path)
        written.append(_enable(root))
    except OSError as error:
        raise resource_error(error, str(root)) from error
    return written


def _enable(root: Path) -> Path:
    """What `systemctl enable` does, also in an image where no systemd runs."""
    link = root / ENABLED
    link.parent.mkdir(parents=True, exist_ok=True)
    target = f"/{UNIT}"
    if link.is_symlink() and str(link.readlink()) == target:
        return link
    beside = link.with_name(f".{link.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)
    return link


def _on_device(root: Path, path: Path) -> PurePosixPath:
    """A path as the device sees it: without the root of the image, where it is given with it."""
    # Not resolved: a link of the image points to the device's own places.
    plain, base = (Path(os.path.abspath(one)) for one in (path, root))  # noqa: PTH100
    if base != Path("/") and plain.is_relative_to(base):
        return PurePosixPath("/") / PurePosixPath(plain.relative_to(base).as_posix())
    return PurePosixPath(plain.as_posix())
