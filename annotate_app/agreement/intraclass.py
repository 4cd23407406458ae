"""Intraclass correlations of degrees that the same people gave on the same items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate_app.agreement.coefficients import divide


@dataclass(frozen=True, kw_only=True)
class IntraclassCorrelations:
    """The six forms of Shrout and Fleiss: of one person's degree (single) and of the mean over all people (mean).

    Attributes:
        one_way: people are interchangeable, as if drawn anew for every item (1, 1 and 1, k).
        random: the same people, a sample of many; their leaning counts as disagreement (2, 1 and 2, k).
        fixed: the same people and no others; leanings cancel (3, 1 and 3, k).
    """

    one_way_single: float
    random_single: float
    fixed_single: float
    one_way_mean: float
    random_mean: float
    fixed_mean: float

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def intraclass_correlations(ratings: np.ndarray) -> IntraclassCorrelations:
    """From mean squares of the two-way table: B between items, W within, J between people, E residual.

    single: one way (B - W) / (B + (k - 1) W), random (B - E) / (B + (k - 1) E + k (J - E) / n), fixed (B - E) /
    (B + (k - 1) E); of means: (B - W) / B, (B - E) / (B + (J - E) / n), (B - E) / B.  Shrout and Fleiss 1979, p. 423.

    Args:
        ratings: (I, R) float, every item by every person; at least two of both.
    """
    num_items, num_people = ratings.shape
    if num_items < 2 or num_people < 2:
        raise ValueError(f"ratings are {num_items} by {num_people}, allowed are two items and two people or more")
    grand = ratings.mean()
    items, people = ratings.mean(axis=1) - grand, ratings.mean(axis=0) - grand
    between = num_people * (items**2).sum() / (num_items - 1)
    judges = num_items * (people**2).sum() / (num_people - 1)
    within = ((ratings - grand - items[:, None]) ** 2).sum() / (num_items * (num_people - 1))
    rest = ratings - grand - items[:, None] - people[None, :]
    error = (rest**2).sum() / ((num_items - 1) * (num_people - 1))
    lean = (judges - error) / num_items
    k = num_people
    return IntraclassCorrelations(
        one_way_single=float(divide(between - within, between + (k - 1) * within)),
        random_single=float(divide(between - error, between + (k - 1) * error + k * lean)),
        fixed_single=float(divide(between - error, between + (k - 1) * error)),
        one_way_mean=float(divide(between - within, between)),
        random_mean=float(divide(between - error, between + lean)),
        fixed_mean=float(divide(between - error, between)),
    )
