"""A judge beside people: numbers worked by hand, a slow twin, and bounds where there is little."""

from __future__ import annotations

import numpy as np
import pytest

from annotate_app.agreement.pairs import cohen_kappa
from annotate_app.agreement.reports.beside_people import Beside, beside_people, median_person

A, B, TIE = 0, 1, 2


def beside(choice: list[int], counts: list[list[int]], num_resamples: int = 200) -> Beside:
    rng = np.random.default_rng(0)
    return beside_people("all", np.array(choice), np.array(counts), num_resamples=num_resamples, rng=rng)


def test_hand_worked_figures() -> None:
    # judge a, a, b, b, and one it did not judge; people by item: aa, ab, bbb, a, aa
    result = beside([A, A, B, B, -1], [[2, 0, 0, 0], [1, 1, 0, 0], [0, 3, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0]])
    assert (result.num_items, result.num_shared, result.num_votes) == (4, 3, 8)
    # agrees with a person: (1 + 1/2 + 1 + 0) / 4
    assert result.percent.value == pytest.approx(0.625)
    # chance: judge 1/2 a; people (1 + 1/2 + 0 + 1) / 4 = 0.625 a; 0.3125 + 0.1875 = 0.5
    assert result.kappa.value == pytest.approx(0.25)
    # on the first three: the judge 2.5 / 3; two people (1 + 0 + 1) / 3
    assert result.shared_percent.value == pytest.approx(2.5 / 3)
    assert result.people_percent.value == pytest.approx(2 / 3)
    assert result.people_kappa.value == pytest.approx((2 / 3 - 0.5) / 0.5)
    assert result.difference.value == pytest.approx(0.5 / 3)


def test_with_one_vote_an_item_kappa_is_cohens() -> None:
    rng = np.random.default_rng(1)
    people, judge = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    judge = np.where(rng.random(200) < 0.5, people, judge)
    table = np.zeros((4, 4))
    np.add.at(table, (judge, people), 1)
    result = beside(judge.tolist(), np.eye(4, dtype=int)[people].tolist(), num_resamples=2000)
    expected = cohen_kappa(table)
    assert result.kappa.value == pytest.approx(float(expected.value))
    assert result.kappa.low == pytest.approx(float(expected.low), abs=0.02)
    assert result.kappa.high == pytest.approx(float(expected.high), abs=0.02)
    assert result.num_shared == 0
    assert np.isnan(result.people_percent.value)


def test_exchange_of_a_and_b_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    counts, choice = rng.integers(0, 3, (60, 4)), rng.integers(0, 4, 60)
    one = beside(choice.tolist(), counts.tolist(), 0)
    turned = beside(np.array([1, 0, 2, 3])[choice].tolist(), counts[:, [1, 0, 2, 3]].tolist(), 0)
    for name in ("percent", "kappa", "people_percent", "people_kappa", "difference"):
        assert getattr(turned, name).value == pytest.approx(getattr(one, name).value)


def test_total_agreement_on_few_items_is_not_certain() -> None:
    result = beside([A, B] * 3, [[2, 0, 0, 0], [0, 2, 0, 0]] * 3)
    assert (result.percent.value, result.kappa.value) == (1.0, 1.0)
    assert result.percent.low == pytest.approx(0.5407, abs=1e-4)  # Clopper and Pearson, 6 of 6
    assert result.kappa.low == pytest.approx(2 * 0.5407 - 1, abs=1e-3)
    assert result.difference.low < -0.3 < 0.3 < result.difference.high


def test_nothing_in_common_is_nan() -> None:
    result = beside([-1, A], [[1, 0, 0, 0], [0, 0, 0, 0]])
    assert (result.num_items, result.num_votes) == (0, 0)
    assert np.isnan(result.kappa.value)


def test_leave_one_out_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(3)
    num_items, num_people = 40, 4
    votes = {(i, r): int(rng.integers(0, 3)) for i in range(num_items) for r in range(num_people) if rng.random() < 0.7}
    choice = rng.integers(-1, 3, num_items)
    item, person = (np.array(part) for part in zip(*votes, strict=True))
    code = np.array(list(votes.values()))
    result = median_person(
        choice, item, person, code, ("w", "x", "y", "z"), num_codes=4, num_resamples=100, rng=np.random.default_rng(0)
    )
    gaps = []
    for r in range(num_people):
        own, judge = [], []
        for i in range(num_items):
            others = [vote for (j, s), vote in votes.items() if j == i and s != r]
            if (i, r) in votes and others and choice[i] >= 0:
                own.append(np.mean([vote == votes[i, r] for vote in others]))
                judge.append(np.mean([vote == choice[i] for vote in others]))
        assert result.people[r].num_items == len(own)
        assert (result.people[r].person, result.people[r].judge) == pytest.approx((np.mean(own), np.mean(judge)))
        gaps.append(np.mean(judge) - np.mean(own))
    assert result.difference.value == pytest.approx(float(np.median(gaps)))
    assert result.difference.low < result.difference.value < result.difference.high
    assert result.num_matched == sum(gap >= 0 for gap in gaps)


def test_people_with_fewer_than_ten_shared_items_are_left_out() -> None:
    result = median_person(
        np.zeros(9, dtype=int),
        np.repeat(np.arange(9), 2),
        np.tile([0, 1], 9),
        np.zeros(18, dtype=int),
        ("x", "y"),
        num_codes=4,
        num_resamples=10,
        rng=np.random.default_rng(0),
    )
    assert result.people == ()
    assert np.isnan(result.difference.value)
