"""Distances of features from those trained on, by hand and against loops; solutions that are made wrong."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from module_files import load_module

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "changed_criterion.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_module("changed_criterion_benchmark", BENCHMARK)


def test_mahalanobis_by_hand(benchmark):
    # mean (0, 0), covariance diag(8, 2) / 3 with ddof 1; shrunk by a tenth to tr / 2 = 5 / 3: diag(7.7, 2.3) / 3
    reference = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    found = benchmark.mahalanobis(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), reference)
    assert found == pytest.approx([np.sqrt(3 / 7.7), np.sqrt(3 / 2.3), 0.0])


def test_mahalanobis_knows_no_shift_and_no_unit(benchmark):
    rng = np.random.default_rng(0)
    features, reference = rng.normal(size=(5, 3)), rng.normal(size=(40, 3))
    assert benchmark.mahalanobis(7.0 * features + 2.0, 7.0 * reference + 2.0) == pytest.approx(
        benchmark.mahalanobis(features, reference)
    )
    with pytest.raises(ValueError, match="do not vary"):
        benchmark.mahalanobis(features, np.ones((4, 3)))


def test_nearest_is_that_of_a_loop(benchmark):
    # 0 to 1, 2, 10: mean of the two nearest 1.5
    assert benchmark.nearest_distance(
        np.zeros((1, 1)), np.array([[1.0], [-2.0], [10.0]]), num_neighbours=2
    ).tolist() == [1.5]
    rng = np.random.default_rng(1)
    features, reference = rng.normal(size=(1030, 4)), rng.normal(size=(30, 4))
    slow = [np.sort([np.linalg.norm(one - other) for other in reference])[:5].mean() for one in features]
    assert benchmark.nearest_distance(features, reference) == pytest.approx(np.array(slow))
    assert benchmark.nearest_distance(features[:1], reference[:2]).shape == (1,)


def test_a_solution_is_made_wrong_in_every_result(benchmark):
    right = "She has 3 + 4 = <<3+4=7>>7 eggs, at $2 each = $14.\n#### 14"
    assert benchmark.one_off(right) == "She has 3 + 4 = <<3+4=8>>7 eggs, at $2 each = $15.\n#### 15"
