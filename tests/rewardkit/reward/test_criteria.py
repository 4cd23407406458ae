"""Criterion heads: what is asked of them, and how their scores become one reward."""

from __future__ import annotations

import numpy as np
import pytest

from rewardkit.config import parse_criterion_weights
from rewardkit.data.records import Message, Preference
from rewardkit.reward.reward import combine, criterion_names, criterion_targets, is_overall_reward

SCORES = np.array([[1.0, 2.0], [3.0, 6.0], [10.0, 20.0], [-1.0, 0.5]])  # two members, helpful, correct


def row(weight: float = 1.0, **criteria: float) -> Preference:
    prompt = (Message(role="user", content="why?"),)
    return Preference(prompt=prompt, chosen="a", rejected="b", weight=weight, criteria=criteria)


def test_without_weights_the_overall_members_are_the_reward() -> None:
    np.testing.assert_array_equal(combine(SCORES, criteria=("helpful", "correct"), weights={}), SCORES[:2])
    np.testing.assert_array_equal(combine(SCORES, criteria=(), weights={}), SCORES)


def test_criteria_alone_make_one_member() -> None:
    combined = combine(SCORES, criteria=("helpful", "correct"), weights={"helpful": 1, "correct": 2})
    np.testing.assert_allclose(combined, [[8.0, 21.0]])


def test_overall_keeps_its_members() -> None:
    combined = combine(SCORES, criteria=("helpful", "correct"), weights={"overall": 2, "correct": -1})
    np.testing.assert_allclose(combined, [[3.0, 3.5], [7.0, 11.5]])


def test_a_criterion_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(
        ValueError, match="names 'kind', of which the model has no head: its heads are overall, helpful"
    ):
        combine(SCORES, criteria=("helpful", "correct"), weights={"kind": 1})


def test_weights_are_read_and_refused() -> None:
    assert parse_criterion_weights("helpful=1, correct=-2.5") == {"helpful": 1.0, "correct": -2.5}
    assert parse_criterion_weights("") == {}
    for text in ("helpful", "helpful=x", "=1", "a=1,a=2", "a=inf"):
        with pytest.raises(ValueError, match="is not NAME=NUMBER"):
            parse_criterion_weights(text)
    for text in ("a=0", ","):
        with pytest.raises(ValueError, match="allowed is one weight or more that is not 0"):
            parse_criterion_weights(text)


def test_the_overall_head_at_weight_one_is_the_reward_as_it_is() -> None:
    for weights in ({}, {"overall": 1.0}, {"overall": 1.0, "helpful": 0.0}):
        assert is_overall_reward(weights)
    for weights in ({"overall": 2.0}, {"helpful": 1.0}, {"overall": 1.0, "helpful": 0.1}):
        assert not is_overall_reward(weights)


def test_targets_by_hand() -> None:
    rows = [row(helpful=2.0), row(weight=0.5, helpful=-0.1, correct=0.0), row()]
    assert criterion_names(rows) == ("correct", "helpful")
    p_chosen, weight = criterion_targets(rows, ("correct", "helpful"))
    np.testing.assert_array_equal(p_chosen, [[0.5, 0.5, 0.5], [1.0, 0.0, 0.5]])
    np.testing.assert_array_equal(weight, [[0.0, 0.5, 0.0], [1.0, 0.5, 0.0]])
    assert criterion_targets(rows, ())[0].shape == (0, 3)
