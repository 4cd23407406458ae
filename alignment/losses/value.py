"""The loss of a value head that predicts returns, and how well it does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alignment.losses.pair import exact
from alignment.losses.whitening import moments


@dataclass(frozen=True, kw_only=True)
class ValueLoss:
    """Losses of values and a detached diagnostic.

    Attributes:
        losses: (C,) float32, with gradient; the trainer divides their sum by the tokens of the whole step.
        clipped: (C,) float32, detached: 1 where the clipped value's distance was the larger one.
    """

    losses: Tensor
    clipped: Tensor


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, *, clip_range: float) -> ValueLoss:
    """PPO's value loss, pessimistic about values that moved away from those of the rollout.

    losses = 0.5 max((v - R)^2, (v_clip - R)^2),  v_clip = v_old + clip(v - v_old, -c, c).
    Ziegler et al. 2019's code (arXiv 1909.08593); Huang et al. 2024 (arXiv 2403.17031). The values clipped around are
    the rollout's, not those of the epoch before.

    Args:
        values: (C,) float, with gradient, one per completion token.
        old_values: (C,) float, of the value head when the completions were drawn.
        returns: (C,) float, reward units.
        clip_range: c, reward units, > 0; infinite never clips.

    Raises:
        ValueError: if clip_range is not positive.
    """
    if not clip_range > 0.0:
        raise ValueError(f"clip_range is {clip_range}, allowed is more than 0")
    values, old_values, returns = exact(values), exact(old_values).detach(), exact(returns).detach()
    held = old_values + (values - old_values).clamp(-clip_range, clip_range)
    free_loss, held_loss = (values - returns).square(), (held - returns).square()
    clipped = (held_loss > free_loss).to(free_loss.dtype)
    return ValueLoss(losses=0.5 * torch.maximum(free_loss, held_loss), clipped=clipped)


def explained_variance(residual_sums: Tensor, return_sums: Tensor) -> float:
    """Share of the returns' variance that values explain: 1 is all, 0 no more than a constant, below 0 worse.

    1 - Var(R - V) / Var(R); nan where returns do not vary.

    Args:
        residual_sums: (3,) `alignment.losses.whitening.moment_sums` of returns minus values.
        return_sums: (3,) those of returns.
    """
    variance = float(moments(return_sums).variance)
    return 1.0 - float(moments(residual_sums).variance) / variance if variance > 0.0 else float("nan")
