"""Penalties pay where the best replies by the reward leave what votes showed, and cost where they do not."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from module_files import load_module

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "penalties.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_module("penalties_benchmark", BENCHMARK)


def test_repeats_are_only_where_votes_never_were(benchmark):
    rare, repetition = benchmark.draw_world(0, "rare"), benchmark.draw_world(0, "repetition")
    assert set(np.unique(rare.votes.differences)) == {-1.0, 0.0, 1.0}
    assert set(np.unique(repetition.votes.differences)) == {-1.0, 0.0, 1.0}
    assert rare.replies.max() == 1
    assert repetition.replies.max() > 2
    repeats = np.maximum(repetition.replies - 1, 0).sum(2)
    assert np.corrcoef(repeats.ravel(), repetition.gold.ravel())[0, 1] < -0.2  # gold takes for them
    assert np.corrcoef(rare.replies.sum(2).ravel(), rare.gold.ravel())[0, 1] < 1


@pytest.mark.slow
def test_penalties_pay_outside_of_the_votes_and_cost_within(benchmark):
    gains = {
        arm: np.mean(
            [(found := benchmark.curves(seed, arm, "laplace"))["uwo 1"][-1] - found["mean"][-1] for seed in range(8)]
        )
        for arm in ("rare", "repetition")
    }
    assert gains["rare"] < -0.2
    assert gains["repetition"] > 0.1
