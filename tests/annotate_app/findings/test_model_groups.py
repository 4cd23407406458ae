"""Whom a reward model sides with: shares by hand, paired differences, and intervals that know about people."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from annotate_app.agreement.reports.groups import group_people
from annotate_app.findings.model_groups import model_sides
from annotate_app.votes import Votes


def test_shares_and_the_paired_difference_by_hand(make_votes: Callable[..., Votes]) -> None:
    rows = [
        *(("i1", name, "a") for name in ("k1", "k2")),
        *(("i1", name, "b") for name in ("n1", "n2")),
        ("i2", "k1", "b"),
        ("i2", "k2", "a"),
        ("i2", "n1", "b"),
        ("i3", "k1", "a"),  # only one group decided it
        ("i3", "n1", "tie"),
        ("i4", "k1", "a"),  # the model says neither
        ("i5", "n1", "a"),  # the model has not scored it
    ]
    votes = make_votes(*zip(*rows, strict=True))
    fields = {name: {"country": "KE" if name[0] == "k" else "NZ"} for name in ("k1", "k2", "n1", "n2")}
    grouping = group_people(votes, fields, "country", least_people=2)
    keys, p = ("i1", "i2", "i3", "i4"), np.array([0.9, 0.8, 0.7, 0.5])  # prefers a on three
    sides = model_sides(votes, grouping, keys, p, np.array(["x", "x", "y", "z"]), num_resamples=0)
    shares = {side.name: (side.share.value, side.num_votes, side.num_people) for side in sides.groups}
    assert shares == {"KE": (4 / 5, 5, 2), "NZ": (0.0, 3, 2)}
    (gap,) = sides.differences
    # on i1: 1 - 0, on i2: 1/2 - 0; i3 is not the other's
    assert (gap.one, gap.other, gap.num_items, gap.difference.value) == ("KE", "NZ", 2, 0.75)
    assert sides.num_unscored == 1


def simulated(make_votes: Callable[..., Votes], share_of: dict[str, float], *, spread: float = 0.0, seed: int = 0):
    """Votes of 2 x 8 people on 300 pairs; the model always says a, a group says so with its share."""
    rng = np.random.default_rng(seed)
    rows = []
    for group, share in share_of.items():
        for person in range(8):
            own = float(np.clip(share + rng.normal(0, spread), 0, 1))
            answers = np.where(rng.random(300) < own, "a", "b")
            rows += [(f"i{item:03}", f"{group}{person}", answer) for item, answer in enumerate(answers)]
    votes = make_votes(*zip(*rows, strict=True))
    fields = {f"{group}{person}": {"g": group} for group in share_of for person in range(8)}
    keys = tuple(f"i{item:03}" for item in range(300))
    grouping = group_people(votes, fields, "g")
    return model_sides(votes, grouping, keys, np.full(300, 0.9), np.arange(300).astype(str), num_resamples=300)


def test_a_difference_that_is_there_is_shown_and_one_that_is_not_is_not(make_votes: Callable[..., Votes]) -> None:
    (gap,) = simulated(make_votes, {"x": 0.8, "y": 0.6}).differences
    assert gap.is_shown
    assert gap.difference.low < 0.2 < gap.difference.high
    (gap,) = simulated(make_votes, {"x": 0.7, "y": 0.7}).differences
    assert not gap.is_shown


def test_people_who_differ_widen_the_interval(make_votes: Callable[..., Votes]) -> None:
    even, uneven = (simulated(make_votes, {"x": 0.6, "y": 0.6}, spread=spread) for spread in (0.0, 0.2))
    width = [sides.groups[0].share.high - sides.groups[0].share.low for sides in (even, uneven)]
    assert width[1] > 1.5 * width[0]


def test_a_model_that_scored_nothing_sides_with_nobody(make_votes: Callable[..., Votes]) -> None:
    votes = make_votes(["i1"], ["k1"], ["a"])
    grouping = group_people(votes, {"k1": {"g": "x"}}, "g", least_people=1)
    sides = model_sides(votes, grouping, (), np.empty(0), np.empty(0, dtype=str))
    assert (sides.groups, sides.num_unscored) == ((), 1)
    assert sides.as_dict()["differences"] == []


def test_the_same_seed_gives_the_same_interval(make_votes: Callable[..., Votes]) -> None:
    one, other = (simulated(make_votes, {"x": 0.8, "y": 0.6}) for _ in range(2))
    assert one.as_dict() == other.as_dict()
