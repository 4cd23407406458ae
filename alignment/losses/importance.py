"""Weights for completions drawn by an engine whose probabilities differ from the trainer's.

An engine of its own kernels and precision draws from a slightly other policy than the one that is trained, which biases
the gradient. Each token is weighted by how much likelier it is under the trainer, up to a cap.

Tokens lie flat, as in `rewardkit.network.logps.CompletionLogps`, which calls a completion a branch: the C tokens of S
completions, one completion after another in the order of their numbers, 0 to S - 1. `segment_sums` adds them up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor

from alignment.losses.pair import exact


def segment_sums(values: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """(S,) sums over each completion's tokens.

    Args:
        values: (C,) float.
        segment: (C,) int64, the completion of each token.
    """
    return values.new_zeros(num_segments).index_add(0, segment, values)


def later_tokens(lengths: Tensor) -> Tensor:
    """(C,) int64, how many tokens follow in the same completion: 0 on its last one.

    Args:
        lengths: (S,) int64, tokens of each completion.
    """
    ends = lengths.cumsum(0).repeat_interleave(lengths)
    return ends - 1 - torch.arange(len(ends), device=lengths.device)


ImportanceLevel = Literal["token", "sequence"]


@dataclass(frozen=True, kw_only=True)
class ImportanceWeights:
    """Weights of tokens and what they were before the cap, all detached.

    Attributes:
        weights: (C,) float32.
        ratio: (C,) float32, probability under the trainer by that under the sampler.
        capped: (C,) float32: 1 where the cap acted.
    """

    weights: Tensor
    ratio: Tensor
    capped: Tensor


def importance_weights(
    trainer_logps: Tensor,
    sampler_logps: Tensor,
    branch: Tensor,
    lengths: Tensor,
    *,
    cap: float,
    level: ImportanceLevel,
) -> ImportanceWeights:
    """Truncated importance weights of tokens.

    weights = min(exp(log trainer - log sampler), cap), of each token, or of the sum over its completion.
    Ionides 2008, "Truncated importance sampling"; for language models Yao et al. 2025, "Your efficient RL framework
    secretly brings you off-policy RL training". How far the two are apart: `alignment.losses.kl.token_kl(sampler,
    trainer)`.

    Args:
        trainer_logps: (C,) float, nats, of the trainer's policy as it was when the tokens were drawn.
        sampler_logps: (C,) float, nats, as the sampler gave them.
        branch: (C,) int64, the completion of each token.
        lengths: (S,) int64, tokens of each completion.
        cap: largest weight, 1 or more: below, even equal policies would be reweighted.
        level: `sequence` weighs all tokens of a completion alike; unbiased but for the cap, and of more variance.

    Raises:
        ValueError: if cap is out of range.
    """
    if not cap >= 1.0:
        raise ValueError(f"cap is {cap}, allowed is 1 or more")
    log_ratio = (exact(trainer_logps) - exact(sampler_logps)).detach()
    match level:
        case "token":
            pass
        case "sequence":
            log_ratio = segment_sums(log_ratio, branch, len(lengths))[branch]
        case _:
            assert_never(level)
    ratio = log_ratio.exp()
    return ImportanceWeights(weights=ratio.clamp_max(cap), ratio=ratio, capped=(ratio > cap).to(ratio.dtype))
