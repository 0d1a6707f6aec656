"""The update repository over HTTP: files below one folder, with Range, so that a download goes on where it stopped.

A path is looked up as it is written: every part must be a plain name, and the file that it leads to, links followed,
must lie in the folder. Nothing is listed, nothing that begins with a dot is served.

Small files are read whole before the first byte is sent: metadata is replaced while devices read it, and a length from
before the replacement with bytes from after it would be neither.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

WHOLE_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")
# Metadata is asked for anew every time; whatever is named by its content never changes.
METADATA_CACHE, TARGET_CACHE = "no-cache", "public, max-age=31536000, immutable"
_HASHED = re.compile(r"(^|[^0-9a-f])[0-9a-f]{64}([^0-9a-f]|$)")


def find_file(folder: Path, path: str) -> Path | None:
    """The regular file that `path` (relative, of a URL, decoded) names within `folder`; None where there is none."""
    parts = path.split("/")
    if len(parts) > 16 or not all(_NAME.fullmatch(part) for part in parts):
        return None
    try:
        root = folder.resolve(strict=True)
        file = root.joinpath(*parts).resolve(strict=True)
        if not file.is_relative_to(root) or not stat.S_ISREG(file.stat().st_mode):
            return None
    except (OSError, ValueError, RuntimeError):
        return None
    return file


def read_small(file: Path) -> bytes | None:
    """All of a small file, from one opening of it; None when it is larger."""
    with file.open("rb") as opened:
        if os.fstat(opened.fileno()).st_size > WHOLE_BYTES:
            return None
        data = opened.read(WHOLE_BYTES + 1)
        return data if len(data) <= WHOLE_BYTES else None


async def repository_file(folder: Path, request: Request) -> Response:
    """Answer GET /repo/..."""
    path = request.path_params["path"]
    missing = PlainTextResponse("no such file\n", status_code=404)
    file = await run_in_threadpool(find_file, folder, path)
    if file is None:
        return missing
    kept = TARGET_CACHE if _HASHED.search(file.name) else METADATA_CACHE
    headers = {"cache-control": kept, "accept-ranges": "bytes"}
    try:
        small = None if "range" in request.headers else await run_in_threadpool(read_small, file)
        found = await run_in_threadpool(file.stat)
    except OSError:
        return missing
    if small is not None:
        etag = f'"{hashlib.sha256(small).hexdigest()[:32]}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers | {"etag": etag})
        return Response(small, media_type="application/octet-stream", headers=headers | {"etag": etag})
    return FileResponse(file, media_type="application/octet-stream", headers=headers, stat_result=found)
