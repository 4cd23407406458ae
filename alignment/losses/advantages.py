"""Generalised advantage estimation: how much better each token was than the value head expected."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from alignment.losses.branches import later_tokens
from alignment.losses.pair import exact


@dataclass(frozen=True, kw_only=True)
class Advantages:
    """What tokens were worth.

    Attributes:
        advantages: (C,) float32, detached, reward units.
        returns: (C,) float32, detached: advantages plus values, what the value head learns.
    """

    advantages: Tensor
    returns: Tensor


def generalised_advantages(rewards: Tensor, values: Tensor, lengths: Tensor, *, gamma: float, lam: float) -> Advantages:
    """GAE over each completion's tokens.

    A_t = sum over i of (gamma lam)^i delta_{t+i},  delta_t = r_t + gamma V_{t+1} - V_t.
    Schulman et al. 2016, eq. 16 (arXiv 1506.02438). After the last token the value is 0, whether the completion ended
    or was cut: its score was given for the text as it is, and nothing comes after. The sum is built by doubling, in
    log2 of the longest completion's tokens: A over 2 k tokens is A over k plus (gamma lam)^k times that k tokens later.

    Args:
        rewards: (C,) float, of each token, as `alignment.losses.token_rewards.token_rewards`.
        values: (C,) float, reward units: what is expected from before each token on, hence read where the token is
            predicted.
        lengths: (S,) int64, tokens of each completion.
        gamma: discount of a token's time, 0 to 1.
        lam: how far rewards count beyond the value's own forecast: 0 one token, 1 all of them.

    Raises:
        ValueError: if gamma or lam is out of range.
    """
    for name, value in (("gamma", gamma), ("lam", lam)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} is {value}, allowed is 0 to 1")
    rewards, values = exact(rewards).detach(), exact(values).detach()
    later = later_tokens(lengths)
    next_values = F.pad(values[1:], (0, 1)).where(later > 0, 0.0)
    advantages = rewards + gamma * next_values - values
    step, longest = 1, int(lengths.max()) if len(lengths) else 0
    while step < longest:
        tail = F.pad(advantages[step:], (0, step)).where(later >= step, 0.0)
        advantages = advantages + (gamma * lam) ** step * tail
        step *= 2
    return Advantages(advantages=advantages, returns=advantages + values)
