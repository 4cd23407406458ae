"""f-divergences from the reference, as what they make of a log-ratio before a loss compares chosen with rejected."""

from __future__ import annotations

import math
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.config.loss_names import DivergenceName

LARGEST_EXPONENT = 80.0  # exp of it is finite in float32


def divergence_scores(logratios: Tensor, *, divergence: DivergenceName, alpha: float = 0.5) -> Tensor:
    """f'(u) of the ratio u = policy / reference: the reward of a completion is beta f'(u), up to what a prompt shares.

    reverse_kl: log u.  forward_kl: 1 - 1/u.  js_divergence: log(2u / (1 + u)).
    alpha_divergence: (u^(a - 1) - 1) / (a - 1), which is forward_kl at a = 0 and tends to reverse_kl as a goes to 1.
    Wang et al. 2023, theorem 1 and table 1 (arXiv 2309.16240); their alpha is 1 - a here, which is how TRL counts too.
    Constants are chosen so that all are 0 at u = 1; they cancel between chosen and rejected.

    Args:
        logratios: (B,) float, log u, nats.
        divergence: which f.
        alpha: a, of alpha_divergence.

    Returns:
        (B,) float, increasing in the log-ratio. Exponents are held below 80: beyond, the gradient is 0 rather than nan.
    """
    match divergence:
        case "reverse_kl":
            return logratios
        case "forward_kl":
            return -torch.expm1((-logratios).clamp(max=LARGEST_EXPONENT))
        case "js_divergence":
            return math.log(2.0) + F.logsigmoid(logratios)
        case "alpha_divergence":
            power = alpha - 1.0
            if abs(power) < 1e-6:
                return logratios
            return torch.expm1((power * logratios).clamp(max=LARGEST_EXPONENT)) / power
        case _:
            assert_never(divergence)
