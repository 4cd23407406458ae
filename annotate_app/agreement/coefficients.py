"""Agreement coefficients as pure functions of sums over items, so that a bootstrap over items costs one matrix product.

Every item with votes contributes a fixed row of statistics (`item_statistics`); a coefficient is a function of the
rows' sum (`Totals`), with a leading axis for resamples. Coefficients of two named annotators live in
`annotate_app.agreement.pairs`. An undefined coefficient (0/0, for example when every vote is the same) is NaN, never 0
or 1. `intraclass_correlations` are of degrees that the same people gave on the same items, and take the table of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Weighting = Literal["identity", "linear", "quadratic", "ordinal"]
Metric = Literal["nominal", "ordinal", "interval", "ratio"]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over items. c is an item's count by category, m its number of votes; the last axes are C categories.

    Attributes:
        rated: (...) items with a vote.
        paired: (...) items with two votes or more.
        shares: (..., C) sum of c / m over rated items.
        coincidences: (..., C, C) sum of (c c' - diag c) / (m - 1) over paired items (Krippendorff's matrix).
        pair_shares: (..., C, C) sum of (c c' - diag c) / (m (m - 1)) over paired items: every item counts the same.
        pairs: (..., C, C) sum of c c' - diag c: every ordered pair of votes counts the same.
    """

    rated: np.ndarray
    paired: np.ndarray
    shares: np.ndarray
    coincidences: np.ndarray
    pair_shares: np.ndarray
    pairs: np.ndarray

    @classmethod
    def unpack(cls, sums: np.ndarray, num_categories: int) -> Totals:
        """Reads sums (..., K) of the rows that `item_statistics` makes."""
        c, square = num_categories, num_categories**2
        shape = (*sums.shape[:-1], c, c)
        blocks = [sums[..., 2 + c + square * k : 2 + c + square * (k + 1)].reshape(shape) for k in range(3)]
        return cls(
            rated=sums[..., 0],
            paired=sums[..., 1],
            shares=sums[..., 2 : 2 + c],
            coincidences=blocks[0],
            pair_shares=blocks[1],
            pairs=blocks[2],
        )

    @classmethod
    def of(cls, counts: np.ndarray) -> Totals:
        """The totals of units by category counts (I, C)."""
        counts = np.asarray(counts)
        return cls.unpack(item_statistics(counts).sum(axis=0), counts.shape[1])


def item_statistics(counts: np.ndarray) -> np.ndarray:
    """What each item adds to `Totals`, flat: (I, 2 + C + 3 C^2) float64 from counts (I, C)."""
    counts = np.asarray(counts, dtype=np.float64)
    votes = counts.sum(axis=1)
    paired = votes >= 2
    pairs = counts[:, :, None] * counts[:, None, :]
    diagonal = np.arange(counts.shape[1])
    pairs[:, diagonal, diagonal] -= counts
    pairs = pairs.reshape(len(counts), counts.shape[1] ** 2)
    others = np.where(paired, votes - 1, 1.0)[:, None]
    return np.hstack(
        [
            (votes > 0)[:, None],
            paired[:, None],
            counts / np.maximum(votes, 1)[:, None],
            pairs / others,
            pairs / (others * np.maximum(votes, 1)[:, None]),
            pairs,
        ]
    )


def agreement_weights(weighting: Weighting, values: np.ndarray) -> np.ndarray:
    """Weights (C, C) of partial agreement between categories with numeric values (C,), 1 on the diagonal.

    linear: 1 - |v - v'| / range; quadratic: 1 - (v - v')^2 / range^2; ordinal: 1 - M / max M with M = r (r - 1) / 2 and
    r = |rank difference| + 1. Gwet 2014, Handbook of Inter-Rater Reliability, 4th ed., section 3.5; Cohen 1968.
    """
    values = np.asarray(values, dtype=np.float64)
    distance = np.abs(values[:, None] - values[None, :])
    spread = distance.max(initial=0.0) or 1.0
    match weighting:
        case "identity":
            return np.eye(len(values))
        case "linear":
            return 1 - distance / spread
        case "quadratic":
            return 1 - (distance / spread) ** 2
        case "ordinal":
            ranks = np.argsort(np.argsort(values))
            reach = np.abs(ranks[:, None] - ranks[None, :]) + 1.0
            steps = reach * (reach - 1) / 2
            return 1 - steps / (steps.max(initial=0.0) or 1.0)


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, NaN where the denominator is 0 (up to rounding)."""
    safe = np.abs(denominator) > 1e-12
    return np.where(safe, numerator / np.where(safe, denominator, 1.0), np.nan)


def corrected(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(observed - expected) / (1 - expected): agreement beyond chance."""
    return divide(observed - expected, 1 - expected)


def percent_agreement(totals: Totals, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over items with two votes or more of the share of vote pairs that agree; p_a of Fleiss and Gwet.

    p_a = (1/n') sum_i sum_kl w_kl c_ik (c_il - [k = l]) / (m_i (m_i - 1)).  Gwet 2014, eq. 3.5.7.
    """
    agreed = np.trace(totals.pair_shares, axis1=-2, axis2=-1) if weights is None else _sum(totals.pair_shares * weights)
    return divide(agreed, totals.paired)


def pooled_agreement(totals: Totals, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of all pairs of votes on the same item that agree; items with more votes count more."""
    agreed = np.trace(totals.pairs, axis1=-2, axis2=-1) if weights is None else _sum(totals.pairs * weights)
    return divide(agreed, _sum(totals.pairs))


def fleiss_kappa(totals: Totals, weights: np.ndarray | None = None) -> np.ndarray:
    """Fleiss' kappa, missing votes allowed: p_e = sum_kl w_kl pi_k pi_l with pi the mean share of a category.

    Fleiss 1971, eq. 7; with missing votes and weights Gwet 2014, section 2.4 (all items with a vote enter pi).
    """
    weights = np.eye(totals.shares.shape[-1]) if weights is None else weights
    share = divide(totals.shares, totals.rated[..., None])
    expected = np.einsum("...k,kl,...l->...", share, weights, share)
    return corrected(percent_agreement(totals, weights), expected)


def gwet_ac(totals: Totals, weights: np.ndarray | None = None) -> np.ndarray:
    """Gwet's AC1 (no weights) and AC2: p_e = T_w / (q (q - 1)) sum_k pi_k (1 - pi_k), T_w the sum of the weights.

    Gwet 2008 (BJMSP 61), eq. 10, and Gwet 2014, section 4.3; q counts the categories, whether used or not.
    """
    num_categories = totals.shares.shape[-1]
    weights = np.eye(num_categories) if weights is None else weights
    share = divide(totals.shares, totals.rated[..., None])
    spread = (share * (1 - share)).sum(axis=-1)
    expected = divide(weights.sum() * spread, np.asarray(float(num_categories * (num_categories - 1))))
    return corrected(percent_agreement(totals, weights), expected)


def brennan_prediger(totals: Totals, weights: np.ndarray | None = None) -> np.ndarray:
    """Chance as if all q categories were equally likely: p_e = T_w / q^2 (Randolph's kappa without weights).

    Brennan and Prediger 1981 (EPM 41); with weights Gwet 2014, section 4.2. Undefined for a single category.
    """
    num_categories = totals.shares.shape[-1]
    weights = np.eye(num_categories) if weights is None else weights
    expected = np.asarray(weights.sum() / num_categories**2)
    return corrected(percent_agreement(totals, weights), expected)


def krippendorff_alpha(totals: Totals, metric: Metric = "nominal", values: np.ndarray | None = None) -> np.ndarray:
    """Krippendorff's alpha with missing votes.

    alpha = 1 - (n - 1) sum_ck o_ck d_ck / sum_ck n_c n_k d_ck over the coincidence matrix o with margins n_c and sum n.
    Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, sections C to E. d: nominal [c != k]; interval
    (c - k)^2; ratio ((c - k) / (c + k))^2; ordinal (sum_{g=c..k} n_g - (n_c + n_k) / 2)^2 over categories in order.

    Args:
        metric: the difference function.
        values: (C,) ascending numeric values of the categories; interval and ratio need them.
    """
    margins = totals.coincidences.sum(axis=-1)
    distance = _distance(metric, margins, values)
    disagreement = _sum(totals.coincidences * distance)
    expected = np.einsum("...k,...kl,...l->...", margins, np.broadcast_to(distance, totals.coincidences.shape), margins)
    return 1 - divide((margins.sum(axis=-1) - 1) * disagreement, expected)


def _distance(metric: Metric, margins: np.ndarray, values: np.ndarray | None) -> np.ndarray:
    num_categories = margins.shape[-1]
    match metric:
        case "nominal":
            return 1 - np.eye(num_categories)
        case "ordinal":
            middle = np.cumsum(margins, axis=-1) - margins / 2
            return (middle[..., :, None] - middle[..., None, :]) ** 2
        case "interval" | "ratio":
            if values is None:
                raise ValueError(f"alpha with the {metric} metric needs the values of its categories")
            values = np.asarray(values, dtype=np.float64)
            difference = values[:, None] - values[None, :]
            if metric == "ratio":
                together = values[:, None] + values[None, :]
                difference = np.where(together == 0, 0.0, difference / np.where(together == 0, 1.0, together))
            return difference**2


def fleiss_z(counts: np.ndarray, kappa: float) -> float:
    """Fleiss' kappa of units by category counts (I, C), over its standard error under chance.

    SE_0 = sqrt(2 / (n m (m - 1))) sqrt((sum p q)^2 - sum p q (q - p)) / sum p q.  Fleiss, Nee and Landis 1979, eq. 12.
    NaN where the number of votes differs between items.
    """
    votes = np.asarray(counts).sum(axis=1)
    if len(votes) == 0 or votes.min() != votes.max() or votes[0] < 2:
        return float("nan")
    share = counts.sum(axis=0) / votes.sum()
    spread = share * (1 - share)
    inner = spread.sum() ** 2 - (spread * (1 - 2 * share)).sum()
    error = np.sqrt(2 / (len(counts) * votes[0] * (votes[0] - 1)) * inner)
    return float(divide(np.asarray(kappa * spread.sum()), error))


def _sum(matrices: np.ndarray) -> np.ndarray:
    return matrices.sum(axis=(-2, -1))


@dataclass(frozen=True, kw_only=True)
class IntraclassCorrelations:
    """The six forms of Shrout and Fleiss: of one person's degree (single) and of the mean over all people (mean).

    Attributes:
        one_way: people are interchangeable, as if drawn anew for every item (1, 1 and 1, k).
        random: the same people, a sample of many; their leaning counts as disagreement (2, 1 and 2, k).
        fixed: the same people and no others; leanings cancel (3, 1 and 3, k).
    """

    one_way_single: float
    random_single: float
    fixed_single: float
    one_way_mean: float
    random_mean: float
    fixed_mean: float

    def as_dict(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def intraclass_correlations(ratings: np.ndarray) -> IntraclassCorrelations:
    """From mean squares of the two-way table: B between items, W within, J between people, E residual.

    single: one way (B - W) / (B + (k - 1) W), random (B - E) / (B + (k - 1) E + k (J - E) / n), fixed (B - E) /
    (B + (k - 1) E); of means: (B - W) / B, (B - E) / (B + (J - E) / n), (B - E) / B.  Shrout and Fleiss 1979, p. 423.

    Args:
        ratings: (I, R) float, every item by every person; at least two of both.
    """
    num_items, num_people = ratings.shape
    if num_items < 2 or num_people < 2:
        raise ValueError(f"ratings are {num_items} by {num_people}, allowed are two items and two people or more")
    grand = ratings.mean()
    items, people = ratings.mean(axis=1) - grand, ratings.mean(axis=0) - grand
    between = num_people * (items**2).sum() / (num_items - 1)
    judges = num_items * (people**2).sum() / (num_people - 1)
    within = ((ratings - grand - items[:, None]) ** 2).sum() / (num_items * (num_people - 1))
    rest = ratings - grand - items[:, None] - people[None, :]
    error = (rest**2).sum() / ((num_items - 1) * (num_people - 1))
    lean = (judges - error) / num_items
    k = num_people
    return IntraclassCorrelations(
        one_way_single=float(divide(between - within, between + (k - 1) * within)),
        random_single=float(divide(between - error, between + (k - 1) * error + k * lean)),
        fixed_single=float(divide(between - error, between + (k - 1) * error)),
        one_way_mean=float(divide(between - within, between)),
        random_mean=float(divide(between - error, between + lean)),
        fixed_mean=float(divide(between - error, between)),
    )
