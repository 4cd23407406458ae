"""The same reward with KL weights from strong to weak, and without one: gold and proxy against KL.

Gold takes for every feature that is far from 0, which replies of the SFT policy hardly show. A linear reward does not
know that. Pushed by it, a policy of mean m has gold

    theta . m - c / 2 |m|^2 = d (sqrt(2) |theta| cos - c d),  d = sqrt(KL) = |m| / sqrt(2)

above SFT, which rises, turns and falls: the form of Gao et al. 2022 for best of n. A reward with a feature |x|^2 moves
the policy to a normal of mean (w / beta) / s and variance 1 / s in each feature, s = 1 + v / beta.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignment.exercises.feature_world import FeatureWorld, draw_world, fit_weights
from alignment.exercises.solved import Solved
from rewardkit.report.table import number_text, signed_text
from rewardkit.stats.metrics import average_interval

BETAS = (3.0, 1.0, 0.5, 0.3, 0.1, 0.03)
STEPS, RATE = 1000, 0.1  # of the run without a KL
NUM_FEATURES, NUM_PAIRS, CURVATURE = 10, 500, 0.5


def kl_weights(seeds: Sequence[int]) -> Solved:
    """Moves policies in closed form."""
    runs = np.array([_world(seed) for seed in seeds])  # (worlds, settings, figures)
    names = [*(f"KL weight {beta:g}" for beta in BETAS), f"none, {STEPS} steps"]
    kl, proxy, gold, knowing = (runs[:, :, figure] for figure in range(4))
    highest = int(gold.mean(0).argmax())
    return Solved(
        question="a reward that is right near the SFT policy and wrong far from it: what does the KL weight do?",
        header=("run", "KL", "proxy", "gold", "gold, reward of the right form"),
        rows=[
            [
                name,
                number_text(average_interval(kl[:, at]), 1),
                signed_text(average_interval(proxy[:, at]), 1),
                signed_text(average_interval(gold[:, at])),
                signed_text(average_interval(knowing[:, at])) if at < len(BETAS) else "",
            ]
            for at, name in enumerate(names)
        ],
        expected="the proxy rises with every nat. Gold rises first and falls from a distance on: too strong a KL "
        "leaves most of it unused, too weak a one loses more than there was, none loses without end. A reward of the "
        "right form has nothing to lose far away: its gold does not fall.",
        holds=bool(
            np.all(np.diff(proxy.mean(0)) > 0)
            and 0 < highest < len(BETAS) - 1
            and gold.mean(0)[0] > 0
            and gold.mean(0)[len(BETAS) - 1] < 0
            and gold.mean(0)[-1] < gold.mean(0)[len(BETAS) - 1]
            and np.all(np.diff(knowing.mean(0)[: len(BETAS)]) > 0)
        ),
    )


def gold_above_sft(world: FeatureWorld, mean: np.ndarray, variance: float) -> float:
    """Mean gold of replies from a normal of this mean, (d,), and this variance in every feature, above SFT's."""
    spread = mean @ mean + len(mean) * (variance - 1)
    return float(world.theta @ mean - world.curvature / 2 * spread)


def _world(seed: int) -> list[tuple[float, float, float, float]]:
    """For each setting KL, proxy and gold of the linear reward's policy, and gold by the reward of the right form."""
    rng = np.random.default_rng([seed, 4])
    world = draw_world(rng, NUM_FEATURES, curvature=CURVATURE)
    votes = world.compare(NUM_PAIRS, rng)
    weights = fit_weights(votes.first - votes.second, votes.vote)
    squares = [(replies**2).sum(1, keepdims=True) for replies in (votes.first, votes.second)]
    seen = [np.concatenate(both, axis=1) for both in zip((votes.first, votes.second), squares, strict=True)]
    bent = fit_weights(seen[0] - seen[1], votes.vote)
    slope, bend = bent[:-1], max(0.0, -2 * float(bent[-1]))  # a bend of the wrong sign counts as none

    def figures(mean: np.ndarray, knowing: float) -> tuple[float, float, float, float]:
        return float(mean @ mean / 2), float(weights @ mean), gold_above_sft(world, mean, 1.0), knowing

    rows = []
    for beta in BETAS:
        precision = 1 + bend / beta
        rows.append(figures(weights / beta, gold_above_sft(world, slope / beta / precision, 1 / precision)))
    return [*rows, figures(STEPS * RATE * weights, float("nan"))]
