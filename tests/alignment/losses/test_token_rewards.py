"""Rewards of tokens and the penalty on length: numbers worked by hand."""

from __future__ import annotations

import pytest
import torch

from alignment.losses.advantages import generalised_advantages, token_rewards


def test_the_score_is_on_the_last_token_and_the_kl_on_all() -> None:
    # beta = 1/2; completions of 3 and 1 tokens with scores 10 and -4
    kl = torch.tensor([0.5, -1.0, 2.0, 4.0])
    found = token_rewards(torch.tensor([10.0, -4.0]), kl, torch.tensor([3, 1]), beta=0.5)
    assert found.tolist() == [-0.25, 0.5, 10.0 - 1.0, -4.0 - 2.0]


def test_without_discount_a_completion_earns_its_score_minus_its_kl() -> None:
    kl = torch.tensor([0.5, -1.0, 2.0, 4.0])
    lengths = torch.tensor([3, 1])
    rewards = token_rewards(torch.tensor([10.0, -4.0]), kl, lengths, beta=0.5)
    returns = generalised_advantages(rewards, torch.zeros(4), lengths, gamma=1.0, lam=1.0).returns
    assert returns[[0, 3]].tolist() == [10.0 - 0.5 * 1.5, -4.0 - 0.5 * 4.0]


def test_no_gradient_passes() -> None:
    scores, kl = torch.ones(1, requires_grad=True), torch.ones(2, requires_grad=True)
    assert not token_rewards(scores, kl, torch.tensor([2]), beta=1.0).requires_grad


def test_a_completion_without_tokens_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError, match="nowhere to put its score"):
        token_rewards(torch.ones(2), torch.zeros(1), torch.tensor([1, 0]), beta=1.0)


def test_scores_of_steps_are_on_the_tokens_that_end_them() -> None:
    # completions of 3 and 2 tokens; the first has steps of 2 and 1 tokens
    kl = torch.tensor([0.5, -1.0, 2.0, 4.0, 0.0])
    found = token_rewards(
        torch.tensor([10.0, 1.0, -4.0]), kl, torch.tensor([3, 2]), beta=0.5, places=torch.tensor([1, 2, 4])
    )
    assert found.tolist() == [-0.25, 10.5, 0.0, -2.0, -4.0]
