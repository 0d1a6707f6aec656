"""What somebody can do who may write the row vault's plain file but does not know the key."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from edge.app.vault.rows import RowVault
from edge.errors import EdgeError

from .conftest import PIN, Make


@pytest.fixture
def path(make: Make, tmp_path: Path) -> Path:
    """The file of a locked row vault with three encounters; a was saved twice."""
    vault = make(kind=RowVault)
    opened = vault.create(PIN)
    for name in ("a", "b", "c", "a"):
        opened.save(name, b"data " + name.encode(), b"sum " + name.encode())
    opened.set_setting("language", "de")
    vault.lock()
    return tmp_path / "data/vault/vault.db"


def tamper(path: Path, *statements: str) -> None:
    """Change the file."""
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement.replace("FIRST", FIRST).replace("SECOND", SECOND))
    connection.close()


def opened(make: Make) -> Any:
    """Unlocked again."""
    return make(kind=RowVault).unlock(PIN)


FIRST, SECOND = "(SELECT min(key) FROM encounters)", "(SELECT max(key) FROM encounters)"  # stand-ins in statements


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE encounters SET data = (SELECT data FROM encounters WHERE key = FIRST) WHERE key = SECOND",
        "UPDATE encounters SET summary = data WHERE key = SECOND",
        "UPDATE encounters SET changed = changed + 10 WHERE key = SECOND",
        "UPDATE encounters SET changed = -1 WHERE key = SECOND",
        "UPDATE encounters SET changed = 'x' WHERE key = SECOND",
        "UPDATE encounters SET changed = 9223372036854775807 WHERE key = SECOND",
        "UPDATE encounters SET data = zeroblob(length(data)) WHERE key = SECOND",
        "UPDATE encounters SET data = x'00' WHERE key = SECOND",
        "UPDATE encounters SET data = 7 WHERE key = SECOND",
        "UPDATE encounters SET seal = zeroblob(32) WHERE key = SECOND",
        "UPDATE encounters SET seal = 99999999999 WHERE key = SECOND",
        "UPDATE encounters SET key = 'text' WHERE key = SECOND",
        "UPDATE encounters SET key = x'aa' WHERE key = SECOND",
    ],
)
def test_changed_rows_are_refused(make: Make, path: Path, statement: str) -> None:
    """If not: one patient's record can be shown as another's. The rest must stay readable, and be saved."""
    tamper(path, statement)
    vault = opened(make)
    lost = []
    for name in ("a", "b", "c"):
        try:
            assert vault.load(name) == b"data " + name.encode()
        except EdgeError as error:
            assert "\n" not in str(error)
            lost.append(name)
    assert len(lost) == 1
    listed = dict(vault.summaries())
    assert all(listed[name] == b"sum " + name.encode() for name in listed)
    assert {"a", "b", "c"} - set(lost) <= set(listed)
    assert len(vault.damaged_records()) == 3 - len(listed)
    vault.save("new", b"x", b"y")
    assert vault.load("new") == b"x"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM encounters WHERE key = SECOND",
        "DELETE FROM encounters",
        "DELETE FROM settings",
        "INSERT INTO encounters SELECT x'bb', changed, seal, summary, data FROM encounters WHERE key = SECOND",
        "UPDATE encounters SET seal = x'' WHERE key = SECOND",
        "DELETE FROM meta WHERE key = 'records'",
        "DELETE FROM meta",
        "UPDATE meta SET value = zeroblob(8) WHERE key = 'counter'",
        "UPDATE meta SET value = x'7fffffffffffffff' WHERE key = 'counter'",
        "UPDATE meta SET value = 3",
    ],
)
def test_removed_and_added_rows_are_noticed(make: Make, path: Path, statement: str) -> None:
    """If not: a patient can be made to vanish unseen."""
    tamper(path, statement)
    vault = opened(make)
    assert vault.check_audit().rows_altered
    assert vault.audit_entries(1)[0].action == "store-altered"
    vault.save("new", b"x", b"y")
    assert vault.load("new") == b"x"


def test_one_row_put_back_is_noticed(make: Make, path: Path) -> None:
    """If not: yesterday's drug list can be put back for one patient."""
    with sqlite3.connect(path) as connection:
        old = connection.execute("SELECT * FROM encounters").fetchall()
    connection.close()
    vault = make(kind=RowVault)
    vault.unlock(PIN).save("b", b"newer", b"sum b")
    vault.lock()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM encounters")
        connection.executemany("INSERT INTO encounters VALUES (?, ?, ?, ?, ?)", old)
    connection.close()
    state = opened(make).check_audit()
    assert state.rows_altered


def test_untouched_is_quiet(make: Make, path: Path) -> None:
    """If not: every unlock cries wolf."""
    tamper(path, "VACUUM")
    vault = opened(make)
    assert not vault.check_audit().rows_altered
    assert vault.audit_head()[0] == 0


def test_same_words_look_different(make: Make, path: Path) -> None:
    """If not: equal records can be told from the file."""
    vault = opened(make)
    vault.save("x1", b"same words", b"same")
    vault.save("x2", b"same words", b"same")
    rows = vault._connection.execute("SELECT data, summary FROM encounters").fetchall()
    assert len({cell for row in rows for cell in row}) == 2 * len(rows)
