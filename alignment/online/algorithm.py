"""What the shared loop over samples of the policy asks of an algorithm, and what it hands to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from alignment.config.online import OnlineConfig
from alignment.losses.kl import token_kl
from alignment.losses.policy_gradient import PolicyLoss
from alignment.online.update import PolicyUpdate
from alignment.policy.reference import LiveReference
from alignment.rewards.rewards import ScoredBatch
from alignment.rollouts.collector import Collected
from alignment.rollouts.rollouts import Rollouts
from rewardkit.network.logps import CompletionLogps

Draw = Callable[[int, int], Collected]
"""Completions of so many further prompts, rewarded; the second number is that of the draw within the step."""


class Carried(torch.nn.Module):
    """State that a run carries from step to step besides the policy; checkpoints hold it.

    Attributes:
        position: () int64, prompts taken so far.
        num_tokens: () int64, tokens of the full sequences so far.
        beta: () float64, weight of the KL.
        baseline: (2,) float64, weighted sum of the steps' mean rewards and its weight.
        log_multipliers: (C,) float64, natural logarithms of the constraints' multipliers; empty without constraints.
        value: the value head or network; None where there is none.
        anchor: a reference that moves, where there is one; not trained.
    """

    position: Tensor
    num_tokens: Tensor
    beta: Tensor
    baseline: Tensor
    log_multipliers: Tensor

    def __init__(
        self, beta: float, value: torch.nn.Module | None = None, anchor: torch.nn.Module | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("num_tokens", torch.zeros((), dtype=torch.int64))
        self.register_buffer("beta", torch.tensor(beta, dtype=torch.float64))
        self.register_buffer("baseline", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("log_multipliers", torch.zeros(0, dtype=torch.float64), persistent=False)
        self.value = value
        self.anchor = anchor

    def begin_multipliers(self, count: int, start: float) -> None:
        """Carries a multiplier for each of so many constraints, all of the same value."""
        self.register_buffer("log_multipliers", torch.full((count,), math.log(start), dtype=torch.float64))


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Results of one step.

    Attributes:
        rollouts, scored: what was trained on.
        metrics: of the step.
        stop: why the run should end; empty where it goes on.
    """

    rollouts: Rollouts
    scored: ScoredBatch
    metrics: Mapping[str, float]
    stop: str = ""


class Algorithm(Protocol):
    """Learns from completions of the policy."""

    @property
    def carried(self) -> Carried: ...

    def step(self, draw: Draw, *, with_entropy: bool, with_kl: bool) -> Learned:
        """Draws completions and learns from them.

        Args:
            with_entropy, with_kl: whether to measure what the loss itself does not need.
        """
        ...


def reference_logps(update: PolicyUpdate, reference: LiveReference, rollouts: Rollouts) -> Tensor:
    """Returns (C,) float32, nats, log-probabilities of all tokens under the reference."""
    with reference.computing() as forward:
        return update.token_logps(rollouts, forward=forward)


def kl_metrics(policy_logps: Tensor, reference_logps: Tensor, num_completions: int) -> dict[str, float]:
    """Returns the KL from the sampling policy to the reference, nats per completion, by k1 and by k3.

    Args:
        policy_logps, reference_logps: (C,) float of all their tokens.
    """
    k1, k3 = (float(token_kl(policy_logps, reference_logps, name).sum()) for name in ("k1", "k3"))
    return {"kl": k1 / num_completions, "kl/k3": k3 / num_completions}


RATIO_METRICS = (
    "entropy",
    "ratio/mean",
    "ratio/approx_kl",
    "ratio/clipfrac",
    "ratio/clipfrac_low",
    "ratio/clipfrac_high",
)


def ratio_columns(logps: CompletionLogps, loss: PolicyLoss) -> list[tuple[Tensor, Tensor]]:
    """Returns values and weights of RATIO_METRICS, by token."""
    ones = torch.ones_like(logps.token_logps)
    return [
        entropy_column(logps),
        (loss.ratio, ones),
        (loss.approx_kl("k3"), ones),
        (loss.clipped_low + loss.clipped_high, ones),
        (loss.clipped_low, ones),
        (loss.clipped_high, ones),
    ]


def entropy_column(logps: CompletionLogps) -> tuple[Tensor, Tensor]:
    """Returns the entropy of every token and its weight, which is 0 where it was not measured."""
    if logps.entropy is None:
        zeros = torch.zeros_like(logps.token_logps)
        return zeros, zeros
    return logps.entropy, torch.ones_like(logps.token_logps)


def minibatches(count: int, config: OnlineConfig, carried: Carried) -> list[list[int]]:
    """Deals the step's groups, completions or pairs to the optimizer steps, about equally many to each.

    A fresh permutation each pass, which the run's position seeds; parts without any are left out.
    """
    batches = []
    for number in range(config.passes):
        order = np.random.default_rng((config.seed, int(carried.position), number)).permutation(count)
        batches += [part.tolist() for part in np.array_split(order, config.minibatches) if len(part)]
    return batches
