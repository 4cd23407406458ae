"""Linear layers in 4 bits as bitsandbytes holds them (NF4), by their shapes: it takes no tensors without numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

BLOCK = 64  # numbers that share a scale


def quantised_shapes(network: nn.Module, trunk: nn.Module) -> None:
    """Puts the shapes of 4-bit layers in place of those of the trunk that are not trained."""
    names = {module: name for name, module in network.named_modules()}
    for module in list(trunk.modules()):
        if isinstance(module, nn.Linear) and not module.weight.requires_grad:
            network.set_submodule(names[module], FourBitLinear(module))


class FourBitLinear(nn.Module):
    """Holds half a byte of every number, and a scale of every block; a product makes the matrix in bf16 for itself."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        size = linear.weight.numel()
        device = linear.weight.device
        packed = torch.empty(-(-size // 2), dtype=torch.uint8, device=device)
        scales = torch.empty(-(-size // BLOCK), dtype=torch.float32, device=device)
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.scales = nn.Parameter(scales, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """As large as the layer's."""
        result = _Product.apply(x.to(torch.bfloat16), self.weight, self.out_features)
        return (result if self.bias is None else result + self.bias).to(x.dtype)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Tensor, out_features: int) -> Tensor:
        ctx.save_for_backward(packed)
        ctx.size = (out_features, x.shape[-1])
        return x @ x.new_empty(ctx.size).t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        return gradient @ gradient.new_empty(ctx.size), None, None
