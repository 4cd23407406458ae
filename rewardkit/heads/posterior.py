"""How sure a fitted head is: the normal distribution that touches its posterior at the top (Laplace). No torch.

Precision H = X^T S X + lambda I, S = diag(w_n s_n). For Bradley-Terry s = sigma(d) sigma(-d) and H is the exact Hessian
of the objective; for votes of given reliability s is the expected information, which is never negative.
MacKay 1992, "The evidence framework applied to classification networks"; Kristiadi et al. 2020 (arXiv 2002.10118).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

from rewardkit.heads.fit import Design, HeadFit, Pairs, vote_log_probabilities


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """Normal posterior of a head.

    Attributes:
        mean: (h,) the fitted head.
        factor: (h, h) lower Cholesky factor of the precision.
    """

    mean: np.ndarray
    factor: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """(h, h) inverse of the precision."""
        return cho_solve((self.factor, True), np.eye(len(self.mean)))

    def margins(self, differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the margins of pairs, each (N,), from (N, h) feature differences."""
        solved = solve_triangular(self.factor, differences.T, lower=True)
        return differences @ self.mean, np.sqrt((solved**2).sum(0))

    def members(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(K, h) heads drawn from the posterior, moved together so that their mean is the fitted head.

        Their variance with ddof = 1 stays unbiased for the posterior's.
        """
        noise = rng.standard_normal((len(self.mean), count))
        return centred(self.mean, solve_triangular(self.factor, noise, lower=True, trans=1).T)


def information(fit: HeadFit, pairs: Pairs) -> np.ndarray:
    """(N,) w_n s_n, what each pair tells of its margin: s = (2q - 1)^2 (sigma(d) sigma(-d))^2 / (P (1 - P))."""
    log_chosen, log_rejected, log_slope = vote_log_probabilities(pairs.differences @ fit.weights, pairs.reliability)
    return pairs.weight * (2.0 * pairs.reliability - 1.0) ** 2 * np.exp(2.0 * log_slope - log_chosen - log_rejected)


def laplace_posterior(fit: HeadFit, pairs: Pairs) -> Posterior:
    """The posterior of a head on dense features.

    Raises:
        ValueError: if the features are sparse; `laplace_members` draws from such a posterior.
    """
    if not isinstance(pairs.differences, np.ndarray):
        raise ValueError("the precision of a head on sparse features is not written out: draw members instead")
    scaled = pairs.differences * np.sqrt(information(fit, pairs))[:, None]
    precision = scaled.T @ scaled
    precision[np.diag_indices_from(precision)] += fit.prior_precision
    return Posterior(mean=fit.weights, factor=np.linalg.cholesky(precision))


def laplace_members(fit: HeadFit, pairs: Pairs, count: int, rng: np.random.Generator) -> np.ndarray:
    """(K, h) heads drawn from the posterior without writing its precision out, for many or sparse features.

    Solves H z = X^T S^{1/2} e_1 + lambda^{1/2} e_2 with standard normal e_1 (N,) and e_2 (h,) by conjugate gradients,
    so that z has covariance H^{-1}. Papandreou and Yuille 2010, "Gaussian sampling by local perturbations". Moved
    together so that their mean is the fitted head.

    Raises:
        FloatingPointError: if conjugate gradients do not converge.
    """
    weights = information(fit, pairs)
    num_features = len(fit.weights)
    noise = rng.standard_normal((len(pairs), count)) * np.sqrt(weights)[:, None]
    right = pairs.differences.T @ noise + np.sqrt(fit.prior_precision) * rng.standard_normal((num_features, count))
    return centred(fit.weights, _solve(pairs.differences, weights, fit.prior_precision, right).T)


def centred(mean: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """(K, h) mean plus the deviations' distances from their own mean; one member is the mean itself."""
    return mean + deviations - deviations.mean(0)


def _solve(design: Design, weights: np.ndarray, prior_precision: float, right: np.ndarray) -> np.ndarray:
    """(h, K) solution of (X^T diag(weights) X + lambda I) Z = right, all columns at once; Hestenes and Stiefel 1952."""
    solution = np.zeros_like(right)
    residual = right.copy()
    direction = residual.copy()
    squared = (residual**2).sum(0)
    goal = 1e-16 * squared
    for _ in range(10 * len(right)):
        if np.all(squared <= goal):
            return solution
        product = design.T @ (weights[:, None] * (design @ direction)) + prior_precision * direction
        step = squared / np.maximum((direction * product).sum(0), np.finfo(float).tiny)
        solution += step * direction
        residual -= step * product
        before, squared = squared, (residual**2).sum(0)
        direction = residual + squared / np.maximum(before, np.finfo(float).tiny) * direction
    raise FloatingPointError(f"conjugate gradients did not converge in {10 * len(right)} steps")
