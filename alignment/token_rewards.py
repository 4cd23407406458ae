"""From one score per completion to one reward per token, and what a score loses for length."""

from __future__ import annotations

import torch
from torch import Tensor

from alignment.losses import exact


def token_rewards(scores: Tensor, kl: Tensor, lengths: Tensor, *, beta: float) -> Tensor:
    """(C,) float32, detached: what each token earns.

    r_t = -beta kl_t, plus the score on the completion's last token.
    Ziegler et al. 2019, eq. 2 (arXiv 1909.08593), by token as in Stiennon et al. 2020. The last token is the last one
    that was drawn: the EOS where there is one, else the token the completion was cut after. Its own KL counts too.
    TRL's last PPO, 1.12, puts the score one place behind the EOS, with a value of its own there.

    Args:
        scores: (S,) float, reward units, of whole completions.
        kl: (C,) float, nats, k1 by tokens of `alignment.kl.token_kl` under the policy that drew them, which makes the
            sum of a completion's rewards an unbiased score minus beta KL.
        lengths: (S,) int64, tokens of each completion, none of them 0.
        beta: weight of the KL, 0 or more.
    """
    assert bool((lengths > 0).all()), "a completion without tokens has nowhere to put its score"
    rewards = -beta * exact(kl).detach()
    return rewards.index_add(0, lengths.cumsum(0) - 1, scores.detach().to(rewards))


def overlong_penalty(lengths: Tensor, *, max_length: int, soft_length: int) -> Tensor:
    """(S,) float32, -1 to 0, to be added to the scores: grows over the last tokens before the limit.

    0 up to max_length - soft_length, then falling evenly to -1 at max_length and beyond.
    Yu et al. 2025, DAPO, eq. 13 (arXiv 2503.14476).

    Args:
        lengths: (S,) int64, tokens of each completion.
        max_length: the limit, tokens.
        soft_length: how many tokens before it the penalty starts, 1 to max_length.

    Raises:
        ValueError: if soft_length is out of range.
    """
    if not 0 < soft_length <= max_length:
        raise ValueError(f"soft_length is {soft_length}, allowed is 1 to max_length, {max_length}")
    over = lengths.to(torch.float32) - (max_length - soft_length)
    return -(over / soft_length).clamp(0.0, 1.0)
