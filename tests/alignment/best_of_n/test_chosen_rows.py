"""Which completions of a prompt become rows, and what the rows say."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from alignment.best_of_n.chosen_rows import ScoredCompletion, ScoredGroup, chosen_rows, soft_labels
from alignment.config.sampling import BonConfig
from alignment.policy.data import read_demonstrations
from rewardkit.data.files import write_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.records import Message
from rewardkit.data.sources import open_source

PROMPT = (Message(role="system", content="Be kind."), Message(role="user", content="Hello?"))


def one(text: str, reward: float, members: tuple[float, ...] = (0.0,), audit: float | None = None) -> ScoredCompletion:
    return ScoredCompletion(text=text, finished=True, num_tokens=3, reward=reward, members=members, audit=audit)


def group(*completions: ScoredCompletion) -> ScoredGroup:
    return ScoredGroup(prompt=PROMPT, completions=completions)


def config_of(**more: Any) -> BonConfig:
    return BonConfig(**{"model": "m", "prompts": "p", "reward": ["json"], "out": "o.jsonl"} | more)  # pyright: ignore


GROUP = group(
    one("good", 2.0, (1.0, 4.0), 0.5), one(" ", 9.0), one("bad", -1.0, (0.0, 0.0), 7.0), one("fair", 1.0, (1.0, 1.0))
)


def texts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["completion"][0]["content"] for row in rows]


def test_the_best_with_a_text_is_kept() -> None:
    (row,) = chosen_rows(GROUP, config_of(), model="base")
    assert texts([row]) == ["good"]
    assert row["prompt"] == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello?"}]
    assert (row["reward"], row["audit_reward"], row["model"]) == (2.0, 0.5, "base")
    assert row["reward_std"] == pytest.approx(3 / math.sqrt(2))  # of 1 and 4, ddof 1


def test_all_that_reach_a_threshold_are_kept_each_text_once() -> None:
    twice = group(*GROUP.completions, one("good ", 5.0), one("fair", 1.0))
    kept = {least: texts(chosen_rows(twice, config_of(keep="above", threshold=least), model="m")) for least in (1, 3)}
    assert kept == {1: ["good", "fair"], 3: []}
    # rewards -1, 1, 1, 2, 5, 9: the quantile 0.5 is (1 + 2) / 2
    halves = config_of(keep="above", threshold=0.5, threshold_of="quantile")
    assert texts(chosen_rows(twice, halves, model="m")) == ["good"]


def test_best_and_worst_are_a_pair() -> None:
    """Members 1 and 4 against 0 and 0: (sigma(1) + sigma(4)) / 2 = (0.731059 + 0.982014) / 2 = 0.856536."""
    (row,) = chosen_rows(GROUP, config_of(keep="pairs", soft_labels=True), model="m")
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"], row["margin"]) == ("good", "bad", 3.0)
    assert row["p_chosen"] == pytest.approx(0.856536, abs=1e-6)
    assert (row["reward_chosen"], row["reward_rejected"], row["audit_reward_rejected"]) == (2.0, -1.0, 7.0)
    assert "p_chosen" not in chosen_rows(GROUP, config_of(keep="pairs"), model="m")[0]


def test_no_pair_where_rewards_are_equal_or_one_text_is_left() -> None:
    pairs = config_of(keep="pairs")
    assert chosen_rows(group(one("a", 1.0), one("b", 1.0)), pairs, model="m") == []
    assert chosen_rows(group(one("a", 1.0), one("a ", 2.0), one("", 0.0)), pairs, model="m") == []
    for keep in ({}, {"keep": "above", "threshold": 0.0}):
        assert chosen_rows(group(one("", 1.0)), config_of(**keep), model="m") == []


def test_soft_labels_are_never_against_the_choice() -> None:
    found = soft_labels(np.array([[0.0, 3.0]]), np.array([[5.0, 0.0]]))
    assert found.tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-3))])


def test_groups_survive_json() -> None:
    again = ScoredGroup.from_json(json.loads(json.dumps(GROUP.to_json())))
    assert again.prompt == PROMPT
    assert chosen_rows(again, config_of(), model="m") == chosen_rows(GROUP, config_of(), model="m")


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "rows.csv"])
def test_rows_are_what_trainings_read(tmp_path: Any, name: str) -> None:
    best, pairs = tmp_path / f"best_{name}", tmp_path / f"pairs_{name}"
    write_rows(best, chosen_rows(GROUP, config_of(), model="m"))
    write_rows(pairs, chosen_rows(GROUP, config_of(keep="pairs", soft_labels=True), model="m"))
    (demonstration,) = read_demonstrations(next(iter(open_source(str(best)).values())), str(best)).rows
    assert [turn.content for turn in demonstration.turns] == ["Be kind.", "Hello?", "good"]
    (pair,) = read_preferences(str(pairs)).rows
    assert (pair.prompt, pair.chosen, pair.rejected) == (PROMPT, "good", "bad")
    assert (pair.margin, pair.p_chosen) == (3.0, pytest.approx(0.856536, abs=1e-6))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"n": 1}, "n is 1, allowed is 2 or more"),
        ({"reward": []}, "reward is missing"),
        ({"model": ""}, "give model and prompts together"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"keep": "above"}, "a threshold goes with keep above"),
        ({"threshold": 1.0}, "a threshold goes with keep above"),
        ({"keep": "above", "threshold": 2.0, "threshold_of": "quantile"}, "a quantile is 0 to 1"),
        ({"threshold_of": "quantile"}, "goes with keep above"),
        ({"soft_labels": True}, "soft_labels are for keep pairs"),
        ({"audit_reward": ["nothing_here"]}, "neither a folder nor any other"),
    ],
)
def test_bad_configurations(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_of(**more)
