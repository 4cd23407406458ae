"""Keys and values of prompts, each held once for all its samples, and the attention of new tokens to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class PromptCache:
    """Prompts of similar length, n of them, with the samples that still go on; padded on the right.

    The queries of a prompt's samples stand beside each other, so that its keys are read once for all of them. Where
    samples have left, prompts have different numbers: then the places of the missing are filled with any other's.
    """

    def __init__(
        self, keys: Sequence[Tensor], values: Sequence[Tensor], lengths: Sequence[int], *, num_samples: int
    ) -> None:
        """Takes (n, key heads, longest, D) keys and values of each layer, and how many tokens of a prompt count."""
        self.keys, self.values = list(keys), list(values)
        self.mask: Tensor | None = None
        if min(lengths) < max(lengths):
            device = keys[0].device
            counts = torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]
            mask = torch.zeros(counts.shape, dtype=keys[0].dtype, device=device).masked_fill_(~counts, float("-inf"))
            self.mask = mask[:, None, None]
        self._set_owners([number for number in range(len(lengths)) for _ in range(num_samples)])

    @property
    def num_rows(self) -> int:
        """Samples that go on."""
        return len(self.owners)

    def attend(self, layer: int, query: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Attention of the rows' new tokens to their prompts.

        Args:
            query: (rows, heads, D).

        Returns:
            (rows, heads, D), and (rows, heads) float32 logarithms of the sums of exponentials.
        """
        keys = self.keys[layer]
        if self.fill is not None:
            query = query[self.fill]
        # (prompts, samples, key heads, queries of a key head, D), the second and the fourth are what shares keys
        shape = (len(keys), -1, keys.shape[1], query.shape[1] // keys.shape[1])
        sharing = query.view(*shape, query.shape[-1]).transpose(1, 2).flatten(2, 3)
        found, sums = attend(sharing, keys, self.values[layer], self.mask, scale)
        num_samples = len(query) // len(keys)
        found = found.unflatten(2, (num_samples, -1)).transpose(1, 2).flatten(2, 3).flatten(0, 1)
        sums = sums.unflatten(2, (num_samples, -1)).transpose(1, 2).flatten(2, 3).flatten(0, 1)
        return (found, sums) if self.back is None else (found[self.back], sums[self.back])

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows go on; prompts without any leave too."""
        owners = [self.owners[row] for row in rows]
        alive = sorted(set(owners))
        if len(alive) < len(self.keys[0]):
            places = torch.tensor(alive, device=self.keys[0].device)
            self.keys = [keys[places] for keys in self.keys]
            self.values = [values[places] for values in self.values]
            self.mask = None if self.mask is None else self.mask[places]
        self._set_owners([alive.index(owner) for owner in owners])

    def _set_owners(self, owners: Sequence[int]) -> None:
        """Notes the prompt of each row, ascending, and how rows are laid out by prompt."""
        self.owners = owners
        rows_of: list[list[int]] = [[] for _ in range(len(self.keys[0]))]
        for row, owner in enumerate(owners):
            rows_of[owner].append(row)
        most = max(map(len, rows_of))
        self.fill: Tensor | None = None
        self.back: Tensor | None = None
        if min(map(len, rows_of)) < most:
            device = self.keys[0].device
            filled = [(*rows, *[rows[0]] * (most - len(rows))) for rows in rows_of]
            self.fill = torch.tensor(filled, device=device).flatten()
            places = [number * most + place for number, rows in enumerate(rows_of) for place in range(len(rows))]
            self.back = torch.tensor(places, device=device)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """softmax(scale Q K^T + mask) V, and the logarithm of the sum that the softmax divides by.

    Two such parts a, b over different keys are put together as lerp(a, b, sigmoid(log-sum b - log-sum a)).

    Args:
        query: (n, H, Q, D); key, value: (n, H, L, D).
        mask: additive, broadcast to (n, H, Q, L).

    Returns:
        (n, H, Q, D) and (n, H, Q) float32.
    """
    if query.device.type == "cpu":
        # What scaled_dot_product_attention calls, asked by name because it returns the sums too.
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, attn_mask=_of_rank_four(mask), scale=scale
        )
    return attend_by_products(query, key, value, mask, scale)


def attend_by_products(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """As `attend`, on any device."""
    scores = (query @ key.transpose(2, 3)).float() * scale
    if mask is not None:
        scores = scores + mask
    sums = scores.logsumexp(-1)
    return (scores - sums[..., None]).exp().to(value.dtype) @ value, sums


def _of_rank_four(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.view((1,) * (4 - mask.dim()) + mask.shape)
