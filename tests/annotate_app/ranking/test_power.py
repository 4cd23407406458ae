"""How much labeling a figure takes: by hand, and by simulating that much labeling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from annotate_app.ranking.power import (
    VotingHabits,
    gain_power,
    held_out_pairs,
    measure_habits,
    pairs_needed,
    seen_gain,
    vote_variance,
    win_rate_power,
)
from annotate_app.ranking.win_rates import win_rate
from annotate_app.votes import Votes

HABITS = VotingHabits(tie_share=0.2, correlation=0.4, seconds=30)


def votes_of(make_votes: Callable[..., Votes], triples: list[tuple[str, str, str]]) -> Votes:
    """From annotator, item and choice."""
    annotators, items, choices = zip(*triples, strict=True)
    return make_votes(items, annotators, choices)


def test_variance_and_pairs_by_hand() -> None:
    # wins 0.5, ties 0.2, losses 0.3: E w = 0.6, E w^2 = 0.5 + 0.05 = 0.55, variance 0.55 - 0.36 = 0.19
    assert vote_variance(0.6, 0.2) == pytest.approx(0.19)
    # one vote: 1.96^2 0.19 / 0.05^2 = 291.96; three: times (1 + 2 0.4) / 3 = 0.6, 175.2
    assert pairs_needed(0.05, win_rate=0.6, habits=HABITS, overlap=1) == 292
    assert pairs_needed(0.05, win_rate=0.6, habits=HABITS, overlap=3) == 176
    assert pairs_needed(0.4, win_rate=0.6, habits=HABITS, overlap=1) == 10  # fewer are no interval


def test_equal_votes_on_a_comparison_add_nothing_and_independent_ones_all() -> None:
    same, apart = (replace(HABITS, correlation=rho) for rho in (1.0, 0.0))
    one = pairs_needed(0.02, win_rate=0.5, habits=same, overlap=1)
    assert pairs_needed(0.02, win_rate=0.5, habits=same, overlap=5) == one
    assert pairs_needed(0.02, win_rate=0.5, habits=apart, overlap=5) == math.ceil(one / 5)


def test_the_least_work_is_advised_that_the_pairs_allow() -> None:
    power = win_rate_power(0.05, HABITS, win_rate=0.6, hours_each=1.0)
    assert power.advised is not None
    # 292 votes of half a minute are 146 minutes: three people of an hour
    assert (power.advised.pairs, power.advised.overlap, power.advised.minutes) == (292, 1, 146.0)
    assert power.advised.annotators == 3
    assert "label 292 pairs with one vote each: 146 minutes of work, 3 people" in power.sentence()
    fewer = win_rate_power(0.05, HABITS, win_rate=0.6, available=200)
    assert fewer.advised is not None
    assert (fewer.advised.pairs, fewer.advised.overlap, fewer.advised.annotators) == (176, 3, 3)
    assert win_rate_power(0.05, HABITS, available=100).advised is None


@pytest.mark.parametrize("overlap", [1, 3])
def test_the_interval_at_the_advised_size_covers_and_is_as_wide_as_asked(overlap: int) -> None:
    """Votes of a comparison are one draw for all with probability rho, else apart: so they correlate by rho."""
    within, rate = 0.06, 0.6
    num_pairs = pairs_needed(within, win_rate=rate, habits=HABITS, overlap=overlap)
    rng = np.random.default_rng(5)
    shares = np.array([0.5, 0.3, 0.2])  # won, lost, tied
    covered, reaches = [], []
    for _ in range(400):
        votes = rng.choice(3, size=(num_pairs, overlap), p=shares)
        together = rng.random(num_pairs) < HABITS.correlation
        votes[together] = votes[together, :1]
        counts = np.stack([*((votes == answer).sum(axis=1) for answer in range(3)), np.zeros(num_pairs, int)], axis=1)
        found = win_rate("m", "n", counts, 400, rng).rate
        covered.append(found.low <= rate <= found.high)
        reaches.append((found.high - found.low) / 2)
    # 95 % of 400 has a standard error of 1.1 points; percentiles of a bootstrap lie a little below
    assert 0.92 <= np.mean(covered) <= 0.98
    assert np.mean(reaches) == pytest.approx(within, rel=0.05)


def test_habits_are_measured_from_votes(make_votes: Callable[..., Votes]) -> None:
    # ten comparisons of two votes: five agree (aa, bb), three oppose, two are a with a tie
    rows = [("aa", 3), ("bb", 2), ("ab", 3), ("a=", 2)]
    words = {"a": "a", "b": "b", "=": "tie"}
    triples = [
        (str(number), f"i{place}", words[answer])
        for place, answers in enumerate(answers for answers, times in rows for _ in range(times))
        for number, answer in enumerate(answers)
    ]
    habits = measure_habits(votes_of(make_votes, triples))
    assert habits.tie_share == pytest.approx(2 / 20)
    assert (habits.num_votes, habits.num_paired) == (20, 10)
    # products of two: 5 times 1/4, 3 times -1/4, 2 times 0: mean 0.05; squares: 18 of 20 votes 1/4: mean 0.225
    assert habits.correlation == pytest.approx(0.05 / 0.225)


def test_too_few_comparisons_of_two_votes_leave_it_assumed(make_votes: Callable[..., Votes]) -> None:
    habits = measure_habits(votes_of(make_votes, [("x", "i1", "a"), ("y", "i1", "a")]))
    assert (habits.correlation, habits.num_paired) == (0.5, 0)
    assert "assumed" in habits.words()


def test_correlation_is_found_again_in_simulated_votes(make_votes: Callable[..., Votes]) -> None:
    rng = np.random.default_rng(1)
    triples = []
    for item in range(2000):
        shared = rng.random() < 0.4
        first, second = rng.choice(["a", "b", "tie"], size=2, p=[0.45, 0.45, 0.1])
        triples += [("x", f"i{item}", first), ("y", f"i{item}", first if shared else second)]
    assert measure_habits(votes_of(make_votes, triples)).correlation == pytest.approx(0.4, abs=0.05)


def test_a_gain_against_single_votes_by_simulation() -> None:
    """Votes right 80 % of the time correlate by 0.36, and show 0.6 of a gain."""
    rng = np.random.default_rng(2)
    truth = rng.random(200_000) < 0.5
    votes = np.where(rng.random((2, 200_000)) < 0.8, truth, ~truth)
    correlation = float(np.corrcoef(votes)[0, 1])
    agreement = [
        float((np.where(rng.random(200_000) < accuracy, truth, ~truth) == votes[0]).mean()) for accuracy in (0.7, 0.75)
    ]
    assert seen_gain(0.05, correlation) == pytest.approx(0.05 * 0.6, rel=0.02)
    assert agreement[1] - agreement[0] == pytest.approx(0.03, abs=0.005)


def test_held_out_pairs_by_hand_and_by_simulation() -> None:
    # (1.95996 sqrt 0.2 + 0.84162 sqrt(0.2 - 0.0025))^2 / 0.05^2 = (0.87652 + 0.37402)^2 / 0.0025 = 625.5
    number = held_out_pairs(0.05, differ=0.2)
    assert number == 626
    rng = np.random.default_rng(3)
    better, worse = rng.multinomial(number, [0.125, 0.075, 0.8], size=4000)[:, :2].T
    shown = (better - worse) / np.sqrt(better + worse) > 1.96
    assert shown.mean() == pytest.approx(0.8, abs=0.03)


def test_a_gain_takes_pairs_by_doublings() -> None:
    habits = replace(HABITS, correlation=1.0, seconds=60.0)
    power = gain_power(0.022, habits, pairs=1000, differ=0.2, per_doubling=0.011)
    assert power.train_pairs == pytest.approx(3000)  # twice doubled: 4,000
    assert power.minutes == pytest.approx(3000 + power.held_out)
    assert gain_power(0.02, habits, pairs=1000, per_doubling=0.0).train_pairs == math.inf


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"within is 0.5, allowed is between 0 and 0.5"):
        pairs_needed(0.5, win_rate=0.5, habits=HABITS, overlap=1)
    with pytest.raises(ValueError, match=r"a win rate of 0.95 cannot have a share of ties of 0.2"):
        vote_variance(0.95, 0.2)
    with pytest.raises(ValueError, match=r"the models differ on 0.01"):
        held_out_pairs(0.05, differ=0.01)
    with pytest.raises(ValueError, match=r"correlation of votes is 1.2"):
        VotingHabits(tie_share=0, correlation=1.2, seconds=1)
