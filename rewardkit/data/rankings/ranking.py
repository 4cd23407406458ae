"""A ranking: several completions of one prompt in an order, with ties, and perhaps with some left unranked.

It is what one annotator said, or many together. What ranks mean, and what they say of pairs, is `Ranks` and the
functions beside it in `rewardkit.data.records`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from rewardkit.data.records import Message, Ranks, Relation, Response, check_ranks, ranked_pairs


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """Completions of one prompt in the order that somebody gave them.

    Attributes:
        responses: the completions, two or more, all different.
        ranks: see the module; one per completion, at least one of them not None.
        annotator: who ranked; empty for an aggregate of many, or where it is not known.
        weight: weight of the ranking in a loss, 0 or more.
    """

    prompt: tuple[Message, ...]
    responses: tuple[Response, ...]
    ranks: Ranks
    id: str = ""
    annotator: str = ""
    weight: float = 1.0
    meta: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.responses) < 2:
            raise ValueError(f"a ranking of {len(self.responses)} responses, allowed are 2 or more")
        check_ranks(self.ranks, len(self.responses))
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"weight is {self.weight}, allowed is 0 or more")

    def pairs(self) -> list[tuple[int, int, Relation]]:
        """What it says of every two completions that it compares: their places, and which is better."""
        return ranked_pairs(self.ranks)
