"""Calibration by temperature and isotonic curve, against general optimisers, symmetry and simulated truth."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit

from rewardkit.stats.calibration import Kind, apply, calibration_figures, calibration_floor, fit_calibration

KINDS: tuple[Kind, ...] = ("temperature", "isotonic", "none")


def overconfident(num_pairs: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Margins whose true probability is sigma(d / temperature), and votes drawn from it."""
    rng = np.random.default_rng(seed)
    margins = 3.0 * rng.normal(size=num_pairs)
    return margins, (rng.random(num_pairs) < expit(margins / temperature)).astype(float)


@pytest.mark.parametrize(
    ("calibration", "expected"),
    [
        ({}, [0.25, 0.5, 0.75]),
        ({"kind": "temperature", "temperature": 0.5}, [0.1, 0.5, 0.9]),  # sigma(2 ln 3) = 9 / 10
        # Between (0, 0.5) and (2, 0.9) by a straight line: 0.5 + 0.4 ln(3) / 2
        ({"kind": "isotonic", "x": [-2, 0, 2], "y": [0.1, 0.5, 0.9]}, [0.2802775, 0.5, 0.7197225]),
    ],
)
def test_apply_by_hand(calibration: dict[str, object], expected: list[float]) -> None:
    margins = np.array([-math.log(3), 0.0, math.log(3)])
    np.testing.assert_allclose(apply(calibration, margins), expected, atol=1e-7)
    np.testing.assert_allclose(apply(calibration, margins[:, None])[:, 0], expected, atol=1e-7)


def test_an_unknown_calibration_is_refused() -> None:
    with pytest.raises(ValueError, match="'spline'"):
        apply({"kind": "spline"}, np.zeros(2))


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 5.0])
def test_temperature_recovers_the_truth(true_temperature: float) -> None:
    fit = fit_calibration(*overconfident(20000, true_temperature))
    assert fit.converged
    assert fit.calibration["temperature"] == pytest.approx(true_temperature, rel=0.05)


def test_temperature_is_the_minimum_a_general_optimiser_finds() -> None:
    margins, labels = overconfident(60, 2.0)
    labels = 0.8 * labels + 0.1  # soft
    weight = np.linspace(0.2, 3.0, 60)
    fit = fit_calibration(margins, labels, weight)
    count = weight.sum() ** 2 / (weight**2).sum()
    smooth = (count * labels + 1) / (count + 2)

    def nll(log_temperature: float) -> float:
        scaled = margins / math.exp(log_temperature)
        return float(np.sum(weight * (smooth * np.logaddexp(0, -scaled) + (1 - smooth) * np.logaddexp(0, scaled))))

    best = minimize_scalar(nll, bounds=(-4, 6), method="bounded", options={"xatol": 1e-10})
    assert fit.calibration["temperature"] == pytest.approx(math.exp(best.x), rel=1e-6)
    assert 1 <= fit.num_iterations < 20


def test_a_few_pairs_in_perfect_order_do_not_make_a_model_certain() -> None:
    # One size of margin, all 8 right: the smoothed share is 9/10 = sigma(2 ln 3), so T = 4 / (2 ln 3).
    for kind in ("temperature", "isotonic"):
        fit = fit_calibration(np.full(8, 4.0), np.ones(8), kind=kind)
        np.testing.assert_allclose(apply(fit.calibration, np.array([4.0, -4.0])), [0.9, 0.1], atol=1e-9)
        assert fit.converged


def test_rewards_that_mislead_end_near_even_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    margins, labels = overconfident(500, 1.0)
    fit = fit_calibration(margins, 1.0 - labels)
    assert not fit.converged
    assert "no minimum" in caplog.text
    np.testing.assert_allclose(apply(fit.calibration, margins), 0.5, atol=0.01)


def test_margins_that_are_all_zero_leave_the_temperature_alone() -> None:
    fit = fit_calibration(np.zeros(5), np.ones(5))
    assert (fit.calibration["temperature"], fit.converged) == (1.0, False)


@pytest.mark.parametrize("kind", ["temperature", "isotonic"])
def test_figures_improve_on_pairs_the_fit_has_not_seen(kind: Kind) -> None:
    fit = fit_calibration(*overconfident(4000, 4.0), kind=kind)
    margins, labels = overconfident(4000, 4.0, seed=1)
    fresh = calibration_figures(apply(fit.calibration, margins), labels)
    assert fit.before.nll > 0.7 > fit.after.nll
    assert fit.before.ece > 0.1 > 0.03 > fit.after.ece
    assert fit.after.brier < fit.before.brier
    assert fit.after.nll == pytest.approx(fresh.nll, abs=0.02)  # out of fold is what a fresh set shows


def test_folds_keep_a_prompts_pairs_together() -> None:
    # Ten copies of every pair with a label of its own prompt: an isotonic curve that saw a copy would know the label.
    rng = np.random.default_rng(0)
    margins, labels = np.repeat(rng.normal(size=30), 10), np.repeat((rng.random(30) < 0.5).astype(float), 10)
    blind = fit_calibration(margins, labels, kind="isotonic", prompt=np.repeat(np.arange(30), 10))
    leaking = fit_calibration(margins, labels, kind="isotonic")
    assert blind.after.nll > leaking.after.nll + 0.01


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0, 1), st.floats(0.1, 5)), min_size=1, max_size=30))
def test_calibrated_probabilities_are_symmetric_rising_and_never_certain(
    rows: list[tuple[float, float, float]],
) -> None:
    margins, labels, weight = np.array(rows).T
    grid = np.linspace(-60, 60, 41)
    for kind in KINDS:
        fit = fit_calibration(margins, labels, weight, kind=kind)
        probabilities = apply(fit.calibration, grid)
        np.testing.assert_allclose(probabilities + probabilities[::-1], 1.0, atol=1e-12)
        assert (np.diff(probabilities) >= -1e-12).all()
        assert json.loads(json.dumps(fit.results()))["calibration"] == dict(fit.calibration)
    isotonic = apply(fit_calibration(margins, labels, weight, kind="isotonic").calibration, grid)
    assert isotonic.min() > 0
    assert isotonic.max() < 1


def test_swapping_chosen_and_rejected_changes_nothing() -> None:
    margins, labels = overconfident(300, 2.0)
    for kind in ("temperature", "isotonic"):
        one, other = (
            fit_calibration(margins, labels, kind=kind),
            fit_calibration(-margins, 1.0 - labels, kind=kind),
        )
        np.testing.assert_allclose(apply(one.calibration, margins), apply(other.calibration, margins), atol=1e-12)


def test_isotonic_of_a_hundred_right_pairs_is_not_certain_at_its_ends() -> None:
    """Median over draws; the truth tops at sigma(3.1), about 0.93, for the largest of a hundred margins."""
    tops, losses = [], []
    fresh = 1.2 * np.random.default_rng(99).normal(size=4000)
    truth = expit(fresh)
    for seed in range(25):
        rng = np.random.default_rng(seed)
        margins = 1.2 * rng.normal(size=100)
        labels = (rng.random(100) < expit(margins)).astype(float)
        fit = fit_calibration(margins, labels, kind="isotonic")
        tops.append(max(fit.calibration["y"]))
        losses.append(calibration_figures(apply(fit.calibration, fresh), truth).nll)
    assert np.median(tops) < 0.95
    assert np.mean(losses) < calibration_figures(truth, truth).nll + 0.02  # 0.026 with all pairs' smoothing


def test_isotonic_on_few_pairs_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    fit_calibration(*overconfident(600, 2.0), kind="isotonic")
    fit_calibration(*overconfident(60, 2.0))
    assert not caplog.records
    fit_calibration(*overconfident(60, 2.0), kind="isotonic")
    assert "isotonic calibration on 60 held-out pairs, fewer than 500" in caplog.text


def test_temperature_is_that_of_the_probability_which_members_average_to() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=3000)
    members = shared + 1.5 * rng.normal(size=(5, 3000))
    labels = (rng.random(3000) < expit(shared)).astype(float)
    temperature = fit_calibration(members, labels).calibration["temperature"]

    def nll(log_temperature: float) -> float:
        return calibration_figures(expit(members / math.exp(log_temperature)).mean(0), labels).nll

    best = minimize_scalar(nll, bounds=(-2, 3), method="bounded", options={"xatol": 1e-10})
    assert temperature == pytest.approx(math.exp(best.x), rel=0.005)  # but for the smoothing by one vote in 3,000
    of_mean = fit_calibration(members.mean(0), labels).calibration["temperature"]
    assert of_mean > 1.05 * temperature  # shrunk by the mean, and again by the average
    fit = fit_calibration(members, labels)
    assert fit.before.nll == pytest.approx(nll(0.0))


@pytest.mark.slow
def test_ece_floor_is_what_right_probabilities_have() -> None:
    rng = np.random.default_rng(0)
    q = expit(rng.normal(size=315))
    floor, high = calibration_floor(q, np.ones(315, dtype=int))
    drawn = [calibration_figures(q, (rng.random(315) < q).astype(float)).ece for _ in range(200)]
    assert floor == pytest.approx(np.mean(drawn), abs=0.002)
    assert high == pytest.approx(np.quantile(drawn, 0.95), abs=0.006)
    more, _ = calibration_floor(q, np.full(315, 25))
    assert more == pytest.approx(floor / 5, rel=0.1)  # noise falls with the root of the votes


def test_figures_say_whether_ece_is_more_than_chance() -> None:
    drawn = [overconfident(1000, 1.0, seed) for seed in range(20)]
    assert sum(bool(calibration_figures(expit(margins), labels).is_off) for margins, labels in drawn) <= 4  # 1 expected
    margins, labels = drawn[0]
    assert calibration_figures(expit(3 * margins), labels).is_off is True
    soft = calibration_figures(expit(margins), 0.8 * labels + 0.1)
    assert (soft.is_off, soft.ece_floor) == (None, None)  # of how many votes these are shares is not said


def test_ece_weighs_pairs_as_the_other_figures_do() -> None:
    # two pairs, one bin a side: |0.8 - 1| and |0.6 - 0|, the first three times as heavy
    q, labels = np.array([0.8, 0.6]), np.array([1.0, 0.0])
    figures = calibration_figures(q, labels, np.array([3.0, 1.0]))
    assert figures.ece == pytest.approx((3 * 0.2 + 0.6) / 4)
    nothing = calibration_figures(np.append(q, 0.1), np.append(labels, 1.0), np.array([3.0, 1.0, 0.0]))
    assert (nothing.ece, nothing.ece_floor) == pytest.approx((figures.ece, figures.ece_floor))


def test_figures_by_hand() -> None:
    # NLL: -(ln 0.8 + ln 0.4) / 2; Brier: (0.2^2 + 0.6^2) / 2 = 0.2
    figures = calibration_figures(np.array([0.8, 0.4]), np.ones(2))
    assert figures.nll == pytest.approx(-(math.log(0.8) + math.log(0.4)) / 2)
    assert figures.brier == pytest.approx(0.2)
    weighted = calibration_figures(np.array([0.8, 0.4]), np.ones(2), np.array([3.0, 1.0]))
    assert weighted.brier == pytest.approx((3 * 0.04 + 0.36) / 4)


@pytest.mark.parametrize(
    ("margins", "weight", "says"),
    [([], [], "0 held-out pairs"), ([1.0], [0.0], "weight 0"), ([math.nan], [1.0], "finite")],
)
def test_nothing_to_calibrate_on_is_refused(margins: list[float], weight: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fit_calibration(np.array(margins), np.ones(len(margins)), np.array(weight))


def test_the_bound_of_the_floor_is_not_below_its_mean():
    mean, bound = calibration_floor(np.full(3, 0.998), np.ones(3, dtype=int))
    assert 0.002 < mean == bound  # three of a thousand draws or so err, by 1 / 3 each
