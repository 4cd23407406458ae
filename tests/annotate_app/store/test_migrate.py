"""The schema: one way up for every database, whoever opens it first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError

from annotate_app.access import Actor
from annotate_app.store import audit, tables
from annotate_app.store.database import Database
from annotate_app.store.migrate import head_revision, schema_revision, upgrade
from annotate_app.store.store import Store

ADMIN = Actor.command_line()
OPEN_TOGETHER = """
import sys, time
from annotate_app.store.store import Store
while time.time() < float(sys.argv[2]):
    time.sleep(0.001)
store = Store.open(sys.argv[1])
print(len(store.projects.list(__import__("annotate_app.access").access.Actor.command_line())))
"""


def test_migrations_make_what_tables_describe(store: Store) -> None:
    with store.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        assert schema_revision(connection) == head_revision()


def test_every_index_of_the_tables_is_made(store: Store) -> None:
    found = inspect(store.database.engine)
    for table in tables.metadata.sorted_tables:
        made = {index["name"] for index in found.get_indexes(table.name)}
        assert {index.name for index in table.indexes} <= made


def test_an_empty_database_comes_up_from_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/folder/new.db")
    upgrade(database)
    upgrade(database)
    with database.read() as connection:
        assert schema_revision(connection) == head_revision()
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    database.close()


def test_rows_outlive_an_upgrade(store: Store) -> None:
    with store.database.write() as connection:
        connection.execute(insert(tables.user).values(name="anna", role="annotator", origin="local", created_at=1.0))
    upgrade(store.database)
    assert [user.name for user in store.people.list(ADMIN)] == ["anna"]


def test_a_database_of_a_newer_version_is_refused(store: Store) -> None:
    with store.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ValueError, match="schema 9999 is newer than this version"):
        upgrade(store.database)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_open_a_new_database_together_all_find_it(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path}/new.db"
    else:
        url = request.getfixturevalue("postgresql_url")
        database = Database(url)
        with database.write() as connection:
            tables.metadata.drop_all(connection)
            connection.execute(text("DROP TABLE alembic_version"))
        database.close()
    start = str(__import__("time").time() + 2.0)
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN_TOGETHER, url, start], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["0"] * 4


def test_the_audit_log_cannot_be_changed(store: Store) -> None:
    with store.database.write() as connection:
        audit.record(connection, ADMIN, "something")
    statements = [update(tables.audit).values(actor="nobody"), delete(tables.audit)]
    if not store.database.is_sqlite:
        statements.append(text("TRUNCATE audit"))
    for statement in statements:
        with pytest.raises(DBAPIError, match="append-only"), store.database.write() as connection:
            connection.execute(statement)
    with store.database.read() as connection:
        assert connection.execute(select(tables.audit.c.actor)).scalars().all() == ["command line"]


def test_reading_sees_one_state_throughout(store: Store) -> None:
    count = select(tables.user.c.name)
    with store.database.read() as connection:
        assert connection.execute(count).all() == []
        store.people.add(ADMIN, "anna", role="annotator")
        assert connection.execute(count).all() == []


def test_other_databases_are_refused() -> None:
    with pytest.raises(ValueError, match=r"allowed are sqlite:/// and postgresql\+psycopg://"):
        Database("mysql://localhost/x")
