"""Votes of judges in files: what goes out comes back, here and in another installation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignment.judges.spec import JudgeSpec
from annotate_app.access import Actor
from annotate_app.exchange.judge_votes import export_votes, import_votes, vote_row
from annotate_app.exchange.project_out import ALL_PARTS, JUDGE_VOTES, JUDGES, export_project
from annotate_app.exchange.projects_in import import_project
from annotate_app.store.loop.judges import JudgeVote
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.files import read_rows, write_rows

ADMIN = Actor.command_line()
SPEC = JudgeSpec(kind="endpoint", target="http://secret.host:1/v1", model="judge-8b", key_variable="MY_KEY")
VOTES = [
    JudgeVote(
        comparison_id="c1",
        rubric_version=1,
        choice="b",
        shown_first=side,  # type: ignore[arg-type]
        p_a=0.25,
        strength=2,
        criteria={"kind": -1, "clear": (2, 5)},
        raw='{"overall": "A"} é',
        usage={"cost": 0.5, "tries": 1},
        examples="abc",
        created_at=1e9,
    )
    for side in "ab"
] + [JudgeVote(comparison_id="c0", rubric_version=1, choice="refused", raw="No.")]


@pytest.fixture
def project(sqlite_store: Store, make_project: Callable[..., Project]) -> Project:
    project = make_project(sqlite_store)
    judge = sqlite_store.judges.add(ADMIN, project.id, "strict", SPEC)
    sqlite_store.judges.add_votes(judge.id, VOTES)
    sqlite_store.judges.add(ADMIN, project.id, "old", JudgeSpec(kind="imported", model="x"))
    sqlite_store.judges.archive(ADMIN, project.id, "old")
    return project


@pytest.mark.parametrize("name", ["votes.jsonl", "votes.csv", "votes.parquet"])
def test_votes_as_a_file(sqlite_store: Store, project: Project, tmp_path: Path, name: str) -> None:
    assert export_votes(sqlite_store, ADMIN, project.id, tmp_path / name) == 3
    rows = [row for _, row in read_rows(tmp_path / name)]
    assert [row["choice"] for row in rows] == ["b", "b", "refused"]
    criteria = rows[0]["criteria"]
    assert (json.loads(criteria) if isinstance(criteria, str) else criteria) == {"kind": -1, "clear": [2, 5]}
    old = sqlite_store.judges.get(ADMIN, project.id, "old")
    assert export_votes(sqlite_store, ADMIN, project.id, tmp_path / name, old) == 0


@pytest.mark.parametrize("name", ["whole", "whole.zip"])
def test_a_whole_project_takes_its_judges_along_as_votes_made_elsewhere(
    sqlite_store: Store, project: Project, tmp_path: Path, name: str
) -> None:
    done = export_project(sqlite_store, ADMIN, project.id, tmp_path / name)
    assert (done.num_rows["judges"], done.num_rows["judge_votes"]) == (2, 3)
    if name == "whole":
        assert "secret.host" not in (tmp_path / name / JUDGES).read_text()
        assert {file.name for file in (tmp_path / name).iterdir()} == set(ALL_PARTS)
    copy = import_project(sqlite_store, ADMIN, tmp_path / name, "copy")
    assert copy.num_judge_votes == 3
    there = sqlite_store.judges.votes(ADMIN, copy.project.id)
    assert there == sqlite_store.judges.votes(ADMIN, project.id)
    judges = sqlite_store.judges.list(ADMIN, copy.project.id)
    assert [(one.name, one.spec, one.archived) for one in judges] == [
        ("strict", JudgeSpec(kind="imported", model="judge-8b"), False),
        ("old", JudgeSpec(kind="imported", model="x"), True),
    ]


def test_a_whole_project_of_before_has_no_judges(sqlite_store: Store, project: Project, tmp_path: Path) -> None:
    export_project(sqlite_store, ADMIN, project.id, tmp_path / "whole")
    for part in (JUDGES, JUDGE_VOTES):
        (tmp_path / "whole" / part).unlink()
    copy = import_project(sqlite_store, ADMIN, tmp_path / "whole", "copy")
    assert (copy.num_comparisons, copy.num_judge_votes) == (5, 0)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        (JUDGES, {"spec": {"kind": "function", "target": "rm -rf"}}, "judges.jsonl:1: target is 'rm -rf'"),
        (JUDGES, {"spec": "x"}, "judges.jsonl:1: a judge is"),
        (JUDGES, {"name": "other"}, "judge_votes.jsonl:1: a vote of 'strict' on 'c1', of which one is not there"),
        (JUDGE_VOTES, {"comparison_id": "c77"}, "of which one is not there"),
        (JUDGE_VOTES, {"choice": "maybe"}, "choice is 'maybe'"),
        (JUDGE_VOTES, {"p_a": "0.5"}, "p_a is '0.5', allowed is a number"),
        (JUDGE_VOTES, {"strength": 10**9}, "strength is 1000000000"),
        (JUDGE_VOTES, {"raw": None}, "raw is 'None', allowed is text"),
        (JUDGE_VOTES, {"usage": {"cost": "much"}}, "usage is"),
        (JUDGE_VOTES, {"examples": "x" * 17}, "examples is"),
        (JUDGE_VOTES, {"criteria": {"kind": "A"}}, r"criteria\.kind"),
    ],
)
def test_odd_parts_are_refused_by_name_and_make_no_project(
    sqlite_store: Store, project: Project, tmp_path: Path, part: str, change: dict[str, Any], message: str
) -> None:
    export_project(sqlite_store, ADMIN, project.id, tmp_path / "whole")
    path = tmp_path / "whole" / part
    first, _, rest = path.read_text().partition("\n")
    path.write_text(json.dumps({**json.loads(first), **change}) + "\n" + rest)
    with pytest.raises(ValueError, match=message):
        import_project(sqlite_store, ADMIN, tmp_path / "whole", "copy")
    assert len(sqlite_store.projects.list(ADMIN)) == 1


def test_votes_made_elsewhere_become_a_judges(sqlite_store: Store, project: Project, tmp_path: Path) -> None:
    rows = [
        {"comparison_id": "c0", "annotator": "gpt", "choice": "a", "strength": 2, "rationale": "It helps."},
        {"comparison_id": "c0", "annotator": "gpt", "choice": "tie"},
        {"comparison_id": "c2", "annotator": "gpt", "choice": "b", "strength": 1},
    ]
    write_rows(tmp_path / "rows.jsonl", rows)
    files = [tmp_path / "rows.jsonl"]
    done = import_votes(sqlite_store, ADMIN, project.id, "elsewhere", files)
    assert (done.num_rows, done.num_added, done.num_existing) == (3, 3, 0)
    again = import_votes(sqlite_store, ADMIN, project.id, "elsewhere", files)
    assert (again.num_added, again.num_existing) == (0, 3)
    judge = sqlite_store.judges.get(ADMIN, project.id, "elsewhere")
    votes = sqlite_store.judges.votes(ADMIN, project.id, judge.id)
    assert [(vote.comparison_id, vote.sample, vote.choice, vote.strength, vote.raw) for vote in votes] == [
        ("c0", 0, "a", 2, "It helps."),
        ("c0", 1, "tie", 0, ""),
        ("c2", 0, "b", 1, ""),
    ]
    assert len(sqlite_store.judgments.votes(ADMIN, project.id)) == 0
    write_rows(tmp_path / "bad.jsonl", [*rows, {"comparison_id": "c99", "annotator": "x", "choice": "a"}])
    with pytest.raises(ValueError, match=r"bad\.jsonl:4.*no such comparison"):
        import_votes(sqlite_store, ADMIN, project.id, "other", [tmp_path / "bad.jsonl"])
    assert [one.name for one in sqlite_store.judges.list(ADMIN, project.id)] == ["strict", "old", "elsewhere"]


@pytest.mark.parametrize("name", ["votes.jsonl", "votes.csv", "votes.parquet"])
def test_what_is_written_comes_back_whole(sqlite_store: Store, project: Project, tmp_path: Path, name: str) -> None:
    """Probabilities, orders, samples, refusals and raw answers too, under the name of another judge."""
    export_votes(sqlite_store, ADMIN, project.id, tmp_path / name)
    done = import_votes(sqlite_store, ADMIN, project.id, "again", [tmp_path / name])
    assert (done.num_rows, done.num_added, done.num_existing) == (3, 3, 0)
    first, second = (
        sqlite_store.judges.votes(ADMIN, project.id, sqlite_store.judges.get(ADMIN, project.id, judge).id)
        for judge in ("strict", "again")
    )
    assert [vote_row(vote) | {"judge": ""} for vote in first] == [vote_row(vote) | {"judge": ""} for vote in second]
    assert import_votes(sqlite_store, ADMIN, project.id, "again", [tmp_path / name]).num_existing == 3


def test_a_written_vote_that_was_changed_is_refused_by_its_place(
    sqlite_store: Store, project: Project, tmp_path: Path
) -> None:
    export_votes(sqlite_store, ADMIN, project.id, tmp_path / "votes.jsonl")
    rows = [row for _, row in read_rows(tmp_path / "votes.jsonl")]
    write_rows(tmp_path / "odd.jsonl", [rows[0], rows[1] | {"strength": "much"}])
    with pytest.raises(ValueError, match=r"odd\.jsonl:2: .*much"):
        import_votes(sqlite_store, ADMIN, project.id, "odd", [tmp_path / "odd.jsonl"])
    assert "odd" not in [judge.name for judge in sqlite_store.judges.list(ADMIN, project.id)]
