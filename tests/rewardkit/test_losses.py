"""Preference likelihoods: numbers worked by hand, symmetries, limits, gradients."""

from __future__ import annotations

import math

import pytest
import torch

from rewardkit.losses import (
    bradley_terry_loss,
    centring_penalty,
    crowd_bradley_terry_loss,
    davidson_loss,
    rao_kupper_loss,
)

LN3 = math.log(3.0)


def test_bradley_terry_by_hand() -> None:
    # d = ln 3: sigma(d) = 3/4, sigma(-d) = 1/4
    result = bradley_terry_loss(torch.tensor([LN3, 0.0]), torch.tensor([0.0, LN3]))
    assert result.losses.tolist() == pytest.approx([-math.log(0.75), -math.log(0.25)], abs=1e-6)
    assert result.accuracies.tolist() == [1.0, 0.0]


def test_soft_labels_by_hand() -> None:
    # p = 0.6 at d = ln 3: -(0.6 ln 0.75 + 0.4 ln 0.25)
    result = bradley_terry_loss(torch.tensor([LN3]), torch.tensor([0.0]), p_chosen=torch.tensor([0.6]))
    assert result.losses.item() == pytest.approx(-(0.6 * math.log(0.75) + 0.4 * math.log(0.25)), abs=1e-6)


def test_margin_by_hand() -> None:
    # d = 2 ln 3, m = ln 3: sigma(d - m) = 3/4
    result = bradley_terry_loss(torch.tensor([2 * LN3]), torch.tensor([0.0]), margin=torch.tensor([LN3]))
    assert result.losses.item() == pytest.approx(-math.log(0.75), abs=1e-6)


def test_label_smoothing_equals_a_softer_label() -> None:
    chosen, rejected = torch.randn(2, 20, generator=torch.Generator().manual_seed(0))
    smoothed = bradley_terry_loss(chosen, rejected, label_smoothing=0.1)
    soft = bradley_terry_loss(chosen, rejected, p_chosen=torch.full((20,), 0.9))
    torch.testing.assert_close(smoothed.losses, soft.losses)


def test_label_smoothing_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.5"):
        bradley_terry_loss(torch.zeros(1), torch.zeros(1), label_smoothing=0.5)


@pytest.mark.parametrize("margin", [0.0, 0.7])
def test_exchanging_the_completions_leaves_the_loss_unchanged(margin: float) -> None:
    generator = torch.Generator().manual_seed(1)
    chosen, rejected, p = torch.randn(20, generator=generator), torch.randn(20, generator=generator), torch.rand(20)
    asked = torch.full((20,), margin)
    there = bradley_terry_loss(chosen, rejected, p_chosen=p, margin=asked)
    back = bradley_terry_loss(rejected, chosen, p_chosen=1 - p, margin=asked)
    torch.testing.assert_close(there.losses, back.losses)
    torch.testing.assert_close(there.margins, -back.margins)


def test_a_tied_label_has_no_gradient_at_equal_rewards() -> None:
    chosen, rejected = torch.zeros(1, requires_grad=True), torch.zeros(1)
    bradley_terry_loss(chosen, rejected, p_chosen=torch.tensor([0.5])).losses.sum().backward()
    assert chosen.grad is not None
    assert chosen.grad.item() == 0.0


def test_far_apart_rewards_stay_finite() -> None:
    result = bradley_terry_loss(torch.tensor([-500.0]), torch.tensor([500.0]))
    assert result.losses.item() == pytest.approx(1000.0)


def test_rao_kupper_by_hand() -> None:
    # d = 0, theta = 2 (t = ln 2): P(chosen) = 1/(1+2) = 1/3, P(tie) = (4-1)/9 = 1/3
    shares = torch.eye(3)
    zeros = torch.zeros(3)
    result = rao_kupper_loss(zeros, zeros, outcome_shares=shares, tie_threshold=torch.tensor(math.log(2.0)))
    assert result.losses.tolist() == pytest.approx([math.log(3.0)] * 3, abs=1e-6)


def test_davidson_by_hand() -> None:
    # d = 2 ln 2, nu = 1: weights 2, 1, 1/2 -> probabilities 4/7, 2/7, 1/7
    d = torch.full((3,), 2 * math.log(2.0))
    result = davidson_loss(d, torch.zeros(3), outcome_shares=torch.eye(3), log_tie=torch.tensor(0.0))
    assert result.losses.tolist() == pytest.approx([-math.log(4 / 7), -math.log(2 / 7), -math.log(1 / 7)], abs=1e-6)


@pytest.mark.parametrize("d", [-3.0, -0.2, 0.0, 1.5])
def test_outcome_probabilities_sum_to_one(d: float) -> None:
    chosen, zeros = torch.full((3,), d), torch.zeros(3)
    rao = rao_kupper_loss(chosen, zeros, outcome_shares=torch.eye(3), tie_threshold=torch.tensor(0.4))
    davidson = davidson_loss(chosen, zeros, outcome_shares=torch.eye(3), log_tie=torch.tensor(-0.7))
    assert (-rao.losses).exp().sum().item() == pytest.approx(1.0, abs=1e-6)
    assert (-davidson.losses).exp().sum().item() == pytest.approx(1.0, abs=1e-6)


def test_ties_that_never_happen_leave_bradley_terry() -> None:
    chosen, rejected = torch.randn(2, 10, generator=torch.Generator().manual_seed(2))
    shares = torch.tensor([[1.0, 0.0, 0.0]]).repeat(10, 1)
    expected = bradley_terry_loss(chosen, rejected).losses
    rao = rao_kupper_loss(chosen, rejected, outcome_shares=shares, tie_threshold=torch.tensor(1e-7))
    davidson = davidson_loss(chosen, rejected, outcome_shares=shares, log_tie=torch.tensor(-40.0))
    torch.testing.assert_close(davidson.losses, expected)
    torch.testing.assert_close(rao.losses, expected, atol=1e-5, rtol=1e-5)


def test_crowd_by_hand() -> None:
    # q = 3/4, sigma(d) = 3/4: P = 3/4 * 3/4 + 1/4 * 1/4 = 10/16
    result = crowd_bradley_terry_loss(torch.tensor([LN3]), torch.zeros(1), reliability_logits=torch.tensor([LN3]))
    assert result.losses.item() == pytest.approx(-math.log(10 / 16), abs=1e-6)


def test_a_perfect_annotator_leaves_bradley_terry_and_a_coin_says_nothing() -> None:
    chosen, rejected = torch.randn(2, 10, generator=torch.Generator().manual_seed(3))
    perfect = crowd_bradley_terry_loss(chosen, rejected, reliability_logits=torch.full((10,), 60.0))
    torch.testing.assert_close(perfect.losses, bradley_terry_loss(chosen, rejected).losses)
    coin = crowd_bradley_terry_loss(chosen, rejected, reliability_logits=torch.zeros(10))
    torch.testing.assert_close(coin.losses, torch.full((10,), math.log(2.0)))


def test_an_annotator_who_inverts_is_read_backwards() -> None:
    chosen, rejected = torch.randn(2, 10, generator=torch.Generator().manual_seed(4))
    logits = torch.full((10,), 1.3)
    there = crowd_bradley_terry_loss(chosen, rejected, reliability_logits=-logits)
    back = crowd_bradley_terry_loss(rejected, chosen, reliability_logits=logits)
    torch.testing.assert_close(there.losses, back.losses)


def test_centring_by_hand_and_only_it_feels_a_constant() -> None:
    chosen, rejected = torch.tensor([1.0, -2.0]), torch.tensor([2.0, 2.0])
    assert centring_penalty(chosen, rejected).tolist() == [9.0, 0.0]
    moved = bradley_terry_loss(chosen + 5, rejected + 5).losses
    torch.testing.assert_close(moved, bradley_terry_loss(chosen, rejected).losses)
    assert centring_penalty(chosen + 5, rejected + 5).tolist() != [9.0, 0.0]


def numeric_gradient(function, at: torch.Tensor, step: float = 1e-2) -> torch.Tensor:
    gradient = torch.zeros_like(at)
    for index in range(len(at)):
        offset = torch.zeros_like(at)
        offset[index] = step
        gradient[index] = (function(at + offset) - function(at - offset)) / (2 * step)
    return gradient


@pytest.mark.parametrize(
    "loss",
    [
        lambda r: bradley_terry_loss(r, torch.zeros(4), p_chosen=torch.tensor([1.0, 0.7, 0.5, 0.9])),
        lambda r: rao_kupper_loss(
            r,
            torch.zeros(4),
            outcome_shares=torch.tensor([[0.5, 0.3, 0.2]]).repeat(4, 1),
            tie_threshold=torch.tensor(0.5),
        ),
        lambda r: davidson_loss(
            r, torch.zeros(4), outcome_shares=torch.tensor([[0.5, 0.3, 0.2]]).repeat(4, 1), log_tie=torch.tensor(0.2)
        ),
        lambda r: crowd_bradley_terry_loss(r, torch.zeros(4), reliability_logits=torch.tensor([2.0, 0.5, -1.0, 1.0])),
    ],
    ids=["bradley_terry", "rao_kupper", "davidson", "crowd"],
)
def test_gradients(loss) -> None:
    rewards = torch.tensor([0.3, -1.2, 2.0, 0.0], requires_grad=True)
    loss(rewards).losses.sum().backward()
    assert rewards.grad is not None
    expected = numeric_gradient(lambda r: loss(r).losses.sum(), rewards.detach())
    torch.testing.assert_close(rewards.grad, expected, atol=2e-3, rtol=2e-3)
