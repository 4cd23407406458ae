"""A judge's agreement with people beside people's own with each other: same items, same correction for chance.

Every figure is over items, each counting the same. The judge's vote is held against a person drawn from the item's
votes, a person's against another of them. What a vote of the judge is: `annotate_app.consensus.judge_readings`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from annotate_app.agreement.bootstrap import resample_sums
from rewardkit.stats.metrics import Interval, percentile_interval
from rewardkit.stats.small_samples import LEAST, difference_bounds, is_enough, kappa_at, share_bounds


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A judge and people on a group of items.

    Attributes:
        num_items: that the judge and somebody judged; num_shared: of them, those with two people's votes or more.
        num_votes: people's votes on num_items.
        percent: chance that the judge gives the answer of a person drawn from the item's votes.
        kappa: the same beyond chance, (p_o - p_e) / (1 - p_e), p_e by the judge's and people's shares of each answer;
            where each item has one vote, Cohen's kappa (1960).
        shared_percent, shared_kappa: the judge's, on num_shared alone.
        people_percent, people_kappa: of two people drawn from the item's votes, on num_shared; p_e by people's shares.
        difference: shared_percent minus people_percent, paired by item.
    """

    name: str
    num_items: int
    num_shared: int
    num_votes: int
    percent: Interval
    kappa: Interval
    shared_percent: Interval
    shared_kappa: Interval
    people_percent: Interval
    people_kappa: Interval
    difference: Interval


@dataclass(frozen=True, kw_only=True)
class PersonBeside:
    """A judge in the place of one person, held against the others on that person's items."""

    name: str
    num_items: int
    person: float
    judge: float

    @property
    def difference(self) -> float:
        """Judge minus person."""
        return self.judge - self.person


@dataclass(frozen=True, kw_only=True)
class MedianPerson:
    """The judge minus the median person, each against the other people on that person's items (leave-one-out).

    Attributes:
        difference: of agreement, with its interval over items.
        people: those with LEAST items or more.
        num_items: items behind it; num_votes: votes on them.
    """

    difference: Interval
    people: tuple[PersonBeside, ...]
    num_items: int
    num_votes: int

    @property
    def num_matched(self) -> int:
        """People whose agreement with the others the judge reaches."""
        return sum(person.difference >= 0 for person in self.people)


def beside_people(
    name: str, choice: np.ndarray, counts: np.ndarray, *, num_resamples: int, rng: np.random.Generator
) -> Beside:
    """The figures of a group of items.

    Args:
        choice: (I,) code of the judge's vote, -1 without.
        counts: (I, C) people's votes by code.
        num_resamples: of items behind the intervals; 0 for none.
    """
    used = (choice >= 0) & (counts.sum(axis=1) > 0)
    patterns, multiplicity = np.unique(
        np.column_stack([choice[used], counts[used]]).astype(np.int64), axis=0, return_counts=True
    )
    code, people = patterns[:, 0], patterns[:, 1:]
    votes = people.sum(axis=1)
    own, shares = np.eye(counts.shape[1])[code], people / votes[:, None]
    right = (own * shares).sum(axis=1)
    together = (people * (people - 1)).sum(axis=1) / np.maximum(votes * (votes - 1), 1)
    shared = votes >= 2
    rows = np.column_stack([np.ones(len(code)), right, own, shares])
    shared_rows = np.column_stack([rows, together, np.maximum(right - together, 0), np.maximum(together - right, 0)])
    figures = _intervals(rows, multiplicity, _judge_figures, num_resamples, rng)
    twice = _intervals(shared_rows[shared], multiplicity[shared], _shared_figures, num_resamples, rng)
    num_shared = int(multiplicity[shared].sum())
    return Beside(
        name=name,
        num_items=int(multiplicity.sum()),
        num_shared=num_shared,
        num_votes=int(multiplicity @ votes),
        percent=figures[0],
        kappa=figures[1],
        shared_percent=twice[0],
        shared_kappa=twice[1],
        people_percent=twice[2],
        people_kappa=twice[3],
        difference=_difference(twice[4], shared_rows[shared], multiplicity[shared], num_shared, num_resamples),
    )


def median_person(
    choice: np.ndarray,
    item: np.ndarray,
    person: np.ndarray,
    code: np.ndarray,
    names: tuple[str, ...],
    *,
    num_codes: int,
    num_resamples: int,
    rng: np.random.Generator,
) -> MedianPerson:
    """Holds the judge and each person against the others, on that person's items; the median over people.

    As the alternative annotator test of Calderon et al. 2025 (arXiv 2501.10970), with the median's interval in place of
    a test a person.

    Args:
        choice: (I,) code of the judge's vote, -1 without.
        item, person, code: (N,) people's counted votes.
    """
    counts = np.zeros((len(choice), num_codes), dtype=np.int64)
    np.add.at(counts, (item, code), 1)
    size = counts.sum(axis=1)
    used = (choice[item] >= 0) & (size[item] >= 2)
    item, person, code = item[used], person[used], code[used]
    others = np.maximum(size[item] - 1, 1)
    own = (counts[item, code] - 1) / others
    judge = (counts[item, choice[item]] - (choice[item] == code)) / others
    total = np.bincount(person, minlength=len(names))
    known = np.flatnonzero(total >= LEAST)
    sums = [np.bincount(person, part, minlength=len(names)) for part in (own, judge)]
    people = tuple(
        PersonBeside(
            name=names[index],
            num_items=int(total[index]),
            person=float(sums[0][index] / total[index]),
            judge=float(sums[1][index] / total[index]),
        )
        for index in known.tolist()
    )
    where = np.unique(item)
    counted = {"people": people, "num_items": len(where), "num_votes": len(item)}
    if not people:
        return MedianPerson(difference=Interval(value=math.nan), **counted)
    gap = np.zeros((len(where), len(names)))
    there = np.zeros_like(gap)
    at = np.searchsorted(where, item)
    gap[at, person], there[at, person] = judge - own, 1.0
    gap, there = gap[:, known], there[:, known]
    value = float(np.median(gap.sum(axis=0) / there.sum(axis=0)))
    samples = []
    for _ in range(num_resamples):
        times = rng.poisson(1.0, len(where)).astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            samples.append(np.nanmedian((times @ gap) / (times @ there)))
    low, high = percentile_interval(np.array(samples)) if samples else (math.nan, math.nan)
    return MedianPerson(difference=Interval(value=value, low=low, high=high), **counted)


def _chance_corrected(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected < 1 - 1e-12, (observed - expected) / (1 - expected), np.nan)


def _judge_figures(sums: np.ndarray) -> np.ndarray:
    """(B, 2) percent and kappa from sums (B, 2 + 2 C) of one, right, own and people's shares."""
    width = (sums.shape[1] - 2) // 2
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums[:, 1:] / sums[:, :1]
    expected = (means[:, 1 : 1 + width] * means[:, 1 + width :]).sum(axis=1)
    return np.column_stack([means[:, 0], _chance_corrected(means[:, 0], expected)])


def _shared_figures(sums: np.ndarray) -> np.ndarray:
    """(B, 5) the judge's percent and kappa, people's, and the difference of the percents."""
    own = _judge_figures(sums[:, :-3])
    width = (sums.shape[1] - 5) // 2
    with np.errstate(invalid="ignore", divide="ignore"):
        shares, together = sums[:, 2 + width : 2 + 2 * width] / sums[:, :1], sums[:, -3] / sums[:, 0]
    kappa = _chance_corrected(together, (shares**2).sum(axis=1))
    return np.column_stack([own, together, kappa, own[:, 0] - together])


def _intervals(
    rows: np.ndarray,
    multiplicity: np.ndarray,
    figures: Callable[[np.ndarray], np.ndarray],
    num_resamples: int,
    rng: np.random.Generator,
) -> list[Interval]:
    """Figures of summed rows with percentile intervals, or where items are too few, those of the exact shares.

    Percent then has the bounds of `share_bounds`, and kappa what they are beyond the same chance.
    """
    num_items = int(multiplicity.sum())
    values = (
        figures((multiplicity @ rows)[None])[0]
        if num_items
        else np.full(figures(np.ones((1, rows.shape[1]))).shape[1], np.nan)
    )
    if not num_resamples or not num_items:
        return [Interval(value=float(value)) for value in values]
    (sums,) = resample_sums([rows], multiplicity, num_resamples, rng)
    samples = figures(sums)
    intervals: list[Interval] = []
    for number, value in enumerate(values.tolist()):
        percent = values[number - number % 2] if number < 4 else math.nan
        low, high = percentile_interval(samples[:, number])
        if number < 4 and not (is_enough(float(percent), num_items) and math.isfinite(low)):
            bounds = share_bounds(float(np.clip(percent, 0, 1)), num_items)
            low, high = bounds if number % 2 == 0 else (kappa_at(value, percent, bound) for bound in bounds)
        intervals.append(Interval(value=value, low=low, high=high))
    return intervals


def _difference(
    difference: Interval, rows: np.ndarray, multiplicity: np.ndarray, num_items: int, num_resamples: int
) -> Interval:
    """Its interval, or exact bounds where the judge and people differ on too few items."""
    if not num_items or not num_resamples:
        return difference
    above, below = (float(multiplicity @ rows[:, column]) / num_items for column in (-2, -1))
    if num_items * (above + below) >= LEAST and difference.is_known:
        return difference
    low, high = difference_bounds(min(above, 1.0), min(below, 1.0), num_items)
    return Interval(value=difference.value, low=low, high=high)
