"""From one score per completion to one reward per token."""

from __future__ import annotations

from torch import Tensor

from alignment.losses.pair import exact


def token_rewards(scores: Tensor, kl: Tensor, lengths: Tensor, *, beta: float) -> Tensor:
    """(C,) float32, detached: what each token earns.

    r_t = -beta kl_t, plus the score on the completion's last token.
    Ziegler et al. 2019, eq. 2 (arXiv 1909.08593), by token as in Stiennon et al. 2020. The last token is the last one
    that was drawn: the EOS where there is one, else the token the completion was cut after. Its own KL counts too.
    TRL's last PPO, 1.12, puts the score one place behind the EOS, with a value of its own there.

    Args:
        scores: (S,) float, reward units, of whole completions.
        kl: (C,) float, nats, k1 by tokens of `alignment.losses.kl.token_kl` under the policy that drew them, which
            makes the sum of a completion's rewards an unbiased score minus beta KL.
        lengths: (S,) int64, tokens of each completion, none of them 0.
        beta: weight of the KL, 0 or more.
    """
    assert bool((lengths > 0).all()), "a completion without tokens has nowhere to put its score"
    rewards = -beta * exact(kl).detach()
    return rewards.index_add(0, lengths.cumsum(0) - 1, scores.detach().to(rewards))
