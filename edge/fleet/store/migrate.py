"""Brings a database to the schema of this edge, step by step, one process at a time.

All steps of one upgrade are one transaction, which holds a lock (SQLite's writer's place, an advisory lock of
PostgreSQL): a process that was killed leaves the old schema whole, and one that comes second finds the work done. A
database that was brought further by a newer edge is refused; nothing here goes back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from edge.errors import ResourceError

FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x65646765  # "edge": a number that all collectors of a database agree on


def migrate(engine: Engine, shown: str) -> None:
    """Bring the database up to date. `shown` names it in an error.

    Errors: ResourceError for a database of a newer edge; SQLAlchemyError from the database.
    """
    script = ScriptDirectory(str(FOLDER))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        _upgrade(connection, script, shown)


def _upgrade(connection: Connection, script: ScriptDirectory, shown: str) -> None:
    def steps(revision: Any, _context: MigrationContext) -> Any:
        return script._upgrade_revs("head", revision)

    context = MigrationContext.configure(connection, opts={"fn": steps})
    known = {revision.revision for revision in script.walk_revisions()}
    if set(context.get_current_heads()) - known:
        raise ResourceError(
            "the database was made by a newer edge", where=shown, mend="update edge here, or name another database"
        )
    with Operations.context(context):
        context.run_migrations()
