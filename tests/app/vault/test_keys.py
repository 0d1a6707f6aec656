"""The wrapped key: when these fail, a changed file opens something, or eats the memory of the device."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.app.vault.keys import Cost, KeyFile, Keys, new_key, stretched
from edge.app.vault.protocol import DamagedError
from edge.errors import InputError, ResourceError

from .conftest import CHEAP, PIN

FILE, KEYS = new_key("rows", PIN, CHEAP)


def test_round_trip() -> None:
    """If not: the right PIN does not open, or a wrong one does."""
    again = KeyFile.from_bytes(FILE.to_bytes())
    assert again == FILE
    master = again.unwrap(PIN)
    assert master is not None
    assert Keys(master, bytes.fromhex(FILE.vault_id)).child("audit") == KEYS.child("audit")
    assert again.unwrap("402918") is None
    assert again.unwrap(PIN, b"device") is None


def test_nothing_of_the_pin_or_key_is_in_the_file() -> None:
    """If not: the file gives away what it protects."""
    data = FILE.to_bytes()
    master = FILE.unwrap(PIN)
    assert master is not None
    assert PIN.encode() not in data
    assert master.hex().encode() not in data
    assert "hidden" in repr(KEYS)


def test_rewrapping_is_fresh() -> None:
    """If not: salt or nonce is used twice."""
    master = FILE.unwrap(PIN)
    assert master is not None
    other = FILE.with_key(master, PIN)
    assert other.vault_id == FILE.vault_id
    assert len({FILE.salt, other.salt, FILE.nonce, other.nonce}) == 4
    assert other.unwrap(PIN) == master


def test_each_use_has_its_key() -> None:
    """If not: what is made for one use passes for another."""
    names = ("database", "rows", "names", "seals", "audit")
    assert len({bytes(KEYS.child(name)) for name in names}) == len(names)
    assert KEYS.mac("audit", b"ab", b"c") != KEYS.mac("audit", b"a", b"bc")


def test_forgotten_keys_are_refused() -> None:
    """If not: a locked vault encrypts with zeros."""
    keys = KEYS.copy()
    keys.child("rows")
    keys.forget()
    with pytest.raises(InputError, match="locked"):
        keys.child("rows")


@pytest.mark.parametrize(
    "kdf",
    [
        {"memory_kib": 100_000_000},
        {"memory_kib": -1},
        {"memory_kib": 4},
        {"memory_kib": 64.5},
        {"memory_kib": True},
        {"memory_kib": "65536"},
        {"passes": 10_000},
        {"passes": 0},
        {"lanes": 100},
        {"name": "none"},
        {"salt": "00"},
        {"salt": None},
    ],
)
def test_costs_are_bounded(kdf: dict[str, object]) -> None:
    """If not: a changed file asks for 100 GB, or for years."""
    value = json.loads(FILE.to_bytes())
    value["kdf"] |= kdf
    started = time.monotonic()
    with pytest.raises(DamagedError) as caught:
        KeyFile.from_bytes(json.dumps(value).encode())
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "sqlcipher"},
        {"vault_id": "00" * 16},
        {"wipe_after": 7},
        {"bound": True},
        {"nonce": "00" * 12},
        {"wrapped": "00" * 48},
    ],
)
def test_all_of_the_file_is_authenticated(change: dict[str, object]) -> None:
    """If not: a field (the wipe, the binding) can be changed without the PIN and the vault still opens."""
    file = KeyFile.from_bytes(json.dumps(json.loads(FILE.to_bytes()) | change).encode())
    assert file.unwrap(PIN) is None


@pytest.mark.parametrize(
    "change", [{"extra": 1}, {"wipe_after": -1}, {"wipe_after": 10**9}, {"wrapped": "00"}, {"version": 0}, {"kind": 1}]
)
def test_other_files_are_refused(change: dict[str, object]) -> None:
    """If not: what is no key file is taken for one."""
    with pytest.raises(DamagedError):
        KeyFile.from_bytes(json.dumps(json.loads(FILE.to_bytes()) | change).encode())


def test_newer_file() -> None:
    """If not: an older app calls a newer vault damaged."""
    with pytest.raises(ResourceError, match="newer edge"):
        KeyFile.from_bytes(json.dumps(json.loads(FILE.to_bytes()) | {"version": 2}).encode())


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(json.loads(FILE.to_bytes()))), inner)
            ),
        ).map(lambda value: json.dumps(value).encode()),
        st.integers(0, 600).map(lambda cut: FILE.to_bytes()[:cut]),
    )
)
def test_any_file_is_one_line(data: bytes) -> None:
    """If not: a damaged file is a traceback."""
    if data.strip() == FILE.to_bytes().strip():
        return
    with pytest.raises(ResourceError) as caught:
        KeyFile.from_bytes(data)
    assert "\n" not in str(caught.value)


def test_same_letters_same_key() -> None:
    """If not: a passphrase typed on another keyboard (composed or not) does not open."""
    assert stretched("Käse-Brot 9", b"s" * 16, CHEAP) == stretched("Ka\u0308se-Brot 9", b"s" * 16, CHEAP)
    assert stretched("x", b"s" * 16, CHEAP) != stretched("x", b"s" * 16, Cost(16, 1, 1))
    assert stretched("x", b"s" * 16, CHEAP) != stretched("x", b"s" * 16, CHEAP, b"device")
