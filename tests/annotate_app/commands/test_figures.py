from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate_app.__main__ import main
from annotate_app.access import Actor
from annotate_app.commands.project_votes import figure
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.protocol import load_protocol
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.store import Store
from annotate_app.votes import Votes
from rewardkit.data.records import CHOICES, Comparison, Judgment, Message

ADMIN = Actor.command_line()
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(sqlite_url: str, llmfao_votes: Votes, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on a project `crowd` of the first 120 pairs of llmfao, one of them settled by an adjudicator."""
    few = llmfao_votes.where(llmfao_votes.item < 120)
    store = Store.open(sqlite_url)
    rubric = load_protocol("instructgpt").rubric_text
    project = store.projects.create(ADMIN, "crowd", rubric_text=rubric, design=Design(overlap=5))
    comparisons = [
        Comparison(
            id=few.items[item],
            prompt=(Message(role="user", content=f"question {item}"),),
            completion_a=f"answer {item} of the first",
            completion_b=f"answer {item} of the second",
            source_a=few.sources[few.item_source_a[item]],
            source_b=few.sources[few.item_source_b[item]],
        )
        for item in range(120)
    ]
    judgments = [
        Judgment(
            comparison_id=few.items[item],
            annotator=few.annotators[person],
            choice=CHOICES[choice],
            strength=int(choice < 2),
        )
        for item, person, choice in zip(few.item.tolist(), few.annotator.tolist(), few.choice.tolist(), strict=True)
    ]
    store.comparisons.add(ADMIN, project.id, comparisons)
    store.judgments.import_many(ADMIN, project.id, judgments)
    store.judgments.adjudicate(ADMIN, project.id, few.items[0], Decision(choice="b", strength=2))
    store.close()

    def go(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--db", sqlite_url])
        return code, *capsys.readouterr()

    return go


def test_agreement_as_table_and_as_json(run: Run) -> None:
    code, text, _ = run("agreement", "crowd", "--bootstrap", "50")
    assert code == 0
    for words in ("Gwet's AC1", "95% interval", "against the rest", "Weaver 12k", "the protocol's own report"):
        assert words in text
    code, text, _ = run("agreement", "crowd", "--json", "--bootstrap", "0", "--by", "annotator")
    report = json.loads(text)
    assert code == 0
    assert report["overall"]["num_items"] == 120
    assert report["sources"] == report["periods"] == []
    assert report["overall"]["estimates"]["percent"]["low"] is None
    assert len(report["annotators"]) > 50
    assert f"{report['overall']['estimates']['alpha_nominal']['value']:.3f}" in report["reading"]


def test_aggregate_writes_one_line_an_item(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "consensus.jsonl"
    code, text, _ = run("aggregate", "crowd", "--rule", "dawid_skene", "--out", str(out))
    assert code == 0
    assert "by the rule dawid_skene" in text
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 120
    assert (rows[0]["choice"], rows[0]["adjudicated"], rows[0]["margin"]) == ("b", True, 2)
    code, text, _ = run("aggregate", "crowd", "--json")
    found = json.loads(text)
    assert (code, found["rule"], sum(found["num_items"].values())) == (0, "majority", 120)


def test_leaderboard_and_quality(run: Run) -> None:
    code, text, _ = run("leaderboard", "crowd", "--bootstrap", "20", "--ties", "davidson")
    assert code == 0
    assert "log strength" in text
    board = json.loads(run("leaderboard", "crowd", "--bootstrap", "0", "--json")[1])
    report = json.loads(run("agreement", "crowd", "--bootstrap", "0", "--json")[1])
    assert board["num_votes"] == report["overall"]["num_votes"]
    code, text, _ = run("quality", "crowd")
    assert code == 0
    assert text.startswith("annotator")
    people = json.loads(run("quality", "crowd", "--json")[1])["annotators"]
    assert sum(person["num_judgments"] for person in people) == board["num_votes"]


def test_win_rates(run: Run) -> None:
    board = json.loads(run("leaderboard", "crowd", "--bootstrap", "0", "--json")[1])
    found = json.loads(run("winrate", "crowd", "--json")[1])
    assert found["num_votes"] == board["num_votes"] == sum(pair["num_votes"] for pair in found["pairs"])
    pair = found["pairs"][0]
    place = [board["sources"].index(pair[name]) for name in ("one", "other")]
    assert pair["wins"] == board["wins"][place[0]][place[1]]
    assert pair["ties"] + pair["both_bad"] == board["ties_by_pair"][place[0]][place[1]]
    code, text, _ = run("winrate", "crowd", "--bootstrap", "20")
    assert code == 0
    assert "A tie, or both bad, is half a win." in text


def test_labeling_power(run: Run) -> None:
    found = json.loads(run("power", "crowd", "--within", "0.1", "--gain", "0.03", "--json")[1])
    assert found["habits"]["num_paired"] > 10
    assert 0 < found["habits"]["correlation"] < 1
    assert found["advised"]["overlap"] == 1
    assert found["gain"]["held_out"] > 0
    options = ("--correlation", "1", "--ties", "0", "--seconds", "60")
    code, text, _ = run("power", "crowd", "--within", "0.1", *options)
    assert code == 0
    # 1.96^2 / 4 / 0.01 = 96.04, a minute each
    assert "label 97 pairs with one vote each: 97 minutes of work" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("agreement", "nowhere"), "nowhere"),
        (("power", "crowd", "--within", "0.6"), "within is 0.6, allowed is between 0 and 0.5"),
        (("agreement", "crowd", "--by", "week"), "--by is 'week', allowed are criterion"),
        (("agreement", "crowd", "--bootstrap", "-1"), "--bootstrap is -1, allowed is 0 or more"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words: tuple[str, ...], message: str, run: Run) -> None:
    code, text, error = run(*words)
    assert (code, text, error.count("\n")) == (2, "", 1)
    assert message in error


def test_an_empty_project_prints_no_figures_but_says_why(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.open(sqlite_url)
    store.projects.create(ADMIN, "empty", rubric_text=load_protocol("multipref").rubric_text, design=Design())
    store.close()
    for command in ("agreement", "aggregate", "leaderboard", "winrate", "quality", "power"):
        assert main([command, "empty", "--db", sqlite_url]) == 0
        assert main([command, "empty", "--json", "--db", sqlite_url]) == 0
    assert "no agreement to measure" in capsys.readouterr().out


def test_undefined_figures_are_a_dash() -> None:
    assert (figure(float("nan")), figure(0.5), figure(0.5, percent=True)) == ("-", "0.500", "50.0%")
