"""What every loop of optimizer steps here shares: the rate, the step itself, means of metrics, what is due when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rewardkit.distributed import collectives
from rewardkit.distributed.optimization import all_reduce_gradients, schedule
from rewardkit.distributed.sharding import clip_gradients
from rewardkit.run.directory import Run

RATE_FACTOR = "rate_factor"  # of a group of parameters: its learning rate by that of the others


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a micro-batch adds to a step.

    Attributes:
        loss: scalar, a sum over its rows (or tokens), which a loop divides by the total of the whole step.
        sums, weights: (M,) float32, detached: of every metric, the weighted sum and the sum of weights.
    """

    loss: Tensor
    sums: Tensor
    weights: Tensor

    def columns(self) -> Tensor:
        """(2, 1 + M): sums over weights, the loss before the metrics; the weight of the loss is left 0."""
        loss = self.loss.detach().reshape(1)
        return torch.stack((torch.cat((loss, self.sums)), torch.cat((torch.zeros_like(loss), self.weights))))

    def with_router_loss(self, losses: Sequence[Tensor], *, num_rows: int, share: float) -> Part:
        """Adds the load-balancing losses of a micro-batch, and their sum as one more metric.

        Args:
            losses: of its forward passes, see `rewardkit.network.router_loss`.
            num_rows: of the micro-batch, the metric's weight.
            share: what they are multiplied by to be part of the sum.
        """
        loss = torch.stack(list(losses)).sum()
        metric, weight = loss.detach().reshape(1) * num_rows, torch.full_like(self.sums[:1], num_rows)
        return Part(
            loss=self.loss + loss * share,
            sums=torch.cat((self.sums, metric.to(self.sums))),
            weights=torch.cat((self.weights, weight)),
        )


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """What an optimizer step measured.

    Attributes:
        sums: (2, 1 + M) on the CPU, over all processes: weighted sums and weights of the loss and the metrics.
        grad_norm: of the gradient before it was clipped.
    """

    sums: Tensor
    grad_norm: float


def weighted(values: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Sums and weights of metrics, each given as values and their weights of the same shape."""
    with torch.no_grad():
        sums = [(value.detach() * weight).sum() for value, weight in values]
        return torch.stack(sums), torch.stack([weight.sum() for _, weight in values])


def set_learning_rate(
    optimizer: torch.optim.Optimizer, peak: float, *, step: int, num_steps: int, warmup_share: float
) -> float:
    """Sets the learning rate of a step, counted from 1, and returns it, without a group's own factor."""
    learning_rate = peak * schedule(step - 1, num_steps, warmup_share)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get(RATE_FACTOR, 1.0)
    return learning_rate


def optimizer_step(optimizer: torch.optim.Optimizer, sums: Tensor, *, max_grad_norm: float) -> Stepped:
    """Sums gradients and metrics over processes, clips, steps and clears the gradients; one copy leaves the device.

    Args:
        sums: (2, 1 + M), this process's; the first column is the loss.

    Raises:
        FloatingPointError: if loss or gradient is not finite; then no step is taken.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    all_reduce_gradients(parameters, sums)
    norm = clip_gradients(parameters, max_grad_norm)
    numbers = torch.cat((sums.flatten(), norm.detach().reshape(1).to(sums))).cpu()
    total_sums, grad_norm = numbers[:-1].view_as(sums), float(numbers[-1])
    loss = float(total_sums[0, 0]) / (float(total_sums[1, 0]) or 1.0)
    if not math.isfinite(loss + grad_norm):
        raise FloatingPointError(f"loss {loss}, gradient norm {grad_norm}")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return Stepped(sums=total_sums, grad_norm=grad_norm)


def means(names: Sequence[str], sums: Tensor) -> dict[str, float]:
    """Metrics by name: weighted sums over weights, (2, M); a metric without weight is left out.

    Where rewards of chosen and rejected are metrics, the margin between their means is one too.
    """
    values, weights = sums.tolist()
    metrics = {name: value / weight for name, value, weight in zip(names, values, weights, strict=True) if weight}
    if {"rewards/chosen", "rewards/rejected"} <= metrics.keys():
        metrics["rewards/margins"] = metrics["rewards/chosen"] - metrics["rewards/rejected"]
    return metrics


def is_due(step: int, every: int) -> bool:
    """Whether something is done at a step: the first one and every so many; never where `every` is 0."""
    return bool(every) and (step == 1 or step % every == 0)


def begin_run(run: Run | None, *, step: int, num_steps: int) -> None:
    """Records where a run begins or continues, and drops metrics of steps that will be taken again."""
    if run:
        run.status(num_steps=num_steps, step=step, first_step=step, num_processes=collectives.world_size())
        run.truncate_metrics(step)
