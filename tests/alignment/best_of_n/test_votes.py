"""Votes for final numbers, counted by hand."""

from __future__ import annotations

from alignment.best_of_n.votes import elected

TEXTS = ["It is 4.", "So 2 + 3 = 5", "the answer is 5.0", "no idea", "4", "6"]


def test_the_majority_and_its_best_completion() -> None:
    """4 and 5 have two votes each, 4 came first; with one more 5 wins, by its completion of reward 0.3."""
    rewards = [0.1, 0.2, 0.3, 0.9, 0.05, 0.6]
    assert elected(TEXTS, rewards, weighted=False) == 0
    assert elected([*TEXTS, "5"], [*rewards, 0.0], weighted=False) == 2


def test_weights_are_rewards() -> None:
    """4: 0.15, 5: 0.5, 6: 0.6; without the reward of the first 5, 6 still wins; with 0.5 there 5 does."""
    assert elected(TEXTS, [0.1, 0.2, 0.3, 0.9, 0.05, 0.6], weighted=True) == 5
    assert elected(TEXTS, [0.1, 0.5, 0.3, 0.9, 0.05, 0.6], weighted=True) == 1


def test_who_has_no_number_does_not_vote() -> None:
    assert elected(["no", "idea"], [1.0, 2.0], weighted=False) is None
    assert elected(["no", "idea", "1"], [1.0, 2.0, -1.0], weighted=True) == 2
