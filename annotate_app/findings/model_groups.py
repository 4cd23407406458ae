"""Whom a reward model sides with: on which share of each group's decided judgments it prefers the same answer.

Judgments of one person hang together, and so do those on pairs of one prompt. Intervals are of the pigeonhole bootstrap
(Owen 2007, The pigeonhole bootstrap, AoAS 1(2), section 2): prompts and people are drawn with replacement, each by
themselves, and a judgment weighs the product. It is wider than a bootstrap over either alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from annotate_app.agreement.bootstrap import Estimate
from annotate_app.agreement.reports.groups import Grouping
from annotate_app.votes import CHOICE_CODES, Votes
from rewardkit.stats.small_samples import LEAST


@dataclass(frozen=True, kw_only=True)
class GroupSide:
    """One group and a model: the share of `num_votes` decided judgments on which the model agrees."""

    name: str
    num_people: int
    num_votes: int
    num_items: int
    share: Estimate

    def as_dict(self) -> dict[str, object]:
        """Plain values."""
        counts: dict[str, object] = {"name": self.name, "num_people": self.num_people}
        return counts | {"num_votes": self.num_votes, "num_items": self.num_items, "share": self.share.as_dict()}


@dataclass(frozen=True, kw_only=True)
class SideDifference:
    """How much more a model agrees with one group than with another, on comparisons that both decided."""

    one: str
    other: str
    num_items: int
    difference: Estimate

    @property
    def is_shown(self) -> bool:
        """Whether the interval excludes 0."""
        return self.difference.low > 0 or self.difference.high < 0

    def as_dict(self) -> dict[str, object]:
        """Plain values."""
        named: dict[str, object] = {"one": self.one, "other": self.other, "num_items": self.num_items}
        return named | {"shown": self.is_shown, "difference": self.difference.as_dict()}


@dataclass(frozen=True, kw_only=True)
class ModelSides:
    """A model and the groups: the share of each, and the differences of every two on the same comparisons."""

    groups: tuple[GroupSide, ...]
    differences: tuple[SideDifference, ...]
    num_unscored: int

    def as_dict(self) -> dict[str, object]:
        """Plain values."""
        return {
            "groups": [side.as_dict() for side in self.groups],
            "differences": [difference.as_dict() for difference in self.differences],
            "num_unscored": self.num_unscored,
        }


def model_sides(
    votes: Votes,
    grouping: Grouping,
    keys: tuple[str, ...],
    p: np.ndarray,
    prompt: np.ndarray,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> ModelSides:
    """Holds a model against each group that is not small.

    Share of group g: sum_v w_v [model agrees] / sum_v w_v over its judgments for a or b. Difference of g and h: mean
    over comparisons that both decided of the share of g's judgments minus that of h's; each comparison counts the same.

    Args:
        keys: (N,) ids of the comparisons that the model scored.
        p: (N,) probability that a is better, as the model says it; one half takes no part.
        prompt: (N,) what names the prompt of each.
    """
    counted = votes.counted()
    place = {key: number for number, key in enumerate(keys)}
    scored = np.array([place.get(key, -1) for key in votes.items], dtype=np.int64)
    decided = np.isin(counted.choice, [CHOICE_CODES["a"], CHOICE_CODES["b"]])
    at = scored[counted.item]
    usable = decided & (at >= 0)
    usable[usable] = p[at[usable]] != 0.5
    num_unscored = int((decided & (at < 0)).sum())
    own = counted.where(usable)
    at = at[usable]
    hit = ((p[at] > 0.5) == (own.choice == CHOICE_CODES["a"])).astype(np.float64)
    cluster = np.unique(prompt[at], return_inverse=True)[1].reshape(-1) if len(at) else at
    sample = _Sample(
        item=own.item,
        person=own.annotator,
        group=grouping.of_annotator[own.annotator],
        cluster=cluster,
        hit=hit,
        num_items=len(votes.items),
        shown=grouping.shown,
    )
    return _sides(sample, grouping, num_unscored, num_resamples, np.random.default_rng(seed))


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """Decided judgments on scored pairs: (V,) columns."""

    item: np.ndarray
    person: np.ndarray
    group: np.ndarray
    cluster: np.ndarray
    hit: np.ndarray
    num_items: int
    shown: tuple[int, ...]

    def figures(self, people: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(G,) shares and (G, G) differences, with weights (V,) of each judgment's person and of its prompt."""
        num = len(self.shown)
        hits, totals = np.zeros((num, self.num_items)), np.zeros((num, self.num_items))
        item_weight = np.zeros(self.num_items)
        item_weight[self.item] = items
        for row, index in enumerate(self.shown):
            own = self.group == index
            hits[row] = np.bincount(self.item[own], (people * self.hit)[own], self.num_items)
            totals[row] = np.bincount(self.item[own], people[own], self.num_items)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = (hits @ item_weight) / (totals @ item_weight)
            mean = np.where(totals > 0, hits / np.where(totals > 0, totals, 1), 0.0)
            differences = np.full((num, num), np.nan)
            for one in range(num):
                for other in range(one + 1, num):
                    both = (totals[one] > 0) & (totals[other] > 0)
                    weight = item_weight * both
                    differences[one, other] = (mean[one] - mean[other]) @ weight / weight.sum()
        return shares, differences

    def draws(self, num_resamples: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Weights of people, drawn within their group, and of prompts."""
        num_clusters = int(self.cluster.max(initial=-1)) + 1
        people = {index: np.unique(self.person[self.group == index]) for index in self.shown}
        for _ in range(num_resamples):
            of_person = np.zeros(int(self.person.max(initial=-1)) + 1)
            for members in people.values():
                of_person[members] = rng.multinomial(len(members), np.full(len(members), 1 / max(len(members), 1)))
            of_cluster = rng.multinomial(num_clusters, np.full(num_clusters, 1 / num_clusters)).astype(np.float64)
            yield of_person[self.person], of_cluster[self.cluster]


def _sides(
    sample: _Sample, grouping: Grouping, num_unscored: int, num_resamples: int, rng: np.random.Generator
) -> ModelSides:
    if not len(sample.item):
        return ModelSides(groups=(), differences=(), num_unscored=num_unscored)
    ones = np.ones(len(sample.item))
    shares, differences = sample.figures(ones, ones)
    draws = [sample.figures(people, items) for people, items in sample.draws(num_resamples, rng)]
    sides, gaps = [], []
    items = {index: np.unique(sample.item[sample.group == index]) for index in sample.shown}
    for row, index in enumerate(sample.shown):
        group, own = grouping.groups[index], sample.group == index
        samples = np.array([draw[0][row] for draw in draws])
        sides.append(
            GroupSide(
                name=group.name,
                num_people=len(np.unique(sample.person[own])),
                num_votes=int(own.sum()),
                num_items=len(items[index]),
                share=_estimate(float(shares[row]), samples, len(items[index])),
            )
        )
        for column in range(row + 1, len(sample.shown)):
            num_both = len(np.intersect1d(items[index], items[sample.shown[column]]))
            samples = np.array([draw[1][row, column] for draw in draws])
            gaps.append(
                SideDifference(
                    one=group.name,
                    other=grouping.groups[sample.shown[column]].name,
                    num_items=num_both,
                    difference=_estimate(float(differences[row, column]), samples, num_both),
                )
            )
    return ModelSides(groups=tuple(sides), differences=tuple(gaps), num_unscored=num_unscored)


def _estimate(value: float, samples: np.ndarray, num_items: int) -> Estimate:
    """A figure with the interval of its resamples, none where comparisons are too few to draw from."""
    return Estimate.of_samples(value, samples if num_items >= LEAST and len(samples) else None)
