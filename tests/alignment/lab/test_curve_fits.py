"""Fits of the two forms of over-optimisation: exact on their own curves, peaks by hand, bands that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.lab.curve_fits import BEYOND, FALLS, Fit, Form, fit_best_of_n, fit_reinforcement


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
    turned = fit_reinforcement(distance, np.stack([distance * (1 - np.log(distance))] * 5))
    assert turned is not None
    assert (turned.a, turned.b, turned.peak) == (pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0))
    assert turned.at(np.array([0.0])) == pytest.approx([0.0])


def fit(form: Form, a: float, b: float, nearest: float = 0.3, furthest: float = 3.0) -> Fit:
    bands = {"a_low": a, "a_high": a, "b_low": b, "b_high": b, "r2": 1.0}
    return Fit(form=form, a=a, b=b, nearest=nearest, furthest=furthest, **bands)


@pytest.mark.parametrize(
    ("form", "a", "b", "said"),
    [
        ("best_of_n", -0.13, 0.09, FALLS),  # a / 2 b is -0.72, which is no distance
        ("best_of_n", 0.0, 0.1, FALLS),
        ("best_of_n", -0.39, -0.05, FALLS),
        ("best_of_n", -0.39, 0.0, FALLS),
        ("best_of_n", 0.1, 0.5, FALLS),  # turns at 0.1, before anything was measured
        ("best_of_n", -0.1, -0.2, BEYOND),  # falls to 0.25, then rises past the start
        ("best_of_n", 0.4, 0.0, BEYOND),
        ("best_of_n", 0.4, 0.1, "2.00"),
        ("best_of_n", 0.8, 0.1, BEYOND),  # turns at 4
        ("reinforcement", -0.61, 0.13, FALLS),  # turns at e^-5.7
        ("reinforcement", -0.39, -0.05, FALLS),
        ("reinforcement", 0.0, 0.1, "0.37"),
        ("reinforcement", 1.0, -0.5, BEYOND),
        ("reinforcement", 1.0, 1e-9, BEYOND),  # e^(10^9) is no number
        ("reinforcement", 0.0, 0.0, FALLS),
    ],
)
def test_a_fit_turns_where_it_was_measured_or_not_at_all(form: Form, a: float, b: float, said: str) -> None:
    assert fit(form, a, b).turning == said
    assert 0 <= fit(form, a, b).peak <= 3.0


def test_a_curve_that_only_rises_turns_beyond_what_was_pushed() -> None:
    distance = np.linspace(0.1, 2.0, 9)
    found = fit_reinforcement(distance, np.stack([distance * (1 + 0.5 * np.log(distance))] * 3))
    assert found is not None
    assert (found.peak, found.nearest, found.turning) == (2.0, pytest.approx(0.1), BEYOND)


def test_bands_of_a_run_hold_its_truth_though_all_audits_share_their_messages() -> None:
    """Each message has a lean of its own that all audits see: resampled residuals would not see it."""
    rng = np.random.default_rng(0)
    distance = np.linspace(0.2, 2.0, 10)
    held, widths = 0, []
    for seed in range(40):
        lean = rng.normal(0, 1, (60, 1)) * distance
        found = fit_reinforcement(distance, distance * (1 - 0.5 * np.log(distance)) + lean, seed=seed)
        assert found is not None
        held += found.a_low < 1 < found.a_high
        widths.append(found.a_high - found.a_low)
    assert held >= 34
    assert np.mean(widths) == pytest.approx(2 * 1.96 / np.sqrt(60), rel=0.15)


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
    assert fit_reinforcement(np.array([0.0, 1.0, 2.0, 3.0]), np.zeros((2, 4))) is None
    assert fit_best_of_n(np.ones(5), np.zeros((3, 5))) is None
