"""Truncated importance weights: by hand, and what they are for."""

from __future__ import annotations

import math

import pytest
import torch

from alignment.losses.importance import importance_weights

LENGTHS = torch.tensor([2, 1])
BRANCH = torch.tensor([0, 0, 1])
TRAINER = torch.log(torch.tensor([0.5, 0.4, 0.1]))
SAMPLER = torch.log(torch.tensor([0.1, 0.8, 0.2]))


def test_by_token() -> None:
    found = importance_weights(TRAINER, SAMPLER, BRANCH, LENGTHS, cap=2.0, level="token")
    assert found.ratio.tolist() == pytest.approx([5.0, 0.5, 0.5])
    assert found.weights.tolist() == pytest.approx([2.0, 0.5, 0.5])
    assert found.capped.tolist() == [1.0, 0.0, 0.0]


def test_by_completion() -> None:
    # 5 x 1/2 = 2.5 for the first, 1/2 for the second
    found = importance_weights(TRAINER, SAMPLER, BRANCH, LENGTHS, cap=2.0, level="sequence")
    assert found.ratio.tolist() == pytest.approx([2.5, 2.5, 0.5])
    assert found.weights.tolist() == pytest.approx([2.0, 2.0, 0.5])


def test_equal_policies_weigh_exactly_1_and_nothing_carries_a_gradient() -> None:
    trainer = TRAINER.clone().requires_grad_()
    found = importance_weights(trainer, TRAINER, BRANCH, LENGTHS, cap=1.0, level="token")
    assert found.weights.tolist() == [1.0, 1.0, 1.0]
    assert not found.weights.requires_grad


def test_without_a_cap_the_expectation_is_the_trainers() -> None:
    """Sum over all tokens of sampler(x) w(x) f(x) is the mean of f under the trainer."""
    generator = torch.Generator().manual_seed(0)
    trainer, sampler, values = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    trainer, sampler = trainer.log_softmax(0), sampler.log_softmax(0)
    branch, lengths = torch.arange(6), torch.ones(6, dtype=torch.int64)
    weights = importance_weights(trainer, sampler, branch, lengths, cap=math.inf, level="token").weights
    assert float((sampler.exp() * weights * values).sum()) == pytest.approx(float((trainer.exp() * values).sum()))


def test_the_cap_is_1_or_more() -> None:
    with pytest.raises(ValueError, match=r"cap is 0\.9, allowed is 1 or more"):
        importance_weights(TRAINER, SAMPLER, BRANCH, LENGTHS, cap=0.9, level="token")
