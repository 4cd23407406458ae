"""The processes that train one model together, under `accelerate launch`; without it there is one.

Every process computes its share of each step, and gradients are summed over processes; only the first one writes.
Every process holds all weights, unless they are sharded (`rewardkit.distributed.sharding`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
BUCKET_SIZE = 16 * 1024 * 1024  # numbers that one all-reduce sums


def launched_world_size() -> int:
    """How many processes the launcher started, as the environment says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def init_process_group() -> torch.device:
    """Joins the processes that the launcher started, if there are several; returns the device to compute on."""
    if launched_world_size() > 1:
        from accelerate import PartialState

        return torch.device(PartialState().device or "cpu")
    return default_device()


def destroy_process_group() -> None:
    """Waits for the other processes and ends the group."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def default_device() -> torch.device:
    """The device that a process by itself computes on: the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def broadcast_object(value: T) -> T:
    """Returns the first process's value in every process."""
    if not dist.is_initialized():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def all_gather_object(value: T) -> list[T]:
    """Returns the values of all processes, by rank, in every process."""
    if not dist.is_initialized():
        return [value]
    values: list[T] = [value] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def broadcast_parameters(parameters: Iterable[Tensor]) -> None:
    """Overwrites parameters with those of the first process."""
    if dist.is_initialized():
        for parameter in parameters:
            dist.broadcast(parameter.data, src=0)


def all_reduce_sum(tensors: Sequence[Tensor]) -> None:
    """Replaces tensors of one dtype by their sums over processes, in messages of at least BUCKET_SIZE numbers."""
    if not dist.is_initialized():
        return
    bucket: list[Tensor] = []
    for index, tensor in enumerate(tensors):
        bucket.append(tensor)
        if index + 1 < len(tensors) and sum(part.numel() for part in bucket) < BUCKET_SIZE:
            continue
        flat = torch.cat([part.reshape(-1) for part in bucket])
        dist.all_reduce(flat)
        for part, summed in zip(bucket, flat.split([part.numel() for part in bucket]), strict=True):
            part.copy_(summed.view_as(part))
        bucket = []


def any_true(flag: bool, device: torch.device) -> bool:
    """Returns in every process whether the flag of any process is true."""
    if not dist.is_initialized():
        return flag
    flags = torch.tensor(float(flag), device=device)
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags.item())
