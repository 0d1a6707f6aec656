"""A machine's own key, made at its first use so that two commands are enough to begin."""

from __future__ import annotations

from collections.abc import Callable

from edge.bundle.keys import KeyStore
from edge.bundle.signing import SigningKey


def own_key(store: KeyStore, name: str | None, role: str, say: Callable[[str], None]) -> SigningKey:
    """The named key, or the only one of its role; where there is none yet, one is made and said."""
    if name is None and not any(info.role == role and info.own for info in store.list()):
        made = store.create(f"my-{role}", role)
        say(f"made the {role} key '{made.name}' ({made.fingerprint}), kept on this machine only")
    return store.load_signing_key(name, role)
