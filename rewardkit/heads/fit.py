"""A Bradley-Terry head on fixed features, fitted to convergence. Arrays in, arrays out; no torch.

The head is a vector theta; the margin of a pair is d = theta . x, x the features of chosen minus those of rejected. A
constant added to all rewards leaves every margin as it is, so there is no intercept. `rewardkit.heads.posterior` says
how sure the fit is, `rewardkit.heads.annotator_reliability` learns the reliabilities that are given here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from scipy.optimize import minimize

from rewardkit.stats.metrics import negative_log_likelihood

Design: TypeAlias = np.ndarray | Any  # or a scipy.sparse.csr_array, whose types say nothing of its shape
PRIOR_PRECISIONS = tuple(float(value) for value in 10.0 ** np.arange(-2.0, 4.1, 0.5))
NUM_FOLDS = 5
MAX_ITERATIONS = 2000
TOLERANCE = 1e-7  # of the largest component of the gradient per unit of weight
SEARCH_TOLERANCE = 1e-4  # while priors are compared
MEMORY = 10  # steps from which L-BFGS takes the curvature


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """N pairs in feature space, or N votes on pairs.

    Attributes:
        differences: (N, h) float64, dense or sparse: features of chosen minus features of rejected.
        p_chosen: (N,) 0 to 1, probability (or vote) that chosen is better.
        weight: (N,) 0 or more.
        reliability: (N,) 0 to 1, probability that the vote says what its annotator's reward function prefers; 1 is
            plain Bradley-Terry.
        prompt: (N,) int, number of the pair's prompt; folds never cut through a prompt.
    """

    differences: Design
    p_chosen: np.ndarray
    weight: np.ndarray
    reliability: np.ndarray
    prompt: np.ndarray

    def __post_init__(self) -> None:
        count = self.differences.shape[0]
        for name in ("p_chosen", "weight", "reliability", "prompt"):
            if getattr(self, name).shape != (count,):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, the differences have {count} rows")

    def __len__(self) -> int:
        return self.differences.shape[0]

    def take(self, indices: np.ndarray) -> Pairs:
        """The pairs of the given numbers."""
        return Pairs(
            differences=self.differences[indices],
            p_chosen=self.p_chosen[indices],
            weight=self.weight[indices],
            reliability=self.reliability[indices],
            prompt=self.prompt[indices],
        )


def make_pairs(
    differences: Design,
    p_chosen: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    reliability: np.ndarray | None = None,
    prompt: np.ndarray | None = None,
) -> Pairs:
    """Pairs with what is not given filled in: weight 1, reliability 1, every pair a prompt of its own."""
    count = differences.shape[0]
    return Pairs(
        differences=differences,
        p_chosen=np.asarray(p_chosen, dtype=np.float64),
        weight=np.ones(count) if weight is None else np.asarray(weight, dtype=np.float64),
        reliability=np.ones(count) if reliability is None else np.asarray(reliability, dtype=np.float64),
        prompt=np.arange(count) if prompt is None else np.asarray(prompt),
    )


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """Where a minimisation ended.

    Attributes:
        x: (n,) the point.
        value: of the function there.
        converged: whether no component of the gradient is larger than the tolerance.
        num_iterations: steps taken.
    """

    x: np.ndarray
    value: float
    converged: bool
    num_iterations: int


def minimise(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    *,
    tolerance: float,
    max_iterations: int,
) -> Minimum:
    """Minimises a smooth function by L-BFGS (Liu and Nocedal 1989); the gradient alone says when to stop.

    Args:
        function: gives the value at (n,) and the gradient, (n,).
        start: (n,) where to begin.
        tolerance: of the largest component of the gradient.
        max_iterations: steps after which it stops in any case.
    """
    options = {
        "maxcor": MEMORY,
        "gtol": tolerance,
        "ftol": 0.0,
        "maxiter": max_iterations,
        "maxfun": 20 * max_iterations,
    }
    result = minimize(function, start, jac=True, method="L-BFGS-B", options=options)
    return Minimum(
        x=result.x,
        value=float(result.fun),
        converged=bool(np.abs(result.jac).max(initial=0.0) <= tolerance),
        num_iterations=int(result.nit),
    )


@dataclass(frozen=True, kw_only=True)
class HeadFit:
    """A fitted head.

    Attributes:
        weights: (h,) theta, reward units per feature unit.
        prior_precision: of the normal prior on every component, 1 over its variance.
        objective: nats, negative log-likelihood plus penalty at theta.
        converged: whether the gradient is as small as asked.
        num_iterations: of L-BFGS.
    """

    weights: np.ndarray
    prior_precision: float
    objective: float
    converged: bool
    num_iterations: int


def vote_log_probabilities(margins: np.ndarray, reliability: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log P(vote for chosen), log P(vote for rejected) and log sigma(d) sigma(-d), each (N,).

    P(vote for chosen) = q sigma(d) + (1 - q) sigma(-d), q the reliability.
    Chen et al. 2013, Crowd-BT, eq. 3 (doi 10.1145/2433396.2433420); q = 1 is Bradley-Terry.
    """
    log_better, log_worse = -np.logaddexp(0.0, -margins), -np.logaddexp(0.0, margins)
    with np.errstate(divide="ignore"):
        log_right, log_wrong = np.log(reliability), np.log1p(-reliability)
    log_chosen = np.logaddexp(log_right + log_better, log_wrong + log_worse)
    log_rejected = np.logaddexp(log_right + log_worse, log_wrong + log_better)
    return log_chosen, log_rejected, log_better + log_worse


def head_objective(weights: np.ndarray, pairs: Pairs, prior_precision: float) -> tuple[float, np.ndarray]:
    """Penalised negative log-likelihood and its gradient.

    objective = -sum_n w_n (p_n log P_n + (1 - p_n) log(1 - P_n)) + lambda / 2 |theta|^2,
    P_n from `vote_log_probabilities`.

    Returns:
        The objective in nats and its gradient, (h,).
    """
    margins = pairs.differences @ weights
    log_chosen, log_rejected, log_slope = vote_log_probabilities(margins, pairs.reliability)
    losses = -_times(pairs.p_chosen, log_chosen) - _times(1.0 - pairs.p_chosen, log_rejected)
    # dP/dd = (2q - 1) sigma(d) sigma(-d); logs keep the quotients finite where P underflows
    pull = pairs.p_chosen * np.exp(log_slope - log_chosen) - (1.0 - pairs.p_chosen) * np.exp(log_slope - log_rejected)
    slopes = -pairs.weight * (2.0 * pairs.reliability - 1.0) * pull
    value = float(pairs.weight @ losses + 0.5 * prior_precision * (weights @ weights))
    return value, pairs.differences.T @ slopes + prior_precision * weights


def fit_head(
    pairs: Pairs, *, prior_precision: float, start: np.ndarray | None = None, tolerance: float = TOLERANCE
) -> HeadFit:
    """Maximum a posteriori head by L-BFGS (Liu and Nocedal 1989).

    Args:
        pairs: with sum of weights above 0.
        prior_precision: lambda, above 0. scikit-learn's LogisticRegression calls 1 / lambda `C`.
        start: (h,) where to begin; None begins at 0.
        tolerance: nats per feature unit and unit of weight, of the largest component of the gradient.

    Raises:
        ValueError: if lambda is not positive or no pair has weight.
    """
    if not prior_precision > 0:
        raise ValueError(f"prior_precision is {prior_precision}, allowed is above 0")
    total = float(pairs.weight.sum())
    if not total > 0:
        raise ValueError(f"{len(pairs)} pairs with a total weight of {total:g}: there is nothing to fit a head to")

    def per_weight(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = head_objective(weights, pairs, prior_precision)
        return value / total, gradient / total

    first = np.zeros(pairs.differences.shape[1]) if start is None else start
    minimum = minimise(per_weight, first, tolerance=tolerance, max_iterations=MAX_ITERATIONS)
    return HeadFit(
        weights=minimum.x,
        prior_precision=prior_precision,
        objective=minimum.value * total,
        converged=minimum.converged,
        num_iterations=minimum.num_iterations,
    )


@dataclass(frozen=True, kw_only=True)
class PriorChoice:
    """What cross-validation says of each prior precision.

    Attributes:
        prior_precision: the one with the lowest NLL.
        nll: by prior precision, held-out nats per unit of weight over all folds.
    """

    prior_precision: float
    nll: Mapping[float, float]


def choose_prior_precision(
    pairs: Pairs, *, seed: int, candidates: Sequence[float] = PRIOR_PRECISIONS, num_folds: int = NUM_FOLDS
) -> PriorChoice:
    """Chooses the prior precision by cross-validation over prompts.

    Goes from the strongest prior to the weakest, each fit beginning at the one before, and stops where the held-out
    likelihood has become worse twice.

    Raises:
        ValueError: if there are fewer than two prompts.
    """
    parts = [
        (pairs.take(train), pairs.take(test)) for train, test in folds(pairs.prompt, num_folds=num_folds, seed=seed)
    ]
    starts = [np.zeros(pairs.differences.shape[1]) for _ in parts]
    nll: dict[float, float] = {}
    for candidate in sorted(candidates, reverse=True):
        losses = 0.0
        for fold, (rows, tests) in enumerate(parts):
            fit = fit_head(rows, prior_precision=candidate, start=starts[fold], tolerance=SEARCH_TOLERANCE)
            starts[fold] = fit.weights
            losses += held_out_nll(fit.weights, tests) * float(tests.weight.sum())
        nll[candidate] = losses / float(pairs.weight.sum())
        if len(nll) > 2 and min(list(nll.values())[-2:]) > min(nll.values()):
            break
    return PriorChoice(prior_precision=min(nll, key=lambda candidate: nll[candidate]), nll=nll)


def folds(prompt: np.ndarray, *, num_folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers kept and left out, once per fold; all rows of a prompt fall into one fold.

    Raises:
        ValueError: if there are fewer than two prompts.
    """
    prompts, of_row = np.unique(prompt, return_inverse=True)
    if len(prompts) < 2:
        raise ValueError(f"{len(prompt)} pairs of {len(prompts)} prompt: cross-validation needs two prompts or more")
    num_folds = min(num_folds, len(prompts))
    fold_of = (np.random.default_rng(seed).permutation(len(prompts)) % num_folds)[of_row]
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(num_folds)]


def held_out_nll(weights: np.ndarray, pairs: Pairs) -> float:
    """Mean negative log-likelihood of votes under a head, nats per unit of weight; 0 where nothing has weight."""
    if not pairs.weight.sum() > 0:
        return 0.0
    margins = pairs.differences @ weights
    if np.all(pairs.reliability == 1.0):
        return negative_log_likelihood(margins, pairs.p_chosen, pairs.weight)
    log_chosen, log_rejected, _ = vote_log_probabilities(margins, pairs.reliability)
    losses = -_times(pairs.p_chosen, log_chosen) - _times(1.0 - pairs.p_chosen, log_rejected)
    return float(np.average(losses, weights=pairs.weight))


def with_reliability(pairs: Pairs, reliability: np.ndarray) -> Pairs:
    """The same votes seen through other reliabilities."""
    return replace(pairs, reliability=reliability)


def _times(shares: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """shares * logs with 0 * -inf = 0."""
    return np.where(shares == 0.0, 0.0, shares * np.where(shares == 0.0, 0.0, logs))
