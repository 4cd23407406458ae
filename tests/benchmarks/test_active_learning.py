"""The replay of labelled data: same start for every rule, no label seen early, figures as worked by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from module_files import load_module
from toy_architectures import make_folder

pytest.importorskip("sklearn", reason="SCIKIT-LEARN IS NOT INSTALLED: nothing to fit with")
BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "active_learning.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_module("active_learning_benchmark", BENCHMARK)


def test_prompts_are_on_one_side_only_and_rules_share_their_start(benchmark):
    data = benchmark.make_world(40)
    pool, test, places = benchmark.split(data, seed=1)
    assert len(pool.p_a) + len(test.p_a) == len(data.comparisons) == 240
    assert len(places) == len(np.unique(pool.prompt))
    assert len(pool.p_a) % 6 == len(test.p_a) % 6 == 0  # six pairs of a prompt stay together
    sizes = {"seed": 1, "start": 20, "step": 20, "until": 70}
    curves = {rule: benchmark.replay(pool, test, places, rule, **sizes) for rule in benchmark.RULES}
    for curve in curves.values():
        assert [point["labels"] for point in curve] == [20, 40, 60]
        assert curve[0] == curves["random"][0]
    assert curves["mutual_information"] == benchmark.replay(pool, test, places, "mutual_information", **sizes)
    assert len({curve[-1]["nll"] for curve in curves.values()}) > 2  # the rules do choose differently


def test_traits_stand_for_the_pairs_they_belong_to(benchmark):
    data = benchmark.make_world(20, traits=True)
    weights = np.array([benchmark.WEIGHTS[name] for name in benchmark.WEIGHTS])
    margins = data.traits @ weights
    decided = np.isfinite(data.better_a)
    assert np.array_equal(margins[decided] > 0, data.better_a[decided] > 0.5)
    assert np.allclose(margins[~decided], 0.0)


def test_states_of_a_trunk_are_features_too(benchmark, tmp_path):
    data = benchmark.make_world(8)
    folder = make_folder("BERT, MiniLM", tmp_path, classifier=False)
    both = benchmark.with_joint_features(data, str(folder)).traits
    words = benchmark.with_joint_features(data).traits
    assert both.shape == (48, words.shape[1] + 32 + 1)  # width of the trunk, and nearness
    assert both[:, : words.shape[1]] == pytest.approx(words)


def test_what_is_not_labelled_yet_changes_nothing(benchmark):
    """Turned labels in the pool move the curve only from where they are first seen."""
    pool, test, places = benchmark.split(benchmark.make_world(40), seed=1)
    sizes = {"seed": 1, "start": 20, "step": 20, "until": 40}
    before = benchmark.replay(pool, test, places, "margin", **sizes)
    first = np.random.default_rng([1, 1]).permutation(len(pool.p_a))[:20]
    turned = 1.0 - pool.p_a
    turned[first] = pool.p_a[first]
    fields = {"differences": pool.differences, "better_a": pool.better_a, "prompt": pool.prompt}
    after = benchmark.replay(benchmark.Side(p_a=turned, **fields), test, places, "margin", **sizes)
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_rules_are_compared_with_random_seed_by_seed(benchmark):
    curves = {
        "random": np.array([[0.5, 0.6, 0.7], [0.5, 0.5, 0.6]]),
        "std": np.array([[0.5, 0.7, 0.7], [0.5, 0.6, 0.5]]),
    }
    nlls = {
        "random": np.array([[0.7, 0.6, 0.6], [0.7, 0.7, 0.6]]),
        "std": np.array([[0.7, 0.5, 0.6], [0.7, 0.7, 0.5]]),
    }
    random, std = benchmark.compare(curves, nlls, np.array([10, 20, 30]))
    assert random["labels_to_goal"] == 30  # mean 0.5, 0.55, 0.65
    assert std["labels_to_goal"] == 20  # mean 0.5, 0.65, 0.6
    # over the curve without its shared start: random 0.65, 0.55, std 0.70, 0.55
    assert std["gain"] == pytest.approx(0.025)
    # of 0.05 and 0: std 0.0353553 / sqrt 2 = 0.025, times t(0.975, 1) = 12.7062
    assert std["gain_half_width"] == pytest.approx(0.317655, abs=1e-6)
    assert std["seeds_better"] == 1
    assert std["mean_accuracy"] == pytest.approx(0.625)
    text = benchmark.table([random, std], num_seeds=2, labels=np.array([10, 20, 30]))
    assert "| std | 0.6250 | +2.50 ± 31.77 | 1 | 0.6000 | 20 | +0.0500 ± 0.0000 |" in text
