"""The part of TVM's runtime that drives an NVIDIA GPU: half a megabyte out of the same pinned wheel as the compiler.

Found and fetched as the rest of the runtime (edge/build/tvm/runtime_library.py, whose licence file covers it).
"""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
import zipfile
from pathlib import Path

from edge.build.cache import Cache, Spec
from edge.build.checkpoint.wheel import download_wheel
from edge.build.tvm.compile import TVM_VERSION
from edge.errors import SourceError
from edge.files import CHUNK_BYTES, sha256_file
from edge.runtime.tvm_cuda_engine import CUDA_RUNTIME_FILE

CACHE_KIND = "tvm-runtime-cuda"
MEMBER = f"tvm/lib/{CUDA_RUNTIME_FILE}"
# sha256 of the library in the wheel of each architecture.
DIGESTS = {
    "x86_64": "38782fe727adf51a82fa93de2a003044e16cd421564864a340dbd7f341215ffe",
    "aarch64": "c277ef1b0b4afef83d0fa99f50b7ea72632c64a7020ce7ce887d225de13266e6",
}


def write_cuda_runtime(arch: str, folder: Path, cache: Cache) -> None:
    """Put the library for `arch` into `folder`.

    Errors: OfflineError when the wheel is needed and cannot be fetched; SourceError for other bytes than expected.
    """
    library = _installed(arch)
    if library is None:
        library = _fetched(arch, cache)
    else:
        _check(library, arch)
    shutil.copyfile(library, folder / CUDA_RUNTIME_FILE)


def _check(library: Path, arch: str) -> None:
    if sha256_file(library) != DIGESTS[arch]:
        raise SourceError(
            f"is not the library of apache-tvm {TVM_VERSION} for {arch}",
            where=CUDA_RUNTIME_FILE,
            mend="install that version from the registry again",
        )


def _installed(arch: str) -> Path | None:
    distribution = importlib.metadata.distribution("apache-tvm")
    library = Path(str(distribution.locate_file(MEMBER)))
    return library if f"_{arch}" in (distribution.read_text("WHEEL") or "") and library.exists() else None


def _fetched(arch: str, cache: Cache) -> Path:
    wanted = {"package": f"apache-tvm=={TVM_VERSION}", "arch": arch, "sha256": DIGESTS[arch]}

    def fill(stage: Path) -> Spec:
        options = ["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none"]
        options += [f"--platform=manylinux_2_{minor}_{arch}" for minor in (28, 27, 17)]
        with tempfile.TemporaryDirectory(prefix=".pip-", dir=stage) as download:
            wheel = download_wheel(wanted["package"], Path(download), wanted["package"], options=options)
            try:
                with (
                    zipfile.ZipFile(wheel) as archive,
                    archive.open(MEMBER) as source,
                    (stage / CUDA_RUNTIME_FILE).open("wb") as file,
                ):
                    shutil.copyfileobj(source, file, CHUNK_BYTES)
            except (zipfile.BadZipFile, KeyError) as error:
                raise SourceError("is not the wheel that was expected", where=wheel.name, mend="fetch again") from error
        _check(stage / CUDA_RUNTIME_FILE, arch)  # before it is kept: a wrong file in the cache would stay there
        return wanted

    entry = cache.find(CACHE_KIND, wanted) or cache.store(CACHE_KIND, fill)
    return entry.path(CUDA_RUNTIME_FILE)
