"""Advantages without a value head: rewards of completions compared with one another.

Rewards come as (P, G), G completions of each of P prompts, and must be those of the whole step, gathered over
micro-batches and processes, where something is computed over more than a group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

import torch
from torch import Tensor

from alignment.config.policy_gradient_names import BaselineName, ScaleName
from alignment.losses.pair import exact

EPSILON = 1e-4


def group_advantages(rewards: Tensor, *, baseline: BaselineName, scale: ScaleName, running_mean: float = 0.0) -> Tensor:
    """(P, G) float32, detached: reward minus baseline, divided by a spread.

    A = (R - b) / (std + 1e-4), or R - b.
    `group` with scale `group`: Shao et al. 2024, section 4.1.2 (GRPO, arXiv 2402.03300); with `none`: Liu et al. 2025
    (Dr. GRPO, arXiv 2503.20783). `leave_one_out`: b is the mean of the other G - 1, R - b = G / (G - 1) (R - mean);
    Ahmadian et al. 2024 (RLOO, arXiv 2402.14740). The standard deviation has ddof 1; 1e-4 is TRL's, too.

    Exactly 0 where all rewards that make the baseline are equal or there is one only: there is nothing to compare, and
    a mean of equal numbers may differ from them by rounding.

    Args:
        rewards: (P, G) float.
        baseline: `group`, `leave_one_out`, `batch` (mean of all P G), `running` (`running_mean`) or `none` (0). The
            means of `group` and `batch` hold the completion's own reward, which shrinks the expected gradient by a
            share of 1 / G or 1 / (P G); the others leave it as it is.
        scale: `group`, `batch` (the standard deviation of all P G rewards) or `none`.
        running_mean: of steps before this one, as `RunningMean` keeps it.
    """
    rewards = exact(rewards).detach()
    size = rewards.shape[1]
    centred = rewards - rewards.mean(1, keepdim=True)
    flat = rewards.amax(1, keepdim=True) == rewards.amin(1, keepdim=True)
    match baseline:
        case "group":
            advantages = centred.masked_fill(flat, 0.0)
        case "leave_one_out":
            advantages = (centred * (size / max(size - 1, 1))).masked_fill(flat, 0.0)
        case "batch":
            advantages = (rewards - rewards.mean()).masked_fill(rewards.max() == rewards.min(), 0.0)
        case "running":
            advantages = rewards - running_mean
        case "none":
            advantages = rewards
        case _:
            assert_never(baseline)
    match scale:
        case "group":
            return advantages / (_std(rewards) + EPSILON)
        case "batch":
            return advantages / (_std(rewards.flatten()) + EPSILON)
        case "none":
            return advantages
        case _:
            assert_never(scale)


def without_signal(advantages: Tensor) -> Tensor:
    """(P,) bool, groups all of whose advantages are 0.

    Their completions add exactly 0 to loss and gradient as long as the loss has no KL: they need no forward pass, but
    still count in the loss's total. DAPO draws other prompts in their place instead.

    Args:
        advantages: (P, G).
    """
    return (advantages == 0.0).all(1)


@dataclass(frozen=True, kw_only=True)
class RunningMean:
    """Mean reward of the steps so far, of which the older count less: a baseline that no present sample has moved.

    mean = sum over steps of decay^age m / sum over steps of decay^age.

    Attributes:
        decay: of a step's weight with every step after it, 0 up to 1.
        total: weighted sum of the steps' means.
        weight: sum of weights.

    Raises:
        ValueError: if decay is out of range.
    """

    decay: float = 0.9
    total: float = 0.0
    weight: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.decay < 1.0:
            raise ValueError(f"decay is {self.decay}, allowed is 0 up to 1")

    @property
    def mean(self) -> float:
        """0 before the first step."""
        return self.total / self.weight if self.weight else 0.0

    def after(self, mean: float) -> RunningMean:
        """The state after a step with this mean reward."""
        return replace(self, total=self.decay * self.total + mean, weight=self.decay * self.weight + 1.0)


def _std(rewards: Tensor) -> Tensor:
    """Over the last dimension, kept, ddof 1; 0 of a single value."""
    if rewards.shape[-1] == 1:
        return torch.zeros_like(rewards)
    return rewards.std(-1, keepdim=True)
