"""Votes are turned around: what becomes of a reward model, and of the policy that DPO makes of the same votes?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from alignment.exercises.feature_world import NUM_HELD_OUT, accuracy, draw_world, fit_weights
from alignment.exercises.solved import Solved
from rewardkit.report.table import number_text, percent, signed_text
from rewardkit.stats.metrics import average_interval

FLIPS = (0.0, 0.1, 0.2, 0.4, 0.5)
NUM_FEATURES, NUM_PAIRS = 10, 500
EQUAL_KL = 2.0  # nats, at which policies are compared


def label_flips(seeds: Sequence[int]) -> Solved:
    """Fits rewards to votes of which a share is turned around, with and without knowing the share."""
    figures = {flips: [_world(seed, flips) for seed in seeds] for flips in FLIPS}

    def mean(flips: float, column: int) -> float:
        return float(np.mean([row[column] for row in figures[flips]]))

    right = [100 * mean(flips, 0) for flips in FLIPS]
    chance = average_interval([100 * row[0] for row in figures[0.5]])
    return Solved(
        question=f"{NUM_PAIRS} votes, {NUM_FEATURES} features: how much do flipped labels cost?",
        header=(
            "flipped",
            "pairs right, %",
            "slope",
            "slope, share known",
            "DPO, beta 1: gold",
            "its KL",
            "gold at KL 2",
        ),
        rows=[
            [
                percent(flips),
                number_text(average_interval([100 * row[0] for row in figures[flips]]), 1),
                *(number_text(average_interval([row[column] for row in figures[flips]])) for column in (1, 2)),
                signed_text(average_interval([row[3] for row in figures[flips]])),
                number_text(average_interval([row[4] for row in figures[flips]])),
                signed_text(average_interval([row[5] for row in figures[flips]])),
            ]
            for flips in FLIPS
        ],
        expected="the order of replies survives until half of the votes are flipped: at 20 % less than half of what is "
        "better than chance is lost, at 50 % all of it. Rewards shrink long before, so that at one beta DPO moves less "
        "far; knowing the share gives the slope back, and not what the noise took.",
        holds=bool(
            all(one > other for one, other in pairwise(right))
            and right[FLIPS.index(0.2)] - 50 > (right[0] - 50) / 2
            and chance.low <= 50 <= chance.high
            and mean(0.2, 1) < 0.7 * mean(0.0, 1)
            and abs(mean(0.2, 2) - 1) < abs(mean(0.2, 1) - 1)
            and mean(0.4, 4) < mean(0.0, 4)
        ),
    )


def _world(seed: int, flips: float) -> tuple[float, float, float, float, float, float]:
    """Accuracy; slope of margins against gold, and with the share known; gold of DPO, its KL, gold at EQUAL_KL."""
    rng = np.random.default_rng([seed, 1])
    world = draw_world(rng, NUM_FEATURES)
    votes, tests = world.compare(NUM_PAIRS, rng), world.compare(NUM_HELD_OUT, rng)
    is_flipped = rng.random(NUM_PAIRS) < flips
    vote = np.where(is_flipped, 1 - votes.vote, votes.vote)
    differences = votes.first - votes.second
    weights = fit_weights(differences, vote)
    informed = fit_weights(differences, vote, reliability=1 - flips)
    gold = world.theta @ world.theta
    return (
        accuracy((tests.first - tests.second) @ weights, tests.gold),
        float(weights @ world.theta / gold),
        float(informed @ world.theta / gold) if flips != 0.5 else float("nan"),
        float(weights @ world.theta),
        float(weights @ weights / 2),
        float(np.sqrt(2 * EQUAL_KL) * (weights @ world.theta) / np.linalg.norm(weights)),
    )
