"""`backup`, `restore` and `check` as typed."""

from __future__ import annotations

import json
import resource
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from annotate_app.__main__ import main
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store


def test_a_backup_is_restored_elsewhere_and_checked(
    database_url: str, make_project: Callable[..., Project], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(database_url, migrate=False)
    make_project(store)
    store.close()
    file, other = str(tmp_path / "all.zip"), f"sqlite:///{tmp_path}/other.db"
    assert main(["backup", file, "--db", database_url]) == 0
    assert main(["restore", file, "--db", other]) == 0
    assert capsys.readouterr().out == f"{file}\n{other}\n"
    assert main(["check", "--json", "--db", other]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert (found["rows"]["comparison"], found["rows"]["slot"]) == (5, 15)
    assert main(["restore", file, "--db", other]) == 2
    assert "--force replaces all it holds" in capsys.readouterr().err
    assert main(["restore", file, "--force", "--db", other]) == 0
    assert main(["backup", file, "--db", database_url]) == 2
    assert main(["restore", str(tmp_path / "absent.zip"), "--db", other]) == 2


def test_check_fails_where_something_is_wrong(
    sqlite_url: str, make_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(sqlite_url, migrate=False)
    make_project(store)
    with store.database.write() as connection:
        connection.execute(text("DELETE FROM slot WHERE id = 1"))
    store.close()
    assert main(["check", "--db", sqlite_url]) == 1
    assert "too many or too few open work slots: 'c0'" in capsys.readouterr().out


def fill(url: str, make_project: Callable[..., Project], num_comparisons: int = 5) -> Path:
    """A database with a project; its file."""
    with Store.open(url, migrate=False) as store:
        make_project(store, num_comparisons=num_comparisons)
        with store.database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return Path(url.removeprefix("sqlite:///"))


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What a command said on stderr, which is one line."""
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said


def test_check_names_a_damaged_page_and_goes_on_and_backup_fails_in_one_line(
    sqlite_url: str, make_project: Callable[..., Project], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = fill(sqlite_url, make_project, num_comparisons=400)
    with sqlite3.connect(file) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'comparison'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    content = bytearray(file.read_bytes())
    content[(page - 1) * size : page * size] = b"\xff" * size
    file.write_bytes(content)
    assert main(["check", "--db", sqlite_url]) == 1
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert "damage of the file: database disk image is malformed" in lines[0] or lines[0].startswith("database file: ")
    assert any(line.startswith("cannot look for comparisons in another project") for line in lines)
    assert "problems; rows: " in lines[-1]
    assert "response 800" in lines[-1]
    assert main(["backup", str(tmp_path / "b.zip"), "--db", sqlite_url]) == 1
    assert "the database failed: database disk image is malformed" in one_line(capsys)
    assert list(tmp_path.glob("b.zip*")) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ('UPDATE project SET design = \'{"overlap": "many"}\'', "projects whose design cannot be read: 'support"),
        ("UPDATE project SET design = '{'", "cannot look for projects whose design cannot be read"),
        ("UPDATE response SET prompt_id = 99 WHERE id = 1", "rows that refer to nothing: response 1 -> prompt"),
        ("DROP TABLE prompt", "cannot look for texts that do not match their hash: no such table: prompt"),
        ("DROP TABLE notice", "1 tables that are missing: notice"),
        ("UPDATE prompt SET messages = '[' WHERE id = 1", "cannot look for texts that do not match their hash"),
    ],
)
def test_check_goes_on_past_what_it_cannot_read(
    sqlite_url: str,
    make_project: Callable[..., Project],
    capsys: pytest.CaptureFixture[str],
    statement: str,
    found: str,
) -> None:
    with sqlite3.connect(fill(sqlite_url, make_project)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(statement)
    connection.close()
    main(["check", "--db", sqlite_url])
    said = capsys.readouterr()
    assert found in said.out
    assert said.err == ""


def test_a_full_disk_leaves_no_part_of_a_backup(
    sqlite_url: str, make_project: Callable[..., Project], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit on the size of files stands for the disk: writing beyond it fails in the same place."""
    fill(sqlite_url, make_project, num_comparisons=1500)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        status = main(["backup", str(tmp_path / "b.zip"), "--db", sqlite_url])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert status == 1
    assert f"File too large: '{tmp_path / 'b.zip'}'" in one_line(capsys)
    assert list(tmp_path.glob("b.zip*")) == []


def test_the_database_of_another_program_is_refused_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "places.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE bookmarks (id INTEGER, url TEXT)")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001')")
    connection.close()
    before = file.read_bytes()
    for words in (["project", "list"], ["check"], ["project", "create", "p"], ["backup", str(tmp_path / "b.zip")]):
        assert main([*words, "--db", f"sqlite:///{file}"]) == 2
        assert "is another program's, it has the tables bookmarks and none of ours" in one_line(capsys)
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["places.sqlite"]


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"PK\x05\x06" + b"\0" * 18, b"\x1f\x8b"])
def test_odd_files_are_refused_in_one_line(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    odd = tmp_path / "odd.zip"
    odd.write_bytes(content)
    assert main(["check", "--db", f"sqlite:///{odd}"]) == 2
    assert "cannot be opened" in one_line(capsys)
    assert main(["restore", str(odd), "--db", sqlite_url]) == 2
    assert "not a backup" in one_line(capsys)
    assert main(["backup", str(odd / "b.zip"), "--db", sqlite_url]) in (1, 2)
    assert "odd.zip" in one_line(capsys)


@pytest.mark.parametrize("overlap", ["1001", "1000000000", "0", "-1"])
def test_an_overlap_that_no_project_can_hold_is_named(
    tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str], overlap: str
) -> None:
    assert main(["project", "create", "p", "--overlap", overlap, "--db", sqlite_url]) == 2
    assert f"overlap is {overlap}, allowed is 1" in one_line(capsys)
    assert main(["project", "create", "p", "--groups", f"crowd={overlap}", "--db", sqlite_url]) == 2
    assert f"crowd{'=' if overlap == '-1' else ' is '}{overlap}" in one_line(capsys)
