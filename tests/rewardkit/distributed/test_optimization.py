"""Gradients of several processes."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
import torch.distributed as dist

from rewardkit.distributed.optimization import all_reduce_gradients


def _sum_up(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    both, one, none = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    both.grad = torch.tensor([1.0, 2.0]) * (rank + 1)
    if rank == 1:
        one.grad = torch.tensor([5.0, 7.0])
    count = torch.tensor([3.0 + rank])
    all_reduce_gradients([both, one, none], count)
    seen = [None if each.grad is None else each.grad.tolist() for each in (both, one, none)]
    (folder / f"{rank}.json").write_text(json.dumps([*seen, count.tolist()]))
    dist.destroy_process_group()


@pytest.mark.slow
def test_gradients_add_up_one_that_a_process_lacks_is_zero_there_and_one_that_all_lack_stays_missing(
    tmp_path: Path,
) -> None:
    processes = [multiprocessing.get_context("spawn").Process(target=_sum_up, args=(r, tmp_path)) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [[3.0, 6.0], [5.0, 7.0], None, [7.0]]
