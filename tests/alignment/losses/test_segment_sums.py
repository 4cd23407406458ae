"""Sums over completions of a flat row of tokens."""

from __future__ import annotations

import torch

from alignment.losses.importance import later_tokens, segment_sums


def test_by_hand() -> None:
    lengths = torch.tensor([3, 0, 1, 2])
    segment = torch.arange(4).repeat_interleave(lengths)
    assert segment_sums(torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]), segment, 4).tolist() == [7.0, 0.0, 8.0, 48.0]
    assert later_tokens(lengths).tolist() == [2, 1, 0, 0, 1, 0]
