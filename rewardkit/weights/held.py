"""Matrices that are held in bf16 and compute as if they were held in fp32: half the memory, all else unchanged.

A layer's product is in the number format that it would have had: in autocast its own, else that of what comes in, to
which the matrix is brought for the moment. So weights of a file in bf16 give the same numbers bit for bit, however they
are held, and those of a file in fp32 are rounded once. Norms, biases and whatever is no matrix of a linear layer or an
embedding stay as they are. Backward keeps the bf16 of a frozen matrix, nothing wider.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)
SMALL_SHARE = 0.05  # of a network's numbers that stay in fp32, from which on it is worth a word


class HeldLinear(nn.Linear):
    """A linear layer whose matrix is held in bf16."""

    def forward(self, input: Tensor) -> Tensor:
        return _product(input, self.weight, self.bias)


class HeldConv1D(Conv1D):
    """GPT-2's linear layer, whose matrix is (in, out), held in bf16."""

    def forward(self, x: Tensor) -> Tensor:
        return _product(x, self.weight.t(), self.bias)


class HeldEmbedding(nn.Embedding):
    """An embedding whose table is held in bf16; it gives float32."""

    def forward(self, input: Tensor) -> Tensor:
        return _Lookup.apply(input, self.weight, -1 if self.padding_idx is None else self.padding_idx)


LINEAR = (nn.Linear, HeldLinear)
"""Linear layers that are nothing else."""
EMBEDDING = (nn.Embedding, HeldEmbedding)
HELD: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: HeldLinear,
    Conv1D: HeldConv1D,
    nn.Embedding: HeldEmbedding,
}


def compute_dtype(model: PreTrainedModel) -> torch.dtype:
    """What a model computes in outside of autocast: that of its weights, however they are held."""
    return torch.float32 if isinstance(model.get_input_embeddings(), HeldEmbedding) else model.dtype


def hold_in_bf16(
    network: nn.Module,
    *,
    trained: bool = False,
    must: bool = True,
    run: Callable[[], object] = lambda: None,
) -> None:
    """Holds a network's matrices in bf16, in place; tied ones stay tied.

    Args:
        trained: whether it is those that are trained, instead of those that are not.
        must: whether a network that cannot be run so is an error; else it goes on in fp32, with a warning.
        run: a small pass through the network, to see that it can be run so.

    Raises:
        ValueError: if it cannot and has to.
    """
    changed = []
    for weight, owners in _owners(network).items():
        if weight.requires_grad == trained and weight.dtype == torch.float32 and all(map(_is_matrix, owners)):
            weight.data = weight.data.bfloat16()
            changed += [(owner, type(owner)) for owner in owners]
    for owner, kind in changed:
        owner.__class__ = HELD[kind]
    try:
        with torch.no_grad():
            run()
    except RuntimeError as reason:
        first_line = str(reason).partition("\n")[0]
        line = f"{type(network).__name__} cannot be held in bf16 ({first_line})"
        if must:
            option = "trained_weights" if trained else "frozen_weights"
            raise ValueError(f"{line}: give {option} fp32") from reason
        logger.warning("%s and stays in fp32", line)
        for owner, kind in changed:
            owner.__class__ = kind
            owner.weight.data = owner.weight.data.float()  # pyright: ignore
        return
    _tell_of_rest(network, trained=trained)


def _owners(network: nn.Module) -> dict[nn.Parameter, list[nn.Module]]:
    """The modules that hold each parameter themselves."""
    owners: dict[nn.Parameter, list[nn.Module]] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(parameter, []).append(module)
    return {parameter: modules for parameter, modules in owners.items() if parameter.dim() == 2}


def _is_matrix(module: nn.Module) -> bool:
    """Whether a module has a form that holds bf16: not a head that gives the score, nor a table that changes itself."""
    gives_score, changes = getattr(module, "out_features", 0) == 1, getattr(module, "max_norm", None) is not None
    return type(module) in HELD and not gives_score and not changes


def _tell_of_rest(network: nn.Module, *, trained: bool) -> None:
    asked = [p for p in network.parameters() if p.requires_grad == trained and p.is_floating_point()]
    wide, total = sum(p.numel() for p in asked if p.dtype == torch.float32), sum(p.numel() for p in asked)
    if total and wide / total > SMALL_SHARE:
        logger.warning(
            "%s keeps %.0f %% of its weights in fp32: they are no matrices of plain linear layers or embeddings",
            type(network).__name__,
            100 * wide / total,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        return F.linear(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))
    return _FrozenProduct.apply(x, weight, bias, dtype)


class _FrozenProduct(torch.autograd.Function):
    """x W^T + b in a number format; neither W nor b is trained."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.dtype = x.dtype
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        (weight,) = ctx.saved_tensors
        return (gradient @ weight.to(gradient.dtype)).to(ctx.dtype), None, None, None


class _Lookup(torch.autograd.Function):
    """Rows of a table in float32; a gradient is summed over equal tokens in float32 and rounded once."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, padding_idx: int) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.size, ctx.padding_idx, ctx.dtype = len(weight), padding_idx, weight.dtype
        return F.embedding(ids, weight).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        if not ctx.needs_input_grad[1]:
            return None, None, None
        (ids,) = ctx.saved_tensors
        summed = torch.ops.aten.embedding_dense_backward(gradient.float(), ids, ctx.size, ctx.padding_idx, False)
        return None, summed.to(ctx.dtype), None
