"""Shares with their intervals and tests: what annotator quality is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, ndtr

from annotate_app.agreement.pairs import Z_95


@dataclass(frozen=True, kw_only=True)
class Share:
    """hits of total, with Wilson's 95 % interval; value and bounds are NaN where total is 0."""

    hits: int
    total: int
    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __str__(self) -> str:
        return f"{self.value:.0%} ({self.hits} of {self.total})" if self.total else "none"


def share(hits: int, total: int) -> Share:
    """A share with its interval."""
    low, high = wilson_interval(hits, total)
    return Share(hits=int(hits), total=int(total), value=hits / total if total else float("nan"), low=low, high=high)


def wilson_interval(hits: int, total: int) -> tuple[float, float]:
    """The 95 % score interval (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).  Wilson 1927."""
    if total == 0:
        return float("nan"), float("nan")
    p, scale = hits / total, Z_95**2 / total
    reach = Z_95 * np.sqrt(p * (1 - p) / total + scale / (4 * total))
    return max(0.0, float((p + scale / 2 - reach) / (1 + scale))), min(
        1.0, float((p + scale / 2 + reach) / (1 + scale))
    )


def sign_test(hits: int, total: int) -> float:
    """Two-sided exact p value of hits under a fair coin; NaN for no throws."""
    if total == 0:
        return float("nan")
    return min(1.0, 2 * float(bdtr(min(hits, total - hits), total, 0.5)))


def difference_test(hits: int, total: int, other_hits: int, other_total: int) -> float:
    """Two-sided p value that two shares are equal (pooled z test); NaN where one is empty or nothing varies."""
    if total == 0 or other_total == 0:
        return float("nan")
    pooled = (hits + other_hits) / (total + other_total)
    error = np.sqrt(pooled * (1 - pooled) * (1 / total + 1 / other_total))
    if error == 0:
        return float("nan")
    return float(2 * ndtr(-abs(hits / total - other_hits / other_total) / error))


def trend_test(at: np.ndarray, hits: np.ndarray, totals: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Slope per unit of `at` of a share over what was expected, and its two-sided p value; NaN without spread.

    slope = sum (t - tbar)(x - e) / S, z = slope sqrt(S / (pbar (1 - pbar))), S = sum n (t - tbar)^2. With e = n pbar
    this is the trend test of Cochran (1954) and Armitage (1955).

    Args:
        at: (W,) times; hits and totals (W,) counts; expected (W,) hits expected without a trend.
    """
    total = totals.sum()
    if total == 0:
        return float("nan"), float("nan")
    mean, middle = hits.sum() / total, (totals * at).sum() / total
    spread = float((totals * (at - middle) ** 2).sum())
    if spread == 0:
        return float("nan"), float("nan")
    slope = float(((at - middle) * (hits - expected)).sum()) / spread
    if mean in (0.0, 1.0):
        return slope, float("nan")
    return slope, float(2 * ndtr(-abs(slope) * np.sqrt(spread / (mean * (1 - mean)))))
