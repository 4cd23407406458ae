"""Figures of a reward model on preferences: likelihood, accuracy, and whether it knows where it errs.

Every interval over prompts in the house is made here: `mean_interval` of shares, `share_difference_interval` of two
paired shares, `average_interval` of any other mean, `difference_interval` of two paired quantities, `auroc_interval`,
`weighted_interval` of another figure that is no mean, and below them `bootstrap_intervals`. None is of width 0: where
prompts are too few, or all alike, bounds are those of `rewardkit.stats.small_samples`, or nan. Arrays in, numbers out;
no torch. Calibration is `rewardkit.stats.calibration`, agreement with votes `rewardkit.evaluation.vote_agreement`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rewardkit.stats.small_samples import (
    LEAST,
    Bounds,
    difference_bounds,
    effective_number,
    is_enough,
    mean_bounds,
    share_bounds,
)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with the bounds of its confidence interval, nan where there is too little to say."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def is_known(self) -> bool:
        """Whether there are bounds."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def against(self, reference: float) -> int:
        """1 where the interval lies above the reference, -1 where below; 0 where it holds it, or is not known."""
        return int(self.low > reference) - int(self.high < reference)


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

    Pairs of one prompt are drawn together, as they are not independent (Field and Welsh 2007). Fewer than LEAST prompts
    have no bounds, and a statistic that no resample changes has none.

    Args:
        statistics: from counts of how often each prompt was drawn, (R, P), to (R, M) values.
        prompt: (N,) number of each pair's prompt; prompts are numbered in sorted order.

    Returns:
        M intervals.
    """
    num_prompts = len(np.unique(prompt))
    estimates = statistics(np.ones((1, num_prompts)))[0]
    if num_prompts < LEAST:
        return [Interval(value=float(estimate)) for estimate in estimates]
    rng = np.random.default_rng(seed)
    chunk = max(1, 2_000_000 // num_prompts)
    values = [
        statistics(
            rng.multinomial(num_prompts, np.full(num_prompts, 1.0 / num_prompts), min(chunk, num_resamples - at))
        )
        for at in range(0, num_resamples, chunk)
    ]
    intervals = []
    for estimate, samples in zip(estimates, np.concatenate(values).T, strict=True):
        low, high = percentile_interval(samples, level=level)
        intervals.append(Interval(value=float(estimate), low=low, high=high))
    return intervals


def percentile_interval(samples: np.ndarray, *, level: float = 0.95) -> Bounds:
    """The percentiles of the finite samples (R,) that leave (1 - level) / 2 on each side.

    nan where most samples are not finite, and where they do not differ: that nothing varied is no knowledge of how far
    it could.
    """
    finite = samples[np.isfinite(samples)]
    if not len(finite) or len(finite) * 2 < len(samples):
        return math.nan, math.nan
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        return math.nan, math.nan
    return float(low), float(high)


def mean_interval(
    values: np.ndarray, prompt: np.ndarray, weight: np.ndarray | None = None, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """Weighted mean of shares with its bootstrap interval by prompt; for accuracy, `values` are `correctness`.

    With fewer than LEAST prompts, or LEAST_HITS hits or misses, by `share_bounds`; prompts of unequal weight count as
    their effective number. nan where there are no pairs.

    Args:
        values: (N,) 0 to 1.
        prompt: (N,) number of each pair's prompt.
        weight: (N,) 0 or more; None weighs all alike.
    """
    sums, totals = _by_prompt(values, prompt, weight)
    if not totals.sum() > 0:
        return Interval(value=math.nan)
    value, num_units = min(max(float(sums.sum() / totals.sum()), 0.0), 1.0), effective_number(totals)
    if is_enough(value, num_units):
        interval = _mean_bootstrap(sums, totals, level, seed)
        if interval.is_known:
            return interval
    low, high = share_bounds(value, num_units, level=level)
    return Interval(value=value, low=low, high=high)


def share_difference_interval(
    values: np.ndarray,
    others: np.ndarray,
    prompt: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Weighted mean of shares minus others, paired: of the same pairs, with its bootstrap interval by prompt.

    With fewer than LEAST prompts, or differences on fewer, by `difference_bounds`. nan where there are no pairs.

    Args:
        values, others: (N,) 0 to 1.
    """
    sums, totals = _by_prompt(values - others, prompt, weight)
    if not totals.sum() > 0:
        return Interval(value=math.nan)
    num_units = effective_number(totals)
    above, below = (float(np.maximum(side, 0.0).sum() / totals.sum()) for side in (sums, -sums))
    if num_units * (above + below) >= LEAST:
        interval = _mean_bootstrap(sums, totals, level, seed)
        if interval.is_known:
            return interval
    low, high = difference_bounds(min(above, 1.0), min(below, 1.0), num_units, level=level)
    return Interval(value=above - below, low=low, high=high)


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
    values: ArrayLike,
    prompt: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Weighted mean of values of any size with its bootstrap interval by prompt; nan where there are none.

    With fewer than LEAST prompts, by `mean_bounds` of the linearised mean; without bounds where all prompts are alike.

    Args:
        values: (N,).
        prompt: (N,) number of the prompt of each value; None where each value stands for itself.
        weight: (N,) 0 or more; None weighs all alike.
    """
    values = np.asarray(values, dtype=float)
    sums, totals = _by_prompt(values, np.arange(len(values)) if prompt is None else prompt, weight)
    if not totals.sum() > 0:
        return Interval(value=math.nan)
    if effective_number(totals) >= LEAST:
        return _mean_bootstrap(sums, totals, level, seed)
    num_units, value = len(totals), float(sums.sum() / totals.sum())
    residuals = (sums - value * totals) / totals.sum()
    if np.abs(residuals).max() <= 1e-9 * abs(value):
        return Interval(value=value)
    error = math.sqrt(float((residuals**2).sum()) * num_units / max(1, num_units - 1))
    low, high = mean_bounds(value, error, num_units, level=level)
    return Interval(value=value, low=low, high=high)


def student_interval(values: Sequence[float]) -> Interval:
    """Mean of a few independent values, as of seeds, with Student's 95 % interval; values that are nan do not count."""
    known = np.array([value for value in values if math.isfinite(value)])
    if not len(known):
        return Interval(value=math.nan)
    error = float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) > 1 else 0.0
    low, high = mean_bounds(float(known.mean()), error, len(known))
    return Interval(value=float(known.mean()), low=low, high=high)


def _by_prompt(values: np.ndarray, prompt: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(P,) weighted sums and total weights of the prompts that weigh anything."""
    weight = np.ones(len(values)) if weight is None else weight
    _, group = np.unique(prompt, return_inverse=True)
    sums, totals = np.bincount(group, weight * values), np.bincount(group, weight)
    return sums[totals > 0], totals[totals > 0]


def _mean_bootstrap(sums: np.ndarray, totals: np.ndarray, level: float, seed: int) -> Interval:
    return bootstrap_interval(
        lambda counts: (counts @ sums) / (counts @ totals), np.arange(len(sums)), level=level, seed=seed
    )


def weighted_interval(
    statistic: Callable[[np.ndarray], float],
    prompt: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    num_units: float = math.inf,
    num_resamples: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval by prompt of a figure that is no mean: computed anew for each resample.

    Args:
        statistic: from weights of the pairs, (N,), to the figure; nan where it is not defined.
        prompt: (N,) number of each pair's prompt.
        weight: (N,) 0 or more; None weighs all alike.
        num_units: where the figure rests on fewer units than prompts, their number; below LEAST there are no bounds.
    """
    weight = np.ones(len(prompt)) if weight is None else weight
    if num_units < LEAST:
        return Interval(value=float(statistic(weight)))
    _, group = np.unique(prompt, return_inverse=True)
    return bootstrap_interval(
        lambda counts: np.array([statistic(weight * times[group]) for times in counts]),
        group,
        num_resamples=num_resamples,
        level=level,
        seed=seed,
    )


def auroc_interval(
    scores: np.ndarray,
    positive: np.ndarray,
    prompt: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """`auroc` with its bootstrap interval by prompt; nan where one kind is absent.

    With fewer than LEAST prompts of either kind, by `share_bounds` of as many units as the rarer kind has prompts:
    the variance is at most A (1 - A) / min(m, n), van Dantzig 1951 (Birnbaum and McCarty 1958).
    """
    value, num_units = auroc(scores, positive, weight), rarer_kind(positive, prompt, weight)
    if math.isnan(value):
        return Interval(value=value)
    interval = weighted_interval(
        lambda weights: auroc(scores, positive, weights), prompt, weight, num_units=num_units, level=level, seed=seed
    )
    if interval.is_known:
        return interval
    low, high = share_bounds(value, num_units, level=level)
    return Interval(value=value, low=low, high=high)


def rarer_kind(positive: np.ndarray, prompt: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Effective number of prompts of positives or of negatives, whichever are fewer; 0 where one kind is absent.

    Args:
        positive: (N,) 0 to 1, as for `auroc`.
    """
    weight = np.ones(len(positive)) if weight is None else weight
    _, group = np.unique(prompt, return_inverse=True)
    return min(effective_number(np.bincount(group, weight * part)) for part in (positive, 1.0 - positive))


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
    return [part for part in np.array_split(order, min(num_groups, max(1, len(order)))) if len(part)]
