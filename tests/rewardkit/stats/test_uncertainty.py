"""Uncertainty of K members, by hand-worked numbers, limits, symmetry and quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit

from rewardkit.stats.uncertainty import (
    binary_entropy,
    epistemic_std,
    gaussian_mutual_information,
    gaussian_probability,
    integrated_probability,
    mutual_information,
    relative_std,
    sigmoid,
    vote_entropy,
)

members = st.tuples(st.integers(1, 6), st.integers(1, 8)).flatmap(
    lambda shape: arrays(float, shape, elements=st.floats(0, 1))
)


def test_sigmoid_is_scipys_and_never_overflows() -> None:
    margins = np.array([-1000.0, -40.0, -1.5, 0.0, 2.0, 1000.0])
    np.testing.assert_allclose(sigmoid(margins), expit(margins), rtol=1e-14)


def test_std_of_margins_by_hand() -> None:
    # Members say 1, 2, 6: mean 3, squared gaps 4 + 1 + 9 = 14, over 2 is 7.
    margins = np.array([[1.0, 0.5], [2.0, 0.5], [6.0, 0.5]])
    np.testing.assert_allclose(epistemic_std(margins), [math.sqrt(7), 0.0])
    np.testing.assert_array_equal(epistemic_std(margins[:1]), [0.0, 0.0])


def test_relative_std_and_vote_entropy_by_hand() -> None:
    # margins 1, 3: std sqrt 2 over mean 2; 1, -1: mean 0; 0, 2: half a vote and one, entropy of 3/4
    margins = np.array([[1.0, 1.0, 0.0], [3.0, -1.0, 2.0]])
    np.testing.assert_allclose(relative_std(margins), [math.sqrt(2) / 2, math.inf, math.sqrt(2)])
    np.testing.assert_allclose(vote_entropy(margins), [0.0, math.log(2), 0.562335], atol=1e-6)
    for measure in (relative_std, vote_entropy):  # which of the two is called the first decides nothing
        np.testing.assert_allclose(measure(-margins), measure(margins))
        np.testing.assert_allclose(measure(10 * margins), measure(margins))  # nor the unit of the reward


def test_integrated_probability_by_hand() -> None:
    # sigma(ln 3) = 3/4 and sigma(-ln 9) = 1/10: their mean is 0.425; the mean margin says 0.366.
    margins = np.array([[math.log(3)], [-math.log(9)]])
    np.testing.assert_allclose(integrated_probability(margins), [0.425])


def test_entropy_by_hand() -> None:
    # H(1/4) = ln 4 - (3/4) ln 3
    expected = [0.0, math.log(4) - 0.75 * math.log(3), math.log(2), 0.0]
    np.testing.assert_allclose(binary_entropy(np.array([0.0, 0.25, 0.5, 1.0])), expected, atol=1e-15)


def test_mutual_information_by_hand() -> None:
    # Members 1/4 and 3/4: H[1/2] = ln 2, each H = ln 4 - (3/4) ln 3, so I = (3/4) ln 3 - ln 2 = 0.130812.
    assert mutual_information(np.array([[0.25], [0.75]]))[0] == pytest.approx(0.75 * math.log(3) - math.log(2))
    assert mutual_information(np.array([[0.25], [0.75]]))[0] == pytest.approx(0.130812, abs=1e-6)


def test_members_that_agree_leave_nothing_to_learn_and_total_disagreement_ln_2() -> None:
    agreed = np.full((4, 3), 1.0) * np.array([0.5, 0.9, 1.0])
    np.testing.assert_allclose(mutual_information(agreed), 0.0, atol=1e-15)
    assert mutual_information(np.array([[0.0], [1.0]]))[0] == pytest.approx(math.log(2))
    # Three to one: H(1/4), less than the even split
    assert mutual_information(np.array([[0.0], [1.0], [1.0], [1.0]]))[0] == pytest.approx(0.5623351446)


def test_sure_disagreement_teaches_more_than_a_shared_toss_up() -> None:
    disagree, toss_up = mutual_information(np.array([[0.1, 0.5], [0.9, 0.5]]))
    assert disagree > 0.3
    assert toss_up == 0.0


@given(members)
def test_mutual_information_is_bounded_and_blind_to_sides_and_to_the_members_order(probabilities: np.ndarray) -> None:
    information = mutual_information(probabilities)
    assert (information >= 0).all()
    assert (information <= math.log(2) + 1e-12).all()
    np.testing.assert_allclose(mutual_information(1.0 - probabilities), information, atol=1e-12)
    np.testing.assert_allclose(mutual_information(probabilities[::-1]), information, atol=1e-12)


@given(members)
def test_mutual_information_is_the_mean_divergence_of_members_from_their_mean(probabilities: np.ndarray) -> None:
    for column, information in zip(probabilities.T, mutual_information(probabilities), strict=True):
        mean, divergences = column.mean(), []
        for p in column:
            parts = [(p, mean), (1 - p, 1 - mean)]
            divergences.append(sum(a * math.log(a / b) for a, b in parts if a > 0 and b > 0))
        assert information == pytest.approx(np.mean(divergences), abs=1e-9)


def test_values_without_rows_of_members_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3,\)"):
        mutual_information(np.array([0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match=r"\(0, 3\)"):
        epistemic_std(np.zeros((0, 3)))


def test_quadrature_of_a_normal_margin_is_monte_carlos() -> None:
    rng = np.random.default_rng(0)
    mean, std = np.array([0.0, 1.5, -3.0, 0.4]), np.array([1.0, 0.3, 4.0, 10.0])
    draws = sigmoid(mean + std * rng.standard_normal((400_000, 4)))
    assert gaussian_probability(mean, std) == pytest.approx(draws.mean(0), abs=3e-3)
    assert gaussian_mutual_information(mean, std) == pytest.approx(mutual_information(draws), abs=2e-3)


def test_a_normal_margin_by_hand() -> None:
    # nothing to learn of a margin that is known; next to nothing: p (1 - p) / 2 times the variance of 1e-4, p = 1/2
    assert gaussian_mutual_information(np.array([0.0, 2.0]), np.zeros(2)) == pytest.approx([0.0, 0.0], abs=1e-12)
    assert gaussian_mutual_information(np.zeros(1), np.array([0.01]))[0] == pytest.approx(0.25 / 2 * 1e-4, rel=1e-3)
    # a very wide margin is a coin thrown already: a vote tells nearly all of ln 2, less E H[sigma(d)], which is the
    # integral of H[sigma(x)] over x, pi^2 / 3, times the density near 0, 1 / (10 sqrt(2 pi))
    wide = math.log(2) - math.pi**2 / 3 / (10 * math.sqrt(2 * math.pi))
    assert gaussian_mutual_information(np.zeros(1), np.array([10.0]))[0] == pytest.approx(wide, abs=5e-3)
    # the order of the two completions does not matter
    mean, std = np.array([0.7, 2.0]), np.array([2.0, 0.5])
    assert gaussian_mutual_information(-mean, std) == pytest.approx(gaussian_mutual_information(mean, std))
    assert gaussian_probability(-mean, std) == pytest.approx(1 - gaussian_probability(mean, std))
