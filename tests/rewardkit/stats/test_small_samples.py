"""Bounds of small samples beside scipy and beside published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from rewardkit.stats.small_samples import (
    beta_quantile,
    difference_bounds,
    effective_number,
    incomplete_beta,
    is_enough,
    mean_bounds,
    share_bounds,
)


def test_incomplete_beta_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        a, b = np.exp(rng.uniform(-3, 8, 2))
        for x in (float(rng.random()), float(np.clip(a / (a + b) + 0.05 * rng.normal(), 1e-3, 1 - 1e-3)), 0.0, 1.0):
            assert incomplete_beta(x, a, b) == pytest.approx(special.betainc(a, b, x), abs=1e-9)


def test_beta_quantile_turns_it_round() -> None:
    for a, b in ((0.5, 0.5), (3.0, 7.0), (1.0, 40.0), (0.2, 900.0)):
        assert beta_quantile(0.025, a, b) == pytest.approx(stats.beta.ppf(0.025, a, b), abs=1e-9)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 1, 0, 0.975), (1, 1, 0.025, 1), (0, 10, 0, 0.3085), (10, 10, 0.6915, 1), (7, 10, 0.3475, 0.9333)],
)
def test_share_bounds_are_those_of_clopper_and_pearson(hits: int, total: int, low: float, high: float) -> None:
    assert share_bounds(hits / total, total) == pytest.approx((low, high), abs=1e-4)
    assert share_bounds(1 - hits / total, total) == pytest.approx((1 - high, 1 - low), abs=1e-4)
    exact = stats.binomtest(hits, total).proportion_ci(method="exact")
    assert share_bounds(hits / total, total) == pytest.approx((exact.low, exact.high))


def test_share_bounds_hold_for_parts_of_hits() -> None:
    """Units that are a hit by a part vary less than a coin of the same mean, so the truth is covered more often."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        low, high = share_bounds(float(rng.beta(2, 3, 4).mean()), 4)
        covered += low <= 0.4 <= high
    assert covered >= 390


def test_difference_bounds_are_wide_where_little_differs() -> None:
    assert difference_bounds(0.0, 0.0, 1) == pytest.approx((-0.9875, 0.9875))
    assert difference_bounds(1.0, 0.0, 5)[0] < 0  # five of five: sign test p = 0.0625
    assert difference_bounds(1.0, 0.0, 7)[0] > 0
    low, high = difference_bounds(0.5, 0.2, 9)
    assert difference_bounds(0.2, 0.5, 9) == pytest.approx((-high, -low))


def test_mean_bounds_are_students() -> None:
    for num_units in (2, 3, 9):
        reach = stats.t.ppf(0.975, num_units - 1) * 0.7
        assert mean_bounds(1.5, 0.7, num_units) == pytest.approx((1.5 - reach, 1.5 + reach))
    assert all(math.isnan(bound) for bound in (*mean_bounds(1.5, 0.7, 1), *mean_bounds(1.5, 0.0, 8)))


def test_effective_number_by_hand() -> None:
    assert effective_number(np.full(7, 2.5)) == pytest.approx(7)
    assert effective_number(np.array([100.0, 1.0])) == pytest.approx(101**2 / 10001)
    assert effective_number(np.zeros(3)) == 0


def test_enough_is_ten_units_and_five_hits_and_misses() -> None:
    assert is_enough(0.5, 10)
    assert not is_enough(0.5, 9.9)
    assert not is_enough(0.6, 10)
    assert is_enough(0.95, 100)
    assert not is_enough(0.96, 100)
