"""From grades to rewards, by value."""

from __future__ import annotations

import numpy as np

from alignment.rubrics.worth import rubric_reward


def test_grades_weigh_and_faults_cost() -> None:
    # P = 2 + 1 = 3; sample 1: (2 * 1 + 1 * 0.5 - 1 * 0) / 3 = 2.5 / 3; sample 2: (0 + 1 - 1) / 3 = 0
    grades = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 1.0]])
    np.testing.assert_allclose(rubric_reward(grades, [2, 1, -1], [0, 0, 0]), [2.5 / 3, 0.0])


def test_a_closed_gate_gives_the_least_there_is() -> None:
    grades = np.array([[1.0, 1.0, 0.5], [1.0, 1.0, 0.49]])
    np.testing.assert_allclose(rubric_reward(grades, [3, 1, 0], [0, 0, 0.5]), [1.0, 0.0])
    # with a fault of weight -2 beside 4 the least is -2 / 4: what a safe answer with the fault and nothing else earns
    faulty = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(rubric_reward(faulty, [4, -2, 0], [0, 0, 0.5]), [-0.5, -0.5])


def test_gates_alone_are_1_or_0() -> None:
    np.testing.assert_allclose(rubric_reward(np.array([[0.7], [0.2]]), [0], [0.5]), [1, 0])


def test_it_is_the_loop_over_criteria() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        grades, weights, gates = rng.random((3, 5)), rng.normal(size=5), rng.choice([0.0, 0.3], size=5)
        weights[0] = abs(weights[0])
        most = sum(weight for weight in weights if weight > 0)
        for sample, reward in enumerate(rubric_reward(grades, weights.tolist(), gates.tolist())):
            value = sum(weight * grade for weight, grade in zip(weights, grades[sample], strict=True)) / most
            if any(grade < gate for grade, gate in zip(grades[sample], gates, strict=True)):
                value = sum(weight for weight in weights if weight < 0) / most
            np.testing.assert_allclose(reward, value)
