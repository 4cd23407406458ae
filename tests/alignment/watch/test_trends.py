"""Trends by hand, against a slow twin, at their limits, and at the level they claim."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, theilslopes

from alignment.watch.history import LIKELY, SURE, step_noise, trend

VALUES = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=14)


def slow(at: list[float], values: list[float]) -> tuple[float, float]:
    """z and rise pair by pair."""
    n, s, slopes = len(values), 0, []
    for i in range(n):
        for j in range(i + 1, n):
            s += (values[j] > values[i]) - (values[j] < values[i])
            slopes.append((values[j] - values[i]) / (at[j] - at[i]))
    counts = [values.count(each) for each in set(values)]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in counts)) / 18
    nearer = s - 1 if s > 0 else s + 1 if s < 0 else 0
    slopes.sort()
    middle = (slopes[(len(slopes) - 1) // 2] + slopes[len(slopes) // 2]) / 2
    return nearer / math.sqrt(variance) if variance else 0.0, middle * (at[-1] - at[0])


def test_by_hand() -> None:
    # 1 3 2 4: pairs +1 +1 +1, -1 +1, +1 = 4; Var = 4 * 3 * 13 / 18 = 26/3; z = 3 / sqrt(26/3)
    # slopes at steps 0 10 20 30: .2 .05 .1, -.1 .05, .2 -> sorted -.1 .05 .05 .1 .2 .2, median .075; times 30 = 2.25
    found = trend(np.array([0.0, 10, 20, 30]), np.array([1.0, 3, 2, 4]))
    assert found.z == pytest.approx(3 / math.sqrt(26 / 3))
    assert found.rise == pytest.approx(2.25)
    assert found.num == 4


def test_ties_take_from_the_variance() -> None:
    # 1 1 2: S = 0 + 1 + 1 = 2; Var = (3 * 2 * 11 - 2 * 1 * 9) / 18 = 48 / 18
    assert trend(np.arange(3.0), np.array([1.0, 1, 2])).z == pytest.approx(1 / math.sqrt(48 / 18))


@given(VALUES, st.integers(1, 7))
def test_fast_equals_slow(values: list[float], every: int) -> None:
    at = [float(every * k * k + k) for k in range(len(values))]
    found = trend(np.array(at), np.array(values))
    assert (found.z, found.rise) == pytest.approx(slow(at, values))


@given(VALUES.filter(lambda values: len(set(values)) > 1), st.integers(1, 7))
def test_scipy_finds_the_same_slope_and_the_same_order(values: list[float], every: int) -> None:
    at = np.arange(len(values)) * float(every)
    found = trend(at, np.array(values))
    assert found.rise == pytest.approx(theilslopes(values, at).slope * (at[-1] - at[0]))
    num_pairs = math.comb(len(values), 2)
    num_untied = num_pairs - sum(math.comb(values.count(each), 2) for each in set(values))
    s = round(kendalltau(at, values).statistic * math.sqrt(num_pairs * num_untied))  # tau-b
    assert np.sign(found.z) == (np.sign(s) if abs(s) > 1 else 0)


@given(VALUES)
def test_the_negative_falls_by_as_much(values: list[float]) -> None:
    at = np.arange(float(len(values)))
    one, other = trend(at, np.array(values)), trend(at, -np.array(values))
    assert (one.z, one.rise) == pytest.approx((-other.z, -other.rise))


def test_one_wild_point_hardly_moves_it() -> None:
    at = np.arange(20.0)
    straight, wild = at * 0.5, at * 0.5
    wild[10] = 1e6
    assert trend(at, wild).rise == pytest.approx(trend(at, straight).rise, rel=0.1)
    assert trend(at, wild).z > 0.8 * trend(at, straight).z


def test_nothing_is_said_of_nothing() -> None:
    assert trend(np.array([1.0]), np.array([2.0])).z == 0
    assert trend(np.arange(5.0), np.full(5, 3.0)) == trend(np.arange(5.0), np.full(5, 7.0))


@pytest.mark.parametrize("z", [LIKELY, SURE])
def test_noise_passes_as_often_as_the_level_says(z: float) -> None:
    rng = np.random.default_rng(0)
    found = [trend(np.arange(12.0), rng.standard_cauchy(12)).z > z for _ in range(2000)]
    level = 0.5 * math.erfc(z / math.sqrt(2))
    assert np.mean(found) == pytest.approx(level, abs=3 * math.sqrt(level / 2000))


def test_noise_is_that_of_points_about_a_trend_and_blind_to_spikes() -> None:
    # successive differences 2 -1 2 -1 2: their median 2, distances from it 0 3 0 3 0 -> median 0
    assert step_noise(np.array([0.0, 2, 1, 3, 2, 4])) == 0
    # 3 1 -2 1: median 1, distances 2 0 3 0 -> median 1
    assert step_noise(np.array([0.0, 3, 4, 2, 3])) == pytest.approx(1.4826 / math.sqrt(2))
    rng = np.random.default_rng(0)
    values = 0.3 * np.arange(4000) + 2 * rng.standard_normal(4000)
    values[::50] += 1e3
    assert step_noise(values) == pytest.approx(2, rel=0.1)
