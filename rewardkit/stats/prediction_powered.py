"""Prediction-powered inference: a mean from few values by people and many by a judge, with an interval that holds.

theta = mean people(y) - lambda (mean both(f) - mean judge only(f)). Angelopoulos et al. 2023 (arXiv 2301.09633);
lambda, which says how much the judge is worth, is that of PPI++ (Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453).
The judge may be wrong in any way: what it is wrong by is measured where people looked too and taken away, so that a bad
judge costs nothing and a good one narrows the interval. It holds only if the units that people looked at are like the
rest, as a random share of them is; where people got the hard ones, no judge mends that. Numbers in,
numbers out; numpy alone.

Where we differ from the papers: values may hang together in clusters, with weights; the error is that of the linearised
ratio over clusters. lambda is the slope of that same error and costs a degree of freedom; Student's limits in place of
normal ones; people's own interval where there is too little to measure a judge by.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from rewardkit.stats.metrics import Interval, mean_interval, share_difference_interval
from rewardkit.stats.small_samples import LEAST, difference_bounds, effective_number, mean_bounds

SPENT = 2  # degrees of freedom: the mean and lambda


@dataclass(frozen=True, kw_only=True)
class PoweredMean:
    """One mean three ways.

    Attributes:
        people: of people's values alone.
        powered: of both; the same as `people` where `lam` is 0.
        judge: of the judge's values alone, over every unit that it judged. Its interval knows of its sampling only,
            not of its errors: it is no estimate of what people would say.
        lam: lambda, the weight of the judge, 0 to 1.
        bias: the judge minus people on the units of both.
        num_people, num_both, num_judge_only: units.
        gain: people's units that would give the interval of `powered`, over those there are; 1 where lam is 0.
    """

    people: Interval
    powered: Interval
    judge: Interval
    lam: float
    bias: Interval
    num_people: int
    num_both: int
    num_judge_only: int
    gain: float

    def as_dict(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)


def prediction_powered_mean(
    people: np.ndarray,
    judge: np.ndarray,
    cluster: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    *,
    lam: float | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> PoweredMean:
    """The mean of shares by people, by people and judge, and by the judge.

    Of cluster c, a_c is the part in mean people(y) and b_c that in mean both(f) - mean judge only(f), linearised so
    that each sums to 0: var = sum (a_c - lambda b_c)^2 n / (n - 2), lambda = sum a b / sum b^2 between 0 and 1. Without
    weights and with clusters of one unit that is cov(y, f) / ((1 + n / N) var(f)), as in PPI++.

    Where people and judge differ on fewer than LEAST units, what the others might have shown is bounded by
    `difference_bounds` and added in quadrature: a judge that was right ten times is not known to be perfect. Where
    people looked at fewer than LEAST clusters together with the judge, or the judge saw nothing else, lambda is 0.

    Args:
        people: (I,) 0 to 1, NaN where nobody looked.
        judge: (I,) 0 to 1, NaN where the judge did not.
        cluster: (I,) which units hang together (a prompt); None takes each for its own.
        weight: (I,) of people's values, for example their votes; 0 or more. The judge's own units all weigh 1.
        lam: fixed weight of the judge, 0 to 1; None tunes it.

    Raises:
        ValueError: if the lengths differ, a value is outside 0 to 1, or lam is.
    """
    people, judge, cluster, weight = _checked(people, judge, cluster, weight, lam)
    seen = ~np.isnan(people) & (weight > 0)
    judged = ~np.isnan(judge)
    both = seen & judged
    own = mean_interval(people[seen], cluster[seen], weight[seen], level=level, seed=seed)
    bias = share_difference_interval(judge[both], people[both], cluster[both], weight[both], level=level, seed=seed)
    corrected, lam = corrected_mean(people, judge, cluster, weight * seen, lam=lam, level=level)
    powered = corrected or own
    width = powered.high - powered.low
    return PoweredMean(
        people=own,
        powered=powered,
        judge=mean_interval(judge[judged], cluster[judged], level=level, seed=seed),
        lam=lam,
        bias=bias,
        num_people=int(seen.sum()),
        num_both=int(both.sum()),
        num_judge_only=int((judged & ~seen).sum()),
        gain=((own.high - own.low) / width) ** 2 if width > 0 else math.nan,
    )


def corrected_mean(
    people: np.ndarray,
    judge: np.ndarray,
    cluster: np.ndarray,
    weight: np.ndarray,
    *,
    lam: float | None = None,
    level: float = 0.95,
) -> tuple[Interval | None, float]:
    """People's mean corrected by the judge, and lambda; None and 0 where the judge is left out.

    Arguments as for `prediction_powered_mean`, none of them left out; weight is 0 where nobody looked.
    """
    seen = weight > 0
    both, alone = seen & ~np.isnan(judge), ~seen & ~np.isnan(judge)
    num_clusters = len(np.unique(cluster[both]))
    if not alone.any() or num_clusters < LEAST or lam == 0:
        return None, 0.0
    a = _influence(people, weight, cluster)
    b = _influence(judge, weight * both, cluster) - _influence(judge, alone.astype(float), cluster)
    if lam is None:
        slope = float(a @ b / (b @ b)) if b @ b > 0 else 0.0
        lam = float(np.clip(slope, 0.0, 1.0))
    if lam == 0:
        return None, 0.0
    value = _mean(people, weight) - lam * (_mean(judge, weight * both) - _mean(judge, alone.astype(float)))
    spent = num_clusters - SPENT
    error = math.sqrt(float(((a - lam * b) ** 2).sum()) * num_clusters / spent)
    low, high = mean_bounds(value, error, spent + 1, level=level) if error > 0 else (value, value)
    below, above = _unseen(people, judge, cluster, weight, both, level)
    low, high = value - math.hypot(value - low, lam * below), value + math.hypot(high - value, lam * above)
    return Interval(value=value, low=low, high=high), lam


def _checked(
    people: np.ndarray, judge: np.ndarray, cluster: np.ndarray | None, weight: np.ndarray | None, lam: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    people, judge = np.asarray(people, dtype=float), np.asarray(judge, dtype=float)
    group = np.arange(len(people)) if cluster is None else np.asarray(cluster)
    weight = np.ones(len(people)) if weight is None else np.asarray(weight, dtype=float)
    if not len(people) == len(judge) == len(group) == len(weight):
        lengths = ", ".join(str(len(part)) for part in (people, judge, group, weight))
        raise ValueError(f"people, judge, cluster and weight have lengths {lengths}, allowed is one length")
    for name, values in (("people", people), ("judge", judge)):
        outside = values[(values < 0) | (values > 1)]
        if len(outside):
            raise ValueError(f"{name} has the value {outside[0]:g}, allowed is 0 to 1")
    if lam is not None and not 0 <= lam <= 1:
        raise ValueError(f"lam is {lam}, allowed is 0 to 1")
    return people, judge, group, weight


def _mean(values: np.ndarray, weight: np.ndarray) -> float:
    used = weight > 0
    return float(np.average(values[used], weights=weight[used]))


def _influence(values: np.ndarray, weight: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """(C,) what each cluster adds to the error of a weighted mean: sum w (v - mean) / sum w."""
    _, group = np.unique(cluster, return_inverse=True)
    used = weight > 0
    residual = weight[used] * (values[used] - _mean(values, weight)) / weight.sum()
    return np.bincount(group[used], residual, minlength=int(group.max()) + 1)


def _unseen(
    people: np.ndarray, judge: np.ndarray, cluster: np.ndarray, weight: np.ndarray, both: np.ndarray, level: float
) -> tuple[float, float]:
    """How far below and above its estimate people minus judge may lie, where they differ on too few units to tell."""
    _, group = np.unique(cluster[both], return_inverse=True)
    totals = np.bincount(group, weight[both])
    sums = np.bincount(group, weight[both] * (people[both] - judge[both]))
    num_units = effective_number(totals)
    above, below = (float(np.maximum(side, 0.0).sum() / totals.sum()) for side in (sums, -sums))
    if num_units * (above + below) >= LEAST:
        return 0.0, 0.0
    low, high = difference_bounds(min(above, 1.0), min(below, 1.0), num_units, level=level)
    return above - below - low, high - (above - below)
