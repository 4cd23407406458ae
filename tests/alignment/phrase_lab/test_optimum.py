"""The policy that a KL holds: its closed form beside all replies counted out one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from alignment.best_of_n.value import kl_bound
from alignment.phrase_lab.optimum import divergence, expected_sum, tilted, uwo_optimum
from rewardkit.reward.reward import Reward, conservative

SHARES = np.array([[0.5, 0.3, 0.2], [0.7, 0.2, 0.1], [0.9, 0.06, 0.04]])


def every_reply(num_phrases: int, num_counts: int) -> np.ndarray:
    return np.array(list(product(range(num_counts), repeat=num_phrases)))


def probabilities(policy: np.ndarray, replies: np.ndarray) -> np.ndarray:
    """(R,) of replies under independent phrases, (D, V)."""
    return policy[np.arange(len(policy)), replies].prod(1)


def test_one_phrase_by_hand() -> None:
    """p = 1 / 2, reward log 3 for the phrase, beta 1: q = 3 / 4, KL = 3/4 log 3/2 + 1/4 log 1/2; beta infinite: p."""
    policy = tilted(np.array([[0.5, 0.5]]), np.array([[0.0, np.log(3)]]), np.array([1.0, 0.0]))
    assert policy[0, :, 0] == pytest.approx([0.25, 0.75])
    assert policy[0, :, 1] == pytest.approx([0.5, 0.5])
    assert divergence(policy, np.array([[0.5, 0.5]])) == pytest.approx([0.75 * np.log(1.5) + 0.25 * np.log(0.5), 0.0])
    assert expected_sum(policy, np.array([[2.0, 6.0]])) == pytest.approx([5.0, 4.0])


@pytest.mark.parametrize("beta", [0.2, 1.0, 5.0])
def test_the_closed_form_is_the_best_of_all_policies_for_a_sum_over_phrases(beta: float) -> None:
    """Over all 27 replies q is proportional to p exp(r / beta), phrases independent or not."""
    rewards, gold = np.random.default_rng(0).normal(size=(2, 3, 3))
    replies = every_reply(3, 3)
    base = probabilities(SHARES, replies)
    best = base * np.exp(rewards[np.arange(3), replies].sum(1) / beta)
    best /= best.sum()
    policy = tilted(SHARES, rewards, np.array([1 / beta]))
    assert probabilities(policy[:, :, 0], replies) == pytest.approx(best)
    assert divergence(policy, SHARES)[0] == pytest.approx((best * np.log(best / base)).sum())
    assert expected_sum(policy, gold)[0] == pytest.approx((best * gold[np.arange(3), replies].sum(1)).sum())


def test_no_independent_phrases_are_better_under_uwo() -> None:
    """Over all pairs of chances of two phrases on a grid, by the conservative rule of every reply itself."""
    shares = np.array([[0.6, 0.4], [0.8, 0.2]])
    members = np.array([[1.0, 1.0], [2.0, 0.6], [0.5, 0.8]])
    replies = every_reply(2, 2)
    rewards = conservative(Reward(members=members @ replies.T), "uwo", strength=0.7)
    grid = np.linspace(0.005, 0.995, 199)
    one, other = (side.ravel() for side in np.meshgrid(grid, grid))
    chances = np.array([[1 - one, one], [1 - other, other]])  # (D, V, N)
    drawn = np.array([chances[0, first] * chances[1, second] for first, second in replies])
    objective = rewards @ drawn - 0.4 * divergence(chances, shares)
    top = objective.argmax()
    policy = uwo_optimum(shares, members, np.array([1 / 0.4]), np.array([0.7]))
    assert policy[:, 1, 0] == pytest.approx([one[top], other[top]], abs=4e-3)
    assert (
        rewards @ probabilities(policy[:, :, 0], replies) - 0.4 * divergence(policy, shares)[0] >= objective[top] - 1e-6
    )


def test_uwo_is_stationary_where_phrases_repeat() -> None:
    """What a move of chance from one count of a phrase to another would bring is 0, by differences."""
    members = np.random.default_rng(1).normal(size=(4, 3))
    inverse_beta, strength = np.array([0.5, 1.0, 2.0]), np.array([0.3, 1.0, 0.5])
    policies = uwo_optimum(SHARES, members, inverse_beta, strength)
    replies = every_reply(3, 3)
    for place in range(3):
        rewards = conservative(Reward(members=members @ replies.T), "uwo", strength=strength[place])

        def objective(policy: np.ndarray, rewards: np.ndarray = rewards, place: int = place) -> float:
            kl = float(divergence(policy[:, :, None], SHARES)[0])
            return float(rewards @ probabilities(policy, replies)) - kl / inverse_beta[place]

        best = policies[:, :, place]
        assert best.min() > 1e-6  # or differences would be of rounding alone
        for phrase, count in product(range(3), (1, 2)):
            step = np.zeros((3, 3))
            step[phrase, [0, count]] = best[phrase].min() * np.array([-1e-3, 1e-3])
            slope = (objective(best + step) - objective(best - step)) / (2 * step[phrase, count])
            assert slope == pytest.approx(0.0, abs=2e-3)


def test_without_strength_uwo_is_the_mean() -> None:
    members = np.random.default_rng(2).normal(size=(3, 3))
    mean = members.mean(0)[:, None] * np.arange(3)
    inverse_beta = np.array([0.5, 3.0])
    assert uwo_optimum(SHARES, members, inverse_beta, np.zeros(2)) == pytest.approx(tilted(SHARES, mean, inverse_beta))


@pytest.mark.parametrize("n", [2, 4, 16])
def test_kl_of_the_best_of_n_is_its_bound_where_replies_hardly_repeat(n: int) -> None:
    """All 4,096 replies of twelve phrases, each with a reward of its own: q(x) = F(x)^n - F(before x)^n."""
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.3, 0.7, 12)
    replies = every_reply(12, 2)
    base = probabilities(np.stack([1 - chance, chance], 1), replies)[np.argsort(replies @ rng.normal(size=12))]
    up_to = base.cumsum()
    best = up_to**n - np.concatenate(([0.0], up_to[:-1])) ** n
    kl = float((best * np.log(best / base)).sum())
    assert kl <= kl_bound(n)
    assert kl == pytest.approx(kl_bound(n), rel=0.01)
