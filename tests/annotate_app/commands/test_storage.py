"""`backup`, `restore` and `check` as typed."""

from __future__ import annotations

import json
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
