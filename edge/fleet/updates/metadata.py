"""TUF metadata of a repository: read, make the next version, count signatures. Pure: bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bundle.attestation import EARLIEST_PLAUSIBLE_TIME
from edge.errors import ClockError, SpecError, UntrustedError
from edge.fleet.updates.layout import ROLES, changed
from edge.fleet.updates.repo_keys import RepoKey, key_name

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root

# Signed into each timestamp: a device whose clock is before it knows that its clock is wrong.
SIGNED_AT_FIELD = "x-edge-signed-at"
# No metadata and no device of this edge is from after this; a clock beyond it is broken.
LATEST_PLAUSIBLE_TIME = EARLIEST_PLAUSIBLE_TIME + timedelta(days=365 * 30)


@dataclass(frozen=True)
class Signatures:
    """Who has signed a role's metadata. signed, open: names of keys that count; needed: how many must sign.

    For a new root the keys of the root before it count too: `old_needed` of `old_signed + old_open` must sign as well.
    """

    role: str
    version: int
    expires: datetime
    needed: int
    signed: tuple[str, ...]
    open: tuple[str, ...]
    old_needed: int = 0
    old_signed: tuple[str, ...] = ()
    old_open: tuple[str, ...] = ()

    @property
    def enough(self) -> bool:
        """Whether a client would take it."""
        return len(self.signed) >= self.needed and len(self.old_signed) >= self.old_needed

    def check(self, where: str) -> None:
        """Errors: UntrustedError that names who could still sign."""
        for signed, open_, needed, which in (
            (self.signed, self.open, self.needed, ""),
            (self.old_signed, self.old_open, self.old_needed, " of the version before"),
        ):
            if len(signed) < needed:
                raise UntrustedError(
                    f"{self.role} version {self.version} is signed by {len(signed)} of {needed} keys{which}"
                    + (f" ({', '.join(signed)})" if signed else ""),
                    where=where,
                    mend=f"have it signed with {' or '.join(open_)}: `edge repo sign`" if open_ else "rotate its keys",
                )


def plausible(now: datetime, whose: str) -> datetime:
    """`now`, if it can be true. Errors: ClockError that says what the clock shows."""
    if not EARLIEST_PLAUSIBLE_TIME <= now <= LATEST_PLAUSIBLE_TIME:
        raise ClockError(
            f"{whose} clock says {now:%Y-%m-%d %H:%M} UTC, which cannot be",
            mend="set the clock; what has expired cannot be told without it",
        )
    return now


def parse(data: bytes, role: str, where: Path) -> Metadata[Any]:
    """The metadata in a file of the repository. Errors: BundleError when it is not metadata of that role."""
    from tuf.api.metadata import Metadata
    from tuf.api.serialization import DeserializationError

    try:
        metadata: Metadata[Any] = Metadata.from_bytes(data)
    except DeserializationError as error:
        raise changed(where, error) from error
    if role not in (metadata.signed.type, ""):
        raise changed(where)
    return metadata


def expiry(now: datetime, days: int) -> datetime:
    """When metadata made now expires (whole seconds, as TUF writes it)."""
    return now.replace(microsecond=0) + timedelta(days=days)


def fresh_root(
    keys: dict[str, list[RepoKey]], threshold: int, expires: datetime, *, signed_by: Iterable[RepoKey]
) -> Metadata[Root]:
    """Root version 1. keys: role to its keys; threshold: of the root role, the others have 1."""
    from tuf.api.metadata import Metadata, Root

    root = Root(expires=expires, consistent_snapshot=True)
    for role in ROLES:
        for key in keys[role]:
            root.add_key(key.public, role)
    root.roles["root"].threshold = threshold
    metadata: Metadata[Root] = Metadata(root)
    for key in signed_by:
        metadata.sign(key.signer, append=True)
    return metadata


def replace_key(root: Root, role: str, old: str | None, new: RepoKey) -> str:
    """Put `new` in the place of the role's key named `old`; returns the name of the key that went.

    Errors: SpecError when the role has several keys and none was named, or none of that name.
    """
    keys = {key_name(root.keys[keyid]): keyid for keyid in root.roles[role].keyids}
    if old is None and len(keys) > 1:
        raise SpecError(
            f"role {role} has {len(keys)} keys ({', '.join(sorted(keys))})", mend="say which with --replace"
        )
    gone = old if old is not None else next(iter(keys))
    if gone not in keys:
        raise SpecError(f"role {role} has no key {gone[:40]!r}", mend=f"it has {', '.join(sorted(keys))}")
    root.revoke_key(keys[gone], role)
    root.add_key(new.public, role)
    return gone


def signatures(metadata: Metadata[Any], root: Root, previous: Root | None = None) -> Signatures:
    """Count the valid signatures on metadata by the keys of `root`, and for a root by those of `previous` too."""
    role = metadata.signed.type
    payload = metadata.signed_bytes
    result = root.get_verification_result(role, payload, metadata.signatures)
    old_needed, old_signed, old_open = 0, (), ()  # type: int, tuple[str, ...], tuple[str, ...]
    if previous is not None and role == "root":
        old = previous.get_verification_result(role, payload, metadata.signatures)
        old_needed, old_signed, old_open = old.threshold, _names(old.signed), _names(old.unsigned)
    return Signatures(
        role,
        metadata.signed.version,
        metadata.signed.expires,
        result.threshold,
        _names(result.signed),
        _names(result.unsigned),
        old_needed,
        old_signed,
        old_open,
    )


def _names(keys: dict[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(key_name(key) for key in keys.values()))


def role_keys(role: str, *roots: Root | None) -> list[Any]:
    """The TUF keys that count for a role in any of the roots."""
    found = {keyid: root.keys[keyid] for root in roots if root is not None for keyid in root.roles[role].keyids}
    return list(found.values())
