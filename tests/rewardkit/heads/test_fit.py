"""The fitted head: hand-worked numbers, gradients, scikit-learn as oracle, prior by cross-validation over prompts."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.optimize import approx_fprime, rosen, rosen_der
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from rewardkit.heads.fit import (
    Pairs,
    choose_prior_precision,
    fit_head,
    folds,
    head_objective,
    held_out_nll,
    make_pairs,
    minimise,
    vote_log_probabilities,
)


def simulated(count: int, num_features: int, *, seed: int = 0, scale: float = 1.0) -> tuple[Pairs, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = scale * rng.standard_normal(num_features) / np.sqrt(num_features)
    differences = rng.standard_normal((count, num_features))
    p_chosen = (rng.random(count) < 1 / (1 + np.exp(-differences @ truth))).astype(float)
    return make_pairs(differences, p_chosen, weight=rng.uniform(0.2, 2.0, count)), truth


def test_one_feature_by_hand() -> None:
    # d = theta; two votes for chosen, one against: sigma(theta) = 2/3 without a prior, theta = log 2
    pairs = make_pairs(np.ones((3, 1)), np.array([1.0, 1.0, 0.0]))
    fit = fit_head(pairs, prior_precision=1e-9)
    assert fit.converged
    assert fit.weights[0] == pytest.approx(np.log(2), abs=1e-5)
    assert fit.objective == pytest.approx(-2 * np.log(2 / 3) - np.log(1 / 3), abs=1e-6)


def test_a_soft_label_is_that_share_of_votes() -> None:
    soft = make_pairs(np.array([[1.0, -2.0], [0.5, 1.0]]), np.array([0.75, 0.6]), weight=np.array([4.0, 5.0]))
    rows = np.repeat(soft.differences, [4, 5], axis=0)
    votes = make_pairs(rows, np.array([1, 1, 1, 0, 1, 1, 1, 0, 0], dtype=float))
    np.testing.assert_allclose(
        fit_head(soft, prior_precision=0.1).weights, fit_head(votes, prior_precision=0.1).weights, atol=1e-5
    )


def test_vote_probabilities_by_hand() -> None:
    # sigma(log 3) = 3/4; q = 0.9: 0.9 * 0.75 + 0.1 * 0.25 = 0.7
    chosen, rejected, slope = vote_log_probabilities(np.full(3, np.log(3.0)), np.array([0.9, 1.0, 0.5]))
    np.testing.assert_allclose(np.exp(chosen), [0.7, 0.75, 0.5])
    np.testing.assert_allclose(np.exp(rejected), [0.3, 0.25, 0.5])
    np.testing.assert_allclose(np.exp(slope), 3 / 16)


@pytest.mark.parametrize("reliability", [1.0, 0.8, 0.3])
def test_gradient_is_the_numeric_one(reliability: float) -> None:
    pairs, truth = simulated(40, 5, scale=3.0)
    pairs = make_pairs(
        pairs.differences,
        np.linspace(0, 1, 40),
        weight=pairs.weight,
        reliability=np.full(40, reliability),
    )
    _, gradient = head_objective(truth, pairs, 0.7)
    numeric = approx_fprime(truth, lambda theta: head_objective(theta, pairs, 0.7)[0], 1e-7)
    np.testing.assert_allclose(gradient, numeric, atol=1e-4)


def test_extreme_margins_stay_finite() -> None:
    pairs = make_pairs(np.array([[2000.0], [-2000.0]]), np.array([1.0, 1.0]))
    value, gradient = head_objective(np.array([1.0]), pairs, 1.0)
    assert value == pytest.approx(2000.5)
    # slope of -log sigma(d) at d = -2000 is -1, times the feature -2000; the other pair's is 0; the prior adds 1
    assert gradient[0] == pytest.approx(2001.0)


@pytest.mark.parametrize("sparse", [False, True])
def test_equals_logistic_regression_on_differences(sparse: bool) -> None:
    pairs, _ = simulated(300, 12, scale=2.0)
    design = csr_array(pairs.differences) if sparse else pairs.differences
    fit = fit_head(make_pairs(design, pairs.p_chosen, weight=pairs.weight), prior_precision=4.0)
    oracle = LogisticRegression(C=1 / 4.0, fit_intercept=False, tol=1e-10, max_iter=10_000)
    oracle.fit(pairs.differences, pairs.p_chosen, sample_weight=pairs.weight)
    assert fit.converged
    np.testing.assert_allclose(fit.weights, oracle.coef_[0], atol=1e-5)


def test_swapping_every_pair_changes_nothing() -> None:
    pairs, _ = simulated(100, 6)
    swapped = make_pairs(-pairs.differences, 1 - pairs.p_chosen, weight=pairs.weight)
    np.testing.assert_allclose(
        fit_head(pairs, prior_precision=1.0).weights, fit_head(swapped, prior_precision=1.0).weights, atol=1e-6
    )


def test_coin_tossers_teach_nothing_and_liars_teach_the_opposite() -> None:
    pairs, _ = simulated(200, 4, scale=3.0)
    tossed = make_pairs(pairs.differences, pairs.p_chosen, reliability=np.full(200, 0.5))
    np.testing.assert_allclose(fit_head(tossed, prior_precision=1.0).weights, 0.0, atol=1e-9)
    honest = make_pairs(pairs.differences, pairs.p_chosen)
    lies = make_pairs(pairs.differences, pairs.p_chosen, reliability=np.zeros(200))
    np.testing.assert_allclose(
        fit_head(lies, prior_precision=1.0).weights, -fit_head(honest, prior_precision=1.0).weights, atol=1e-6
    )


def test_folds_keep_prompts_together_and_cover_every_row_once() -> None:
    prompt = np.array([7, 7, 1, 3, 3, 3, 9, 1, 5])
    parts = folds(prompt, num_folds=3, seed=0)
    assert sorted(np.concatenate([left_out for _, left_out in parts]).tolist()) == list(range(9))
    for kept, left_out in parts:
        assert not set(prompt[kept]) & set(prompt[left_out])
        assert len(kept) + len(left_out) == 9
    with pytest.raises(ValueError, match="two prompts"):
        folds(np.zeros(4), num_folds=3, seed=0)


def test_prior_is_strong_for_noise_and_weak_for_signal() -> None:
    rng = np.random.default_rng(1)
    differences = rng.standard_normal((400, 50))
    noise = make_pairs(differences, (rng.random(400) < 0.5).astype(float))
    signal = make_pairs(differences[:, :3], (differences[:, 0] > 0).astype(float))
    strong = choose_prior_precision(noise, seed=0)
    weak = choose_prior_precision(signal, seed=0)
    assert strong.prior_precision >= 100 > 0.1 >= weak.prior_precision
    assert strong.nll[strong.prior_precision] == min(strong.nll.values())
    # what is reported is the average over folds of what was never fitted to
    assert strong.nll[1e4] == pytest.approx(np.log(2), abs=0.02)


def test_held_out_nll_through_reliability_by_hand() -> None:
    pairs = make_pairs(np.array([[np.log(3.0)]]), np.array([1.0]), reliability=np.array([0.9]))
    assert held_out_nll(np.array([1.0]), pairs) == pytest.approx(-np.log(0.7))


@pytest.mark.parametrize("prior_precision", [0.0, -1.0, float("nan")])
def test_a_prior_that_is_none_is_refused(prior_precision: float) -> None:
    with pytest.raises(ValueError, match="prior_precision is"):
        fit_head(make_pairs(np.ones((2, 1)), np.ones(2)), prior_precision=prior_precision)


def test_nothing_to_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to fit"):
        fit_head(make_pairs(np.ones((2, 1)), np.ones(2), weight=np.zeros(2)), prior_precision=1.0)
    with pytest.raises(ValueError, match="weight has shape"):
        make_pairs(np.ones((2, 1)), np.ones(2), weight=np.zeros(3))


def test_a_minimisation_cut_short_is_not_converged() -> None:
    start = np.array([-1.2, 1.0])
    minimum = minimise(lambda x: (float(rosen(x)), rosen_der(x)), start, tolerance=1e-8, max_iterations=3)
    assert (minimum.converged, minimum.num_iterations) == (False, 3)
    assert minimum.value < rosen(start)


def test_a_minimum_to_start_from_takes_no_step() -> None:
    minimum = minimise(lambda x: (float(x @ x), 2 * x), np.zeros(2), tolerance=1e-8, max_iterations=3)
    assert (minimum.converged, minimum.num_iterations) == (True, 0)


def test_a_converged_head_has_a_gradient_below_the_tolerance() -> None:
    pairs, _ = simulated(300, 12, scale=2.0)
    fit = fit_head(pairs, prior_precision=4.0, tolerance=1e-6)
    _, gradient = head_objective(fit.weights, pairs, 4.0)
    assert fit.converged
    assert np.abs(gradient).max() / pairs.weight.sum() <= 1e-6


@pytest.mark.slow
def test_thousands_of_pairs_take_seconds() -> None:
    pairs, _ = simulated(4000, 384, scale=2.0)
    started = time.process_time()
    choice = choose_prior_precision(pairs, seed=0)
    assert fit_head(pairs, prior_precision=choice.prior_precision).converged
    assert time.process_time() - started < 30
