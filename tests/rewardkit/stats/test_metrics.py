"""Figures on preferences, by hand-worked numbers, scikit-learn, slow twins and limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from rewardkit.stats.metrics import (
    Interval,
    auroc,
    average_interval,
    bootstrap_interval,
    bootstrap_intervals,
    brier_score,
    calibration_bins,
    correctness,
    difference_interval,
    exact_at_bounds,
    expected_calibration_error,
    mean_interval,
    negative_log_likelihood,
    percentile_interval,
    quantile_groups,
    risk_coverage,
    weighted_interval,
)

graded = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0]), st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.1, 3)),
    min_size=1,
    max_size=25,
)


def test_likelihood_and_brier_by_hand() -> None:
    # sigma(ln 3) = 3/4. Pair 1: -ln(3/4); pair 2 with p = 1/2: -(ln(3/4) + ln(1/4)) / 2.
    margins, p = np.array([math.log(3), math.log(3)]), np.array([1.0, 0.5])
    first, second = -math.log(0.75), -(math.log(0.75) + math.log(0.25)) / 2
    assert negative_log_likelihood(margins, p) == pytest.approx((first + second) / 2)
    assert negative_log_likelihood(margins, p, np.array([3.0, 1.0])) == pytest.approx((3 * first + second) / 4)
    assert brier_score(np.array([0.75, 0.75]), p) == pytest.approx((1 / 16 + 1 / 16) / 2)


def test_correctness_counts_equal_rewards_half() -> None:
    np.testing.assert_array_equal(correctness(np.array([2.0, -1.0, 0.0])), [1.0, 0.0, 0.5])


def test_calibration_error_by_hand() -> None:
    # Both ways: predicted .1 .4 .6 .9, observed 0 1 0 1. Two bins: means .25 against .5 and .75 against .5.
    probabilities, p = np.array([0.9, 0.4]), np.array([1.0, 1.0])
    bins = calibration_bins(probabilities, p, num_bins=2)
    assert [(b.predicted, b.observed, b.count) for b in bins] == [
        (pytest.approx(0.25), 0.5, 2),
        (pytest.approx(0.75), 0.5, 2),
    ]
    assert expected_calibration_error(probabilities, p, num_bins=2) == pytest.approx(0.25)
    assert expected_calibration_error(probabilities, p, num_bins=4) == pytest.approx((0.1 + 0.6 + 0.6 + 0.1) / 4)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_calibration_error_does_not_depend_on_which_completion_is_called_chosen(
    rows: list[tuple[float, float, bool]],
) -> None:
    q, p, swapped = (np.array(column) for column in zip(*rows, strict=True))
    other = expected_calibration_error(np.where(swapped, 1 - q, q), np.where(swapped, 1 - p, p), num_bins=1)
    assert other == pytest.approx(expected_calibration_error(q, p, num_bins=1), abs=1e-12)
    assert expected_calibration_error(p, p) == pytest.approx(0, abs=1e-12)


def test_auroc_by_hand() -> None:
    # Positives 3, 1; negatives 2, 1: of four couples 3>2, 3>1 hold, 1<2 not, 1=1 half: 2.5 / 4.
    scores, positive = np.array([3.0, 1.0, 2.0, 1.0]), np.array([1.0, 1.0, 0.0, 0.0])
    assert auroc(scores, positive) == pytest.approx(0.625)
    assert auroc(-scores, positive) == pytest.approx(0.375)
    assert math.isnan(auroc(scores, np.ones(4)))


@given(graded)
def test_auroc_is_scikit_learns(rows: list[tuple[float, float, float]]) -> None:
    scores, positive, weight = (np.array(column) for column in zip(*rows, strict=True))
    if not 0 < positive.sum() < len(positive):
        assert math.isnan(auroc(scores, positive, weight))
        return
    # A half positive is a positive and a negative of half the weight.
    labels = np.concatenate((np.ones(len(scores)), np.zeros(len(scores))))
    split = np.concatenate((weight * positive, weight * (1 - positive)))
    expected = roc_auc_score(labels, np.concatenate((scores, scores)), sample_weight=split)
    assert auroc(scores, positive, weight) == pytest.approx(expected, abs=1e-9)


def test_risk_coverage_by_hand() -> None:
    # Surest first: right, wrong, right, wrong. Risks 0, 1/2, 1/3, 1/2: area 1/3; oracle 0, 0, 1/3, 1/2: area 5/24.
    found = risk_coverage(np.array([0.4, 0.1, 0.2, 0.3]), np.array([1.0, 0.0, 1.0, 0.0]))
    np.testing.assert_allclose(found.coverage, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(found.risk, [0, 1 / 2, 1 / 3, 1 / 2])
    assert found.area == pytest.approx(1 / 3)
    assert found.oracle == pytest.approx(5 / 24)
    assert found.random == 0.5


@given(graded)
def test_risk_coverage_is_the_mean_over_all_orders_of_ties(rows: list[tuple[float, float, float]]) -> None:
    uncertainty, errors, _ = (np.array(column) for column in zip(*rows, strict=True))
    found = risk_coverage(uncertainty, errors)
    rng = np.random.default_rng(0)
    curves = []
    for _ in range(400):
        shuffled = rng.permutation(len(errors))
        order = shuffled[np.argsort(uncertainty[shuffled], kind="stable")]
        curves.append(np.cumsum(errors[order]) / np.arange(1, len(errors) + 1))
    np.testing.assert_allclose(found.risk, np.mean(curves, 0), atol=0.13)
    assert found.oracle <= found.area + 1e-12
    assert found.risk[-1] == pytest.approx(errors.mean())


@given(graded)
def test_uncertainty_that_says_nothing_gives_the_random_area_and_the_errors_themselves_the_oracles(
    rows: list[tuple[float, float, float]],
) -> None:
    _, errors, weight = (np.array(column) for column in zip(*rows, strict=True))
    assert risk_coverage(np.zeros(len(errors)), errors, weight).area == pytest.approx(
        float(np.average(errors, weights=weight))
    )
    perfect = risk_coverage(errors, errors, weight)
    assert perfect.area == pytest.approx(perfect.oracle)


@given(graded, st.integers(1, 4))
def test_a_weight_is_so_many_copies(rows: list[tuple[float, float, float]], times: int) -> None:
    uncertainty, errors, _ = (np.array(column) for column in zip(*rows, strict=True))
    weighted = auroc(uncertainty, errors, np.full(len(errors), float(times)))
    copied = auroc(np.repeat(uncertainty, times), np.repeat(errors, times))
    assert weighted == pytest.approx(copied, nan_ok=True)


def test_several_statistics_share_their_draws() -> None:
    values = np.random.default_rng(0).normal(size=(30, 3))
    prompt = np.arange(30)
    together = bootstrap_intervals(lambda counts: counts @ values / 30, prompt, seed=4)
    alone = [bootstrap_interval(lambda c, n=number: c @ values[:, n] / 30, prompt, seed=4) for number in range(3)]
    for one, other in zip(together, alone, strict=True):
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_bootstrap_interval_of_a_mean_is_the_normal_ones() -> None:
    rng = np.random.default_rng(0)
    values = (rng.random(400) < 0.7).astype(float)
    interval = mean_interval(values, np.arange(400))
    half = 1.96 * values.std() / 20
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.006)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.006)


def test_pairs_of_one_prompt_are_drawn_together() -> None:
    # Eight copies of each of 50 pairs know no more than the 50.
    values = (np.arange(50) % 3 > 0).astype(float)
    apart = mean_interval(values, np.arange(50))
    copies = mean_interval(np.repeat(values, 8), np.repeat(np.arange(50), 8))
    naive = mean_interval(np.repeat(values, 8), np.arange(400))
    assert copies.high - copies.low == pytest.approx(apart.high - apart.low, abs=1e-9)
    assert naive.high - naive.low < 0.5 * (copies.high - copies.low)


def test_weights_move_the_mean_and_its_interval() -> None:
    interval = mean_interval(np.array([1.0, 0.0, 1.0]), np.arange(3), np.array([2.0, 1.0, 1.0]))
    assert interval.value == 0.75
    assert (interval.low, interval.high) == (0.0, 1.0)


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 0.6915, 1.0), (0.0, 0.0, 0.3085)])
def test_all_right_leaves_room_for_doubt(value: float, low: float, high: float) -> None:
    # Clopper-Pearson for 10 of 10: 0.025 ** (1 / 10) = 0.6915
    interval = mean_interval(np.full(10, value), np.arange(10))
    assert interval.value == value
    assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_a_difference_is_paired() -> None:
    # Both are right on the same two thirds but for one pair: the difference is known far better than either.
    one = (np.arange(300) % 3 > 0).astype(float)
    other = one.copy()
    other[1] = 0.0
    paired = difference_interval(one, other, np.arange(300))
    assert paired.value == pytest.approx(1 / 300)
    assert paired.high < 0.02
    assert difference_interval(other, one, np.arange(300)).value == pytest.approx(-1 / 300)
    same = difference_interval(one, one, np.arange(300))
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_no_pairs_have_no_mean() -> None:
    assert math.isnan(mean_interval(np.zeros(0), np.zeros(0)).value)
    assert math.isnan(average_interval(np.zeros(0), np.zeros(0)).value)


def test_percentiles_by_hand() -> None:
    # 41 samples 0 to 40: 95 % leave 2.5 % of the 40 gaps, one gap, on each side
    assert percentile_interval(np.arange(41.0)[::-1]) == pytest.approx((1.0, 39.0))
    assert percentile_interval(np.arange(41.0), level=0.5) == pytest.approx((10.0, 30.0))


def test_interval_of_mostly_undefined_samples_is_undefined() -> None:
    assert np.isnan(percentile_interval(np.array([np.nan, np.inf, 0.5]))).all()
    assert percentile_interval(np.array([np.nan, 0.5, 0.5])) == (0.5, 0.5)
    assert np.isnan(percentile_interval(np.zeros(0))).all()


def test_only_a_share_at_a_bound_gets_the_exact_limit() -> None:
    inside = Interval(value=0.5, low=0.4, high=0.6)
    assert exact_at_bounds(inside, 10) is inside
    # 0.05 ** (1 / 4) = 0.4729 at 90 %
    assert exact_at_bounds(Interval(value=1.0), 4, level=0.9).low == pytest.approx(0.4729, abs=1e-4)
    assert exact_at_bounds(Interval(value=0.0), 4, level=0.9).high == pytest.approx(0.5271, abs=1e-4)


def test_an_average_is_the_difference_to_nothing_and_has_no_bounds_of_its_own() -> None:
    values, prompt, weight = np.array([7.0, -3.0, 7.0, 2.0]), np.array([5, 5, 8, 2]), np.array([1.0, 2.0, 0.5, 3.0])
    average = average_interval(values, prompt, weight, seed=3)
    assert average == difference_interval(values, np.zeros(4), prompt, weight, seed=3)
    assert average.value == pytest.approx((7 - 6 + 3.5 + 6) / 6.5)
    ones = average_interval(np.ones(10), np.arange(10))
    assert (ones.value, ones.low, ones.high) == (1.0, 1.0, 1.0)


def test_a_figure_of_weights_that_is_a_mean_has_the_interval_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    values, prompt, weight = rng.normal(size=60), rng.integers(20, size=60), rng.uniform(0.5, 2, 60)
    slow = weighted_interval(
        lambda weights: float(np.average(values, weights=weights)), prompt, weight, num_resamples=2000, seed=1
    )
    fast = average_interval(values, prompt, weight, seed=1)
    assert (slow.value, slow.low, slow.high) == pytest.approx((fast.value, fast.low, fast.high))


def test_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(60), 3)
        values = (rng.random(180) < np.repeat(rng.beta(3, 2, 60), 3)).astype(float)  # prompts differ; the mean is 3/5
        interval = mean_interval(values, group, seed=seed)
        hits += interval.low <= 0.6 <= interval.high
    assert 105 <= hits <= 120


def test_bootstrap_takes_any_statistic_and_the_seed_decides() -> None:
    sums = np.array([1.0, 5.0, 2.0])
    one, two, other = (bootstrap_interval(lambda c: (c @ sums) ** 2, np.arange(3), seed=s) for s in (1, 1, 2))
    assert one == two
    assert one.value == 64.0
    assert one.low >= 9.0
    assert other.value == 64.0


def test_quantile_groups_are_equal_in_count() -> None:
    groups = quantile_groups(np.array([5.0, 1.0, 4.0, 2.0, 3.0]), 2)
    assert [group.tolist() for group in groups] == [[1, 3, 4], [2, 0]]
    assert len(quantile_groups(np.zeros(3), 10)) == 3
