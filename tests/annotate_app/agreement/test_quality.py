from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from annotate_app.agreement.quality import WEEK_S, AnnotatorQuality, annotator_quality
from annotate_app.votes import KIND_CODES, Votes


def one(votes: Votes, name: str = "x") -> AnnotatorQuality:
    return next(person for person in annotator_quality(votes) if person.name == name)


def kinds(*names: str) -> np.ndarray:
    return np.array([KIND_CODES[name] for name in names], dtype=np.int8)


def test_sides_and_lengths_by_hand(make_votes: Callable[..., Votes]) -> None:
    # Left shows a, b, a, a, unknown; answers a, a, b, tie, a: left in 1 of 3 decided with known sides.
    # Lengths a/b: 9/5, 5/9, 9/5, 9/5, 7/7; longer chosen: yes, no, no, (tie), (equal).
    votes = make_votes(
        "pqrst",
        "xxxxx",
        ("a", "a", "b", "tie", "a"),
        shown_left=np.array([0, 1, 0, 0, -1], dtype=np.int8),
        item_length_a=np.array([9, 5, 9, 9, 7], dtype=np.int32),
        item_length_b=np.array([5, 9, 5, 5, 7], dtype=np.int32),
    )
    found = one(votes)
    assert (found.left.hits, found.left.total, found.left_p) == (1, 3, 1.0)
    assert (found.longer.hits, found.longer.total) == (1, 3)
    assert (found.ties.hits, found.ties.total) == (1, 5)


def test_speed_ties_and_skips_by_hand(make_votes: Callable[..., Votes]) -> None:
    votes = make_votes(
        "pqrs",
        "xxxx",
        ("a", "both_bad", "skip", "tie"),
        seconds=np.array([4, 30, 0, 20], dtype=np.float32),
        item_length_a=np.full(4, 300, dtype=np.int32),
        item_length_b=np.full(4, 200, dtype=np.int32),
    )
    found = one(votes)
    assert found.median_s == 20  # of 4, 20, 30; 0 is untimed
    assert (found.fast.hits, found.fast.total) == (1, 3)  # 500 characters in less than 5 s
    assert [(part.hits, part.total) for part in (found.ties, found.both_bad, found.skips)] == [(1, 3), (1, 3), (1, 4)]


def test_repeats_are_compared_with_the_first_answer(make_votes: Callable[..., Votes]) -> None:
    votes = make_votes(
        "pqrspqrs",
        "xxxxxxxy",
        ("a", "b", "tie", "skip", "a", "a", "tie", "a"),
        kind=kinds("work", "work", "work", "work", "repeat", "repeat", "repeat", "repeat"),
    )
    found = one(votes)
    assert (found.consistency.hits, found.consistency.total) == (2, 3)
    assert one(votes, "y").consistency.total == 0  # repeats something never judged first


@pytest.mark.parametrize(("num_wrong", "is_flagged"), [(2, False), (3, True)])
def test_two_wrong_answers_of_two_are_no_proof(
    num_wrong: int, is_flagged: bool, make_votes: Callable[..., Votes]
) -> None:
    # who is right three times of four is wrong twice of twice with 6 %, three times with 2 %
    votes = make_votes(
        "pqr"[:num_wrong],
        "x" * num_wrong,
        ("b",) * num_wrong,
        kind=kinds(*["gold"] * num_wrong),
        item_gold=np.zeros(num_wrong, dtype=np.int8),
    )
    assert [flag.startswith("right on gold items") for flag in one(votes).flags] == [True] * is_flagged


def test_gold_accuracy_leaves_out_repeats_and_skips(make_votes: Callable[..., Votes]) -> None:
    votes = make_votes(
        "pqrpr",
        "xxxxx",
        ("a", "b", "skip", "b", "b"),
        kind=kinds("gold", "qualification", "gold", "repeat", "gold"),
        item_gold=np.array([0, 0, 1], dtype=np.int8),
    )
    found = one(votes)
    assert (found.gold.hits, found.gold.total) == (2, 3)


def test_majority_of_the_others_leaves_the_own_vote_out(make_votes: Callable[..., Votes]) -> None:
    # p: others b, b (majority b, x said a); q: others a, b (none); r: other a (x said a); s: nobody else.
    votes = make_votes("pppqqqrrs", "xyzxyzxyx", ("a", "b", "b", "a", "a", "b", "a", "a", "b"))
    found = one(votes)
    assert (found.majority.hits, found.majority.total) == (1, 2)
    # y: p others a, b (none); q others a, b (none); r other a, same
    assert (one(votes, "y").majority.hits, one(votes, "y").majority.total) == (1, 1)


def test_pandalm_majorities_equal_a_loop(pandalm_votes: Votes) -> None:
    for index, person in enumerate(annotator_quality(pandalm_votes)):
        hits = total = 0
        for item in range(len(pandalm_votes.items)):
            here = pandalm_votes.item == item
            own = pandalm_votes.choice[here & (pandalm_votes.annotator == index)][0]
            others = pandalm_votes.choice[here & (pandalm_votes.annotator != index)]
            if len(set(others.tolist())) == 1:
                total += 1
                hits += int(own == others[0])
        assert (person.majority.hits, person.majority.total) == (hits, total)


def test_left_share_of_llmfao(llmfao_votes: Votes, agreement_vectors: dict) -> None:
    people = annotator_quality(llmfao_votes)
    share = sum(person.left.hits for person in people) / sum(person.left.total for person in people)
    oracle = agreement_vectors["datasets"]["llmfao"]["oracle"]["left_share_of_decisive_votes"]
    assert share == pytest.approx(oracle, abs=1e-5)


def simulated(make_votes: Callable[..., Votes], weeks: int = 4, per_week: int = 60) -> Votes:
    """w and x answer well, y always takes the left, z is sloppy from the third week on; every fourth item is gold."""
    rng = np.random.default_rng(0)
    num_items = weeks * per_week
    truth = rng.integers(0, 2, num_items)
    rows, sides, seconds, at = [], [], [], []
    for item in range(num_items):
        for person in "wxyz":
            side = int(rng.integers(0, 2))
            right = rng.random() < (0.5 if person == "z" and item >= 2 * per_week else 0.95)
            answer = side if person == "y" else int(truth[item] if right else 1 - truth[item])
            rows.append((f"{item:04}", person, "ab"[answer]))
            sides.append(side)
            seconds.append(0.4 if person == "y" else 30)
            at.append(1.7e9 + item // per_week * WEEK_S + item)
    return make_votes(
        *zip(*rows, strict=True),
        shown_left=np.array(sides, dtype=np.int8),
        seconds=np.array(seconds, dtype=np.float32),
        created_at=np.array(at),
        item_gold=np.where(np.arange(num_items) % 4 == 0, truth, -1).astype(np.int8),
        item_length_a=np.full(num_items, 400, dtype=np.int32),
        item_length_b=np.full(num_items, 300, dtype=np.int32),
    )


def test_flags_name_who_stands_out_and_nobody_else(make_votes: Callable[..., Votes]) -> None:
    votes = simulated(make_votes)
    flags = {person.name: " | ".join(person.flags) for person in annotator_quality(votes)}
    assert flags["w"] == flags["x"] == ""
    for words in (
        "chose the left side 240 times of 240",
        "faster than anyone reads",
        "right on gold items",
        "majority",
    ):
        assert words in flags["y"]
    assert "agreement falls by" in flags["z"]
    assert "left" not in flags["z"]


def test_drift_is_seen_by_week(make_votes: Callable[..., Votes]) -> None:
    person = one(simulated(make_votes), "z")
    assert len(person.weeks) == 4
    assert person.weeks[0].agreement.value > 0.85 > 0.7 > person.weeks[3].agreement.value
    assert person.weeks[1].start - person.weeks[0].start == WEEK_S
    assert [week.gold.total for week in person.weeks] == [15, 15, 15, 15]
    assert person.drift < 0
    assert person.drift_p < 0.01
    assert one(simulated(make_votes), "x").drift > -0.02  # the others got worse, x did not


def test_votes_without_times_have_no_weeks(make_votes: Callable[..., Votes]) -> None:
    found = one(make_votes("pp", "xy", ("a", "a")))
    assert found.weeks == ()
    assert np.isnan([found.drift, found.drift_p, found.median_s]).all()


def test_exchanging_a_and_b_changes_only_names(make_votes: Callable[..., Votes]) -> None:
    votes = simulated(make_votes)
    other = replace(
        votes,
        choice=(1 - votes.choice).astype(np.int8),
        shown_left=(1 - votes.shown_left).astype(np.int8),
        item_gold=np.where(votes.item_gold < 0, -1, 1 - votes.item_gold).astype(np.int8),
        item_length_a=votes.item_length_b,
        item_length_b=votes.item_length_a,
    )
    assert str([person.as_dict() for person in annotator_quality(votes)]) == str(
        [person.as_dict() for person in annotator_quality(other)]
    )


def test_nobody_has_judged(make_votes: Callable[..., Votes]) -> None:
    assert annotator_quality(make_votes([], [], [])) == ()
