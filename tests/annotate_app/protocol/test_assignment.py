from collections import Counter

import pytest
from scipy.stats import chisquare

from annotate_app.protocol.assignment import (
    check_at,
    falls_short,
    fraction,
    is_right,
    other_side,
    qualification_verdict,
    shown_left,
    slot_rank,
)
from annotate_app.protocol.collection_design import Design


def test_fraction_is_the_same_everywhere_and_uniform():
    # sha256(b"side\x1f0\x1fc1") begins with this; its first 53 bits over 2**53.
    import hashlib

    head = int(hashlib.sha256(b"side\x1f0\x1fc1").hexdigest()[:16], 16)
    assert fraction("side", 0, "c1") == (head >> 11) / 2**53
    counts = Counter(int(fraction("uniform", number) * 10) for number in range(20_000))
    assert chisquare([counts[tenth] for tenth in range(10)]).pvalue > 0.001


def test_sides_are_balanced_over_pairs_over_people_and_over_both():
    # 1 degree of freedom: a p-value below 0.001 comes once in a thousand seeds, and the seed is fixed.
    def pvalue(sides):
        counts = Counter(sides)
        return chisquare([counts["a"], counts["b"]]).pvalue

    assert pvalue(shown_left(f"c{number}", "anna", 7, "work") for number in range(10_000)) > 0.001
    assert pvalue(shown_left("c1", f"person {number}", 7, "work") for number in range(10_000)) > 0.001
    agree = [
        "a" if shown_left(f"c{n}", "anna", 7, "work") == shown_left(f"c{n}", "ben", 7, "work") else "b"
        for n in range(10_000)
    ]
    assert pvalue(agree) > 0.001


def test_a_side_depends_on_everything_it_is_a_hash_of():
    base = [shown_left(f"c{number}", "anna", 0, "work") for number in range(64)]
    assert base == [shown_left(f"c{number}", "anna", 0, "work") for number in range(64)]
    assert base != [shown_left(f"c{number}", "anna", 1, "work") for number in range(64)]
    assert base != [shown_left(f"c{number}", "ben", 0, "work") for number in range(64)]
    assert base != [shown_left(f"c{number}", "anna", 0, "gold") for number in range(64)]
    assert (other_side("a"), other_side("b")) == ("b", "a")


def test_sequential_ranks_follow_positions_and_random_ranks_do_not():
    positions = range(200)
    assert sorted(positions, key=lambda at: slot_rank("sequential", 3, at, 0.0, 0)) == list(positions)
    shuffled = sorted(positions, key=lambda at: slot_rank("random", 3, at, 0.0, 0))
    assert shuffled != list(positions)
    assert shuffled == sorted(positions, key=lambda at: slot_rank("random", 3, at, 0.0, 5))
    assert shuffled != sorted(positions, key=lambda at: slot_rank("random", 4, at, 0.0, 0))


def test_fewest_ranks_all_first_slots_before_any_second_one():
    far, near = slot_rank("fewest", 0, 10**9, 0.0, 0), slot_rank("fewest", 0, 1, 0.0, 1)
    assert far < near < slot_rank("fewest", 0, 2, 0.0, 1) < slot_rank("fewest", 0, 1, 0.0, 2)
    # Exact in a double: neighbours stay apart up to a thousand slots of a comparison.
    assert slot_rank("fewest", 0, 10**9, 0.0, 1000) != slot_rank("fewest", 0, 10**9 + 1, 0.0, 1000)


def test_priority_ranks_higher_first():
    assert (
        slot_rank("priority", 0, 5, 2.5, 0) < slot_rank("priority", 0, 1, 1.0, 0) < slot_rank("priority", 0, 0, -3, 0)
    )


def test_checks_come_at_their_rates_and_at_the_same_places_again():
    design = Design(gold_rate=0.1, repeat_rate=0.05, seed=3)
    drawn = [check_at(design, "anna", position) for position in range(20_000)]
    counts = Counter(drawn)
    assert chisquare([counts["gold"], counts["repeat"], counts[None]], [2000, 1000, 17_000]).pvalue > 0.001
    assert drawn == [check_at(design, "anna", position) for position in range(20_000)]
    assert drawn != [check_at(design, "ben", position) for position in range(20_000)]
    assert {check_at(Design(), "anna", position) for position in range(1000)} == {None}


def test_a_gold_answer_is_right_by_its_choice():
    assert is_right("a", "a")
    assert is_right("tie", "tie")
    assert not is_right("b", "a")
    assert not is_right("skip", "a")


@pytest.mark.parametrize(
    ("right", "num_items", "verdict"),
    [
        ([], 5, "open"),
        ([True] * 4, 5, "open"),
        ([True, True, True, True, False], 5, "pass"),  # 4 of 5 = 0.8
        ([True, True, True, False, False], 5, "fail"),
        ([True, True], 2, "pass"),  # the project has only two
        ([True, False], 2, "fail"),
        ([], 0, "open"),
    ],
)
def test_qualification_verdict(right, num_items, verdict):
    design = Design(qualification_items=5, qualification_pass=0.8)
    assert qualification_verdict(design, right, num_items) == verdict


def test_somebody_falls_short_only_after_enough_items_and_below_the_threshold():
    design = Design(pause_below=0.6, pause_after=5)
    assert not falls_short(design, [False] * 4)
    assert falls_short(design, [True, True, False, False, False])  # 0.4
    assert not falls_short(design, [True, True, True, False, False])  # exactly 0.6
    assert not falls_short(Design(pause_below=0.0), [False] * 50)
