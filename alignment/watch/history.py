"""The metrics of a run as its watcher sees them, and whether a noisy series of them rises. No torch.

A history keeps of each metric its first points and its last ones, so that it stays bounded. Trends are judged by a rank
test and by medians, which a few wild points do not move.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

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
    scipy.stats has the same slope (theilslopes) and S without its correction for continuity (kendalltau), but a call
    takes four times as long, and a watched step makes dozens.

    Args:
        at: (n,) rising, steps.
        values: (n,) finite.

    Returns:
        z and rise are 0 for fewer than two points, or where all are equal.
    """
    num = len(values)
    if num < 2:
        return Trend(z=0.0, rise=0.0, num=num)
    earlier, later = np.triu_indices(num, 1)
    differences = values[later] - values[earlier]
    s = np.sign(differences).sum()
    slope = np.median(differences / (at[later] - at[earlier]))
    ties = np.unique(values, return_counts=True)[1]
    variance = (num * (num - 1) * (2 * num + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18
    z = (s - np.sign(s)) / np.sqrt(variance) if variance > 0 else 0.0
    return Trend(z=float(z), rise=float(slope * (at[-1] - at[0])), num=num)


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


NUM_FIRST = 20
NUM_LAST = 64


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What a rule saw of its failure mode.

    Attributes:
        figure: the numbers, a sentence.
        metrics: their names.
    """

    figure: str
    metrics: tuple[str, ...]


class Series:
    """One metric: its first points, which say where it came from, and its last ones.

    Attributes:
        first, last: (step, value), finite, at most 20 and 64 of them; a run of few points has them in both.
    """

    def __init__(self) -> None:
        self.first: list[tuple[int, float]] = []
        self.last: deque[tuple[int, float]] = deque(maxlen=NUM_LAST)
        self.num = 0

    def add(self, step: int, value: float) -> None:
        """Takes a point; a step that comes again replaces its former value."""
        if self.last and self.last[-1][0] == step:
            self.last[-1] = (step, value)
            if self.num <= NUM_FIRST:
                self.first[-1] = (step, value)
            return
        self.last.append((step, value))
        self.num += 1
        if len(self.first) < NUM_FIRST:
            self.first.append((step, value))


@dataclass(frozen=True, kw_only=True)
class Window:
    """Points of one metric, oldest first."""

    at: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def trend(self) -> Trend:
        return trend(self.at, self.values)


class History:
    """The metrics of a run as far as it went.

    Args:
        names: the metrics to keep; others are left out.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.series = {name: Series() for name in names}
        self.step = 0
        self.not_finite: tuple[str, ...] = ()

    def add(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Takes the metrics of a step; null counts as a value that was not finite, an absent name as not measured."""
        broken: list[str] = []
        for name, series in self.series.items():
            if name not in metrics:
                continue
            value = metrics[name]
            if value is not None and math.isfinite(value):
                series.add(step, float(value))
            else:
                broken.append(name)
        self.step, self.not_finite = step, tuple(broken)

    def num(self, name: str) -> int:
        """Points of a metric so far."""
        return self.series[name].num

    def last(self, name: str, num: int) -> Window | None:
        """Its last `num` points, at most 64; None where there are fewer."""
        return _window(list(self.series[name].last)[-num:], num)

    def upto(self, name: str, num: int) -> Window:
        """Returns its last points, `num` at most."""
        points = list(self.series[name].last)[-num:]
        return _points(points)

    def first(self, name: str, num: int) -> Window | None:
        """Its first `num` points, at most 20; None where there are fewer."""
        return _window(self.series[name].first[:num], num)

    def level(self, name: str, num: int) -> float | None:
        """Median of its last `num` points; None where there are fewer."""
        return _median(list(self.series[name].last)[-num:], num)

    def start(self, name: str, num: int) -> float | None:
        """Median of its first `num` points; None where there are fewer."""
        return _median(self.series[name].first[:num], num)

    def newest(self, name: str) -> float | None:
        last = self.series[name].last
        return last[-1][1] if last else None


def _median(points: list[tuple[int, float]], num: int) -> float | None:
    return median(value for _, value in points) if len(points) == num else None


def _window(points: list[tuple[int, float]], num: int) -> Window | None:
    return _points(points) if len(points) == num else None


def _points(points: list[tuple[int, float]]) -> Window:
    return Window(at=np.array([at for at, _ in points], float), values=np.array([value for _, value in points]))
