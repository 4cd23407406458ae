"""Keys and values of prompts, each held once for all its samples, and the attention of new tokens to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class Own(NamedTuple):
    """Keys and values of the rows' own new tokens, (rows, key heads, new tokens, D); mask: (new tokens,), additive."""

    keys: Tensor
    values: Tensor
    mask: Tensor | None


class PromptCache:
    """Prompts of similar length, n of them, with the samples that still go on; padded on the right.

    The queries of a prompt's samples stand beside each other, so that its keys are read once for all of them. Where
    samples have left, prompts have different numbers: then the places of the missing are filled with any other's.
    """

    def __init__(self, lengths: Sequence[int], *, num_samples: int, device: torch.device, dtype: torch.dtype) -> None:
        """Takes how many tokens each prompt has; `add` gives the keys and values of a layer after the other."""
        self.lengths = list(lengths)
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.mask: Tensor | None = None
        if min(lengths) < max(lengths):
            counts = torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]
            mask = torch.zeros(counts.shape, dtype=dtype, device=device).masked_fill_(~counts, float("-inf"))
            self.mask = mask[:, None, None]
        self._set_owners([number for number in range(len(lengths)) for _ in range(num_samples)], device)

    def add(self, keys: Tensor, values: Tensor) -> None:
        """Adds the next layer's keys and values, (tokens, key heads, D), the prompts one after another."""
        for layers, part in ((self.keys, keys), (self.values, values)):
            padded = pad_sequence(list(part.split(self.lengths)), batch_first=True)
            layers.append(padded.transpose(1, 2).contiguous())

    @property
    def num_rows(self) -> int:
        """Number of samples that are not finished."""
        return len(self.owners)

    @property
    def width(self) -> int:
        """Tokens of the longest prompt."""
        return self.keys[0].shape[2]

    def score(self, layer: int, query: Tensor, out: Tensor) -> None:
        """Writes q K^T into (rows, key heads, queries, width) `out`, -inf beyond a prompt's end.

        Args:
            query: (rows, key heads, queries of a key head, D), scaled.
        """
        scores = self._to_rows(self._to_prompts(query) @ self.keys[layer].transpose(2, 3))
        if self.row_mask is None:
            out.copy_(scores)
        else:
            torch.add(scores, self.row_mask, out=out)

    def read(self, layer: int, shares: Tensor) -> Tensor:
        """(rows, key heads, queries, D) values, weighted by (rows, key heads, queries, width) shares."""
        return self._to_rows(self._to_prompts(shares) @ self.values[layer])

    def _to_prompts(self, rows: Tensor) -> Tensor:
        """Reshapes (rows, key heads, queries, ...) to (prompts, key heads, samples x queries of a key head, ...)."""
        if self.fill is not None:
            rows = rows[self.fill]
        return rows.unflatten(0, (len(self.lengths), -1)).transpose(1, 2).flatten(2, 3)

    def _to_rows(self, prompts: Tensor) -> Tensor:
        """Inverts `_to_prompts`."""
        num_samples = (self.num_rows if self.fill is None else len(self.fill)) // len(prompts)
        rows = prompts.unflatten(2, (num_samples, -1)).transpose(1, 2).flatten(0, 1)
        return rows if self.back is None else rows[self.back]

    def keep(self, rows: Sequence[int]) -> None:
        """Drops all rows but these, and prompts that have no rows left."""
        owners = [self.owners[row] for row in rows]
        alive = sorted(set(owners))
        device = self.keys[0].device
        if len(alive) < len(self.lengths):
            places = torch.tensor(alive, device=device)
            self.lengths = [self.lengths[owner] for owner in alive]
            self.keys = [keys[places] for keys in self.keys]
            self.values = [values[places] for values in self.values]
            self.mask = None if self.mask is None else self.mask[places]
        self._set_owners([alive.index(owner) for owner in owners], device)

    def _set_owners(self, owners: Sequence[int], device: torch.device) -> None:
        """Notes the prompt of each row, ascending, and how rows are laid out by prompt."""
        self.owners = owners
        self.row_mask = None if self.mask is None else self.mask[torch.tensor(owners, device=device)]
        rows_of: list[list[int]] = [[] for _ in self.lengths]
        for row, owner in enumerate(owners):
            rows_of[owner].append(row)
        most = max(map(len, rows_of))
        self.fill: Tensor | None = None
        self.back: Tensor | None = None
        if min(map(len, rows_of)) < most:
            filled = [(*rows, *[rows[0]] * (most - len(rows))) for rows in rows_of]
            self.fill = torch.tensor(filled, device=device).flatten()
            places = [number * most + index for number, rows in enumerate(rows_of) for index in range(len(rows))]
            self.back = torch.tensor(places, device=device)


def attend(caches: Sequence[PromptCache], layer: int, query: Tensor, own: Own | None, scale: float) -> Tensor:
    """Attention of the rows' new tokens to their prompts, and to their own earlier tokens.

    softmax(scale q (K_own, K_prompt)^T) (V_own, V_prompt), a prompt's part by one product for all its samples.

    Args:
        caches: of the rows, one after another.
        query: (rows, heads, D).
        own: None for a prompt's last token, whose keys the prompt holds already.

    Returns:
        (rows, heads, D).
    """
    grouped = (query * scale).unflatten(1, (caches[0].keys[layer].shape[1], -1))
    num_own = 0 if own is None else own.keys.shape[2]
    width = num_own + max(cache.width for cache in caches)
    scores = grouped.new_full((*grouped.shape[:-1], width), float("-inf"))
    sizes = [cache.num_rows for cache in caches]
    for cache, part, out in zip(caches, grouped.split(sizes), scores.split(sizes), strict=True):
        cache.score(layer, part, out[..., num_own : num_own + cache.width])
    if own is not None:
        own_scores = grouped @ own.keys.transpose(2, 3)
        scores[..., :num_own] = own_scores if own.mask is None else own_scores + own.mask
    shares = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    parts = [
        cache.read(layer, part[..., num_own : num_own + cache.width])
        for cache, part in zip(caches, shares.split(sizes), strict=True)
    ]
    values = parts[0] if len(parts) == 1 else torch.cat(parts)
    if own is not None:
        values = values + shares[..., :num_own] @ own.values
    return values.flatten(1, 2)
