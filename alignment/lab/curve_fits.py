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


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted curve.

    Attributes:
        form: of the curve.
        a, b: its numbers; gold turns where b is above 0.
        a_low, a_high, b_low, b_high: 95 % bootstrap intervals.
        r2: share of the points' variance that it explains.
    """

    form: Form
    a: float
    b: float
    a_low: float
    a_high: float
    b_low: float
    b_high: float
    r2: float

    def at(self, distance: np.ndarray) -> np.ndarray:
        """Returns (M,) fitted gold at the distances; 0 at distance 0."""
        return _columns(self.form, distance) @ np.array([self.a, self.b])

    @property
    def peak(self) -> float:
        """Distance at which the fit is highest; infinite where it never turns down."""
        if self.b <= 0:
            return float("inf")
        return self.a / (2 * self.b) if self.form == "best_of_n" else float(np.exp(self.a / self.b - 1))


def fit_best_of_n(distance: np.ndarray, gold: np.ndarray, *, seed: int = 0) -> Fit | None:
    """Fits d (a - b d), bands from prompts resampled; None for fewer than four points or one distance.

    Args:
        distance: (M,) sqrt of nats.
        gold: (P, M) of each prompt, above the start.
    """
    prompts = np.random.default_rng(seed).integers(len(gold), size=(DRAWS, len(gold)))
    return _fit("best_of_n", distance, gold.mean(0), (gold[picked].mean(0) for picked in prompts))


def fit_reinforcement(distance: np.ndarray, gold: np.ndarray, *, seed: int = 0) -> Fit | None:
    """Fits d (a - b log d), bands from resampled residuals; None for fewer than four points.

    Args:
        distance: (M,) sqrt of nats, of a run's audits; those at distance 0 say nothing.
        gold: (M,) above the start.
    """
    moved = distance > 0
    distance, gold = distance[moved], gold[moved]
    if len(distance) < LEAST_POINTS:
        return None
    columns = _columns("reinforcement", distance)
    fitted = columns @ np.linalg.lstsq(columns, gold, rcond=None)[0]
    picked = np.random.default_rng(seed).integers(len(gold), size=(DRAWS, len(gold)))
    return _fit("reinforcement", distance, gold, (fitted + (gold - fitted)[places] for places in picked))


def _fit(form: Form, distance: np.ndarray, gold: np.ndarray, draws: Iterable[np.ndarray]) -> Fit | None:
    if len(distance) < LEAST_POINTS or not np.ptp(distance):
        return None
    columns = _columns(form, distance)
    a, b = np.linalg.lstsq(columns, gold, rcond=None)[0]
    samples = np.array([np.linalg.lstsq(columns, resampled, rcond=None)[0] for resampled in draws])
    (a_low, a_high), (b_low, b_high) = (percentile_interval(column) for column in samples.T)
    residual = gold - columns @ np.array([a, b])
    spread = float(((gold - gold.mean()) ** 2).sum())
    r2 = 1 - float((residual**2).sum()) / spread if spread else float("nan")
    return Fit(
        form=form,
        a=float(a),
        b=float(b),
        a_low=a_low,
        a_high=a_high,
        b_low=b_low,
        b_high=b_high,
        r2=r2,
    )


def _columns(form: Form, distance: np.ndarray) -> np.ndarray:
    """Returns (M, 2) regressors of a and b."""
    if form == "best_of_n":
        return np.stack([distance, -(distance**2)], 1)
    logs = np.log(np.maximum(distance, 1e-12))
    return np.stack([distance, -distance * logs], 1)
