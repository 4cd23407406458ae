"""Entropy in losses of sampled completions, its bonus and tokens of high entropy: by hand, against a loop, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from alignment.config.online import PpoConfig
from alignment.config.policy_gradient_names import POLICY_LOSSES, PolicyLossName, PolicyLossOptions
from alignment.losses.policy_gradient import CompletionTokens, policy_loss, ppo_loss, top_entropy_mask

ENTROPY = torch.tensor([0.5, 1.5, 1.0], dtype=torch.float64)
ADVANTAGES = torch.tensor([2.0, -1.0], dtype=torch.float64)


def tokens_of(**given: Any) -> CompletionTokens:
    """A completion of two tokens and one of one, unmoved, each token half as likely under the reference."""
    logps = torch.tensor([-1.0, -2.0, -3.0], dtype=torch.float64)
    return CompletionTokens(
        logps=logps,
        old_logps=logps,
        branch=torch.tensor([0, 0, 1]),
        lengths=torch.tensor([2, 1]),
        reference_logps=logps - torch.log(torch.tensor(2.0)),
        **given,
    )


@pytest.mark.parametrize(
    ("quantile", "kept"),
    # sorted 0.1 0.3 0.5 0.7 0.9; the 0.6 quantile lies 2.4 places on: 0.58; the 0.5 quantile is 0.5 itself
    [(0.4, [0, 0, 0, 1, 1]), (0.5, [0, 1, 0, 1, 1]), (0.0, [0, 0, 0, 1, 0]), (1.0, [1, 1, 1, 1, 1])],
)
def test_tokens_of_high_entropy_by_hand(quantile: float, kept: list[int]) -> None:
    assert top_entropy_mask(torch.tensor([0.1, 0.5, 0.3, 0.9, 0.7]), quantile).tolist() == kept


def test_equal_entropies_are_all_high_and_none_are_none() -> None:
    assert top_entropy_mask(torch.full((4,), 0.3), 0.2).all()
    assert top_entropy_mask(torch.zeros(0), 0.2).shape == (0,)


def test_the_bonus_by_hand() -> None:
    """dapo, ratios 1: -2 - 2 - 0.1 (0.5 + 1.5) and 1 - 0.1; grpo the mean over tokens. Slopes by H are -0.1."""
    entropy = ENTROPY.clone().requires_grad_()
    losses = policy_loss(
        tokens_of(entropy=entropy), ADVANTAGES, PolicyLossOptions(loss="dapo", entropy_coef=0.1)
    ).losses
    assert losses.tolist() == pytest.approx([-4.2, 0.9])
    assert torch.autograd.grad(losses.sum(), entropy)[0].tolist() == pytest.approx([-0.1] * 3)
    losses = policy_loss(
        tokens_of(entropy=entropy), ADVANTAGES, PolicyLossOptions(loss="grpo", entropy_coef=0.1)
    ).losses
    assert losses.tolist() == pytest.approx([-2.1, 0.9])
    by_token = torch.tensor([2.0, 2.0, -1.0], dtype=torch.float64)
    losses = ppo_loss(tokens_of(entropy=entropy), by_token, clip_range=0.2, entropy_coef=0.1).losses
    assert losses.tolist() == pytest.approx([-4.2, 0.9])


def test_only_acting_tokens_have_reward_and_bonus_and_all_have_the_kl() -> None:
    """The KL by k3 of a token half as likely: 1/2 - ln 1/2 - 1 = 0.1931, times 0.5; the second token alone acts."""
    tokens = tokens_of(entropy=ENTROPY, acting=torch.tensor([False, True, False]), weights=torch.full((3,), 3.0))
    options = PolicyLossOptions(loss="dapo", entropy_coef=0.1, beta=0.5)
    kl = 0.5 * 0.193147
    assert policy_loss(tokens, ADVANTAGES, options).losses.tolist() == pytest.approx(
        [-6.0 - 0.15 + 2 * kl, kl], rel=1e-5
    )


@pytest.mark.parametrize("name", POLICY_LOSSES)
def test_every_loss_divides_the_bonus_as_itself(name: PolicyLossName) -> None:
    kept = torch.tensor([True, False])
    with_bonus, without = (
        policy_loss(
            tokens_of(entropy=ENTROPY, kept=kept), ADVANTAGES, PolicyLossOptions(loss=name, entropy_coef=coef)
        ).losses
        for coef in (0.3, 0.0)
    )
    num_tokens = 2 if POLICY_LOSSES[name].normaliser == "branch_means" else 1
    assert (with_bonus - without).tolist() == pytest.approx([-0.3 * (0.5 + 1.5) / num_tokens, 0.0])


def refused(match: str, **given: Any) -> None:
    with pytest.raises(ValueError, match=match):
        PolicyLossOptions(**given)


def test_refusals() -> None:
    refused("entropy_coef is -0.1, allowed is 0 or more", entropy_coef=-0.1)
    refused("top_entropy_quantile is 1.2, allowed is 0 to 1", top_entropy_quantile=1.2)
    refused("loss rloo takes a completion as one action", loss="rloo", top_entropy_quantile=0.2)
    with pytest.raises(ValueError, match="entropy_coef is inf"):
        PpoConfig(model="m", prompts="p", out="o", reward=["json"], entropy_coef=float("inf"))
    with pytest.raises(ValueError, match="needs the entropy of every token"):
        policy_loss(tokens_of(), ADVANTAGES, PolicyLossOptions(entropy_coef=0.1))
