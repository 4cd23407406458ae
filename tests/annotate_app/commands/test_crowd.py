"""`annotate-app crowd`: a link from its making to the list of visits."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store

ADMIN = Actor.command_line()


def test_a_link_from_its_making_to_its_visits(
    sqlite_url: str, make_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(sqlite_url, migrate=False)
    project = make_project(store)
    db = ["--db", sqlite_url]
    plan = ["--target", "3", "--code", "DONE1", "--over-quota-code", "FULL1", "--quota", "1", "--reward", "2"]
    assert main(["crowd", "add", "1", "Study", *plan, "--url", "https://labels.example", *db]) == 0
    address = capsys.readouterr().out.strip()
    (link,) = store.crowd.links(ADMIN, project.id)
    assert address.startswith(
        f"https://labels.example/crowd/{link.token}?PROLIFIC_PID={{{{%PROLIFIC_PID%}}}}&STUDY_ID="
    )
    store.crowd.enter(link.token, "5f00", {"STUDY_ID": "=1+1"}, "10.0.0.1")
    store.crowd.enter(link.token, "6a11", {}, "10.0.0.2")
    assert main(["crowd", "list", "1", "--json", *db]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["counts"]["started"], row["counts"]["over_quota"], row["let_in"]) == (1, 1, 1)
    assert row["median_minutes"] is None
    assert main(["crowd", "visits", "1", "--csv", *db]) == 0
    rows = {row["platform_id"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert {name: row["outcome"] for name, row in rows.items()} == {"5f00": "started", "6a11": "over_quota"}
    assert rows["5f00"]["STUDY_ID"] == "'=1+1"  # no spreadsheet runs it
    assert main(["crowd", "switch", "1", str(link.id), "off", *db]) == 0
    assert store.crowd.open_link(link.token) is None
    store.close()


def test_a_wrong_plan_is_one_line(
    sqlite_url: str, make_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(sqlite_url, migrate=False)
    make_project(store)
    store.close()
    assert main(["crowd", "add", "1", "Study", "--target", "0", "--code", "X", "--db", sqlite_url]) == 2
    assert "target is 0, allowed is 1 to 100,000" in capsys.readouterr().err
