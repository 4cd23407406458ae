"""Figures of a reward model on preferences: likelihood, accuracy, calibration, and whether it knows where it errs.

Every interval over prompts in the house is made here: `mean_interval` of shares, `average_interval` of any other mean,
`difference_interval` of two paired quantities, `weighted_interval` of a figure that is no mean, and below them
`bootstrap_intervals`. Arrays in, numbers out; no torch. How a model agrees with votes is
`rewardkit.evaluation.evaluate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with the bounds of its confidence interval, nan where there are none."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Pairs of similar predicted probability: means of what was predicted and observed, and how many they are."""

    predicted: float
    observed: float
    count: int


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """The error among the pairs a model is surest of, by how many of them it has to answer.

    Attributes:
        coverage: (N,) rising shares of all pairs, the last is 1.
        risk: (N,) share of errors among them.
        area: mean risk over coverage (AURC), lower is better.
        random: the area where uncertainty says nothing: the error over all pairs.
        oracle: the area where every error is more uncertain than every hit.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float
    random: float
    oracle: float


def negative_log_likelihood(margins: np.ndarray, p_chosen: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Weighted mean of -(p log sigma(d) + (1 - p) log sigma(-d)), nats per pair.

    Args:
        margins: (N,) d, chosen minus rejected reward.
        p_chosen: (N,) p, 0 to 1.
        weight: (N,) 0 or more; None weighs all alike.
    """
    losses = p_chosen * np.logaddexp(0.0, -margins) + (1.0 - p_chosen) * np.logaddexp(0.0, margins)
    return float(np.average(losses, weights=weight))


def brier_score(probabilities: np.ndarray, p_chosen: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Weighted mean of (q - p)^2, q the predicted and p the observed probability of chosen. Brier 1950."""
    return float(np.average((probabilities - p_chosen) ** 2, weights=weight))


def expected_calibration_error(probabilities: np.ndarray, p_chosen: np.ndarray, *, num_bins: int = 10) -> float:
    """Mean over equal-count bins of |mean predicted - mean observed|, weighted by the bins' counts.

    Every pair is counted in both directions, see `calibration_bins`. Guo et al. 2017 (arXiv 1706.04599), with bins of
    equal count.
    """
    bins = calibration_bins(probabilities, p_chosen, num_bins=num_bins)
    return sum(b.count * abs(b.predicted - b.observed) for b in bins) / (2 * len(probabilities))


def calibration_bins(probabilities: np.ndarray, p_chosen: np.ndarray, *, num_bins: int = 10) -> list[CalibrationBin]:
    """Bins of equal count by predicted probability, lowest first.

    Every pair is counted in both directions (q, p) and (1 - q, 1 - p), so that no figure depends on which completion is
    called chosen; the counts add up to twice the pairs.
    """
    predicted = np.concatenate((probabilities, 1.0 - probabilities))
    observed = np.concatenate((p_chosen, 1.0 - p_chosen))
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, min(num_bins, len(order))) if len(part)]
    return [
        CalibrationBin(predicted=float(predicted[part].mean()), observed=float(observed[part].mean()), count=len(part))
        for part in parts
    ]


def correctness(margins: np.ndarray) -> np.ndarray:
    """(N,) 1 where chosen has the higher reward, 0 where rejected has, 0.5 where they are equal."""
    return 0.5 + 0.5 * np.sign(margins)


def bootstrap_interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    prompt: np.ndarray,
    *,
    num_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """As `bootstrap_intervals`, of one statistic.

    Args:
        statistic: from counts of how often each prompt was drawn, (R, P), to R values.
    """
    (interval,) = bootstrap_intervals(
        lambda counts: statistic(counts)[:, None], prompt, num_resamples=num_resamples, level=level, seed=seed
    )
    return interval


def bootstrap_intervals(
    statistics: Callable[[np.ndarray], np.ndarray],
    prompt: np.ndarray,
    *,
    num_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Percentile intervals of statistics over prompts drawn with replacement, the same draws for all. Efron 1979.

    Pairs of one prompt are drawn together, as they are not independent (Field and Welsh 2007).

    Args:
        statistics: from counts of how often each prompt was drawn, (R, P), to (R, M) values.
        prompt: (N,) number of each pair's prompt; prompts are numbered in sorted order.

    Returns:
        M intervals.
    """
    num_prompts = len(np.unique(prompt))
    rng = np.random.default_rng(seed)
    chunk = max(1, 2_000_000 // num_prompts)
    values = [
        statistics(
            rng.multinomial(num_prompts, np.full(num_prompts, 1.0 / num_prompts), min(chunk, num_resamples - at))
        )
        for at in range(0, num_resamples, chunk)
    ]
    estimates = statistics(np.ones((1, num_prompts)))[0]
    intervals = []
    for estimate, samples in zip(estimates, np.concatenate(values).T, strict=True):
        low, high = percentile_interval(samples, level=level)
        intervals.append(Interval(value=float(estimate), low=low, high=high))
    return intervals


def percentile_interval(samples: np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
    """The percentiles of the finite samples (R,) that leave (1 - level) / 2 on each side; nan where most are not."""
    finite = samples[np.isfinite(samples)]
    if not len(finite) or len(finite) * 2 < len(samples):
        return math.nan, math.nan
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def exact_at_bounds(share: Interval, num_units: int, *, level: float = 0.95) -> Interval:
    """The interval of a share that is 0 or 1, where no resample differs and the bootstrap sees no spread.

    The free side is then the exact binomial limit for as many independent units, (alpha / 2)^(1 / n) (Clopper and
    Pearson 1934). The interval of any other share stays as it is.
    """
    reach = ((1 - level) / 2) ** (1 / max(1, num_units))
    if share.value == 1.0:
        return Interval(value=1.0, low=reach, high=1.0)
    if share.value == 0.0:
        return Interval(value=0.0, low=0.0, high=1.0 - reach)
    return share


def mean_interval(
    values: np.ndarray, prompt: np.ndarray, weight: np.ndarray | None = None, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """Weighted mean of shares with its bootstrap interval by prompt; for accuracy, `values` are `correctness`.

    Where the mean is 0 or 1, by `exact_at_bounds` over prompts. nan where there are no pairs.

    Args:
        values: (N,) 0 to 1.
        prompt: (N,) number of each pair's prompt.
        weight: (N,) 0 or more; None weighs all alike.
    """
    interval = average_interval(values, prompt, weight, level=level, seed=seed)
    return exact_at_bounds(interval, len(np.unique(prompt)), level=level)


def difference_interval(
    values: np.ndarray,
    others: np.ndarray,
    prompt: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Weighted mean of values minus others, paired: of the same pairs. Otherwise as `average_interval`."""
    return average_interval(values - others, prompt, weight, level=level, seed=seed)


def average_interval(
    values: np.ndarray, prompt: np.ndarray, weight: np.ndarray | None = None, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """Weighted mean of values of any size with its bootstrap interval by prompt; nan where there are none.

    Args:
        values: (N,).
        prompt: (N,) number of the prompt of each value.
        weight: (N,) 0 or more; None weighs all alike.
    """
    if not len(values):
        return Interval(value=math.nan)
    weight = np.ones(len(values)) if weight is None else weight
    _, group = np.unique(prompt, return_inverse=True)
    sums, totals = np.bincount(group, weight * values), np.bincount(group, weight)

    def mean(counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (counts @ sums) / (counts @ totals)

    return bootstrap_interval(mean, group, level=level, seed=seed)


def weighted_interval(
    statistic: Callable[[np.ndarray], float],
    prompt: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    num_resamples: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval by prompt of a figure that is no mean, an AUROC for example: computed anew for each resample.

    Args:
        statistic: from weights of the pairs, (N,), to the figure; nan where it is not defined.
        prompt: (N,) number of each pair's prompt.
        weight: (N,) 0 or more; None weighs all alike.
    """
    weight = np.ones(len(prompt)) if weight is None else weight
    _, group = np.unique(prompt, return_inverse=True)
    return bootstrap_interval(
        lambda counts: np.array([statistic(weight * times[group]) for times in counts]),
        group,
        num_resamples=num_resamples,
        level=level,
        seed=seed,
    )


def auroc(scores: np.ndarray, positive: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Probability that a positive scores above a negative, equal scores counting half; nan where one kind is absent.

    Hanley and McNeil 1982. For error detection the scores are uncertainties and `positive` is 1 - `correctness`.

    Args:
        scores: (N,).
        positive: (N,) 0 to 1; a value between counts as that share of a positive and the rest of a negative.
        weight: (N,) 0 or more; None weighs all alike.
    """
    weight = np.ones(len(scores)) if weight is None else weight
    values, rank = np.unique(scores, return_inverse=True)
    up = np.bincount(rank, weight * positive, minlength=len(values))
    down = np.bincount(rank, weight * (1.0 - positive), minlength=len(values))
    if up.sum() <= 0 or down.sum() <= 0:
        return float("nan")
    below = np.cumsum(down) - 0.5 * down
    return float((up @ below) / (up.sum() * down.sum()))


def risk_coverage(uncertainty: np.ndarray, errors: np.ndarray, weight: np.ndarray | None = None) -> RiskCoverage:
    """Error of the surest pairs at every coverage: El-Yaniv and Wiener 2010; area as Geifman et al. 2019 (1805.08206).

    Pairs of equal uncertainty stand in random order: each carries their mean error.

    Args:
        uncertainty: (N,) lower is surer; N is 1 or more.
        errors: (N,) 0 to 1.
        weight: (N,) 0 or more, not all 0; None weighs all alike.
    """
    weight = np.ones(len(errors)) if weight is None else weight
    coverage, risk = _risks(uncertainty, errors, weight)
    _, best = _risks(errors, errors, weight)
    ordered = weight[np.argsort(uncertainty, kind="stable")], weight[np.argsort(errors, kind="stable")]
    return RiskCoverage(
        coverage=coverage,
        risk=risk,
        area=float(np.average(risk, weights=ordered[0])),
        random=float(np.average(errors, weights=weight)),
        oracle=float(np.average(best, weights=ordered[1])),
    )


def _risks(uncertainty: np.ndarray, errors: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, rank = np.unique(uncertainty, return_inverse=True)
    mass = np.bincount(rank, weight)
    means = np.bincount(rank, weight * errors) / np.where(mass > 0, mass, 1.0)
    order = np.argsort(uncertainty, kind="stable")
    covered = np.cumsum(weight[order])
    wrong = np.cumsum(weight[order] * means[rank][order])
    return covered / covered[-1], wrong / np.where(covered > 0, covered, 1.0)


def quantile_groups(values: np.ndarray, num_groups: int) -> list[np.ndarray]:
    """Indices of groups of equal count, lowest values first; equal values keep their order."""
    order = np.argsort(values, kind="stable")
    return [part for part in np.array_split(order, min(num_groups, len(order))) if len(part)]
