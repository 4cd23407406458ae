"""Mean and variance of values spread over micro-batches and processes, and values brought to mean 0 and variance 1.

What is passed around are sums, which add up: however the tokens of a step are split, they are whitened alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
    found = moments(sums)
    whitened = (values.double() - found.mean) * (found.variance + EPSILON).rsqrt()
    return (whitened if shift_mean else whitened + found.mean).to(values.dtype)
