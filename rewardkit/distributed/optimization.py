"""What every training loop here steps with: AdamW, the schedule of its rate, precision, sums over processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from rewardkit.distributed import collectives
from rewardkit.distributed.bf16_trial import cpu_multiplies_bf16
from rewardkit.distributed.sharding import is_sharded


def adamw(groups: Sequence[tuple[Sequence[Tensor], float]], learning_rate: float) -> torch.optim.Optimizer:
    """AdamW over groups of parameters, each with its weight decay; groups without parameters are left out."""
    param_groups = [{"params": list(parameters), "weight_decay": decay} for parameters, decay in groups if parameters]
    return torch.optim.AdamW(param_groups, lr=learning_rate, fused=True)


def schedule(step: int, num_steps: int, warmup_share: float) -> float:
    """Factor of the peak learning rate at a step counted from 0: linear warm-up, then a half cosine to 0."""
    warmup = max(1, round(warmup_share * num_steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def autocast(precision: Literal["auto", "fp32", "bf16"], device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bf16 where it is asked for, or chosen by `auto` because the hardware multiplies it faster."""
    return torch.autocast(device.type, torch.bfloat16) if wants_bf16(precision, device) else nullcontext()


def wants_bf16(precision: Literal["auto", "fp32", "bf16"], device: torch.device) -> bool:
    """Whether a precision means bf16 on a device."""
    return precision == "bf16" or (precision == "auto" and multiplies_bf16(device))


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 faster than fp32: Ampere or later on a GPU, on a CPU by a short trial."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_multiplies_bf16()


def all_reduce_gradients(parameters: Sequence[torch.nn.Parameter], *values: Tensor) -> None:
    """Sums gradients and values over processes, each of which computed other rows of the same step.

    Gradients of sharded weights are summed already (`rewardkit.distributed.sharding`).
    """
    if collectives.world_size() == 1:
        return
    parameters = [parameter for parameter in parameters if not is_sharded(parameter)]
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for dtype in dict.fromkeys(parameter.dtype for parameter in parameters):
        collectives.all_reduce_sum([p.grad for p in parameters if p.dtype == dtype and p.grad is not None])
    collectives.all_reduce_sum(values)
