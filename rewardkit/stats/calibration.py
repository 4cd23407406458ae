"""From margins to probabilities that hold: a temperature or an isotonic curve, fitted on held-out preferences.

A calibration is a plain dict, so that it travels in `rewardkit.json`: {"kind": "temperature", "temperature": T},
{"kind": "isotonic", "x": [...], "y": [...]}, or {} for sigma(d) as it is. Each keeps p(d) = 1 - p(-d): which completion
is called chosen decides nothing. Fitted by the labels' smoothed shares (n p + 1) / (n + 2) of n pairs (Platt 1999), so
that a handful of pairs in perfect order does not make a model certain.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from rewardkit.stats.metrics import brier_score, expected_calibration_error
from rewardkit.stats.uncertainty import sigmoid

logger = logging.getLogger(__name__)
Kind = Literal["temperature", "isotonic", "none"]
Calibration = Mapping[str, Any]
BOUNDS = (1e-3, 1e3)  # of the inverse temperature, in units of the margins' root mean square
NUM_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class CalibrationFigures:
    """How well probabilities fit what people chose; each is better when lower.

    Attributes:
        nll: nats per pair.
        brier: mean squared difference.
        ece: expected calibration error, 10 bins of equal count.
    """

    nll: float
    brier: float
    ece: float


@dataclass(frozen=True, kw_only=True)
class CalibrationFit:
    """A fitted calibration.

    Attributes:
        calibration: what to save and to give to `apply`.
        before: figures of sigma(d).
        after: figures of calibrated probabilities, each pair by a fit that has not seen its prompt (5 folds).
        converged: whether a minimum was found between the bounds; where the rewards say nothing about the choices, the
            temperature ends at its bound and every probability near 0.5.
        num_iterations: of the temperature's Newton steps; 0 for isotonic, which is solved in one pass.
    """

    calibration: Calibration
    before: CalibrationFigures
    after: CalibrationFigures
    converged: bool = True
    num_iterations: int = 0

    def results(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)


def apply(calibration: Calibration, margins: np.ndarray) -> np.ndarray:
    """Calibrated probabilities of chosen, of the margins' shape (members may stand in rows).

    Raises:
        ValueError: if the calibration is of no known kind.
    """
    margins = np.asarray(margins, dtype=float)
    match calibration.get("kind", "none"):
        case "none":
            return sigmoid(margins)
        case "temperature":
            return sigmoid(margins / calibration["temperature"])
        case "isotonic":
            return np.interp(margins, calibration["x"], calibration["y"])
        case other:
            raise ValueError(f"calibration kind is {other!r}, allowed are temperature, isotonic, none")


def fit_calibration(
    margins: np.ndarray,
    p_chosen: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    kind: Kind = "temperature",
    prompt: np.ndarray | None = None,
) -> CalibrationFit:
    """Fits a calibration on held-out pairs.

    Args:
        margins: (N,) chosen minus rejected of the mean reward.
        p_chosen: (N,) soft labels, 0 to 1.
        weight: (N,) 0 or more.
        prompt: (N,) number of each pair's prompt, which the folds keep together; None takes each pair for its own.

    Raises:
        ValueError: if there is no pair with a weight, or a margin is not finite.
    """
    margins, p_chosen = np.asarray(margins, dtype=float), np.asarray(p_chosen, dtype=float)
    weight = np.ones(len(margins)) if weight is None else np.asarray(weight, dtype=float)
    if not weight.sum() > 0:
        raise ValueError(
            f"{len(margins)} held-out pairs of weight {weight.sum()} to calibrate on, at least 1 is needed"
        )
    if not np.isfinite(margins).all():
        raise ValueError(f"{int((~np.isfinite(margins)).sum())} of {len(margins)} held-out margins are not finite")
    before = calibration_figures(sigmoid(margins), p_chosen, weight)
    if kind == "none":
        return CalibrationFit(calibration={}, before=before, after=before)
    fit = _fit_temperature if kind == "temperature" else _fit_isotonic
    calibration, converged, num_iterations = fit(margins, p_chosen, weight)
    if not converged:
        logger.warning("temperature: no minimum of the held-out NLL between its bounds, %s kept", calibration)
    unseen = _out_of_fold(fit, margins, p_chosen, weight, np.arange(len(margins)) if prompt is None else prompt)
    return CalibrationFit(
        calibration=calibration,
        before=before,
        after=calibration_figures(unseen, p_chosen, weight),
        converged=converged,
        num_iterations=num_iterations,
    )


def calibration_figures(
    probabilities: np.ndarray, p_chosen: np.ndarray, weight: np.ndarray | None = None
) -> CalibrationFigures:
    """NLL, Brier score and expected calibration error of predicted probabilities of chosen, (N,) each."""
    with np.errstate(divide="ignore"):
        losses = -_times_log(p_chosen, probabilities) - _times_log(1.0 - p_chosen, 1.0 - probabilities)
    return CalibrationFigures(
        nll=float(np.average(losses, weights=weight)),
        brier=brier_score(probabilities, p_chosen, weight),
        ece=expected_calibration_error(probabilities, p_chosen),
    )


def _times_log(share: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """share * log(probabilities), 0 where the share is 0."""
    return np.where(share > 0, share * np.log(np.where(share > 0, probabilities, 1.0)), 0.0)


Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[dict[str, Any], bool, int]]


def _smoothed(p_chosen: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Shares after one more vote each way, over as many pairs as the weights amount to (Kish's effective number)."""
    count = weight.sum() ** 2 / (weight**2).sum()
    return (count * p_chosen + 1.0) / (count + 2.0)


def _fit_temperature(margins: np.ndarray, p_chosen: np.ndarray, weight: np.ndarray) -> tuple[dict[str, Any], bool, int]:
    """Newton's method on the inverse temperature a, in which the NLL is convex, kept in a bracket by bisection.

    dNLL/da = mean w d (sigma(a d) - p),   d2NLL/da2 = mean w d^2 sigma(a d) sigma(-a d).
    Guo et al. 2017, section 4.2 (arXiv 1706.04599), with 1/T as the variable.
    """
    scale = float(np.sqrt(np.average(margins**2, weights=weight)))
    if scale == 0:
        return {"kind": "temperature", "temperature": 1.0}, False, 0
    unit, labels = margins / scale, _smoothed(p_chosen, weight)
    low, high = BOUNDS
    inverse, num_iterations, done = min(max(scale, low), high), 0, False
    while not done and num_iterations < 100:
        num_iterations += 1
        probability = sigmoid(inverse * unit)
        slope = float(np.average(unit * (probability - labels), weights=weight))
        curvature = float(np.average(unit**2 * probability * (1.0 - probability), weights=weight))
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        newton = inverse - slope / curvature if curvature > 0 else 0.0
        following = newton if low < newton < high else float(np.sqrt(low * high))
        done = abs(following - inverse) <= 1e-10 * inverse
        inverse = following
    converged = done and BOUNDS[0] * 1.01 < inverse < BOUNDS[1] / 1.01
    return {"kind": "temperature", "temperature": scale / inverse}, converged, num_iterations


def _fit_isotonic(margins: np.ndarray, p_chosen: np.ndarray, weight: np.ndarray) -> tuple[dict[str, Any], bool, int]:
    """The best rising curve through the pairs seen from both sides (d, p) and (-d, 1 - p).

    Zadrozny and Elkan 2002; linear between its steps, flat beyond the largest margin seen.
    """
    from sklearn.isotonic import IsotonicRegression

    labels = _smoothed(p_chosen, weight)
    both = np.concatenate((margins, -margins)), np.concatenate((labels, 1.0 - labels))
    has_weight = np.concatenate((weight, weight)) > 0
    curve = IsotonicRegression(out_of_bounds="clip", y_min=0.0, y_max=1.0)
    curve.fit(both[0][has_weight], both[1][has_weight], np.concatenate((weight, weight))[has_weight])
    x = np.union1d(curve.X_thresholds_, -curve.X_thresholds_)
    y = 0.5 + 0.5 * (curve.predict(x) - curve.predict(-x))  # exact symmetry, beyond rounding
    return {"kind": "isotonic", "x": x.tolist(), "y": y.tolist()}, True, 0


def _out_of_fold(
    fit: Fit, margins: np.ndarray, p_chosen: np.ndarray, weight: np.ndarray, prompt: np.ndarray
) -> np.ndarray:
    """(N,) probabilities of each pair by a calibration fitted without its prompt."""
    _, group = np.unique(prompt, return_inverse=True)
    num_prompts = int(group.max()) + 1
    if num_prompts < 2:
        return apply(fit(margins, p_chosen, weight)[0], margins)
    fold = np.random.default_rng(0).permutation(num_prompts)[group] % min(NUM_FOLDS, num_prompts)
    unseen = np.empty(len(margins))
    for number in range(int(fold.max()) + 1):
        in_fold, rest = fold == number, fold != number
        can_fit = weight[rest].sum() > 0
        calibration = fit(margins[rest], p_chosen[rest], weight[rest])[0] if can_fit else {}
        unseen[in_fold] = apply(calibration, margins[in_fold])
    return unseen
