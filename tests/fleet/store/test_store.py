"""Opening and migrating the fleet's database, both kinds."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, inspect, select, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from edge.errors import EdgeError, OfflineError, ResourceError, SpecError
from edge.fleet.store.store import Store, open_store, store_error, time_text
from edge.fleet.store.tables import decisions, devices, leases, metadata, quarantine

PASSWORD = "Hunter2-very-secret"


def differences(store: Any) -> list[Any]:
    """What a migration would still have to do."""
    with store.reading() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def test_migrated_is_tables_py(database_url: str) -> None:
    """If not: a database that was migrated lacks what tables.py promises, and a query fails in the field."""
    store = open_store(database_url)
    assert differences(store) == []
    with store.reading() as connection:
        names = set(inspect(connection).get_table_names())
    assert names == {*metadata.tables, "alembic_version"}
    store.close()


def test_open_again_changes_nothing(database_url: str) -> None:
    """If not: a restart of the collector loses data or fails."""
    first = open_store(database_url)
    with first.writing() as connection:
        connection.execute(insert(leases).values(name="a", holder="b", expires_at="c"))
    first.close()
    second = open_store(database_url)
    with second.reading() as connection:
        assert connection.execute(select(leases.c.holder)).scalar_one() == "b"
    second.close()


def test_two_open_a_new_one_at_once(database_url: str) -> None:
    """If not: two collectors that start side by side on an empty database collide in the migration."""
    code = "import sys; from edge.fleet.store.store import open_store; open_store(sys.argv[1]).close()"
    children = [subprocess.Popen([sys.executable, "-c", code, database_url], stderr=subprocess.PIPE) for _ in range(2)]
    for child in children:
        said = child.communicate(timeout=60)[1]
        assert child.returncode == 0, said.decode()
    store = open_store(database_url)
    assert differences(store) == []
    store.close()


def test_newer_database_is_refused(database_url: str) -> None:
    """If not: an old collector writes into a schema that it does not know."""
    store = open_store(database_url)
    with store.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(ResourceError, match="newer edge"):
        open_store(database_url)


def test_ids_are_never_used_again(database_url: str) -> None:
    """If not: a decision's id that somebody noted means another one after the newest was deleted."""
    store = open_store(database_url)
    row = {"device": "a", "received_at": "t", "reason": "forged", "data": b"", "data_sha256": "0"}
    with store.writing() as connection:
        connection.execute(insert(quarantine).values(row))
        connection.execute(text("DELETE FROM quarantine"))
        connection.execute(insert(quarantine).values(row))
        assert connection.execute(select(quarantine.c.id)).scalar_one() == 2
    store.close()


def test_foreign_keys_hold(database_url: str) -> None:
    """If not: decisions of a rollout that does not exist, which SQLite allows unless told."""
    store = open_store(database_url)
    row = {"rollout": "none", "at": "t", "decision": "start", "by": "x", "evidence": "{}"}
    with pytest.raises(IntegrityError), store.writing() as connection:
        connection.execute(insert(decisions).values(row))
    store.close()


def test_reader_holds_up_no_writer(database_url: str) -> None:
    """If not: a page that is read for long stops the collector, or sees half a commit."""
    store = open_store(database_url)
    key = {"public_key": bytes(32), "key_fingerprint": "0" * 16, "enrolled_at": "t"}
    with store.reading() as reader:
        assert reader.execute(select(devices.c.device)).all() == []
        with store.writing() as writer:
            writer.execute(insert(devices).values(device="tablet-1", **key))
        if store.is_sqlite:  # one state of the data
            assert reader.execute(select(devices.c.device)).all() == []
    with store.reading() as reader:
        assert reader.execute(select(devices.c.device)).scalar_one() == "tablet-1"
    store.close()


def test_writers_that_read_first_wait_their_turn(database_url: str) -> None:
    """If not: SQLite refuses (locked) whoever reads before it writes while another has written."""
    store = open_store(database_url)
    with store.writing() as connection:
        connection.execute(insert(leases).values(name="n", holder="0", expires_at="t"))

    def count_up() -> None:
        for _ in range(20):
            with store.writing() as connection:
                query = select(leases.c.holder).with_for_update()
                held = int(connection.execute(query).scalar_one())
                connection.execute(leases.update().values(holder=str(held + 1)))

    threads = [threading.Thread(target=count_up) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as connection:
        assert connection.execute(select(leases.c.holder)).scalar_one() == "60"
    store.close()


def test_sqlite_is_durable(tmp_path: Path) -> None:
    """If not: a commit that was acknowledged can be lost at a power cut."""
    store = open_store(str(tmp_path / "deep" / "fleet.db"))
    with store.reading() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
    store.close()


def test_postgresql_is_durable(postgresql: Any) -> None:
    """If not: on a server that was made fast and loose, acknowledged commits are lost when it crashes."""
    url = postgresql.database()
    store = open_store(url)
    with store.writing() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = off'))
    store.close()
    store = open_store(url)
    with store.reading() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
    store.close()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (f"postgresql://edge:{PASSWORD}@127.0.0.1:1/fleet", OfflineError),
        (f"postgresql://edge:{PASSWORD}@127.0.0.1:1/fleet?password={PASSWORD}", OfflineError),
        (f"postgresql://edge:{PASSWORD}@[::1:99999/fleet", SpecError),
        (f"mysql://edge:{PASSWORD}@127.0.0.1/fleet", SpecError),
        (f"postgresql://edge:{PASSWORD}@127.0.0.1:notaport/fleet", SpecError),
        ("sqlite://", SpecError),
        ("sqlite:///:memory:", SpecError),
    ],
)
def test_no_password_in_a_message(url: str, kind: type[EdgeError]) -> None:
    """If not: a password of the fleet's database stands in a log."""
    with pytest.raises(kind) as caught:
        open_store(url)
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_password_when_open(postgresql: Any) -> None:
    """If not: what is logged about an open store shows its password."""
    store = open_store(postgresql.url().replace("fleet@", f"fleet:{PASSWORD}@"))
    assert PASSWORD not in store.url + repr(store) + repr(store.engine)
    store.close()


def test_no_such_database(postgresql: Any) -> None:
    """If not: a misspelt name looks like a server that is down, and is waited for."""
    with pytest.raises(SpecError, match="no such name"):
        open_store(postgresql.url().replace("/postgres", "/nothing"))


def test_not_a_database(tmp_path: Path) -> None:
    """If not: a wrong file is a traceback, or is overwritten."""
    file = tmp_path / "fleet.db"
    file.write_bytes(b"a letter to somebody" * 100)
    with pytest.raises(ResourceError, match="no database"):
        open_store(str(file))
    assert file.read_bytes().startswith(b"a letter")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """If not: a missing permission is a traceback."""
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ResourceError):
        open_store(str(tmp_path / "fleet.db"))


def answers(store: Store) -> bool:
    try:
        with store.reading() as connection:
            return connection.execute(text("SELECT 1")).scalar_one() == 1
    except SQLAlchemyError as error:
        assert isinstance(store_error(error, store.url), OfflineError)
        return False


@pytest.mark.slow
def test_server_that_was_killed(postgresql: Any) -> None:
    """If not: a server that died under an open store is not noticed, or not when it is back."""
    store = open_store(postgresql.url())
    with store.writing() as connection:
        connection.execute(insert(leases).values(name="a", holder="b", expires_at="c"))
    assert answers(store)
    postgresql.kill9()
    assert not answers(store)
    postgresql.restart()
    assert answers(store)
    with store.reading() as connection:
        assert connection.execute(select(leases.c.holder)).scalar_one() == "b"
    store.close()


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1)), st.data())
def test_times_sort_as_text(one: datetime, data: st.DataObject) -> None:
    """If not: the newest result by text is not the newest by time."""
    other = data.draw(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1)))
    texts = [time_text(at.replace(tzinfo=UTC)) for at in (one, other)]
    if abs((one - other).total_seconds()) >= 0.001:
        assert (texts[0] < texts[1]) == (one < other)
