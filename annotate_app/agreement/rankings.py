"""How far people agree on rankings: Kendall's W of a comparison and over all, rank correlation, agreement on pairs.

Within a ranking, tied responses have the mean of the ranks that they take together, and so have those that were not
ranked, below the others. So an incomplete ranking counts as one whose rest is tied at its end; a best-of-N choice is
the extreme of it. Intervals are over comparisons.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from annotate_app.agreement.bootstrap import Estimate, resample_sums
from annotate_app.agreement.coefficients import divide
from rewardkit.data.records import Judgment, Ranks, ranks_of_choice, relation
from rewardkit.stats.small_samples import LEAST

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class ComparisonConcordance:
    """How far the rankings of one comparison agree.

    Attributes:
        w: Kendall's W, 0 to 1; NaN where every ranking ties all responses.
        spearman: mean rank correlation of two of its rankings, what of W is beyond chance.
        pairs: share of pairs of responses, of those that two people both compared, on which they say the same.
    """

    comparison_id: str
    num_rankings: int
    num_responses: int
    w: float
    spearman: float
    pairs: float


@dataclass(frozen=True, kw_only=True)
class RankingAgreement:
    """Agreement on rankings: means over the comparisons with two rankings or more, each counted alike."""

    w: Estimate
    spearman: Estimate
    pairs: Estimate
    comparisons: tuple[ComparisonConcordance, ...]
    num_rankings: int
    num_partial: int

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        names = ComparisonConcordance.__dataclass_fields__
        return {
            "kendall_w": self.w.as_dict(),
            "mean_spearman": self.spearman.as_dict(),
            "pairs": self.pairs.as_dict(),
            "num_rankings": self.num_rankings,
            "num_partial": self.num_partial,
            "comparisons": [{name: getattr(one, name) for name in names} for one in self.comparisons],
        }


def ranking_agreement(judgments: Iterable[Judgment], *, num_resamples: int = 1000, seed: int = 0) -> RankingAgreement:
    """Agreement of people's rankings; skips and all bad are none, and of each person the first of a comparison counts.

    Args:
        num_resamples: bootstrap resamples of comparisons; 0, or fewer comparisons than LEAST, gives no intervals.
    """
    given: defaultdict[str, dict[str, Ranks]] = defaultdict(dict)
    for judgment in judgments:
        ranks = judgment.ranks or ranks_of_choice(judgment.choice)
        if ranks:
            given[judgment.comparison_id].setdefault(judgment.annotator, ranks)
    rankings = [ranks for of_comparison in given.values() for ranks in of_comparison.values()]
    several = {key: list(ranks.values()) for key, ranks in given.items() if len(ranks) > 1}
    comparisons = tuple(_concordance(key, ranks) for key, ranks in several.items())
    values = np.array([[one.w, one.spearman, one.pairs] for one in comparisons]).reshape(-1, 3)
    means = mean_estimates(values, num_resamples, np.random.default_rng(seed))
    return RankingAgreement(
        **dict(zip(("w", "spearman", "pairs"), means, strict=True)),
        comparisons=comparisons,
        num_rankings=len(rankings),
        num_partial=sum(None in ranks for ranks in rankings),
    )


def kendall_w(rankings: Sequence[Ranks]) -> float:
    """Kendall's coefficient of concordance, corrected for ties.

    W = (12 sum_i R_i^2 - 3 m^2 n (n + 1)^2) / (m^2 n (n^2 - 1) - m sum_j T_j),  T_j = sum over its ties (t^3 - t),
    R_i the sum of the mid-ranks of response i. Kendall and Babington Smith 1939; ties: Kendall 1970, eq. 6.10. It is
    Friedman's statistic over m (n - 1).

    Args:
        rankings: m of the same n responses, two or more of each.

    Returns:
        0 to 1; NaN where every ranking ties all.
    """
    ranks = np.array([mid_ranks(one) for one in rankings])
    num_rankings, size = ranks.shape
    ties = sum(float((counts**3 - counts).sum()) for counts in (_tie_sizes(row) for row in ranks))
    spread = 12 * (ranks.sum(axis=0) ** 2).sum() - 3 * num_rankings**2 * size * (size + 1) ** 2
    most = num_rankings**2 * size * (size**2 - 1) - num_rankings * ties
    return float(spread / most) if most > 0 else NAN


def mid_ranks(ranks: Ranks) -> np.ndarray:
    """(N,) ranks with the mean of the places that tied responses take, those not ranked tied at the end."""
    last = max((rank for rank in ranks if rank is not None), default=0) + 1
    values = np.array([last if rank is None else rank for rank in ranks], dtype=np.float64)
    below = (values[None, :] < values[:, None]).sum(axis=1)
    same = (values[None, :] == values[:, None]).sum(axis=1)
    return below + (same + 1) / 2


def _tie_sizes(ranks: np.ndarray) -> np.ndarray:
    return np.unique(ranks, return_counts=True)[1].astype(np.float64)


def _concordance(key: str, rankings: Sequence[Ranks]) -> ComparisonConcordance:
    w, count = kendall_w(rankings), len(rankings)
    same = met = 0
    for one, other in combinations(rankings, 2):
        for first, second in combinations(range(len(one)), 2):
            said = relation(one, first, second), relation(other, first, second)
            if None not in said:
                met += 1
                same += said[0] == said[1]
    return ComparisonConcordance(
        comparison_id=key,
        num_rankings=count,
        num_responses=len(rankings[0]),
        w=w,
        spearman=(count * w - 1) / (count - 1),
        pairs=same / met if met else NAN,
    )


def mean_estimates(values: np.ndarray, num_resamples: int, rng: np.random.Generator) -> list[Estimate]:
    """The mean of what is defined in each of the columns (I, K), with its interval over resampled rows."""
    defined = ~np.isnan(values)
    rows = np.hstack([np.where(defined, values, 0.0), defined])
    resampled = None
    if num_resamples and len(values) >= LEAST:
        (resampled,) = resample_sums([rows], np.ones(len(rows), dtype=np.int64), num_resamples, rng)
    sums, size = rows.sum(axis=0), values.shape[1]
    return [
        Estimate.of_samples(
            float(divide(sums[k], sums[size + k])),
            None if resampled is None else divide(resampled[:, k], resampled[:, size + k]),
        )
        for k in range(size)
    ]
