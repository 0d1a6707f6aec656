"""`edge verify`: prove a bundle on this device, and sign what came out into it.

Golden cases, speeds, memory and budgets are measured in one run; every check goes into the attestation, passed
or not. A failed verdict is signed as well: the runtime then refuses the bundle on this class of device. A verdict of
an emulated device is signed for a class of its own, which no real device belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.bench import gates
from edge.bench.result import BenchResult
from edge.bench.runner import Progress, run_bench, silent
from edge.bench.workload import Workload, load_workload
from edge.bundle import attestation
from edge.bundle.attestation import Attestation
from edge.bundle.open import OpenBundle
from edge.bundle.signing import SigningKey
from edge.device.facts import DeviceFacts
from edge.errors import BundleError

EMULATED_CLASS = "emulated-"
OUTCOMES: dict[gates.Outcome, bool | None] = {"passed": True, "failed": False, "not_measured": None}


@dataclass(frozen=True)
class Verification:
    """What `verify` found. attestation_path: None when no key was given, so nothing was signed."""

    result: BenchResult
    checks: tuple[gates.Check, ...]
    attestation: Attestation
    attestation_path: Path | None

    @property
    def passed(self) -> bool:
        """The verdict."""
        return self.attestation.passed


def attested(check: gates.Check) -> attestation.Check:
    """A check as an attestation keeps it: its numbers, and its line in human words."""
    return attestation.Check(check.name, OUTCOMES[check.outcome], check.measured, check.limit, check.line)


def utc_now() -> datetime:
    """The device's clock; edge.bundle.attestation decides whether to believe it."""
    return datetime.now(UTC)


def verify(
    bundle: OpenBundle,
    *,
    key: SigningKey | None,
    workload: Workload | str = "quick",
    fidelity: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    engine_command: Sequence[str] | None = None,
    threads: int | None = None,
    root: Path = Path("/"),
    clock: Callable[[], datetime] = utc_now,
    emulated: str = "",
    arch: str | None = None,
    sequences: Mapping[str, int] | None = None,
) -> Verification:
    """Measure an open bundle on this device and sign the outcome into it.

    Parameters
    ----------
    bundle: opened with its files checked.
    key: a device key; None measures and judges without signing.
    workload: or its name.
    fidelity: judged instead of what this device measured on the golden cases.
    progress, engine_command, threads, root: as run_bench.
    clock: UTC, injectable.
    emulated, arch: as run_bench, for a device that is emulated.
    sequences: the last attestation's number by device class where another machine keeps more of them than this copy
    of the bundle holds.

    Errors: BundleError when the bundle's files were not checked or a budget is not known; those of run_bench and
    write_attestation. A failed check is no error: see `Verification.passed`.
    """
    if not bundle.files_checked:
        raise BundleError(
            "was opened without checking its files, so nothing can be said of it",
            where=str(bundle.path),
            mend="open it with its files checked",
        )
    chosen = load_workload(workload) if isinstance(workload, str) else workload
    result = run_bench(
        bundle.path,
        bundle.manifest,
        chosen,
        progress=progress,
        engine_command=engine_command,
        threads=threads,
        root=root,
        now=clock,
        emulated=emulated,
        arch=arch,
    )
    if fidelity is None and result.fidelity is not None:
        fidelity = result.fidelity.as_checked()
    checks = gates.check_all(bundle.manifest.profile.get("budgets") or {}, result, fidelity)
    device = DeviceFacts.from_json(result.environment.device)
    device_class = f"{EMULATED_CLASS if emulated else ''}{device.device_class}"
    signed = attestation.new_attestation(
        bundle,
        device_class=device_class,
        device=device.to_json(),
        checks=[attested(check) for check in checks],
        result=result.to_bytes(),
        clock=clock,
    )
    signed = replace(signed, sequence=max(signed.sequence, (sequences or {}).get(device_class, 0) + 1))
    path = attestation.write_attestation(bundle.path, signed, key) if key is not None else None
    return Verification(result, checks, signed, path)
