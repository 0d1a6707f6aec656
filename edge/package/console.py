"""`edge package` as a person sees it: bundles in, one package for their devices out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from edge.build.cache import cache_root
from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle, open_bundle
from edge.errors import InputError
from edge.package import deb, jetson
from edge.package.deb_control import maintainer_text
from edge.package.deb_scripts import SHARE
from edge.package.jetson_wheel import read_wheel

FORMATS = {"linux": "deb", "android": "android"}
PROVIDERS_FILE = SHARE / "providers.json"
_PYTHON = re.compile(r"3\.(1[1-9])")

Say = Callable[[str], None]


def format_of(bundles: Sequence[OpenBundle], wanted: str | None) -> str:
    """deb or android, by the bundles' target where none is wanted. Errors: InputError."""
    systems = {str(bundle.manifest.target.get("os")) for bundle in bundles}
    if not systems:
        raise InputError("no bundle was named", mend="name at least one")
    system = systems.pop()
    if systems or system not in FORMATS:
        raise InputError(
            f"there is no package for {'several systems at once' if systems else system}",
            mend=f"name bundles for one of {', '.join(FORMATS)}",
        )
    if wanted is not None and wanted != FORMATS[system]:
        raise InputError(
            f"--format {wanted} does not fit a bundle for {system}", mend=f"choose {FORMATS[system]}, or leave it out"
        )
    return FORMATS[system]


def parse_python(text: str) -> tuple[int, int]:
    """ "3.11" as (3, 11). Errors: InputError."""
    found = _PYTHON.fullmatch(text.strip())
    if not found:
        raise InputError(f"{text[:20]!r} is no Python version", mend="give the board's, as 3.11")
    return 3, int(found[1])


def has_orin_gpu(target: Mapping[str, Any]) -> bool:
    """Whether the target names a GPU of the level that jetson.yaml is about."""
    return any(f"sm_{jetson.ORIN_SM}" in str(one.get("name")) for one in target.get("accelerators") or ())


def provider_files(
    bundles: Sequence[OpenBundle], jetpack: str | None, say: Say, *, wheel: Path | None = None
) -> dict[PurePosixPath, str]:
    """providers.json for a Jetson whose JetPack is known, and a line about each bundle; empty elsewhere.

    jetpack: "6.2", or a file with the board's /etc/nv_tegra_release or `apt-cache show nvidia-jetpack`. wheel: a GPU
    wheel that the engineer has.
    Errors: InputError for a JetPack that cannot be read or is not known, or a target without such a GPU; SourceError
    for a file that is no such wheel.
    """
    if not has_orin_gpu(bundles[0].manifest.target):
        if jetpack is not None or wheel is not None:
            raise InputError("--jetpack and --gpu-wheel are for a Jetson's bundle", mend="leave them out")
        return {}
    if jetpack is None:
        if wheel is not None:
            raise InputError("--gpu-wheel needs --jetpack", mend="give the board's, as 6.2")
        say("no --jetpack was given: the package runs on the CPU")
        return {}
    table = jetson.load_table()
    board = jetson.jetpack_named(_text_of(jetpack), table)
    own = [read_wheel(wheel)] if wheel is not None else []
    found = {}
    for bundle in bundles:
        needs = jetson.BundleNeeds.of(bundle.manifest.to_json(), bundle.bundle_digest)
        choice = jetson.choose(board, needs, table, own=own)
        found[bundle.manifest.name] = choice.to_json()
        say(f"{bundle.manifest.name} on {board.words}: {', '.join(choice.providers)}")
        for reason in choice.reasons:
            say(f"  not {reason}")
        if choice.wheel:
            say("  this edge opens the CPU provider only; the choice is recorded for one that opens others")
    return {PROVIDERS_FILE: json.dumps({"version": 1, "bundles": found}, indent=1, sort_keys=True) + "\n"}


def _text_of(jetpack: str) -> str:
    path = Path(jetpack)
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else jetpack
    except OSError as error:
        raise InputError("cannot be read", where=jetpack, mend="give the version, as 6.2") from error


def package_command(
    bundles: Sequence[Path],
    *,
    form: str | None = None,
    output: Path = Path("build"),
    python: str = "3.11",
    revision: str = "1",
    jetpack: str | None = None,
    gpu_wheel: Path | None = None,
    say: Say,
    sources: deb.Sources | None = None,
    store: KeyStore | None = None,
) -> Path:
    """Write the package of `bundles` into the folder `output`; returns it (a .deb, or the project's folder).

    form: deb or android; None: by the bundles' target. python: of the board. revision: a whole number that counts up.
    jetpack, gpu_wheel: see provider_files.
    Errors: those of opening a bundle, of edge.package.deb and of edge.package.android.
    """
    store = store or KeyStore()
    trust = store.trust_store()
    opened = [open_bundle(path, trust) for path in bundles]
    chosen = format_of(opened, form)
    if chosen == "android":
        return _android(opened, output, say)
    written = deb.write_package(
        opened,
        deb.builders_of(opened, store.public),
        output,
        sources=sources or deb.DeviceSources(cache_root(), say),
        python=parse_python(python),
        revision=revision,
        time_s=deb.package_time_s(),
        maintainer=maintainer_text(os.environ),
        more=provider_files(opened, jetpack, say, wheel=gpu_wheel),
        say=say,
    )
    say(f"needs on the device: {', '.join(written.depends)}")
    say(f"there: apt install ./{written.path.name}")
    return written.path


def _android(bundles: Sequence[OpenBundle], output: Path, say: Say) -> Path:
    """A buildozer project. Errors: InputError for several bundles; those of edge.package.android."""
    if len(bundles) != 1:
        raise InputError("an Android project holds one bundle", mend="name one")
    from edge.package.android.project import write_project

    bundle = bundles[0]
    folder = output / f"{bundle.manifest.name}-android"
    write_project(bundle, folder, say=say)
    return folder
