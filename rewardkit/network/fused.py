"""Steps of a decoder with backward passes of their own: fewer passes over memory than autograd makes of the formulas.

Norms compute in float32 at least, as transformers' do; everything else in the number format of what comes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def added_norm(
    x: Tensor, added: Tensor | None, weight: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """(s, y) of (..., h) x and what is added to it: s = x + added, y = w s / sqrt(mean(s^2) + eps) in `dtype`.

    RMS norm, Zhang and Sennrich 2019, eq. 4 (arXiv 1910.07467).
    """
    return _AddedNorm.apply(x, added, weight, eps, dtype)


def rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(T, H, D) heads, halves (a, b) turned to (a cos - b sin, b cos + a sin).

    Rotary positions, Su et al. 2021, eq. 34 (arXiv 2104.09864), with the halves of a head as pairs, as in Llama.

    Args:
        cos: (T, 1, D), as a module of transformers gives them, each twice.
        sin: (T, 1, D / 2).
    """
    return _Rotation.apply(heads, cos, sin)


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """(T, I) silu(gate) up, silu(g) = g sigma(g).  SwiGLU, Shazeer 2020, eq. 6 (arXiv 2002.05202)."""
    return _Gated.apply(gate, up)


class _AddedNorm(torch.autograd.Function):
    """Backward gives both summands one gradient, that of s and through y together.

    ds + r (w dy - s r^2 mean(w dy s)),  r = 1 / sqrt(mean(s^2) + eps)
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


class _Rotation(torch.autograd.Function):
    """Backward turns back; a factor in cosines and sines (YaRN) stays one."""

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
    result = heads * cos
    for half, other, way in zip(result.chunk(2, -1), (second, first), (-sign, sign), strict=True):
        half.addcmul_(other, sin, value=way)
    return result.to(heads.dtype)


class _Gated(torch.autograd.Function):
    """Backward computes silu again, so that only what comes in is kept."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore
        gate, up = ctx.saved_tensors
        of_gate = torch.ops.aten.silu_backward(gradient * up, gate)
        return of_gate, F.silu(gate).mul_(gradient)


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
        """In another number format; a frozen weight that is held in a narrower one stays, as a product widens it."""
        bias, down, up = (None if part is None else part.to(dtype) for part in (self.bias, self.down, self.up))
        stays = not self.weight.requires_grad and self.weight.dtype.itemsize < dtype.itemsize
        weight = self.weight if stays else self.weight.to(dtype)
        return Matrix(weight=weight, bias=bias, down=down, up=up, scale=self.scale)


def products(x: Tensor, matrices: Sequence[Matrix]) -> tuple[Tensor, ...]:
    """(T, out) of each matrix, of the same (T, in) x."""
    return _Products.apply(x, [matrix.scale for matrix in matrices], *_tensors(matrices))


class _Products(torch.autograd.Function):
    """The gradient of x is summed in one place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scales: Sequence[float], *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, *tensors)
        ctx.scales = scales
        return tuple(_Linear(matrix, x.dtype).of(x) for matrix in _matrices(tensors, scales))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        x, *tensors = ctx.saved_tensors
        wants_x, _, *wants = ctx.needs_input_grad
        x_gradient: Tensor | None = None
        parameter_gradients: list[Tensor | None] = []
        for number, (matrix, pulls) in enumerate(zip(_matrices(tensors, ctx.scales), gradients, strict=True)):
            linear = _Linear(matrix, x.dtype, wants[4 * number : 4 * number + 4])
            linear.learn(pulls, x)
            if wants_x:
                x_gradient = linear.back(pulls, x_gradient)
            parameter_gradients.extend(linear.gradients)
        return x_gradient, None, *parameter_gradients


class _Linear:
    """A matrix at work in a number format, and its gradients: of weight, bias, A and B, where they are wanted.

    An adapter is folded in, W + s B A, for as long as this lives. In half precision that would round it away: there it
    is two products of its own.
    """

    def __init__(self, matrix: Matrix, dtype: torch.dtype, wants: Sequence[bool] = (False,) * 4) -> None:
        self.matrix, self.wants = matrix, wants
        self.gradients: list[Tensor | None] = [None] * 4
        self.weight, self.apart = matrix.weight.to(dtype), False
        if matrix.down is not None and matrix.up is not None:
            self.apart = dtype.itemsize < 4
            if not self.apart:
                self.weight = torch.addmm(self.weight, matrix.up, matrix.down, alpha=matrix.scale)

    def of(self, x: Tensor) -> Tensor:
        """(T, out) of (T, in)."""
        matrix = self.matrix
        result = x @ self.weight.t() if matrix.bias is None else torch.addmm(matrix.bias, x, self.weight.t())
        if self.apart and matrix.down is not None and matrix.up is not None:
            result.addmm_(x @ matrix.down.t(), matrix.up.t(), alpha=matrix.scale)
        return result

    def back(self, pulls: Tensor, to: Tensor | None = None) -> Tensor:
        """Returns the (T, in) gradient of x from the (T, out) gradient of the result, added to a given gradient."""
        matrix = self.matrix
        x_gradient = pulls @ self.weight if to is None else to.addmm_(pulls, self.weight)
        if self.apart and matrix.down is not None and matrix.up is not None:
            x_gradient.addmm_(pulls @ matrix.up, matrix.down, alpha=matrix.scale)
        return x_gradient

    def learn(self, pulls: Tensor, x: Tensor) -> None:
        """Computes the parameters' gradients from the (T, out) gradient of the result."""
        matrix = self.matrix
        wants_weight, wants_bias, wants_down, wants_up = self.wants
        if wants_weight:
            self.gradients[0] = pulls.t() @ x
        if wants_bias:
            self.gradients[1] = pulls.sum(0)
        if wants_down and matrix.up is not None:
            self.gradients[2] = (pulls @ matrix.up).mul_(matrix.scale).t() @ x
        if wants_up and matrix.down is not None:
            self.gradients[3] = pulls.t() @ (x @ matrix.down.t()).mul_(matrix.scale)


def _tensors(matrices: Sequence[Matrix]) -> list[Tensor | None]:
    return [part for matrix in matrices for part in (matrix.weight, matrix.bias, matrix.down, matrix.up)]


def _matrices(tensors: Sequence[Tensor | None], scales: Sequence[float]) -> list[Matrix]:
    matrices = []
    for number, scale in enumerate(scales):
        weight, bias, down, up = tensors[4 * number : 4 * number + 4]
        assert weight is not None, "every matrix has a weight"
        matrices.append(Matrix(weight=weight, bias=bias, down=down, up=up, scale=scale))
    return matrices
