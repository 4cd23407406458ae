"""Win rates of source models against each other from blind votes, pair by pair, with ties told apart.

For a round of two policies this is the figure; what many models' strengths are on one scale is
`annotate_app.ranking.leaderboard`'s. A comparison of a model with itself, or of unnamed ones, takes no part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate_app.agreement.bootstrap import Estimate, resample_sums
from annotate_app.votes import CHOICE_CODES, Votes
from rewardkit.stats.metrics import percentile_interval
from rewardkit.stats.small_samples import UNKNOWN, effective_number, is_enough, share_bounds


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """How one model fares against another; intervals are over resampled items.

    Attributes:
        one, other: names of the models.
        rate: share of votes that `one` wins, ties and both-bad votes as half a win.
        tie_share: share of votes that are ties or both-bad.
        wins, losses, ties, both_bad: votes, seen from `one`.
    """

    one: str
    other: str
    rate: Estimate
    tie_share: Estimate
    wins: int
    losses: int
    ties: int
    both_bad: int
    num_items: int

    @property
    def num_votes(self) -> int:
        """Votes on this pair of models, ties and both-bad ones among them."""
        return self.wins + self.losses + self.ties + self.both_bad

    @property
    def is_decided(self) -> bool:
        """Whether the interval excludes one half."""
        return self.rate.low > 0.5 or self.rate.high < 0.5

    def sentence(self) -> str:
        """What it says, in words."""
        winner = self.one if self.rate.value >= 0.5 else self.other
        if not self.is_decided:
            return f"Not shown that people prefer {self.one} or {self.other}."
        return f"People prefer {winner} to {self.other if winner == self.one else self.one}."

    def as_dict(self) -> dict[str, object]:
        counts = {
            name: getattr(self, name) for name in ("wins", "losses", "ties", "both_bad", "num_votes", "num_items")
        }
        figures = {"rate": self.rate.as_dict(), "tie_share": self.tie_share.as_dict(), "decided": self.is_decided}
        return {"one": self.one, "other": self.other, **figures, **counts}


@dataclass(frozen=True, kw_only=True)
class WinRates:
    """All pairs of models that met, those with most votes first.

    Attributes:
        num_left_out: votes that compare a model with itself or with an unnamed source.
    """

    pairs: tuple[WinRate, ...]
    num_votes: int
    num_left_out: int

    def as_dict(self) -> dict[str, object]:
        pairs = [pair.as_dict() for pair in self.pairs]
        return {"pairs": pairs, "num_votes": self.num_votes, "num_left_out": self.num_left_out}


def fit_win_rates(votes: Votes, *, num_resamples: int = 2000, seed: int = 0) -> WinRates:
    """Win rates of a project's counted votes.

    Args:
        num_resamples: bootstrap resamples of items (votes on one item hang together); 0 gives no intervals.
    """
    counted = votes.counted()
    named = np.array([bool(name) for name in votes.sources], dtype=bool)
    a, b = votes.item_source_a[counted.item], votes.item_source_b[counted.item]
    usable = named[a] & named[b] & (a != b) if len(counted) else np.zeros(0, dtype=bool)
    played = counted.where(usable)
    counts = _by_item(played)
    voted = np.flatnonzero(counts.any(axis=1))
    one = np.minimum(votes.item_source_a, votes.item_source_b)[voted]
    other = np.maximum(votes.item_source_a, votes.item_source_b)[voted]
    met, pair = np.unique(np.column_stack([one, other]), axis=0, return_inverse=True)
    rng = np.random.default_rng(seed)
    pairs = [
        win_rate(
            votes.sources[first], votes.sources[second], counts[voted[pair.reshape(-1) == number]], num_resamples, rng
        )
        for number, (first, second) in enumerate(met)
    ]
    pairs.sort(key=lambda pair: (-pair.num_votes, pair.one, pair.other))
    return WinRates(pairs=tuple(pairs), num_votes=len(played), num_left_out=len(counted) - len(played))


def _by_item(played: Votes) -> np.ndarray:
    """(I, 4) wins, losses, ties and both-bad votes by item, seen from the model that comes first among the sources."""
    column = np.zeros(len(CHOICE_CODES), dtype=np.int64)
    for number, name in enumerate(("a", "b", "tie", "both_bad")):
        column[CHOICE_CODES[name]] = number
    counts = np.zeros((len(played.items), 4), dtype=np.int64)
    np.add.at(counts, (played.item, column[played.choice]), 1)
    turned = played.item_source_a > played.item_source_b
    counts[turned, :2] = counts[turned, 1::-1]
    return counts


def win_rate(one: str, other: str, counts: np.ndarray, num_resamples: int, rng: np.random.Generator) -> WinRate:
    """Of one pair of models, from its items' votes (n, 4): wins, losses, ties and both-bad votes, seen from `one`."""
    patterns, multiplicity = np.unique(counts, axis=0, return_counts=True)
    sums = counts.sum(axis=0)
    rate, ties = _shares(sums[None])
    samples = None
    if num_resamples:
        (resampled,) = resample_sums([patterns.astype(float)], multiplicity, num_resamples, rng)
        samples = _shares(resampled)
    num_units = effective_number(counts.sum(axis=1))
    wins, losses, tied, both_bad = (int(value) for value in sums)
    return WinRate(
        one=one,
        other=other,
        rate=_estimate(float(rate[0]), samples[0] if samples else None, num_units),
        tie_share=_estimate(float(ties[0]), samples[1] if samples else None, num_units),
        wins=wins,
        losses=losses,
        ties=tied,
        both_bad=both_bad,
        num_items=len(counts),
    )


def _shares(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Win rate and tie share from (B, 4) sums."""
    with np.errstate(invalid="ignore", divide="ignore"):
        tied = (sums[:, 2] + sums[:, 3]) / sums.sum(axis=1)
        return sums[:, 0] / sums.sum(axis=1) + tied / 2, tied


def _estimate(value: float, samples: np.ndarray | None, num_units: float) -> Estimate:
    """A share with the percentile interval of its resamples (B,).

    Where comparisons, wins or losses are too few for a bootstrap, by `share_bounds`; comparisons of unequal numbers of
    votes count as their effective number.
    """
    if samples is None:
        return Estimate(value=value)
    low, high = percentile_interval(samples) if is_enough(value, num_units) else UNKNOWN
    if np.isnan(low):
        low, high = share_bounds(value, num_units)
    return Estimate(value=value, low=low, high=high)
