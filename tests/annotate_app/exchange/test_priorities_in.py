"""Priorities from files: all of them or none, what is wrong named, the queue in their order."""

from __future__ import annotations

import json

import pytest

from annotate_app.__main__ import main
from annotate_app.access import AccessError, Actor
from annotate_app.exchange.comparisons_in import BadRowsError
from annotate_app.exchange.priorities_in import import_priorities
from annotate_app.protocol.collection_design import Design
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.files import write_rows

ADMIN = Actor.command_line()
ROWS = [{"comparison_id": f"c{number}", "priority": priority} for number, priority in enumerate([0.1, 0.5, -1, 0.9])]


@pytest.fixture
def by_priority(sqlite_store, make_project) -> Project:
    return make_project(sqlite_store, "p", design=Design(policy="priority", overlap=1))


def priorities(store: Store, project: Project) -> list[float]:
    return [item.priority for item in store.browsing.find(ADMIN, project.id)]


def test_pairs_are_handed_out_in_the_order_of_a_file(sqlite_store, by_priority, make_actor, tmp_path):
    anna = make_actor(sqlite_store, "annotator", "anna", by_priority)
    write_rows(tmp_path / "rows.jsonl", ROWS)
    for _ in range(2):  # once more changes nothing
        done = import_priorities(sqlite_store, ADMIN, by_priority.id, tmp_path / "rows.jsonl")
        assert (done.num_set, done.num_rows) == (4, 4)
        assert priorities(sqlite_store, by_priority) == [0.1, 0.5, -1, 0.9, 0]  # what is not named keeps its own
    leases = sqlite_store.work.lease(anna, by_priority.id, count=5)
    assert [lease.comparison.id for lease in leases] == ["c3", "c1", "c0", "c4", "c2"]


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet", "jsonl.gz"])
def test_every_format_is_read(sqlite_store, by_priority, tmp_path, suffix):
    write_rows(tmp_path / f"rows.{suffix}", ROWS)
    import_priorities(sqlite_store, ADMIN, by_priority.id, tmp_path / f"rows.{suffix}")
    assert priorities(sqlite_store, by_priority) == [0.1, 0.5, -1, 0.9, 0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"comparison_id": "c9", "priority": 1}, "'c9'.*no such comparison"),
        ({"comparison_id": "c0", "priority": 1}, "'c0'.*earlier row"),
        ({"comparison_id": "c4", "priority": "soon"}, "'soon'.*finite number"),
        ({"comparison_id": "c4", "priority": True}, "finite number"),
        ({"comparison_id": "c4", "priority": "inf"}, "finite number"),
        ({"comparison_id": "c4"}, "priority"),
        ({"priority": 3}, "comparison_id"),
    ],
)
def test_a_bad_row_is_named_and_changes_nothing_unless_told_to_skip(sqlite_store, by_priority, tmp_path, row, said):
    write_rows(tmp_path / "rows.jsonl", [*ROWS, row])
    with pytest.raises(BadRowsError, match=rf"rows\.jsonl:5: .*{said}"):
        import_priorities(sqlite_store, ADMIN, by_priority.id, tmp_path / "rows.jsonl")
    assert priorities(sqlite_store, by_priority) == [0] * 5
    done = import_priorities(sqlite_store, ADMIN, by_priority.id, tmp_path / "rows.jsonl", skip_bad_rows=True)
    assert (done.num_set, len(done.bad)) == (4, 1)
    assert priorities(sqlite_store, by_priority) == [0.1, 0.5, -1, 0.9, 0]


def test_only_leads_set_priorities(sqlite_store, by_priority, make_actor, tmp_path):
    write_rows(tmp_path / "rows.jsonl", ROWS)
    anna = make_actor(sqlite_store, "annotator", "anna", by_priority)
    with pytest.raises(AccessError):
        import_priorities(sqlite_store, anna, by_priority.id, tmp_path / "rows.jsonl")


def test_the_command_says_what_it_did(sqlite_url, sqlite_store, make_project, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TIEBREAK_DB", sqlite_url)
    make_project(sqlite_store, "p")
    file = str(tmp_path / "rows.jsonl")
    write_rows(file, [*ROWS, {"comparison_id": "c9", "priority": 1}])
    assert main(["priorities", "import", "p", file]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "'c9'" in error
    assert main(["priorities", "import", "p", file, "--on-bad-row", "skip"]) == 0
    out = capsys.readouterr().out
    assert "priorities of 4 comparisons of p set, 1 rows left out" in out
    assert "its policy is sequential" in out
    assert main(["priorities", "import", "p", file, "--on-bad-row", "skip", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_set"] == 4
    assert main(["priorities", "import", "p", str(tmp_path / "absent.csv")]) == 2
