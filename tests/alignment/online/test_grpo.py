"""GRPO's step: what is compared, skipped, drawn anew, and that its loss is the formula's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from online_toys import collected, toy_rollouts, toy_rows, toy_update, weights_of

from alignment.config.online import GrpoConfig
from alignment.config.policy_gradient_names import POLICY_LOSSES, PolicyLossName
from alignment.online.grpo import Grpo
from alignment.online.update import Minibatch, PolicyUpdate
from alignment.policy.policy import Policy
from alignment.policy.reference import LiveReference
from alignment.rewards.spans import credit
from alignment.rollouts.collector import Collected
from alignment.rollouts.rollouts import Micro
from rewardkit.network.logps import CompletionLogps
from rewardkit.training.steps import Part

ROWS = toy_rows()
REWARDS = np.random.default_rng(3).normal(size=20)


def config_of(**more: Any) -> GrpoConfig:
    options = {"model": "m", "prompts": "p", "reward": ["json"], "out": "o", "prompts_per_step": 5}
    return GrpoConfig(**options | {"completions_per_prompt": 4, "max_new_tokens": 9} | more)  # pyright: ignore


def drawing(update: PolicyUpdate, rewards: np.ndarray = REWARDS) -> Callable[[int, int], Collected]:
    return lambda count, number: collected(toy_rollouts(update, ROWS), rewards)


@pytest.mark.parametrize("loss", list(POLICY_LOSSES))
def test_a_single_step_starts_at_a_ratio_of_exactly_one(loss: PolicyLossName) -> None:
    update = toy_update()
    metrics = Grpo(config_of(loss=loss), update, None).step(drawing(update), with_entropy=True, with_kl=False).metrics
    assert metrics["ratio/mean"] == 1.0
    assert metrics["ratio/clipfrac"] == metrics["ratio/approx_kl"] == 0.0
    assert metrics["grad_norm"] > 1e-3
    assert 0 < metrics["entropy"] < np.log(60)
    assert metrics["sampling/logp_difference"] < 1e-5
    if loss in ("grpo", "gspo", "rloo"):
        assert metrics["loss"] == pytest.approx(0.0, abs=1e-6)


def test_the_gradient_is_that_of_the_formula() -> None:
    """loss = -1/N sum_i A_i mean_t exp(logp_t - old_t), old the same numbers without gradient."""
    update, naive = toy_update(learning_rate=0.1), toy_update(learning_rate=0.1)
    Grpo(config_of(importance_cap=0), update, None).step(drawing(update), with_entropy=False, with_kl=False)
    rewards = REWARDS.reshape(5, 4)
    advantages = (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, ddof=1, keepdims=True) + 1e-4)
    network = naive.forward.network
    network.set_attn_implementation("sdpa")
    total = torch.zeros(())
    for number, advantage in enumerate(advantages.flatten()):
        row = ROWS[number // 4]
        ids = torch.tensor([row.prompt + row.branches[number % 4]])
        logps = (network(input_ids=ids).logits[0, :-1] / naive.temperature).log_softmax(-1)
        picked = logps[len(row.prompt) - 1 :].gather(1, ids[0, len(row.prompt) :, None])[:, 0]
        total = total - float(advantage) * (picked - picked.detach()).exp().mean() / 20
    total.backward()
    naive.optimizer.step()
    torch.testing.assert_close(weights_of(update), weights_of(naive), atol=2e-6, rtol=1e-4)


def test_the_kl_of_reinforce_pp_in_the_rewards_of_tokens() -> None:
    """-1/C sum_t A_t ratio_t, A_t the reward less beta times the KL of this token and the later ones, whitened."""
    ours, naive, start = (toy_update(learning_rate=0.1) for _ in range(3))
    network, packed = ours.forward.network, ours.forward.packed
    policy = Policy(network=network, tokenizer=None, adapted=None, packed=packed)  # pyright: ignore
    reference = LiveReference(policy, ours.forward)  # a copy of the weights as they are
    for update in (ours, naive):
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in update.forward.network.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    config = config_of(loss="reinforce_pp", beta=0.5, kl_in="reward", importance_cap=0)
    found = Grpo(config, ours, reference).step(drawing(ours), with_entropy=False, with_kl=False)
    kl = (toy_rollouts(naive, ROWS).logps - toy_rollouts(start, ROWS).logps).split(found.rollouts.lengths.tolist())
    advantages = torch.stack(
        [
            float(reward) - 0.5 * of_tokens[place:].sum()
            for reward, of_tokens in zip(REWARDS, kl, strict=True)
            for place in range(len(of_tokens))
        ]
    )
    whitened = (advantages - advantages.mean()) / advantages.std(correction=0)
    logps = naive.forward.logps(ROWS, temperature=naive.temperature).token_logps
    (-(whitened * (logps - logps.detach()).exp()).mean()).backward()
    naive.optimizer.step()
    torch.testing.assert_close(weights_of(ours), weights_of(naive), atol=2e-6, rtol=1e-4)
    assert abs(found.metrics["kl"]) > 0.05


def test_under_the_ratio_of_a_completion_its_summed_difference_is_weighed() -> None:
    """Each token is half as likely again under the trainer: a completion of n tokens weighs 1.5^n, up to the cap."""
    weighed, naive = toy_update(learning_rate=0.1), toy_update(learning_rate=0.1)
    rollouts = toy_rollouts(weighed, ROWS)
    rollouts = replace(rollouts, logps=rollouts.logps - math.log(1.5))
    config = config_of(loss="rloo", importance_cap=4.0)
    Grpo(config, weighed, None).step(lambda *_: collected(rollouts, REWARDS), with_entropy=False, with_kl=False)
    rewards = REWARDS.reshape(5, 4)
    advantages = torch.from_numpy((rewards - rewards.mean(1, keepdims=True)) * 4 / 3).float().flatten()
    weights = (1.5**rollouts.lengths).clamp_max(4.0)

    def part(logps: CompletionLogps, micro: Micro) -> Part:
        loss = -(logps.sums() * (advantages * weights)[micro.branches]).sum()
        return Part(loss=loss, sums=torch.zeros(1), weights=torch.ones(1))

    naive.step(rollouts, Minibatch(branches=range(20), total=20.0), part, num_metrics=1)
    torch.testing.assert_close(weights_of(weighed), weights_of(naive), atol=2e-6, rtol=1e-4)


def test_groups_without_signal_are_skipped_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    rewards = REWARDS.copy()
    rewards[4:8] = 0.5
    rewards[16:] = -1.0
    skipped, whole = toy_update(), toy_update()
    asked: list[int] = []
    step = PolicyUpdate.step

    def counted(self: PolicyUpdate, rollouts: Any, minibatch: Minibatch, part: Any, **options: Any) -> Any:
        asked.append(len(minibatch.branches))
        everything = replace(minibatch, branches=range(20)) if self is whole else minibatch
        return step(self, rollouts, everything, part, **options)

    monkeypatch.setattr(PolicyUpdate, "step", counted)
    for update in (skipped, whole):
        found = Grpo(config_of(loss="dapo"), update, None).step(
            drawing(update, rewards), with_entropy=False, with_kl=False
        )
        assert found.metrics["groups/zero_advantage_share"] == pytest.approx(0.4)
    assert asked == [12, 12]
    torch.testing.assert_close(weights_of(skipped), weights_of(whole), atol=1e-7, rtol=1e-6)


def test_equal_rewards_everywhere_change_nothing() -> None:
    update = toy_update()
    before = weights_of(update)
    found = Grpo(config_of(), update, None).step(drawing(update, np.ones(20)), with_entropy=False, with_kl=False)
    assert torch.equal(weights_of(update), before)
    assert found.metrics["groups/zero_advantage_share"] == 1.0
    assert found.metrics["loss"] == found.metrics["grad_norm"] == 0.0


def test_dynamic_sampling_draws_prompts_until_the_step_is_full() -> None:
    update = toy_update()
    asked: list[tuple[int, int]] = []

    def draw(count: int, number: int) -> Collected:
        asked.append((count, number))
        rewards = REWARDS.copy()
        if number == 0:
            rewards[:12] = 1.0  # three of five groups without signal
        part = collected(toy_rollouts(update, ROWS), rewards)
        return Collected(
            rollouts=part.rollouts.take(range(count)),
            scored=part.scored.take(range(4 * count)),
            generate_s=1,
            reward_s=1,
        )

    found = Grpo(config_of(dynamic_sampling=3), update, None).step(draw, with_entropy=False, with_kl=False)
    assert asked == [(5, 0), (3, 1)]
    assert found.rollouts.numbers == (3, 4, 0, 1, 2)
    assert found.metrics["groups/drawn"] == 8
    assert found.metrics["groups/zero_advantage_share"] == 0.0
    assert found.metrics["time/generate_s"] == 2


def test_later_passes_move_away_from_the_old_policy() -> None:
    update = toy_update(learning_rate=0.5)
    algorithm = Grpo(config_of(passes=3, minibatches=2), update, None)
    metrics = algorithm.step(drawing(update), with_entropy=False, with_kl=False).metrics
    assert metrics["ratio/approx_kl"] > 0
    assert metrics["ratio/mean"] != 1.0


def test_truncated_completions_add_nothing_when_asked() -> None:
    """Every third completion is cut: moving its log-probability would be moved by nothing."""
    masked, naive = toy_update(learning_rate=0.1), toy_update(learning_rate=0.1)
    config = config_of(mask_truncated=True, loss="bnpo", scale="none", importance_cap=0)
    Grpo(config, masked, None).step(drawing(masked), with_entropy=False, with_kl=False)
    rollouts = toy_rollouts(naive, ROWS)
    kept = [number for number in range(20) if rollouts.finished[number]]
    advantages = (REWARDS.reshape(5, 4) - REWARDS.reshape(5, 4).mean(1, keepdims=True)).flatten()

    def part(logps: CompletionLogps, micro: Micro) -> Part:
        loss = -(logps.sums() * torch.from_numpy(advantages).float()[micro.branches]).sum()
        return Part(loss=loss, sums=torch.zeros(1), weights=torch.ones(1))

    naive.step(rollouts, Minibatch(branches=kept, total=float(rollouts.lengths[kept].sum())), part, num_metrics=1)
    torch.testing.assert_close(weights_of(masked), weights_of(naive), atol=1e-6, rtol=1e-5)


def test_a_reward_at_the_last_token_is_the_completion_s() -> None:
    """One step in every completion: the step is that of the outcome form, but for how its numbers add up."""
    outcome, process = toy_update(learning_rate=0.1), toy_update(learning_rate=0.1)
    config = config_of(loss="dapo", max_new_tokens=9)
    Grpo(config, outcome, None).step(drawing(outcome), with_entropy=False, with_kl=False)
    rollouts = toy_rollouts(process, ROWS)
    credits = credit([], REWARDS, rollouts.lengths.numpy())
    Grpo(config_of(loss="dapo", step_reward="steps"), process, None).step(
        lambda *_: collected(rollouts, REWARDS, credits), with_entropy=False, with_kl=False
    )
    torch.testing.assert_close(weights_of(process), weights_of(outcome), atol=1e-6, rtol=1e-5)


def test_groups_whose_steps_are_all_alike_are_skipped_though_their_totals_differ() -> None:
    """Every step of the first group has reward 1; a completion of it has one or two steps."""
    update = toy_update()
    rollouts = toy_rollouts(update, ROWS)
    lengths = rollouts.lengths.numpy()
    middle = np.flatnonzero(lengths[:4] > 1)[:1]
    totals = REWARDS.copy()
    totals[:4] = 1.0
    totals[middle] = 2.0
    credits = credit([(middle, np.ones(1, dtype=int), np.ones(1))], totals, lengths)
    algorithm = Grpo(config_of(step_reward="steps", dynamic_sampling=1), update, None)
    signal = algorithm._with_signal(collected(rollouts, totals, credits))
    assert signal is not None
    assert signal.rollouts.numbers == (1, 2, 3, 4)


def test_groups_whose_rewards_differ_one_by_one_are_kept_though_their_totals_are_alike() -> None:
    """In the first group a reward rises as one of half its weight falls; in the others nothing differs."""
    update = toy_update()
    rollouts = toy_rollouts(update, ROWS)
    totals, first, second = np.ones_like(REWARDS), np.zeros_like(REWARDS), np.full_like(REWARDS, 2.0)
    first[:2], second[:2] = [0.25, 1.0], [1.5, 0.0]
    scored = replace(collected(rollouts, totals).scored, parts={"a": first, "b": second}, weights={"a": 1.0, "b": 0.5})
    given = replace(collected(rollouts, totals), scored=scored)
    algorithm = Grpo(config_of(several_rewards="normalise_first", dynamic_sampling=1), update, None)
    signal = algorithm._with_signal(given)
    assert signal is not None
    assert signal.rollouts.numbers == (0,)
    assert Grpo(config_of(dynamic_sampling=1), update, None)._with_signal(given) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"completions_per_prompt": 1}, "a group of one has nothing to be compared with"),
        ({"loss": "reinforce", "passes": 2}, "reinforce is for samples of the present policy"),
        ({"clip_low": 0.0}, "clip_low is 0.0, allowed is more than 0 up to 1"),
        ({"minibatches": 9}, "minibatches is 9, allowed is up to prompts_per_step, 5"),
        ({"temperature": 0.0}, "temperature is 0.0, allowed is more than 0"),
        ({"reward": []}, "reward is missing"),
        ({"prompts": ""}, "give model and prompts together"),
        ({"step_reward": "steps", "loss": "gspo"}, "it goes with baseline group and losses whose ratio is a token's"),
        ({"step_reward": "steps", "baseline": "batch"}, "it goes with baseline group"),
        ({"importance_cap": 0.5}, "importance_cap is 0.5, allowed is 0, or 1 or more"),
    ],
)
def test_bad_numbers_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_of(**options)
