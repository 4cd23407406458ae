"""Sums over the segments of a flat row: the C tokens of S completions, one completion after another, nothing padded.

The layout of `rewardkit.network.logps.CompletionLogps`, which calls a completion a branch: the tokens of a completion
stand together and in order, completions in the order of their numbers, 0 to S - 1.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
