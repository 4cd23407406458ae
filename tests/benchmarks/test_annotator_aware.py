"""In a world with a known reward, knowing who voted recovers it better than counting votes does."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from module_files import load_module

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "annotator_aware.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_module("annotator_aware_benchmark", BENCHMARK)


def test_votes_come_with_the_reliability_they_are_said_to_have(benchmark):
    """A vote agrees with the gold choice as often as q sigma(|d|) + (1 - q) sigma(-|d|) says."""
    setting = benchmark.draw_setting(0, num_train=400)
    gold = np.array([item.gold_a - item.gold_b for item in benchmark.World(seed=0, num_prompts=400).comparisons()])
    margins = np.abs(gold[setting.votes.prompt])
    agrees = (setting.votes.p_chosen > 0.5) == (gold[setting.votes.prompt] > 0)
    q = setting.reliability[setting.annotator]
    expected = q * benchmark.sigmoid(margins) + (1 - q) * benchmark.sigmoid(-margins)
    decided = margins > 0
    spread = np.sqrt((expected * (1 - expected))[decided].sum())
    assert abs((agrees - expected)[decided].sum()) < 3 * spread
    sure = q > 0.9  # the attentive ones among them, whom a careless crowd would hide
    spread = np.sqrt((expected * (1 - expected))[decided & sure].sum())
    assert abs((agrees - expected)[decided & sure].sum()) < 3 * spread


@pytest.mark.slow
def test_annotator_aware_likelihood_recovers_the_reward_better_than_majority_votes(benchmark):
    report = benchmark.run(range(5))
    rows = {row["method"]: row for row in report["methods"]}
    for name in ("crowd", "known"):
        assert rows[name]["seeds_better"] >= 4, rows
        assert rows[name]["gain"] > 2 * rows[name]["gain_standard_error"], rows
        assert rows[name]["tau"] > rows["majority"]["tau"]
    # Shares order replies better and are less sure than an attentive annotator would be.
    assert rows["shares"]["excess_nll"] > rows["majority"]["excess_nll"]
    assert rows["shares"]["tau"] > rows["majority"]["tau"]
    assert rows["crowd"]["scaled"] < rows["shares"]["scaled"] < rows["majority"]["scaled"]
    assert rows["known"]["excess_nll"] < rows["crowd"]["excess_nll"] < rows["dawid-skene"]["excess_nll"]
    assert report["reliability_correlation"]["least"] > 0.6


@pytest.mark.slow
def test_among_attentive_people_shares_beat_the_winner_and_crowd_costs_nothing(benchmark):
    rows = {row["method"]: row for row in benchmark.run(range(5), "attentive")["methods"]}
    for name in ("shares", "crowd"):
        assert rows[name]["seeds_better"] == 5, rows
        assert rows[name]["tau"] > rows["majority"]["tau"]
    assert rows["crowd"]["excess_nll"] < 1.1 * rows["shares"]["excess_nll"]


def test_the_best_scale_takes_out_how_sure_margins_are(benchmark):
    """Margins a third as large as the gold ones order everything rightly: at the best scale nothing is left."""
    gold = np.linspace(-3.0, 3.0, 41)
    truth = benchmark.sigmoid(gold)
    lowest = float(benchmark.binary_entropy(truth).mean())
    assert benchmark.negative_log_likelihood(gold / 3, truth) > lowest + 0.01
    assert benchmark.best_scale_nll(gold / 3, truth) == pytest.approx(lowest, abs=1e-6)
