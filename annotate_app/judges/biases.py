"""What leads a judge beside the answers' worth: which it saw first, which is longer, whether it wrote one itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rewardkit.stats.metrics import Interval, percentile_interval
from rewardkit.stats.prediction_powered import clustered_mean
from rewardkit.stats.small_samples import LEAST

LONGEST_RATIO = 3.0  # doublings: one answer 8 times the other counts as no more


@dataclass(frozen=True, kw_only=True)
class PositionBias:
    """From comparisons that a judge saw in both orders.

    Attributes:
        first: chance that it prefers what it saw first, a tie as half; 0.5 where order means nothing.
        flips: share of comparisons where the other answer wins once the order is turned.
        num_first, num_second: of these, those where it chose the first one both times, and the second.
    """

    first: Interval
    flips: Interval
    num_first: int
    num_second: int
    num_items: int


@dataclass(frozen=True, kw_only=True)
class Leanings:
    """Slopes of the judge's probability, from comparisons with two people's votes or more.

    p_b - 1/2 = alpha u + beta log2(length b / length a) + gamma (own b - own a), u the mean of people's votes (-1/2 for
    a, 1/2 for b). Votes of few people are a noisy u, which would give to length what is worth; so the sum of u^2 is
    that of products of two different people's votes (the one an instrument for the other), which noise leaves as it is.

    Attributes:
        follows: alpha; 1 follows people's shares, 0 does not see them, below 0 is against them.
        length: beta beyond what people prefer, probability a doubling.
        judge_length, people_length: slopes of the judge's and people's probability on length alone.
        own: gamma, probability for an answer of its own beyond what people think of it; NaN where it has none.
        judge_own, people_own: how often either prefers the judge's own answer over another's, a tie as half.
        num_items, num_own: comparisons behind them.
    """

    follows: Interval
    length: Interval
    judge_length: Interval
    people_length: Interval
    own: Interval
    judge_own: Interval
    people_own: Interval
    num_items: int
    num_own: int


def position_bias(by_order: np.ndarray) -> PositionBias:
    """Flips and the preference for what is shown first.

    Args:
        by_order: (I, 2) probability of b where a was shown first, and where b was; NaN where not asked.
    """
    both = by_order[~np.isnan(by_order).any(axis=1)]
    b_first = 0.5 + 0.5 * np.sign(np.round(both - 0.5, 9))
    first = ((1 - b_first[:, 0]) + b_first[:, 1]) / 2
    flips = (b_first[:, 0] - b_first[:, 1]) != 0
    opposite = np.abs(b_first[:, 0] - b_first[:, 1]) == 1
    item = np.arange(len(both))
    return PositionBias(
        first=clustered_mean(first, item),
        flips=clustered_mean(flips.astype(float), item),
        num_first=int((opposite & (first == 1)).sum()),
        num_second=int((opposite & (first == 0)).sum()),
        num_items=len(both),
    )


def leanings(
    p_b: np.ndarray,
    counts: np.ndarray,
    log_lengths: np.ndarray,
    own: np.ndarray,
    *,
    num_resamples: int,
    rng: np.random.Generator,
) -> Leanings:
    """Slopes on people's preference, length and own answers together, so that one is not taken for the other.

    Args:
        p_b: (I,) the judge's probability of b, NaN without.
        counts: (I, 4) people's votes: a, b, tie, both bad.
        log_lengths: (I,) log2 of the length of b over that of a.
        own: (I,) 1 where b alone is of the judge's own source, -1 where a alone is, else 0.
        num_resamples: of items behind the intervals; 0 for none.
    """
    votes = counts.sum(axis=1)
    used = (votes >= 2) & ~np.isnan(p_b)
    counts, votes = counts[used], votes[used]
    q, x, g = p_b[used] - 0.5, np.clip(log_lengths[used], -LONGEST_RATIO, LONGEST_RATIO), own[used].astype(float)
    total = (counts[:, 1] - counts[:, 0]) / 2
    pairs = (total**2 - (counts[:, 0] + counts[:, 1]) / 4) / (votes * (votes - 1))
    u = total / votes
    by_cause = {"u": u, "x": x, "g": g}
    has = [name for name, values in by_cause.items() if name == "u" or np.abs(values).sum() > 1e-9]
    moments = {(one, two): by_cause[one] * by_cause[two] for one in has for two in has} | {("u", "u"): pairs}
    right = {one: by_cause[one] * q for one in has}
    names = [*moments, *right]
    rows = np.column_stack([*moments.values(), *right.values(), u * x])
    size = len(rows)

    def slopes(sums: np.ndarray) -> dict[str, np.ndarray]:
        at = {name: sums[:, column] for column, name in enumerate(names)}
        matrix = np.array([[at[one, two] for two in has] for one in has]).transpose(2, 0, 1)
        solved = (np.linalg.pinv(matrix) @ np.array([at[one] for one in has]).T[:, :, None])[:, :, 0]
        by_name = {name: solved[:, column] for column, name in enumerate(has)}
        if "x" in has:
            with np.errstate(invalid="ignore", divide="ignore"):
                by_name["judge"], by_name["people"] = at["x"] / at["x", "x"], sums[:, -1] / at["x", "x"]
        return by_name

    values: dict[str, np.ndarray] = slopes(rows.sum(axis=0)[None]) if size else {}
    samples: dict[str, np.ndarray] = {}
    if num_resamples and size >= LEAST:
        samples = slopes(np.array([rng.poisson(1.0, size) @ rows for _ in range(num_resamples)]))

    def interval(name: str) -> Interval:
        if name not in values:
            return Interval(value=math.nan)
        low, high = percentile_interval(samples[name]) if name in samples else (math.nan, math.nan)
        return Interval(value=float(values[name][0]), low=low, high=high)

    mine = g != 0
    item = np.arange(int(mine.sum()))
    return Leanings(
        follows=interval("u"),
        length=interval("x"),
        judge_length=interval("judge"),
        people_length=interval("people"),
        own=interval("g"),
        judge_own=clustered_mean(0.5 + g[mine] * q[mine], item),
        people_own=clustered_mean(0.5 + g[mine] * u[mine], item),
        num_items=size,
        num_own=int(mine.sum()),
    )
