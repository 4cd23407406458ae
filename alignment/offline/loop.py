"""The loop that every training of a policy here runs, given its loss (`alignment.policy.policy_forward`).

1. A step is normalised by its whole batch, so micro-batches and processes never change it.
2. Nothing in it is random but the order of rows, which seed and epoch decide: a resumed run takes the same steps.
3. Numbers leave the device once a step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from alignment.config.training import TrainingConfig
from alignment.policy.policy_forward import Forward, Objective
from alignment.policy.rows import PolicyRows
from rewardkit.distributed import collectives
from rewardkit.distributed.checkpoint import Checkpoint, write_aside
from rewardkit.distributed.optimization import adamw, all_reduce_gradients, schedule
from rewardkit.distributed.sharding import full_tensor
from rewardkit.network.packed_rows import epoch_order
from rewardkit.run.directory import Run

EVALUATED_TOGETHER = 256  # held-out rows that are one batch to an objective
FIRST = ("loss", "entropy", "mean_token_accuracy")  # metrics of every algorithm
NOTHING = torch.nn.Module()  # trained besides the network


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a training ended.

    Attributes:
        num_steps: optimizer steps taken.
        best_step: the evaluation with the lowest held-out loss.
        cancelled: whether it was asked to stop; its last checkpoint continues it.
        held_out: metrics of held-out rows with the weights that are kept; empty where they were not taken.
    """

    num_steps: int
    best_step: int
    cancelled: bool
    held_out: Mapping[str, float]


def train(
    forward: Forward,
    objective: Objective,
    rows: PolicyRows,
    held_out: PolicyRows,
    config: TrainingConfig,
    run: Run | None,
    *,
    learning_rate: float,
    checkpoint: Checkpoint,
    cancelled: Callable[[], bool] = lambda: False,
    show: Callable[[int, int, Mapping[str, float]], None] = lambda step, num_steps, metrics: None,
    evaluated: Callable[[int, int, bool], None] = lambda step, number, last: None,
) -> Trained:
    """Trains in place and leaves the weights that `keep` asks for in the network.

    Args:
        run: where metrics go; None in all processes but the first, which write nothing.
        learning_rate: the peak.
        checkpoint: where training state is kept; one that holds a state is continued from it.
        cancelled: asked after every step.
        show: told of every step, how many there are, and its metrics.
        evaluated: told of every evaluation, its step, its number and whether it is the last; for samples. Called
            where `run` is given; with weights in parts in every process.

    Raises:
        FloatingPointError: if loss or gradient is not finite; the batch is noted beside the checkpoint.
    """
    network, device = forward.network, forward.device
    keeps = run is not None or forward.sharded is not None
    optimizer = make_optimizer(network, learning_rate, config.weight_decay)
    batches = batches_of(len(rows), config)
    eval_every = config.eval_every or max(1, len(batches) // 10)
    sizes = [row.num_padded_free_tokens for row in rows.rows]
    state = checkpoint.restore(network, NOTHING, optimizer)
    num_tokens = sum(sizes[index] for batch in batches[: state.step] for index in batch)
    if run:
        world_size = collectives.world_size()
        run.status(num_steps=len(batches), step=state.step, first_step=state.step, num_processes=world_size)
        run.truncate_metrics(state.step)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    network.train()
    asked, found = False, {}
    while state.step < len(batches) and not asked:
        started = time.perf_counter()
        batch, step = batches[state.step], state.step + 1
        rate = learning_rate * schedule(state.step, len(batches), config.warmup_share)
        for group in optimizer.param_groups:
            group["lr"] = rate
        measures = bool(config.entropy_every) and (step % config.entropy_every == 0 or step == 1)
        sums = backward(forward, objective, rows, batch, with_entropy=measures)
        all_reduce_gradients(parameters, sums)
        grad_norm = full_tensor(torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
        metrics = read_metrics(sums, objective.names, grad_norm)
        if not math.isfinite(metrics["loss"] + metrics["grad_norm"]):
            noted = f", batch noted in {write_aside(checkpoint.dir, step, batch)}" if run else ""
            raise FloatingPointError(
                f"step {step}: loss {metrics['loss']}, gradient norm {metrics['grad_norm']}{noted}"
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens = sum(sizes[index] for index in batch)
        num_tokens += tokens
        metrics |= {"learning_rate": rate, "num_tokens": num_tokens, "time/step_s": time.perf_counter() - started}
        metrics["tokens_per_s"] = tokens / metrics["time/step_s"]
        state = state.after_step()
        last = step == len(batches)
        if step % eval_every == 0 or last:
            found = evaluate(forward, objective, held_out)
            metrics |= {f"eval/{name}": value for name, value in found.items()}
            state = state.after_evaluation(found["loss"])
            if keeps:
                evaluated(step, math.ceil(step / eval_every), last)
                if config.keep == "best" and state.best_step == step:
                    checkpoint.write_best(step, network, NOTHING)
        asked = collectives.any_true(cancelled(), device) and not last
        if run:
            run.log(step, metrics)
            run.status(step=step)
            show(step, len(batches), metrics)
        if keeps and (asked or last or step % (config.checkpoint_every or eval_every) == 0):
            checkpoint.write(state, network, NOTHING, optimizer)
    if config.keep == "best" and not asked:
        if keeps:
            checkpoint.load_best(state, network, NOTHING)
        if forward.sharded is None:
            collectives.broadcast_parameters(network.parameters())
    kept = found if config.keep == "last" or state.best_step == state.step else {}
    return Trained(num_steps=state.step, best_step=state.best_step, cancelled=asked, held_out=kept)


def backward(
    forward: Forward, objective: Objective, rows: PolicyRows, batch: Sequence[int], *, with_entropy: bool
) -> Tensor:
    """Adds this process's part of a step's gradient, micro-batch by micro-batch; returns its part of `sums`.

    Returns:
        (2, 3 + M): weighted sums and weights of FIRST and the objective's metrics.
    """
    total, prepared = objective.total(rows, batch), objective.prepare(rows, batch)
    sums = torch.zeros(2, len(FIRST) + len(objective.names), device=forward.device)
    for micro in forward.micro_batches([rows.rows[index].num_tokens for index in batch]):
        indices = [batch[place] for place in micro.places]
        loss, found = _part(forward, objective, rows, indices, prepared, with_entropy=with_entropy)
        (loss * micro.share / total).backward()
        sums += found * micro.share
    if collectives.rank() == 0:
        sums[1, 0] = total
    return sums


@torch.no_grad()
def evaluate(forward: Forward, objective: Objective, rows: PolicyRows) -> dict[str, float]:
    """FIRST and the objective's metrics over rows, the same in every process."""
    network = forward.network
    was_training = network.training
    network.eval()
    sums = torch.zeros(2, len(FIRST) + len(objective.names), device=forward.device)
    for start in range(0, len(rows), EVALUATED_TOGETHER):
        batch = range(start, min(start + EVALUATED_TOGETHER, len(rows)))
        prepared = objective.prepare(rows, batch)
        for micro in forward.micro_batches([rows.rows[index].num_tokens for index in batch]):
            indices = [batch[place] for place in micro.places]
            sums += _part(forward, objective, rows, indices, prepared, with_entropy=True)[1] * micro.share
        if collectives.rank() == 0:
            sums[1, 0] += objective.total(rows, batch)
    collectives.all_reduce_sum([sums])
    network.train(was_training)
    found = read_metrics(sums, objective.names, torch.zeros((), device=forward.device))
    del found["grad_norm"]
    return found


def _part(
    forward: Forward,
    objective: Objective,
    rows: PolicyRows,
    indices: Sequence[int],
    prepared: Tensor | None,
    *,
    with_entropy: bool,
) -> tuple[Tensor, Tensor]:
    """Loss of a micro-batch, and what it adds to `sums`, see `backward`."""
    logps = forward.logps(
        [rows.rows[index] for index in indices], keep=rows.keep_of(indices), with_entropy=with_entropy
    )
    part = objective.part(logps, rows, indices, prepared)
    first = torch.zeros(2, len(FIRST), device=part.loss.device)
    first[0, 0] = part.loss.detach()
    if logps.entropy is not None and logps.is_top is not None:
        first[0, 1], first[0, 2] = logps.entropy.sum(), logps.is_top.sum()
        first[1, 1:] = logps.lengths.sum()
    return part.loss, torch.cat((first, torch.stack((part.sums, part.weights))), dim=1)


def read_metrics(sums: Tensor, names: Sequence[str], grad_norm: Tensor) -> dict[str, float]:
    """Means of what was summed and the gradient's norm; what nobody weighed is left out."""
    values, weights, (norm,) = _lists(sums, grad_norm)
    named = zip((*FIRST, *names), values, weights, strict=True)
    found = {name: value / weight for name, value, weight in named if weight}
    if {"rewards/chosen", "rewards/rejected"} <= found.keys():
        found["rewards/margins"] = found["rewards/chosen"] - found["rewards/rejected"]
    return found | {"grad_norm": norm}


def _lists(sums: Tensor, grad_norm: Tensor) -> tuple[list[float], list[float], list[float]]:
    numbers = torch.cat((sums.flatten(), grad_norm.detach().reshape(1).to(sums))).tolist()
    width = sums.shape[1]
    return numbers[:width], numbers[width:-1], numbers[-1:]


def batches_of(num_rows: int, config: TrainingConfig) -> list[list[int]]:
    """The rows of every step: `epochs` passes over them, or as many as `max_steps` takes."""

    def endless() -> Iterator[list[int]]:
        for epoch in count():
            if not config.max_steps and epoch == config.epochs:
                return
            yield from epoch_order(num_rows, batch_size=config.batch_size, seed=config.seed, epoch=epoch)

    steps = endless()
    return [next(steps) for _ in range(config.max_steps)] if config.max_steps else list(steps)


def make_optimizer(network: torch.nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices only."""
    trained = [p for p in network.parameters() if p.requires_grad]
    decayed, others = [p for p in trained if p.dim() >= 2], [p for p in trained if p.dim() < 2]
    return adamw([(decayed, weight_decay), (others, 0.0)], learning_rate)
