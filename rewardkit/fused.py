"""Steps of a decoder with backward passes of their own: fewer passes over memory than autograd makes of the formulas.

Norms compute in float32 at least, as transformers' do; everything else in the number format of what comes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class AddedNorm(torch.autograd.Function):
    """(s, y) of (..., h) x and what is added to it: s = x + added, y = w s / sqrt(mean(s^2) + eps).

    RMS norm, Zhang and Sennrich 2019, eq. 4 (arXiv 1910.07467). Backward gives both summands one gradient, that of s
    and through y together:  ds + r (w dy - s r^2 mean(w dy s)),  r = 1 / sqrt(mean(s^2) + eps).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, added: Tensor | None, weight: Tensor, eps: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        total = x if added is None else x + added
        exact = total.to(torch.promote_types(total.dtype, torch.float32))
        size = exact.shape[-1]
        scale = torch.linalg.vector_norm(exact, dim=-1, keepdim=True).square_().div_(size).add_(eps).rsqrt_()
        normed = (exact * scale).to(total.dtype)
        ctx.save_for_backward(total, scale, weight)
        ctx.set_materialize_grads(False)
        ctx.has_added = added is not None
        result = normed * weight if normed.dtype != weight.dtype else normed.mul_(weight)
        return total.view_as(total) if added is None else total, result.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_total: Tensor | None, of_normed: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore
        total, scale, weight = ctx.saved_tensors
        if of_normed is None:
            return of_total, of_total if ctx.has_added else None, None, None, None
        pulls = of_normed.to(scale.dtype)
        exact, exact_weight = total.to(scale.dtype), weight.to(scale.dtype)
        product = pulls * exact
        shares = (product @ exact_weight)[..., None].mul_(scale.pow(3)).div_(-exact.shape[-1])
        weight_gradient = None
        if ctx.needs_input_grad[2]:
            weight_gradient = (scale.flatten() @ product.flatten(0, -2)).to(weight.dtype)
        gradient = torch.mul(pulls, exact_weight, out=product).mul_(scale).addcmul_(exact, shares).to(total.dtype)
        if of_total is not None:
            gradient = gradient.add_(of_total)
        return gradient, gradient if ctx.has_added else None, weight_gradient, None, None


class Rotation(torch.autograd.Function):
    """(T, H, D) heads, halves (a, b) turned to (a cos - b sin, b cos + a sin); (T, 1, D / 2) cosines and sines.

    Rotary positions, Su et al. 2021, eq. 34 (arXiv 2104.09864), with the halves of a head as pairs, as in Llama.
    Backward turns back; a factor in cosines and sines (YaRN) stays one.
    """

    @staticmethod
    def forward(ctx: Any, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(heads, cos, sin, 1.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        cos, sin = ctx.saved_tensors
        return _turned(gradient, cos, sin, -1.0), None, None


def _turned(heads: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    first, second = heads.chunk(2, -1)
    result = torch.empty(heads.shape, dtype=torch.promote_types(heads.dtype, cos.dtype), device=heads.device)
    for half, one, other, way in zip(result.chunk(2, -1), (first, second), (second, first), (-sign, sign), strict=True):
        torch.mul(one, cos, out=half).addcmul_(other, sin, value=way)
    return result.to(heads.dtype)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """x -> x W^T + b, with a LoRA adapter x (W + s B A)^T + b (Hu et al. 2022, arXiv 2106.09685).

    Attributes:
        weight, bias: (out, in), (out,) or None.
        down, up: A (r, in) and B (out, r); both None without an adapter.
        scale: s.
    """

    weight: Tensor
    bias: Tensor | None = None
    down: Tensor | None = None
    up: Tensor | None = None
    scale: float = 1.0

    def to(self, dtype: torch.dtype) -> Matrix:
        """The same in another number format."""
        parts = (self.weight, self.bias, self.down, self.up)
        weight, bias, down, up = (None if part is None else part.to(dtype) for part in parts)
        assert weight is not None, "every matrix has a weight"
        return Matrix(weight=weight, bias=bias, down=down, up=up, scale=self.scale)


def products(x: Tensor, matrices: Sequence[Matrix]) -> tuple[Tensor, ...]:
    """(T, out) of each matrix, of the same (T, in) x."""
    tensors = [part for each in matrices for part in (each.weight, each.bias, each.down, each.up)]
    return _Products.apply(x, [each.scale for each in matrices], *tensors)


class _Products(torch.autograd.Function):
    """The gradient of x is summed in one place. Adapters are folded in, W + s B A, made again in backward.

    In half precision that would round them away: there they are products of their own.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scales: Sequence[float], *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, *tensors)
        ctx.scales = scales
        results = []
        for each in _matrices(tensors, scales):
            weight = _folded(each)
            found = x @ weight.t() if each.bias is None else torch.addmm(each.bias, x, weight.t())
            if each.down is not None and each.up is not None and weight is each.weight:
                found.addmm_(x @ each.down.t(), each.up.t(), alpha=each.scale)
            results.append(found)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        x, *tensors = ctx.saved_tensors
        wants_x, _, *wants = ctx.needs_input_grad
        x_gradient: Tensor | None = None
        found: list[Tensor | None] = []
        for number, (each, pulls) in enumerate(zip(_matrices(tensors, ctx.scales), gradients, strict=True)):
            wants_weight, wants_bias, wants_down, wants_up = wants[4 * number : 4 * number + 4]
            low = None if each.up is None else pulls @ each.up
            if wants_x:
                weight = _folded(each)
                x_gradient = pulls @ weight if x_gradient is None else x_gradient.addmm_(pulls, weight)
                if low is not None and each.down is not None and weight is each.weight:
                    x_gradient.addmm_(low, each.down, alpha=each.scale)
            found.append(pulls.t() @ x if wants_weight else None)
            found.append(pulls.sum(0) if wants_bias else None)
            found.append((low.t() @ x).mul_(each.scale) if wants_down and low is not None else None)
            inner = x @ each.down.t() if wants_up and each.down is not None else None
            found.append(None if inner is None else (pulls.t() @ inner).mul_(each.scale))
        return x_gradient, None, *found


def _matrices(tensors: Sequence[Tensor | None], scales: Sequence[float]) -> list[Matrix]:
    found = []
    for number, scale in enumerate(scales):
        weight, bias, down, up = tensors[4 * number : 4 * number + 4]
        assert weight is not None, "every matrix has a weight"
        found.append(Matrix(weight=weight, bias=bias, down=down, up=up, scale=scale))
    return found


def _folded(matrix: Matrix) -> Tensor:
    """W + s B A; W itself without an adapter or in half precision."""
    if matrix.down is None or matrix.up is None or matrix.weight.dtype.itemsize < 4:
        return matrix.weight
    return torch.addmm(matrix.weight, matrix.up, matrix.down, alpha=matrix.scale)
