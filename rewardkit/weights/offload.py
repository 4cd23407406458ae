"""What lies in the CPU's memory while the device has no use for it: activations until backward, models between uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor

Carried = tuple[torch.device, Tensor] | Tensor
LEAST_BYTES = 2**20  # a smaller tensor is not worth a copy


def activations_away(asked: bool, network: torch.nn.Module) -> AbstractContextManager[object]:
    """Within the block, what backward will need of a forward pass on a GPU lies in pinned memory of the CPU.

    The network's own weights and small tensors stay, and on a CPU everything does.
    """
    weights = list(network.parameters()) if asked else []
    if not any(weight.device.type == "cuda" for weight in weights):
        return nullcontext()
    return _saving_away({weight.untyped_storage().data_ptr() for weight in weights})


def _saving_away(staying: set[int]) -> AbstractContextManager[object]:
    def pack(tensor: Tensor) -> Carried:
        small = tensor.nbytes < LEAST_BYTES
        if small or tensor.device.type == "cpu" or tensor.untyped_storage().data_ptr() in staying:
            return tensor
        away = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        away.copy_(tensor)
        return tensor.device, away

    def unpack(carried: Carried) -> Tensor:
        if isinstance(carried, Tensor):
            return carried
        device, away = carried
        return away.to(device, non_blocking=True)

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


Module = TypeVar("Module", bound=torch.nn.Module)


class Away:
    """A module that is not trained and lies in the CPU's memory between its uses.

    What is on the CPU stays there, and the device gets a copy for the time of a use: nothing is copied back, so that
    the module is the same bit for bit.

    Args:
        module: comes to lie on the CPU.
        device: where it is used.
    """

    def __init__(self, module: torch.nn.Module, device: torch.device) -> None:
        self.module, self.device = module.to("cpu"), device

    @contextmanager
    def here(self) -> Iterator[None]:
        """Within the block the module is on its device."""
        tensors = [*self.module.parameters(), *self.module.buffers()]
        resting = [tensor.data for tensor in tensors]
        try:
            for tensor in tensors:
                tensor.data = tensor.data.to(self.device)
            yield
        finally:
            for tensor, data in zip(tensors, resting, strict=True):
                tensor.data = data
