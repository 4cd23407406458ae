"""Best of k by order statistics: hand-worked numbers, every subset counted, and what chance says."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.best_of_n.value import best_of_k, expected_best, kl_bound, order_weights


def by_subsets(rewards: list[float], values: list[float], k: int) -> float:
    """The mean over all subsets of size k of the mean value of their best."""
    found = []
    for subset in combinations(range(len(rewards)), k):
        top = max(rewards[place] for place in subset)
        found.append(np.mean([values[place] for place in subset if rewards[place] == top]))
    return float(np.mean(found))


def test_three_rewards_by_hand() -> None:
    """Of 1, 2, 6: one is 3 on average; the pairs' best are 2, 6, 6; all three give 6."""
    assert expected_best(np.array([[6.0, 1.0, 2.0]]))[0].tolist() == pytest.approx([3.0, 14 / 3, 6.0])


def test_another_reward_of_what_is_chosen_by_hand() -> None:
    """Rewards 5, 5, 1 with values 10, 0, 7. Pairs: {5, 5} gives (10 + 0) / 2, {5, 1} 10 and 0: 5 on average."""
    found = expected_best(np.array([[5.0, 5.0, 1.0]]), np.array([[10.0, 0.0, 7.0]]))[0]
    assert found.tolist() == pytest.approx([17 / 3, 5.0, 5.0])


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-9, 9)), min_size=1, max_size=7), st.integers(1, 7))
def test_every_subset_is_counted_ties_among_them(pairs: list[tuple[int, int]], k: int) -> None:
    rewards, values = ([float(one[side]) for one in pairs] for side in (0, 1))
    k = min(k, len(pairs))
    found = expected_best(np.array([rewards]), np.array([values]))[0, k - 1]
    assert found == pytest.approx(by_subsets(rewards, values, k), abs=1e-9)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_weights_are_those_of_the_formula(n: int) -> None:
    expected = [
        [float(Fraction(math.comb(i - 1, k - 1), math.comb(n, k))) for i in range(1, n + 1)] for k in range(1, n + 1)
    ]
    np.testing.assert_allclose(order_weights(n), expected, atol=1e-15)


def test_weights_of_many_draws_add_up() -> None:
    weights = order_weights(3000)
    np.testing.assert_allclose(weights.sum(1), 1.0, rtol=1e-10)
    assert (weights >= 0).all()


def test_uniform_rewards_have_the_known_maximum() -> None:
    """E max of k uniform draws is k / (k + 1); 4,000 prompts of 8 know it to about 0.001."""
    rewards = np.random.default_rng(0).random((4000, 8))
    found = expected_best(rewards).mean(0)
    np.testing.assert_allclose(found, np.arange(1, 9) / np.arange(2, 10), atol=0.005)


def test_the_order_of_draws_and_a_shift_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    rewards, values = rng.normal(size=(6, 5)).round(), rng.normal(size=(6, 5))
    shuffled = rng.permutation(5)
    np.testing.assert_allclose(
        expected_best(rewards[:, shuffled], values[:, shuffled]), expected_best(rewards, values), atol=1e-12
    )
    np.testing.assert_allclose(expected_best(rewards * 3 - 7, values), expected_best(rewards, values), atol=1e-12)
    np.testing.assert_allclose(expected_best(rewards + 2), expected_best(rewards) + 2, atol=1e-12)


def test_kl_bound_by_hand() -> None:
    """log 1 - 0 = 0; log 2 - 1/2 = 0.193147; log 4 - 3/4 = 0.636294."""
    assert [kl_bound(k) for k in (1, 2, 4)] == pytest.approx([0.0, 0.193147, 0.636294], abs=1e-6)


@pytest.mark.parametrize("probabilities", [[0.5, 0.5], [0.7, 0.2, 0.1], [0.05] * 20])
@pytest.mark.parametrize("k", [2, 3, 8])
def test_kl_of_best_of_k_stays_below_its_bound(probabilities: list[float], k: int) -> None:
    """Completions in order of reward: best of k is the i-th with F_i^k - F_(i-1)^k."""
    below = np.concatenate(([0.0], np.cumsum(probabilities)))
    chosen = below[1:] ** k - below[:-1] ** k
    kl = float((chosen * np.log(chosen / probabilities)).sum())
    assert 0 < kl < kl_bound(k)
    if len(probabilities) == 20 and k == 2:
        assert kl > 0.9 * kl_bound(k)  # the more completions, the closer


def test_intervals_are_over_prompts() -> None:
    """The mean's interval is about 1.96 standard errors to each side; of one prompt's draws it knows nothing."""
    rewards = np.random.default_rng(2).normal(size=(400, 4))
    found = best_of_k(rewards, -rewards)
    assert [each.k for each in found] == [1, 2, 3, 4]
    by_prompt = expected_best(rewards)[:, 1]
    half = 1.96 * by_prompt.std(ddof=1) / 20
    assert found[1].reward.value == pytest.approx(by_prompt.mean())
    assert found[1].reward.low == pytest.approx(by_prompt.mean() - half, abs=0.15 * half)
    assert found[1].reward.high == pytest.approx(by_prompt.mean() + half, abs=0.15 * half)
    assert found[1].kl == kl_bound(2)
    for each in found:
        assert each.audit is not None
        assert each.audit.value == pytest.approx(-each.reward.value)
    assert best_of_k(rewards)[0].audit is None


@pytest.mark.parametrize(
    ("rewards", "values", "message"),
    [
        (np.zeros(3), None, "shape"),
        (np.zeros((2, 3)), np.zeros((3, 2)), "shape"),
        (np.array([[0.0, np.nan]]), None, "not finite"),
    ],
)
def test_bad_input(rewards: np.ndarray, values: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expected_best(rewards, values)
    with pytest.raises(ValueError, match="allowed is 1 or more"):
        kl_bound(0)
    with pytest.raises(ValueError, match="allowed is 1 or more"):
        order_weights(0)
