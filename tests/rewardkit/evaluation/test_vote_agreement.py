"""Models beside people, by hand-worked votes, a loop over single votes, and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.evaluation.vote_agreement import (
    entropy_floor,
    human_ceiling,
    majority_agreement,
    share_correlation_interval,
    vote_agreement,
)

ballots = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 4)).filter(any), min_size=1, max_size=10
)


def test_agreement_with_votes_by_hand() -> None:
    votes = np.array([[3, 0, 1], [3, 0, 1], [1, 2, 1], [2, 1, 0]])
    found = vote_agreement(np.array([0.4, -0.4, 1.0, 0.0]), votes)
    np.testing.assert_allclose(found, [3 / 4, 1 / 4, 1 / 2, 1 / 2])


def test_human_ceiling_by_hand() -> None:
    votes = np.array([[3, 0, 0], [2, 0, 1], [1, 0, 1], [3, 0, 2], [1, 0, 0], [2, 1, 0], [0, 2, 0]])
    # 3-0: each meets two alike: 1. 2-1: the two meet 1-1 (half each), the one meets 2-0 against it: 1/3. 1-1: both meet
    # the opposite: 0. 3-2: the three meet 2-2 (half each), the two meet 3-1 against them: 1.5/5. One vote: none.
    # 2 and a tie: the two meet 1-0 for them, the tie counts half: 2.5/3. Two ties: 1/2.
    np.testing.assert_allclose(human_ceiling(votes), [1, 1 / 3, 0, 0.3, math.nan, 2.5 / 3, 0.5])


@given(ballots)
def test_human_ceiling_is_the_loop_over_votes_left_out(rows: list[tuple[int, int, int]]) -> None:
    for row, found in zip(rows, human_ceiling(np.array(rows)), strict=True):
        if sum(row) < 2:
            assert math.isnan(found)
            continue
        agreements = []
        for kind in (0, 1, 2):
            for _ in range(row[kind]):
                others = list(row)
                others[kind] -= 1
                lead = np.sign(others[0] - others[2]) * {0: 1, 1: 0, 2: -1}[kind]
                agreements.append(0.5 + 0.5 * lead)
        assert found == pytest.approx(np.mean(agreements))


@given(ballots)
def test_swapping_sides_changes_nothing(rows: list[tuple[int, int, int]]) -> None:
    votes, margins = np.array(rows), np.linspace(-1, 1, len(rows))
    np.testing.assert_allclose(human_ceiling(votes), human_ceiling(votes[:, ::-1]))
    np.testing.assert_allclose(vote_agreement(margins, votes), vote_agreement(-margins, votes[:, ::-1]))


def test_the_ceiling_is_what_a_fresh_vote_finds_and_the_pairs_own_majority_is_above_it() -> None:
    rng = np.random.default_rng(0)
    rate = rng.beta(2, 2, 20000)
    chosen = rng.binomial(5, rate)
    votes = np.stack([chosen, np.zeros_like(chosen), 5 - chosen], 1)
    four = rng.binomial(4, rate)  # four people decide, a fifth comes
    fresh = rng.random(20000) < rate
    truth = np.mean(np.where(four == 2, 0.5, (four > 2) == fresh))
    assert human_ceiling(votes).mean() == pytest.approx(truth, abs=0.01)
    assert majority_agreement(chosen / 5).mean() > truth + 0.08


def share_correlation(q: np.ndarray, p: np.ndarray, weight: np.ndarray | None = None) -> float:
    weight = np.ones(len(p)) if weight is None else weight
    return share_correlation_interval(q, p, np.arange(len(p)), weight).value


def test_share_correlation_by_hand_and_at_its_limits() -> None:
    # q - 1/2 = .3, -.1; p - 1/2 = .5, .1: (.15 - .01) / sqrt(.1 * .26) = .8682
    q, p = np.array([0.8, 0.4]), np.array([1.0, 0.6])
    assert share_correlation(q, p) == pytest.approx(0.14 / math.sqrt(0.026))
    assert share_correlation(p, p) == pytest.approx(1.0)
    assert share_correlation(1 - p, p) == pytest.approx(-1.0)
    assert math.isnan(share_correlation(np.array([0.5, 0.5]), p))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 2)), min_size=2, max_size=20))
def test_share_correlation_is_pearsons_over_both_sides(rows: list[tuple[float, float, float]]) -> None:
    q, p, weight = np.array(rows).T
    expected = pearson(q, p, weight)
    if not math.isnan(expected):
        assert share_correlation(q, p, weight) == pytest.approx(expected, abs=1e-6)


def pearson(q: np.ndarray, p: np.ndarray, weight: np.ndarray) -> float:
    """By numpy, of both sides of every pair; nan where one has hardly any spread."""
    both = np.stack([np.concatenate((q, 1 - q)), np.concatenate((p, 1 - p))])
    covariance = np.cov(both, aweights=np.concatenate((weight, weight)), ddof=0)
    if covariance[0, 0] < 1e-9 or covariance[1, 1] < 1e-9:
        return math.nan
    return covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])


def test_the_interval_of_the_share_correlation_is_the_bootstrap_over_prompts() -> None:
    rng = np.random.default_rng(0)
    p, prompt, weight = rng.uniform(size=60), np.repeat(np.arange(30), 2), rng.uniform(0.5, 2, size=60)
    q = np.clip(p + rng.normal(scale=0.3, size=60), 0, 1)
    interval = share_correlation_interval(q, p, prompt, weight, seed=3)
    assert interval.value == pytest.approx(pearson(q, p, weight))
    draws = np.random.default_rng(3).multinomial(30, np.full(30, 1 / 30), 2000)
    naive = [pearson(q, p, weight * counts[prompt]) for counts in draws]
    np.testing.assert_allclose([interval.low, interval.high], np.quantile(naive, [0.025, 0.975]), atol=1e-9)
    assert math.isnan(share_correlation_interval(np.full(60, 0.5), p, prompt, weight).value)


def test_entropy_floor_by_hand() -> None:
    # H(3/4) = ln 4 - (3/4) ln 3, H(1) = 0
    expected = (math.log(4) - 0.75 * math.log(3)) / 2
    assert entropy_floor(np.array([0.75, 1.0])) == pytest.approx(expected)
