import pytest

from annotate_app.lessons.worlds.recursive_rewards import (
    average,
    climb,
    errors_pile_up,
    votes_above_mend_the_bottom,
    where_votes_are_worth_more,
)
from annotate_app.lessons.worlds.weak_to_strong import (
    Pupils,
    better_teacher,
    no_better_than_its_labels,
    teach,
    votes_mend_everything,
)


def test_the_gap_recovered_by_hand() -> None:
    assert Pupils(weak=0.6, student=0.8, ceiling=0.9).recovered == pytest.approx(2 / 3)
    assert Pupils(weak=0.6, student=0.55, ceiling=0.7).recovered == pytest.approx(-0.5)


def test_a_labeller_who_sees_all_is_wrong_as_often_as_careless() -> None:
    pupils = teach(num_pairs=100, blind=0, careless=0.25, seed=0)
    assert pupils.weak == pytest.approx(0.75)


def test_a_student_of_votes_by_gold_is_its_own_ceiling() -> None:
    pupils = teach(num_pairs=500, blind=0, careless=0.0, seed=1)
    assert pupils.student == pupils.ceiling > 0.95


def test_careless_teachers_are_outgrown_and_blind_ones_are_not() -> None:
    assert better_teacher() == "the careless one"
    assert no_better_than_its_labels().is_wrong
    assert votes_mend_everything().is_wrong


def test_the_unhelped_persons_accuracy_is_that_of_one_part_of_two() -> None:
    """Sums of two like normal parts correlate with the first by sqrt(1/2): 1/2 + asin(sqrt(1/2)) / pi = 3/4."""
    accuracies = average(bottom_votes=3_000, num_votes=3_000, votes_by="unhelped", num_levels=1)
    assert accuracies[1] == pytest.approx(0.75, abs=0.02)


def test_gold_above_is_better_than_help_and_help_better_than_none() -> None:
    of_way = [
        climb(bottom_votes=300, num_votes=1_000, num_levels=3, votes_by=way, seed=5)[-1]
        for way in ("gold", "helped", "unhelped")
    ]
    assert of_way == sorted(of_way, reverse=True)


def test_the_bottom_bounds_the_top() -> None:
    assert where_votes_are_worth_more() == "at the bottom"
    assert errors_pile_up().is_wrong
    assert votes_above_mend_the_bottom().is_wrong
