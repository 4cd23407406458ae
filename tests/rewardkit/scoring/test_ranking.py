"""Files of comparisons in, priorities out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from rewardkit.data.files import write_rows
from rewardkit.data.records import Comparison, Message
from rewardkit.reward.reward import Reward
from rewardkit.scoring.acquisition import RULES
from rewardkit.scoring.ranking import (
    prompt_features,
    prompt_space,
    rank_comparisons,
    read_comparisons,
    score_comparisons,
)


class Lengths:
    """Member 1 likes length, member 2 dislikes it, member 3 likes the prompt's words; counts what it is asked."""

    def __init__(self, num_members: int = 3) -> None:
        self.num_members = num_members
        self.asked = 0

    def __call__(self, prompts, completions) -> Reward:
        self.asked += len(completions)
        rows = [
            [len(text) / 10, -len(text) / 10, float(sum(word in text for word in prompt[-1].content.split()))]
            for prompt, text in zip(prompts, completions, strict=True)
        ]
        return Reward(members=np.array(rows).T[: self.num_members])


def comparison(key: str, prompt: str, a: str, b: str) -> Comparison:
    return Comparison(id=key, prompt=(Message(role="user", content=prompt),), completion_a=a, completion_b=b)


POOL = [
    comparison("same length", "where is it", "there", "hence"),
    comparison("unlike", "where is it", "there", "it is there where it always was, and it will be there tomorrow"),
    comparison("rather unlike", "my order came late", "sorry", "sorry, my friend"),
]


def test_the_comparison_that_members_fight_over_comes_first():
    ranked = rank_comparisons(POOL, Lengths(), "mutual_information")
    assert [row.comparison_id for row in ranked] == ["unlike", "rather unlike", "same length"]
    assert [row.priority for row in ranked] == [row.mutual_information for row in ranked]
    assert ranked[-1].mutual_information == ranked[-1].std == 0.0
    # member 3 finds none of "where is it" in there, and where, is, it in the long one: margin (0 - 3) / 3
    assert ranked[0].margin == pytest.approx(-1.0)
    assert rank_comparisons(POOL, Lengths(), "std", top=1) == [
        row for row in rank_comparisons(POOL, Lengths(), "std") if row.comparison_id == "unlike"
    ]


def test_priorities_fall_and_say_which_rule_made_them():
    for rule in RULES:
        ranked = rank_comparisons(POOL, Lengths(), rule, labelled=POOL[:1])
        assert {row.rule for row in ranked} == {rule}
        assert sorted(row.comparison_id for row in ranked) == sorted(each.id for each in POOL)
        assert all(one.priority >= other.priority for one, other in pairwise(ranked))


def test_a_completion_that_stands_in_several_comparisons_is_scored_once():
    reward_fn = Lengths()
    score_comparisons(POOL, reward_fn)
    assert reward_fn.asked == 5  # there is one answer to one prompt in two comparisons


def test_one_member_cannot_differ():
    for rule in ("mutual_information", "std", "bal_pm"):
        with pytest.raises(ValueError, match=f"rule {rule} measures how much the members"):
            rank_comparisons(POOL, Lengths(1), rule)
    assert rank_comparisons(POOL, Lengths(1), "margin")[0].comparison_id == "same length"
    assert rank_comparisons([], Lengths(1), "std") == []


def test_prompts_of_the_pool_and_of_what_is_labelled_share_a_space():
    pool, labelled = [POOL[0].prompt, POOL[2].prompt, POOL[1].prompt], [POOL[0].prompt, POOL[0].prompt]
    space = prompt_space(pool, labelled)
    assert list(space.prompt_of) == [0, 1, 0]
    assert list(space.num_labelled) == [2, 0]
    assert np.array_equal(space.features, prompt_space(pool, labelled).features)


def test_prompts_with_common_words_lie_together():
    texts = ["late parcel again", "parcel late today", "refund to my card", "card refund please"]
    features = prompt_features(texts, seed=0)
    between = np.linalg.norm(features[:, None] - features, axis=-1)
    assert between[0, 1] < between[0, 2]
    assert between[2, 3] < between[1, 3]
    assert prompt_features(["!"], seed=0).shape == (1, 1)
    assert prompt_features(["a", "a b"], seed=0).shape == (2, 1)


def test_every_form_is_read_and_each_id_once(tmp_path):
    pair = {"id": "p", "prompt": "x", "response_a": "one", "response_b": "two"}
    write_rows(tmp_path / "pairs.jsonl", [pair, pair])
    assert [each.id for each in read_comparisons(str(tmp_path / "pairs.jsonl")).comparisons] == ["p"]
    write_rows(tmp_path / "ranked.json", [{"prompt": "x", "responses": ["one", "two", "three"]}])
    assert len(read_comparisons(str(tmp_path / "ranked.json")).comparisons) == 3
    write_rows(tmp_path / "chosen.csv", [{"prompt": "x", "chosen": "one", "rejected": "two"}])
    (found,) = read_comparisons(str(tmp_path / "chosen.csv")).comparisons
    assert {found.completion_a, found.completion_b} == {"one", "two"}


def test_bad_rows_are_named_or_listed(tmp_path):
    path = str(tmp_path / "rows.jsonl")
    rows = [{"id": "p", "prompt": "x", "response_a": "one", "response_b": text} for text in ("two", "one", "three")]
    write_rows(path, rows)
    with pytest.raises(ValueError, match=r"rows\.jsonl:2: .*the same as response_a \(and 1 more bad rows\)"):
        read_comparisons(path)
    read = read_comparisons(path, on_bad_row="skip")
    assert [each.completion_b for each in read.comparisons] == ["two"]
    assert [(each.place.rpartition(":")[2], each.reason) for each in read.bad_rows] == [
        ("2", "identical_responses"),
        ("3", "duplicate_id"),
    ]
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="holds no rows"):
        read_comparisons(str(tmp_path / "empty.jsonl"))
