"""Attention of packed rows on a CPU by explicit products: each piece of a row against what it may look at.

A row is taken apart into its prompt and branches, and these into blocks of queries, so that little is computed of what
the mask hides: half of a long causal square, and what branches are to each other. Probabilities are kept for backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rewardkit.batch import Branched

BLOCK = 128  # queries that are attended at once


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Queries of one piece of a row, by places in T: they see the prompt, and from `own` on to themselves."""

    prompt: tuple[int, int]
    own: int
    queries: tuple[int, int]

    def seen(self, tensor: Tensor) -> Tensor:
        """(M K, m, D), the places that the queries see, of (M, K, T, D)."""
        start, stop = self.prompt
        own = tensor[:, :, self.own : self.queries[1]]
        return (torch.cat((tensor[:, :, start:stop], own), 2) if stop > start else own).flatten(0, 1)

    def add_seen(self, to: Tensor, part: Tensor) -> None:
        """Adds (M K, m, D) to the seen places of (M, K, T, D)."""
        start, stop = self.prompt
        part = part.unflatten(0, to.shape[:2])
        if stop > start:
            to[:, :, start:stop] += part[:, :, : stop - start]
        to[:, :, self.own : self.queries[1]] += part[:, :, stop - start :]


def _blocks(rows: Sequence[Branched]) -> Iterator[_Block]:
    """The blocks of all rows. A prompt goes on in its first branch: they are one piece that sees itself only."""
    start = 0
    for row in rows:
        end = start + len(row.prompt)
        stop = end + len(row.branches[0])
        pieces = [(start, start, stop)]
        for branch in row.branches[1:]:
            pieces.append((end, stop, stop + len(branch)))
            stop += len(branch)
        for prompt_end, own, piece_end in pieces:
            for first in range(own, piece_end, BLOCK):
                yield _Block(prompt=(start, prompt_end), own=own, queries=(first, min(first + BLOCK, piece_end)))
        start = stop


class RowAttention(torch.autograd.Function):
    """softmax(scale Q K^T + mask) V along packed rows; (M, H, T, D) queries, (M, K, T, D) keys and values.

    Gives (M, T, H, D). H / K query heads share a key head: in a product they stand one below the other.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, rows: Sequence[Branched], scale: float) -> Tensor:
        heads = query.shape[1]
        groups = heads // key.shape[1]
        result = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format)
        masks: dict[int, Tensor] = {}
        kept = []
        for block in _blocks(rows):
            places = slice(*block.queries)
            size = places.stop - places.start
            if size not in masks:
                masks[size] = query.new_full((size, size), float("-inf")).triu_(1)
            scores = torch.bmm(_grouped(query[:, :, places], groups), block.seen(key).transpose(1, 2)).mul_(scale)
            scores.unflatten(1, (groups, size))[..., -size:] += masks[size]
            kept.append(scores.softmax(-1))
            found = torch.bmm(kept[-1], block.seen(value))
            result[:, places] = found.view(-1, heads, size, found.shape[-1]).transpose(1, 2)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.rows, ctx.scale, ctx.groups = rows, scale, groups
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        query, key, value, *kept = ctx.saved_tensors
        heads, groups = query.shape[1], ctx.groups
        gradient = gradient.transpose(1, 2)
        # tokens first, as what comes before is laid out
        found = [torch.zeros_like(each.transpose(1, 2), memory_format=torch.contiguous_format) for each in (key, value)]
        key_gradient, value_gradient = (each.transpose(1, 2) for each in found)
        query_gradient = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)
        for block, probabilities in zip(_blocks(ctx.rows), kept, strict=True):
            places = slice(*block.queries)
            pulls = _grouped(gradient[:, :, places], groups)
            block.add_seen(value_gradient, torch.bmm(probabilities.transpose(1, 2), pulls))
            scores = torch.ops.aten._softmax_backward_data(
                torch.bmm(pulls, block.seen(value).transpose(1, 2)), probabilities, -1, probabilities.dtype
            ).mul_(ctx.scale)
            part = torch.bmm(scores, block.seen(key))
            query_gradient[:, :, places] = part.view(-1, heads, places.stop - places.start, part.shape[-1])
            block.add_seen(key_gradient, torch.bmm(scores.transpose(1, 2), _grouped(query[:, :, places], groups)))
        return query_gradient, key_gradient, value_gradient, None, None


def _grouped(tensor: Tensor, groups: int) -> Tensor:
    """(M K, groups b, D) of (M, K groups, b, D)."""
    return tensor.unflatten(1, (-1, groups)).flatten(2, 3).flatten(0, 1)
