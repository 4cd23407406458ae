"""Linear rewards against such that see products of features, and few features against many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignment.exercises.feature_world import (
    NUM_HELD_OUT,
    SPREAD,
    accuracy,
    draw_world,
    fit_weights,
    with_products,
)
from alignment.exercises.solved import Solved
from rewardkit.report.table import number_text, signed_text
from rewardkit.stats.metrics import average_interval

NUM_FEATURES = 10
GOLDS = {"linear": 0.0, "half in products": SPREAD}
PAIRS = (100, 400, 1600)
FEATURE_COUNTS = (5, 50)
PAIRS_OF_FEATURES = (50, 100, 500, 1000)


def shapes(seeds: Sequence[int]) -> Solved:
    """Two golds, two forms of reward, more and more votes."""
    rows: list[list[str]] = []
    gains: dict[tuple[str, int], float] = {}
    best_linear: list[float] = []
    for name, product in GOLDS.items():
        for count in PAIRS:
            both = np.array([_both(seed, product, count) for seed in seeds]) * 100
            gains[name, count] = float((both[:, 1] - both[:, 0]).mean())
            if product:
                best_linear.append(float(both[:, 0].mean()))
            linear, bent, gain = (average_interval(values) for values in (*both.T, both[:, 1] - both[:, 0]))
            rows.append([name, str(count), number_text(linear, 1), number_text(bent, 1), signed_text(gain, 1)])
    few, many = PAIRS[0], PAIRS[-1]
    return Solved(
        question=f"{NUM_FEATURES} features: a linear reward, or one that sees their products?",
        header=("gold", "votes", "linear, % right", "with products, % right", "products beside linear, points"),
        rows=rows,
        num_left=2,
        expected="where gold is linear, products only cost, less with more votes. Where it is not, a linear reward "
        "stops at what is linear in it however many votes there are, and products overtake it once there are enough.",
        holds=bool(
            gains["linear", few] < gains["linear", many] <= 0.5
            and gains["half in products", many] > 3
            and gains["half in products", many] > gains["half in products", few]
            and best_linear[-1] - best_linear[-2] < 3
        ),
    )


def _both(seed: int, product: float, count: int) -> tuple[float, float]:
    """Accuracy of a linear reward, and of one with products, on the same votes."""
    rng = np.random.default_rng([seed, 2])
    world = draw_world(rng, NUM_FEATURES, product=product)
    tests, votes = world.compare(NUM_HELD_OUT, rng), world.compare(count, rng)
    plain = fit_weights(votes.first - votes.second, votes.vote)
    bent = fit_weights(with_products(votes.first) - with_products(votes.second), votes.vote)
    margins = with_products(tests.first) - with_products(tests.second)
    return accuracy((tests.first - tests.second) @ plain, tests.gold), accuracy(margins @ bent, tests.gold)


def num_features(seeds: Sequence[int]) -> Solved:
    """The same gold spread over few features or many."""
    right = {
        (features, pairs): [100 * _right(seed, features, pairs) for seed in seeds]
        for features in FEATURE_COUNTS
        for pairs in PAIRS_OF_FEATURES
    }
    few, many = FEATURE_COUNTS
    means = {key: float(np.mean(values)) for key, values in right.items()}
    alike = [abs(means[few, pairs] - means[many, pairs * many // few]) for pairs in PAIRS_OF_FEATURES[:2]]
    return Solved(
        question=f"gold of one spread over {few} features, or over {many}: how many votes does it take?",
        header=("features", *(f"{pairs} votes, % right" for pairs in PAIRS_OF_FEATURES)),
        rows=[
            [str(features), *(number_text(average_interval(right[features, pairs]), 1) for pairs in PAIRS_OF_FEATURES)]
            for features in FEATURE_COUNTS
        ],
        expected=f"votes are needed in proportion to features: {many} reach with ten times as many what {few} reach.",
        holds=bool(max(alike) < 3 and all(means[few, pairs] > means[many, pairs] for pairs in PAIRS_OF_FEATURES)),
    )


def _right(seed: int, features: int, pairs: int) -> float:
    rng = np.random.default_rng([seed, 3, features])
    world = draw_world(rng, features)
    tests, votes = world.compare(NUM_HELD_OUT, rng), world.compare(pairs, rng)
    return accuracy((tests.first - tests.second) @ fit_weights(votes.first - votes.second, votes.vote), tests.gold)
