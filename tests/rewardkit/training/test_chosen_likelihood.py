"""Which likelihood is taken where none is named, as people type it, and that runs begun before go on as they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewardkit.__main__ import main
from rewardkit.commands.train import as_begun
from rewardkit.config import Mode, RewardConfig
from rewardkit.data.records import Message, Preference
from rewardkit.reward.metadata import read_card
from rewardkit.run.progress import Progress
from rewardkit.training.chosen_likelihood import with_likelihood

VOTERS = {"ann": 0.95, "bob": 0.95, "eve": 0.5}  # how often each says what is right


def votes(people: list[Any], **columns: object) -> list[Preference]:
    prompt = (Message(role="user", content="why?"),)
    names = [{"annotator": name} if name else {} for name in people]
    return [Preference(prompt=prompt, chosen="a", rejected="b", meta=name | columns) for name in names]


@pytest.mark.parametrize(
    ("rows", "mode", "likelihood", "said"),
    [
        (votes(["ann", "bob"]), "head", "crowd", "2 annotators, whose reliability is learned"),
        (votes(["ann", "bob"]), "full", "bradley_terry", "mode head learns how reliable each is"),
        (votes(["ann", "bob"], reliability=0.8), "full", "crowd", "every row says how reliable"),
        (votes(["ann", "ann"]), "head", "bradley_terry", ""),  # nobody to be told apart from
        (votes(["ann", "bob", None]), "head", "bradley_terry", ""),
        (votes([None, None]), "head", "bradley_terry", ""),
    ],
)
def test_rows_decide_where_no_likelihood_is_named(
    rows: list[Preference], mode: Mode, likelihood: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = RewardConfig(model="tiny", out="o", data="d", mode=mode)
    assert with_likelihood(config, rows, Progress()).likelihood == likelihood
    told = capsys.readouterr().err
    assert said in told if said else not told


def test_a_likelihood_that_is_named_is_taken() -> None:
    config = RewardConfig(model="tfidf", out="o", data="d", likelihood="bradley_terry")
    assert with_likelihood(config, votes(["ann", "bob"]), Progress()) is config


def votes_of_four(careless: str) -> list[Preference]:
    """24 pairs; three say what is right, and a fourth, who is named, `a` whatever is right; else as the others."""
    rows = []
    for number in range(24):
        right, wrong = ("a", "b") if number % 2 else ("b", "a")
        sides = [(right, wrong)] * 3 + [("a", "b") if careless else (right, wrong)]
        prompt = (Message(role="user", content=f"question {number}"),)
        rows += [
            Preference(prompt=prompt, chosen=chosen, rejected=rejected, meta={"annotator": name})
            for name, (chosen, rejected) in zip(("ann", "bob", "cy", careless or "dan"), sides, strict=True)
        ]
    return rows


@pytest.mark.parametrize(
    ("mode", "likelihood"), [("full", "auto"), ("full", "bradley_terry"), ("head", "bradley_terry")]
)
def test_votes_that_count_alike_though_people_differ_are_told(
    mode: Mode, likelihood: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A spread of 0.622, worked out in the test of `voter_skill` for another number of pairs."""
    config = RewardConfig(model="tiny", out="o", data="d", mode=mode, likelihood=likelihood)
    with_likelihood(config, votes_of_four("eve"), Progress())
    assert "people's skill differs by 62% of its mean" in capsys.readouterr().err
    with_likelihood(config, votes_of_four(""), Progress())
    assert "skill differs" not in capsys.readouterr().err
    again = votes_of_four("") + [row for row in votes_of_four("") if row.meta["annotator"] == "cy"] * 3
    with_likelihood(config, again, Progress())
    assert "skill differs" not in capsys.readouterr().err  # a person's own vote is no other person's
    nameless = [replace(row, meta={}) for row in votes_of_four("eve")]
    with_likelihood(config, nameless, Progress())
    assert not capsys.readouterr().err


def write_votes(file: Path) -> None:
    """Three votes on each of 60 pairs, in which a kind word is right."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(60):
        kind, rude = f"kind answer {number % 7}", f"rude answer {number % 5}"
        for name, share in VOTERS.items():
            better, worse = (kind, rude) if rng.random() < share else (rude, kind)
            lines.append({"prompt": f"question {number}", "chosen": better, "rejected": worse, "annotator": name})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_command_learns_who_is_careless(tmp_path: Path) -> None:
    write_votes(tmp_path / "votes.jsonl")
    words = ["train", "--model=tfidf", f"--data={tmp_path}/votes.jsonl"]
    assert main([*words, f"--out={tmp_path}/auto"]) == 0
    learned = read_card(tmp_path / "auto").likelihood
    assert learned["name"] == "crowd"
    assert learned["reliability"]["eve"] < 0.65 < 0.85 < min(learned["reliability"][name] for name in ("ann", "bob"))
    assert main([*words, f"--out={tmp_path}/shares", "--likelihood=bradley_terry"]) == 0
    assert read_card(tmp_path / "shares").likelihood["name"] == "bradley_terry"


def test_a_run_begun_before_goes_on_with_the_likelihood_it_had(tmp_path: Path) -> None:
    config = RewardConfig(model="tiny", out=str(tmp_path), data="d", resume=True)
    assert as_begun(config) is config
    (tmp_path / "config.yaml").write_text("likelihood: bradley_terry\n")
    assert as_begun(config).likelihood == "bradley_terry"
    named = RewardConfig(model="tiny", out=str(tmp_path), data="d", resume=True, likelihood="davidson")
    assert as_begun(named) is named
