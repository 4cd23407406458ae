from __future__ import annotations

import math

import numpy as np
import pytest

from rewardkit.stats.metrics import mean_interval
from rewardkit.stats.prediction_powered import corrected_mean, prediction_powered_mean

NAN = math.nan


def study(
    rng: np.random.Generator,
    *,
    num_people: int,
    num_judge: int,
    win: float = 0.6,
    accuracy: float = 0.85,
    lean: float = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """People's votes (NaN beyond num_people) and a judge's that repeats them with a probability and leans to 1."""
    size = num_people + num_judge
    votes = (rng.random(size) < win).astype(float)
    judge = np.where(rng.random(size) < accuracy, votes, 1 - votes)
    judge = np.where(rng.random(size) < lean, 1.0, judge)
    return np.where(np.arange(size) < num_people, votes, NAN), judge


def test_hand_worked_estimate_and_lambda() -> None:
    # People on 12 units: 8 ones; the judge says 1 on 9 of them (8 right, 1 wrong) and on 6 of its own 12.
    people = np.array([1.0] * 8 + [0.0] * 4 + [NAN] * 12)
    judge = np.array([1.0] * 9 + [0.0] * 3 + [1.0] * 6 + [0.0] * 6)
    # cov n = 8 - 8*9/12 = 2; var n: 9*3/12 = 2.25 and 6*6/12 = 3 (both over 12^2); lambda = 2 / 5.25
    result = prediction_powered_mean(people, judge)
    assert result.lam == pytest.approx(2 / 5.25)
    assert result.powered.value == pytest.approx(8 / 12 - 2 / 5.25 * (9 / 12 - 6 / 12))
    assert (result.num_people, result.num_both, result.num_judge_only) == (12, 12, 12)
    assert result.bias.value == pytest.approx(1 / 12)
    # var (a - lambda b) = 8*4/12 - 2^2/5.25 = 1.904762, over 12^2, times 12/10; t of 10 degrees is 2.228139.
    # They differ on one unit of 12, fewer than LEAST, so the difference's exact bounds come on top.
    reach = 2.228139 * math.sqrt(1.904762 / 144 * 12 / 10)
    assert result.powered.high - result.powered.value > reach
    fixed = prediction_powered_mean(np.tile(people, 12), np.tile(judge, 12))  # differs on 12
    error = math.sqrt(1.904762 * 12 / 144**2 * 144 / 142)
    assert fixed.powered.high - fixed.powered.value == pytest.approx(1.976811 * error, rel=1e-5)
    assert fixed.powered.value == pytest.approx(result.powered.value)


def test_without_weight_of_the_judge_it_is_the_interval_of_people() -> None:
    people, judge = study(np.random.default_rng(0), num_people=80, num_judge=400)
    result = prediction_powered_mean(people, judge, lam=0.0)
    assert result.powered == result.people == mean_interval(people[:80], np.arange(80))
    assert (result.lam, result.gain) == (0.0, 1.0)


def test_judge_that_says_nothing_or_the_opposite_costs_nothing() -> None:
    rng = np.random.default_rng(1)
    people, judge = study(rng, num_people=200, num_judge=2000, accuracy=0.1)
    assert prediction_powered_mean(people, judge).powered == prediction_powered_mean(people, judge).people
    constant = prediction_powered_mean(people, np.full(2200, 0.7))
    assert constant.powered == constant.people


def test_perfect_judge_gives_nearly_its_own_interval() -> None:
    people, judge = study(np.random.default_rng(2), num_people=400, num_judge=8000, accuracy=1.0)
    result = prediction_powered_mean(people, judge)
    assert result.lam == pytest.approx(20 / 21, abs=0.02)  # 1 / (1 + n / N)
    assert result.powered.value == pytest.approx(result.judge.value, abs=5e-3)
    width = result.powered.high - result.powered.low
    assert width < 0.4 * (result.people.high - result.people.low)
    assert result.gain > 6


def test_few_perfect_answers_do_not_prove_a_perfect_judge() -> None:
    people, judge = study(np.random.default_rng(3), num_people=12, num_judge=2000, accuracy=1.0)
    result = prediction_powered_mean(people, judge)
    assert result.powered.high - result.powered.low > 0.3  # three of twelve unlike the judge are not excluded


def test_fewer_than_ten_units_of_people_leave_the_judge_out() -> None:
    people, judge = study(np.random.default_rng(4), num_people=9, num_judge=500)
    result = prediction_powered_mean(people, judge)
    assert (result.lam, result.powered) == (0.0, result.people)


def test_exchange_of_the_two_sides_mirrors_everything() -> None:
    people, judge = study(np.random.default_rng(5), num_people=150, num_judge=900, lean=0.2)
    one, other = prediction_powered_mean(people, judge), prediction_powered_mean(1 - people, 1 - judge)
    assert other.lam == pytest.approx(one.lam)
    assert (other.powered.value, other.powered.low, other.powered.high) == pytest.approx(
        (1 - one.powered.value, 1 - one.powered.high, 1 - one.powered.low)
    )
    order = np.random.default_rng(0).permutation(len(people))
    turned = prediction_powered_mean(people[order], judge[order], np.arange(len(people))[order])
    assert turned.powered.low == pytest.approx(one.powered.low)


def test_units_of_one_cluster_are_no_more_than_one() -> None:
    people, judge = study(np.random.default_rng(6), num_people=120, num_judge=600)
    single = prediction_powered_mean(people, judge)
    copies = prediction_powered_mean(np.tile(people, 3), np.tile(judge, 3), np.tile(np.arange(720), 3))
    assert copies.powered.low == pytest.approx(single.powered.low)
    assert copies.lam == pytest.approx(single.lam)
    believed = prediction_powered_mean(np.tile(people, 3), np.tile(judge, 3))
    assert believed.powered.low > single.powered.low


def test_a_unit_of_two_votes_weighs_as_two() -> None:
    people, judge = study(np.random.default_rng(7), num_people=60, num_judge=300)
    weight = np.where(np.arange(360) % 2, 2.0, 1.0)
    weighed = prediction_powered_mean(people, judge, weight=weight)
    seen = np.flatnonzero(~np.isnan(people))
    again = np.concatenate([np.arange(360), seen[weight[seen] == 2]])
    copied = prediction_powered_mean(people[again], judge[again], again)
    assert weighed.powered.value == pytest.approx(copied.powered.value)
    assert weighed.lam == pytest.approx(copied.lam)


@pytest.mark.parametrize(
    ("num_people", "accuracy", "lean"), [(200, 0.9, 0.0), (200, 0.85, 0.4), (40, 0.85, 0.2), (40, 0.5, 0.0)]
)
def test_the_interval_holds_in_95_of_100_studies(num_people: int, accuracy: float, lean: float) -> None:
    rng, win, num_studies = np.random.default_rng(8), 0.6, 600
    held, gains = 0, []
    for _ in range(num_studies):
        people, judge = study(rng, num_people=num_people, num_judge=1000, win=win, accuracy=accuracy, lean=lean)
        weight = np.nan_to_num(people * 0 + 1)
        corrected, _ = corrected_mean(people, judge, np.arange(len(people)), weight)
        if corrected is None:  # lambda 0: people's own interval, tested with `mean_interval`
            held += 0.95
            continue
        held += corrected.low <= win <= corrected.high
        gains.append(2 * 1.96 * math.sqrt(win * (1 - win) / num_people) / (corrected.high - corrected.low))
    slack = 3 * math.sqrt(0.95 * 0.05 / num_studies)
    assert held / num_studies >= 0.95 - slack
    if num_people == 200:  # of 40 the judge differs on too few, which widens the interval
        assert held / num_studies <= 0.95 + slack
    if accuracy == 0.9:
        assert np.mean(gains) > 1.3
    assert np.mean(gains) > 0.85


def test_the_judge_alone_does_not_hold_where_it_leans() -> None:
    people, judge = study(np.random.default_rng(9), num_people=300, num_judge=3000, win=0.5, lean=0.4)
    result = prediction_powered_mean(people, judge)
    assert result.judge.against(0.6) == 1
    assert result.bias.against(0.1) == 1
    assert result.powered.against(0.5) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"people": np.array([0.5, 1.5])}, "people has the value 1.5, allowed is 0 to 1"),
        ({"judge": np.array([-0.5, 0.5])}, "judge has the value -0.5"),
        ({"judge": np.array([0.5])}, "lengths 2, 1, 2, 2"),
        ({"lam": 1.5}, "lam is 1.5, allowed is 0 to 1"),
    ],
)
def test_bad_input_is_named(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        prediction_powered_mean(**({"people": np.array([0.0, 1.0]), "judge": np.array([0.0, 1.0])} | change))
