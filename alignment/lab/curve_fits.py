"""The two forms in which gold reward rises and falls with the distance a policy has moved, fitted by least squares.

    best-of-n                 R(d) = d (a - b d)
    reinforcement learning    R(d) = d (a - b log d),   d = sqrt(KL)

Gao et al. 2022, eqs. 1 and 2 (arXiv 2210.10760). Both are linear in a and b: no iteration, no starting point.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rewardkit.stats.metrics import percentile_interval

Form = Literal["best_of_n", "reinforcement"]
LEAST_POINTS = 4  # of which a fit of two numbers still says something
DRAWS = 500
FALLS, BEYOND = "falls from the start", "beyond what was pushed"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted curve.

    Attributes:
        form: of the curve.
        a, b: its numbers.
        a_low, a_high, b_low, b_high: 95 % bootstrap intervals.
        r2: share of the points' variance that it explains; below 0 where their mean fits better.
        nearest, furthest: least distance above 0 and largest distance that was measured.
    """

    form: Form
    a: float
    b: float
    a_low: float
    a_high: float
    b_low: float
    b_high: float
    r2: float
    nearest: float
    furthest: float

    def at(self, distance: np.ndarray) -> np.ndarray:
        """Returns (M,) fitted gold at the distances; 0 at distance 0."""
        return _columns(self.form, distance) @ np.array([self.a, self.b])

    @property
    def peak(self) -> float:
        """Distance from 0 to the furthest at which the fit is highest: 0 where gold is nowhere above the start.

        Where b is above 0 a fit turns: R'(d) = a - 2 b d for best-of-n, a - b - b log d for reinforcement learning.
        Beyond the furthest point a fit is a guess.
        """
        places = [0.0, self.furthest]
        if self.b > 0:
            turn = self.a / (2 * self.b) if self.form == "best_of_n" else np.exp(min(self.a / self.b - 1, 700.0))
            places.insert(1, float(np.clip(turn, 0.0, self.furthest)))
        return places[int(np.argmax(self.at(np.array(places))))]

    @property
    def turning(self) -> str:
        """The peak in words."""
        if self.peak < self.nearest:
            return FALLS
        return f"{self.peak:.2f}" if self.peak < self.furthest else BEYOND


def fit_best_of_n(distance: np.ndarray, gold: np.ndarray, *, seed: int = 0) -> Fit | None:
    """Fits d (a - b d), bands from prompts resampled; None for fewer than four points or one distance.

    Args:
        distance: (M,) sqrt of nats.
        gold: (P, M) of each prompt, above the start.
    """
    prompts = np.random.default_rng(seed).integers(len(gold), size=(DRAWS, len(gold)))
    return _fit("best_of_n", distance, gold.mean(0), (gold[picked].mean(0) for picked in prompts))


def fit_reinforcement(distance: np.ndarray, gold: np.ndarray, *, seed: int = 0) -> Fit | None:
    """Fits d (a - b log d), bands from messages resampled; None for fewer than four points.

    Audits of a run answer the same messages and follow one another: to resample audits would take them for as many
    runs. A message keeps all its audits.

    Args:
        distance: (M,) sqrt of nats, of a run's audits; those at distance 0 say nothing.
        gold: (P, M) of each message, above the start.
    """
    moved = distance > 0
    distance, gold = distance[moved], gold[:, moved]
    messages = np.random.default_rng(seed).integers(len(gold), size=(DRAWS, len(gold)))
    return _fit("reinforcement", distance, gold.mean(0), (gold[picked].mean(0) for picked in messages))


def _fit(form: Form, distance: np.ndarray, gold: np.ndarray, draws: Iterable[np.ndarray]) -> Fit | None:
    if len(distance) < LEAST_POINTS or not np.ptp(distance):
        return None
    columns = _columns(form, distance)
    a, b = np.linalg.lstsq(columns, gold, rcond=None)[0]
    samples = np.array([np.linalg.lstsq(columns, resampled, rcond=None)[0] for resampled in draws])
    (a_low, a_high), (b_low, b_high) = (percentile_interval(column) for column in samples.T)
    residual = gold - columns @ np.array([a, b])
    spread = float(((gold - gold.mean()) ** 2).sum())
    return Fit(
        form=form,
        a=float(a),
        b=float(b),
        a_low=a_low,
        a_high=a_high,
        b_low=b_low,
        b_high=b_high,
        r2=1 - float((residual**2).sum()) / spread if spread else float("nan"),
        nearest=float(distance[distance > 0].min()),
        furthest=float(distance.max()),
    )


def _columns(form: Form, distance: np.ndarray) -> np.ndarray:
    """Returns (M, 2) regressors of a and b."""
    if form == "best_of_n":
        return np.stack([distance, -(distance**2)], 1)
    logs = np.log(np.maximum(distance, 1e-12))
    return np.stack([distance, -distance * logs], 1)
