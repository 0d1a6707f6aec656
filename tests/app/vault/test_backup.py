"""Backups: when these fail, the one copy that was left does not restore, or restores something that was changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.app.vault.backup import CHUNK_BYTES, MAGIC, read_backup, write_backup
from edge.app.vault.folder import FolderVault
from edge.app.vault.protocol import DamagedError, VaultState
from edge.errors import EdgeError, InputError, ResourceError

from .conftest import CHEAP, KINDS, OTHER_PIN, PASSPHRASE, PIN, Make


def backed_up(make: Make, tmp_path: Path) -> Path:
    """A backup of a vault with some of everything."""
    vault = make()
    opened = vault.create(PIN)
    for number in range(5):
        opened.save(f"e{number}", b"data %d " % number * 9000, b"sum %d" % number)
    opened.save("e1", b"newest", b"newest")
    opened.set_setting("language", "de")
    opened.audit("sign", "e1")
    opened.backup(tmp_path / "copy.edgevault", PASSPHRASE)
    vault.lock()
    return tmp_path / "copy.edgevault"


@pytest.mark.parametrize("other", KINDS, ids=lambda kind: kind.kind)
def test_restores_into_either_kind(make: Make, tmp_path: Path, other: type[FolderVault]) -> None:
    """If not: a backup of one device is lost for another."""
    path = backed_up(make, tmp_path)
    before = make().unlock(PIN)
    opened = make(folder=tmp_path / "new", kind=other).restore(path, PASSPHRASE, OTHER_PIN)
    assert opened.summaries() == before.summaries()
    assert [opened.load(name) for name, _ in opened.summaries()] == [before.load(n) for n, _ in before.summaries()]
    assert opened.setting("language") == "de"
    restored, signed = opened.audit_entries()
    assert (restored.action, restored.detail) == ("vault-restore", {"count": "5"})
    assert signed.hash == before.audit_entries()[1].hash  # the chain of the old device goes on
    assert opened.check_audit().whole
    assert before.audit_entries(1)[0].detail == {"count": "7", "damaged": "0", "log": "whole"}


def test_wrong_passphrase_and_existing_vault(make: Make, tmp_path: Path) -> None:
    """If not: a typing error damages something, or a restore writes over patients."""
    path = backed_up(make, tmp_path)
    vault = make(folder=tmp_path / "new")
    with pytest.raises(InputError, match="wrong passphrase") as caught:
        vault.restore(path, PASSPHRASE + "x", PIN)
    assert PASSPHRASE not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert vault.state == VaultState.ABSENT
    with pytest.raises(InputError, match="already"):
        make().restore(path, PASSPHRASE, PIN)
    with pytest.raises(InputError):
        vault.restore(path, PASSPHRASE, "123456")
    with pytest.raises(EdgeError):
        vault.restore(tmp_path / "none", PASSPHRASE, PIN)
    assert vault.restore(path, PASSPHRASE, PIN).load("e1") == b"newest"


def test_where_a_backup_may_be(make: Make, tmp_path: Path) -> None:
    """If not: a backup overwrites something, or is wiped with the vault."""
    path = backed_up(make, tmp_path)
    opened = make().unlock(PIN)
    for place, phrase in ((path, PASSPHRASE), (tmp_path / "data/b", PASSPHRASE), (tmp_path / "b", "short")):
        with pytest.raises(InputError):
            opened.backup(place, phrase)
    with pytest.raises(ResourceError):
        opened.backup(tmp_path / "no/folder/b", PASSPHRASE)
    assert opened.check_audit().whole


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[bytes], Path]:
    """A backup of five chunks: its opening, its chunks, a folder to work in."""
    folder = tmp_path_factory.mktemp("pieces")
    records = [(b"encounter", b"e%d" % number, b"s", bytes(CHUNK_BYTES)) for number in range(4)]
    write_backup(folder / "b", PASSPHRASE, CHEAP, records)
    data = (folder / "b").read_bytes()
    at = len(MAGIC) + 2 + int.from_bytes(data[len(MAGIC) : len(MAGIC) + 2], "big")
    rest, size = data[at:], CHUNK_BYTES + 16
    return data[:at], [rest[i : i + size] for i in range(0, len(rest), size)], folder


@pytest.mark.parametrize("order", ["0123", "0124", "01243", "10234", "012344", "01234x", "234", "", "4", "00123"])
def test_chunks_are_bound_to_their_place(pieces: tuple[bytes, list[bytes], Path], order: str) -> None:
    """If not: a cut, swapped or doubled stream restores as if it were whole."""
    opening, chunks, folder = pieces
    assert len(chunks) == 5
    body = b"".join(b"xx" if sign == "x" else chunks[int(sign)] for sign in order)
    (folder / "c").write_bytes(opening + body)
    with pytest.raises(DamagedError, match="damaged") as caught:
        list(read_backup(folder / "c", PASSPHRASE))
    assert "\n" not in str(caught.value)


def test_cut_between_records(tmp_path: Path) -> None:
    """If not: a file cut where a record and a chunk end together restores without the rest of the patients."""
    record = (b"setting", b"language", bytes(CHUNK_BYTES - 4 - 12 - 15))
    write_backup(tmp_path / "b", PASSPHRASE, CHEAP, [record] * 3)
    assert len(list(read_backup(tmp_path / "b", PASSPHRASE))) == 3
    whole = (tmp_path / "b").read_bytes()
    (tmp_path / "b").write_bytes(whole[: -CHUNK_BYTES - 16])
    with pytest.raises(DamagedError):
        list(read_backup(tmp_path / "b", PASSPHRASE))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small backup."""
    folder = tmp_path_factory.mktemp("small")
    write_backup(folder / "b", PASSPHRASE, CHEAP, [(b"setting", b"language", b"de")] * 3)
    return folder / "b"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_is_found(small: Path, data: st.DataObject) -> None:
    """If not: a flipped bit, a cut, or an added byte goes unseen."""
    whole = small.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = data.draw(
        st.sampled_from([whole[:at], whole + b"\x00", whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]])
    )
    other = small.with_name("other")
    other.write_bytes(changed)
    with pytest.raises(EdgeError) as caught:
        list(read_backup(other, PASSPHRASE))
    assert "\n" not in str(caught.value)


def test_bounds_and_newer(small: Path) -> None:
    """If not: a file can ask for 100 GB, or an old app calls a new backup damaged."""
    whole = small.read_bytes()
    size = int.from_bytes(whole[8:10], "big")
    value = json.loads(whole[10 : 10 + size])
    for change, words in (({"kdf": value["kdf"] | {"memory_kib": 10**8}}, "damaged"), ({"version": 2}, "newer edge")):
        header = json.dumps(value | change).encode()
        other = small.with_name("other")
        other.write_bytes(MAGIC + len(header).to_bytes(2, "big") + header + whole[10 + size :])
        with pytest.raises(ResourceError, match=words):
            list(read_backup(other, PASSPHRASE))


def test_damaged_backup_leaves_nothing(make: Make, tmp_path: Path) -> None:
    """If not: half a set of patients looks like all of them."""
    path = backed_up(make, tmp_path)
    data = path.read_bytes()
    assert len(data) > 3 * CHUNK_BYTES
    for damaged in (data[:-1], data[: 2 * CHUNK_BYTES], data[:-40] + bytes(40)):
        path.write_bytes(damaged)
        vault = make(folder=tmp_path / "new")
        with pytest.raises(DamagedError):
            vault.restore(path, PASSPHRASE, PIN)
        assert vault.state == VaultState.ABSENT
        assert [item.name for item in (tmp_path / "new").iterdir()] == ["lock"]


def test_backup_goes_on_without_damaged_rows(make: Make, tmp_path: Path) -> None:
    """If not: one broken record keeps all others from being saved elsewhere."""
    opened = make().create(PIN)
    opened.save("a", b"x", b"y")
    opened.save("b", b"x", b"y")
    opened._connection.execute("UPDATE encounters SET data = x'00' WHERE changed = 1")  # type: ignore[attr-defined]
    opened.backup(tmp_path / "copy", PASSPHRASE)
    assert opened.audit_entries(1)[0].detail["damaged"] == "1"
    restored = make(folder=tmp_path / "new").restore(tmp_path / "copy", PASSPHRASE, PIN)
    assert [name for name, _ in restored.summaries()] == ["b"]
