"""A small policy and completions for it, for tests of trainings on samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from toy_models import NARROW, llama_config

from alignment.online.update import PolicyUpdate
from alignment.policy.policy import make_network
from alignment.policy.policy_forward import Forward
from alignment.rewards.rewards import ScoredBatch
from alignment.rewards.spans import Credits
from alignment.rollouts.collector import Collected
from alignment.rollouts.rollouts import Rollouts
from rewardkit.data.records import Message
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.packed_rows import Branched
from rewardkit.reward.reward import Reward
from rewardkit.run.directory import read_metrics

TEMPERATURE = 0.8
CLOCKED = ("time/", "tokens_per_s")


def toy_rows(num_groups: int = 5, group_size: int = 4, *, seed: int = 0) -> tuple[Branched, ...]:
    """Prompts of 2 to 8 tokens with completions of 1 to 9."""
    rng = np.random.default_rng(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.integers(3, 60, rng.integers(low, high)).tolist())

    return tuple(
        Branched(prompt=ids(2, 9), branches=tuple(ids(1, 10) for _ in range(group_size))) for _ in range(num_groups)
    )


def toy_update(*, token_budget: int = 4096, learning_rate: float = 1e-2) -> PolicyUpdate:
    """Optimizer steps of a policy of random weights."""
    network = make_network(llama_config(**NARROW, tie_word_embeddings=True, initializer_range=0.3), seed=0)
    forward = Forward(network=network, packed=can_pack_policy(network), token_budget=token_budget, precision="fp32")
    return PolicyUpdate(
        forward,
        torch.optim.SGD(network.parameters(), lr=learning_rate),
        temperature=TEMPERATURE,
        token_budget=token_budget,
        max_grad_norm=1e9,
    )


def toy_rollouts(update: PolicyUpdate, rows: tuple[Branched, ...]) -> Rollouts:
    """Rows as if the policy had drawn them."""
    network, packed = update.forward.network, update.forward.packed
    with torch.no_grad():
        logps = completion_logps(network, rows, packed=packed, temperature=TEMPERATURE).token_logps
    count = sum(len(row.branches) for row in rows)
    return Rollouts(
        numbers=tuple(range(len(rows))),
        prompts=tuple((Message(role="user", content=f"p{number}"),) for number in range(len(rows))),
        columns=tuple({} for _ in rows),
        rows=rows,
        texts=tuple(f"text {number}" for number in range(count)),
        finished=torch.arange(count) % 3 != 0,
        logps=logps,
    )


def collected(rollouts: Rollouts, totals: np.ndarray, credits: Credits | None = None) -> Collected:
    """Rollouts with these rewards."""
    reward = Reward(members=totals[None])
    scored = ScoredBatch(
        by_source={"toy": reward}, raw=reward, penalised=totals, terms={}, total=totals, credits=credits
    )
    return Collected(rollouts=rollouts, scored=scored, generate_s=0.1, reward_s=0.1)


def weights_of(update: PolicyUpdate) -> torch.Tensor:
    """All parameters in one row."""
    return torch.cat([p.detach().flatten() for group in update.optimizer.param_groups for p in group["params"]]).clone()


def metrics_of(run_dir: Path) -> list[dict[str, float | None]]:
    """What a run recorded, but for what a clock says."""
    return [
        {name: value for name, value in row.items() if not name.startswith(CLOCKED)} for row in read_metrics(run_dir)
    ]
