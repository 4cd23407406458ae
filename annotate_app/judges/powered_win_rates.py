"""Win rates of models by few votes of people and many of a judge (`rewardkit.stats.prediction_powered`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate_app.consensus.judge_readings import Readings
from annotate_app.consensus.rules import choice_counts
from annotate_app.judges.report import people_share_b
from annotate_app.votes import Votes
from rewardkit.stats.prediction_powered import PoweredMean, prediction_powered_mean


@dataclass(frozen=True, kw_only=True)
class PoweredWinRate:
    """How often `one` wins against `other`, a tie or both bad as half: by people, by both, by the judge."""

    one: str
    other: str
    mean: PoweredMean

    def as_dict(self) -> dict[str, object]:
        """As plain values."""
        return {"one": self.one, "other": self.other, **self.mean.as_dict()}


def powered_win_rates(votes: Votes, readings: Readings, *, seed: int = 0) -> tuple[PoweredWinRate, ...]:
    """All pairs of named models that met, those with most of people's votes first.

    People's comparisons weigh by their votes, as in `annotate_app.ranking.win_rates`; the judge's count once each.
    """
    counts = choice_counts(votes.counted())
    num_votes = counts.sum(axis=1)
    share_b, judge_b = people_share_b(counts), readings.p_b
    named = np.array([bool(name) for name in votes.sources], dtype=bool)
    a, b = votes.item_source_a, votes.item_source_b
    seen = (num_votes > 0) | readings.answered
    usable = np.flatnonzero(named[a] & named[b] & (a != b) & seen) if len(a) else np.zeros(0, dtype=int)
    one, other = np.minimum(a, b)[usable], np.maximum(a, b)[usable]
    met, pair = np.unique(np.column_stack([one, other]), axis=0, return_inverse=True)
    rates = []
    for number, (first, second) in enumerate(met.tolist()):
        items = usable[pair.reshape(-1) == number]
        turned = a[items] == first  # b is then the other
        people, judge = (np.where(turned, 1 - values[items], values[items]) for values in (share_b, judge_b))
        mean = prediction_powered_mean(people, judge, weight=num_votes[items].astype(float), seed=seed)
        rates.append((-int(num_votes[items].sum()), votes.sources[first], votes.sources[second], mean))
    rates.sort(key=lambda rate: rate[:3])
    return tuple(PoweredWinRate(one=one, other=other, mean=mean) for _, one, other, mean in rates)
