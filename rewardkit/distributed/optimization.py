"""What every training loop here steps with: AdamW, the schedule of its rate, precision, sums over processes."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from rewardkit.config import OptimizerName, TrainedWeights
from rewardkit.distributed import collectives
from rewardkit.distributed.bf16_trial import cpu_multiplies_bf16
from rewardkit.distributed.sharding import is_sharded
from rewardkit.weights.rounded_steps import RoundedSteps


def adamw(
    groups: Sequence[tuple[Sequence[Tensor], float]],
    learning_rate: float,
    *,
    optimizer: OptimizerName = "adamw",
    trained_weights: TrainedWeights = "fp32",
    seed: int = 0,
) -> torch.optim.Optimizer:
    """AdamW over groups of parameters, each with its weight decay; groups without parameters are left out.

    Args:
        optimizer: which one, by its moments; matrices of less than 4,096 numbers keep them in float32.
        trained_weights: how steps on weights in bf16 are rounded, see `rewardkit.weights.rounded_steps`.
        seed: of rounding at random.

    Raises:
        ImportError: if 8 bits are asked for and bitsandbytes is missing.
        ValueError: if what is asked for does not go with sharded weights, or with a CPU.
    """
    param_groups = [{"params": list(parameters), "weight_decay": decay} for parameters, decay in groups if parameters]
    parameters = [parameter for group in param_groups for parameter in group["params"]]
    if any(map(is_sharded, parameters)):
        for option, value in (("optimizer", optimizer), ("trained_weights", trained_weights)):
            if value not in ("adamw", "fp32"):
                raise ValueError(f"{option} {value} and FSDP do not go together: leave one of them out")
    make = partial(_kind_of_adamw(optimizer, {parameter.device.type for parameter in parameters}), lr=learning_rate)
    if trained_weights == "fp32":
        return make(param_groups)
    return RoundedSteps(param_groups, make, rounding=trained_weights, seed=seed)


def _kind_of_adamw(optimizer: OptimizerName, devices: set[str]) -> Callable[..., torch.optim.Optimizer]:
    if optimizer == "adamw":
        return partial(torch.optim.AdamW, fused=True)
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ImportError(f"optimizer {optimizer} needs bitsandbytes: pip install bitsandbytes")
    from bitsandbytes.optim import AdamW8bit, PagedAdamW8bit  # pyright: ignore[reportMissingImports]

    if optimizer == "adamw_8bit":
        return AdamW8bit
    if "cuda" not in devices:
        raise ValueError("optimizer paged_adamw_8bit moves a GPU's memory, here is none: take adamw_8bit")
    return PagedAdamW8bit


def schedule(step: int, num_steps: int, warmup_share: float) -> float:
    """Factor of the peak learning rate at a step counted from 0: linear warm-up, then a half cosine to 0."""
    warmup = max(1, round(warmup_share * num_steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def autocast(
    precision: Literal["auto", "fp32", "bf16"], device: torch.device, *, keeps_casts: bool = True
) -> AbstractContextManager[object]:
    """Autocast to bf16 where it is asked for, or chosen by `auto` because the hardware multiplies it faster.

    Args:
        keeps_casts: whether weights in bf16 are kept until the end of the block, also where backward needs none of
            them.
    """
    if not wants_bf16(precision, device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=keeps_casts)


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

    Gradients of sharded weights are summed already (`rewardkit.distributed.sharding`). A weight that no process has a
    gradient of keeps none: zeros would let AdamW move it by its moments.
    """
    if collectives.world_size() == 1:
        return
    parameters = [parameter for parameter in parameters if not is_sharded(parameter)]
    if parameters:
        known = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
        collectives.all_reduce_sum([known])
        parameters = [parameter for parameter, count in zip(parameters, known.tolist(), strict=True) if count]
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for dtype in dict.fromkeys(parameter.dtype for parameter in parameters):
        collectives.all_reduce_sum([p.grad for p in parameters if p.dtype == dtype and p.grad is not None])
    collectives.all_reduce_sum(values)
