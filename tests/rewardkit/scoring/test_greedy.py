"""Pairs chosen one after the other: rank-one updates against the whole covariance, and numbers by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rewardkit.scoring.acquisition import measure_normal, order, prioritise
from rewardkit.scoring.greedy import GaussianMargins, GreedyChoice, greedy_order


def some_margins(seed: int = 0, count: int = 12, width: int = 5) -> GaussianMargins:
    rng = np.random.default_rng(seed)
    return GaussianMargins(
        mean=rng.normal(size=count), root=rng.normal(size=(count, width)), probability=rng.uniform(0.05, 0.95, count)
    )


def covariance_given(margins: GaussianMargins, votes: list[int]) -> np.ndarray:
    """C - C_V (C_VV + S_V^-1)^-1 C_V^T, all votes at once."""
    covariance = margins.root @ margins.root.T
    s = margins.probability * (1 - margins.probability)
    noisy = covariance[np.ix_(votes, votes)] + np.diag(1 / s[votes])
    return covariance - covariance[:, votes] @ np.linalg.solve(noisy, covariance[votes])


def test_two_pairs_by_hand():
    # D = (2, 0), (1, 1): C = [[4, 2], [2, 2]]; p = 1/2 both, s = 1/4, so 1 / s = 4
    margins = GaussianMargins(
        mean=np.zeros(2), root=np.array([[2.0, 0.0], [1.0, 1.0]]), probability=np.array([0.5, 0.5])
    )
    # epig: (s^2 4^2 + s^2 2^2) / 2 / (4 + 4) = (20 / 16) / 16 = 0.078125;  (s^2 2^2 + s^2 2^2) / 2 / 6 = 0.0416667
    choice = GreedyChoice(margins, "epig")
    assert choice.gains() == pytest.approx([0.078125, 0.0416667], abs=1e-7)
    choice.learn(0)  # C = [[4 - 16/8, 2 - 8/8], [1, 2 - 4/8]] = [[2, 1], [1, 1.5]]
    # (4 + 1) / 32 / 6 = 0.0260417;  (1 + 2.25) / 32 / 5.5 = 0.0184659
    assert choice.gains() == pytest.approx([0.0260417, 0.0184659], abs=1e-7)
    # log_det: log(1 + 4/4) / 2, log(1 + 2/4) / 2, and after the first log(1 + 2/4) / 2, log(1 + 1.5/4) / 2
    choice = GreedyChoice(margins, "log_det")
    assert choice.gains() == pytest.approx([math.log(2) / 2, math.log(1.5) / 2])
    choice.learn(0)
    assert choice.gains() == pytest.approx([math.log(1.5) / 2, math.log(1.375) / 2])


@pytest.mark.parametrize("seed", range(3))
def test_epig_by_rank_one_updates_is_that_of_the_whole_covariance(seed):
    margins = some_margins(seed)
    s = margins.probability * (1 - margins.probability)
    choice, votes = GreedyChoice(margins, "epig"), []
    for _ in range(6):
        before = np.diag(covariance_given(margins, votes))
        naive = [np.mean(s**2 * (before - np.diag(covariance_given(margins, [*votes, n])))) for n in range(12)]
        assert choice.gains() == pytest.approx(naive)  # also of a pair that is chosen already
        votes.append(max(set(range(12)) - set(votes), key=lambda n: naive[n]))
        choice.learn(votes[-1])
    assert list(greedy_order(margins, "epig", 6)) == votes


@pytest.mark.parametrize("seed", range(3))
def test_log_det_batch_is_the_one_of_determinants(seed):
    margins = some_margins(seed)
    s = margins.probability * (1 - margins.probability)
    kernel = np.sqrt(s)[:, None] * (margins.root @ margins.root.T) * np.sqrt(s)

    def information(votes: list[int]) -> float:
        return 0.5 * np.linalg.slogdet(np.eye(len(votes)) + kernel[np.ix_(votes, votes)])[1]

    choice, votes, last = GreedyChoice(margins, "log_det"), [], np.full(12, np.inf)
    for _ in range(6):
        left = [n for n in range(12) if n not in votes]
        naive = {n: information([*votes, n]) - information(votes) for n in left}
        gains = choice.gains()
        assert {n: gains[n] for n in left} == pytest.approx(naive)
        assert (gains <= last + 1e-12).all()
        votes.append(max(left, key=lambda n: naive[n]))
        choice.learn(votes[-1])
        last = gains
    assert list(greedy_order(margins, "log_det", 6)) == votes


def test_a_twin_is_not_chosen_beside_its_twin():
    # three pairs, the first two the same: mutual information takes both, log_det one of each
    margins = GaussianMargins(
        mean=np.zeros(3), root=np.array([[3.0, 0.0], [3.0, 0.0], [0.0, 2.5]]), probability=np.full(3, 0.5)
    )
    found = measure_normal(margins)
    assert list(order(prioritise(found, "mutual_information"))) == [0, 1, 2]
    assert list(order(prioritise(found, "log_det"))) == [0, 2, 1]
    assert prioritise(found, "log_det", top=2).tolist() == [2.0, 0.0, 1.0]
