"""The value head's loss, how well it predicts, and whitening by the moments of a whole step.

Moments are passed around as sums, which add up: however the tokens of a step are split into micro-batches and
processes, they have the same mean and variance and are whitened alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alignment.losses.pair import exact

EPSILON = 1e-8
ROUNDING = 1e-14  # of the mean square: a smaller variance is what subtracting two large sums leaves of none


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Mean and variance of some values.

    Attributes:
        mean: scalar float64, 0 of no values.
        variance: scalar float64, ddof 0: the sum of squared distances from the mean by the number of values.
    """

    mean: Tensor
    variance: Tensor


def moment_sums(values: Tensor) -> Tensor:
    """(3,) float64, detached: number, sum, sum of squares. Add those of micro-batches and processes up.

    Args:
        values: any shape, float.
    """
    values = values.detach().double()
    return torch.stack([values.new_tensor(values.numel()), values.sum(), values.square().sum()])


def moments(sums: Tensor) -> Moments:
    """Mean and variance from `moment_sums`."""
    count = sums[0].clamp_min(1.0)
    mean = sums[1] / count
    mean_square = sums[2] / count
    variance = mean_square - mean.square()
    return Moments(mean=mean, variance=torch.where(variance > ROUNDING * mean_square, variance, 0.0))


def whiten(values: Tensor, sums: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Values divided by their standard deviation.

    whitened = (x - mean) / sqrt(variance + 1e-8), plus the mean unless `shift_mean`; variance with ddof 0.
    Ziegler et al. 2019's code (`lm_human_preferences/utils/core.py`, `whiten`); TRL's last PPO, 1.12, has ddof 1.
    Advantages are whitened with shift_mean, rewards without: where rewards are 0 on average is not for the batch to
    decide.

    Args:
        values: (C,) float, of the tokens at hand.
        sums: (3,) of `moment_sums` of all tokens of the step.
        shift_mean: whether the mean becomes 0.
    """
    moments_of_all = moments(sums)
    whitened = (values.double() - moments_of_all.mean) * (moments_of_all.variance + EPSILON).rsqrt()
    return (whitened if shift_mean else whitened + moments_of_all.mean).to(values.dtype)


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
        residual_sums: (3,) `alignment.losses.value.moment_sums` of returns minus values.
        return_sums: (3,) those of returns.
    """
    variance = float(moments(return_sums).variance)
    return 1.0 - float(moments(residual_sums).variance) / variance if variance > 0.0 else float("nan")
