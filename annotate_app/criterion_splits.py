"""Disagreement as feedback on the rubric: which criterion splits people where they disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate_app.ballots import criterion_ballots, overall_ballots
from annotate_app.votes import Votes


@dataclass(frozen=True, kw_only=True)
class CriterionSplit:
    """How far one criterion divides the people who judged the disputed items.

    Attributes:
        disagreement: share of pairs of votes on a disputed item that point to different sides (a, tie, b) on it.
        elsewhere: the same on the other items, NaN where there are none.
        num_pairs: pairs of votes on disputed items.
        num_items: disputed items with such a pair.
    """

    name: str
    disagreement: float
    elsewhere: float
    num_pairs: int
    num_items: int

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def split_criteria(votes: Votes, disputed: np.ndarray | None = None) -> tuple[CriterionSplit, ...]:
    """Criteria ranked by how much they divide people, most divisive first.

    Args:
        disputed: indices of items in dispute, for example those queued for adjudication, or a single one; by default
            every item whose counted overall answers are not all the same.
    """
    counted = votes.counted()
    mask = np.zeros(len(votes.items), dtype=bool)
    if disputed is None:
        answers = overall_ballots(counted).nominal_tally().counts
        mask = (answers > 0).sum(axis=1) > 1
    else:
        mask[disputed] = True
    found: list[CriterionSplit] = []
    for name in votes.criteria:
        counts = criterion_ballots(counted, name).nominal_tally().counts
        size = counts.sum(axis=1)
        pairs = size * (size - 1) // 2
        apart = pairs - (counts * (counts - 1) // 2).sum(axis=1)
        inside, outside = int(pairs[mask].sum()), int(pairs[~mask].sum())
        if inside:
            found.append(
                CriterionSplit(
                    name=name,
                    disagreement=float(apart[mask].sum() / inside),
                    elsewhere=float(apart[~mask].sum() / outside) if outside else float("nan"),
                    num_pairs=inside,
                    num_items=int((pairs[mask] > 0).sum()),
                )
            )
    return tuple(sorted(found, key=lambda split: (-split.disagreement, split.name)))
