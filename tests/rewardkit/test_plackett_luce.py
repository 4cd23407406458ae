"""The Plackett-Luce likelihood: hand numbers, limits, a naive twin, gradients."""

from __future__ import annotations

import math
from itertools import permutations

import pytest

pytest.importorskip("torch")

import torch

from rewardkit.data.records import Ranks, dense
from rewardkit.losses import bradley_terry_loss, plackett_luce_loss


def loss(rewards: list[float], ranks: Ranks) -> float:
    return float(plackett_luce_loss([torch.tensor(rewards, dtype=torch.float64)], [ranks]).losses[0])


def naive(rewards: list[float], ranks: Ranks) -> float:
    """The mean of -log P over all orders that agree with the ranking, cut after its ranked responses."""
    size = sum(rank is not None for rank in ranks)
    values = []
    for order in permutations(range(len(rewards)), size):
        listed = [ranks[index] for index in order]
        if None in listed or listed != sorted(listed):
            continue
        left, total = set(range(len(rewards))), 0.0
        for index in order:
            total += math.log(sum(math.exp(rewards[other]) for other in left)) - rewards[index]
            left.remove(index)
        values.append(total)
    return sum(values) / len(values)


def test_hand_numbers() -> None:
    # Rewards log 3, log 2, log 1: P(first, second, third) = 3/6 * 2/3 = 1/3; top of one: 3/6.
    rewards = [math.log(3), math.log(2), 0.0]
    assert loss(rewards, (1, 2, 3)) == pytest.approx(math.log(3), abs=1e-6)
    assert loss(rewards, (1, None, None)) == pytest.approx(math.log(2), abs=1e-6)
    # Third first, the others tied: 1/6, then the mean of log 3/5 and log 2/5.
    expected = math.log(6) + (math.log(5 / 3) + math.log(5 / 2)) / 2
    assert loss(rewards, (2, 2, 1)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("ranks", [(1, 2), (2, 1), (1, 1), (1, None), (None, 1)])
def test_two_responses_are_bradley_terry_in_value_and_gradient(ranks: Ranks) -> None:
    rewards = torch.tensor([0.7, -0.4], requires_grad=True)
    ours = plackett_luce_loss([rewards], [ranks]).losses[0]
    [gradient] = torch.autograd.grad(ours, rewards)
    first = torch.tensor({(1, 1): [0.5], (2, 1): [0.0], (None, 1): [0.0]}.get(ranks, [1.0]))
    pair = bradley_terry_loss(rewards[:1], rewards[1:], p_chosen=first).losses[0]
    [expected] = torch.autograd.grad(pair, rewards)
    assert float(ours.detach()) == pytest.approx(float(pair.detach()), abs=1e-6)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(
    "ranks", [(3, 1, 2, 4), (1, 1, 1, 1), (2, 1, 2, None), (1, 1, None, None), (None, 2, 1, 2), (1, 2, 2, 2)]
)
def test_the_naive_twin_says_the_same(ranks: Ranks) -> None:
    rewards = [0.3, -1.2, 2.0, 0.1]
    assert loss(rewards, ranks) == pytest.approx(naive(rewards, ranks), abs=1e-5)
    shifted = [value + 3.0 for value in rewards]
    assert loss(shifted, ranks) == pytest.approx(loss(rewards, ranks), abs=1e-5)
    turned = loss(rewards[::-1], ranks[::-1])
    assert turned == pytest.approx(loss(rewards, ranks), abs=1e-6)


def test_all_orders_have_probability_one_together_and_so_do_all_tops() -> None:
    rewards = [0.3, -1.2, 2.0, 0.1]
    orders = [dense([order.index(index) for index in range(4)]) for order in permutations(range(4))]
    assert sum(math.exp(-loss(rewards, ranks)) for ranks in orders) == pytest.approx(1.0, abs=1e-5)
    tops = [tuple(1 if i == a else 2 if i == b else None for i in range(4)) for a, b in permutations(range(4), 2)]
    assert sum(math.exp(-loss(rewards, ranks)) for ranks in tops) == pytest.approx(1.0, abs=1e-5)


def test_rankings_of_many_lengths_come_in_one_batch_with_their_gradients() -> None:
    rewards = [torch.tensor([0.2, 0.9, -0.3], requires_grad=True), torch.tensor([1.0, 0.0, 0.4, -2.0, 0.3])]
    result = plackett_luce_loss(rewards, [(2, 1, 3), (1, 2, 2, None, None)])
    assert result.losses.shape == (2,)
    # The first puts all three pairs right; of the second, with 1 > 2 > 4, 5 and 1 > 3 > 4, 5: 6 of 8 but for the tie
    # (0.0 > -2.0, 0.4 > -2.0, 0.4 > 0.3 and 1.0 above all are right, 0.0 > 0.3 is not): 7 of 8.
    assert result.concordances.tolist() == pytest.approx([1.0, 7 / 8])


@pytest.mark.parametrize("ranks", [(2, 1, 2, None), (4, 3, 2, 1), (1, 1, 1, None)])
def test_the_gradient_is_that_of_the_naive_twin(ranks: Ranks) -> None:
    values, step = [0.2, 0.9, -0.3, 0.5], 1e-6
    rewards = torch.tensor(values, requires_grad=True)
    [gradient] = torch.autograd.grad(plackett_luce_loss([rewards], [ranks]).losses.sum(), rewards)
    for place in range(4):
        up, down = ([value + sign * step * (at == place) for at, value in enumerate(values)] for sign in (1, -1))
        slope = (naive(up, ranks) - naive(down, ranks)) / (2 * step)
        assert float(gradient[place]) == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize(
    ("ranks", "problem"),
    [((1, 2), "2 entries, allowed are 3"), ((None, None, None), "all null"), ((0, 1, 2), "whole numbers from 1")],
)
def test_ranks_that_are_none_are_refused(ranks: Ranks, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        plackett_luce_loss([torch.zeros(3)], [ranks])
