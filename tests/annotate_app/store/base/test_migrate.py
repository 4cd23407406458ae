"""The schema: one way up for every database, whoever opens it first."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Float, delete, insert, inspect, select, text, type_coerce, update
from sqlalchemy.exc import DBAPIError

from alignment.judges.spec import JudgeSpec
from annotate_app.access import Actor
from annotate_app.exchange.rows.rows_out import Pseudonyms
from annotate_app.store.base import audit
from annotate_app.store.base.answers import directions
from annotate_app.store.base.database import Database
from annotate_app.store.base.migrate import MIGRATIONS, head_revision, revisions, schema_revision, upgrade
from annotate_app.store.loop.judge_votes import JudgeVote
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import desk_tables, tables, whole_schema
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
        assert compare_metadata(context, whole_schema.metadata) == []
        assert schema_revision(connection) == head_revision()


def test_every_index_of_the_tables_is_made(store: Store) -> None:
    found = inspect(store.database.engine)
    for table in whole_schema.metadata.sorted_tables:
        made = {index["name"] for index in found.get_indexes(table.name)}
        assert {index.name for index in table.indexes} <= made


def test_revisions_are_numbered_as_alembic_chains_them() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert [script.revision for script in scripts.walk_revisions()][::-1] == revisions()
    assert scripts.get_current_head() == head_revision()


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


def test_projects_keep_their_pseudonyms_when_they_get_keys(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before revision 0002 the key was a hash of the secret that signs cookies, the project's id and its time."""
    monkeypatch.setenv("TIEBREAK_SECRET", "s" * 40)
    database = Database(database_url)
    with database.write() as connection:
        whole_schema.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    upgrade(database, "0001")
    columns = {"description": "", "design": {}, "simulated": False, "archived": False}
    with database.write() as connection:
        connection.execute(insert(tables.project).values(id=1, name="old", created_at=1234.5, **columns))
    with Store.open(database_url) as store:
        key = store.projects.pseudonym_key(ADMIN, 1)
        assert key == hashlib.sha256(f"pseudonyms\n1\n1234.5\n{'s' * 40}".encode()).digest()
        # The first ten digits of HMAC-SHA256 of "anna" under that key.
        assert Pseudonyms.of(store, ADMIN, 1).of_name("anna") == "annotator-d87833048f"
        monkeypatch.setenv("TIEBREAK_SECRET", "t" * 40)
        assert Pseudonyms.of(store, ADMIN, 1).key == key
    database.close()


def test_times_imported_in_finer_units_become_seconds_and_the_others_unknown(database_url: str) -> None:
    """Before revision 0003 a time in milliseconds was stored as seconds, and no page could draw its project."""
    database = Database(database_url)
    with database.write() as connection:
        whole_schema.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    upgrade(database, "0002")
    at = 1_719_863_342.0  # 2024-07-01 19:49:02 UTC
    stored = [at, 77.0, at * 1e3, at * 1e6, at * 1e9, 1e30, float("inf"), 32_503_680_000.0, -5.0]
    with database.write() as connection:
        for table in (tables.user, tables.project, tables.prompt, tables.response, tables.comparison):
            connection.execute(insert(table).values(**FIRST_ROWS[table.name]))
        for number, moment in enumerate(stored):
            row = {"project_id": 1, "comparison_id": 1, "user_id": 1, "choice": "tie", "criteria": {}, "flags": {}}
            connection.execute(insert(tables.judgment).values(**row, event_id=str(number), created_at=moment))
    upgrade(database)
    with database.read() as connection:
        columns = tables.judgment.c
        times = connection.execute(select(type_coerce(columns.created_at, Float)).order_by(columns.id)).scalars().all()
        assert times == [at, 77.0, at, at, at, 0.0, 0.0, 0.0, 0.0]
        (entry,) = connection.execute(select(tables.audit)).all()
        assert (entry.actor, entry.action, entry.detail) == ("upgrade", "times repaired", {"num_judgments": 7})
    database.close()


def test_a_project_with_votes_gets_what_the_loop_takes_and_keeps_its_own(database_url: str) -> None:
    """Revision 0005 adds tables; what was there before is as it was, and the new ones take rows."""
    database = Database(database_url)
    with database.write() as connection:
        whole_schema.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    upgrade(database, "0004")
    vote = {"project_id": 1, "comparison_id": 1, "user_id": 1, "choice": "tie", "criteria": {}, "flags": {}}
    with database.write() as connection:
        for table in (tables.user, tables.project, tables.prompt, tables.response, tables.comparison):
            connection.execute(insert(table).values(**FIRST_ROWS[table.name]))
        connection.execute(insert(tables.judgment).values(**vote, event_id="1", created_at=1.0))
    with Store.open(database_url) as store:
        assert [len(store.judgments.votes(ADMIN, 1)), store.comparisons.count(ADMIN, 1)] == [1, 1]
        assert store.turns.list(ADMIN, 1) == store.judges.list(ADMIN, 1) == store.rounds.list(ADMIN, 1) == []
        turn = store.turns.add(ADMIN, 1, {})
        assert store.turns.add_pairs(ADMIN, turn.id, {"c": "random"}) == 1
        made = store.rounds.add(ADMIN, 1, one="x", other="y", comparisons=["c"], turn_id=turn.id)
        judge = store.judges.add(ADMIN, 1, "j", JudgeSpec(kind="imported"))
        store.judges.add_votes(judge.id, [JudgeVote(comparison_id="c", rubric_version=1, choice="tie")])
        assert store.rounds.keys(ADMIN, made.id) == ("c",)
        assert store.judges.get(ADMIN, 1, "j").num_votes == 1
        assert len(store.judgments.votes(ADMIN, 1)) == 1
    database.close()


def test_a_project_of_revision_0005_keeps_its_rows_and_gets_the_desk_and_the_doors(database_url: str) -> None:
    """Revision 0006 adds columns to tables with rows: nothing is excluded, nobody has a language, no answer spans."""
    database = Database(database_url)
    with database.write() as connection:
        whole_schema.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    upgrade(database, "0005")
    vote = {"project_id": 1, "comparison_id": 1, "user_id": 1, "choice": "tie", "criteria": {}, "flags": {}}
    with database.write() as connection:
        for table in (tables.user, tables.project, tables.prompt, tables.response, tables.comparison):
            connection.execute(insert(table).values(**FIRST_ROWS[table.name]))
        connection.execute(insert(tables.judgment).values(**vote, event_id="1", created_at=1.0))
    with Store.open(database_url) as store, store.database.read() as connection:
        assert len(store.judgments.votes(ADMIN, 1)) == 1
        row = connection.execute(select(tables.judgment)).one()
        assert (row.ranking, row.spans, row.edited) == (None, None, None)
        assert connection.execute(select(tables.comparison.c.excluded)).scalar_one() is False
        user = connection.execute(select(tables.user)).one()
        assert (user.fields, user.language) == (None, "")
    database.close()


def test_the_criteria_of_revision_0006_get_their_directions(database_url: str) -> None:
    """Revision 0007 reads every answer once: -1 and 4 before 1 prefer a, 0 and equal ratings neither."""
    database = Database(database_url)
    with database.write() as connection:
        whole_schema.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    upgrade(database, "0006")
    criteria = [{}, {"tone": -1, "facts": [4, 1]}, {"tone": 0, "facts": [2, 2]}, {"Größe": 3}]
    vote = {"project_id": 1, "comparison_id": 1, "user_id": 1, "choice": "tie", "flags": {}, "created_at": 1.0}
    with database.write() as connection:
        for table in (tables.user, tables.project, tables.prompt, tables.response, tables.comparison):
            connection.execute(insert(table).values(**FIRST_ROWS[table.name]))
        for number, answers in enumerate(criteria):
            connection.execute(insert(tables.judgment).values(**vote, event_id=str(number), criteria=answers))
    upgrade(database)
    with database.read() as connection:
        stored = connection.scalars(select(tables.judgment.c.directions).order_by(tables.judgment.c.id)).all()
    assert stored == ["", ';"tone"<;"facts"<', ';"tone"=;"facts"=', ';"Größe">']
    assert stored == [directions(answers) for answers in criteria]
    database.close()


def test_a_project_of_revision_0007_keeps_its_rows_and_gets_steps(database_url: str) -> None:
    """Revision 0008 adds a table and a column: what is there has no steps and no labels of them."""
    database = Database(database_url)
    with database.write() as connection:
        whole_schema.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    upgrade(database, "0007")
    vote = {"project_id": 1, "comparison_id": 1, "user_id": 1, "choice": "tie", "criteria": {}, "flags": {}}
    old = {column.name for column in tables.judgment.columns} - {"step_labels"}
    with database.write() as connection:
        for table in (tables.user, tables.project, tables.prompt, tables.response, tables.comparison):
            connection.execute(insert(table).values(**FIRST_ROWS[table.name]))
        connection.execute(insert(tables.judgment).values(**vote, event_id="1", created_at=1.0))
        assert {column["name"] for column in inspect(connection).get_columns("judgment")} == old
    with Store.open(database_url) as store, store.database.write() as connection:
        assert connection.execute(select(tables.judgment.c.step_labels)).scalar_one() is None
        connection.execute(insert(desk_tables.answer_steps).values(comparison_id=1, steps=["one", "two"]))
        connection.execute(update(tables.judgment).values(step_labels=[1.0, None]))
    with Store.open(database_url) as store:
        assert store.comparisons.get(ADMIN, 1, "c").steps == ("one", "two")
        [judgment] = store.judgments.iterate(ADMIN, 1)
        assert judgment.step_labels == (1.0, None)
        assert store.judgments.votes(ADMIN, 1).items == ("c#s1", "c#s2")
    database.close()


FIRST_ROWS = {
    "user_account": {
        "id": 1,
        "name": "anna",
        "role": "annotator",
        "origin": "local",
        "active": True,
        "created_at": 1.0,
    },
    "project": {"id": 1, "name": "old", "description": "", "design": {}, "created_at": 1.0},
    "prompt": {"id": 1, "project_id": 1, "content_hash": "p", "messages": []},
    "response": {"id": 1, "prompt_id": 1, "content_hash": "r", "text": "t", "source": ""},
    "comparison": {"id": 1, "project_id": 1, "key": "c", "prompt_id": 1, "response_a": 1, "response_b": 1, "meta": {}},
}


def test_every_new_project_has_a_key_of_its_own(store: Store, make_project: Callable[..., Project]) -> None:
    keys = [store.projects.pseudonym_key(ADMIN, make_project(store, name).id) for name in ("first", "second")]
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]


def test_a_database_of_a_newer_version_is_refused(store: Store) -> None:
    with store.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ValueError, match="schema 9999 is newer than this version"):
        upgrade(store.database)


@pytest.mark.slow
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
            whole_schema.metadata.drop_all(connection)
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
    with pytest.raises(
        ValueError,
        match=r"allowed are a path such as data/tiebreak.db, sqlite:///PATH and postgresql://USER:PASSWORD@HOST/NAME",
    ):
        Database("mysql://localhost/x")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+psycopg://nobody:secret@127.0.0.1:1/none", r"nobody:\*\*\*@127\.0\.0\.1:1/none cannot be opened"),
        ("mysql://host/name", "allowed are a path such as data/tiebreak.db, sqlite:///PATH and postgresql"),
        ("just a name", "neither a URL nor a path of a file: allowed are a path such as data/tiebreak.db"),
    ],
)
def test_a_database_that_is_not_there_is_one_clear_line(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        Store.open(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["new.db", "kept.sqlite3", "folder/new"])
def test_a_path_stands_for_its_sqlite_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (name, str(tmp_path / name)):
        store = Store.open(path)
        assert store.database.url == f"sqlite:///{path}"
        store.close()
    assert (tmp_path / name).is_file()
    monkeypatch.setenv("TIEBREAK_DB", str(tmp_path / name))
    store = Store.open()
    assert store.database.url == f"sqlite:///{tmp_path / name}"
    store.close()


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("notes")
    with pytest.raises(ValueError, match="file is not a database"):
        Store.open(f"sqlite:///{file}")
    assert file.read_text() == "notes"
