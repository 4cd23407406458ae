from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate_app.consensus.rules import apply_rule, gold_accuracy, gold_weighted, majority, most_agreeing_3
from annotate_app.protocol.collection_design import RULES
from annotate_app.votes import KIND_CODES, Votes

SCORED = {-3: "a", -2: "a", -1: "a", 0: "tie", 1: "b", 2: "b", 3: "b"}


def one_item(make_votes: Callable[..., Votes], scores: list[int | None]) -> Votes:
    """One item; None is both bad."""
    choices = ["both_bad" if score is None else SCORED[score] for score in scores]
    values = np.array([score or 0 for score in scores], dtype=np.int8)
    return make_votes(["p"] * len(scores), range(len(scores)), choices, score=values)


@pytest.mark.parametrize(
    ("scores", "p"),
    [
        ([-3, 1, 2, 2], [0, 1, 0, 0]),  # 1, 2, 2 lie closest
        ([-3, -3, -2, 3, 3], [1, 0, 0, 0]),
        ([-2, -1, 0, 1, 2], [1 / 3, 1 / 3, 1 / 3, 0]),  # three triples are equally close: a a tie, a tie b, tie b b
        ([-1, 1], [0.5, 0.5, 0, 0]),  # too few to choose from
        ([None, 1, 1, 1], [0, 1, 0, 0]),  # both bad has no degree
        ([None, None, None, 1], [0, 0.25, 0, 0.75]),  # but may be the majority
    ],
)
def test_most_agreeing_3_by_hand(scores: list[int | None], p: list[float], make_votes: Callable[..., Votes]) -> None:
    found = most_agreeing_3(one_item(make_votes, scores)).p[0]
    assert found == pytest.approx(p)


@given(scores=st.lists(st.integers(-3, 3), min_size=3, max_size=7))
def test_most_agreeing_3_equals_all_triples(scores: list[int], make_votes: Callable[..., Votes]) -> None:
    triples = list(combinations(range(len(scores)), 3))
    reach = [max(scores[k] for k in triple) - min(scores[k] for k in triple) for triple in triples]
    # Triples of the same degrees are one way to choose, whoever gave them.
    best = {tuple(sorted(scores[k] for k in t)) for t, r in zip(triples, reach, strict=True) if r == min(reach)}
    windows = sorted(scores)
    counted = [tuple(windows[k : k + 3]) for k in range(len(scores) - 2) if tuple(windows[k : k + 3]) in best]
    mean = np.zeros(3)
    for triple in counted:
        for score in triple:
            mean[{"a": 0, "b": 1, "tie": 2}[SCORED[score]]] += 1 / (3 * len(counted))
    found = most_agreeing_3(one_item(make_votes, list(scores)))
    assert found.p[0, :3] == pytest.approx(mean)
    assert found.vote_weight.sum() == pytest.approx(3)


def gold_votes(make_votes: Callable[..., Votes]) -> Votes:
    """x is right on 8 of 8 gold items, y on 4 of 8, z on 0 of 8; on the item w, x says a, y and z say b."""
    gold = [f"g{k}" for k in range(8)]
    item = [*gold, *gold, *gold, "w", "w", "w"]
    person = ["x"] * 8 + ["y"] * 8 + ["z"] * 8 + ["x", "y", "z"]
    choice = ["a"] * 8 + ["a", "b"] * 4 + ["b"] * 8 + ["a", "b", "b"]
    kind = np.array([KIND_CODES["gold"]] * 24 + [KIND_CODES["work"]] * 3, dtype=np.int8)
    return make_votes(item, person, choice, kind=kind, item_gold=np.array([0] * 8 + [-1], dtype=np.int8))


def test_gold_accuracy_counts_answers_on_gold_items(make_votes: Callable[..., Votes]) -> None:
    right, answered = gold_accuracy(gold_votes(make_votes))
    assert right.tolist() == [8, 4, 0]
    assert answered.tolist() == [8, 8, 8]


def test_gold_weights_by_hand(make_votes: Callable[..., Votes]) -> None:
    votes = gold_votes(make_votes)
    found = gold_weighted(votes, votes.counted())
    # Pooled accuracy 1/2, so a_x = (8 + 2) / 12, a_y = 6 / 12, a_z = 2 / 12: odds 5, 1 and (below 1, so) 1.
    assert found.reliability == pytest.approx([10 / 12, 6 / 12, 2 / 12])
    assert found.p[-1] == pytest.approx([5 / 6, 1 / 6, 0, 0])


def test_gold_weights_without_gold_say_so_and_count_votes(make_votes: Callable[..., Votes]) -> None:
    votes = make_votes("ppp", "xyz", ("a", "b", "b"))
    found = gold_weighted(votes, votes)
    assert "no gold item" in found.notes[0]
    assert found.p[0] == pytest.approx([1 / 4, 3 / 4, 0, 0])  # odds 3 against 3 squared


@pytest.mark.parametrize("rule", RULES)
def test_items_without_votes_have_no_posterior(rule: str, make_votes: Callable[..., Votes]) -> None:
    votes = make_votes("pq", "xy", ("a", "skip"))
    found = apply_rule(votes, votes.counted(), rule)
    assert found.p[1].tolist() == [0, 0, 0, 0]
    assert found.p[0].argmax() == 0
    nobody = make_votes([], [], [])
    assert apply_rule(nobody, nobody, rule).p.shape == (0, 4)


def test_counting_says_when_people_differ_in_skill(make_votes: Callable[..., Votes]) -> None:
    """Three who agree and one who says a whatever is right, on 24 items: a spread of 0.622, see `voter_skill`."""
    truth = ["a", "b"] * 12
    agreed = [(f"i{item:02d}", who, right) for item, right in enumerate(truth) for who in ("p", "q", "r")]
    careless = make_votes(*zip(*agreed, *((f"i{item:02d}", "s", "a") for item in range(24)), strict=True))
    (note,) = majority(careless).notes
    assert "skill differs by 62% of its mean" in note
    assert "the rule dawid_skene" in note
    clusters = np.repeat(np.arange(8, dtype=np.int32), 3)  # three items of one ranking: votes that hang together
    assert majority(replace(careless, item_cluster=clusters)).notes == ()
    alike = make_votes(*zip(*agreed, *((f"i{item:02d}", "s", right) for item, right in enumerate(truth)), strict=True))
    assert majority(alike).notes == ()
