"""Reliabilities learned with the head: gradient, recovery of who is reliable, and what it buys over believing all."""

from __future__ import annotations

import numpy as np
from scipy.optimize import approx_fprime
from scipy.special import expit

from rewardkit.heads.annotator_reliability import crowd_objective, fit_crowd_head
from rewardkit.heads.fit import Pairs, fit_head, held_out_nll, make_pairs

RELIABILITY = np.array([0.97, 0.95, 0.9, 0.55, 0.5, 0.1])


def crowd(rng: np.random.Generator, count: int, theta: np.ndarray) -> tuple[Pairs, np.ndarray]:
    annotator = rng.integers(0, len(RELIABILITY), count)
    differences = rng.standard_normal((count, len(theta)))
    prefers = rng.random(count) < expit(differences @ theta)
    right = rng.random(count) < RELIABILITY[annotator]
    return make_pairs(differences, (prefers == right).astype(float)), annotator


def test_gradient_is_the_numeric_one() -> None:
    rng = np.random.default_rng(0)
    votes, annotator = crowd(rng, 80, np.array([2.0, -1.0, 0.5]))
    votes = make_pairs(votes.differences, np.linspace(0, 1, 80), weight=rng.uniform(0, 2, 80))
    at = rng.standard_normal(3 + len(RELIABILITY))
    _, gradient = crowd_objective(at, votes, annotator, 0.3)
    numeric = approx_fprime(at, lambda x: crowd_objective(x, votes, annotator, 0.3)[0], 1e-7)
    np.testing.assert_allclose(gradient, numeric, atol=2e-4)


def test_recovers_who_is_reliable_and_predicts_better_than_believing_all() -> None:
    rng = np.random.default_rng(1)
    theta = np.array([3.0, -2.0, 1.0, 0.0, 2.0])
    votes, annotator = crowd(rng, 3000, theta)
    fit = fit_crowd_head(votes, annotator, prior_precision=0.1)
    assert fit.head.converged
    np.testing.assert_allclose(fit.reliability, RELIABILITY, atol=0.08)
    np.testing.assert_allclose(fit.head.weights, theta, atol=0.7)
    truth = rng.standard_normal((2000, 5))
    tests = make_pairs(truth, expit(truth @ theta))
    believing = fit_head(votes, prior_precision=0.1)
    assert held_out_nll(fit.head.weights, tests) < held_out_nll(believing.weights, tests) - 0.05


def test_given_reliabilities_equal_learned_ones_where_they_agree() -> None:
    rng = np.random.default_rng(2)
    votes, annotator = crowd(rng, 1500, np.array([2.0, -2.0]))
    learned = fit_crowd_head(votes, annotator, prior_precision=0.5)
    given = make_pairs(votes.differences, votes.p_chosen, reliability=learned.reliability[annotator])
    np.testing.assert_allclose(fit_head(given, prior_precision=0.5).weights, learned.head.weights, atol=1e-4)
