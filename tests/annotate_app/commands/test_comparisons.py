"""`annotate-app comparisons`: what a view lists, and what is done to all of it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()


@pytest.fixture
def desk(sqlite_url: str, make_project: Callable[..., Project], make_actor: Callable[..., Actor]) -> str:
    """A project named desk, of c0 to c4, where c0 is split and c1 unanimous; its database."""
    with Store.open(sqlite_url, migrate=False) as store:
        project = make_project(store, "desk", design=Design(overlap=2))
        make_actor(store, "annotator", "anna", project)
        votes = [("c0", "x", "a"), ("c0", "y", "b"), ("c1", "x", "a"), ("c1", "y", "a")]
        store.judgments.import_many(
            ADMIN,
            project.id,
            [Judgment(comparison_id=key, annotator=name, choice=choice, strength=1) for key, name, choice in votes],  # type: ignore[arg-type]
        )
    return sqlite_url


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["comparisons", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_view_is_listed_tagged_excluded_and_assigned(desk: str, capsys: pytest.CaptureFixture[str]) -> None:
    split = ["desk", "--db", desk, "--view", "agreement=split"]
    listed = told(capsys, "list", *split)
    assert (listed["total"], [row["id"] for row in listed["comparisons"]]) == (1, ["c0"])
    assert listed["comparisons"][0]["agreement"] == 0.5
    assert told(capsys, "tag", *split, "hard") == {"num_tagged": 1}
    assert told(capsys, "list", "desk", "--db", desk, "--view", "tag=hard")["total"] == 1
    assert told(capsys, "exclude", *split) == {"num_excluded": 1}
    assert told(capsys, "list", "desk", "--db", desk)["total"] == 4
    assert told(capsys, "include", "desk", "--db", desk, "--view", "tag=hard") == {"num_included": 1}
    assert told(capsys, "untag", "desk", "--db", desk, "--all", "hard") == {"num_untagged": 1}
    waiting = ["desk", "--db", desk, "--view", "state=unjudged"]
    assert told(capsys, "assign", *waiting, "anna") == {"num_reserved": 3, "num_full": 0, "num_had": 0}
    assert told(capsys, "free", *waiting) == {"num_freed": 3}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["exclude", "desk"], "either --view says which comparisons, or --all takes them all"),
        (["exclude", "desk", "--all", "--view", "tag=x"], "either --view says which comparisons"),
        (["list", "desk", "--view", "colour=red"], "view names 'colour', allowed are q, state"),
        (["list", "desk", "--view", "split"], "view is 'split', allowed is NAME=VALUE"),
        (["list", "desk", "--view", "state=late"], "state is 'late', allowed are any, unjudged"),
        (["assign", "desk", "--all", "zoe"], "'zoe' is not a member of desk"),
        (["list", "desk", "--size", "0"], "--page is 1 and --size 0"),
    ],
)
def test_what_cannot_be_done_is_said(
    desk: str, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["comparisons", *words, "--db", desk]) == 2
    assert message in capsys.readouterr().err


def test_only_a_view_is_exported_and_nothing_excluded(desk: str, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    def exported(name: str, *words: str) -> tuple[int, dict[str, int]]:
        out = tmp_path / f"{name}.jsonl"
        assert main(["export", "desk", "--db", desk, "--out", str(out), "--form", "judgments", "--json", *words]) == 0
        said = json.loads(capsys.readouterr().out)
        return len(out.read_text().splitlines()), said["left_out"]

    assert exported("all") == (4, {})
    assert exported("split", "--view", "agreement=split") == (2, {})
    told(capsys, "exclude", "desk", "--db", desk, "--view", "item=c1")
    assert exported("rest") == (2, {"excluded": 1})
    out = tmp_path / "pairs.jsonl"
    assert (
        main(["export", "desk", "--db", desk, "--out", str(out), "--json", "--ties", "keep", "--view", "item=c0"]) == 0
    )
    left_out = json.loads(capsys.readouterr().out)["left_out"]
    assert left_out["not in the view"] == 3
    assert left_out["excluded"] == 1
