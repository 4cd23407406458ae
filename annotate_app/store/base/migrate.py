"""Brings a database to the schema of this version, once, whoever opens it first.

The upgrade is one transaction under a lock (SQLite's write lock, an advisory lock on PostgreSQL): of two processes that
open a new database at the same time, the second waits and finds the work done.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from annotate_app.store.base.database import Database

MIGRATIONS = Path(__file__).parents[1] / "migrations"
LOCK_KEY = 7_215_110_403  # any number, the same in every process
WAL_TIMEOUT_S = 30.0
EXTENSION_TABLES = {"spatial_ref_sys"}  # what PostgreSQL's extensions put into an empty database


def upgrade(database: Database, revision: str = "head") -> None:
    """Applies the revisions that are missing; does nothing to a database that has them all.

    Raises:
        ValueError: if the database was written by a newer version than this one, or by another program.
    """
    with database.read() as connection:
        _refuse_strangers(connection)
    if database.is_sqlite:
        _switch_to_wal(database)
    with database.read() as connection:
        if schema_revision(connection) == (head_revision() if revision == "head" else revision):
            return
    with database.write() as connection:
        upgrade_within(connection, revision)


def upgrade_within(connection: Connection, revision: str = "head") -> None:
    """As `upgrade`, inside a write transaction of the caller."""
    if connection.dialect.name != "sqlite":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
    _refuse_strangers(connection)
    known_revisions = revisions()
    current = schema_revision(connection)
    for revision_id in (current, revision):
        if revision_id not in (None, "head", *known_revisions):
            raise ValueError(f"schema {revision_id} is newer than this version, which knows up to {head_revision()}")
    if current == (head_revision() if revision == "head" else revision):
        return
    # Here and not at the top: it takes longer to load than most commands take to run.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def schema_revision(connection: Connection) -> str | None:
    """The revision a database has, None where it has none yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _refuse_strangers(connection: Connection) -> None:
    """Raises ValueError where tables are, and not ours: nothing is added to the database of another program."""
    names = set(inspect(connection).get_table_names()) - EXTENSION_TABLES
    ours = "alembic_version" in names and "user_account" in names
    strange = sorted(names - {"alembic_version"})
    if strange and not ours:
        more = ", ..." if len(strange) > 3 else ""
        raise ValueError(
            f"the database is another program's, it has the tables {', '.join(strange[:3])}{more} and none of ours: "
            "name a file that is not there yet, or an empty database"
        )


def revisions() -> list[str]:
    """The revisions of this version, oldest first: the numbers that their files' names begin with."""
    return sorted(path.stem.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def head_revision() -> str:
    """The newest revision of this version."""
    return revisions()[-1]


def _switch_to_wal(database: Database) -> None:
    """Write-ahead logging is a property of the file, set once: the busy timeout does not cover this statement."""
    path = database.engine.url.database
    if not path or path == ":memory:":
        return
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        deadline = time.monotonic() + WAL_TIMEOUT_S
        while True:
            try:
                if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                    return
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
    finally:
        connection.close()
