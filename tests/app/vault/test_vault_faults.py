"""The vault when things fail: full disks, read-only folders, damage, versions of the future. Else visits are lost."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
from pathlib import Path

import pytest

from edge.app.vault import migrations
from edge.app.vault.folder import FolderVault, system_moment
from edge.app.vault.keys import Cost
from edge.app.vault.protocol import (
    DamagedError,
    VaultState,
    WrongPinError,
)
from edge.app.vault.rows import RowVault
from edge.app.vault.sqlcipher import SqlCipherVault, available
from edge.errors import EdgeError, InputError, ResourceError
from tests.app.vault.test_vault import made

from .conftest import KINDS, OTHER_PIN, PASSPHRASE, PIN, Make


def test_full_disk_keeps_what_was_there(make: Make) -> None:
    """If not: a full disk costs the last saved state, or says it in a traceback."""
    opened = make().create(PIN)
    opened.save("a", b"old", b"s")
    pages = opened._connection.execute("PRAGMA page_count").fetchone()[0]  # type: ignore[attr-defined]
    opened._connection.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]
    with pytest.raises(ResourceError, match="no space left"):
        opened.save("a", b"n" * 100_000, b"s")
    assert opened.load("a") == b"old"
    assert opened.summaries() == (("a", b"s"),)
    assert opened.check_audit().whole


def test_writes_that_fail_keep_what_was_there(make: Make, tmp_path: Path) -> None:
    """If not: a failing disk (here: a limit on the size of files) loses a record or the vault."""
    vault = make()
    opened = vault.create(PIN)
    opened.save("a", b"old", b"s")
    size = (tmp_path / "data/vault/vault.db").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, limits[1]))
    try:
        with pytest.raises(ResourceError) as caught:
            opened.save("a", os.urandom(200_000), b"s")
        with pytest.raises(ResourceError):
            opened.backup(tmp_path / "backup", PASSPHRASE) if size < 1 else opened.save("b", os.urandom(99_999), b"")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert opened.load("a") == b"old"
    opened.save("a", b"new", b"s")
    vault.lock()
    again = make().unlock(PIN)
    assert again.load("a") == b"new"
    assert again.check_audit().whole


def test_read_only_folder(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: a read-only card is a traceback, or a try that is not counted."""
    vault = made(make, "a")
    real = os.open

    def refuse(path: object, flags: int, *more: object, **options: object) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) and not str(path).endswith("lock"):
            raise OSError(30, "Read-only file system")
        return real(path, flags, *more, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(ResourceError, match="cannot be written"):
            vault.unlock(PIN)
        with pytest.raises(ResourceError, match="cannot be written"):
            make(folder=tmp_path / "other").create(PIN)
        assert vault.state == VaultState.LOCKED
    assert not (tmp_path / "other/vault").exists()
    assert make().unlock(PIN).load("a")


def test_full_disk_does_not_lock_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: with no byte left a clinician cannot read a patient; or a guesser is not counted."""
    vault = made(make, "a")
    real = os.open

    def full(path: object, flags: int, *more: object, **options: object) -> int:
        if flags & os.O_EXCL:
            raise OSError(28, "No space left on device")
        return real(path, flags, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", full)
    for failures in (1, 2, 3, 4):
        with pytest.raises(WrongPinError) as caught:
            vault.unlock("999998")
        assert caught.value.failures == failures
    assert vault.wait_s == 30


def test_future_schema_is_refused_untouched(make: Make, kind: type[FolderVault], tmp_path: Path) -> None:
    """If not: an older app damages what a newer one wrote."""
    vault = make()
    vault.create(PIN)._connection.execute("PRAGMA user_version = 99")  # type: ignore[attr-defined]
    vault.lock()
    path = tmp_path / "data/vault/vault.db"
    before = path.read_bytes()
    with pytest.raises(ResourceError, match="newer edge") as caught:
        make().unlock(PIN)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert make().state == VaultState.LOCKED


def test_migrations_go_forward_whole(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: an update of the app costs the data, or leaves half a schema."""
    vault = made(make, "a")
    more = (*migrations.STEPS, ("CREATE TABLE extra (x)", "INSERT INTO extra VALUES (1)"))
    broken = (*more, ("CREATE TABLE other (x)", "no sql"))
    monkeypatch.setattr(migrations.migrate, "__defaults__", (broken,))
    monkeypatch.setattr(migrations.check_not_newer, "__defaults__", (broken,))
    with pytest.raises(ResourceError):
        vault.unlock(PIN)
    monkeypatch.setattr(migrations.migrate, "__defaults__", (more,))
    opened = make().unlock(PIN)
    assert opened.load("a")
    tables = opened._connection.execute("SELECT name FROM sqlite_master").fetchall()  # type: ignore[attr-defined]
    assert ("extra",) in tables
    assert ("other",) not in tables


def test_damaged_database(make: Make, tmp_path: Path) -> None:
    """If not: a damaged file is a traceback, or is taken for an empty vault and overwritten."""
    vault = made(make, "a")
    inside = tmp_path / "data/vault"
    for name in ("vault.db", "key.json"):
        kept = (inside / name).read_bytes()
        (inside / name).write_bytes(os.urandom(len(kept)))
        with pytest.raises(DamagedError):
            vault.unlock(PIN)
        (inside / name).unlink()
        with pytest.raises(DamagedError):
            vault.unlock(PIN)
        with pytest.raises(InputError, match="already"):
            vault.create(PIN)
        (inside / name).write_bytes(kept)
    assert vault.unlock(PIN).load("a")


def test_rolled_back_database_is_seen(make: Make, tmp_path: Path) -> None:
    """If not: an older copy of the database can be put in place of the newer one unseen."""
    vault = made(make, "a")
    path = tmp_path / "data/vault/vault.db"
    shutil.copy(path, tmp_path / "older")
    opened = vault.unlock(PIN)
    opened.save("b", b"x", b"")
    opened.audit("sign", "b")
    vault.lock()
    shutil.copy(tmp_path / "older", path)
    state = make().unlock(PIN).check_audit()
    assert not state.whole
    assert (state.reason, state.first_broken) == ("rolled-back", 1)


def test_real_cost_and_real_clocks(tmp_path: Path) -> None:
    """If not: the costs that ship do not work, or the machine's clocks are not read."""
    vault = RowVault(tmp_path / "data")
    vault.create(PIN).save("a", b"x", b"")
    vault.lock()
    assert b'"memory_kib": 65536' in (tmp_path / "data/vault/key.json").read_bytes()
    assert vault.unlock(PIN).load("a") == b"x"
    vault.lock()
    assert system_moment().wall_s > 0
    assert Cost() == Cost(64 * 1024, 3, 1)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: a missing library is a traceback."""
    from edge.app.vault import sqlcipher

    monkeypatch.setattr(sqlcipher, "library", None)
    with pytest.raises(EdgeError, match="sqlcipher3 is not installed"):
        SqlCipherVault(tmp_path / "data", cost=Cost(8, 1, 1)).create(PIN)
    assert not (tmp_path / "data/vault").exists()
    assert not available()


def test_plain_sqlite_refuses_the_file(tmp_path: Path) -> None:
    """If not: the database of the SQLCipher vault is not encrypted."""
    vault = SqlCipherVault(tmp_path / "data", cost=Cost(8, 1, 1))
    vault.create(PIN)
    vault.lock()
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(tmp_path / "data/vault/vault.db").execute("SELECT * FROM encounters")


def test_device_secret_unlocks(make: Make) -> None:
    """If not: a bound vault does not open on its own device."""
    vault = make(device_secret=b"s" * 32)
    vault.create(PIN).save("a", b"x", b"")
    vault.change_pin(PIN, OTHER_PIN)
    vault.lock()
    assert make(device_secret=b"s" * 32).unlock(OTHER_PIN).load("a") == b"x"


def test_kinds_do_not_mix(make: Make) -> None:
    """If not: the wrong library damages the other's file."""
    vault = made(make)
    other = next(kind for kind in KINDS if kind is not type(vault))
    with pytest.raises(ResourceError, match="another kind"):
        make(kind=other).unlock(PIN)
    make().unlock(PIN)
