"""What the installer tells: how a self-test ended, what the slots hold, and an error in a word for the fleet."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from edge.bundle.in_use import StillUsedError
from edge.bundle.install.disk import BusyError
from edge.bundle.install.rules import REASONS, InstallOutcome, OutcomeName, Reason, Slot
from edge.bundle.update_lock import SelfTestRunsError, VisitOpenError
from edge.errors import BundleError, EdgeError, GateError, ResourceError, UntrustedError


@dataclass(frozen=True)
class SelfTestOutcome:
    """Whether a build passed on this device. detail: one line for a person; no patient is in a self-test.

    stopped: it was ended because a visit was opened, and says nothing about the build.
    """

    passed: bool
    detail: str = ""
    stopped: bool = False


@dataclass(frozen=True)
class InstallStatus:
    """What a profile's slots hold. bundle_digest, release, slot: in force and confirmed; pending_digest: on its way.

    phase: of edge.bundle.install.rules, or `unknown` where the memory cannot be read. tests: self-tests begun.
    """

    profile: str
    phase: str
    slot: Slot | None
    bundle_digest: str | None
    release: str | None
    previous_digest: str | None
    pending_digest: str | None
    rollout: str | None
    tests: int
    last: InstallOutcome | None


class WrongTargetError(BundleError):
    """A bundle for another device or another profile."""


class NoSpaceError(ResourceError):
    """Too little room, seen before anything was written."""


class NoWayBackError(ResourceError):
    """There is no build before this one."""

    def __init__(self, where: str) -> None:
        super().__init__("there is no build before this one", where=where, mend="install the one you want")


def reason_of(error: EdgeError) -> Reason:
    """An error in a word. An error of a source may say its own: `install_reason`."""
    told = getattr(error, "install_reason", None)
    for reason in REASONS:
        if reason == told:
            return reason
    if isinstance(error, UntrustedError):
        return "untrusted"
    if isinstance(error, WrongTargetError):
        return "wrong_target"
    if isinstance(error, BundleError):
        return "changed"
    if isinstance(error, VisitOpenError | SelfTestRunsError | StillUsedError | BusyError):
        return "busy"
    if isinstance(error, NoSpaceError) or _disk_full(error):
        return "no_space"
    return "self_test_failed" if isinstance(error, GateError) else "other"


def name_of(error: EdgeError) -> OutcomeName:
    """`refused`: by a rule, before anything changed; `failed`: while at work."""
    if isinstance(error, NoWayBackError):
        return "refused"
    return "failed" if _disk_full(error) or reason_of(error) == "other" else "refused"


def _disk_full(error: EdgeError) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)


def error_of(outcome: InstallOutcome, where: str) -> EdgeError | None:
    """An outcome that came from an earlier process, in a line for a person; None where nothing went wrong."""
    if outcome.outcome == "committed" or outcome.reason == "requested":
        return None
    if outcome.reason == "self_test_failed":
        return GateError("the new build failed its self-test and was rolled back", where=where, mend="choose another")
    if outcome.reason == "boots_exhausted":
        return GateError(
            "the new build never ended its self-test and was rolled back",
            where=where,
            mend="choose another",
        )
    if outcome.reason == "interrupted":
        return ResourceError("the last install was cut short", where=where, mend="run it again; it goes on from there")
    return ResourceError(f"the install was {outcome.outcome} ({outcome.reason})", where=where, mend="run it again")
