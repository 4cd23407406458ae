import itertools

import numpy as np
import pytest

from annotate_app.lessons.worlds.arrows_paradox import (
    CIRCLE,
    SPLIT,
    A,
    B,
    a_third_answer_is_irrelevant,
    condorcet_winner,
    draw_orders,
    elections,
    is_cyclic,
    strengths,
    wins_of,
)
from annotate_app.ranking.bradley_terry import components


def test_condorcets_three_annotators_go_in_a_circle_and_bradley_terry_sees_three_equals() -> None:
    wins = wins_of(CIRCLE)
    assert wins.tolist() == [[0, 2, 1], [1, 0, 2], [2, 1, 0]]
    assert is_cyclic(wins)
    assert condorcet_winner(wins) is None
    assert strengths(wins) == pytest.approx([0, 0, 0], abs=1e-9)


def test_bradley_terry_puts_first_whom_the_majority_does_not() -> None:
    """A beats B and C by 3 to 2; places won are A 6, B 7, C 2. Without C, A is before B by log 3 / 2."""
    wins = wins_of(SPLIT)
    assert wins.sum(1).tolist() == [6, 7, 2]
    assert condorcet_winner(wins) == A
    assert strengths(wins).argmax() == B
    without = strengths(wins[:2, :2])
    assert without[A] - without[B] == pytest.approx(np.log(1.5))
    assert elections(SPLIT[None]).unlike == 1.0


def test_of_three_annotators_with_any_orders_one_in_eighteen_is_a_circle() -> None:
    orders = [list(order) for order in itertools.permutations(range(3))]
    every = np.array(list(itertools.product(orders, repeat=3)))
    assert is_cyclic(wins_of(every)).sum() == 12  # of 216
    drawn = wins_of(draw_orders(20_000, 3, 3, agreement=0.0, camps=1, seed=0))
    assert is_cyclic(drawn).mean() == pytest.approx(1 / 18, abs=0.005)  # 3 standard errors


def test_circles_are_what_a_walk_along_majorities_finds() -> None:
    tables = wins_of(draw_orders(60, 5, 5, agreement=0.0, camps=1, seed=1))
    walks = [components(np.where(table > table.T, 1.0, 0.0), strong=True).max() < 4 for table in tables]
    assert is_cyclic(tables).tolist() == walks
    assert 0 < sum(walks) < 60


def test_agreement_ends_circles_and_camps_of_a_circle_keep_them() -> None:
    """A camp votes for the earlier of two by 0.95, or against it by 0.998: together 0.64 for it, in a circle."""

    def cycles(num_annotators: int, agreement: float, camps: int) -> float:
        return elections(draw_orders(500, num_annotators, 3, agreement=agreement, camps=camps, seed=0)).cycles

    assert cycles(51, 1.0, 1) == 0.0
    assert cycles(51, 3.0, 1) == 0.0
    assert cycles(51, 3.0, 3) > 0.9


def test_what_texts_say_of_a_third_answer_is_run_and_wrong() -> None:
    finding = a_third_answer_is_irrelevant()
    assert finding.is_wrong
    assert [float(str(row["reward of A minus B"])) > 0 for row in finding.figures] == [True, False]
