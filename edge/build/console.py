"""`edge build` and `edge rebuild` as a person sees them: progress, a summary, one line on failure."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.build.cache import Cache
from edge.build.line import BuildResult, build_bundle, report_path
from edge.build.stages import STAGES
from edge.bundle.first_key import own_key
from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.errors import GateError, SpecError
from edge.specs.profile import load_profile

Say = Callable[[str], None]
NAMES = ("pack", "convert", "compile", *(name for name, _ in STAGES))


class StageProgress:
    """One line a stage; on a terminal the running one counts up in place."""

    def __init__(self) -> None:
        self._stage = ""
        self._began = time.monotonic()
        self._live = sys.stderr.isatty()

    def __call__(self, stage: str, done: int, total: int) -> None:
        head = stage if stage in NAMES else "round"  # sub-steps report under their own name
        if head != self._stage:
            self.end()
            self._stage, self._began = head, time.monotonic()
        if self._live and total > 1:
            sys.stderr.write(f"\r  {head:<10} {done + 1}/{total} ")
            sys.stderr.flush()

    def end(self) -> None:
        """Close the line of the running stage."""
        if self._stage:
            start = "\r" if self._live else ""
            sys.stderr.write(f"{start}  {self._stage:<10} {time.monotonic() - self._began:6.1f} s      \n")
            self._stage = ""


def run_build(profile_path: Path, output: Path | None, key: str | None, *, build_folder: Path, say: Say) -> BuildResult:
    """Build, and print what was made."""
    place = output or build_folder / load_profile(profile_path).name
    progress = StageProgress()
    signer = own_key(KeyStore(), key, "builder", say)
    try:
        result = build_bundle(profile_path, place, signer, progress=progress)
    finally:
        progress.end()
    for line in summary_lines(result, place):
        print(line)
    return result


def summary_lines(result: BuildResult, place: Path) -> list[str]:
    """What a person wants to know of a build that has just ended."""
    bundle, fidelity = result.bundle, result.fidelity
    size = sum(entry.size_bytes for entry in bundle.manifest.files)
    kept = bundle.manifest.quantisation.get("int8_layers")
    facts = bundle.manifest.adapter or {}
    adapter = f"unmerged, rank {facts['rank']}, {facts['file_bytes'] / 1e6:.1f} MB" if "file_bytes" in facts else ""
    peak = max(int(stage.get("peak_rss_bytes", 0)) for stage in result.stages)
    lines = [
        f"bundle      {place}  ({size / 1e6:.1f} MB)",
        f"digest      {bundle.bundle_digest}",
        f"behaviour   {bundle.behaviour_digest}",
        f"signed by   {bundle.signer_name} ({bundle.signer_fingerprint})",
        f"weights     {bundle.manifest.quantisation['scheme']}"
        + (f", int8 kept in layers {kept}" if kept else "")
        + f", rounding {bundle.manifest.quantisation['rounding']}",
        *([f"adapter     {adapter}"] if adapter else []),
        f"build peak  {peak / 1e6:.0f} MB resident",
    ]
    if bundle.manifest.runtime.get("run_on_build_host") is False:
        lines.append("not run     the library does not run on this host: golden cases and fidelity are of its weights")
    return lines + fidelity_lines(fidelity) + [f"report      {report_path(place)}"]


def fidelity_lines(fidelity: dict[str, Any]) -> list[str]:
    """Fidelity against the fp32 source with the peers' scale beside it."""

    def with_interval(key: str, scale: float = 1.0, unit: str = "") -> str:
        value = fidelity[key]
        return f"{value['mean'] * scale:.4g}{unit} [{value['low'] * scale:.4g}, {value['high'] * scale:.4g}]"

    scale = ", ".join(f"{name} {kl:g} / {top:.1%}" for name, kl, top in fidelity["peer_scale"])
    return [
        f"fidelity    against the float32 source, {fidelity['tokens']} tokens of clinical text (95 % intervals):",
        f"            mean KL {with_interval('mean_kl')}, same top token {with_interval('top1', 100, ' %')},",
        f"            perplexity ratio {with_interval('perplexity_ratio')}, "
        f"greedy agreement {with_interval('greedy_agreement', 100, ' %')}",
        f"            (llama.cpp's published scale, KL / top token: {scale})",
    ]


def run_rebuild(bundle: Path, profile: Path | None, *, say: Say) -> None:
    """Build again elsewhere and compare. Errors: GateError when a single bit differs."""
    store = KeyStore()
    opened = open_bundle(bundle, store.trust_store())
    path = profile or Path("profiles") / f"{opened.manifest.profile['name']}.yaml"
    if not path.is_file():
        raise SpecError("the profile of this bundle is not there", where=str(path), mend="name it with --profile")
    progress = StageProgress()
    with tempfile.TemporaryDirectory(prefix="edge-rebuild-") as folder:
        signer = own_key(store, None, "builder", say)
        try:
            again = build_bundle(
                path,
                Path(folder) / opened.manifest.name,
                signer,
                progress=progress,
                gate=False,
                # Sources may come from the cache, roundings not: they are what a rebuild is to show.
                rounding_cache=Cache(Path(folder) / "cache"),
            )
        finally:
            progress.end()
        if again.bundle.bundle_digest == opened.bundle_digest:
            print(f"identical   {opened.bundle_digest}")
            return
        before = {entry.path: entry.sha256 for entry in opened.manifest.files}
        after = {entry.path: entry.sha256 for entry in again.bundle.manifest.files}
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    what = ", ".join(changed) if changed else "manifest.json (tool versions or profile)"
    raise GateError(
        f"the rebuild differs in {what}", where=str(bundle), mend="build with the same profile and tool versions"
    )
