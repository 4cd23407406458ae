"""L-BFGS against scipy's and against minima known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from rewardkit.heads.fit import minimise


def test_quadratic_of_uneven_curvature() -> None:
    curvature, goal = np.array([1e-2, 1.0, 300.0]), np.array([5.0, -2.0, 0.1])

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.5 * float(curvature @ (x - goal) ** 2), curvature * (x - goal)

    found = minimise(function, np.zeros(3), tolerance=1e-9, max_iterations=200)
    assert found.converged
    np.testing.assert_allclose(found.x, goal, atol=1e-6)
    assert found.value == pytest.approx(0.0, abs=1e-12)


def test_a_bent_valley_ends_where_scipy_ends() -> None:
    start = np.array([-1.2, 1.0, -0.5, 2.0])
    found = minimise(lambda x: (float(rosen(x)), rosen_der(x)), start, tolerance=1e-8, max_iterations=500)
    oracle = minimize(rosen, start, jac=rosen_der, method="L-BFGS-B", options={"gtol": 1e-8, "ftol": 0.0})
    assert found.converged
    np.testing.assert_allclose(found.x, oracle.x, atol=1e-5)


def test_too_few_iterations_are_said() -> None:
    found = minimise(lambda x: (float(rosen(x)), rosen_der(x)), np.array([-1.2, 1.0]), tolerance=1e-8, max_iterations=3)
    assert not found.converged
    assert found.num_iterations == 3
    assert found.value < rosen(np.array([-1.2, 1.0]))


def test_a_minimum_to_start_from_takes_no_step() -> None:
    found = minimise(lambda x: (float(x @ x), 2 * x), np.zeros(2), tolerance=1e-8, max_iterations=3)
    assert (found.converged, found.num_iterations) == (True, 0)
