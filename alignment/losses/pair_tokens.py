"""What the tokens of a pair's completions say beyond their sums: how likely the pair is to the policy, what is surplus.

Tokens lie flat, one completion after another, chosen before rejected, as `rewardkit.network.logps.CompletionLogps` has
them for rows of two branches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alignment.losses.importance import later_tokens, segment_sums
from alignment.losses.pair import exact


def wpo_weights(logps: Tensor, log_squares: Tensor, branch: Tensor, lengths: Tensor) -> Tensor:
    """(P,) float32, detached: how likely the policy is to write either completion of a pair, beside its own samples.

    w = w(y_c) w(y_r),  w(y) = exp(mean over tokens of log p(y_t) - log sum_v p_t(v)^2).
    Zhou et al. 2024, eq. 2, aligned to sampled outputs (WPO, arXiv 2406.11827): the expectation of a sampled token's
    probability is the sum of squares, so that a completion of such tokens weighs about 1 whatever the entropy.

    Args:
        logps, log_squares: (C,) float, of the tokens of the pairs' completions, chosen before rejected.
        branch: (C,) int64, the completion, 0 to 2 P - 1, of each token.
        lengths: (2 P,) int64, tokens of each completion.
    """
    aligned = exact(logps).detach() - exact(log_squares).detach()
    sums = segment_sums(aligned, branch, len(lengths))
    return (sums / lengths.clamp_min(1)).exp().view(-1, 2).prod(1)


def desensitised_sums(logps: Tensor, lengths: Tensor, *, ld_alpha: float) -> Tensor:
    """(2 P,) float32, nats: sums over completions of pairs, where what the longer one has beyond the other counts less.

    sum over t <= l of log p(y_t) + a sum over t > l of log p(y_t),  l the tokens of the pair's shorter completion.
    Liu et al. 2024, section 4 (LD-DPO, arXiv 2409.06411), their alpha; a = 1 is the log-probability.

    Args:
        logps: (C,) float, of the tokens of the pairs' completions, one completion after another.
        lengths: (2 P,) int64, tokens of each completion, of which two make a pair.
        ld_alpha: a, 0 to 1.
    """
    shorter = lengths.view(-1, 2).amin(1).repeat_interleave(2)
    completion = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    places = lengths[completion] - 1 - later_tokens(lengths)  # from 0
    values = exact(logps)
    return segment_sums(values.where(places < shorter[completion], ld_alpha * values), completion, len(lengths))
