"""Attention for packed rows: every branch sees its prompt and itself, rows do not see each other.

Registered with transformers as the attention implementation `tiebreak_packed`, so that any decoder that takes an
attention implementation by name runs packed rows unchanged. On a CPU the rows are attended one by one with exact causal
or tree masks (no work on masked blocks); on a GPU one FlexAttention call with a block mask covers the whole sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor

from rewardkit.batch import Branched, PackedBatch

NAME = "tiebreak_packed"
_current: ContextVar[PackedBatch] = ContextVar("packed_batch")


@contextmanager
def packed_rows(batch: PackedBatch) -> Iterator[None]:
    """Within the block, models loaded with `attn_implementation=NAME` attend along the rows of `batch`."""
    token = _current.set(batch)
    try:
        yield
    finally:
        _current.reset(token)


def tree_mask(row: Branched) -> Tensor:
    """(L, L) bool, True where query (row) may look at key (column), L = row.num_tokens."""
    mask = torch.ones(row.num_tokens, row.num_tokens, dtype=torch.bool).tril_()
    start = len(row.prompt)
    for branch in row.branches:
        mask[start + len(branch) :, start : start + len(branch)] = False
        start += len(branch)
    return mask


def register() -> None:
    """Makes the implementation known to transformers; calling it again changes nothing."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, _packed_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, _no_mask)


def _no_mask(*args: object, **kwargs: object) -> None:
    """The mask is built from the current batch; transformers need not make one."""


def _packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Attention over (1, H, T, D) tensors of a packed batch; returns (1, T, H, D)."""
    batch = _current.get()
    if key.shape[1] != query.shape[1]:
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    if query.is_cuda:
        return _flex(batch, query, key, value, scaling).transpose(1, 2), None
    lengths = [row.num_tokens for row in batch.rows]
    parts = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), batch.rows, strict=True)
    return torch.cat([_row(*part, scaling) for part in parts], dim=2).transpose(1, 2), None


def _row(query: Tensor, key: Tensor, value: Tensor, row: Branched, scaling: float | None) -> Tensor:
    """Attention within one row; (1, H, L, D) in and out."""
    match len(row.branches):
        case 1:
            return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
        case 2:
            return F.scaled_dot_product_attention(query, key, value, attn_mask=tree_mask(row), scale=scaling)
        case _:
            return _many_branches(query, key, value, row, scaling)


def _many_branches(query: Tensor, key: Tensor, value: Tensor, row: Branched, scaling: float | None) -> Tensor:
    """The prompt against itself, then each branch against prompt and itself: no work on other branches."""
    sizes = [len(row.prompt), *map(len, row.branches)]
    queries, keys, values = query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2)
    outputs = []
    if row.prompt:
        outputs.append(F.scaled_dot_product_attention(queries[0], keys[0], values[0], is_causal=True, scale=scaling))
    for branch_query, branch_key, branch_value in zip(queries[1:], keys[1:], values[1:], strict=True):
        length = branch_query.shape[2]
        mask = torch.ones(length, sizes[0] + length, dtype=torch.bool).tril_(sizes[0])
        outputs.append(
            F.scaled_dot_product_attention(
                branch_query,
                torch.cat((keys[0], branch_key), 2),
                torch.cat((values[0], branch_value), 2),
                attn_mask=mask,
                scale=scaling,
            )
        )
    return torch.cat(outputs, dim=2)


def _flex(batch: PackedBatch, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """One FlexAttention call over the whole sequence, with a block mask built once per batch."""
    from torch.nn.attention.flex_attention import flex_attention

    compiled = _compiled(flex_attention)
    return compiled(query, key, value, block_mask=_block_mask(batch, query.device), scale=scaling)


_compiled_functions: dict[str, object] = {}


def _compiled(function):  # noqa: ANN001, ANN202
    return _compiled_functions.setdefault("flex", torch.compile(function, dynamic=True))


def _block_mask(batch: PackedBatch, device: torch.device):  # noqa: ANN202
    from torch.nn.attention.flex_attention import create_block_mask

    row_of, branch_of = row_and_branch(batch)
    row_of, branch_of = row_of.to(device), branch_of.to(device)

    def may_look(_batch, _head, query_index, key_index):  # noqa: ANN001, ANN202
        same_row = row_of[query_index] == row_of[key_index]
        visible = (branch_of[key_index] == 0) | (branch_of[key_index] == branch_of[query_index])
        return same_row & visible & (key_index <= query_index)

    cached = batch.__dict__.get("_block_mask")
    if cached is None:
        cached = create_block_mask(may_look, 1, 1, batch.num_tokens, batch.num_tokens, device=device)
        batch.__dict__["_block_mask"] = cached
    return cached


def row_and_branch(batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """Two (T,) int64 tensors: the row of each token, and its branch (0 for prompts, then 1, 2, ...)."""
    rows, branches = [], []
    for index, row in enumerate(batch.rows):
        rows.extend([index] * row.num_tokens)
        branches.extend([0] * len(row.prompt))
        for number, branch in enumerate(row.branches, start=1):
            branches.extend([number] * len(branch))
    return torch.tensor(rows), torch.tensor(branches)
