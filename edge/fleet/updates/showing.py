"""What a person is about to sign, in lines to read before the key is used. Pure: metadata in, text out.

Rules
- Shown is what will be signed, parsed once: a file that changes afterwards changes nothing.
- A key is shown by the id that follows from its public half. Metadata that lists a key under another id is refused:
  a stranger's key would look like one of ours.
- Every text out of the file was checked first (slugs, hex digits), so that none can draw over the screen.
- With metadata to compare with, what comes, goes and changes is marked; without, the lines say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edge.errors import BundleError, SpecError, UntrustedError
from edge.fleet.updates.chunk_manifest import Release
from edge.fleet.updates.layout import ROLES, release_path
from edge.fleet.updates.repo_keys import key_name

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root, Targets

SHOWN = ("root", "targets")


def lines_to_sign(metadata: Metadata[Any], before: Metadata[Any] | None, where: str, before_where: str) -> list[str]:
    """Role, version, expiry; keys and thresholds of a root, or releases; and what is otherwise in `before`.

    where, before_where: the places they come from. Errors: SpecError for a role that nobody signs by hand;
    UntrustedError for a key under a wrong id; BundleError for a release that is not well formed.
    """
    new, role = metadata.signed, metadata.signed.type
    if role not in SHOWN:
        raise SpecError(f"{role} is signed by `edge repo publish`", where=where, mend="sign root or targets")
    old = None if before is None else before.signed
    if old is not None and old.type != role:
        raise SpecError(f"is {old.type} and cannot be compared with {role}", where=before_where)
    lines = [f"{role} version {new.version}, expires {new.expires:%Y-%m-%d}"]
    if old is None:
        lines.append(f"  compared with nothing: give the {role} before it with --against to see what changes")
    else:
        lines.append(f"  compared with version {old.version}, expires {old.expires:%Y-%m-%d} ({before_where})")
        if new.version <= old.version:
            lines.append("  NOT NEWER than that")
    lines += [f"  {line}" for line in _odd(new)]
    body = _root(new, old, where, before_where) if role == "root" else _targets(new, old, where, before_where)
    return lines + [f"  {line}" for line in body]


def _odd(signed: Any) -> Iterator[str]:
    """What no metadata of this edge holds."""
    if signed.unrecognized_fields:
        yield f"WITH FIELDS that this edge does not know: {ascii(sorted(signed.unrecognized_fields))[:200]}"
    if getattr(signed, "delegations", None) is not None:
        yield "WITH DELEGATIONS: other keys could list releases"


def _root(new: Root, old: Root | None, where: str, before_where: str) -> Iterator[str]:
    for role in ROLES:
        keys, threshold = _keys(new, role, where), new.roles[role].threshold
        known = keys if old is None else _keys(old, role, before_where)
        was = threshold if old is None else old.roles[role].threshold
        yield f"{role}: {threshold} of {len(keys)} keys must sign" + ("" if was == threshold else f", WAS {was}")
        for keyid, name in keys.items():
            yield f"  {name}  {keyid}" + ("" if keyid in known else "  NEW")
        for keyid, name in known.items():
            if keyid not in keys:
                yield f"  {name}  {keyid}  GOES"


def _keys(root: Root, role: str, where: str) -> dict[str, str]:
    """Id to name of a role's keys, each id computed from the key."""
    found = {}
    for keyid in root.roles[role].keyids:
        key = root.keys.get(keyid)
        if key is None or _own_id(key) != keyid:
            raise UntrustedError(
                f"lists a key of {role} under an id that is not its own", where=where, mend="ask who made this file"
            )
        found[keyid] = key_name(key)
    return dict(sorted(found.items(), key=lambda item: (item[1], item[0])))


def _own_id(key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.signer import SSlibKey

    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.keyval["public"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
    own = SSlibKey.from_crypto(public)
    return str(own.keyid) if (own.keytype, own.scheme) == (key.keytype, key.scheme) else ""


def _targets(new: Targets, old: Targets | None, where: str, before_where: str) -> Iterator[str]:
    listed = _releases(new, where)
    known = listed if old is None else _releases(old, before_where)
    for name in sorted(listed.keys() | known.keys()):
        release, _ = listed.get(name) or known[name]
        text = f"release {name}  {release.profile}  {release.target}  bundle {release.bundle_digest}"
        if name not in listed:
            yield f"{text}  GOES"
        elif name not in known:
            yield f"{text}  NEW"
        elif listed[name] != known[name]:
            yield f"{text}  CHANGED, was {known[name][0].bundle_digest}"
        else:
            yield text
    if not listed:
        yield "no release"


def _releases(targets: Targets, where: str) -> dict[str, tuple[Release, str]]:
    """Name to release, and all that is signed of it."""
    found = {}
    for path, item in targets.targets.items():
        release = Release.from_json(item.custom, where)
        if release_path(release.release) != path:
            raise BundleError(f"lists release '{release.release}' under another's name", where=where)
        found[release.release] = (release, str(sorted(item.to_dict().items(), key=str)))
    return found
