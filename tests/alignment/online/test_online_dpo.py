"""Online DPO's step: which pairs it takes, that its loss is the formula's, and what the reference is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from online_toys import collected, toy_rollouts, toy_rows, toy_update, weights_of

from alignment.config.loss_names import PAIR_LOSSES, PairLossName
from alignment.config.online import OnlineDpoConfig
from alignment.online.drawn_pairs import best_and_worst
from alignment.online.online_dpo import OnlineDpo
from alignment.online.update import PolicyUpdate
from alignment.policy.policy import Policy
from alignment.policy.reference import LiveReference
from alignment.rewards.rewards import ScoredBatch
from alignment.rollouts.collector import Collected
from rewardkit.network.packed_rows import Branched
from rewardkit.reward.reward import Reward

ROWS = toy_rows()
REWARDS = np.random.default_rng(3).normal(size=20)


def config_of(**more: Any) -> OnlineDpoConfig:
    options = {"model": "m", "prompts": "p", "reward": ["json"], "out": "o", "prompts_per_step": 5}
    return OnlineDpoConfig(**options | {"completions_per_prompt": 4, "max_new_tokens": 9} | more)  # pyright: ignore


def reference_of(update: PolicyUpdate) -> LiveReference:
    """A frozen copy of the policy as it is now."""
    network: Any = update.forward.network
    policy = Policy(network=network, tokenizer=None, adapted=None, packed=update.forward.packed)  # pyright: ignore
    return LiveReference(policy, update.forward)


def drawing(update: PolicyUpdate, rewards: np.ndarray = REWARDS) -> Callable[[int, int], Collected]:
    return lambda count, number: collected(toy_rollouts(update, ROWS), rewards)


def counted(algorithm: OnlineDpo, update: PolicyUpdate) -> Callable[[int, int], Collected]:
    """As the loop draws: the position moves."""

    def draw(count: int, number: int) -> Collected:
        algorithm.carried.position += count
        return collected(toy_rollouts(update, ROWS), REWARDS)

    return draw


def log_likelihood(network: Any, row: Branched, branch: int, temperature: float) -> torch.Tensor:
    ids = torch.tensor([row.prompt + row.branches[branch]])
    logps = (network(input_ids=ids).logits[0, :-1] / temperature).log_softmax(-1)
    return logps[len(row.prompt) - 1 :].gather(1, ids[0, len(row.prompt) :, None]).sum()


def test_pairs_are_best_and_worst_where_rewards_differ() -> None:
    """Groups of 4: the second has one reward for all; in the fourth best and worst are the same tokens."""
    rows = list(ROWS)
    rows[3] = Branched(prompt=(3,), branches=((7, 8), (9,), (7, 8), (5,)))
    rewards = np.array([0, 2, 2, 1, *[3] * 4, 5, 4, 6, 4, 9, 8, 7, 8, -1, -2, -3, -4], dtype=float)
    rollouts = toy_rollouts(toy_update(), tuple(rows))
    scored = collected(rollouts, rewards).scored
    pairs = best_and_worst(rollouts, scored)
    assert pairs.groups.tolist() == [0, 2, 4]
    assert pairs.chosen.tolist() == [1, 10, 16]
    assert pairs.rejected.tolist() == [0, 9, 19]
    assert pairs.margin.tolist() == [2.0, 2.0, 3.0]
    assert pairs.branches([2, 0]) == [16, 19, 1, 0]
    assert pairs.p_chosen.tolist() == pytest.approx([1 / (1 + math.exp(-margin)) for margin in (2, 2, 3)])


def test_soft_labels_are_means_over_members_whatever_decided() -> None:
    """The totals choose by the minimum. Members of the best (1, 4), of the worst (0, 6): (0.731 + 0.119) / 2 = 0.425,
    which is a tie; of the second prompt (1, 3) and (0, 0): (0.731059 + 0.952574) / 2 = 0.841817."""
    rows = (Branched(prompt=(3,), branches=((7,), (9,))), Branched(prompt=(4,), branches=((7,), (9,))))
    raw = Reward(members=np.array([[1.0, 0.0, 1.0, 0.0], [4.0, 6.0, 3.0, 0.0]]))
    totals = raw.members.min(0)
    scored = ScoredBatch(by_source={}, raw=raw, penalised=totals, terms={}, total=totals)
    pairs = best_and_worst(toy_rollouts(toy_update(), rows), scored)
    assert pairs.p_chosen.tolist() == pytest.approx([0.5, 0.841817], abs=1e-6)


def test_a_policy_that_has_not_moved_has_a_loss_of_ln_2() -> None:
    update = toy_update()
    metrics = (
        OnlineDpo(config_of(), update, reference_of(update))
        .step(drawing(update), with_entropy=True, with_kl=True)
        .metrics
    )
    assert metrics["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-4)
    assert metrics["rewards/margins"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["beta"] == 0.1
    assert metrics["groups/zero_advantage_share"] == 0.0
    assert 0 < metrics["entropy"] < math.log(60)
    assert metrics["grad_norm"] > 1e-3


@pytest.mark.parametrize("token_budget", [4096, 12])
@pytest.mark.parametrize("soft", [False, True])
def test_the_gradient_is_that_of_the_formula(token_budget: int, soft: bool) -> None:
    """loss = -1/Q sum_q p log sigma(beta d) + (1 - p) log sigma(-beta d), log-probabilities at the temperature.

    12 tokens hold no pair with its prompt: pairs stay together nevertheless.
    """
    update = toy_update(learning_rate=0.1, token_budget=token_budget)
    naive = toy_update(learning_rate=0.1)
    reference = reference_of(update)
    with torch.no_grad():  # a reference that differs, so that beta d is not 0
        for parameter in reference.forward.network.parameters():
            parameter.mul_(0.9)
    OnlineDpo(config_of(soft_labels=soft, beta=0.3), update, reference).step(
        drawing(update), with_entropy=False, with_kl=False
    )
    networks: list[Any] = [naive.forward.network, reference.forward.network]
    for network in networks:
        network.set_attn_implementation("sdpa")
    total = torch.zeros(())
    for number, rewards in enumerate(REWARDS.reshape(5, 4)):
        best, worst = int(rewards.argmax()), int(rewards.argmin())
        ratios = [
            log_likelihood(networks[0], ROWS[number], branch, naive.temperature)
            - log_likelihood(networks[1], ROWS[number], branch, naive.temperature).detach()
            for branch in (best, worst)
        ]
        scaled = 0.3 * (ratios[0] - ratios[1])
        p = 1 / (1 + math.exp(rewards[worst] - rewards[best])) if soft else 1.0
        total = total - (p * torch.sigmoid(scaled).log() + (1 - p) * torch.sigmoid(-scaled).log()) / 5
    total.backward()
    naive.optimizer.step()
    torch.testing.assert_close(weights_of(update), weights_of(naive), atol=2e-6, rtol=1e-4)


def test_no_pair_moves_nothing() -> None:
    update = toy_update()
    before = weights_of(update)
    learned = OnlineDpo(config_of(), update, reference_of(update)).step(
        drawing(update, np.ones(20)), with_entropy=True, with_kl=False
    )
    assert torch.equal(weights_of(update), before)
    assert learned.metrics["groups/zero_advantage_share"] == 1.0
    assert "loss" not in learned.metrics


@pytest.mark.parametrize("loss", [name for name, traits in PAIR_LOSSES.items() if not traits.whole_batch])
def test_every_loss_of_single_pairs_falls(loss: PairLossName) -> None:
    update = toy_update(learning_rate=1e-3)
    config = config_of(loss=loss)
    algorithm = OnlineDpo(config, update, reference_of(update) if PAIR_LOSSES[loss].needs_reference else None)
    losses = [algorithm.step(drawing(update), with_entropy=False, with_kl=False).metrics["loss"] for _ in range(4)]
    assert losses[-1] < losses[0]


def test_the_reference_follows_every_so_many_steps() -> None:
    update = toy_update()
    start = weights_of(update)
    algorithm = OnlineDpo(config_of(reference_every=2), update, reference_of(update), anchor := reference_of(update))

    def held() -> torch.Tensor:
        return torch.cat([p.flatten() for p in anchor.forward.network.parameters()])

    def step() -> dict[str, float]:
        return dict(algorithm.step(counted(algorithm, update), with_entropy=False, with_kl=True).metrics)

    step()
    assert torch.equal(held(), start)
    second = step()
    assert torch.equal(held(), weights_of(update))
    third = step()
    assert second["loss"] < math.log(2) - 1e-4
    assert third["loss"] == pytest.approx(math.log(2), abs=1e-6)  # the policy is its own reference again
    assert third["kl"] != pytest.approx(0.0, abs=1e-5)  # and has moved from that of the start
    assert "anchor" in {name.partition(".")[0] for name in algorithm.carried.state_dict()}  # so checkpoints hold it


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"loss": "aot"}, "compares the pairs of a whole batch"),
        ({"completions_per_prompt": 1}, "completions_per_prompt is 1, allowed is 2 or more"),
        ({"importance_cap": 2.0}, "importance_cap is 2.0"),
        ({"loss": "simpo", "reference_every": 3}, "loss simpo has no reference"),
        ({"lora": True, "reference_every": 3}, "training all weights"),
        ({"loss": "ipo", "label_smoothing": 0.1}, "no label_smoothing"),
        ({"beta": 0.0}, "beta is 0.0"),
    ],
)
def test_bad_configurations(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_of(**more)
