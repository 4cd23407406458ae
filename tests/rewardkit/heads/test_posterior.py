"""The Laplace posterior: exact Hessian, calibrated on simulated data, drawn the same way dense and sparse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from rewardkit.heads.fit import fit_head, head_objective, make_pairs
from rewardkit.heads.posterior import Posterior, information, laplace_members, laplace_posterior


def numeric_hessian(theta: np.ndarray, pairs, prior: float) -> np.ndarray:
    step = 1e-5
    columns = []
    for unit in np.eye(len(theta)):
        up = head_objective(theta + step * unit, pairs, prior)[1]
        down = head_objective(theta - step * unit, pairs, prior)[1]
        columns.append((up - down) / (2 * step))
    return np.array(columns)


def votes(rng: np.random.Generator, differences: np.ndarray, theta: np.ndarray) -> np.ndarray:
    return (rng.random(len(differences)) < 1 / (1 + np.exp(-differences @ theta))).astype(float)


def test_covariance_is_the_inverse_of_the_numeric_hessian() -> None:
    rng = np.random.default_rng(0)
    differences = rng.standard_normal((60, 4)) * np.array([1.0, 2.0, 0.3, 1.0])
    pairs = make_pairs(differences, rng.uniform(0, 1, 60), weight=rng.uniform(0, 3, 60))
    fit = fit_head(pairs, prior_precision=0.5)
    posterior = laplace_posterior(fit, pairs)
    hessian = numeric_hessian(fit.weights, pairs, 0.5)
    np.testing.assert_allclose(posterior.covariance, np.linalg.inv(hessian), rtol=1e-5, atol=1e-8)


def test_one_pair_by_hand() -> None:
    # at d = 0 a pair tells sigma(0)^2 = 1/4 of its margin; x = (2, 0), w = 3: H = diag(3 * 4 / 4 + 1, 1) = diag(4, 1)
    pairs = make_pairs(np.array([[2.0, 0.0]]), np.array([0.5]), weight=np.array([3.0]))
    posterior = laplace_posterior(fit_head(pairs, prior_precision=1.0), pairs)
    mean, std = posterior.margins(np.array([[2.0, 0.0], [0.0, 5.0], [2.0, 1.0]]))
    np.testing.assert_allclose(mean, 0.0, atol=1e-12)
    np.testing.assert_allclose(std, [1.0, 5.0, np.sqrt(2.0)])


def test_information_through_reliability_by_hand() -> None:
    # q = 0.9 at d = 0: P = 1/2, dP/dd = 0.8 / 4 = 0.2, information 0.04 / 0.25 = 0.16
    pairs = make_pairs(np.array([[1.0], [1.0]]), np.array([0.5, 0.5]), reliability=np.array([0.9, 0.5]))
    fit = fit_head(pairs, prior_precision=1.0)
    np.testing.assert_allclose(information(fit, pairs), [0.16, 0.0], atol=1e-12)


def test_nothing_known_is_the_prior() -> None:
    pairs = make_pairs(np.ones((5, 3)), np.full(5, 0.5), reliability=np.full(5, 0.5))
    posterior = laplace_posterior(fit_head(pairs, prior_precision=4.0), pairs)
    np.testing.assert_allclose(posterior.covariance, np.eye(3) / 4)


def test_posterior_std_is_calibrated_on_simulated_data() -> None:
    rng = np.random.default_rng(3)
    z = []
    for _ in range(100):
        theta = rng.standard_normal(8) / np.sqrt(2.0)  # drawn from the prior of precision 2
        differences = rng.standard_normal((600, 8))
        pairs = make_pairs(differences, votes(rng, differences, theta))
        posterior = laplace_posterior(fit_head(pairs, prior_precision=2.0), pairs)
        tests = rng.standard_normal((50, 8))
        mean, std = posterior.margins(tests)
        z.append((tests @ theta - mean) / std)
    scores = np.concatenate(z)
    assert np.std(scores) == pytest.approx(1.0, abs=0.08)
    assert np.mean(np.abs(scores) < 1.645) == pytest.approx(0.90, abs=0.03)


def test_more_pairs_make_it_surer() -> None:
    rng = np.random.default_rng(4)
    differences = rng.standard_normal((800, 5))
    all_pairs = make_pairs(differences, votes(rng, differences, np.ones(5)))
    few = all_pairs.take(np.arange(100))
    tests = rng.standard_normal((20, 5))
    _, wide = laplace_posterior(fit_head(few, prior_precision=1.0), few).margins(tests)
    _, narrow = laplace_posterior(fit_head(all_pairs, prior_precision=1.0), all_pairs).margins(tests)
    assert np.all(narrow < wide)


def test_members_have_the_fitted_mean_and_the_posterior_covariance() -> None:
    rng = np.random.default_rng(5)
    factor = np.linalg.cholesky(np.array([[4.0, 1.0], [1.0, 2.0]]))
    posterior = Posterior(mean=np.array([1.0, -2.0]), factor=factor)
    members = posterior.members(20_000, rng)
    np.testing.assert_allclose(members.mean(0), posterior.mean, atol=1e-12)
    np.testing.assert_allclose(np.cov(members.T, ddof=1), posterior.covariance, atol=0.02)
    np.testing.assert_array_equal(posterior.members(1, rng), posterior.mean[None])


@pytest.mark.parametrize("sparse", [False, True])
def test_members_by_conjugate_gradients_have_the_posterior_covariance(sparse: bool) -> None:
    rng = np.random.default_rng(6)
    differences = rng.standard_normal((40, 3))
    dense = make_pairs(differences, votes(rng, differences, np.array([1.0, 0.0, -2.0])))
    fit = fit_head(dense, prior_precision=0.5)
    pairs = make_pairs(csr_array(differences), dense.p_chosen) if sparse else dense
    members = laplace_members(fit, pairs, 20_000, rng)
    covariance = laplace_posterior(fit, dense).covariance
    np.testing.assert_allclose(members.mean(0), fit.weights, atol=1e-12)
    np.testing.assert_allclose(np.cov(members.T, ddof=1), covariance, atol=0.05 * covariance.max())


def test_sparse_precision_is_refused() -> None:
    pairs = make_pairs(csr_array(np.eye(2)), np.ones(2))
    with pytest.raises(ValueError, match="draw members"):
        laplace_posterior(fit_head(pairs, prior_precision=1.0), pairs)
