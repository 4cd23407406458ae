"""Whether a noisy series rises, and how much: rank tests and medians, which a few wild points do not move. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SURE = 2.326
"""z of a one-sided level of 1%."""
VERY_SURE = 3.090
"""z of a one-sided level of 0.1%."""
LIKELY = 1.645
"""z of a one-sided level of 5%."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """What a series did over a window.

    Attributes:
        z: Mann-Kendall's statistic, standard normal where there is no trend and points are independent; above 0 where
            later values are larger.
        rise: Theil-Sen slope times the window's length, in the series' unit.
        num: points.
    """

    z: float
    rise: float
    num: int


def trend(at: np.ndarray, values: np.ndarray) -> Trend:
    """Mann-Kendall test and Theil-Sen rise.

    S = sum_{i<j} sign(x_j - x_i),   Var S = (n (n - 1) (2n + 5) - sum_t t (t - 1) (2t + 5)) / 18,
    z = (S - sign S) / sqrt(Var S),   rise = (at_n - at_1) median_{i<j} (x_j - x_i) / (at_j - at_i),
    where t are the sizes of groups of equal values. Mann 1945, Kendall 1975; Sen 1968 (JASA 63:1379).

    Args:
        at: (n,) rising places, steps.
        values: (n,) finite.

    Returns:
        z and rise are 0 for fewer than two points, or where all are equal.
    """
    num = len(values)
    if num < 2:
        return Trend(z=0.0, rise=0.0, num=num)
    earlier, later = np.triu_indices(num, 1)
    differences = values[later] - values[earlier]
    slopes = differences / (at[later] - at[earlier])
    s = float(np.sign(differences).sum())
    ties = np.unique(values, return_counts=True)[1]
    variance = (num * (num - 1) * (2 * num + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    z = (s - np.sign(s)) / math.sqrt(variance) if variance > 0 else 0.0
    return Trend(z=float(z), rise=float(np.median(slopes) * (at[-1] - at[0])), num=num)


def step_noise(values: np.ndarray) -> float:
    """Standard deviation of a point around a slow course: 1.4826 median |x_{i+1} - x_i - m| / sqrt 2, m their median.

    From successive differences (von Neumann 1941), so that a trend does not count as noise, and from the median of
    their distances, so that a spike does not either. It holds all that makes steps differ, other prompts too, which
    spread / sqrt(completions) would leave out where completions share prompts.

    Args:
        values: (n,) finite, at least three.
    """
    differences = np.diff(values)
    return float(1.4826 * np.median(np.abs(differences - np.median(differences))) / math.sqrt(2))
