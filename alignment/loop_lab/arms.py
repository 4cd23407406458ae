"""Ways to spend a number of labels, and how a turn's pairs are chosen and labelled. No torch.

Every arm takes the same optimiser steps, on the same messages, with as many candidates for each. What chance decides
is decided alike in all arms: the same pair gets the same vote of the same voter, and random choice from the same
candidates is the same choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from alignment.config.lab import LoopLabConfig
from rewardkit.data.records import Comparison, Message
from rewardkit.simulation.annotators import GoldComparison, SimulatedAnnotator
from rewardkit.simulation.support_desk_world import World

Voter = Literal["people", "judge"]
PEOPLE = SimulatedAnnotator(name="sim-person", reliability=0.95)
CHOICE, VOTE = 11, 13  # what a generator is for


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to spend the labels.

    Attributes:
        name: in files and options.
        title: for people.
        at_once: whether all labels are bought in turn 1, on candidates of the SFT policy.
        uncertain: whether pairs are chosen by what a vote would tell about the reward model (from turn 2 on; there is
            no model before).
        refreshed: whether the reward model is fitted again in every turn, to all labels so far.
        direct: whether the policy learns from the labelled pairs by DPO, without a reward model.
        voter: who labels.
        by_money: whether the labels are worth as much as those of people, not as many.
    """

    name: str
    title: str
    at_once: bool = False
    uncertain: bool = False
    refreshed: bool = True
    direct: bool = False
    voter: Voter = "people"
    by_money: bool = False

    def turns(self, config: LoopLabConfig) -> range:
        """The turns it takes: DPO on fixed pairs is one training, as long as all turns of the others, in the last."""
        return range(config.turns if self.direct else 1, config.turns + 1)

    def num_labels(self, config: LoopLabConfig, turn: int) -> int:
        """How many labels are bought in a turn, the first is 1."""
        num_labels = config.labels * (config.turns if self.at_once else 1)
        if self.at_once and turn > self.turns(config)[0]:
            return 0
        return round(num_labels / config.judge_price) if self.by_money else num_labels

    def price(self, config: LoopLabConfig) -> float:
        """What a label costs, in labels of people."""
        return config.judge_price if self.voter == "judge" else 1.0

    def begins_like_turns(self, turn: int) -> bool:
        """Whether a turn cannot differ from that of the arm `turns`."""
        return turn == 1 and self.voter == "people" and not self.at_once


TURNS = Arm(name="turns", title="on-policy turns")
ARMS = (
    TURNS,
    Arm(name="one_shot", title="all labels in turn 1", at_once=True),
    Arm(name="uncertain", title="uncertain pairs", uncertain=True),
    Arm(name="stale", title="stale reward model", refreshed=False),
    Arm(name="judge", title="judge, as many", voter="judge"),
    Arm(name="judge_money", title="judge, for as much", voter="judge", by_money=True),
    Arm(name="dpo", title="DPO on the labels of turn 1", at_once=True, direct=True),
)


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Replies of a policy to the messages of a turn.

    Attributes:
        prompts: (P) messages.
        replies: (P, n) replies to each.
    """

    prompts: Sequence[tuple[Message, ...]]
    replies: Sequence[Sequence[str]]

    def pairs(self) -> list[tuple[int, int, int]]:
        """All pairs of different replies: number of the message, and of the two replies."""
        return [
            (number, one, other)
            for number, texts in enumerate(self.replies)
            for one, other in combinations(range(len(texts)), 2)
            if texts[one] != texts[other] and texts[one].strip() and texts[other].strip()
        ]


@dataclass(frozen=True, kw_only=True)
class Label:
    """A vote on a pair.

    Attributes:
        p_a: 1 for a, 0 for b, 0.5 for a tie.
        gold: of a minus of b, which no arm learns from.
    """

    prompt: tuple[Message, ...]
    a: str
    b: str
    p_a: float
    gold: float


def choose_pairs(
    candidates: Candidates, count: int, *, information: np.ndarray | None, seed: int, turn: int
) -> list[tuple[int, int, int]]:
    """Chooses pairs, by chance, or those of which a vote tells most, at first one a message, then further ones.

    Args:
        information: of each of `candidates.pairs()`, what a vote would tell; None chooses by chance.

    Raises:
        ValueError: if there are fewer pairs.
    """
    pairs = candidates.pairs()
    if len(pairs) < count:
        raise ValueError(
            f"turn {turn} has {len(pairs)} pairs of different replies for {count} labels: more prompts or n, or fewer "
            "labels"
        )
    if information is None:
        chosen = np.random.default_rng([seed, turn, CHOICE]).permutation(len(pairs))[:count]
        return [pairs[index] for index in chosen]
    order = np.argsort(-information, kind="stable")
    times: dict[int, int] = {}
    rank = np.empty(len(pairs), dtype=np.int64)  # of a pair among those of its message
    for index in order:
        message = pairs[index][0]
        rank[index] = times[message] = times.get(message, -1) + 1
    return [pairs[index] for index in np.lexsort((-information, rank))[:count]]


def label_pairs(
    candidates: Candidates,
    chosen: Sequence[tuple[int, int, int]],
    voter: SimulatedAnnotator,
    world: World,
    *,
    seed: int,
    turn: int,
) -> list[Label]:
    """Lets a voter judge pairs, once each, its sides shuffled."""
    labels = []
    for number, one, other in chosen:
        rng = np.random.default_rng([seed, turn, VOTE, number, one, other])
        prompt, a, b = candidates.prompts[number], candidates.replies[number][one], candidates.replies[number][other]
        p_a, gold = vote(prompt, a, b, voter, world, rng)
        labels.append(Label(prompt=prompt, a=a, b=b, p_a=p_a, gold=gold))
    return labels


def vote(
    prompt: tuple[Message, ...], a: str, b: str, voter: SimulatedAnnotator, world: World, rng: np.random.Generator
) -> tuple[float, float]:
    """One vote on two replies: 1 for a, 0 for b, 0.5 for a tie; and the gold of a minus that of b."""
    item = GoldComparison(
        comparison=Comparison(id="pair", prompt=prompt, completion_a=a, completion_b=b),
        gold_a=world.gold(prompt, a),
        gold_b=world.gold(prompt, b),
    )
    choice = voter.judge(item, "a" if rng.random() < 0.5 else "b", rng).choice
    return {"a": 1.0, "tie": 0.5, "b": 0.0}[choice], item.gold_a - item.gold_b


def judge_of(config: LoopLabConfig) -> SimulatedAnnotator:
    """The machine that stands for people: less reliable, drawn to one side, never undecided."""
    return SimulatedAnnotator(
        name="sim-judge", reliability=config.judge_reliability, left_bias=config.judge_left_bias, tie_width=0.0
    )


def agreement(labels: Sequence[Label]) -> float:
    """The share of decided votes on pairs of unequal gold that prefer the better reply; nan without one."""
    right = [(label.p_a > 0.5) == (label.gold > 0) for label in labels if label.p_a != 0.5 and label.gold]
    return float(np.mean(right)) if right else float("nan")
