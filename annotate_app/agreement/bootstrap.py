"""Items tallied by distinct pattern of votes, and intervals over items from them.

A million judgments show only a few hundred distinct count vectors. Resampling I items with replacement is drawing the
patterns' multiplicities, at a cost that is independent of I: one matrix product of resampled multiplicities with what
each pattern adds to a coefficient's sums. `rewardkit.stats.metrics.bootstrap_intervals` resamples units that each stand
for themselves, and would draw as many numbers as there are items; type and percentiles of intervals are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from annotate_app.agreement.coefficients import Totals, item_statistics, percent_agreement
from rewardkit.stats.metrics import Interval, percentile_interval
from rewardkit.stats.small_samples import UNKNOWN, is_enough

Coefficient = Callable[[Totals], np.ndarray]
CHUNK_CELLS = 4_000_000
MANY_ITEMS = 1000
LARGE = 100  # from here on a Poisson count is drawn as a normal number


@dataclass(frozen=True, kw_only=True)
class Estimate(Interval):
    """A figure with its 95 % percentile interval over resampled items and its standard error.

    NaN stands for undefined: no variation to correct chance with, or too little to say how sure the figure is.
    """

    standard_error: float = float("nan")

    @classmethod
    def of_samples(cls, value: float, samples: np.ndarray | None) -> Estimate:
        """The figure of all items with the interval and the standard error (ddof = 1) of its resamples (B,), if any."""
        if samples is None:
            return cls(value=value)
        low, high = percentile_interval(samples)
        defined = samples[~np.isnan(samples)]
        spread = float(np.std(defined, ddof=1)) if low < high else float("nan")
        return cls(value=value, low=low, high=high, standard_error=spread)

    @classmethod
    def of_posterior(cls, value: float, samples: np.ndarray) -> Estimate:
        """The same from draws of the figure's posterior (B,), with an interval that reaches to the figure itself."""
        estimate = cls.of_samples(value, samples)
        return replace(estimate, low=min(estimate.low, value), high=max(estimate.high, value))

    def as_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high, "standard_error": self.standard_error}


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Items by their count vector.

    Attributes:
        patterns: (P, C) distinct counts by category.
        pattern: (I,) int, each item's row of patterns.
    """

    patterns: np.ndarray
    pattern: np.ndarray

    def multiplicity(self, members: np.ndarray | None = None) -> np.ndarray:
        """(P,) how many of all items, or of the items at indices `members`, show each pattern."""
        chosen = self.pattern if members is None else self.pattern[members]
        return np.bincount(chosen, minlength=len(self.patterns))

    @property
    def counts(self) -> np.ndarray:
        """(I, C) counts by item and category."""
        return self.patterns[self.pattern]


def tally(item: np.ndarray, code: np.ndarray, num_items: int, num_codes: int) -> Tally:
    """Counts votes (N,) of items by category code in [0, num_codes) and groups equal count vectors."""
    cells = np.bincount(item.astype(np.int64) * num_codes + code, minlength=num_items * num_codes)
    return tally_counts(cells.reshape(num_items, num_codes))


def tally_counts(counts: np.ndarray) -> Tally:
    """Groups equal rows of units by category counts (I, C)."""
    base = int(counts.max(initial=0)) + 1
    if base ** counts.shape[1] >= 2**62:
        patterns, pattern = np.unique(counts, axis=0, return_inverse=True)
        return Tally(patterns=patterns, pattern=pattern.reshape(-1))
    keys = counts @ base ** np.arange(counts.shape[1], dtype=np.int64)
    _, first, pattern = np.unique(keys, return_index=True, return_inverse=True)
    return Tally(patterns=counts[first], pattern=pattern.reshape(-1))


@dataclass(frozen=True, kw_only=True)
class Part:
    """Coefficients that read the same counts: one way to put an item's votes into categories.

    `patterns` (P, C) are counts by category of the P distinct items; several parts may describe the same P items, for
    example with and without their ties.
    """

    patterns: np.ndarray
    coefficients: Mapping[str, Coefficient]

    @cached_property
    def statistics(self) -> np.ndarray:
        """(P, K) what each distinct item adds to the totals."""
        return item_statistics(self.patterns)


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Items that hang together, as the pairs of a ranking do: (I,) the distinct item and the cluster of each."""

    pattern: np.ndarray
    cluster: np.ndarray

    def sums(self, statistics: np.ndarray) -> np.ndarray:
        """(C, K) what each cluster adds to the totals, from what each distinct item does (P, K)."""
        _, number = np.unique(self.cluster, return_inverse=True)
        summed = np.zeros((int(number.max(initial=-1)) + 1, statistics.shape[1]))
        np.add.at(summed, number, statistics[self.pattern])
        return summed


def estimate(
    parts: Sequence[Part],
    multiplicity: np.ndarray,
    *,
    num_resamples: int,
    rng: np.random.Generator,
    clusters: Clusters | None = None,
) -> dict[str, Estimate]:
    """Coefficients with percentile intervals over items; all parts see the same resamples.

    Where items are too few for a bootstrap, or agree nearly all or nearly never (`is_enough` of those with two votes),
    or no resample differs, intervals are the Bayesian ones of `draw_posterior`.

    Args:
        parts: what to compute, over the same P distinct items.
        multiplicity: (P,) number of items like each of them.
        num_resamples: 0 gives no intervals.
        rng: source of the resamples; those of the posterior are of its own child.
        clusters: what is resampled where items hang together; None resamples items.
    """
    present = (multiplicity > 0) & np.any([part.patterns.any(axis=1) for part in parts], axis=0)
    weights = multiplicity[present]
    statistics = [part.statistics[present] for part in parts]
    if clusters is not None:
        statistics = [clusters.sums(part.statistics) for part in parts]
        weights = np.ones(len(statistics[0]), dtype=np.int64)
    resampled: list[np.ndarray] = []
    if num_resamples and weights.sum() >= 2:
        resampled = resample_sums(statistics, weights, num_resamples, rng)
    posterior: np.ndarray | None = None
    estimates: dict[str, Estimate] = {}
    for k, part in enumerate(parts):
        width = part.patterns.shape[1]
        sums = Totals.unpack(weights @ statistics[k], width)
        samples: Totals | None = None  # where a bootstrap over them is believed
        num_units = float(weights @ (Totals.unpack(statistics[k], width).paired > 0))
        if resampled and is_enough(float(percent_agreement(sums)), num_units):
            samples = Totals.unpack(resampled[k], width)
            samples = None if np.isnan(percentile_interval(percent_agreement(samples))[0]) else samples
        for name, formula in part.coefficients.items():
            value = float(formula(sums))
            if not num_resamples or np.isnan(value):
                estimates[name] = Estimate(value=value)
                continue
            low, high = UNKNOWN if samples is None else percentile_interval(formula(samples))
            if not np.isnan(low):
                error = standard_error(formula, statistics[k], weights, width)
                estimates[name] = Estimate(value=value, low=low, high=high, standard_error=error)
                continue
            if posterior is None:
                posterior = draw_posterior(weights, num_resamples, rng.spawn(1)[0])
            per_unit = float(sums.paired) / num_units if num_units else 1.0
            rows = np.vstack([statistics[k], per_unit * imagined_items(sums)])
            estimates[name] = Estimate.of_posterior(value, formula(Totals.unpack(posterior @ rows, width)))
    return estimates


def draw_posterior(multiplicity: np.ndarray, num_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(B, P + 2) weights of items drawn from their posterior, with two more items imagined at the end. Rubin 1981.

    Dirichlet(multiplicity, 1/2, 1/2) times the number of items, the halves for an item on which all votes agree and one
    on which none does. The share of items that agree is then Beta(x + 1/2, n - x + 1/2), as after Jeffreys' prior, so
    that one item, or equal ones, do not prove that all others are like them.
    """
    shape = np.append(multiplicity, [0.5, 0.5])
    return rng.dirichlet(shape, num_resamples) * shape.sum()


def imagined_items(sums: Totals) -> np.ndarray:
    """(2, K) rows as of `item_statistics`: an item whose votes agree and one of which no two do, of the average size.

    Categories have the shares of all votes, with one vote more that is spread over all.
    """
    num_categories = sums.shares.shape[-1]
    shares = (sums.shares + 1 / num_categories) / (sums.shares.sum() + 1)
    apart = np.outer(shares, shares) * (1 - np.eye(num_categories))
    paired = max(float(sums.paired), 1.0)
    sizes = sums.coincidences.sum() / paired, 1.0, sums.pairs.sum() / paired
    return np.array(
        [
            np.concatenate([[1.0, 1.0], together.sum(axis=1), *(size * together.ravel() for size in sizes)])
            for together in (np.diag(shares), apart / max(float(apart.sum()), 1e-300))
        ]
    )


def resample_sums(
    statistics: Sequence[np.ndarray], multiplicity: np.ndarray, num_resamples: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """For each of the statistics (P, K): its sums (B, K) over B resamples of items with multiplicities (P,).

    From MANY_ITEMS on the multiplicities are drawn as independent Poisson counts, twice as fast as the multinomial; the
    number of items then varies by 1 / sqrt(n), which coefficients, being ratios, do not see (Chamandy et al. 2012).
    Those of patterns that LARGE items or more show are drawn as normal numbers of the same mean and variance.
    """
    num_items = int(multiplicity.sum())
    shares = multiplicity / num_items
    step = max(1, CHUNK_CELLS // len(shares))
    parts: list[list[np.ndarray]] = [[] for _ in statistics]
    for start in range(0, num_resamples, step):
        size = min(step, num_resamples - start)
        if num_items < MANY_ITEMS:
            counts = rng.multinomial(num_items, shares, size=size).astype(np.float64)
        else:
            counts = rng.standard_normal((size, len(shares))) * np.sqrt(multiplicity) + multiplicity
            few = np.flatnonzero(multiplicity < LARGE)
            counts[:, few] = rng.poisson(multiplicity[few], size=(size, len(few)))
        for rows, chunks in zip(statistics, parts, strict=True):
            chunks.append(counts @ rows)
    return [np.concatenate(chunks) for chunks in parts]


def standard_error(formula: Coefficient, statistics: np.ndarray, multiplicity: np.ndarray, width: int) -> float:
    """Linearised standard error over items (infinitesimal jackknife, ddof 1).

    SE^2 = sum_i (n dT/dw_i)^2 / (n (n - 1)), the derivative by a central difference in the weight of one item. On
    complete data this is the error that Gwet prints for AC1, Fleiss' kappa and Brennan-Prediger (2014, section 5.3).
    He holds the number of items with two votes fixed, we do not: items with a single vote then add no error.
    """
    num_items = float(multiplicity.sum())
    sums = multiplicity @ statistics
    step = 1e-5
    upper = formula(Totals.unpack(sums + step * statistics, width))
    lower = formula(Totals.unpack(sums - step * statistics, width))
    influence = num_items * (upper - lower) / (2 * step)
    influence = influence - multiplicity @ influence / num_items
    return float(np.sqrt(multiplicity @ influence**2 / (num_items * (num_items - 1))))
