"""`judge report`, and judges in `winrate`, `aggregate` and `export`, on a project whose judge saw more than people."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alignment.judges.spec import JudgeSpec
from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.protocol import load_protocol
from annotate_app.store.loop.judges import JudgeVote
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()
NUM_ITEMS, NUM_JUDGED = 80, 40
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on `crowd`: 80 comparisons, 40 of them judged by two people each, all by the judge `machine`."""
    store, rng = Store.open(sqlite_url), np.random.default_rng(0)
    rubric = load_protocol("instructgpt").rubric_text
    project = store.projects.create(ADMIN, "crowd", rubric_text=rubric, design=Design(overlap=2, rule="dawid_skene"))
    keys = [f"c{number:02}" for number in range(NUM_ITEMS)]
    b_better = rng.random(NUM_ITEMS) < 0.3
    prompt = (Message(role="user", content="why?"),)
    store.comparisons.add(
        ADMIN,
        project.id,
        [
            Comparison(
                id=key,
                prompt=prompt,
                completion_a=f"{key} a",
                completion_b=f"{key} b",
                source_a="large",
                source_b="small",
            )
            for key in keys
        ],
    )

    def said(index: int, accuracy: float) -> str:
        return "b" if b_better[index] == (rng.random() < accuracy) else "a"

    judgments = [
        Judgment(comparison_id=keys[index], annotator=name, choice=said(index, 0.9), strength=1)  # type: ignore[arg-type]
        for index in range(NUM_JUDGED)
        for name in ("ann", "bob")
    ]
    store.judgments.import_many(ADMIN, project.id, judgments)
    judge = store.judges.add(ADMIN, project.id, "machine", JudgeSpec(kind="imported", model="large"))
    votes = [
        JudgeVote(comparison_id=key, rubric_version=1, shown_first=side, choice=choice, strength=1)  # type: ignore[arg-type]
        for index, key in enumerate(keys)
        for choice in (said(index, 0.92),)
        for side in ("a", "b")
    ]
    store.judges.add_votes(judge.id, votes)
    store.close()

    def go(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--db", sqlite_url])
        return code, *capsys.readouterr()

    return go


def test_report_in_words_as_json_and_as_files(run: Run, tmp_path: Path) -> None:
    page, table = tmp_path / "report.html", tmp_path / "report.csv"
    code, text, _ = run("judge", "report", "crowd", "machine", "--html", str(page), "--csv", str(table))
    assert code == 0
    assert "80 comparisons by 160 answers; people judged 40 of them by 80 votes." in text
    assert "own model wins" in text  # its model is called large, and so is a source
    assert "The judge machine on crowd" in page.read_text()
    assert "<script" not in page.read_text()
    rows = table.read_text().splitlines()
    assert rows[0] == "view,name,figure,value,low,high,num_items"
    code, text, _ = run("judge", "report", "crowd", "machine", "--json", "--bootstrap", "50")
    report = json.loads(text)
    assert report["overall"]["num_items"] == 40
    value = report["overall"]["kappa"]["value"]
    assert f"over all,all,kappa,{value}" in table.read_text()
    assert report["advice"]["use"] in report["advice_words"] or report["advice_words"].startswith("Use it")
    assert (report["num_answers"], report["num_refused"]) == (160, 0)


def test_report_of_a_judge_that_is_not_there(run: Run) -> None:
    code, _, error = run("judge", "report", "crowd", "nobody")
    assert (code, error.strip()) == (
        2,
        "annotate-app judge report: the project has no judge 'nobody'; it has machine",
    )


def test_win_rates_stand_beside_each_other(run: Run) -> None:
    code, text, _ = run("winrate", "crowd", "--judge", "machine")
    assert code == 0
    assert "people alone" in text
    assert "people with judge" in text
    assert "judge alone" in text
    _, text, _ = run("winrate", "crowd", "--judge", "machine", "--json")
    (pair,) = json.loads(text)["pairs"]
    _, plain, _ = run("winrate", "crowd", "--json")
    (alone,) = json.loads(plain)["pairs"]
    assert (pair["one"], pair["other"]) == (alone["one"], alone["other"]) == ("large", "small")
    assert pair["people"]["value"] == pytest.approx(alone["rate"]["value"])
    assert (pair["num_people"], pair["num_judge_only"]) == (40, 40)
    assert 0 < pair["lam"] < 1
    low, high = sorted(
        (pair["people"]["value"], pair["people"]["value"] + pair["judge"]["value"] - pair["people"]["value"])
    )
    assert low - 0.15 <= pair["powered"]["value"] <= high + 0.15


def test_a_consensus_takes_judges_only_where_they_are_named(run: Run) -> None:
    _, plain, _ = run("aggregate", "crowd", "--json")
    _, again, _ = run("aggregate", "crowd", "--json", "--judges", "")
    assert plain == again
    alone = json.loads(plain)
    assert alone["num_items"]["waiting"] == 40
    assert "judges" not in alone
    _, text, _ = run("aggregate", "crowd", "--json", "--judges", "machine")
    both = json.loads(text)
    assert both["num_items"]["waiting"] == 0
    (weight,) = both["judges"]
    assert (weight["judge"], weight["num_items"]) == ("machine", 40)
    assert 0 < weight["weight"] < 1
    assert both["items"][79]["votes"] == {"a": 0, "b": 0, "tie": 0, "both_bad": 0}
    assert sum(both["items"][79]["judge_votes"].values()) == 1
    code, _, error = run("aggregate", "crowd", "--rule", "majority", "--judges", "machine")
    assert (code, "allowed with judges is dawid_skene" in error) == (2, True)
    code, _, error = run("aggregate", "crowd", "--judges", "machine,machine")
    assert (code, "named twice" in error) == (2, True)


def test_rows_tell_votes_of_judges_from_those_of_people(run: Run, tmp_path: Path) -> None:
    def rows(name: str, *words: str) -> list[dict]:
        code, _, error = run("export", "crowd", "--out", str(tmp_path / name), *words)
        assert code == 0, error
        return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]

    plain = rows("plain.jsonl")
    assert all("judge_votes" not in row for row in plain)
    people = rows("people.jsonl", "--judges", "machine")
    assert all(row["num_judgments"] == 2 for row in people)
    every = rows("all.jsonl", "--judges", "machine", "--min-votes", "0")
    machine_only = [row for row in every if row["num_judgments"] == 0]
    assert (len(machine_only), len(every) - len(machine_only)) == (40, len(people))
    for row in machine_only:
        assert row["votes"] == {"chosen": 0, "rejected": 0, "tie": 0, "both_bad": 0}
        assert row["judge_votes"] == {"chosen": 1.0, "rejected": 0.0, "tie": 0.0, "both_bad": 0.0}
        assert row["p_chosen"] < 1
        assert row["weight"] < min(other["weight"] for other in people)
    assert "votes of machines" in (tmp_path / "all.README.md").read_text()
    assert "enters with the lower end of its interval" in (tmp_path / "all.README.md").read_text()
