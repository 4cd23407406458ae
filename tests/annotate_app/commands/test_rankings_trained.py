"""Votes and rankings from people to a reward model, each step as its command."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from annotate_app.__main__ import main as annotate_app
from annotate_app.access import Actor
from annotate_app.exchange.rows.rows_out import Pseudonyms
from annotate_app.protocol.collection_design import Design
from annotate_app.store.judgments.simulated import Kind, SimulatedAnswer
from annotate_app.store.store import Store
from rewardkit.__main__ import main as rewardkit
from rewardkit.data.files import read_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.records import Choice, Comparison, Judgment, Message
from rewardkit.reward.metadata import read_card

ADMIN = Actor.command_line()
PAIRS = "title: Which is better?\nguidelines: Read both.\nboth_bad: true\n"
RUBRIC = "title: Which is best?\nguidelines: Read all.\ntask: rank\n"


def write_rankings(file: Path, numbers: range) -> None:
    """Rankings of three answers, in any order, of which a kind one is the best and a rude one the worst."""
    draw = random.Random(0)
    lines = []
    for number in numbers:
        texts = [f"kind answer {number % 7}", f"plain answer {number % 6}", f"rude answer {number % 5}"]
        order = draw.sample(range(3), 3)
        responses = [texts[place] for place in order]
        lines.append({"prompt": f"question {number}", "responses": responses, "ranks": [place + 1 for place in order]})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.mark.slow
def test_a_model_of_exported_rankings_knows_the_order_of_others(sqlite_url: str, tmp_path: Path) -> None:
    rubric, desk = tmp_path / "rubric.yaml", ["--db", sqlite_url]
    rubric.write_text(RUBRIC, encoding="utf-8")
    exported = {"rankings": tmp_path / "rankings.jsonl", "preference": tmp_path / "pairs.jsonl"}
    for (form, file), numbers in zip(exported.items(), (range(32), range(100, 120)), strict=True):
        write_rankings(tmp_path / "in.jsonl", numbers)
        assert annotate_app(["project", "create", form, "--rubric", str(rubric), *desk]) == 0
        assert annotate_app(["import", form, str(tmp_path / "in.jsonl"), "--labels", *desk]) == 0
        assert annotate_app(["export", form, "--form", form, "--out", str(file), *desk]) == 0
    assert [len(list(read_rows(file))) for file in exported.values()] == [32, 20 * 3]
    model = str(tmp_path / "model")
    words = ["--model=tiny", f"--data={exported['rankings']}", f"--out={model}", "--likelihood=plackett_luce"]
    assert rewardkit(["train", *words, "--batch_size=8", "--learning_rate=0.005", "--precision=fp32"]) == 0
    assert read_card(model).likelihood["name"] == "plackett_luce"
    report = tmp_path / "report"
    assert rewardkit(["evaluate", f"--model={model}", f"--data={exported['preference']}", f"--out={report}"]) == 0
    accuracy = json.loads((report / "evaluation.json").read_text())["evaluation"]["overall"]["accuracy"]
    assert accuracy["low"] > 0.5, accuracy


CAREFUL, CARELESS = ("sim-ann", "sim-bob", "sim-cem"), "sim-dot"
NUM_COMPARISONS = 60


def comparison(number: int) -> Comparison:
    """A kind and a rude answer, of even numbers the kind one first."""
    answers = [f"kind answer {number % 7} thank you", f"rude answer {number % 5} go away"]
    first, second = answers if number % 2 == 0 else reversed(answers)
    prompt = (Message(role="user", content=f"question {number}"),)
    return Comparison(id=f"c{number}", prompt=prompt, completion_a=first, completion_b=second, source_a="x")


def add_voters(database: str) -> int:
    """A project of four simulated people, of whom one votes by the throw of a coin; how many votes count in training.

    Beside work they make checks, repeats that follow their work at once, a tie, a skip and a vote that both are bad.
    """
    draw = random.Random(1)
    store = Store.open(database)
    project = store.projects.create(ADMIN, "votes", rubric_text=PAIRS, design=Design(overlap=4), simulated=True)
    store.comparisons.add(ADMIN, project.id, [comparison(number) for number in range(NUM_COMPARISONS)])
    for name in (*CAREFUL, CARELESS):
        user = store.people.add(ADMIN, name, role="annotator", origin="simulated")
        store.projects.add_member(ADMIN, project.id, user.id)
    special: dict[tuple[int, str], Choice] = {
        (0, CAREFUL[0]): "tie",
        (1, CAREFUL[1]): "skip",
        (2, CARELESS): "both_bad",
    }

    def said(number: int, name: str, kind: Kind = "work", choice: Choice | None = None) -> SimulatedAnswer:
        better: Choice = "a" if number % 2 == 0 else "b"
        choice = choice or (draw.choice(("a", "b")) if name == CARELESS else better)
        judgment = Judgment(
            comparison_id=f"c{number}",
            annotator=name,
            choice=choice,
            strength=int(choice in ("a", "b")),
            reason="other" if choice == "skip" else "",
            created_at=1.7e9,
        )
        return SimulatedAnswer(judgment=judgment, kind=kind)

    answers = []
    for number in range(NUM_COMPARISONS):
        for name in (*CAREFUL, CARELESS):
            answers.append(said(number, name, choice=special.get((number, name))))
            answers += [said(number, name, "repeat")] if number % 20 == 3 else []
            answers += [said(number, name, "gold")] if number % 20 == 4 else []
    store.judgments.add_simulated(ADMIN, project.id, answers)
    counted = store.judgments.votes(ADMIN, project.id).counted()
    store.close()
    num_bad = 1  # it counts in the consensus, and prefers neither
    return len(counted) - num_bad


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_training_of_exported_votes_learns_who_is_careless(
    suffix: str, sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    num_votes = add_voters(sqlite_url)
    assert num_votes == 4 * NUM_COMPARISONS - 2  # a skip and a vote that both are bad
    file, model = tmp_path / f"votes.{suffix}", tmp_path / "model"
    words = ["export", "votes", "--form", "rankings", "--out", str(file), "--json", "--db", sqlite_url]
    assert annotate_app(words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["num_rows"] == {"rankings": num_votes}
    assert summary["left_out"] == {"skipped": 1, "all bad": 1, "made on a check (gold, repeat, qualification)": 24}
    read = read_preferences(str(file)).rows
    votes = {(row.prompt, row.meta["annotator"]): row for row in read}
    assert len(votes) == num_votes  # one of each annotator and comparison
    assert Counter(row.p_chosen for row in read) == {1.0: num_votes - 1, 0.5: 1}
    store = Store.open(sqlite_url)
    project = store.projects.get(ADMIN, "votes")
    called = {name: Pseudonyms.of(store, ADMIN, project.id).of_name(name) for name in (*CAREFUL, CARELESS)}
    store.close()
    assert {row.meta["annotator"] for row in read} == set(called.values())
    careful = [row.chosen[:4] for row in read if row.meta["annotator"] in {called[name] for name in CAREFUL[1:]}]
    assert set(careful) == {"kind"}
    assert rewardkit(["train", "--model=tfidf", f"--data={file}", f"--out={model}", "--eval_share=0.2"]) == 0
    card = read_card(model)
    assert card.likelihood["name"] == "crowd"
    reliability = card.likelihood["reliability"]
    assert set(reliability) == set(called.values())
    assert reliability[called[CARELESS]] < 0.75 < min(reliability[called[name]] for name in CAREFUL)
