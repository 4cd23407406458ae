"""Fits of the two forms of over-optimisation: exact on their own curves, peaks by hand, bands that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.lab.curve_fits import fit_best_of_n, fit_reinforcement


def test_curves_of_the_forms_come_back() -> None:
    """d (3 - 2 d) is 1 at d = 1/2 and d = 1, and turns at 3 / 4; d (1 - log d) is 1 at 1 and turns at e^0 = 1."""
    distance = np.linspace(0.0, 2.0, 9)
    gold = np.stack([distance * (3 - 2 * distance)] * 5)
    found = fit_best_of_n(distance, gold)
    assert found is not None
    assert (found.a, found.b, found.peak) == (pytest.approx(3.0), pytest.approx(2.0), pytest.approx(0.75))
    assert found.at(np.array([0.5, 1.0])) == pytest.approx([1.0, 1.0])
    assert found.r2 == pytest.approx(1.0)
    distance = distance[1:]
    turned = fit_reinforcement(distance, distance * (1 - np.log(distance)))
    assert turned is not None
    assert (turned.a, turned.b, turned.peak) == (pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0))
    assert turned.at(np.array([0.0])) == pytest.approx([0.0])


def test_a_curve_that_only_rises_never_turns() -> None:
    distance = np.linspace(0.1, 2.0, 9)
    found = fit_reinforcement(distance, distance * (1 + 0.5 * np.log(distance)))
    assert found is not None
    assert found.peak == float("inf")


def test_bands_hold_what_the_points_were_made_of() -> None:
    rng = np.random.default_rng(0)
    distance = np.linspace(0.0, 2.0, 12)
    held = 0
    for seed in range(40):
        gold = distance * (3 - 2 * distance) + rng.normal(0, 1, (60, 12)) * distance
        found = fit_best_of_n(distance, gold, seed=seed)
        assert found is not None
        held += (found.a_low < 3 < found.a_high) and (found.b_low < 2 < found.b_high)
    assert held >= 32


def test_too_few_points_give_no_fit() -> None:
    assert fit_reinforcement(np.array([0.0, 1.0, 2.0, 3.0]), np.zeros(4)) is None
    assert fit_best_of_n(np.ones(5), np.zeros((3, 5))) is None
