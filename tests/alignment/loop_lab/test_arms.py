"""Ways to spend labels: equal budgets are equal, and what chance decides is decided alike in all arms."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from alignment.config.lab import LoopLabConfig
from alignment.loop_lab.arms import ARMS, PEOPLE, Candidates, Label, agreement, choose_pairs, judge_of, label_pairs
from rewardkit.data.records import Message
from rewardkit.simulation.support_desk_world import World

CONFIG = LoopLabConfig(out="o", turns=3, labels=60, judge_price=0.25)
WORLD = World(seed=0, num_prompts=20, num_responses=4, num_numbers=8)
CANDIDATES = Candidates(
    prompts=[prompt.prompt for prompt in WORLD.prompts()],
    replies=[[reply.text for reply in prompt.responses] for prompt in WORLD.prompts()],
)


def test_every_arm_of_people_spends_the_same_labels_and_a_judge_the_same_number_or_money() -> None:
    """3 turns of 60; a vote of the judge costs a quarter, so that it gives 4 times as many for as much."""
    labels = {arm.name: [arm.num_labels(CONFIG, turn) for turn in arm.turns(CONFIG)] for arm in ARMS}
    assert labels == {
        "turns": [60, 60, 60],
        "one_shot": [180, 0, 0],
        "uncertain": [60, 60, 60],
        "stale": [60, 60, 60],
        "judge": [60, 60, 60],
        "judge_money": [240, 240, 240],
        "dpo": [180],
    }
    money = {arm.name: sum(labels[arm.name]) * arm.price(CONFIG) for arm in ARMS}
    assert money.pop("judge") == 45.0
    assert set(money.values()) == {180.0}


def test_arms_share_turn_1_where_nothing_can_differ_yet() -> None:
    shared = {(arm.name, turn) for arm, turn in product(ARMS, (1, 2)) if arm.begins_like_turns(turn)}
    assert shared == {("turns", 1), ("uncertain", 1), ("stale", 1)}


def test_all_labels_at_once_begin_with_those_of_the_first_turn() -> None:
    first = choose_pairs(CANDIDATES, 10, information=None, seed=3, turn=1)
    all_at_once = choose_pairs(CANDIDATES, 30, information=None, seed=3, turn=1)
    assert all_at_once[:10] == first
    assert len(set(all_at_once)) == 30
    assert choose_pairs(CANDIDATES, 10, information=None, seed=3, turn=2) != first
    votes = [label_pairs(CANDIDATES, chosen, PEOPLE, WORLD, seed=3, turn=1) for chosen in (first, all_at_once)]
    assert votes[1][:10] == votes[0]


def test_uncertain_pairs_are_one_a_message_first() -> None:
    """Message 0 has the six most informative pairs; each message gives its best one before any gives a second."""
    pairs = CANDIDATES.pairs()
    information = np.array([10.0 - index if not pair[0] else 1 / (1 + pair[0]) for index, pair in enumerate(pairs)])
    chosen = choose_pairs(CANDIDATES, 21, information=information, seed=0, turn=2)
    assert [number for number, _, _ in chosen] == [*range(20), 0]
    assert chosen[0] == pairs[0]
    assert chosen[20] == pairs[1]


def test_replies_that_are_the_same_or_empty_are_no_pair() -> None:
    message = (Message(role="user", content="?"),)
    assert Candidates(prompts=[message], replies=[["x", "x", " ", "y"]]).pairs() == [(0, 0, 3), (0, 1, 3)]
    with pytest.raises(ValueError, match="turn 2 has 1 pairs of different replies for 2 labels"):
        choose_pairs(Candidates(prompts=[message], replies=[["x", "y"]]), 2, information=None, seed=0, turn=2)


def test_a_judge_is_right_less_often_than_people_and_gold_is_that_of_the_text() -> None:
    """200 messages' pairs: reliability .95 and .5 with a pull to one side; the vote is of the world's gold."""
    world = World(seed=1, num_prompts=200, num_responses=3, num_numbers=8)
    prompts = list(world.prompts())
    candidates = Candidates(
        prompts=[prompt.prompt for prompt in prompts],
        replies=[[reply.text for reply in prompt.responses] for prompt in prompts],
    )
    chosen = candidates.pairs()
    judge = judge_of(LoopLabConfig(out="o", judge_reliability=0.5, judge_left_bias=1.0))
    people, machine = (label_pairs(candidates, chosen, who, world, seed=0, turn=1) for who in (PEOPLE, judge))
    number, one, other = chosen[7]
    responses = prompts[number].responses
    assert people[7].gold == pytest.approx(responses[one].gold - responses[other].gold)
    assert agreement(people) > agreement(machine) + 0.1
    assert all(label.p_a != 0.5 for label in machine)
    assert any(label.p_a == 0.5 for label in people)


def test_agreement_leaves_out_ties_of_votes_and_of_gold() -> None:
    def label(p_a: float, gold: float) -> Label:
        return Label(prompt=(), a="a", b="b", p_a=p_a, gold=gold)

    assert agreement([label(1, 2.0), label(0, 2.0), label(0, -1.0), label(0.5, 3.0), label(1, 0.0)]) == pytest.approx(
        2 / 3
    )
    assert np.isnan(agreement([label(0.5, 1.0)]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"labels": 400}, "up to 1600 on the candidates of one turn, allowed is two thirds of its 480 pairs"),
        ({"judge_reliability": 1.5}, "judge_reliability is 1.5, allowed is 0 to 1"),
        ({"judge_price": 0.0}, "judge_price is 0.0, allowed is more than 0"),
        ({"turns": 1}, "turns is 1, allowed is 2 or more"),
    ],
)
def test_configurations_that_cannot_be_run_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoopLabConfig(**({"out": "o"} | values))  # type: ignore[arg-type]
