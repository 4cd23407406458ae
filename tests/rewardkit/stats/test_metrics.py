"""Figures on preferences, by hand-worked numbers, scikit-learn, slow twins and limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from rewardkit.stats.calibration import brier_score, calibration_bins, expected_calibration_error
from rewardkit.stats.metrics import (
    Interval,
    auroc,
    auroc_interval,
    average_interval,
    bootstrap_interval,
    bootstrap_intervals,
    correctness,
    difference_interval,
    mean_interval,
    negative_log_likelihood,
    percentile_interval,
    quantile_groups,
    rarer_kind,
    risk_coverage,
    share_difference_interval,
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
    # 30 prompts, every third wrong; doubling the weight of the right ones moves 2/3 to 4/5 and the interval with it
    values = (np.arange(30) % 3 > 0).astype(float)
    plain, heavy = (mean_interval(values, np.arange(30), 1 + times * values) for times in (0, 1))
    assert heavy.value == pytest.approx(0.8)
    assert heavy.low > plain.low
    # what weighs nothing is no prompt: three left, an interval by three
    few = mean_interval(values, np.arange(30), (np.arange(30) < 3).astype(float))
    assert few == mean_interval(values[:3], np.arange(3))


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
    paired = share_difference_interval(one, other, np.arange(300))
    assert paired.value == pytest.approx(1 / 300)
    assert -0.02 < paired.low < 0 < paired.high < 0.025
    turned = share_difference_interval(other, one, np.arange(300))
    assert (turned.value, turned.low, turned.high) == pytest.approx((-paired.value, -paired.high, -paired.low))
    # 0 of 300 differ: at most 1 - 0.0125 ** (1 / 300) = 0.0145 of all do, either way
    same = share_difference_interval(one, one, np.arange(300))
    assert (same.value, same.low, same.high) == pytest.approx((0.0, -0.0145, 0.0145), abs=1e-4)


def test_no_pairs_have_no_mean() -> None:
    assert math.isnan(mean_interval(np.zeros(0), np.zeros(0)).value)
    assert math.isnan(average_interval(np.zeros(0), np.zeros(0)).value)


def test_percentiles_by_hand() -> None:
    # 41 samples 0 to 40: 95 % leave 2.5 % of the 40 gaps, one gap, on each side
    assert percentile_interval(np.arange(41.0)[::-1]) == pytest.approx((1.0, 39.0))
    assert percentile_interval(np.arange(41.0), level=0.5) == pytest.approx((10.0, 30.0))


def test_interval_of_mostly_undefined_samples_is_undefined() -> None:
    assert np.isnan(percentile_interval(np.array([np.nan, np.inf, 0.5]))).all()
    assert percentile_interval(np.array([np.nan, 0.5, 0.7]), level=1.0) == (0.5, 0.7)
    assert np.isnan(percentile_interval(np.zeros(0))).all()


def test_resamples_without_a_difference_are_no_interval() -> None:
    assert np.isnan(percentile_interval(np.full(500, 0.5))).all()
    assert np.isnan(percentile_interval(np.append(np.full(999, 1 / 3), 1.0))).all()  # one of a thousand is no spread


def test_pairs_of_one_prompt_are_one_thing_known() -> None:
    # three pairs, two right, of one prompt: Beta quantiles of (2/3, 4/3) and (5/3, 1/3) by scipy
    interval = mean_interval(np.array([1.0, 0.0, 1.0]), np.zeros(3))
    assert (interval.value, interval.low, interval.high) == pytest.approx((2 / 3, 0.0029, 0.9999), abs=1e-4)
    # one is right on one of three where the other is on two: nobody is better
    difference = share_difference_interval(np.array([1.0, 0, 0]), np.array([1.0, 1, 0]), np.zeros(3))
    assert difference.value == pytest.approx(-1 / 3)
    assert difference.low < -0.95
    assert difference.high > 0.9
    assert difference.against(0) == 0


def test_a_share_that_no_prompt_differs_from_has_width() -> None:
    # a model that rewards all alike is half right on each of 40 prompts: 20 of 40, Clopper and Pearson
    interval = mean_interval(np.full(40, 0.5), np.arange(40))
    assert (interval.low, interval.high) == pytest.approx((0.3380, 0.6620), abs=1e-4)


def test_few_misses_among_many_are_counted_exactly() -> None:
    # 147 of 150: Clopper and Pearson .9427 to .9959, where resamples would reach 1
    interval = mean_interval((np.arange(150) > 2).astype(float), np.arange(150))
    assert (interval.low, interval.high) == pytest.approx((0.9427, 0.9959), abs=1e-4)


def test_one_prompt_that_outweighs_all_others_is_one_prompt() -> None:
    prompt = np.concatenate((np.zeros(500), np.arange(1, 21)))
    interval = mean_interval(np.concatenate((np.ones(500), np.zeros(20))), prompt)
    assert interval.value == pytest.approx(500 / 520)
    assert interval.low < 0.1


def test_few_differences_among_many_pairs_name_no_winner() -> None:
    one = np.ones(200)
    other = np.where(np.arange(200) < 4, 0.0, 1.0)  # better on all 4 on which they differ: sign test p = 0.125
    assert share_difference_interval(one, other, np.arange(200)).against(0) == 0
    other = np.where(np.arange(200) < 12, 0.0, 1.0)
    assert share_difference_interval(one, other, np.arange(200)).against(0) == 1
    assert share_difference_interval(other, one, np.arange(200)).against(0) == -1


def test_few_prompts_have_students_interval_of_a_mean() -> None:
    # 1, 2, 3, 4: mean 2.5, standard error sqrt(5 / 3 / 4) = 0.6455, t of 3 degrees 3.1824
    interval = average_interval(np.array([1.0, 2.0, 3.0, 4.0]), np.arange(4))
    assert (interval.value, interval.low, interval.high) == pytest.approx((2.5, 0.4457, 4.5543), abs=1e-4)
    one = average_interval(np.array([1.0, 2.0, 3.0]), np.zeros(3))
    assert one.value == 2.0
    assert not one.is_known


def test_three_pairs_say_little_of_an_auroc() -> None:
    scores, positive = np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.0, 0.0])
    # one error: at most 1 - 0.025 of what one unit can show
    interval = auroc_interval(scores, positive, np.arange(3))
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.0, 0.0, 0.975))
    together = auroc_interval(scores, positive, np.zeros(3))
    assert together.against(0.5) == 0
    assert np.isnan(auroc_interval(scores, np.ones(3), np.arange(3)).value)
    assert rarer_kind(positive, np.arange(3)) == 1.0
    assert rarer_kind(np.array([1.0, 0, 0, 1]), np.array([0, 1, 2, 0])) == 1.0  # both errors are of one prompt


def test_a_perfect_auroc_of_many_pairs_has_a_lower_bound() -> None:
    scores = np.arange(60.0)
    interval = auroc_interval(scores, (scores >= 40).astype(float), np.arange(60))
    assert (interval.value, interval.high) == (1.0, 1.0)
    assert interval.low == pytest.approx(0.025 ** (1 / 20))


def test_an_interval_says_on_which_side_it_lies() -> None:
    assert Interval(value=0.6, low=0.55, high=0.65).against(0.5) == 1
    assert Interval(value=0.4, low=0.385, high=0.424).against(0.5) == -1
    assert Interval(value=0.4, low=0.385, high=0.524).against(0.5) == 0
    assert Interval(value=0.9).against(0.5) == 0
    assert not Interval(value=0.9).is_known


def test_an_average_is_the_difference_to_nothing_and_has_no_bounds_of_its_own() -> None:
    values, prompt, weight = np.array([7.0, -3.0, 7.0, 2.0]), np.array([5, 5, 8, 2]), np.array([1.0, 2.0, 0.5, 3.0])
    average = average_interval(values, prompt, weight, seed=3)
    assert average == difference_interval(values, np.zeros(4), prompt, weight, seed=3)
    assert average.value == pytest.approx((7 - 6 + 3.5 + 6) / 6.5)
    for num_prompts in (3, 10):  # nothing varied: how far it could is not known
        ones = average_interval(np.ones(num_prompts), np.arange(num_prompts))
        assert ones.value == 1.0
        assert not ones.is_known


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
    sums = np.arange(12.0)
    one, two, other = (bootstrap_interval(lambda c: (c @ sums) ** 2, np.arange(12), seed=s) for s in (1, 1, 2))
    assert one == two
    assert one.value == 66.0**2
    assert one.low < 66.0**2 < one.high
    assert other.value == 66.0**2
    assert other != one


def test_fewer_than_ten_prompts_have_no_bootstrap() -> None:
    sums = np.array([1.0, 5.0, 2.0])
    interval = bootstrap_interval(lambda counts: counts @ sums, np.arange(3))
    assert interval.value == 8.0
    assert not interval.is_known


def test_quantile_groups_are_equal_in_count() -> None:
    groups = quantile_groups(np.array([5.0, 1.0, 4.0, 2.0, 3.0]), 2)
    assert [group.tolist() for group in groups] == [[1, 3, 4], [2, 0]]
    assert len(quantile_groups(np.zeros(3), 10)) == 3
