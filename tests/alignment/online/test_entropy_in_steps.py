"""Steps of GRPO and PPO with an entropy bonus, or on tokens of high entropy: equal to the formula's on all logits."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import torch
from online_toys import TEMPERATURE, collected, toy_rollouts, toy_rows, toy_update, weights_of
from torch import Tensor

from alignment.config.online import GrpoConfig, PpoConfig
from alignment.online.algorithm import Carried
from alignment.online.grpo import Grpo
from alignment.online.ppo import Ppo
from alignment.online.update import PolicyUpdate
from alignment.policy.value_model import TrunkValue
from rewardkit.network.packed_rows import Branched

SHARED = {"model": "m", "prompts": "p", "reward": ["json"], "out": "o", "max_new_tokens": 9, "importance_cap": 0}


def naive(update: PolicyUpdate, rows: tuple[Branched, ...]) -> tuple[Tensor, Tensor]:
    """(C,) log-probabilities and entropies of all tokens from all logits of each row alone."""
    network = update.forward.network
    network.set_attn_implementation("sdpa")
    logps, entropies = [], []
    for row in rows:
        for branch in row.branches:
            ids = torch.tensor([row.prompt + branch])
            shares = (network(input_ids=ids).logits[0, len(row.prompt) - 1 : -1] / TEMPERATURE).log_softmax(-1)
            logps.append(shares.gather(1, torch.tensor(branch)[:, None])[:, 0])
            entropies.append(torch.distributions.Categorical(logits=shares).entropy())
    return torch.cat(logps), torch.cat(entropies)


@pytest.mark.parametrize(("coef", "quantile"), [(0.5, 1.0), (0.0, 0.3), (0.5, 0.3)])
def test_grpo(coef: float, quantile: float) -> None:
    """dapo: -1/C sum_t m_t (A ratio_t + e H_t), over micro-batches of few tokens, with a group of equal rewards."""
    rows = toy_rows()
    rewards = np.random.default_rng(3).normal(size=20)
    rewards[4:8] = 0.5
    ours, other = toy_update(learning_rate=0.1, token_budget=64), toy_update(learning_rate=0.1)
    config = GrpoConfig(
        **SHARED,  # pyright: ignore
        prompts_per_step=5,
        completions_per_prompt=4,
        loss="dapo",
        entropy_coef=coef,
        top_entropy_quantile=quantile,
    )
    metrics = (
        Grpo(config, ours, None)
        .step(lambda *_: collected(toy_rollouts(ours, rows), rewards), with_entropy=False, with_kl=False)
        .metrics
    )
    logps, entropy = naive(other, rows)
    groups = rewards.reshape(5, 4)
    advantages = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, ddof=1, keepdims=True) + 1e-4)
    branch = toy_rollouts(toy_update(), rows).branch
    high = entropy >= np.quantile(entropy.detach().numpy(), 1 - quantile)
    acting = torch.from_numpy(advantages).float().flatten()[branch] * (logps - logps.detach()).exp() + coef * entropy
    loss = -(acting * high).mean()
    loss.backward()
    other.optimizer.step()
    torch.testing.assert_close(weights_of(ours), weights_of(other), atol=2e-6, rtol=1e-4)
    assert metrics["loss"] == pytest.approx(float(loss.detach()), abs=1e-5)
    if coef:  # the entropy is measured where the loss reads it, of groups without signal too
        assert metrics["entropy"] == pytest.approx(float(entropy.detach().mean()), rel=1e-5)
    assert float(high.float().mean()) == pytest.approx(quantile, abs=0.02)


def test_ppo() -> None:
    """One pass, no value loss: -1/C sum_t (A_t ratio_t + e H_t), A the whitened reward as values are 0."""
    rows = toy_rows(6, 1)
    rewards = np.random.default_rng(3).normal(size=6)
    ours, other = toy_update(learning_rate=0.1), toy_update(learning_rate=0.1)
    config = PpoConfig(
        **SHARED,  # pyright: ignore
        prompts_per_step=6,
        temperature=TEMPERATURE,
        passes=1,
        beta=0.0,
        lam=1.0,
        value_weight=0.0,
        entropy_coef=0.5,
    )
    algorithm = Ppo(config, ours, None, Carried(0.0, TrunkValue(16)))
    algorithm.step(lambda *_: collected(toy_rollouts(ours, rows), rewards), with_entropy=False, with_kl=False)
    logps, entropy = naive(other, rows)
    returns = torch.from_numpy(rewards).float()[toy_rollouts(toy_update(), rows).branch]
    whitened = (returns - returns.mean()) / returns.std(correction=0)
    (-(whitened * (logps - logps.detach()).exp() + 0.5 * entropy).mean()).backward()
    other.optimizer.step()
    torch.testing.assert_close(weights_of(ours), weights_of(other), atol=2e-6, rtol=1e-4)
