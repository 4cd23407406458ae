"""Rankings all the way: from a file into a project, judged, and out again as rankings, as pairs, as a whole project."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import ImportOptions, import_comparisons
from annotate_app.exchange.files_out import export_rows
from annotate_app.exchange.judgments_in import import_judgments
from annotate_app.exchange.project_out import export_project
from annotate_app.exchange.projects_in import import_project
from annotate_app.exchange.rows.options import ExportOptions
from annotate_app.exchange.rows.rankings_out import join_ranks
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Rubric, rubric_text
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.files import read_rows, write_rows
from rewardkit.data.rankings.ranking_rows import load_rankings

ADMIN = Actor.command_line()
RANKED = Rubric(title="T", guidelines="G", task="rank", both_bad=True)
ROWS = [
    {
        "id": f"p{number}",
        "prompt": f"Question {number}",
        "responses": [{"model": f"m{letter}", "text": f"{letter} {number}"} for letter in "wxyz"],
        "ranks": [2, 1, 2, None],
    }
    for number in range(3)
]


def lines(path: Path) -> list[dict]:
    return [row for _, row in read_rows(path)]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
def project(store: Store, tmp_path: Path) -> Project:
    """Three comparisons of four responses, ranked by the file itself, by ann and by bob."""
    made = store.projects.create(ADMIN, "ranked", rubric_text=rubric_text(RANKED), design=Design(overlap=2))
    done = import_comparisons(store, ADMIN, made.id, [write(tmp_path / "in.jsonl", ROWS)], ImportOptions(labels=True))
    assert (done.num_added, done.num_labels) == (3, 3)
    votes = [
        {"comparison_id": "p0", "annotator": "ann", "ranks": [1, 2, 3, 4], "created_at": 1e9},
        {"comparison_id": "p0", "annotator": "bob", "ranks": [2, 1, None, None], "created_at": 1e9 + 1},
        {"comparison_id": "p1", "annotator": "ann", "choice": "skip", "reason": "other", "created_at": 1e9 + 2},
        {"comparison_id": "p1", "annotator": "bob", "choice": "both_bad", "created_at": 1e9 + 3},
    ]
    assert import_judgments(store, ADMIN, made.id, [write(tmp_path / "votes.jsonl", votes)]).num_added == 4
    return made


def test_a_comparison_of_four_comes_back_as_it_came(store: Store, project: Project) -> None:
    first = store.comparisons.get(ADMIN, project.id, "p0")
    assert [one.text for one in first.responses] == ["w 0", "x 0", "y 0", "z 0"]
    assert [one.source for one in first.responses] == ["mw", "mx", "my", "mz"]
    pair = store.comparisons.get(ADMIN, project.id, "p0#2-4")
    assert (pair.completion_a, pair.completion_b, pair.source_b) == ("x 0", "z 0", "mz")
    assert store.comparisons.sources(ADMIN, project.id)["p1"] == ("mw", "mx", "my", "mz")
    with pytest.raises(ValueError, match="no comparison 'p0#2-5'"):
        store.comparisons.get(ADMIN, project.id, "p0#2-5")


def test_a_ranking_is_a_vote_on_each_pair_that_it_compares(store: Store, project: Project) -> None:
    votes = store.judgments.votes(ADMIN, project.id)
    assert votes.items[:6] == ("p0#1-2", "p0#1-3", "p0#1-4", "p0#2-3", "p0#2-4", "p0#3-4")
    assert votes.item_cluster.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert votes.is_clustered
    said = {
        (votes.items[item], votes.annotators[who]): (choice, score)
        for item, who, choice, score in zip(
            votes.item.tolist(), votes.annotator.tolist(), votes.choice.tolist(), votes.score.tolist(), strict=True
        )
    }
    a, b, tie, both_bad, skip = range(5)
    assert said["p0#1-2", "ann"] == (a, -1)
    assert said["p0#1-2", "bob"] == (b, 1)
    assert ("p0#3-4", "bob") not in said  # neither was ranked
    assert said["p0#1-3", "dataset"] == (tie, 0)
    assert said["p0#3-4", "dataset"] == (a, -1)
    assert {said[f"p1#{pair}", "ann"][0] for pair in ("1-2", "1-3", "1-4", "2-3", "2-4", "3-4")} == {skip}
    assert said["p1#2-3", "bob"] == (both_bad, 0)
    assert [votes.sources[code] for code in votes.item_source_b[:6]] == ["mx", "my", "mz", "my", "mz", "mz"]
    assert np.all(votes.item_length_a == 3)


def test_exports_hold_rankings_and_pairs(store: Store, project: Project, tmp_path: Path) -> None:
    each = tmp_path / "each.jsonl"
    done = export_rows(store, ADMIN, project.id, each, ExportOptions(form="rankings", names=True, sources=True))
    assert dict(done.left_out) == {"skipped": 1, "all bad": 1}
    assert {(row["id"], row["annotator"]): row["ranks"] for row in lines(each)} == {
        ("p0", "dataset"): [2, 1, 2, None],
        ("p0", "ann"): [1, 2, 3, 4],
        ("p0", "bob"): [2, 1, None, None],
        ("p1", "dataset"): [2, 1, 2, None],
        ("p2", "dataset"): [2, 1, 2, None],
    }
    assert [one.ranks for one in load_rankings(each)] == [tuple(row["ranks"]) for row in lines(each)]
    joined = tmp_path / "joined.jsonl"
    export_rows(store, ADMIN, project.id, joined, ExportOptions(form="ranking"))
    # x wins 2 of 3 against w, all 3 against y and z; w 1/3, 2.5/3, 3/3; y 0, .5/3, 2/2; z none.
    assert [row["ranks"] for row in lines(joined)] == [[2, 1, 3, 4], [2, 1, 2, None], [2, 1, 2, None]]
    assert lines(joined)[0]["num_judgments"] == 3
    pairs = tmp_path / "pairs.jsonl"
    export_rows(store, ADMIN, project.id, pairs, ExportOptions(form="preference", ties="keep", sources=True))
    rows = {row["comparison_id"]: row for row in lines(pairs)}
    assert rows["p0#1-2"]["source_chosen"] == "mx"
    assert rows["p0#1-2"]["p_chosen"] == pytest.approx(2 / 3)
    assert rows["p0#1-2"]["votes"] == {"chosen": 2, "rejected": 1, "tie": 0, "both_bad": 0}
    assert "p2#1-3" in rows
    assert rows["p2#1-3"]["p_chosen"] == 0.5
    sft = tmp_path / "sft.jsonl"
    export_rows(store, ADMIN, project.id, sft, ExportOptions(form="sft"))
    assert [row["completion"][0]["content"] for row in lines(sft)] == ["x 0", "x 2"]  # of p1 half said all bad
    kto = tmp_path / "kto.jsonl"
    export_rows(store, ADMIN, project.id, kto, ExportOptions(form="unpaired"))
    assert [
        (row["completion"][0]["content"], row["label"]) for row in lines(kto) if row["comparison_id"][:2] == "p0"
    ] == [
        ("x 0", True),
        ("z 0", False),
    ]


def test_judgments_and_a_whole_project_come_back_the_same(store: Store, project: Project, tmp_path: Path) -> None:
    store.judgments.adjudicate(ADMIN, project.id, "p0#1-2", Decision(choice="b", strength=1))
    with pytest.raises(ValueError, match="no comparison 'p0'"):
        store.judgments.adjudicate(ADMIN, project.id, "p0", Decision(choice="b", strength=1))
    out = tmp_path / "judgments.jsonl"
    export_rows(store, ADMIN, project.id, out, ExportOptions(form="judgments", names=True))
    assert import_judgments(store, ADMIN, project.id, [out]).num_added == 0  # all there already
    assert lines(out)[0]["ranks"] == [2, 1, 2, None]
    export_project(store, ADMIN, project.id, tmp_path / "whole.zip", names=True)
    again = import_project(store, ADMIN, tmp_path / "whole.zip", "again").project
    assert list(store.comparisons.iterate(ADMIN, again.id)) == list(store.comparisons.iterate(ADMIN, project.id))
    before, after = (store.judgments.votes(ADMIN, one.id) for one in (project, again))
    for name in ("items", "annotators", "sources"):
        assert getattr(before, name) == getattr(after, name)
    for name in ("item", "annotator", "choice", "item_cluster"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert list(store.judgments.adjudications(ADMIN, again.id)) == ["p0#1-2"]
    [held] = [one for one in store.judgments.of_comparison(ADMIN, again.id, "p0#1-2") if one.annotator == "bob"]
    assert held.ranks == (1 + 1, 1, None, None)


def test_rankings_in_csv_come_back_the_same(store: Store, project: Project, tmp_path: Path) -> None:
    cells = [
        {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()} for row in ROWS
    ]
    cells[2]["ranks"] = ""  # a row that the file does not rank
    write_rows(tmp_path / "in.csv", cells)
    again = store.projects.create(ADMIN, "again", rubric_text=rubric_text(RANKED), design=Design(overlap=2))
    done = import_comparisons(store, ADMIN, again.id, [tmp_path / "in.csv"], ImportOptions(labels=True))
    assert (done.num_added, done.num_labels) == (3, 2)
    out = tmp_path / "judgments.csv"
    export_rows(store, ADMIN, project.id, out, ExportOptions(form="judgments", names=True))
    import_judgments(store, ADMIN, again.id, [out])
    given, held = (
        {(one.comparison_id, one.annotator): one.ranks for one in store.judgments.iterate(ADMIN, each.id)}
        for each in (project, again)
    )
    assert held == given
    assert given["p0", "bob"] == (2, 1, None, None)


def test_responses_are_cut_into_pairs_where_the_rubric_compares_two(store: Store, tmp_path: Path) -> None:
    plain = store.projects.create(
        ADMIN, "pairs", rubric_text=rubric_text(Rubric(title="T", guidelines="G")), design=Design()
    )
    file = write(tmp_path / "in.jsonl", ROWS)
    with pytest.raises(ValueError, match="set task: rank or task: best in the rubric first"):
        import_comparisons(store, ADMIN, plain.id, [file], ImportOptions(responses_as="rankings"))
    assert import_comparisons(store, ADMIN, plain.id, [file]).num_added == 18
    ranked = store.projects.create(ADMIN, "ranked too", rubric_text=rubric_text(RANKED), design=Design())
    import_comparisons(store, ADMIN, ranked.id, [file])
    with pytest.raises(ValueError, match="task is 'compare', but the project has comparisons of more than two"):
        store.projects.save_rubric(ADMIN, ranked.id, rubric_text(Rubric(title="T", guidelines="G")))
    changed = [{**ROWS[0], "responses": [*ROWS[0]["responses"][:3], {"model": "mz", "text": "other"}]}]
    with pytest.raises(ValueError, match="another prompt, completion or source"):
        import_comparisons(store, ADMIN, ranked.id, [write(tmp_path / "changed.jsonl", changed)])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"ranks": [1, 2]}, "a list of 2|ranks has 2 entries, allowed are 4"),
        ({"ranks": [0, 1, 2, 3]}, "field ranks is '0'"),
        ({"ranks": [None] * 4}, "one response or more must be ranked|all null"),
        ({"ranks": [1, 1.5, 2, 3]}, "whole numbers"),
    ],
)
def test_ranks_that_cannot_be_read_are_refused_with_their_place(
    store: Store, project: Project, tmp_path: Path, row: dict, problem: str
) -> None:
    bad = write(tmp_path / "bad.jsonl", [{**ROWS[0], "id": "new", **row}])
    with pytest.raises(ValueError, match=problem):
        import_comparisons(store, ADMIN, project.id, [bad], ImportOptions(labels=True))


def test_joined_ranks_by_hand() -> None:
    assert join_ranks([(1, 2, 3), (1, 2, 3), (3, 2, 1)]) == (1, 2, 3)
    assert join_ranks([(1, 2, 3), (3, 2, 1)]) == (1, 1, 1)
    assert join_ranks([(1, None, None), (None, 1, None)]) == (1, 1, None)  # nobody ranked the third
