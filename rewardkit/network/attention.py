"""Attention for packed rows: every branch sees its prompt and itself, rows do not see each other.

Registered with transformers as the attention implementation `tiebreak_packed`, so that any decoder that takes an
attention implementation by name runs packed rows unchanged. On a CPU the rows are attended one by one with exact causal
or tree masks (no work on masked rows); on a GPU one FlexAttention call with a block mask covers the whole sequence.
Masks depend on the rows only: they are built once per batch, not once per layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rewardkit.network.packed_rows import Branched, PackedBatch

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask
    from transformers import PretrainedConfig

NAME = "tiebreak_packed"
# What some architectures give their attention beside queries, keys and values: packed rows do not know it.
MORE = ("softcap", "s_aux", "sinks", "sliding_window", "position_bias", "indices", "block_indices", "head_mask")
# Longest row of a CPU that is attended by explicit bf16 products, which keep (heads, L, L) probabilities for backward.
LONGEST_PRODUCT = 1024
# Least length that FlexAttention is given: torch compiles a mask of a single block, of 128 tokens, apart.
LEAST_FLEX = 129
LEAST_WIDTH = 16  # of a head that it takes; rows of narrower ones are attended one by one on a GPU too
# Forms of FlexAttention that a process may compile (heads, number format, with gradient or without); torch's 8 are
# fewer than policy, reference and reward model take, and beyond them it computes every product of a sequence.
MOST_COMPILED = 64


class _Layout:
    """The rows of a batch and the masks that its layers share."""

    def __init__(self, batch: PackedBatch) -> None:
        self.batch = batch
        self.lengths = [row.num_tokens for row in batch.rows]
        self._masks: dict[tuple[int, torch.dtype], Tensor] = {}
        self._block_mask: BlockMask | None = None

    def mask(self, index: int, like: Tensor) -> Tensor:
        """(L, L) of a row: 0 where a query may look, else -inf; where and in the number format that a tensor is."""
        mask_of_row = self._masks.get((index, like.dtype))
        if mask_of_row is None:
            mask_of_row = additive(tree_mask(self.batch.rows[index]), like.dtype).to(like.device)
            self._masks[index, like.dtype] = mask_of_row
        return mask_of_row

    def block_mask(self, device: torch.device) -> BlockMask:
        """Of the whole sequence, for FlexAttention."""
        if self._block_mask is None:
            self._block_mask = _block_mask(self.batch, device)
        return self._block_mask


_current: ContextVar[_Layout] = ContextVar("layout")
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(M, H, T, D) queries, keys and values to attended values of that shape."""
_stand_in: ContextVar[Attend | None] = ContextVar("stand_in", default=None)


@contextmanager
def replaced_by(attend: Attend) -> Iterator[None]:
    """Within the block `attend` stands in for attention in packed rows, where only shapes are asked for."""
    token = _stand_in.set(attend)
    try:
        yield
    finally:
        _stand_in.reset(token)


@contextmanager
def packed_rows(batch: PackedBatch) -> Iterator[None]:
    """Within the block, models loaded with `attn_implementation=NAME` attend along the rows of `batch`."""
    with _with_layout(_Layout(batch)):
        yield


def recomputing() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For gradient checkpointing: contexts of a forward pass and of its later recomputation, which needs its rows.

    Padded sequences have none.
    """
    layout = _current.get(None)
    return nullcontext(), nullcontext() if layout is None else _with_layout(layout)


@contextmanager
def _with_layout(layout: _Layout) -> Iterator[None]:
    token = _current.set(layout)
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


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask to add to scores: 0 where the bool mask is True, else -inf."""
    return torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, float("-inf"))


def register() -> None:
    """Makes the implementation known to transformers; calling it again changes nothing."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, _packed_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, no_mask)


def local_layers(config: PretrainedConfig) -> str:
    """Kinds of layers that attend in windows or chunks or keep a state, which packed rows cannot; empty for none."""
    text = config.get_text_config()
    layers = getattr(text, "layer_types", None)
    if layers is not None:
        return ", ".join(sorted(set(layers) - {"full_attention"}))
    windowed = bool(getattr(text, "sliding_window", None)) and getattr(text, "use_sliding_window", True)
    return "sliding_attention" if windowed else ""


def no_mask(*args: object, **kwargs: object) -> None:
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
    """What transformers calls: (M, H, T, D) in, (M, T, H, D) out.

    Raises:
        ValueError: if the architecture asks for more than plain causal attention.
    """
    more = [name for name in MORE if kwargs.get(name) is not None]
    if attention_mask is not None or kwargs.get("is_causal") is False or not getattr(module, "is_causal", True):
        more.append("a mask of its own")
    if more and not _stand_in.get():  # what stands in computes nothing that they would change
        raise ValueError(f"its attention has {', '.join(more)}")
    return attend_rows(query, key, value, query.shape[-1] ** -0.5 if scaling is None else scaling), None


def attend_rows(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Attention over (M, H, T, D) tensors of a packed batch; returns (M, T, H, D). M is 1, or members in one pass."""
    layout = _current.get()
    if torch.is_autocast_enabled(query.device.type):  # rotations leave queries and keys in float32
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if attend := _stand_in.get():
        return attend(query, key, value).transpose(1, 2)
    if query.is_cuda and query.shape[-1] >= LEAST_WIDTH:
        return _by_flex_attention(_flex_attention(), query, key, value, layout, scale).transpose(1, 2)
    parts = zip(
        query.split(layout.lengths, 2), key.split(layout.lengths, 2), value.split(layout.lengths, 2), strict=True
    )
    rows = [_row(*part, layout, index, scale) for index, part in enumerate(parts)]
    return torch.cat(rows, dim=2).transpose(1, 2)


def _row(query: Tensor, key: Tensor, value: Tensor, layout: _Layout, index: int, scale: float) -> Tensor:
    """Attention within one row; (1, H, L, D) in and out."""
    row = layout.batch.rows[index]
    if len(row.branches) > 2:
        return _many_branches(query, key, value, row, scale)
    if len(row.branches) == 1 and not _by_products(query):
        return F.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=_is_grouped(query, key)
        )
    return _attend(query, key, value, layout.mask(index, query), scale)


def _many_branches(query: Tensor, key: Tensor, value: Tensor, row: Branched, scale: float) -> Tensor:
    """The prompt against itself, then each branch against prompt and itself: no work on other branches."""
    sizes = [len(row.prompt), *map(len, row.branches)]
    queries, keys, values = query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2)
    outputs = []
    for branch_query, branch_key, branch_value in zip(queries, keys, values, strict=True):
        length = branch_query.shape[2]
        if not length:
            continue
        before = 0 if branch_query is queries[0] else sizes[0]
        mask = additive(torch.ones(length, before + length, dtype=torch.bool).tril_(before), query.dtype)
        outputs.append(
            _attend(
                branch_query,
                torch.cat((keys[0], branch_key), 2) if before else branch_key,
                torch.cat((values[0], branch_value), 2) if before else branch_value,
                mask.to(query.device),
                scale,
            )
        )
    return torch.cat(outputs, dim=2)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Attention of (1, H, L, D) queries under an additive (L, M) mask, the faster way for the number format."""
    grouped = _is_grouped(query, key)
    if not _by_products(query):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale, enable_gqa=grouped)
    if grouped:
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    parts = (part.flatten(0, 1) for part in (query, key, value))
    return _Products.apply(*parts, mask, scale).unflatten(0, query.shape[:2])


def _by_products(query: Tensor) -> bool:
    """Whether explicit products are faster than the fused kernel: in bf16 on a CPU they take half its time."""
    return query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.shape[2] <= LONGEST_PRODUCT


def _is_grouped(query: Tensor, key: Tensor) -> bool:
    """Whether several query heads share a key head."""
    return key.shape[1] != query.shape[1]


class _Products(torch.autograd.Function):
    """softmax(scale Q K^T + mask) V of (H, L, D) tensors by batched products, probabilities kept for backward."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
        scores = torch.baddbmm(mask.expand(len(query), -1, -1), query, key.transpose(1, 2), alpha=scale)
        probabilities = scores.softmax(-1)
        ctx.save_for_backward(query, key, value, probabilities)
        ctx.scale = scale
        return torch.bmm(probabilities, value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, probabilities = ctx.saved_tensors
        (gradient,) = gradients
        value_gradient = torch.bmm(probabilities.transpose(1, 2), gradient)
        scores = torch.ops.aten._softmax_backward_data(
            torch.bmm(gradient, value.transpose(1, 2)), probabilities, -1, probabilities.dtype
        ).mul_(ctx.scale)
        return torch.bmm(scores, key), torch.bmm(scores.transpose(1, 2), query), value_gradient, None, None


@cache
def _flex_attention() -> Any:
    """FlexAttention, compiled once for all lengths."""
    from torch import _dynamo
    from torch.nn.attention.flex_attention import flex_attention

    _dynamo.config.cache_size_limit = max(_dynamo.config.cache_size_limit, MOST_COMPILED)
    return torch.compile(flex_attention, dynamic=True)


def _by_flex_attention(
    flex_attention: Any, query: Tensor, key: Tensor, value: Tensor, layout: _Layout, scale: float
) -> Tensor:
    """Attention of all rows in one call; (M, H, T, D) in and out, T as short as it may be.

    Always by the kernel that trains, also where torch has one for short sequences, so that what is tried is what runs;
    and contiguous, as torch compiles other strides apart.
    """
    length = query.shape[2]
    if length < LEAST_FLEX:
        query, key, value = (F.pad(part, (0, 0, 0, LEAST_FLEX - length)) for part in (query, key, value))
    attended = flex_attention(
        query.contiguous(),
        key.contiguous(),
        value.contiguous(),
        block_mask=layout.block_mask(query.device),
        scale=scale,
        enable_gqa=_is_grouped(query, key),
        kernel_options={"FORCE_USE_FLEX_ATTENTION": True},
    )
    return attended[:, :, :length]


def _block_mask(batch: PackedBatch, device: torch.device) -> BlockMask:
    """Of the batch's tokens, and of what fills them up to `LEAST_FLEX`, which sees only itself."""
    from torch.nn.attention.flex_attention import create_block_mask

    length = max(batch.num_tokens, LEAST_FLEX)
    filled = (F.pad(part, (0, length - batch.num_tokens), value=-1) for part in row_and_branch(batch))
    row_of, branch_of = (part.to(device) for part in filled)

    def may_look(_batch: Tensor, _head: Tensor, query_index: Tensor, key_index: Tensor) -> Tensor:
        same_row = row_of[query_index] == row_of[key_index]
        visible = (branch_of[key_index] == 0) | (branch_of[key_index] == branch_of[query_index])
        return same_row & visible & (key_index <= query_index)

    return create_block_mask(may_look, 1, 1, length, length, device=device)  # pyright: ignore


def row_and_branch(batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """Two (T,) int64 tensors: the row of each token, and its branch (0 for prompts, then 1, 2, ...)."""
    rows, branches = [], []
    for index, row in enumerate(batch.rows):
        rows.extend([index] * row.num_tokens)
        branches.extend([0] * len(row.prompt))
        for number, branch in enumerate(row.branches, start=1):
            branches.extend([number] * len(branch))
    return torch.tensor(rows), torch.tensor(branches)
