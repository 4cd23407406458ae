"""The answers of one judge as one vote an item: both orders are one vote, and several samples are shares of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from annotate_app.consensus.rules import NUM_CHOICES
from annotate_app.store.loop.judge_votes import VoteTable
from annotate_app.votes import CHOICE_CODES

NUM_ORDERS = 3  # a first, b first, no order seen
EQUAL = 1e-9


@dataclass(frozen=True, kw_only=True)
class Readings:
    """One vote of a judge an item, in the order of `items`.

    Of an item that was judged under several versions of the rubric, or with several sets of examples, the newest
    version counts, and of it the newest set.

    Attributes:
        shares: (I, 4) shares of a, b, tie, both_bad among its answers, both orders weighing the same; zeros where it
            gave none.
        p_b: (I,) its probability that b is better, a tie as half: as it told, else by its answers; NaN without any.
        choice: (I,) int8 code of its one vote, -1 without; equal shares are decided by a probability that it told, and
            are a tie without one.
        by_order: (I, 2) its probability of b where a was shown first, and where b was; NaN where not asked.
        told: (I,) whether it told a probability, and did not name a choice only.
        num_answers: (I,) answers that the vote is made of.
        rubric_version: (I,) of them, -1 without.
        criteria: by criterion, (I,) mean signed degree, NaN where not answered.
        num_refused, num_unreadable: all its answers that were none.
    """

    judge: str
    items: tuple[str, ...]
    shares: np.ndarray
    p_b: np.ndarray
    choice: np.ndarray
    by_order: np.ndarray
    told: np.ndarray
    num_answers: np.ndarray
    rubric_version: np.ndarray
    criteria: Mapping[str, np.ndarray]
    num_refused: int
    num_unreadable: int

    @property
    def answered(self) -> np.ndarray:
        """(I,) bool: whether there is a vote."""
        return self.choice >= 0


def read_judge(
    table: VoteTable,
    judge: str,
    items: tuple[str, ...],
    *,
    version: int | None = None,
    leave_out: Collection[str] = (),
) -> Readings:
    """The votes of one judge.

    Args:
        table: votes of that judge, or of others too.
        items: comparison ids to order by, for example those of the project's `Votes`.
        version: of the rubric, to read its answers alone.
        leave_out: ids of comparisons that the judge was shown with people's answers: nothing is measured on them.

    Raises:
        ValueError: if the table knows no such judge.
    """
    if judge not in table.judges:
        raise ValueError(f"there is no judge {judge!r}; there are {', '.join(table.judges) or 'none'}")
    place = {key: index for index, key in enumerate(items)}
    position = np.array([-1 if key in leave_out else place.get(key, -1) for key in table.items] or [0], dtype=np.int64)
    rows = table.judge == table.judges.index(judge)
    rows &= position[table.item] >= 0 if len(table) else rows
    if version is not None:
        rows &= table.rubric_version == version
    names = (*CHOICE_CODES, "refused", "unreadable")
    refused, unreadable = (int((rows & (table.choice == names.index(name))).sum()) for name in names[-2:])
    used = np.flatnonzero(rows & (table.choice < NUM_CHOICES))
    used = used[_newest(table, used, position)]
    item, size = position[table.item[used]], len(items)
    order = np.where(table.shown_first[used] < 0, NUM_ORDERS - 1, table.shown_first[used])
    cell = item * NUM_ORDERS + order
    answers = np.bincount(cell, minlength=size * NUM_ORDERS).reshape(size, NUM_ORDERS)
    told = ~np.isnan(table.p_a[used])
    named = np.select(
        [table.choice[used] == CHOICE_CODES["a"], table.choice[used] == CHOICE_CODES["b"]], [0.0, 1.0], 0.5
    )
    p_b = np.where(told, 1.0 - table.p_a[used], named)
    by_order = _cell_means(cell, p_b, answers)
    shares = np.stack(
        [
            _over_orders(_cell_means(cell, (table.choice[used] == code).astype(float), answers))
            for code in range(NUM_CHOICES)
        ],
        axis=1,
    )
    has_told = np.bincount(item, told, minlength=size) > 0
    version_of = np.full(size, -1)
    version_of[item] = table.rubric_version[used]
    probability = _over_orders(by_order)
    return Readings(
        judge=judge,
        items=items,
        shares=np.nan_to_num(shares),
        p_b=probability,
        choice=_choose(shares, probability),
        by_order=by_order[:, :2],
        told=has_told,
        num_answers=answers.sum(axis=1),
        rubric_version=version_of,
        criteria={name: _degrees(cell, values[used], size) for name, values in table.criteria.items()},
        num_refused=refused,
        num_unreadable=unreadable,
    )


def _newest(table: VoteTable, used: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Mask of the rows whose version and examples are those of their item's newest row."""
    item = position[table.item[used]]
    order = np.lexsort((table.created_at[used], table.rubric_version[used], item))
    last = np.zeros(len(position) if not len(item) else int(item.max()) + 1, dtype=np.int64)
    last[item[order]] = order  # the last one written stands
    newest = used[last[item]]
    return (table.rubric_version[used] == table.rubric_version[newest]) & (
        table.examples[used] == table.examples[newest]
    )


def _cell_means(cell: np.ndarray, values: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(I, 3) means by item and order, NaN without answers."""
    sums = np.bincount(cell, values, minlength=answers.size).reshape(answers.shape)
    return np.where(answers > 0, sums / np.maximum(answers, 1), np.nan)


def _over_orders(means: np.ndarray) -> np.ndarray:
    """(I,) mean over the orders that were asked, each the same."""
    asked = ~np.isnan(means)
    return np.where(asked.any(axis=1), np.nansum(means, axis=1) / np.maximum(asked.sum(axis=1), 1), np.nan)


def _choose(shares: np.ndarray, p_b: np.ndarray) -> np.ndarray:
    top = np.nan_to_num(shares)
    leads = top >= top.max(axis=1, keepdims=True) - EQUAL
    by_probability = np.select(
        [p_b < 0.5 - EQUAL, p_b > 0.5 + EQUAL], [CHOICE_CODES["a"], CHOICE_CODES["b"]], CHOICE_CODES["tie"]
    )
    choice = np.where(leads.sum(axis=1) == 1, top.argmax(axis=1), by_probability)
    return np.where(np.isnan(p_b), -1, choice).astype(np.int8)


def _degrees(cell: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    answered_rows = ~np.isnan(values)
    answers = np.bincount(cell[answered_rows], minlength=size * NUM_ORDERS).reshape(size, NUM_ORDERS)
    return _over_orders(_cell_means(cell[answered_rows], values[answered_rows].astype(float), answers))
