"""Sharded weights: under FSDP2 every process holds its shard of each weight, its gradient and its optimizer state.

torch's `fully_shard` does the work (Zhao et al. 2023, arXiv 2304.11277; its second form keeps weights as DTensors):
the weights of a layer are gathered while it computes, those outside of layers (embedding, head) for a forward and its
backward, and gradients are summed on the way to the process that holds the shard. Shards are of the first dimension,
as even as `torch.chunk` makes them. Files on disk hold full tensors, to which every process writes its rows
(`rewardkit.distributed.shared_file`), so that a training continues with any number of processes, sharded or not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from rewardkit.distributed import collectives

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule

T = TypeVar("T")
# What settings of accelerate's may be, under the names by which its launcher hands them on; others would be ignored.
ALLOWED: Mapping[str, tuple[str, str]] = {
    "FSDP_OFFLOAD_PARAMS": ("fsdp_offload_params", "false"),
    "FSDP_ACTIVATION_CHECKPOINTING": ("fsdp_activation_checkpointing", "false"),
    "FSDP_ACTIVATION_CHECKPOINTING_OFFLOAD": ("fsdp_activation_checkpointing_offload", "false"),
    "FSDP_CPU_RAM_EFFICIENT_LOADING": ("fsdp_cpu_ram_efficient_loading", "false"),
    "FSDP_FORWARD_PREFETCH": ("fsdp_forward_prefetch", "false"),
    "FSDP_AUTO_WRAP_POLICY": ("fsdp_auto_wrap_policy", "transformer_based_wrap"),
    "FSDP_TRANSFORMER_CLS_TO_WRAP": ("fsdp_transformer_layer_cls_to_wrap", ""),
    "FSDP_IGNORED_MODULES": ("fsdp_ignored_modules", ""),
    "FSDP_STATE_DICT_TYPE": ("fsdp_state_dict_type", "sharded_state_dict"),
    "ACCELERATE_MIXED_PRECISION": ("mixed_precision", "no"),  # --precision decides
    "ACCELERATE_DYNAMO_BACKEND": ("dynamo_backend", "no"),
}


def is_launched_sharded(*, load_in_4bit: bool = False, offload_activations: bool = False) -> bool:
    """Whether `accelerate launch` asks for sharded weights.

    Args:
        load_in_4bit: whether weights are quantised, which are not sharded.
        offload_activations: whether activations lie on the CPU, where gathered weights would go along with them.

    Raises:
        ValueError: if it asks for something that is not supported.
    """
    if _is_true("ACCELERATE_USE_DEEPSPEED"):
        raise ValueError("the launcher asks for DeepSpeed, which is not known here; allowed is FSDP2, see fsdp2.yaml")
    if not _is_true("ACCELERATE_USE_FSDP"):
        return False
    if (version := os.environ.get("FSDP_VERSION", "1")) != "2":
        raise ValueError(f"fsdp_version of the launcher is {version}, allowed is 2, see fsdp2.yaml")
    for variable, (name, allowed) in ALLOWED.items():
        value = os.environ.get(variable, allowed)
        if value.lower() != allowed:
            raise ValueError(f"{name} of the launcher is {value}, allowed is {allowed or 'none'}, see fsdp2.yaml")
    if collectives.launched_world_size() == 1:
        return False
    if load_in_4bit:
        raise ValueError(
            "load_in_4bit and FSDP do not go together: start without fsdp2.yaml, or give lora without load_in_4bit"
        )
    if offload_activations:
        raise ValueError("offload_activations and FSDP do not go together: leave one of them out")
    return True


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
        self.modules: list[Any] = [*layers, self.root]  # that shard
        for module in self.modules:
            module.to(device)
            collectives.broadcast_parameters(p for p in module.parameters() if not is_sharded(p))
            # The root's weights are needed first in backward: there is nothing to gain in freeing them before.
            fully_shard(module, mesh=mesh, reshard_after_forward=frees if module is not self.root else None)
            _sum_gradients(module)

    def run(self, compute: Callable[[], T]) -> T:
        """Runs `compute` with the weights outside of the layers gathered; every process has to call it equally often.

        Args:
            compute: its result's tensors, in containers that torch knows, are what backward begins from.
        """
        result = self.root(compute)
        if not torch.is_grad_enabled():  # there is no backward to do it
            for module in self.modules:
                module.reshard()
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

    @torch.no_grad()
    def in_turn(self, draw: Callable[[], T], idle: Callable[[], object]) -> T:
        """Runs a sampler as `run` does, in every process for prompts of its own; all take equally many decode steps.

        Args:
            draw: calls the network as often as it needs to.
            idle: calls it once, for the company of those that still draw.
        """
        device = next(self.network.parameters()).device

        def announce(_module: torch.nn.Module, _inputs: object) -> None:
            collectives.any_true(True, device)

        def draw_then_idle() -> T:
            handle = self.network.register_forward_pre_hook(announce)
            try:
                result = draw()
            finally:
                handle.remove()
            while collectives.any_true(False, device):
                idle()
            return result

        return self.run(draw_then_idle)


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


def has_shards(module: torch.nn.Module) -> bool:
    """Whether this process holds only its shards of a module's weights."""
    return any(map(is_sharded, module.parameters()))


def full_tensor(tensor: Tensor) -> Tensor:
    """A tensor as it is, or put together of its shards, which every process has to take part in."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def rows_of(tensor: Tensor) -> slice:
    """The rows of a full tensor that this process holds: its shard, or all of a tensor that is not sharded."""
    if not is_sharded(tensor):
        return slice(0, len(tensor))
    start = min(collectives.rank() * -(-len(tensor) // collectives.world_size()), len(tensor))
    return slice(start, start + len(local(tensor)))


def local(tensor: Tensor) -> Tensor:
    """This process's shard of a tensor, in the same memory; a tensor that is not sharded as it is."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # pyright: ignore[reportAttributeAccessIssue]


def from_rows(rows: Tensor, like: Tensor) -> Tensor:
    """A sharded tensor as `like` is, of this process's rows of it."""
    from torch.distributed.tensor import DTensor

    assert isinstance(like, DTensor)
    shape = {"shape": like.shape, "stride": like.stride()}
    return DTensor.from_local(rows.to(like.device), like.device_mesh, like.placements, run_check=False, **shape)


def sharded_by_rows(tensor: Tensor) -> Tensor:
    """A sharded tensor as it is, one that was computed of such with the shards that `rows_of` speaks of."""
    from torch.distributed.tensor import DTensor, Shard

    if not isinstance(tensor, DTensor):
        return tensor
    return tensor.redistribute(tensor.device_mesh, [Shard(0)])


def clip_gradients(parameters: Sequence[torch.nn.Parameter], max_norm: float) -> Tensor:
    """Scales gradients so that their norm is at most `max_norm`; returns the norm that they had, ().

    Some parameters may be sharded and others not, which torch's own function does not take together.
    """
    sharded, whole = ([p for p in parameters if is_sharded(p) is kind] for kind in (True, False))
    if not sharded or not whole:
        return full_tensor(torch.nn.utils.clip_grad_norm_(parameters, max_norm))
    parts = ([p.grad for p in part if p.grad is not None] for part in (sharded, whole))
    norms = [full_tensor(torch.nn.utils.get_total_norm(part)).float() for part in parts]
    norm = torch.linalg.vector_norm(torch.stack([each.to(norms[0].device) for each in norms]))
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for parameter in parameters:
        if parameter.grad is not None:
            local(parameter.grad).mul_(factor)
    return norm
