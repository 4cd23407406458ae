"""Sharded weights: under FSDP2 every process holds its shard of each weight, its gradient and its optimizer state.

torch's `fully_shard` does the work (Zhao et al. 2023, arXiv 2304.11277; its second form keeps weights as DTensors):
the weights of a layer are gathered while it computes, those outside of layers (embedding, head) for a forward and its
backward, and gradients are summed on the way to the process that holds the shard. Files on disk hold full tensors, so
that a training continues with any number of processes, sharded or not.
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
UNSUPPORTED = ("offload_params", "activation_checkpointing", "cpu_ram_efficient_loading")  # settings of accelerate's


def is_launched_sharded() -> bool:
    """Whether `accelerate launch` asks for sharded weights.

    Raises:
        ValueError: if it asks for a kind of sharding that is not supported.
    """
    if _is_true("ACCELERATE_USE_DEEPSPEED"):
        raise ValueError("the launcher asks for DeepSpeed, which is not known here; allowed is FSDP2, see fsdp2.yaml")
    if not _is_true("ACCELERATE_USE_FSDP"):
        return False
    if (version := os.environ.get("FSDP_VERSION", "1")) != "2":
        raise ValueError(f"fsdp_version of the launcher is {version}, allowed is 2, see fsdp2.yaml")
    for name in UNSUPPORTED:
        if _is_true(f"FSDP_{name.upper()}"):
            raise ValueError(f"fsdp_{name} of the launcher is true, allowed is false, see fsdp2.yaml")
    return collectives.launched_world_size() > 1


def _is_true(variable: str, default: str = "false") -> bool:
    return os.environ.get(variable, default).lower() in ("true", "1")


class Sharded:
    """A network whose weights are sharded over the processes, and how it is run."""

    def __init__(self, network: torch.nn.Module, device: torch.device) -> None:
        """Broadcasts the first process's weights and shards them, in place, one layer after another.

        Raises:
            ImportError: if torch is too old.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard
        from transformers.modeling_layers import GradientCheckpointingLayer

        if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
            raise ImportError("FSDP2 needs a newer torch: pip install --upgrade torch")
        mesh = init_device_mesh(device.type, (collectives.world_size(),))
        frees = _is_true("FSDP_RESHARD_AFTER_FORWARD", "true")
        self.network, self.root = network, _Root(network)
        layers = [module for module in network.modules() if isinstance(module, GradientCheckpointingLayer)]
        for module in (*layers, self.root):
            module.to(device)
            collectives.broadcast_parameters(p for p in module.parameters() if not is_sharded(p))
            # The root's weights are needed first in backward: there is nothing to gain in freeing them before.
            fully_shard(module, mesh=mesh, reshard_after_forward=frees if module is not self.root else None)
            _sum_gradients(module)  # pyright: ignore[reportArgumentType]

    def run(self, compute: Callable[[], T]) -> T:
        """Runs `compute` with the weights outside of the layers gathered; every process has to call it equally often.

        Args:
            compute: its result's tensors, in containers that torch knows, are what backward begins from.
        """
        result = self.root(compute)
        if not torch.is_grad_enabled():
            self.root.reshard()  # pyright: ignore[reportCallIssue]
        return result

    @torch.no_grad()
    def in_step(self, draw: Callable[[], T]) -> T:
        """Runs a sampler as `run` does; all get the first process's logits and so take equally many steps."""

        def broadcast_logits(_module: torch.nn.Module, _inputs: object, output: Any) -> None:
            dist.broadcast(output.logits, src=0)

        handle = self.network.register_forward_hook(broadcast_logits)
        try:
            return self.run(draw)
        finally:
            handle.remove()


class _Root(torch.nn.Module):
    """Runs any function with a network: torch gathers the outermost weights around a module's forward."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, compute: Callable[[], T]) -> T:
        return compute()


def _sum_gradients(module: FSDPModule) -> None:
    """Sums gradients over processes, whose losses are shares of one mean; torch would take the mean."""
    module.set_force_sum_reduction_for_comms(True)
    module.set_gradient_divide_factor(1.0)


def is_sharded(tensor: Tensor) -> bool:
    """Whether this process holds only its shard of a tensor."""
    return hasattr(tensor, "full_tensor")


def full_tensor(tensor: Tensor) -> Tensor:
    """A tensor as it is, or put together of its shards, which every process has to take part in."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def full_on_first(tensor: Tensor) -> Tensor:
    """A tensor for the file that the first process writes; put together of shards, it is empty in the others."""
    if not is_sharded(tensor):
        return tensor
    full = full_tensor(tensor)
    return full.cpu() if collectives.rank() == 0 else full.new_empty(0)


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A full tensor as it is, or this process's shard of it where `like` is sharded."""
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    # every process holds the tensor: nothing is sent
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)  # pyright: ignore
