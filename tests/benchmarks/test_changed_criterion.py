"""Distances of features from those trained on, by hand and against loops; solutions that are made wrong."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from module_files import load_module

from rewardkit.data.records import Message, Preference
from rewardkit.scoring.joint_head import JointHead

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


def rows_of(benchmark: ModuleType) -> dict[str, list[Preference]]:
    """Two pairs of each of 40 prompts at home, where what names the prompt's thing is better; 3 of another kind."""

    def pair(thing: int, text: str) -> Preference:
        prompt = (Message(role="user", content=f"about thing{thing} please"),)
        return Preference(
            prompt=prompt, chosen=f"{text} thing{thing}", rejected=f"{text} thing{thing + 1}", p_chosen=1.0
        )

    home = [pair(thing, text) for thing in range(40) for text in ("here is", "take")]
    return {benchmark.HOME: home, "other": [pair(thing, "not") for thing in range(50, 53)]}


def test_a_seed_draws_its_own_split_and_no_prompt_is_on_both_sides(benchmark):
    kinds = rows_of(benchmark)
    train, asked = benchmark.draw(kinds, 3)
    assert {row.prompt for row in train}.isdisjoint(row.prompt for row in asked["home"])
    assert len(train) + len(asked["home"]) == 80
    assert 0 < len(asked["home"]) < 40
    assert sorted(row.chosen for row in asked["other"]) == sorted(row.chosen for row in kinds["other"])
    assert benchmark.draw(kinds, 3) == (train, asked)
    assert benchmark.draw(kinds, 4)[0] != train


def test_one_seed_ranks_errors_by_every_uncertainty(benchmark):
    pytest.importorskip("sklearn", reason="SCIKIT-LEARN IS NOT INSTALLED: there are no words to count")
    accuracy, errors, domains = benchmark.one_seed(rows_of(benchmark), None, 0)
    assert accuracy["home"] > 0.9
    assert list(errors) == list(domains)
    assert "spread, own networks" in errors
    assert all(list(by_kind) == ["home", "other", "all together"] for by_kind in errors.values())
    assert all(0.0 <= by_kind["other"] <= 1.0 for by_kind in domains.values())


def test_networks_of_own_weights_learn_and_differ_and_turn_with_the_pair(benchmark):
    pytest.importorskip("sklearn", reason="SCIKIT-LEARN IS NOT INSTALLED: there are no words to count")
    rows = rows_of(benchmark)["home"]
    head = JointHead.fit(rows, [])
    prompts = [row.prompt for row in rows]
    first, second = (head.features(prompts, [getattr(row, side) for row in rows]) for side in ("chosen", "rejected"))
    trained_on = np.stack((first, second), axis=1).reshape(-1, first.shape[1])
    margins = benchmark.own_networks(head, first, second, trained_on, 0)
    assert margins.shape == (5, 80)
    assert (margins.mean(0) > 0).mean() > 0.9
    assert margins.std(0, ddof=1).min() > 1e-3
    assert benchmark.own_networks(head, second, first, trained_on, 0) == pytest.approx(-margins, abs=1e-5)


def test_a_solution_is_made_wrong_in_every_result(benchmark):
    right = "She has 3 + 4 = <<3+4=7>>7 eggs, at $2 each = $14.\n#### 14"
    assert benchmark.one_off(right) == "She has 3 + 4 = <<3+4=8>>7 eggs, at $2 each = $15.\n#### 15"
