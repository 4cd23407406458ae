"""Bounds of figures that rest on too little for a bootstrap: few units, or none that differs from the others.

Resampling few units understates what is not known, and of equal ones it sees no spread at all: one prompt would be
known exactly. Below LEAST units (prompts, items) `rewardkit.stats.metrics` takes the bounds from here: exact ones of
shares, of differences of shares and of AUROC, Student's of other means. Numbers in, bounds out; numpy alone.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

LEAST = 10
"""Units from which on a bootstrap over them is believed."""

LEAST_HITS = 5
"""The same of hits, and of misses, for a share."""

Bounds = tuple[float, float]
UNKNOWN: Bounds = (math.nan, math.nan)


def effective_number(totals: np.ndarray) -> float:
    """Number of units of equal weight that know as much as units of these weights: (sum w)^2 / sum w^2. Kish 1965.

    Args:
        totals: (P,) weight of each unit, 0 or more.
    """
    squares = float((totals**2).sum())
    return float(totals.sum()) ** 2 / squares if squares > 0 else 0.0


def is_enough(share: float, num_units: float) -> bool:
    """Whether a bootstrap over units is believed for a share: LEAST of them, LEAST_HITS hits and as many misses."""
    return num_units >= LEAST and num_units * min(share, 1.0 - share) >= LEAST_HITS


def share_bounds(share: float, num_units: float, *, level: float = 0.95) -> Bounds:
    """Exact binomial limits of a share over independent units: Beta quantiles of (x, n - x + 1) and (x + 1, n - x).

    Clopper and Pearson 1934, with x = n share hits. A unit may be a hit by a part; of all variables between 0 and 1 of
    one mean, hits and misses vary most, so the limits are wide enough.

    Args:
        share: 0 to 1.
        num_units: n, above 0; need not be whole (`effective_number`).
    """
    tail = (1 - level) / 2
    return _lower(share, num_units, tail), 1.0 - _lower(1.0 - share, num_units, tail)


def difference_bounds(above: float, below: float, num_units: float, *, level: float = 0.95) -> Bounds:
    """Limits of above - below, the parts of paired differences between -1 and 1 that are over and under 0.

    (low(above) - high(below), high(above) - low(below)), each exact at half the error (Bonferroni): where two rules
    differ on few units or none, what the others might have shown is bounded too, as in McNemar's exact test.

    Args:
        above, below: means over all units of max(d, 0) and max(-d, 0).
        num_units: as for `share_bounds`.
    """
    (low, high), (other_low, other_high) = (
        share_bounds(part, num_units, level=(1 + level) / 2) for part in (above, below)
    )
    return low - other_high, high - other_low


def kappa_at(kappa: float, agreement: float, bound: float) -> float:
    """What a chance-corrected coefficient is at another observed agreement and the same chance.

    kappa = (p - e) / (1 - e), so 1 - (1 - kappa) (1 - bound) / (1 - p). Where p is 1, nothing tells e from it, and that
    of two even answers is taken: 2 bound - 1.
    """
    if agreement >= 1 - 1e-12:
        return 2 * bound - 1
    return 1 - (1 - kappa) * (1 - bound) / (1 - agreement)


def mean_bounds(value: float, standard_error: float, num_units: int, *, level: float = 0.95) -> Bounds:
    """Student's limits of a mean of any quantity; unknown from one unit, or where units do not differ. Student 1908.

    Args:
        standard_error: with ddof = 1, of a mean over units.
    """
    if num_units < 2 or not standard_error > 0:
        return UNKNOWN
    degrees = num_units - 1
    # |t| > q is a Beta variable: nu / (nu + q^2) of (nu / 2, 1 / 2)
    part = beta_quantile(1 - level, degrees / 2, 0.5)
    reach = math.sqrt(degrees * (1 - part) / part) * standard_error
    return value - reach, value + reach


def _lower(share: float, num_units: float, tail: float) -> float:
    hits = share * num_units
    return beta_quantile(tail, hits, num_units - hits + 1.0) if hits > 1e-9 else 0.0


@cache
def beta_quantile(probability: float, a: float, b: float) -> float:
    """x with I_x(a, b) = probability, to 1e-12; by bisection, as the distribution function never falls."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if incomplete_beta(middle, a, b) < probability else (low, middle)
    return (low + high) / 2


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b), by the continued fraction 26.5.8 of Abramowitz and Stegun 1964.

    Evaluated from the front (Lentz 1976). Own code, because scipy is no part of what scores and evaluates.

    Args:
        x: 0 to 1.
        a, b: above 0.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where the fraction converges fast
        return 1.0 - incomplete_beta(1.0 - x, b, a)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)) / a
    tiny = 1e-300
    upper, lower, fraction = 1.0, 0.0, 1.0
    for step in range(10_000):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        lower = 1.0 / (1.0 + term * lower or tiny)
        upper = 1.0 + term / upper or tiny
        change = upper * lower
        fraction *= change
        if abs(change - 1.0) < 1e-14:
            break
    return front * (fraction - 1.0)
