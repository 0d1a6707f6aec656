"""Which device key answers at which address: written down on first contact, compared from then on.

`EDGE_HOME/devices.json` holds the fingerprint of each address, `EDGE_HOME/trusted/` the key itself, trusted for
attestations. `edge keys untrust NAME` forgets a device: its address is then as if it were new.
"""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edge.bundle.keys import KeyStore
from edge.bundle.signing import PublicKey, grouped
from edge.errors import SpecError, UntrustedError
from edge.files import resource_error, write_atomic

FILE = "devices.json"
VERSION = 1


@dataclass(frozen=True)
class Pinned:
    """A device's key as it is trusted here. new: since now."""

    key: PublicKey
    new: bool


def read_pins(path: Path) -> dict[str, str]:
    """Address to fingerprint. Errors: SpecError for a broken file: a pin is never forgotten in silence."""
    try:
        value = json.loads(path.read_bytes())
        if value["version"] != VERSION:
            raise ValueError
        return {str(address): str(fingerprint) for address, fingerprint in value["devices"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise resource_error(error, str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError("is not edge's list of devices", where=str(path), mend="restore it from a backup") from error


def check_pin(store: KeyStore, address: str, raw_key: PublicKey) -> PublicKey | None:
    """The trusted key of an address when this is the one; None on first contact.

    Errors: UntrustedError when the address is known with another key that is still trusted.
    """
    pinned = read_pins(store.home / FILE).get(address)
    trusted = {key.fingerprint: key for key in store.trust_store().keys if key.role == "device"}
    if pinned is None or pinned not in trusted:
        return None
    if pinned != raw_key.fingerprint:
        raise UntrustedError(
            f"signs with {grouped(raw_key.fingerprint)}, on first contact it was {grouped(pinned)}",
            where=address,
            mend=f"if the device was set up anew: `edge keys untrust {trusted[pinned].name}`, then the same command",
        )
    return trusted[pinned]


def pin(store: KeyStore, address: str, key: PublicKey) -> Pinned:
    """Trust a device's key at its address. Errors: as check_pin, and those of KeyStore.trust."""
    known = check_pin(store, address, key)
    if known is not None:
        return Pinned(known, new=False)
    trusted = store.trust_store().find(key.fingerprint)
    if trusted is not None and trusted.role != "device":
        raise UntrustedError(
            f"signs with '{trusted.name}', which is trusted as a {trusted.role} key",
            where=address,
            mend="do not use it",
        )
    name = trusted.name if trusted else _free_name(store, address)
    if trusted is None:
        with tempfile.TemporaryDirectory() as place:
            pem = Path(place) / "device.pem"
            pem.write_bytes(key.to_pem())
            store.trust(pem, name, "device")
    pins = read_pins(store.home / FILE) | {address: key.fingerprint}
    data = json.dumps({"version": VERSION, "devices": dict(sorted(pins.items()))}, indent=1).encode()
    write_atomic(store.home / FILE, data)
    return Pinned(PublicKey(name, "device", key.raw), new=True)


def _free_name(store: KeyStore, address: str) -> str:
    """A key name that tells the address."""
    words = re.sub(r"[^a-z0-9]+", "-", address.lower().partition(":")[2]).strip("-")[:48] or "device"
    taken = {info.name for info in store.list()}
    number, name = 1, words
    while name in taken:
        number += 1
        name = f"{words}-{number}"
    return name
