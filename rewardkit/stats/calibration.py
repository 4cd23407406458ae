"""From margins to probabilities that hold: a temperature or an isotonic curve, fitted on held-out preferences; and
figures of how far probabilities hold.

A calibration is a plain dict, so that it travels in `rewardkit.json`: {"kind": "temperature", "temperature": T},
{"kind": "isotonic", "x": [...], "y": [...]}, or {} for sigma(d) as it is. Each keeps p(d) = 1 - p(-d): which completion
is called chosen decides nothing. Fitted by smoothed shares (n p + 1) / (n + 2) (Platt 1999), n all pairs for the
temperature and those of a step for the isotonic curve, so that a handful of pairs in perfect order does not make a
model certain.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from rewardkit.stats.metrics import quantile_groups
from rewardkit.stats.small_samples import effective_number
from rewardkit.stats.uncertainty import integrated_probability, sigmoid

logger = logging.getLogger(__name__)
Kind = Literal["temperature", "isotonic", "none"]
Calibration = Mapping[str, Any]
BOUNDS = (1e-3, 1e3)  # of the inverse temperature, in units of the margins' root mean square
NUM_FOLDS = 5
ENOUGH_FOR_ISOTONIC = 500  # pairs; of fewer its held-out NLL was above the temperature's in simulations of both


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Pairs of similar predicted probability: weighted means of what was predicted and observed, and their number."""

    predicted: float
    observed: float
    count: int
    weight: float


@dataclass(frozen=True, kw_only=True)
class CalibrationFigures:
    """How well probabilities fit what people chose; each is better when lower.

    Attributes:
        nll: nats per pair.
        brier: mean squared difference.
        ece: expected calibration error, 10 bins of equal count.
        ece_floor, ece_floor_high: what ece is expected to be, and at most in 95 % of cases, if these probabilities were
            exactly right (`calibration_floor`); None where the votes behind the labels are not known.
    """

    nll: float
    brier: float
    ece: float
    ece_floor: float | None = None
    ece_floor_high: float | None = None

    @property
    def is_off(self) -> bool | None:
        """Whether ece is more than chance makes of right probabilities; None where that is not known."""
        return None if self.ece_floor_high is None else self.ece > self.ece_floor_high


@dataclass(frozen=True, kw_only=True)
class CalibrationFit:
    """A fitted calibration.

    Attributes:
        calibration: what to save and to give to `apply`.
        before: figures of sigma(d), averaged over members.
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
    both_ways: bool = True,
) -> CalibrationFit:
    """Fits a calibration on held-out pairs.

    The temperature is that of the members' averaged probability, which is what models tell (`rewardkit.evaluation`).

    Args:
        margins: (K, N) chosen minus rejected reward of each member, or (N,) of one.
        p_chosen: (N,) soft labels, 0 to 1.
        weight: (N,) 0 or more.
        prompt: (N,) number of each pair's prompt, which the folds keep together; None takes each pair for its own.
        both_ways: see `calibration_figures`.

    Raises:
        ValueError: if there is no pair with a weight, or a margin is not finite.
    """
    margins, p_chosen = np.atleast_2d(np.asarray(margins, dtype=float)), np.asarray(p_chosen, dtype=float)
    weight = np.ones(len(p_chosen)) if weight is None else np.asarray(weight, dtype=float)
    if not weight.sum() > 0:
        raise ValueError(
            f"{len(p_chosen)} held-out pairs of weight {weight.sum()} to calibrate on, at least 1 is needed"
        )
    if not np.isfinite(margins).all():
        raise ValueError(
            f"{int((~np.isfinite(margins)).any(0).sum())} of {len(p_chosen)} held-out margins are not finite"
        )
    before = calibration_figures(integrated_probability(margins), p_chosen, weight, both_ways=both_ways)
    if kind == "none":
        return CalibrationFit(calibration={}, before=before, after=before)
    fit = _fit_temperature if kind == "temperature" else _fit_isotonic
    calibration, converged, num_iterations = fit(margins, p_chosen, weight)
    if kind == "isotonic" and effective_number(weight) < ENOUGH_FOR_ISOTONIC:
        logger.warning(
            "isotonic calibration on %d held-out pairs, fewer than %d: a temperature is usually nearer to the truth",
            len(p_chosen),
            ENOUGH_FOR_ISOTONIC,
        )
    if not converged:
        logger.warning("temperature: no minimum of the held-out NLL between its bounds, %s kept", calibration)
    unseen = _out_of_fold(fit, margins, p_chosen, weight, np.arange(len(p_chosen)) if prompt is None else prompt)
    return CalibrationFit(
        calibration=calibration,
        before=before,
        after=calibration_figures(unseen, p_chosen, weight, both_ways=both_ways),
        converged=converged,
        num_iterations=num_iterations,
    )


def calibration_figures(
    probabilities: np.ndarray,
    p_chosen: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    num_votes: np.ndarray | None = None,
    both_ways: bool = True,
) -> CalibrationFigures:
    """NLL, Brier score and expected calibration error of predicted probabilities of chosen, (N,) each.

    Args:
        num_votes: (N,) votes of which p_chosen is the share; without them labels of 0 and 1 are one vote each.
        both_ways: whether ece counts each in both directions, as pairs, whose naming says nothing; False for events.
    """
    if num_votes is None and np.isin(p_chosen, (0.0, 1.0)).all():
        num_votes = np.ones(len(p_chosen), dtype=np.int64)
    floor, high = (
        (None, None) if num_votes is None else calibration_floor(probabilities, num_votes, weight, both_ways=both_ways)
    )
    with np.errstate(divide="ignore"):
        losses = -_times_log(p_chosen, probabilities) - _times_log(1.0 - p_chosen, 1.0 - probabilities)
    return CalibrationFigures(
        nll=float(np.average(losses, weights=weight)),
        brier=brier_score(probabilities, p_chosen, weight),
        ece=expected_calibration_error(probabilities, p_chosen, weight, both_ways=both_ways),
        ece_floor=floor,
        ece_floor_high=high,
    )


def brier_score(probabilities: np.ndarray, p_chosen: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Weighted mean of (q - p)^2, q the predicted and p the observed probability of chosen. Brier 1950."""
    return float(np.average((probabilities - p_chosen) ** 2, weights=weight))


def expected_calibration_error(
    probabilities: np.ndarray,
    p_chosen: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    num_bins: int = 10,
    both_ways: bool = True,
) -> float:
    """Mean over equal-count bins of |mean predicted - mean observed|, weighted by the bins' weights.

    Every pair is counted both ways, or an event once, see `calibration_bins`. Guo et al. 2017 (arXiv 1706.04599), with
    bins of equal count. What chance alone makes of it is `calibration_floor`.
    """
    bins = calibration_bins(probabilities, p_chosen, weight, num_bins=num_bins, both_ways=both_ways)
    return sum(b.weight * abs(b.predicted - b.observed) for b in bins) / sum(b.weight for b in bins)


def calibration_bins(
    probabilities: np.ndarray,
    p_chosen: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    num_bins: int = 10,
    both_ways: bool = True,
) -> list[CalibrationBin]:
    """Bins of equal count by predicted probability, lowest first; pairs of weight 0 are in none.

    Every pair is counted in both directions (q, p) and (1 - q, 1 - p), so that no figure depends on which completion is
    called chosen; the counts add up to twice the pairs. Events, whose sides mean something, are counted one way.
    """
    weight = np.ones(len(probabilities)) if weight is None else weight
    both = [
        np.concatenate((one[weight > 0], other[weight > 0])) if both_ways else one[weight > 0]
        for one, other in ((probabilities, 1.0 - probabilities), (p_chosen, 1.0 - p_chosen), (weight, weight))
    ]
    return [
        CalibrationBin(
            predicted=float(np.average(predicted, weights=weights)),
            observed=float(np.average(observed, weights=weights)),
            count=len(predicted),
            weight=float(weights.sum()),
        )
        for predicted, observed, weights in (
            [values[part] for values in both] for part in quantile_groups(both[0], num_bins)
        )
    ]


def calibration_floor(
    probabilities: np.ndarray,
    num_votes: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    num_bins: int = 10,
    num_draws: int = 400,
    seed: int = 0,
    both_ways: bool = True,
) -> tuple[float, float]:
    """Expected calibration error of a perfectly calibrated model with these probabilities: mean and 95 % bound.

    The bound is the 95th percentile, or the mean where that is higher: of few pairs predicted at nearly 1 hardly one in
    20 draws holds an error, and the mean comes from those that do.

    Labels are drawn as shares of num_votes votes at the predicted probabilities. The error of few pairs is far from 0
    even then (Bröcker and Smith 2007, consistency bars). Pairs of one prompt are taken to be independent.

    Args:
        probabilities, weight: (N,) as for `expected_calibration_error`.
        num_votes: (N,) int, 1 or more where the weight is above 0.
    """
    weight = np.ones(len(probabilities)) if weight is None else np.asarray(weight, dtype=float)
    q, votes, weight = (part[weight > 0] for part in (np.asarray(probabilities, dtype=float), num_votes, weight))
    bins = quantile_groups(np.concatenate((q, 1.0 - q)) if both_ways else q, num_bins)
    order, starts = np.concatenate(bins), np.cumsum([0, *(len(part) for part in bins[:-1])])
    rng = np.random.default_rng(seed)
    errors = []
    for _ in range(num_draws):
        gap = weight * (q - rng.binomial(votes, np.clip(q, 0.0, 1.0)) / votes)
        gaps = np.concatenate((gap, -gap)) if both_ways else gap
        errors.append(np.abs(np.add.reduceat(gaps[order], starts)).sum() / ((1 + both_ways) * weight.sum()))
    mean = float(np.mean(errors))
    return mean, max(mean, float(np.quantile(errors, 0.95)))


def _times_log(share: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """share * log(probabilities), 0 where the share is 0."""
    return np.where(share > 0, share * np.log(np.where(share > 0, probabilities, 1.0)), 0.0)


Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[dict[str, Any], bool, int]]


def _smoothed(shares: np.ndarray, num_pairs: float | np.ndarray) -> np.ndarray:
    """Shares after one more vote each way."""
    return (num_pairs * shares + 1.0) / (num_pairs + 2.0)


def _fit_temperature(margins: np.ndarray, p_chosen: np.ndarray, weight: np.ndarray) -> tuple[dict[str, Any], bool, int]:
    """The inverse temperature a at which q = mean_k sigma(a d_k), the probability that is told, has the lowest NLL.

    NLL = -mean w (p log q + (1 - p) log(1 - q)),   dNLL/da = mean w q' (q - p) / (q (1 - q)),
    q' = mean_k d_k sigma(a d_k) sigma(-a d_k).  The slope's zero is found by secant steps, kept in a bracket by
    bisection. Of one member this is Guo et al. 2017, section 4.2 (arXiv 1706.04599), with 1/T as the variable; there
    the NLL is convex and the zero the only one.

    Args:
        margins: (K, N).
    """
    scale = float(np.sqrt(np.average((margins**2).mean(0), weights=weight)))
    if scale == 0:
        return {"kind": "temperature", "temperature": 1.0}, False, 0
    unit, labels = margins / scale, _smoothed(p_chosen, effective_number(weight))

    def slope(inverse: float) -> float:
        each = sigmoid(inverse * unit)
        told = np.clip(each.mean(0), 1e-15, 1.0 - 1e-15)
        change = (unit * each * sigmoid(-inverse * unit)).mean(0)
        return float(np.average(change * (told - labels) / (told * (1.0 - told)), weights=weight))

    low, high = BOUNDS
    inverse, num_iterations, done = min(max(scale, low), high), 0, False
    before, slope_before = low, slope(low)
    while not done and num_iterations < 100:
        num_iterations += 1
        slope_now = slope(inverse)
        low, high = (inverse, high) if slope_now < 0 else (low, inverse)
        rise = slope_now - slope_before
        secant = inverse - slope_now * (inverse - before) / rise if rise else 0.0
        before, slope_before = inverse, slope_now
        following = secant if low < secant < high else float(np.sqrt(low * high))
        done = abs(following - inverse) <= 1e-10 * inverse
        inverse = following
    converged = done and BOUNDS[0] * 1.01 < inverse < BOUNDS[1] / 1.01
    return {"kind": "temperature", "temperature": scale / inverse}, converged, num_iterations


def _fit_isotonic(margins: np.ndarray, p_chosen: np.ndarray, weight: np.ndarray) -> tuple[dict[str, Any], bool, int]:
    """The best rising curve through the pairs seen from both sides (d, p) and (-d, 1 - p), each of its steps smoothed.

    A step of n pairs and mean share p is set to (n p + 1) / (n + 2), n Kish's effective number of its own pairs, and
    the curve is made to rise again: a few pairs at an end whose order is perfect by chance do not make the model
    certain there. Zadrozny and Elkan 2002; linear between its steps, flat beyond the largest margin seen.

    Args:
        margins: (K, N); the curve is that of their means.
    """
    from sklearn.isotonic import IsotonicRegression

    margins = margins.mean(0)
    x, labels = np.concatenate((margins, -margins)), np.concatenate((p_chosen, 1.0 - p_chosen))
    weight = np.concatenate((weight, weight))
    x, labels, weight = (part[weight > 0] for part in (x, labels, weight))
    curve = IsotonicRegression(out_of_bounds="clip", y_min=0.0, y_max=1.0)
    _, step = np.unique(curve.fit_transform(x, labels, sample_weight=weight), return_inverse=True)
    total, squares = np.bincount(step, weight), np.bincount(step, weight**2)
    smooth = _smoothed(np.bincount(step, weight * labels) / total, total**2 / squares)
    curve.fit(x, smooth[step], sample_weight=weight)
    x = np.union1d(curve.X_thresholds_, -curve.X_thresholds_)
    y = 0.5 + 0.5 * (curve.predict(x) - curve.predict(-x))  # exact symmetry, beyond rounding
    return {"kind": "isotonic", "x": x.tolist(), "y": y.tolist()}, True, 0


def _out_of_fold(
    fit: Fit, margins: np.ndarray, p_chosen: np.ndarray, weight: np.ndarray, prompt: np.ndarray
) -> np.ndarray:
    """(N,) probabilities of each pair, averaged over members, by a calibration fitted without its prompt."""
    _, group = np.unique(prompt, return_inverse=True)
    num_prompts = int(group.max()) + 1
    if num_prompts < 2:
        return apply(fit(margins, p_chosen, weight)[0], margins).mean(0)
    fold = np.random.default_rng(0).permutation(num_prompts)[group] % min(NUM_FOLDS, num_prompts)
    unseen = np.empty(len(p_chosen))
    for number in range(int(fold.max()) + 1):
        in_fold, rest = fold == number, fold != number
        can_fit = weight[rest].sum() > 0
        calibration = fit(margins[:, rest], p_chosen[rest], weight[rest])[0] if can_fit else {}
        unseen[in_fold] = apply(calibration, margins[:, in_fold]).mean(0)
    return unseen
