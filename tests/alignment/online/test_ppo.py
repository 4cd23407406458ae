"""PPO's step: values, advantages, the first ratio, passes that end, beta that adapts, values from a reward model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from online_toys import collected, toy_rollouts, toy_rows, toy_update, weights_of

from alignment.config.online import PpoConfig
from alignment.online.algorithm import Carried
from alignment.online.ppo import Ppo
from alignment.online.update import PolicyUpdate
from alignment.policy.value_model import TrunkValue
from alignment.rewards.spans import credit
from alignment.rollouts.collector import Collected
from rewardkit.network.logps import completion_logps
from rewardkit.network.packed_rows import Branched

ROWS = toy_rows(6, 1)
REWARDS = np.random.default_rng(3).normal(size=6)


def config_of(**more: Any) -> PpoConfig:
    options = {"model": "m", "prompts": "p", "reward": ["json"], "out": "o", "prompts_per_step": 6, "temperature": 0.8}
    return PpoConfig(**options | {"max_new_tokens": 9, "beta": 0.0, "passes": 1} | more)  # pyright: ignore


def ppo(update: PolicyUpdate, **more: Any) -> Ppo:
    config, value = config_of(**more), TrunkValue(16)
    update.optimizer.add_param_group({"params": list(value.parameters())})
    return Ppo(config, update, None, Carried(config.beta, value))


def drawing(update: PolicyUpdate, rewards: np.ndarray = REWARDS) -> Callable[[int, int], Collected]:
    return lambda count, number: collected(toy_rollouts(update, ROWS), rewards)


def test_the_first_step_is_that_of_the_formula() -> None:
    """Values are 0 at first, so with lam = gamma = 1 every token's advantage and return is its completion's reward.

    loss = -mean_t w_t exp(logp_t - old_t) + 0.1 mean_t 0.5 R_t^2, w the rewards of tokens, whitened.
    """
    update, naive = toy_update(learning_rate=0.1), toy_update(learning_rate=0.1)
    algorithm = ppo(update, lam=1.0, importance_cap=0, clip_range_value=1e9)
    found = algorithm.step(drawing(update), with_entropy=True, with_kl=False)
    assert found.metrics["ratio/mean"] == pytest.approx(1.0, abs=1e-6)
    assert found.metrics["ratio/clipfrac"] == 0.0
    rollouts = toy_rollouts(naive, ROWS)
    rewards = torch.from_numpy(REWARDS).float()[rollouts.branch]
    assert found.metrics["returns/mean"] == pytest.approx(float(rewards.mean()), abs=1e-6)
    assert found.metrics["loss/value"] == pytest.approx(float(0.5 * rewards.square().mean()), rel=1e-5)
    assert found.metrics["value/explained_variance"] == pytest.approx(0.0, abs=1e-6)
    whitened = (rewards - rewards.mean()) / rewards.std(correction=0)
    logps = completion_logps(naive.forward.network, ROWS, packed=True, temperature=0.8).token_logps
    head = TrunkValue(16)
    values = completion_logps(naive.forward.network, ROWS, packed=True).states @ head.head.weight[0]
    loss = -(whitened * (logps - logps.detach()).exp()).mean() + 0.1 * 0.5 * (values - rewards).square().mean()
    loss.backward()
    naive.optimizer.step()
    moved, expected = weights_of(update), weights_of(naive)
    torch.testing.assert_close(moved[: len(expected)], expected, atol=2e-6, rtol=1e-4)


def test_the_value_head_learns_what_comes() -> None:
    update = toy_update(learning_rate=0.0)
    algorithm = ppo(update, clip_range_value=1e9, value_weight=1.0)
    update.optimizer.param_groups[1]["lr"] = 0.3
    first = algorithm.step(drawing(update), with_entropy=False, with_kl=False).metrics
    for _ in range(40):
        last = algorithm.step(drawing(update), with_entropy=False, with_kl=False).metrics
    assert last["loss/value"] < 0.5 * first["loss/value"]
    assert last["value/explained_variance"] > 0.3


def test_passes_end_once_the_policy_has_moved_far() -> None:
    update = toy_update(learning_rate=1.0)
    far = ppo(update, passes=6, minibatches=2, stop_pass_kl=1e-6)
    assert far.step(drawing(update), with_entropy=False, with_kl=False).metrics["passes"] == 1.0
    update = toy_update(learning_rate=1e-4)
    near = ppo(update, passes=6, minibatches=2, stop_pass_kl=10.0)
    assert near.step(drawing(update), with_entropy=False, with_kl=False).metrics["passes"] == 6.0


def test_beta_adapts_and_a_far_policy_ends_the_run() -> None:
    """error clipped to 0.2, 6 completions, horizon 60: beta times 1 + 0.2 6 / 60."""
    algorithm = ppo(toy_update(), beta=0.1, kl_target=1.0, kl_horizon=60.0, stop_run_kl=3.0)
    assert algorithm._after({"kl": 2.0}, 6) == ""
    assert float(algorithm.carried.beta) == pytest.approx(0.1 * 1.02)
    assert "the KL to the reference is 3.50 nats" in algorithm._after({"kl": 3.5}, 6)
    fixed = ppo(toy_update(), beta=0.1)
    fixed._after({"kl": 2.0}, 6)
    assert float(fixed.carried.beta) == pytest.approx(0.1)


def test_the_kl_goes_to_the_rewards_of_tokens() -> None:
    update = toy_update()
    algorithm = ppo(update, beta=0.5, lam=1.0)
    rollouts = toy_rollouts(update, ROWS)
    reference = rollouts.logps - 0.25  # every token costs 0.5 * 0.25
    zeros = torch.zeros_like(rollouts.logps)
    found = algorithm._advantages(rollouts, REWARDS, rollouts.logps, zeros, reference, 0.5)
    first = rollouts.starts
    expected = torch.from_numpy(REWARDS).float() - 0.125 * rollouts.lengths
    torch.testing.assert_close(found.returns[first], expected)
    algorithm.config = replace(algorithm.config, kl_in="loss")
    found = algorithm._advantages(rollouts, REWARDS, rollouts.logps, zeros, reference, 0.5)
    torch.testing.assert_close(found.returns[first], torch.from_numpy(REWARDS).float())


def test_whitened_rewards_of_tokens_keep_their_mean() -> None:
    """A completion of 2 tokens earns 0, 3, one of 1 token earns -1: mean 2/3, squares 0, 9, 1, variance 10/3 - 4/9."""
    update = toy_update()
    rows = (Branched(prompt=(3, 4), branches=((5, 6),)), Branched(prompt=(7, 8), branches=((9,),)))
    algorithm = ppo(update, whiten_rewards=True, lam=1.0)
    rollouts = toy_rollouts(update, rows)
    zeros = torch.zeros(3)
    found = algorithm._advantages(rollouts, np.array([3.0, -1.0]), rollouts.logps, zeros, None, 0.0)
    deviation = (10 / 3 - 4 / 9) ** 0.5
    whitened = [(reward - 2 / 3) / deviation + 2 / 3 for reward in (0.0, 3.0, -1.0)]
    expected = [whitened[0] + whitened[1], whitened[1], whitened[2]]
    assert found.returns.tolist() == pytest.approx(expected, abs=1e-5)


def test_defaults_are_those_of_record() -> None:
    """Huang et al. 2024 (arXiv 2403.17031) but for the rate, which goes by size here, and more new tokens than 53."""
    config = PpoConfig(out="o")
    assert (config.passes, config.minibatches, config.completions_per_prompt) == (4, 1, 1)
    assert (config.clip_range, config.clip_range_value, config.value_weight) == (0.2, 0.2, 0.1)
    assert (config.gamma, config.lam, config.beta, config.temperature) == (1.0, 0.95, 0.05, 0.7)
    assert (config.whiten_advantages, config.whiten_rewards) == (True, False)


def test_micro_batches_do_not_change_a_step() -> None:
    found = []
    for token_budget in (16, 4096):
        update = toy_update(token_budget=token_budget)
        algorithm = ppo(update, passes=2, minibatches=2)
        metrics = algorithm.step(drawing(update), with_entropy=True, with_kl=False).metrics
        found.append((weights_of(update), metrics))
    (split, split_metrics), (whole, metrics) = found
    torch.testing.assert_close(split, whole, atol=1e-5, rtol=1e-4)
    for name in ("loss", "loss/policy", "loss/value", "entropy", "grad_norm", "ratio/approx_kl"):
        assert split_metrics[name] == pytest.approx(metrics[name], rel=1e-3, abs=1e-6)


def test_a_reward_at_the_last_token_is_the_completion_s_and_an_earlier_one_stays_before() -> None:
    scalar, by_token = toy_update(learning_rate=0.1), toy_update(learning_rate=0.1)
    ppo(scalar).step(drawing(scalar), with_entropy=False, with_kl=False)
    rollouts = toy_rollouts(by_token, ROWS)
    lengths = rollouts.lengths.numpy()
    credits = credit([], REWARDS, lengths)
    ppo(by_token, step_reward="steps").step(
        lambda *_: collected(rollouts, REWARDS, credits), with_entropy=False, with_kl=False
    )
    assert torch.equal(weights_of(by_token), weights_of(scalar))
    longest = int(lengths.argmax())
    early = credit([(np.array([longest]), np.array([1]), np.array([3.0]))], REWARDS, lengths)
    algorithm, zeros = ppo(by_token, lam=1.0), torch.zeros_like(rollouts.logps)
    found = algorithm._advantages(rollouts, early.rewards, rollouts.logps, zeros, None, 0.0, early.places(lengths))
    first = int(rollouts.starts[longest])
    left = REWARDS[longest] - 3.0  # from the second token on
    assert found.returns[first : first + 2].tolist() == pytest.approx([left + 3.0, left], abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": 1.5}, "lam is 1.5, allowed is 0 to 1"),
        ({"clip_range": 0.0}, "clip_range is 0.0, allowed is more than 0"),
        ({"value_model": "rm"}, "give value separate too"),
        ({"kl_target": 1.0}, "kl_target adapts beta"),
    ],
)
def test_bad_numbers_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_of(**options)
