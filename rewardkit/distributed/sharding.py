"""Weights in parts: under FSDP2 every process holds its share of each weight, its gradient and its optimizer state.

torch's `fully_shard` does the work (Zhao et al. 2023, arXiv 2304.11277; its second form keeps weights as DTensors):
the weights of a layer are whole while it computes, those outside of layers (embedding, head) through a forward and its
backward, and gradients are summed on the way to whoever holds the part. What is kept on disk is whole, so that a
training goes on with any number of processes, in parts or not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from rewardkit.distributed import collectives

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule

T = TypeVar("T")
REFUSED = ("offload_params", "activation_checkpointing", "cpu_ram_efficient_loading")  # settings of accelerate's


def is_asked() -> bool:
    """Whether `accelerate launch` asks for weights in parts.

    Raises:
        ValueError: if it asks for something about them that is not known here.
    """
    if _is_true("ACCELERATE_USE_DEEPSPEED"):
        raise ValueError("the launcher asks for DeepSpeed, which is not known here; allowed is FSDP2, see fsdp2.yaml")
    if not _is_true("ACCELERATE_USE_FSDP"):
        return False
    if (version := os.environ.get("FSDP_VERSION", "1")) != "2":
        raise ValueError(f"fsdp_version of the launcher is {version}, allowed is 2, see fsdp2.yaml")
    for name in REFUSED:
        if _is_true(f"FSDP_{name.upper()}"):
            raise ValueError(f"fsdp_{name} of the launcher is true, allowed is false, see fsdp2.yaml")
    return collectives.wanted() > 1


def _is_true(variable: str, default: str = "false") -> bool:
    return os.environ.get(variable, default).lower() in ("true", "1")


class Sharded:
    """A network whose weights lie in parts in the processes, and how it is run."""

    def __init__(self, network: torch.nn.Module, device: torch.device) -> None:
        """Takes the network's weights apart, in place, after giving every process the first one's.

        They are whole on the device a layer at a time.

        Raises:
            ImportError: if torch is too old.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard
        from transformers.modeling_layers import GradientCheckpointingLayer

        if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
            raise ImportError("FSDP2 needs a newer torch: pip install --upgrade torch")
        mesh = init_device_mesh(device.type, (collectives.rank_and_size()[1],))
        frees = _is_true("FSDP_RESHARD_AFTER_FORWARD", "true")
        self.network, self.root = network, _Root(network)
        layers = [module for module in network.modules() if isinstance(module, GradientCheckpointingLayer)]
        for module in (*layers, self.root):
            module.to(device)
            collectives.same_weights(parameter for parameter in module.parameters() if not is_part(parameter))
            # The root's weights are needed first in backward: there is nothing to gain in freeing them before.
            fully_shard(module, mesh=mesh, reshard_after_forward=frees if module is not self.root else None)
            _add_up_gradients(module)  # pyright: ignore[reportArgumentType]

    def run(self, compute: Callable[[], T]) -> T:
        """Computes with the network, the weights outside of its layers whole; every process has to, equally often.

        Args:
            compute: its result's tensors, in containers that torch knows, are what backward begins from.
        """
        found = self.root(compute)
        if not torch.is_grad_enabled():
            self.root.reshard()  # pyright: ignore[reportCallIssue]
        return found

    @torch.no_grad()
    def in_step(self, draw: Callable[[], T]) -> T:
        """As `run`, for what draws tokens: every process gets the first one's logits, and so draws equally often."""

        def give(_module: torch.nn.Module, _inputs: object, output: Any) -> None:
            dist.broadcast(output.logits, src=0)

        handle = self.network.register_forward_hook(give)
        try:
            return self.run(draw)
        finally:
            handle.remove()


class _Root(torch.nn.Module):
    """Runs anything with a network: torch makes the outermost weights whole around a module's forward."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, compute: Callable[[], T]) -> T:
        """What `compute` gives."""
        return compute()


def _add_up_gradients(module: FSDPModule) -> None:
    """Gradients become sums over processes, whose losses are shares of one mean; torch would take their mean."""
    module.set_force_sum_reduction_for_comms(True)
    module.set_gradient_divide_factor(1.0)


def is_part(tensor: Tensor) -> bool:
    """Whether a tensor is there in parts."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """A tensor as it is, or put together of its parts, which every process has to take part in."""
    return tensor.full_tensor() if is_part(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def kept(tensor: Tensor) -> Tensor:
    """A tensor for the file that the first process writes; put together of its parts, it is empty in the others."""
    if not is_part(tensor):
        return tensor
    found = whole(tensor)
    return found.cpu() if collectives.rank_and_size()[0] == 0 else found.new_empty(0)


def part_of(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as it is, or this process's part of it where `like` is there in parts."""
    if not is_part(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    # every process holds the tensor: nothing is sent
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)  # pyright: ignore
