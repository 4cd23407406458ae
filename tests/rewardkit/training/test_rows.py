"""Preferences as rows of tokens and targets."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from rewardkit.data.records import Message, Preference
from rewardkit.network.tokens import train_tokenizer
from rewardkit.training.rows import CERTAIN, outcome_shares, reliability_logit, training_rows


def preference(prompt: str = "Why?", chosen: str = "Because.", rejected: str = "No.", **more: object) -> Preference:
    return Preference(
        prompt=(Message(role="user", content=prompt),),
        chosen=chosen,
        rejected=rejected,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["Why not? Because it is so, and no other way.", "No."] * 5, vocab_size=300)


@pytest.mark.parametrize(
    ("row", "shares"),
    [
        (preference(p_chosen=0.75), (0.75, 0.0, 0.25)),
        (preference(p_chosen=0.5), (0.0, 1.0, 0.0)),
        (preference(p_chosen=0.7, votes={"chosen": 5, "rejected": 1, "tie": 3, "both_bad": 1}), (0.5, 0.4, 0.1)),
    ],
)
def test_outcome_shares(row: Preference, shares: tuple[float, float, float]) -> None:
    assert outcome_shares(row) == pytest.approx(shares)


def test_reliability_becomes_log_odds() -> None:
    assert reliability_logit(preference(meta={"reliability": 0.75})) == pytest.approx(math.log(3))
    assert reliability_logit(preference(meta={"reliability": 0.5})) == 0.0
    assert reliability_logit(preference()) == CERTAIN
    assert reliability_logit(preference(meta={"reliability": 0.0})) == -CERTAIN


def test_rows_share_what_their_conversations_begin_with(tokenizer) -> None:
    rows = training_rows([preference(), preference("Why not?"), preference()], tokenizer, max_length=512)
    assert rows.prompt.tolist() == [0, 1, 0]
    assert rows.rows[0] == rows.rows[2]
    chosen, rejected = (rows.rows[0].prompt + branch for branch in rows.rows[0].branches)
    assert tokenizer.decode(chosen) == "<|user|>\nWhy?<|eos|>\n<|assistant|>\nBecause.<|eos|>\n"
    assert tokenizer.decode(rejected) == "<|user|>\nWhy?<|eos|>\n<|assistant|>\nNo.<|eos|>\n"
    assert (rows.num_cut, rows.num_identical) == (0, 0)


def test_long_conversations_lose_their_start_and_are_counted(tokenizer) -> None:
    short, long = preference(), preference("Why not? " * 50)
    rows = training_rows([short, long], tokenizer, max_length=24)
    assert rows.num_cut == 2
    chosen, rejected = (tokenizer.decode(rows.rows[1].prompt + branch) for branch in rows.rows[1].branches)
    start, end = chosen.split("Because.")
    assert start.startswith("<|user|>\n")
    assert start.endswith("hy not? <|eos|>\n<|assistant|>\n")
    assert end == "<|eos|>\n"
    assert rejected == f"{start}No.{end}"  # both lose the same of the prompt
    assert max(len(rows.rows[1].prompt + branch) for branch in rows.rows[1].branches) == 24


def test_pairs_that_are_the_same_tokens_are_counted_and_left_out(tokenizer) -> None:
    same = "Because it is so, and no other way. " * 4
    same_pair = preference(chosen=same + "Yes", rejected=same + "No", weight=3.0)
    rows = training_rows([preference(weight=2.0), same_pair, preference()], tokenizer, max_length=24)
    assert (len(rows), rows.num_identical, rows.num_cut) == (2, 1, 2)
    assert rows.weight.tolist() == [2.0, 1.0]
    assert list(rows.numbers) == [0, 2]
    assert len(training_rows([same_pair], tokenizer, max_length=24)) == 0


def test_criteria_that_nobody_judged_weigh_nothing(tokenizer) -> None:
    judged = preference(criteria={"tone": -2.0}, weight=0.5)
    rows = training_rows([judged, preference(criteria={"tone": 0.0}), preference()], tokenizer, max_length=64,
                         criteria=["tone"])  # fmt: skip
    assert rows.criterion_p[0, :2].tolist() == [0.0, 0.5]
    assert rows.criterion_weight.tolist() == [[0.5, 1.0, 0.0]]
