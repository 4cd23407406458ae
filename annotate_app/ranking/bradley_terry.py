"""Bradley-Terry and Davidson fits to a table of wins and ties, by Newton's method.

Knows nothing of votes or sources; the leaderboard built on it lives in `annotate_app.ranking.leaderboard`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import NegativeCycleError, bellman_ford, connected_components
from scipy.special import expit

Ties = Literal["half", "davidson"]
TIES: tuple[Ties, ...] = ("half", "davidson")


@dataclass(frozen=True, kw_only=True)
class Strengths:
    """Maximum-likelihood log strengths.

    Attributes:
        log_strength: (M,) centred on mean zero.
        covariance: (M, M) inverse Fisher information of the centred strengths.
        log_tie: log of Davidson's tie parameter nu, NaN where ties count half.
        log_likelihood: natural log, summed over games.
    """

    log_strength: np.ndarray
    covariance: np.ndarray
    log_tie: float
    log_likelihood: float
    converged: bool
    num_iterations: int

    def standard_errors(self, reference: int | None = None) -> np.ndarray:
        """(M,) standard errors of the centred strengths, or of the differences from one model."""
        variance = np.diag(self.covariance)
        if reference is None:
            return np.sqrt(variance)
        difference = variance + variance[reference] - 2 * self.covariance[reference]
        return np.sqrt(np.maximum(difference, 0))


def components(games: np.ndarray, *, strong: bool = False) -> np.ndarray:
    """(M,) labels of the groups of models that games (M, M) connect; strong follows wins in both directions."""
    return connected_components(sparse.csr_array(games > 0), directed=strong, connection="strong")[1]


def is_finite(wins: np.ndarray, ties: np.ndarray, rule: Ties) -> bool:
    """Whether the likelihood has its maximum at finite strengths.

    half: every model is reached from every other along wins and ties (Ford 1957). davidson: besides, strengths cannot
    run off together with nu, as they can where a model draws but never wins: along t -> inf with log nu = t / 2 no
    outcome loses likelihood if b_i - b_j >= 1 for every win and |b_i - b_j| <= 1 for every tie. Such b exist unless
    these difference constraints hold a negative cycle.

    Args:
        wins, ties: as for `fit_bradley_terry`.
    """
    if components(wins + ties / 2, strong=True).max(initial=0) > 0:
        return False
    if rule == "half" or not ties.any():
        return True
    bounds = np.where(wins > 0, -1.0, np.where(ties > 0, 1.0, 0.0))  # [i, j]: b_j - b_i is at most this
    try:
        bellman_ford(sparse.csr_array(bounds), indices=0)  # every model is reached from the first
    except NegativeCycleError:
        return True
    return False


def fit_bradley_terry(
    wins: np.ndarray,
    ties: np.ndarray,
    *,
    rule: Ties = "half",
    start: np.ndarray | None = None,
    max_iterations: int = 100,
    tolerance: float = 1e-10,
) -> Strengths:
    """Maximum likelihood by damped Newton steps over all models at once.

    half: P(i beats j) = sigma(b_i - b_j), a tie is half a win for each (Bradley and Terry 1952; Zermelo 1929).
    davidson: P(i beats j) = e^b_i / Z, P(tie) = nu e^((b_i + b_j) / 2) / Z, Z the sum of the three outcomes' terms
    (Davidson 1970, eq. 2.4). Both are concave.

    Args:
        wins: (M, M) wins of row over column.
        ties: (M, M) symmetric counts of ties.
        start: (M,) log strengths to begin with.

    Raises:
        ValueError: if the optimum is not finite (see `is_finite`).
    """
    if not is_finite(wins, ties, rule):
        raise ValueError("no finite fit: some models only ever win, or only ever lose, against the rest")
    with_ties = rule == "davidson" and bool(ties.any())
    beta = np.zeros(len(wins)) if start is None else start.astype(np.float64)
    parameters = np.append(beta - beta.mean(), 0.0) if with_ties else beta - beta.mean()
    likelihood, gradient, information = _derivatives(parameters, wins, ties, with_ties)
    converged, num_iterations = False, 0
    while not converged and num_iterations < max_iterations:
        num_iterations += 1
        direction = np.linalg.solve(information, gradient)
        size = 1.0
        while True:
            moved = parameters + size * direction
            risen, next_gradient, next_information = _derivatives(moved, wins, ties, with_ties)
            if risen >= likelihood - 1e-9 * abs(likelihood) or size < 1e-6:
                break
            size /= 2
        parameters, likelihood, gradient, information = moved, risen, next_gradient, next_information
        converged = bool(np.abs(size * direction).max() < tolerance * (1 + np.abs(parameters).max()))
    num_models = len(wins)
    inverse = np.linalg.inv(information)[:num_models, :num_models] - 1 / num_models**2
    return Strengths(
        log_strength=parameters[:num_models] - parameters[:num_models].mean(),
        covariance=inverse,
        log_tie=float(parameters[-1]) if with_ties else float("nan"),
        log_likelihood=likelihood,
        converged=converged,
        num_iterations=num_iterations,
    )


def _derivatives(
    parameters: np.ndarray, wins: np.ndarray, ties: np.ndarray, with_ties: bool
) -> tuple[float, np.ndarray, np.ndarray]:
    """Log-likelihood, its gradient and the information, regularised along the free shift of all strengths.

    The shift direction has no information; adding the all-ones matrix there changes neither the fit nor, once 1 / M^2
    is taken off again, the covariance of the centred strengths.
    """
    num_models = len(wins)
    beta = parameters[:num_models]
    gap = beta[:, None] - beta[None, :]
    games = wins + wins.T + ties
    if not with_ties:
        beats = wins + ties / 2
        p = expit(gap)
        likelihood = float((beats * -np.logaddexp(0, -gap)).sum())
        gradient = (beats - games * p).sum(axis=1)
        variance = games * p * (1 - p)
        information = np.diag(variance.sum(axis=1)) - variance + 1.0
        return likelihood, gradient, information
    tie_score = parameters[-1] + (beta[:, None] + beta[None, :]) / 2
    log_z = np.logaddexp(np.logaddexp(beta[:, None], beta[None, :]), tie_score)
    p, tied = np.exp(beta[:, None] - log_z), np.exp(tie_score - log_z)
    likelihood = float((wins * (beta[:, None] - log_z)).sum() + (ties * (tie_score - log_z)).sum() / 2)
    mean = p + tied / 2  # expected points of the row model
    gradient = np.append((wins + ties / 2 - games * mean).sum(axis=1), (ties - games * tied).sum() / 2)
    variance = games * (p + tied / 4 - mean**2)
    information = np.zeros((num_models + 1, num_models + 1))
    information[:-1, :-1] = np.diag(variance.sum(axis=1)) - variance + 1.0
    information[-1, :-1] = information[:-1, -1] = (games * (tied / 2 - mean * tied)).sum(axis=1)
    information[-1, -1] = (games * tied * (1 - tied)).sum() / 2
    return likelihood, gradient, information
