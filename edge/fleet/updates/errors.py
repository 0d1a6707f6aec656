"""Why an update is refused, in edge's words. Metadata that is refused never touches the installed model.

python-tuf tells its errors by class and by text; `refusal` turns each into one line that names the place.
"""

from __future__ import annotations

from edge.errors import BundleError, EdgeError, OfflineError, UntrustedError

_KEEPS = "nothing was changed, the installed model runs on"


class RefusedError(UntrustedError):
    """The metadata of a place is not to be used. install_reason: what an install report says of it."""

    install_reason = "untrusted"


class ExpiredError(RefusedError):
    """The metadata is older than it may be (or somebody holds newer metadata back: a freeze)."""

    install_reason = "expired_metadata"


class RollbackError(RefusedError):
    """A place offers older metadata than this device has seen already."""


class MixedError(RefusedError):
    """The parts of the metadata are not of one publication."""


class SignatureError(RefusedError):
    """Too few signatures by keys that count."""


class ChangedMetadataError(RefusedError):
    """Metadata is not what was signed, or not metadata at all."""


class ChangedDataError(BundleError):
    """A chunk or a chunk manifest has other bytes than were signed."""

    install_reason = "changed"


class NotThereError(OfflineError):
    """A place lacks a file."""

    install_reason = "interrupted"


class SlowError(OfflineError):
    """A place sends too slowly to be of use."""

    install_reason = "interrupted"


class UnreachableError(OfflineError):
    """A place does not answer, answers nonsense, or broke off."""

    install_reason = "interrupted"


def refusal(error: Exception, place: str) -> EdgeError:
    """The edge error for what python-tuf raised while it read `place`."""
    from tuf.api import exceptions as tuf

    if isinstance(error, EdgeError):
        return error
    text = str(error)
    if isinstance(error, tuf.ExpiredMetadataError):
        role = next((name for name in ("root", "timestamp", "snapshot", "targets") if name in text), "its")
        return ExpiredError(
            f"the {role} metadata of these updates has expired; {_KEEPS}",
            where=place,
            mend="publish the repository anew with `edge repo publish`, or bring a newer copy of it",
        )
    if isinstance(error, tuf.BadVersionNumberError):
        if text.startswith(("New ", "Expected targets.json")):
            return RollbackError(
                f"offers older metadata than this device has seen; {_KEEPS}",
                where=place,
                mend="bring the place up to date; if it claims to be, somebody is turning it back",
            )
        return MixedError(
            f"its metadata files are not of one publication; {_KEEPS}", where=place, mend="copy the whole place again"
        )
    if isinstance(error, tuf.UnsignedMetadataError):
        return SignatureError(
            f"{text or 'signatures are missing'}, too few that count here; {_KEEPS}",
            where=place,
            mend="have it signed by the keys that this device's root names",
        )
    if isinstance(error, tuf.LengthOrHashMismatchError):
        return ChangedMetadataError(f"a file is not what was signed; {_KEEPS}", where=place, mend="copy it again")
    if isinstance(error, tuf.DownloadLengthMismatchError):
        return ChangedMetadataError(
            f"sends more bytes than a metadata file has; {_KEEPS}", where=place, mend="look at that server"
        )
    if isinstance(error, tuf.SlowRetrievalError):
        return SlowError("sends too slowly", where=place, mend="try again on a better line")
    if isinstance(error, tuf.DownloadHTTPError):
        if error.status_code in (403, 404):
            return NotThereError("holds no complete update repository", where=place, mend="check the address")
        return UnreachableError(f"answers {error.status_code}", where=place, mend="look at that server")
    if isinstance(error, tuf.DownloadError):
        return UnreachableError("cannot be read", where=place, mend="check the line and the address")
    if isinstance(error, tuf.RepositoryError | ValueError | KeyError | TypeError):
        return ChangedMetadataError(f"its metadata is broken; {_KEEPS}", where=place, mend="copy the place again")
    return RefusedError(f"cannot be used ({type(error).__name__})", where=place, mend="copy the place again")
