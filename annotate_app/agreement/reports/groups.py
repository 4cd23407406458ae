"""Groups of annotators by a field: how far people agree within a group and between two, and where groups decide apart.

A group of few people says little of others like them, and much of these people: groups below a least number of people
get no figures. Intervals are over comparisons drawn with replacement; the people are taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from annotate_app.agreement.annotator_bootstrap import draw_blocks
from annotate_app.agreement.bootstrap import Estimate
from annotate_app.agreement.coefficients import corrected, divide
from annotate_app.agreement.proportions import Share, share
from annotate_app.agreement.vote_categories import NOMINAL_CODES, Ballots, overall_ballots
from annotate_app.votes import Votes
from rewardkit.stats.small_samples import LEAST

LEAST_PEOPLE = 5
MOST_GROUPS = 12
"""With figures; the largest."""
MOST_OPPOSED = 50


@dataclass(frozen=True, kw_only=True)
class Group:
    """People with one value of the field; `is_small` says that they are too few for figures."""

    name: str
    num_people: int
    num_votes: int
    num_items: int
    is_small: bool


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """Annotators by their value of a field.

    Attributes:
        groups: those with votes, the most people first.
        of_annotator: (R,) int, index into groups, -1 where the field is not known.
        num_unknown: people with votes whose value is not known.
    """

    field: str
    groups: tuple[Group, ...]
    of_annotator: np.ndarray
    num_unknown: int

    @property
    def shown(self) -> tuple[int, ...]:
        """Indices of the groups with figures."""
        large = [index for index, group in enumerate(self.groups) if not group.is_small]
        return tuple(large[:MOST_GROUPS])

    def votes_of(self, votes: Votes, index: int) -> Votes:
        """The votes of one group."""
        return votes.where(self.of_annotator[votes.annotator] == index)


@dataclass(frozen=True, kw_only=True)
class GroupPair:
    """How far two groups agree, or one within itself (`one == other`).

    Attributes:
        percent: share of vote pairs of two people that are the same answer, mean over comparisons.
        kappa: the same beyond chance.
        opposed: of the comparisons that both groups decide, how often they prefer different answers; none within.
        opposed_items: ids of these, the most opposed first.
    """

    one: str
    other: str
    num_items: int
    percent: Estimate
    kappa: Estimate
    opposed: Share
    opposed_items: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values."""
        named: dict[str, object] = {"one": self.one, "other": self.other, "num_items": self.num_items}
        figures = {name: getattr(self, name).as_dict() for name in ("percent", "kappa", "opposed")}
        return named | figures | {"opposed_items": list(self.opposed_items)}


def group_people(
    votes: Votes, fields: Mapping[str, Mapping[str, str]], field: str, *, least_people: int = LEAST_PEOPLE
) -> Grouping:
    """Divides annotators by their value of a field.

    Args:
        fields: by name of the annotator.
        least_people: with votes, that a group needs for figures.

    Raises:
        ValueError: if nobody has the field, or `least_people` is below 1.
    """
    if least_people < 1:
        raise ValueError(f"least_people is {least_people}, allowed is 1 or more")
    known = sorted({key for values in fields.values() for key in values})
    if field not in known:
        raise ValueError(f"field is {field!r}, people have {', '.join(known) or 'none'}")
    counted = votes.counted()
    num_votes = np.bincount(counted.annotator, minlength=len(votes.annotators))
    value_of = [fields.get(name, {}).get(field, "") for name in votes.annotators]
    sizes: dict[str, int] = {}
    for value, number in zip(value_of, num_votes.tolist(), strict=True):
        if value and number:
            sizes[value] = sizes.get(value, 0) + 1
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    index = {name: place for place, name in enumerate(names)}
    of_annotator = np.array([index.get(value, -1) for value in value_of], dtype=np.int64)
    groups = []
    for place, name in enumerate(names):
        own = counted.where(of_annotator[counted.annotator] == place)
        groups.append(
            Group(
                name=name,
                num_people=sizes[name],
                num_votes=len(own),
                num_items=len(np.unique(own.item)),
                is_small=sizes[name] < least_people,
            )
        )
    num_unknown = int(((of_annotator < 0) & (num_votes > 0)).sum())
    return Grouping(field=field, groups=tuple(groups), of_annotator=of_annotator, num_unknown=num_unknown)


def group_agreement(
    votes: Votes, grouping: Grouping, *, num_resamples: int = 1000, seed: int = 0
) -> tuple[GroupPair, ...]:
    """Agreement within each group that is not small, and between every two of them.

    percent: mean over items of sum_c n_gc n_hc / (m_g m_h) between groups g and h, and of sum_c n_gc (n_gc - 1) /
    (m_g (m_g - 1)) within g. kappa = (percent - p_e) / (1 - p_e), p_e = sum_c s_gc s_hc with s the mean share of an
    answer over the items that a group rated: Fleiss' kappa within a group (1971, eq. 7), and across groups as the
    cross-replication reliability of Wong, Paritosh and Aroyo 2021 (arXiv 2106.07393, eq. 3) up to the weight of items.
    """
    ballots = overall_ballots(votes.counted())
    rng = np.random.default_rng(seed)
    blocks = draw_blocks(ballots, num_resamples, rng, votes.clusters)
    counts = {index: _counts(ballots, grouping, index) for index in grouping.shown}
    pairs = []
    for number, one in enumerate(grouping.shown):
        for other in grouping.shown[number:]:
            agreed, present = _item_agreement(counts[one], counts[other], within=one == other)
            rows = np.column_stack([agreed, present, *_item_shares(counts[one]), *_item_shares(counts[other])])
            size, width = blocks.num_blocks, len(ballots.categories)
            percent, kappa = _figures(rows.sum(axis=0)[None], width)
            percents = kappas = None
            if size and len(np.unique(votes.item_cluster[present > 0])) >= LEAST:
                sums = np.column_stack([np.bincount(blocks.of_item, column, size) for column in rows.T])
                percents, kappas = _figures(blocks.weights @ sums, width)
            leans = [_lean(counts[index], ballots.categories) for index in (one, other)]
            opposed, items = _opposed(votes, *leans) if one != other else (share(0, 0), ())
            pairs.append(
                GroupPair(
                    one=grouping.groups[one].name,
                    other=grouping.groups[other].name,
                    num_items=int(present.sum()),
                    percent=Estimate.of_samples(float(percent[0]), percents),
                    kappa=Estimate.of_samples(float(kappa[0]), kappas),
                    opposed=opposed,
                    opposed_items=items,
                )
            )
    return tuple(pairs)


def grouping_dict(grouping: Grouping) -> dict[str, object]:
    """Plain values of the groups, without who is in them."""
    groups = [asdict(group) for group in grouping.groups]
    return {"field": grouping.field, "num_unknown": grouping.num_unknown, "groups": groups}


def _counts(ballots: Ballots, grouping: Grouping, index: int) -> np.ndarray:
    """(I, C) votes of a group by item and category."""
    own = grouping.of_annotator[ballots.annotator] == index
    width = len(ballots.categories)
    cells = ballots.item[own].astype(np.int64) * width + ballots.answer[own]
    return np.bincount(cells, minlength=ballots.num_items * width).reshape(-1, width).astype(np.float64)


def _item_agreement(one: np.ndarray, other: np.ndarray, *, within: bool) -> tuple[np.ndarray, np.ndarray]:
    """(I,) share of vote pairs that agree, 0 where there are none, and (I,) whether there are."""
    if within:
        pairs, same = one.sum(1) * (one.sum(1) - 1), (one * (one - 1)).sum(1)
    else:
        pairs, same = one.sum(1) * other.sum(1), (one * other).sum(1)
    present = pairs > 0
    return np.where(present, same / np.maximum(pairs, 1), 0.0), present.astype(np.float64)


def _item_shares(counts: np.ndarray) -> list[np.ndarray]:
    """Columns: whether a group rated the item, then its shares of the answers."""
    votes = counts.sum(1)
    return [(votes > 0).astype(np.float64), *(counts / np.maximum(votes, 1)[:, None]).T]


def _figures(sums: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Percent and kappa (B,) from sums (B, K) of the columns."""
    percent = divide(sums[:, 0], sums[:, 1])
    one = divide(sums[:, 3 : 3 + width], sums[:, 2:3])
    other = divide(sums[:, 4 + width :], sums[:, 3 + width : 4 + width])
    return percent, corrected(percent, (one * other).sum(1))


def _lean(counts: np.ndarray, categories: tuple[int, ...]) -> np.ndarray:
    """(I,) share of a group's votes for b minus that for a; 0 where it has none or is divided."""
    a, b = (categories.index(NOMINAL_CODES[name]) for name in ("a", "b"))
    return (counts[:, b] - counts[:, a]) / np.maximum(counts.sum(1), 1)


def _opposed(votes: Votes, one: np.ndarray, other: np.ndarray) -> tuple[Share, tuple[str, ...]]:
    """How often two groups that lean (I,) to an answer lean to different ones, and where."""
    decided = (one != 0) & (other != 0)
    apart = decided & (one * other < 0)
    order = np.flatnonzero(apart)
    order = order[np.argsort(-np.abs(one - other)[order], kind="stable")][:MOST_OPPOSED]
    return share(int(apart.sum()), int(decided.sum())), tuple(votes.items[place] for place in order.tolist())
