"""Figures of the experiment: of a turn of an arm in one world, over worlds, and of one arm against another. No torch.

Over worlds a figure is a mean with Student's interval over seeds (`rewardkit.stats.metrics.student_interval`); two
arms are compared seed by seed, as they share the world, the SFT policy and the first candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from rewardkit.stats.metrics import Interval, student_interval


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a world begins with.

    Attributes:
        gold: mean gold reward of the SFT policy's replies to held-out messages.
        demonstrations: of a reply as good and bad as the demonstrations.
        traits, demonstrated: mean counts of `support_desk_world.WEIGHTS`' traits in both.
    """

    seed: int
    gold: float
    demonstrations: float
    words: float
    traits: Mapping[str, float]
    demonstrated: Mapping[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TurnRow:
    """A turn of an arm in one world; what is not there is nan.

    Attributes:
        labels: bought so far.
        money: what they cost, in labels of people.
        num_steps: optimiser steps of the policy so far.
        agreement: share of this turn's decided votes that prefer the better reply.
        accuracy_before, accuracy: share of pairs of held-out replies, by the policy that the turn began with, that the
            reward model before the turn ranks as gold does, and the one that the turn used.
        gain: gold of the replies to held-out messages above the SFT policy's, paired by message, with 95 % interval.
        gold: mean gold reward.
        wins: share of held-out replies that are worth more than the SFT policy's, ties half.
        votes: share of simulated people's blind votes against the SFT policy's replies, ties half.
        kl: to the SFT policy, nats a reply.
        words: of a reply.
        traits: mean counts of `support_desk_world.WEIGHTS`' traits.
        seconds: wall clock.
    """

    seed: int
    arm: str
    turn: int
    labels: int
    money: float
    num_steps: int
    agreement: float
    accuracy_before: float
    accuracy: float
    gain: float
    gain_low: float
    gain_high: float
    gold: float
    wins: float
    votes: float
    kl: float
    words: float
    traits: Mapping[str, float]
    seconds: float


def row_from(values: Mapping[str, Any]) -> TurnRow:
    """Reads a row from JSON, where null is nan."""
    known: dict[str, Any] = {
        field.name: math.nan if values[field.name] is None else values[field.name] for field in fields(TurnRow)
    }
    return TurnRow(**known)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One arm against another, seed by seed.

    Attributes:
        name: of the question, `one:other`.
        gain: difference of gold above SFT after the last turn.
        path: the same, mean over turns; nan without a value where one of the two takes the last turn alone.
        accuracy: difference of the reward models' accuracy in the last turn, each on the replies of its own policy.
        num_ahead, num_seeds: on how many seeds the one's gold is higher after the last turn, and of how many.
    """

    name: str
    one: str
    other: str
    gain: Interval
    path: Interval
    accuracy: Interval
    num_ahead: int
    num_seeds: int


# An arm and what it is held against: what is new first.
QUESTIONS = (
    ("turns", "one_shot"),
    ("turns", "dpo"),
    ("one_shot", "dpo"),
    ("uncertain", "turns"),
    ("turns", "stale"),
    ("judge", "turns"),
    ("judge_money", "turns"),
)


def contrasts(rows: Sequence[TurnRow]) -> list[Contrast]:
    """The questions of the experiment, answered by the seeds that have both arms whole."""
    last = max((row.turn for row in rows), default=0)
    by_place = {(row.arm, row.seed, row.turn): row for row in rows}
    answers = []
    for one, other in QUESTIONS:
        seeds = [
            seed
            for seed in dict.fromkeys(row.seed for row in rows)
            if (one, seed, last) in by_place and (other, seed, last) in by_place
        ]
        if not seeds:
            continue
        paths = [_path(by_place, one, seed, last) - _path(by_place, other, seed, last) for seed in seeds]
        ends = [(by_place[one, seed, last], by_place[other, seed, last]) for seed in seeds]
        answers.append(
            Contrast(
                name=f"{one}:{other}",
                one=one,
                other=other,
                gain=student_interval([mine.gain - theirs.gain for mine, theirs in ends]),
                path=student_interval(paths),
                accuracy=student_interval([mine.accuracy - theirs.accuracy for mine, theirs in ends]),
                num_ahead=sum(mine.gain > theirs.gain for mine, theirs in ends),
                num_seeds=len(seeds),
            )
        )
    return answers


def _path(rows: Mapping[tuple[str, int, int], TurnRow], arm: str, seed: int, last: int) -> float:
    """Mean gold above SFT over turns; nan where a turn is missing."""
    gains = [rows[arm, seed, turn].gain for turn in range(1, last + 1) if (arm, seed, turn) in rows]
    return float(np.mean(gains)) if len(gains) == last else math.nan
