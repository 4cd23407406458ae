"""Judges in a consensus: chosen, weighed by what they were measured to know, and told apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from judge_worlds import World, table_of

from annotate_app.consensus.judge_readings import Readings, read_judge
from annotate_app.consensus.release import release
from annotate_app.protocol.collection_design import Design
from annotate_app.votes import CHOICE_CODES, Votes

Make = Callable[..., Votes]
DESIGN = Design(rule="dawid_skene")


def readings_of(world: World, kind: str) -> Readings:
    return read_judge(world.table(kind), kind, world.votes.items)


def test_both_orders_are_one_vote_and_samples_are_shares_of_it() -> None:
    # item x: a first says a, b first says b (it follows the order); y: b twice; z: told 0.9 and 0.4 for b; w: nothing
    p_b = np.array([[0.0, 1.0], [1.0, 1.0], [0.9, 0.4], [np.nan, np.nan]])
    told = read_judge(table_of("xyzw", p_b, tells=True), "judge", tuple("xyzw"))
    assert told.p_b.tolist()[:3] == pytest.approx([0.5, 1.0, 0.65])
    assert told.choice.tolist() == [CHOICE_CODES["tie"], CHOICE_CODES["b"], CHOICE_CODES["b"], -1]
    assert told.shares.tolist() == [[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 0]]
    assert (told.num_refused, told.num_answers.tolist()) == (2, [2, 2, 2, 0])
    named = read_judge(table_of("xyzw", p_b), "judge", tuple("xyzw"))
    assert named.p_b.tolist()[:3] == pytest.approx([0.5, 1.0, 0.5])
    assert named.choice.tolist() == [CHOICE_CODES["tie"], CHOICE_CODES["b"], CHOICE_CODES["tie"], -1]
    assert not named.told.any()
    # three answers with a first, one with b first: the orders still weigh the same
    many = read_judge(
        table_of("xxx", p_b[:3], sample=np.repeat([0, 1, 2], 2).astype(np.int16), item=np.zeros(6, dtype=np.int32)),
        "judge",
        ("x",),
    )
    assert many.shares[0].tolist() == pytest.approx([(1 / 3 + 1 / 3) / 2, (2 / 3 + 2 / 3) / 2, 0, 0])


def test_the_newest_version_of_the_rubric_counts_and_examples_are_left_out() -> None:
    table = table_of("xy", np.array([[0.0, 1.0], [0.0, 1.0]]), rubric_version=np.array([1, 2, 2, 1], dtype=np.int32))
    newest = read_judge(table, "judge", ("x", "y"))
    assert newest.choice.tolist() == [CHOICE_CODES["b"], CHOICE_CODES["a"]]
    assert newest.rubric_version.tolist() == [2, 2]
    assert read_judge(table, "judge", ("x", "y"), version=1).choice.tolist() == [CHOICE_CODES["a"], CHOICE_CODES["b"]]
    assert read_judge(table, "judge", ("y", "x"), leave_out={"x"}).choice.tolist() == [CHOICE_CODES["a"], -1]
    with pytest.raises(ValueError, match="there is no judge 'ann'; there are judge"):
        read_judge(table, "ann", ("x", "y"))


def test_without_judges_nothing_changes(make_votes: Make) -> None:
    consensus = release(World(make_votes, num_items=40).votes, DESIGN)
    assert (consensus.judges, consensus.judge_shares) == ((), None)
    assert "judge_votes" not in consensus.row(0)
    assert "judges" not in consensus.as_dict()


def test_a_good_judge_decides_what_people_did_not_see(make_votes: Make) -> None:
    world = World(make_votes, num_items=600, num_judged=300)
    people, both = (release(world.votes, DESIGN, judges=judges) for judges in ((), [readings_of(world, "good")]))
    unseen = np.arange(300, 600)
    assert set(people.state[unseen].tolist()) == {0}  # waiting
    right = (both.p_b[unseen] > 0.5) == (world.worth[unseen] > 0)
    assert right.mean() > 0.95
    assert len(np.intersect1d(both.indices("released"), unseen)) > 200
    assert both.counts[unseen].sum() == 0
    assert both.row(400)["judge_votes"] in (
        {"a": 1, "b": 0, "tie": 0, "both_bad": 0},
        {"a": 0, "b": 1, "tie": 0, "both_bad": 0},
    )
    (weight,) = both.judges
    assert 0.8 < weight.weight < 1
    assert weight.num_items == 300
    assert both.num_used[400] == pytest.approx(weight.weight)
    seen = np.arange(300)
    truth = world.worth[seen] > 0
    accuracy = [((one.p_b[seen] > 0.5) == truth).mean() for one in (people, both)]
    assert accuracy[1] > accuracy[0]


@pytest.mark.parametrize("kind", ["random", "inverted"])
def test_a_judge_that_earned_nothing_counts_for_nothing(make_votes: Make, kind: str) -> None:
    world = World(make_votes, num_items=400, num_judged=200, seed=3)
    people, both = (release(world.votes, DESIGN, judges=judges) for judges in ((), [readings_of(world, kind)]))
    assert both.judges[0].weight < 0.05
    assert np.abs(both.p - people.p)[:200].max() < 0.05
    if both.judges[0].weight == 0:
        assert np.array_equal(both.state, people.state)
        assert "counts for nothing" in both.notes[-1]


def test_never_more_sure_than_it_earned(make_votes: Make) -> None:
    world = World(make_votes, num_items=600, num_judged=300, seed=1)
    both = release(world.votes, DESIGN, judges=[readings_of(world, "median person")])
    unseen = np.arange(300, 600)
    sure, right = both.confidence[unseen].mean(), ((both.p_b[unseen] > 0.5) == (world.worth[unseen] > 0)).mean()
    assert sure < right


def test_a_copy_of_a_judge_adds_nothing(make_votes: Make) -> None:
    world = World(make_votes, num_items=300, num_judged=150)
    one = readings_of(world, "median person")
    single, twice = release(world.votes, DESIGN, judges=[one]), release(world.votes, DESIGN, judges=[one, one])
    assert twice.p == pytest.approx(single.p)
    assert twice.judge_shares[200].sum() == 2


def test_exchange_of_a_and_b_mirrors_the_consensus(make_votes: Make) -> None:
    world = World(make_votes, num_items=200, num_judged=100)
    p_b = world.answers("median person")
    mirror = np.array([1, 0, 2, 3, 4], dtype=np.int8)
    turned = {name: getattr(world.votes, name) for name in Votes.__dataclass_fields__}
    turned["choice"] = mirror[world.votes.choice]
    straight = read_judge(table_of(world.items, p_b), "judge", world.items)
    swapped = read_judge(table_of(world.items, 1 - p_b), "judge", world.items)
    one = release(world.votes, DESIGN, judges=[straight])
    other = release(Votes(**turned), DESIGN, judges=[swapped])
    assert other.p[:, [1, 0, 2, 3]] == pytest.approx(one.p)


def test_other_rules_take_no_judges(make_votes: Make) -> None:
    world = World(make_votes, num_items=20)
    with pytest.raises(ValueError, match="the rule is majority, allowed with judges is dawid_skene"):
        release(world.votes, Design(), judges=[readings_of(world, "good")])
