"""`hub:org/name@revision`: a model folder fetched by huggingface_hub, cached under its content digest.

A revision may be a branch that moves, so it never keys the cache alone: the entry is keyed by the digest of
what was fetched, and the profile pins that digest.
"""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

import edge.privacy  # noqa: F401  telemetry off before huggingface_hub is imported
from edge.build.cache import Cache, Entry, Spec
from edge.build.checkpoint.base import ModelSpec, check_digest
from edge.build.checkpoint.huggingface import CONTENT_FILES, INDEX_FILE, FolderCheckpoint, folder_digest
from edge.errors import MissingToolError, OfflineError, SourceError

CACHE_KIND = "hub"
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
LOCATION = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)@([\w.-]+(?:/[\w.-]+)*)", re.ASCII)


def open_hub(spec: ModelSpec, location: str, cache: Cache, base_folder: Path) -> FolderCheckpoint:
    """`hub:org/name@revision`. Without a pinned digest the model is fetched, kept, and its digest said."""
    match = LOCATION.fullmatch(location)
    if match is None:
        raise SourceError(
            f"'{location}' is not org/name@revision", where=spec.source, mend="write hub:org/name@revision"
        )
    repository, revision = match.groups()
    entry: Entry | None = None
    if spec.sha256:
        entry = cache.find(CACHE_KIND, _cache_spec(repository, revision, spec.sha256.lower()))
    if entry is None:

        def fill(stage: Path) -> Spec:
            _fetch(repository, revision, stage, spec.source)
            digest = folder_digest(stage)
            if spec.sha256:
                check_digest(digest, spec.sha256, spec.source)
            return _cache_spec(repository, revision, digest)

        entry = cache.store(CACHE_KIND, fill)
    digest = folder_digest(entry.folder, entry.sha256)
    check_digest(digest, spec.sha256, spec.source)
    return FolderCheckpoint(entry.folder, digest=digest, license_id=spec.license, base_name=repository)


def _cache_spec(repository: str, revision: str, digest: str) -> Spec:
    return {"source": f"hub:{repository}@{revision}", "sha256": digest}


def _fetch(repository: str, revision: str, stage: Path, where: str) -> None:
    """The files that the build reads, plain, into `stage`. Errors: MissingTool, Offline, SourceError."""
    try:
        from huggingface_hub import HfApi, errors
    except ImportError as error:
        raise MissingToolError(
            "huggingface_hub is not installed", where=where, mend="install edge-kit[build]"
        ) from error
    download = stage / ".download"
    try:
        HfApi(library_name="edge").snapshot_download(
            repository,
            revision=revision,
            local_dir=download,
            allow_patterns=[*CONTENT_FILES, INDEX_FILE, "model*.safetensors"],
        )
    except errors.GatedRepoError as error:
        raise SourceError(
            "needs its licence to be accepted", where=where, mend="accept it on the model's page and log in"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise SourceError("is not on the hub", where=where, mend="check name and revision, or log in") from error
    except Exception as error:  # every transport of the library raises its own kind
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        raise OfflineError(
            f"could not be fetched: no network, or the hub refused ({type(error).__name__})",
            where=where,
            mend="check the network, or copy a filled EDGE_CACHE here",
        ) from error
    for path in sorted(download.iterdir()):
        if path.is_file():
            path.replace(stage / path.name)
    shutil.rmtree(download)
