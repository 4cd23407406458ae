"""Simulated people and judges of known quality on the same comparisons, as `Votes` and `VoteTable`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from annotate_app.store.loop.judge_votes import JUDGE_CHOICE_CODES, SPENT, VoteTable
from annotate_app.votes import Votes

OWN = "judge-8b"
SHARPNESS = 1.5  # of a person: log-odds per unit of worth


class World:
    """Comparisons with a worth (b minus a), lengths and sources; three of six people judge the first of them."""

    def __init__(
        self,
        make_votes: Callable[..., Votes],
        *,
        num_items: int = 600,
        num_judged: int | None = None,
        seed: int = 0,
        length_worth: float = 0.0,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        draws = self.rng
        self.lengths = np.exp2(draws.normal(9, 1, (num_items, 2))).astype(np.int32) + 1
        self.log_lengths = np.log2(self.lengths[:, 1] / self.lengths[:, 0])
        self.sources = draws.integers(0, 3, (num_items, 2)).astype(np.int32)
        self.worth = draws.normal(0, 1.5, num_items) + length_worth * self.log_lengths
        self.own = (self.sources[:, 1] == 0).astype(int) - (self.sources[:, 0] == 0).astype(int)
        num_judged = num_items if num_judged is None else num_judged
        item = np.repeat(np.arange(num_judged), 3)
        person = np.argsort(draws.random((num_judged, 6)), axis=1)[:, :3].ravel()
        choice = ["b" if says else "a" for says in draws.random(len(item)) < self.person_b[item]]
        self.items = tuple(f"c{number:05}" for number in range(num_items))
        votes = make_votes([self.items[index] for index in item], [f"p{index}" for index in person], choice)
        columns = {name: getattr(votes, name) for name in Votes.__dataclass_fields__}
        columns |= {
            "items": self.items,
            "sources": (OWN, "other", "third"),
            "item_source_a": self.sources[:, 0],
            "item_source_b": self.sources[:, 1],
            "item_length_a": self.lengths[:, 0],
            "item_length_b": self.lengths[:, 1],
            "item_gold": np.full(num_items, -1, dtype=np.int8),
        }
        self.votes = Votes(**columns)

    @property
    def person_b(self) -> np.ndarray:
        """(I,) probability that a person says b."""
        return 1 / (1 + np.exp(-SHARPNESS * self.worth))

    def answers(self, kind: str) -> np.ndarray:
        """(I, 2) P(b) told by a judge of a kind, where a was shown first and where b was; 0 or 1 names a choice."""
        draws, logit = self.rng, SHARPNESS * self.worth
        person = (draws.random(len(self.worth)) < self.person_b).astype(float)
        once = np.column_stack([person, person])
        match kind:
            case "median person":
                return once
            case "good":
                return np.column_stack([(self.worth > 0).astype(float)] * 2)
            case "position":
                seduced = draws.random(once.shape) < 0.5
                return np.where(seduced, [0.0, 1.0], once)
            case "length":
                logit = logit + 2.0 * self.log_lengths
            case "self":
                logit = logit + 2.5 * self.own
            case "random":
                return (draws.random(once.shape) < 0.5).astype(float)
            case "inverted":
                return 1 - once
            case "calibrated":
                return np.column_stack([self.person_b] * 2)
            case "overconfident":
                return np.column_stack([1 / (1 + np.exp(-4 * (logit + draws.normal(0, 2, len(logit)))))] * 2)
            case _:
                raise ValueError(kind)
        says = draws.random(len(logit)) < 1 / (1 + np.exp(-logit))
        return np.column_stack([says, says]).astype(float)

    def table(self, kind: str, *, tells: bool = False) -> VoteTable:
        """The votes of a judge called by its kind; `tells` keeps its probabilities."""
        return table_of(self.items, self.answers(kind), judge=kind, tells=tells)


def table_of(
    items: Sequence[str], p_b: np.ndarray, *, judge: str = "judge", tells: bool = False, **columns: np.ndarray
) -> VoteTable:
    """A table of one judge from its (I, 2) probabilities of b by what was shown first; NaN is a refusal."""
    item, order = (part.ravel() for part in np.indices(p_b.shape))
    flat = p_b.ravel()
    names = np.select([np.isnan(flat), flat < 0.5, flat > 0.5], ["refused", "a", "b"], "tie")
    size = len(flat)
    values: dict[str, object] = {
        "items": tuple(items),
        "judges": (judge,),
        "example_hashes": ("",),
        "item": item.astype(np.int32),
        "judge": np.zeros(size, dtype=np.int32),
        "choice": np.array([JUDGE_CHOICE_CODES[name] for name in names], dtype=np.int8),
        "score": np.select([names == "a", names == "b"], [-1, 1], 0).astype(np.int8),
        "p_a": 1 - flat if tells else np.full(size, np.nan),
        "shown_first": order.astype(np.int8),
        "sample": np.zeros(size, dtype=np.int16),
        "rubric_version": np.ones(size, dtype=np.int32),
        "examples": np.zeros(size, dtype=np.int32),
        "created_at": np.arange(size, dtype=np.float64),
        "criteria": {},
        "spent": {name: np.full(size, 2.0) for name in SPENT},
    }
    return VoteTable(**(values | columns))  # type: ignore[arg-type]
