"""How much people's reliability differs: figures by hand, and against people whose reliability is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import f as fisher

from rewardkit.heads.voter_skill import VoterSkill, voter_skill


def four_people(num_pairs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three who always say what the fourth says on every other pair."""
    pair, person = np.divmod(np.arange(4 * num_pairs), 4)
    return pair, person, np.where((person == 3) & (pair % 2 == 1), -1, 1)


def test_figures_by_hand() -> None:
    """On 8 pairs: products of the three are 1 and 1/3 by turns, mean 2/3; of the fourth 1 and -1, mean 0; in all 1/2.

    MSB = 8 (3 (1/6)^2 + (1/2)^2) / 3 = 8/9, MSW = (3 * 8 / 9 + 8) / 28 = 8/21, n_0 = 8.
    """
    pair, person, vote = four_people(8)
    skill = voter_skill(pair, person, vote)
    assert skill.skill.tolist() == pytest.approx([4 / 3, 4 / 3, 4 / 3, 0.0])
    assert skill.num_votes.tolist() == [8, 8, 8, 8]
    assert skill.spread == pytest.approx(math.sqrt((8 / 9 - 8 / 21) / 8) / 0.5)
    assert skill.p_value == pytest.approx(fisher.sf(21 / 9, 3, 28))


def test_neither_which_answer_stands_first_nor_ties_nor_pairs_of_one_vote_change_it() -> None:
    pair, person, vote = four_people(8)
    turned = np.where(pair % 3 == 0, -vote, vote)
    more = [np.concatenate(both) for both in ((pair, [8, 9, 9]), (person, [3, 0, 1]), (turned, [1, 0, 1]))]
    one, other = voter_skill(pair, person, vote), voter_skill(more[0], more[1], more[2])
    assert other.spread == pytest.approx(one.spread)
    assert other.num_votes.tolist() == one.num_votes.tolist()


def simulated(right: np.ndarray, seed: int, num_pairs: int) -> VoterSkill:
    """Three of the people on each pair; pairs are of all degrees of difficulty."""
    rng = np.random.default_rng(seed)
    person = np.argsort(rng.random((num_pairs, len(right))), axis=1)[:, :3].ravel()
    pair = np.repeat(np.arange(num_pairs), 3)
    says = 0.5 + (right[person] - 0.5) * rng.uniform(0.4, 1.0, num_pairs)[pair]
    return voter_skill(pair, person, np.where(rng.random(len(pair)) < says, 1, -1))


def test_the_spread_is_that_of_the_people() -> None:
    right = np.array([0.95] * 8 + [0.5] * 4)
    truth = (right - 0.5).std(ddof=1) / (right - 0.5).mean()  # 0.74
    drawn = [simulated(right, seed, 600) for seed in range(20)]
    assert np.mean([each.spread for each in drawn]) == pytest.approx(truth, rel=0.15)
    assert max(each.p_value for each in drawn) < 0.01
    assert np.mean([each.skill for each in drawn], axis=0).argsort()[:4].max() > 7


def test_people_who_are_alike_are_seldom_told_apart() -> None:
    p_values = [simulated(np.full(12, 0.85), seed, 200).p_value for seed in range(200)]
    assert 0.005 <= np.mean(np.array(p_values) < 0.05) <= 0.1


@pytest.mark.parametrize(
    ("pair", "person", "vote"),
    [([], [], []), ([0, 1], [0, 1], [1, 1]), ([0, 0], [0, 1], [1, -1]), ([0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 1])],
)
def test_too_little_says_nothing(pair: list[int], person: list[int], vote: list[int]) -> None:
    skill = voter_skill(np.array(pair, dtype=int), np.array(person, dtype=int), np.array(vote))
    assert math.isnan(skill.spread)
    assert math.isnan(skill.p_value)
