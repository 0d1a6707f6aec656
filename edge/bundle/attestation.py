"""Signed results of `edge verify`: this bundle, on this class of device, passed or failed, and by what
numbers.

Rules. (1) An attestation names the bundle and the behaviour by digest; in another bundle it is an error. (2)
It is signed by a device key. (3) The newest of a device class decides, newest by its sequence number, because
a device's clock may be wrong; at equal numbers a failure wins. (4) A clock before EARLIEST_PLAUSIBLE_TIME, or
before an earlier attestation of the bundle, is not believed: the time is then null, with the reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bundle.canonical import (
    HEX_DIGEST,
    SLUG,
    canonical_json,
    exact_keys,
    known_version,
    parse_canonical,
    plain,
)
from edge.bundle.manifest import ATTESTATIONS_FOLDER
from edge.bundle.signing import ATTESTATION_PURPOSE, SignatureFile, SigningKey, Trust
from edge.bundle.tree import read_small
from edge.errors import BundleError, SpecError
from edge.files import fsync_directory, resource_error, write_atomic

if TYPE_CHECKING:
    from edge.bundle.open import OpenBundle

SCHEMA_VERSION = 1
EARLIEST_PLAUSIBLE_TIME = datetime(2026, 11, 1, tzinfo=UTC)  # this edge was not released before
MAX_ATTESTATION_BYTES = 4 << 20
MEND = "delete that file and run `edge verify` again"
# What a killed write_atomic leaves; it is skipped on reading and removed by the next write.
UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.part")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


@dataclass(frozen=True)
class Check:
    """One line of the verdict. passed: None where it could not be measured (detail says why)."""

    name: str
    passed: bool | None
    measured: float | int | str | None = None
    budget: float | int | str | None = None
    detail: str = ""


@dataclass(frozen=True)
class Attestation:
    """The result of one verify run.

    device_class: slug; device: facts of the device in plain JSON; measured_at: RFC 3339 in UTC, None where
    the clock is not believed (clock_reason says why); sequence: 1, 2, ... within a bundle and device class;
    verdict: "passed" when at least one check passed and none failed; result_sha256: digest of the full
    result.
    """

    bundle_digest: str
    behaviour_digest: str
    device_class: str
    device: dict[str, Any]
    measured_at: str | None
    clock_trusted: bool
    clock_reason: str
    sequence: int
    verdict: str
    checks: tuple[Check, ...]
    result_sha256: str
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise BundleError(problem, where="attestation", mend=MEND)
        object.__setattr__(self, "device", plain(self.device, "attestation: device"))

    @property
    def passed(self) -> bool:
        """Whether the verdict is "passed"."""
        return self.verdict == "passed"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {"checks": [asdict(check) for check in self.checks]}

    @staticmethod
    def from_json(value: dict[str, Any], where: str) -> Attestation:
        """Inverse of to_json. Errors: BundleError for anything unknown, missing or contradictory."""
        known_version(value, SCHEMA_VERSION, where)
        exact_keys(value, _FIELD_NAMES, where)
        checks = value["checks"]
        if not isinstance(checks, list) or not all(isinstance(check, dict) for check in checks):
            raise BundleError("'checks' is not a list of objects", where=where, mend=MEND)
        for check in checks:
            exact_keys(check, _CHECK_NAMES, f"{where}: checks")
        return Attestation(**(value | {"checks": tuple(Check(**check) for check in checks)}))


_FIELD_NAMES = frozenset(field.name for field in fields(Attestation))
_CHECK_NAMES = frozenset(field.name for field in fields(Check))


def _problem(item: Any) -> str:
    """What is wrong with an attestation, "" when nothing is. Its fields may have come from a file."""
    digests = (item.bundle_digest, item.behaviour_digest, item.result_sha256)
    texts = [text for check in item.checks for text in (check.name, check.detail)]
    if not all(isinstance(digest, str) and HEX_DIGEST.fullmatch(digest) for digest in digests):
        return "a digest is not a sha256"
    if not (isinstance(item.device_class, str) and SLUG.fullmatch(item.device_class)):
        return "the device class is not lower case letters, digits, '.', '_', '-'"
    if not isinstance(item.device, dict):
        return "the device is not an object"
    if not isinstance(item.sequence, int) or isinstance(item.sequence, bool) or item.sequence < 1:
        return "the sequence number is not 1 or more"
    if not all(isinstance(text, str) for text in texts):
        return "the name or the detail of a check is not text"
    if item.verdict != verdict_of(item.checks):
        return "the verdict does not follow from the checks"
    if item.measured_at is not None and not _is_time(item.measured_at):
        return "the time is not RFC 3339 in UTC"
    if item.clock_trusted is not (item.measured_at is not None):
        return "a time stands next to a clock that is not believed, or none next to one that is"
    if not isinstance(item.clock_reason, str) or bool(item.clock_reason) is item.clock_trusted:
        return "a clock that is not believed needs a reason"
    return ""


def _is_time(text: object) -> bool:
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        return False
    with contextlib.suppress(ValueError):
        datetime.fromisoformat(text)
        return True
    return False


def verdict_of(checks: Iterable[Check]) -> str:
    """ "passed" when at least one check passed and none failed, else "failed"."""
    outcomes = [check.passed for check in checks]
    if any(outcome is not None and not isinstance(outcome, bool) for outcome in outcomes):
        raise BundleError("the outcome of a check is not true, false or null", where="attestation", mend=MEND)
    return "passed" if True in outcomes and False not in outcomes else "failed"


def _utc_now() -> datetime:
    return datetime.now(UTC)


def read_clock(
    clock: Callable[[], datetime] = _utc_now, earlier: Iterable[str | None] = ()
) -> tuple[str | None, bool, str]:
    """The time to write down: (RFC 3339 in UTC or None, whether it is believed, the reason if not).

    earlier: times already signed into the bundle, which a right clock is not before.
    """
    now = clock()
    if now < EARLIEST_PLAUSIBLE_TIME:
        return None, False, "the device's clock is before the release of this edge"
    text = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if any(text < time for time in earlier if time is not None):
        return None, False, "the device's clock is before an earlier attestation of this bundle"
    return text, True, ""


def new_attestation(
    bundle: OpenBundle,
    *,
    device_class: str,
    device: Mapping[str, Any],
    checks: Sequence[Check],
    result: bytes,
    clock: Callable[[], datetime] = _utc_now,
) -> Attestation:
    """The attestation of a verify run on an open bundle, next in its device class.

    result: the bytes of the full result file, of which the digest is kept. Errors: BundleError for bad
    values.
    """
    measured_at, trusted, reason = read_clock(clock, (item.measured_at for item in bundle.attestations))
    same_class = [item.sequence for item in bundle.attestations if item.device_class == device_class]
    return Attestation(
        bundle_digest=bundle.bundle_digest,
        behaviour_digest=bundle.behaviour_digest,
        device_class=device_class,
        device=dict(device),
        measured_at=measured_at,
        clock_trusted=trusted,
        clock_reason=reason,
        sequence=max(same_class, default=0) + 1,
        verdict=verdict_of(checks),
        checks=tuple(checks),
        result_sha256=hashlib.sha256(result).hexdigest(),
    )


def newest(attestations: Iterable[Attestation], device_class: str) -> Attestation | None:
    """The attestation that decides for a device class. Rule 3 of this module."""
    fitting = [item for item in attestations if item.device_class == device_class]
    return max(fitting, key=lambda item: (item.sequence, not item.passed, item.measured_at or ""), default=None)


def write_attestation(folder: Path, attestation: Attestation, key: SigningKey) -> Path:
    """Sign an attestation into the bundle folder, read it back, return its path.

    Errors: SpecError when the key is not a device key; ResourceError when the folder cannot be written.
    """
    if key.role != "device":
        raise SpecError(f"key '{key.name}' is a {key.role} key", mend="attestations are signed by a device key")
    signature = key.sign(ATTESTATION_PURPOSE, canonical_json(attestation.to_json()))
    data = canonical_json({"attestation": attestation.to_json(), "signature": signature.to_json()})
    target = folder / ATTESTATIONS_FOLDER
    path = target / f"{attestation.device_class}.{attestation.sequence:06d}.{key.fingerprint[:8]}.json"
    try:
        target.mkdir(exist_ok=True)
        fsync_directory(folder)
        for name in target.iterdir():
            if UNFINISHED.fullmatch(name.name):
                name.unlink()
    except OSError as error:
        raise resource_error(error, str(target)) from error
    write_atomic(path, data)
    read, _ = parse_attestation(read_small(path, MAX_ATTESTATION_BYTES), str(path))
    if read != attestation:
        raise BundleError("reads back other than it was written", where=str(path), mend="check the disk")
    return path


def parse_attestation(data: bytes, where: str) -> tuple[Attestation, SignatureFile]:
    """The content of one attestation file, its signature not yet checked. Errors: BundleError."""
    value = parse_canonical(data, where)
    exact_keys(value, frozenset(("attestation", "signature")), where)
    inner, signature = value["attestation"], value["signature"]
    if not isinstance(inner, dict) or not isinstance(signature, dict):
        raise BundleError("is not an attestation", where=where, mend=MEND)
    return Attestation.from_json(inner, where), SignatureFile.from_json(signature, where)


def verify_attestation(
    data: bytes, trust: Trust, *, bundle_digest: str, behaviour_digest: str, where: str
) -> Attestation | None:
    """One attestation file of a bundle; None when it is well formed but by a key not trusted for devices
    here.

    Errors: BundleError when it is malformed or of another bundle; UntrustedError when it was changed.
    """
    attestation, signature = parse_attestation(data, where)
    if (attestation.bundle_digest, attestation.behaviour_digest) != (bundle_digest, behaviour_digest):
        raise BundleError("is the attestation of another bundle", where=where, mend=MEND)
    key = trust.find(signature.key)
    if key is None or key.role != "device":
        return None
    trust.verify(ATTESTATION_PURPOSE, canonical_json(attestation.to_json()), signature, role="device", where=where)
    return attestation
