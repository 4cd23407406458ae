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
MOST_ITERATIONS = 100
LEAST_SHARE = 1e-300
MOST_HALF = 300.0  # half a difference of strengths; beyond it a probability is 0 in double precision


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
    max_iterations: int = MOST_ITERATIONS,
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
    optimum = _climb(wins[None], ties[None], beta, with_ties, max_iterations, tolerance)
    num_models = len(wins)
    inverse = np.linalg.inv(optimum.information[0])[:num_models, :num_models] - 1 / num_models**2
    return Strengths(
        log_strength=optimum.log_strengths[0],
        covariance=inverse,
        log_tie=float(optimum.parameters[0, -1]) if with_ties else float("nan"),
        log_likelihood=float(optimum.likelihood[0]),
        converged=bool(optimum.converged[0]),
        num_iterations=optimum.num_iterations,
    )


def fit_resamples(
    wins: np.ndarray, ties: np.ndarray, *, rule: Ties, start: np.ndarray, tolerance: float = 1e-5
) -> np.ndarray:
    """(B', M) log strengths of B tables at once, as of `fit_bradley_terry`; tables without a finite fit are left out.

    Args:
        wins, ties: (B, M, M) as for `fit_bradley_terry`.
        start: (M,) log strengths to begin with.
    """
    is_kept = _are_finite(wins, ties, rule)
    wins, ties = wins[is_kept], ties[is_kept]
    with_ties = ties.any(axis=(1, 2)) if rule == "davidson" else np.zeros(len(wins), dtype=bool)
    strengths = np.empty((len(wins), len(start)))
    for of_kind in (False, True):
        chosen = with_ties == of_kind
        if chosen.any():
            optimum = _climb(wins[chosen], ties[chosen], start, of_kind, MOST_ITERATIONS, tolerance)
            strengths[chosen] = optimum.log_strengths
    return strengths


def _are_finite(wins: np.ndarray, ties: np.ndarray, rule: Ties) -> np.ndarray:
    """(B,) bool: `is_finite` of B tables. Where two models each beat the other, the cycle it looks for is there."""
    beats = wins + ties / 2 > 0
    reach = (beats | np.eye(wins.shape[-1], dtype=bool)).astype(np.float32)
    for _ in range(int(np.ceil(np.log2(max(2, wins.shape[-1]))))):
        reach = np.minimum(reach @ reach, 1.0)
    are_finite = np.asarray(reach.all(axis=(1, 2)))
    if rule == "davidson":
        is_open = are_finite & ties.any(axis=(1, 2)) & ~((wins > 0) & (wins.swapaxes(1, 2) > 0)).any(axis=(1, 2))
        for table in np.flatnonzero(is_open):
            are_finite[table] = is_finite(wins[table], ties[table], rule)
    return are_finite


@dataclass(frozen=True, kw_only=True)
class _Optimum:
    """Where B climbs ended: parameters (B, P), the information there (B, P, P), one value each of the rest."""

    parameters: np.ndarray
    information: np.ndarray
    likelihood: np.ndarray
    converged: np.ndarray
    num_models: int
    num_iterations: int

    @property
    def log_strengths(self) -> np.ndarray:
        """(B, M) centred on mean zero."""
        strengths = self.parameters[:, : self.num_models]
        return strengths - strengths.mean(axis=1, keepdims=True)


def _climb(
    wins: np.ndarray, ties: np.ndarray, start: np.ndarray, with_ties: bool, max_iterations: int, tolerance: float
) -> _Optimum:
    """Damped Newton steps on B tables (B, M, M) at once; a table that has converged stays where it is."""
    beta = np.tile(start - start.mean(), (len(wins), 1))
    parameters = np.pad(beta, ((0, 0), (0, 1))) if with_ties else beta
    likelihood, gradient, information = _derivatives(parameters, wins, ties, with_ties)
    converged = np.zeros(len(wins), dtype=bool)
    num_iterations = 0
    while not converged.all() and num_iterations < max_iterations:
        num_iterations += 1
        live = np.flatnonzero(~converged)
        direction = np.linalg.solve(information[live], gradient[live][..., None])[..., 0]
        size = np.ones((len(live), 1))
        while True:
            moved = parameters[live] + size * direction
            risen, next_gradient, next_information = _derivatives(moved, wins[live], ties[live], with_ties)
            fallen = (risen < likelihood[live] - 1e-9 * np.abs(likelihood[live])) & (size[:, 0] >= 1e-6)
            if not fallen.any():
                break
            size[fallen] /= 2
        parameters[live], likelihood[live] = moved, risen
        gradient[live], information[live] = next_gradient, next_information
        step = np.abs(size * direction).max(axis=1)
        converged[live] = step < tolerance * (1 + np.abs(moved).max(axis=1))
    return _Optimum(
        parameters=parameters,
        information=information,
        likelihood=likelihood,
        converged=converged,
        num_models=wins.shape[-1],
        num_iterations=num_iterations,
    )


def _derivatives(
    parameters: np.ndarray, wins: np.ndarray, ties: np.ndarray, with_ties: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihoods (B,), their gradients (B, P) and informations (B, P, P), regularised along the free shift.

    The shift direction has no information; adding the all-ones matrix there changes neither the fit nor, once 1 / M^2
    is taken off again, the covariance of the centred strengths.
    """
    num_models = wins.shape[-1]
    beta = parameters[:, :num_models]
    row, column = beta[:, :, None], beta[:, None, :]
    games = wins + wins.swapaxes(1, 2) + ties
    diagonal = np.arange(num_models)
    if not with_ties:
        beats = wins + ties / 2
        p = expit(row - column)
        likelihood = (beats * np.log(np.maximum(p, LEAST_SHARE))).sum(axis=(1, 2))
        gradient = (beats - games * p).sum(axis=2)
        variance = games * p * (1 - p)
        information = 1.0 - variance
        information[:, diagonal, diagonal] += variance.sum(axis=2)
        return likelihood, gradient, information
    half = np.exp(np.minimum((column - row) / 2, MOST_HALF))
    tie_odds = np.exp(parameters[:, -1, None, None]) * half
    p = 1 / (1 + half**2 + tie_odds)
    tied = tie_odds * p
    log_p = np.log(p)
    log_tied = log_p + (column - row) / 2 + parameters[:, -1, None, None]
    likelihood = (wins * log_p).sum(axis=(1, 2)) + (ties * log_tied).sum(axis=(1, 2)) / 2
    mean = p + tied / 2  # expected points of the row model
    gradient = np.empty((len(wins), num_models + 1))
    gradient[:, :-1] = (wins + ties / 2 - games * mean).sum(axis=2)
    gradient[:, -1] = (ties - games * tied).sum(axis=(1, 2)) / 2
    variance = games * (p + tied / 4 - mean**2)
    information = np.empty((len(wins), num_models + 1, num_models + 1))
    information[:, :-1, :-1] = 1.0 - variance
    information[:, diagonal, diagonal] += variance.sum(axis=2)
    information[:, -1, :-1] = information[:, :-1, -1] = (games * (tied / 2 - mean * tied)).sum(axis=2)
    information[:, -1, -1] = (games * tied * (1 - tied)).sum(axis=(1, 2)) / 2
    return likelihood, gradient, information
