"""Advantages of REINFORCE++ with the KL in the rewards of tokens: by hand, its limit, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from alignment.config.online import GrpoConfig
from alignment.losses.advantages import group_advantages, kl_penalised_advantages

LENGTHS = torch.tensor([2, 1])


def test_by_hand() -> None:
    """1 - 0.5 (0.5 + 0.1), 1 - 0.05, -1 - 0.1: mean 0.183333, distances 0.516667, 0.766667, -1.283333, variance
    0.833889, of which the root is 0.913175.
    """
    kl = torch.tensor([0.5, 0.1, 0.2])
    found = kl_penalised_advantages(torch.tensor([1.0, -1.0]), kl, LENGTHS, beta=0.5)
    assert found.tolist() == pytest.approx([0.565792, 0.839562, -1.405353], abs=1e-5)


def test_without_kl_and_with_one_token_each_it_is_the_loss_by_completions() -> None:
    """But for the standard deviation's ddof: sqrt(5 / 6) of six rewards, and 1e-4."""
    rewards = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    found = kl_penalised_advantages(rewards.flatten(), torch.zeros(6), torch.ones(6, dtype=torch.int64), beta=0.5)
    by_completion = group_advantages(rewards, baseline="batch", scale="batch").flatten()
    torch.testing.assert_close(found * (5 / 6) ** 0.5, by_completion, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "grpo", "beta": 0.1}, "it is for reinforce_pp's KL"),
        ({"loss": "reinforce_pp"}, "beta 0.0"),
        ({"loss": "reinforce_pp", "beta": 0.1, "baseline": "batch"}, "it has no baseline"),
        ({"loss": "reinforce_pp", "beta": 0.1, "step_reward": "steps"}, "or step_reward of its own"),
    ],
)
def test_refusals(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GrpoConfig(model="m", prompts="p", out="o", reward=["json"], kl_in="reward", **options)
