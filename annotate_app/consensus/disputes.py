"""Disagreement: which comparisons an adjudicator should see first, and which questions divide annotators most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate_app.consensus.consensus import Consensus
from annotate_app.votes import CHOICE_CODES, Votes


@dataclass(frozen=True, kw_only=True)
class Split:
    """How annotators disagree on one question.

    Attributes:
        name: overall, or a criterion.
        num_items: comparisons that two people or more answered.
        num_opposed: those on which somebody prefers a and somebody else b.
        num_differing: those on which the direction is not the same for all, a tie being one of its own.
    """

    name: str
    num_items: int
    num_opposed: int
    num_differing: int

    @property
    def share_opposed(self) -> float:
        """Opposed comparisons among those with two answers; 0 where there are none."""
        return self.num_opposed / self.num_items if self.num_items else 0.0


def splits(votes: Votes) -> tuple[Split, ...]:
    """The overall question first, then the criteria, most opposed first. Both-bad votes have no direction."""
    counted = votes.counted()
    placed = counted.choice != CHOICE_CODES["both_bad"]
    overall = _split("overall", counted.item[placed], counted.score[placed], len(votes.items))
    criteria = []
    for name, degrees in counted.criteria.items():
        answered = ~np.isnan(degrees)
        criteria.append(_split(name, counted.item[answered], degrees[answered], len(votes.items)))
    return (overall, *sorted(criteria, key=lambda split: -split.share_opposed))


def _split(name: str, item: np.ndarray, degrees: np.ndarray, num_items: int) -> Split:
    a = np.bincount(item[degrees < 0], minlength=num_items) > 0
    b = np.bincount(item[degrees > 0], minlength=num_items) > 0
    even = np.bincount(item[degrees == 0], minlength=num_items) > 0
    several = np.bincount(item, minlength=num_items) >= 2
    return Split(
        name=name,
        num_items=int(several.sum()),
        num_opposed=int((several & a & b).sum()),
        num_differing=int((several & (a.astype(int) + b + even >= 2)).sum()),
    )


def disputed_items(votes: Votes, consensus: Consensus) -> list[str]:
    """Ids of the comparisons queued for adjudication, widest disagreement first.

    Width is the distance between the outermost degrees; among equals the less certain consensus comes first.
    """
    counted = votes.counted()
    highest, lowest = (np.zeros(len(votes.items), dtype=np.int64) for _ in range(2))
    np.maximum.at(highest, counted.item, counted.score)
    np.minimum.at(lowest, counted.item, counted.score)
    queued = consensus.indices("queued")
    width = (highest - lowest)[queued]
    order = np.lexsort((queued, consensus.confidence[queued], -width))
    return [votes.items[index] for index in queued[order].tolist()]
