"""The processes that train one model together, under `accelerate launch`; without it there is one.

Every process computes its share of each step, and gradients are added up; only the first one writes. Every process
holds all weights, unless they are taken apart (`rewardkit.distributed.sharding`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
BUCKET = 16 * 1024 * 1024  # numbers added up in one message


def wanted() -> int:
    """How many processes the environment names."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join() -> torch.device:
    """Joins the processes that the environment names, if there are several; returns the device to compute on."""
    if wanted() > 1:
        from accelerate import PartialState

        return torch.device(PartialState().device or "cpu")
    return own_device()


def own_device() -> torch.device:
    """What a process by itself computes on: the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def rank_and_size() -> tuple[int, int]:
    """The number of this process and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def leave() -> None:
    """Waits for the others and ends the group."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def from_first(value: T) -> T:
    """The first process's value, in every process."""
    if not dist.is_initialized():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def gathered(value: T) -> list[T]:
    """The values of all processes, in every process."""
    if not dist.is_initialized():
        return [value]
    values: list[T] = [value] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def same_weights(parameters: Iterable[Tensor]) -> None:
    """Gives every process the first one's weights."""
    if dist.is_initialized():
        for parameter in parameters:
            dist.broadcast(parameter.data, src=0)


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replaces tensors of one type by their sums over processes, several in one message."""
    if not dist.is_initialized():
        return
    bucket: list[Tensor] = []
    for index, tensor in enumerate(tensors):
        bucket.append(tensor)
        if index + 1 < len(tensors) and sum(part.numel() for part in bucket) < BUCKET:
            continue
        together = torch.cat([part.reshape(-1) for part in bucket])
        dist.all_reduce(together)
        for part, summed in zip(bucket, together.split([part.numel() for part in bucket]), strict=True):
            part.copy_(summed.view_as(part))
        bucket = []


def any_says(flag: bool, device: torch.device) -> bool:
    """Whether any process says so; all of them get the same answer."""
    if not dist.is_initialized():
        return flag
    said = torch.tensor(float(flag), device=device)
    dist.all_reduce(said, op=dist.ReduceOp.MAX)
    return bool(said.item())
