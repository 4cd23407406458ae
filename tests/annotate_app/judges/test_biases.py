"""Order, length and own answers: numbers worked by hand, and noise of people that is no bias."""

from __future__ import annotations

import numpy as np
import pytest

from annotate_app.judges.biases import leanings, position_bias


def test_hand_worked_orders() -> None:
    # same twice (b), first both times, second both times, a tie once, asked once
    by_order = np.array([[0.9, 0.8], [0.2, 0.9], [0.7, 0.3], [0.5, 0.9], [0.4, np.nan]])
    bias = position_bias(by_order)
    assert (bias.num_items, bias.num_first, bias.num_second) == (4, 1, 1)
    assert bias.flips.value == pytest.approx(3 / 4)
    # the first answer wins: 1/2, 1, 0, and (1/2 + 1) / 2
    assert bias.first.value == pytest.approx((0.5 + 1 + 0 + 0.75) / 4)
    assert not position_bias(by_order[4:]).num_items
    mirrored = position_bias((1 - by_order)[:, ::-1])
    assert (mirrored.first.value, mirrored.flips.value) == pytest.approx((bias.first.value, bias.flips.value))


def world(num_items: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    """People's probability of b, which length raises; two noisy votes; log lengths."""
    rng = np.random.default_rng(seed)
    lengths = rng.normal(0, 1, num_items)
    people = np.clip(0.5 + 0.15 * lengths + rng.normal(0, 0.15, num_items), 0, 1)
    votes = rng.random((num_items, 2)) < people[:, None]
    counts = np.zeros((num_items, 4), dtype=int)
    counts[:, 1], counts[:, 0] = votes.sum(axis=1), 2 - votes.sum(axis=1)
    return people, counts, lengths, rng


def test_a_judge_that_knows_what_people_think_has_no_length_bias() -> None:
    people, counts, lengths, rng = world(20_000)
    own = np.zeros(len(people))
    lean = leanings(people, counts, lengths, own, num_resamples=0, rng=rng)
    assert lean.follows.value == pytest.approx(1.0, abs=0.05)
    assert lean.length.value == pytest.approx(0.0, abs=0.01)
    assert lean.judge_length.value == pytest.approx(lean.people_length.value, abs=0.01)
    share = counts[:, 1] / 2 - 0.5  # plain least squares takes the noise of two votes for length
    naive = np.linalg.lstsq(np.column_stack([share, lengths]), people - 0.5, rcond=None)[0]
    assert naive[1] > 0.08


def test_length_and_own_answers_are_found_at_their_size_and_apart() -> None:
    people, counts, lengths, rng = world(20_000, seed=1)
    own = np.where(lengths + rng.normal(0, 1, len(people)) > 1, 1, 0) - np.where(lengths < -1.5, 1, 0)
    judge = np.clip(0.5 + 0.5 * (people - 0.5) + 0.05 * lengths + 0.1 * own, 0, 1)
    lean = leanings(judge, counts, lengths, own, num_resamples=0, rng=rng)
    assert lean.follows.value == pytest.approx(0.5, abs=0.05)
    assert lean.length.value == pytest.approx(0.05, abs=0.015)
    assert lean.own.value == pytest.approx(0.1, abs=0.015)
    mirror = leanings(1 - judge, counts[:, [1, 0, 2, 3]], -lengths, -own, num_resamples=0, rng=rng)
    assert mirror.length.value == pytest.approx(lean.length.value)
    assert mirror.own.value == pytest.approx(lean.own.value)


def test_single_votes_say_nothing_of_length() -> None:
    counts = np.tile([1, 0, 0, 0], (50, 1))
    lean = leanings(np.full(50, 0.4), counts, np.ones(50), np.zeros(50), num_resamples=20, rng=np.random.default_rng(0))
    assert lean.num_items == 0
    assert np.isnan(lean.length.value)
