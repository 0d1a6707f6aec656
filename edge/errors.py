"""The one exception tree and the exit codes of every `edge` command.

A user error is one line that says what is wrong, where, and how to mend it. It never carries patient
text: messages name files, keys, sizes and digests, not contents.
"""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit codes of the command line; documented in docs/errors.md. Numbers never change meaning."""

    OK = 0
    INTERNAL = 1  # a bug of ours: the traceback goes to a file, never to the screen
    USAGE = 2  # wrong arguments (click's own code)
    SPEC = 3  # a profile, target or key file says something impossible
    SOURCE = 4  # a checkpoint, adapter or tokenizer cannot be read or does not fit
    BUNDLE = 5  # a bundle was changed, is incomplete, or needs something this edge does not know
    UNTRUSTED = 6  # no signature, or by a key that is not trusted here
    RESOURCE = 7  # no space, no memory, read-only, locked by another run
    GATE = 8  # a budget, fidelity gate or golden case does not hold
    INPUT = 9  # the user's text or file cannot be used
    MISSING_TOOL = 10  # an optional dependency or external tool is not installed
    OFFLINE = 11  # a source needs the network and there is none, or it refused
    UNVERIFIED = 12  # this build has not passed, or has failed, its device test
    CLOCK = 13  # the clock is impossible, so nothing may be signed with it
    INTERRUPTED = 130  # Ctrl-C; 128 + SIGINT


class EdgeError(Exception):
    """Base of all errors that a user can mend.

    Parameters
    ----------
    what: what is wrong, one clause, no full stop.
    where: the file, line, key or tensor it is about.
    mend: what to do about it, one clause.
    """

    status: ExitStatus = ExitStatus.INTERNAL

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(str(self))

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        line = f"{line}; {self.mend}." if self.mend else f"{line}."
        return " ".join(line.split())


class SpecError(EdgeError):
    """A profile or target YAML is wrong."""

    status = ExitStatus.SPEC


class SourceError(EdgeError):
    """A checkpoint, adapter or tokenizer is broken or does not fit."""

    status = ExitStatus.SOURCE


class BundleError(EdgeError):
    """A bundle is changed, incomplete, or from a future this edge does not know."""

    status = ExitStatus.BUNDLE


class UntrustedError(EdgeError):
    """A signature is absent, wrong, or by a key that is not trusted."""

    status = ExitStatus.UNTRUSTED


class ResourceError(EdgeError):
    """Disk, memory, permission or lock."""

    status = ExitStatus.RESOURCE


class GateError(EdgeError):
    """A measured value does not hold its budget."""

    status = ExitStatus.GATE


class InputError(EdgeError):
    """The user's text cannot be used."""

    status = ExitStatus.INPUT


class MissingToolError(EdgeError):
    """An optional dependency is not installed."""

    status = ExitStatus.MISSING_TOOL


class OfflineError(EdgeError):
    """A source needs the network."""

    status = ExitStatus.OFFLINE


class UnverifiedError(EdgeError):
    """The bundle has no passing attestation for this device class."""

    status = ExitStatus.UNVERIFIED


class ClockError(EdgeError):
    """The clock is before the release of this edge."""

    status = ExitStatus.CLOCK
