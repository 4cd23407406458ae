"""Backups: everything comes back, on either database; nothing is overwritten by accident."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, update

from alignment.judges.spec import JudgeSpec
from annotate_app.access import Actor
from annotate_app.installation import data_folder
from annotate_app.protocol.collection_design import Design
from annotate_app.store.base.database import Database
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.loop.judges import JudgeVote
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import tables, whole_schema
from annotate_app.store.store import Store
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()


def everything(store: Store) -> dict[str, list[tuple[object, ...]]]:
    with store.database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
            for table in whole_schema.metadata.sorted_tables
        }


@pytest.fixture
def full(store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor]) -> Store:
    """A store with rows in every table."""
    project = make_project(store, design=Design(overlap=2, gold_rate=0.2))
    lead, anna = make_actor(store, "lead", "lea", project), make_actor(store, "annotator", "änna", project)
    store.comparisons.set_gold(lead, project.id, "c3", Gold(choice="tie", explanation="né 😀\n"))
    store.work.lease(anna, project.id, count=2)
    store.work.release(anna, project.id)
    votes = [Judgment(comparison_id="c0", annotator=name, choice="b", strength=3, seconds=0.1) for name in "uvw"]
    store.judgments.import_many(ADMIN, project.id, votes)
    store.judgments.adjudicate(ADMIN, project.id, "c0", Decision(choice="a", strength=1))
    store.people.start_session(store.people.add(ADMIN, "zoe", role="admin", password="a long password"))
    store.people.check_password("zoe", "wrong password", "1.1.1.1")
    store.people.create_invite(lead, role="annotator", project_id=project.id)
    run = store.jobs.add(lead, "export", "all of it", ["-m", "x"], project.id, run_dir="/old/jobs/run-1")
    store.run_notes.change(lead, project.id, run.run_dir, name="Köder", note="*so so*", tags=["b", "a"])
    turn = store.turns.add(lead, project.id, {"pairs": 2})
    store.turns.add_pairs(lead, turn.id, {"c1": "random"})
    store.rounds.add(lead, project.id, one="run-2", other="run-1", comparisons=["c2"], turn_id=turn.id)
    judge = store.judges.add(ADMIN, project.id, "judge", JudgeSpec(kind="endpoint", target="http://host/v1", model="m"))
    vote = JudgeVote(comparison_id="c1", rubric_version=1, choice="a", strength=1, p_a=0.75, raw="né 😀", examples="ff")
    store.judges.add_votes(judge.id, [vote])
    from annotate_app.store.base import notices

    with store.database.write() as connection:
        notices.add(connection, project.id, "änna was paused.")
        row = {"id": 7, "project_id": project.id, "started_at": 1.0, "heartbeat_at": time.time()}
        connection.execute(insert(tables.pending_import).values(row))
        for table, values in desk_and_door_rows(connection, project.id).items():
            connection.execute(insert(whole_schema.metadata.tables[table]).values(**values))
    return store


def desk_and_door_rows(connection: Connection, project_id: int) -> dict[str, dict[str, object]]:
    """One row in each table of the desk and the doors."""
    user_id = connection.scalar(select(tables.user.c.id).where(tables.user.c.name == "änna"))
    own = tables.comparison.c.project_id == project_id
    one, *_, unjudged = connection.execute(select(tables.comparison).where(own).order_by(tables.comparison.c.id)).all()
    project, comparison, at = {"project_id": project_id}, {"comparison_id": one.id}, {"created_at": 2.0}
    person = {"user_id": user_id}
    return {
        "guideline_reading": project | person | {"version": 1, "read_at": 3.0},
        "question": project | comparison | person | at | {"event_id": "question-1", "text": "né 😀?", "answer": "ja"},
        "further_response": comparison | {"position": 2, "response_id": one.response_a},
        "answer_steps": {"comparison_id": unjudged.id, "steps": ["é 1", "2"], "scores": [0.5, None]},
        "comparison_tag": project | comparison | {"tag": "hard"},
        "saved_view": project | at | {"name": "mine", "filter": {"state": "open"}, "created_by": "lea"},
        "image": project
        | at
        | {"content_hash": "0" * 64, "name": "é.png", "media_type": "image/png", "width": 1, "height": 2}
        | {"data": bytes(range(256))},
        "api_token": project | person | at | {"token_hash": "1" * 64, "name": "script", "role": "annotator"},
        "webhook": project
        | at
        | {"id": 1, "url": "http://host/hook", "secret": "s", "events": ["judgment"], "active": True}
        | {"private": False, "last_judgment": 0, "created_by": "lea"},
        "webhook_delivery": at
        | {"webhook_id": 1, "event": "judgment", "subject": "1", "payload": {"n": 1}, "state": "sent", "tries": 1}
        | {"next_at": 2.0, "sent_at": 2.5, "message": ""},
        "crowd_link": project
        | at
        | {"id": 1, "token": "t", "name": "prolific", "id_parameter": "PROLIFIC_PID", "group_name": "crowd"}
        | {"target": 20, "quota": 5, "completion_code": "C1", "screen_out_code": "C2", "over_quota_code": "C3"}
        | {
            "return_url": "",
            "text": "Wełcome",
            "reward": 2.5,
            "dropout_minutes": 60,
            "active": True,
            "created_by": "lea",
        },
        "crowd_visit": person
        | {"link_id": 1, "platform_id": "5f", "parameters": {}, "outcome": "working"}
        | {"started_at": 2.0, "seen_at": 2.0},
    }


@pytest.fixture(params=["sqlite", "postgresql"])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A second, empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/other.db"
    return request.getfixturevalue("make_postgresql")()


def untouched(rows: dict[str, list[tuple[object, ...]]]) -> dict[str, list[tuple[object, ...]]]:
    """The tables in which restoring ends nothing, moves nothing and notes nothing."""
    changed = ("sign_in_session", "invite", "job", "run_note", "audit", "api_token", "webhook", "crowd_link")
    return {name: rows for name, rows in rows.items() if name not in changed}


def test_what_is_said_of_a_run_follows_it(full: Store, tmp_path: Path) -> None:
    other_url = f"sqlite:///{tmp_path}/other.db"
    restored = Store.restore(full.backup(tmp_path / "all.zip"), other_url)
    folder = data_folder(other_url) / "jobs" / "run-1"
    [project] = restored.projects.list(ADMIN)
    [(run_dir, note)] = restored.run_notes.list(ADMIN, project.id).items()
    assert run_dir == str(folder) == next(job.run_dir for job in restored.jobs.list(ADMIN) if job.title == "all of it")
    assert (note.name, note.note, note.tags, note.archived) == ("Köder", "*so so*", ("a", "b"), False)
    restored.close()


def test_every_row_comes_back_in_either_database(full: Store, other_url: str, tmp_path: Path) -> None:
    before = everything(full)
    assert [name for name, rows in before.items() if not rows] == []
    path = full.backup(tmp_path / "out" / "all.zip")
    assert path.stat().st_mode & 0o777 == 0o600
    restored = Store.restore(path, other_url)
    after = everything(restored)
    assert {name: len(rows) for name, rows in after.items()} == {
        name: len(rows) + (name == "audit") for name, rows in before.items()
    }
    assert after["audit"][:-1] == before["audit"]
    assert untouched(after) == untouched(before)
    assert restored.check() == full.check() == []
    added = restored.people.add(ADMIN, "new", role="annotator")  # ids count on
    assert added.id == max(row[0] for row in before["user_account"]) + 1  # type: ignore[type-var,operator]
    assert restored.people.check_password("zoe", "a long password", "2.2.2.2") is not None
    restored.close()


def test_a_database_that_is_not_empty_is_replaced_only_by_force(full: Store, sqlite_url: str, tmp_path: Path) -> None:
    path = full.backup(tmp_path / "all.zip")
    before = everything(full)
    full.people.add(ADMIN, "later", role="annotator")
    with pytest.raises(ValueError, match="the database is not empty"):
        Store.restore(path, full.database.url)
    assert len(everything(full)["user_account"]) == len(before["user_account"]) + 1
    Store.restore(path, full.database.url, force=True).close()
    assert untouched(everything(full)) == untouched(before)
    full.database.close()


def test_a_restored_backup_does_and_grants_nothing_by_itself(
    full: Store, tmp_path: Path, make_actor: Callable[..., Actor]
) -> None:
    other_url = f"sqlite:///{tmp_path}/other.db"
    boss = make_actor(full, "admin", "boss")
    sessions = [full.people.start_session(user) for user in full.people.list(ADMIN) if user.origin == "local"]
    invites = [full.people.create_invite(boss, role="admin"), full.people.create_invite(boss, role="admin", name="zoe")]
    used = full.people.create_invite(boss, role="annotator")
    full.people.redeem_invite(used, "ivy", "a long password")
    done = full.jobs.add(ADMIN, "train", "done", ["annotate_app", "train"], run_dir="/etc")
    with full.database.write() as connection:
        connection.execute(update(tables.job).values(state="done", run_dir="/elsewhere/data/jobs/20261121-101500-00aa"))
        connection.execute(update(tables.job).where(tables.job.c.id == done.id).values(run_dir="../../etc/.."))
    full.jobs.add(ADMIN, "export", "waits", ["timeit"], run_dir="/root/.ssh")
    running = full.jobs.add(ADMIN, "export", "runs", ["timeit"])
    with full.database.write() as connection:
        process = {"host": "here", "keeper": 1, "keeper_started": "x", "command": 1, "command_started": ""}
        connection.execute(
            update(tables.job).where(tables.job.c.id == running.id).values(state="running", process=process)
        )
    restored = Store.restore(full.backup(tmp_path / "all.zip"), other_url)
    assert len(sessions) == 4
    assert [restored.people.session_user(token) for token in sessions] == [None] * 4
    assert [restored.people.invite(token) for token in invites] == [None, None]
    assert restored.people.invites(ADMIN) == []
    jobs = restored.jobs.list(ADMIN)[::-1]
    assert [job.state for job in jobs] == ["done", "done", "lost", "lost"]
    assert [job.process for job in jobs] == [None] * 4
    assert restored.jobs.claim(limit=10) is None
    assert restored.jobs.running() == []
    folder = data_folder(other_url) / "jobs"
    names = ["20261121-101500-00aa", f"restored-{done.id}", f"restored-{done.id + 1}", f"restored-{running.id}"]
    assert [job.run_dir for job in jobs] == [str(folder / name) for name in names]
    log = restored.audit.list(ADMIN)[0]
    assert (log.action, log.actor) == ("restore", "command line")
    ended = {"sessions": 5, "invites": 3, "jobs": 2, "crowd_links": 1, "tokens": 1, "webhooks": 1}
    assert log.detail == ended
    restored.close()


def test_a_backup_is_never_overwritten(full: Store, tmp_path: Path) -> None:
    path = full.backup(tmp_path / "all.zip")
    with pytest.raises(ValueError, match=r"all\.zip is there already"):
        full.backup(path)


def damage(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of a zip with its members changed; None leaves one out."""
    out = path.with_name("damaged.zip")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            content = change(name, source.read(name))
            if content is not None:
                target.writestr(name, content)
    return out


def manifest(**values: object) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        return json.dumps(json.loads(content) | values).encode() if name == "manifest.json" else content

    return change


DAMAGES: list[tuple[Callable[[str, bytes], bytes | None], str]] = [
    (manifest(schema="9999"), "schema 9999 is newer than this version"),
    (manifest(format="something"), "is of format 'something'"),
    (lambda name, content: None if name == "manifest.json" else content, "it has no manifest"),
    (
        lambda name, content: content.split(b"\n", 1)[1] if name == "judgment.jsonl" else content,
        "table judgment has 2 rows, the manifest says 3",
    ),
]


def test_a_damaged_backup_changes_nothing(full: Store, tmp_path: Path) -> None:
    path, before = full.backup(tmp_path / "all.zip"), everything(full)
    for change, message in DAMAGES:
        with pytest.raises(ValueError, match=message):
            Store.restore(damage(path, change), full.database.url, force=True)
        assert everything(full) == before
    assert full.check() == []


def rows_of(table: str, change: Callable[[dict], object]) -> Callable[[str, bytes], bytes]:
    """Changes the first row of a table."""

    def changed(name: str, content: bytes) -> bytes:
        if name != f"{table}.jsonl":
            return content
        first, _, rest = content.partition(b"\n")
        row = json.loads(first)
        return json.dumps(change(row) or row).encode() + b"\n" + rest

    return changed


ODD_PARTS: list[tuple[Callable[[str, bytes], bytes | None], str]] = [
    (manifest(rows=None), "rows of the manifest is 'None', allowed is a number of rows by table"),
    (manifest(rows=[1]), "rows of the manifest is"),
    (manifest(rows={"project": "many"}), "rows of the manifest is"),
    (manifest(rows={}), "its manifest does not have the table adjudication"),
    (manifest(schema=None), "schema of the manifest is 'None'"),
    (manifest(schema=3), "schema of the manifest is '3'"),
    (manifest(schema="drop"), "schema drop is newer than this version"),
    (lambda name, content: b"[]" if name == "manifest.json" else content, "is of format '\\[\\]'"),
    (lambda name, content: None if name == "slot.jsonl" else content, "slot.jsonl is missing"),
    (lambda name, content: b"{" + content if name == "slot.jsonl" else content, "slot.jsonl:1: "),
    (lambda name, content: b"\xff" + content if name == "slot.jsonl" else content, "codec can't decode"),
    (
        rows_of("project", lambda row: row.pop("design") and None),
        "project.jsonl:1 does not have the columns .*: desi",
    ),
    (rows_of("project", lambda row: row.update(spy=1)), "project.jsonl:1 does not have the columns .*: spy"),
    (rows_of("project", lambda row: [row]), "project.jsonl:1 does not have the columns"),
    (rows_of("slot", lambda row: row.update(comparison_id=99)), "slot.jsonl:.* cannot be stored: "),
    (rows_of("slot", lambda row: row.update(id=2)), "slot.jsonl:.* cannot be stored: "),
    (rows_of("slot", lambda row: row.update(rank="first")), "slot.jsonl:1: rank is 'first', allowed is "),
    (rows_of("slot", lambda row: row.update(state=None)), "slot.jsonl:1: state is 'None', allowed is "),
    (rows_of("slot", lambda row: row.update(state=10**30)), "slot.jsonl:1: state is '10000"),
    (rows_of("project", lambda row: row.update(name=5)), "project.jsonl:1: name is '5', allowed is VARCHAR"),
]


@pytest.mark.slow
def test_a_backup_with_an_odd_part_is_refused_by_name_and_changes_nothing(full: Store, tmp_path: Path) -> None:
    path, before = full.backup(tmp_path / "all.zip"), everything(full)
    for change, message in ODD_PARTS:
        with pytest.raises(ValueError, match=message) as caught:
            Store.restore(damage(path, change), full.database.url, force=True)
        assert "damaged.zip" in str(caught.value) or "schema drop" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert everything(full) == before


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    path = tmp_path / "all.zip"
    path.write_text("no zip")
    with pytest.raises(ValueError, match="is not a backup, or damaged"):
        Store.restore(path, sqlite_url)


def test_a_backup_holds_one_state_while_others_write(full: Store, tmp_path: Path) -> None:
    """Accounts are written after the first table was read: the backup must not have them."""
    from annotate_app.store import backup

    written: list[str] = []
    write_table = backup._write_table

    def write_and_interfere(archive: zipfile.ZipFile, connection: object, table: object) -> int:
        count = write_table(archive, connection, table)  # type: ignore[arg-type]
        if not written:
            written.append(full.people.add(ADMIN, "later", role="annotator").name)
        return count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup, "_write_table", write_and_interfere)
        path = full.backup(tmp_path / "all.zip")
    with zipfile.ZipFile(path) as archive:
        names = [json.loads(line)["name"] for line in archive.read("user_account.jsonl").splitlines()]
        actions = [json.loads(line)["subject"] for line in archive.read("audit.jsonl").splitlines()]
    assert written == ["later"]
    assert "later" not in names + actions


LATER_COLUMNS = {
    "user_account": {"fields", "language"},
    "membership": {"hourly_rate"},
    "comparison": {"excluded", "length", "import_id"},
    "judgment": {"ranking", "spans", "edited", "import_id"},
}


def test_an_older_schema_is_restored_and_brought_up(
    tmp_path: Path, sqlite_store: Store, make_project: Callable[..., Project]
) -> None:
    project = make_project(sqlite_store)

    def first_schema(name: str, content: bytes) -> bytes | None:
        """What the first version wrote: it had no keys of pseudonyms, and no imports in parts."""
        if name in ("pseudonym_key.jsonl", "pending_import.jsonl"):
            return None
        rows_of = name.removesuffix(".jsonl")
        if rows_of in LATER_COLUMNS:
            lines = [json.loads(line) for line in content.splitlines()]
            old = [{key: row[key] for key in row.keys() - LATER_COLUMNS[rows_of]} for row in lines]
            return b"".join(json.dumps(row).encode() + b"\n" for row in old)
        rows = json.loads(content)["rows"] if name == "manifest.json" else {}
        kept = {table: count for table, count in rows.items() if table not in ("pseudonym_key", "pending_import")}
        return manifest(schema="0001", rows=kept)(name, content)

    path = damage(sqlite_store.backup(tmp_path / "all.zip"), first_schema)
    restored = Store.restore(path, f"sqlite:///{tmp_path}/restored.db")
    assert isinstance(restored.database, Database)
    assert restored.check() == []
    assert restored.comparisons.count(ADMIN, project.id) == 5
    assert len(restored.projects.pseudonym_key(ADMIN, project.id)) == 32
    restored.close()
