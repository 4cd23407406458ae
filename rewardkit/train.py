"""Training of a reward model: all weights or adapters, one head or K.

Bradley-Terry on pairs (Ouyang et al. 2022, section 3.5), with what `rewardkit.losses` adds. Where we differ:
1. Both answers of a pair share their prompt in one packed row; loss and gradient equal the padded form.
2. A step is normalised by the weights of its whole batch, so micro-batches and processes never change it.
3. K heads are trained in one pass over the trunk, each on its own bootstrap of the rows.
4. The best checkpoint by held-out negative log-likelihood is kept, not the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from rewardkit.batch import epoch_order, token_budget_batches
from rewardkit.checkpoint import Checkpoint
from rewardkit.config import RewardConfig
from rewardkit.metrics import negative_log_likelihood
from rewardkit.model import RewardScorer
from rewardkit.runs import Run
from rewardkit.training import (
    TieParameter,
    TrainingRows,
    backward,
    make_optimizer,
    member_weights,
    peak_learning_rate,
    precision_context,
    schedule,
)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a training ended.

    Attributes:
        num_steps: optimizer steps taken.
        best_step: step whose weights are kept.
        best_nll: held-out NLL of the mean reward there, nats per pair.
        stopped_early: whether patience ran out.
        cancelled: whether it was asked to stop; its last checkpoint continues it.
    """

    num_steps: int
    best_step: int
    best_nll: float
    stopped_early: bool
    cancelled: bool


def train(
    scorer: RewardScorer,
    rows: TrainingRows,
    held_out: TrainingRows,
    config: RewardConfig,
    run: Run,
    *,
    checkpoint: Checkpoint,
    cancelled: Callable[[], bool] = lambda: False,
) -> Trained:
    """Trains in place and leaves the best weights in `scorer`.

    Args:
        checkpoint: where training state is kept; one that holds a state is continued from it.
        cancelled: asked after every step.
    """
    device = scorer.heads.device
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    tie = TieParameter().to(device)
    optimizer = make_optimizer(scorer, tie, config)
    weights = member_weights(rows, config)
    batches = [
        batch
        for epoch in range(config.epochs)
        for batch in epoch_order(len(rows), batch_size=config.batch_size, seed=config.seed, epoch=epoch)
    ]
    eval_every = config.eval_every or max(1, len(batches) // 10)
    state = checkpoint.restore(scorer, tie, optimizer)
    run.status(num_steps=len(batches), step=state.step)
    run.truncate_metrics(state.step)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    scorer.train()
    stopped_early = False
    for step in range(state.step, len(batches)):
        started = time.perf_counter()
        factor = schedule(step, len(batches), config.warmup_share)
        for group in optimizer.param_groups:
            group["lr"] = peak_learning_rate(config) * factor
        precision = precision_context(config, device)
        loss, margins = backward(
            scorer, rows, batches[step], weights, config, tie, precision=precision, share=(rank, world)
        )
        _sum_over_processes(parameters, loss, margins)
        grad_norm = torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        if not torch.isfinite(grad_norm + loss):
            checkpoint.write_aside(step, batches[step])
            raise FloatingPointError(f"step {step + 1}: loss {float(loss)}, gradient norm {float(grad_norm)}")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        metrics = _step_metrics(loss, margins, grad_norm, factor * peak_learning_rate(config))
        metrics["time/step_s"] = time.perf_counter() - started
        metrics["tokens_per_s"] = sum(rows.rows[i].num_tokens for i in batches[step]) / metrics["time/step_s"]
        last = step + 1 == len(batches)
        if (step + 1) % eval_every == 0 or last:
            nll, eval_metrics = evaluate_rows(scorer, held_out, config)
            metrics |= eval_metrics
            state = state.after_evaluation(step + 1, nll, scorer)
            stopped_early = bool(config.patience) and state.num_without_gain >= config.patience and not last
        if rank == 0:
            run.log(step + 1, metrics)
            run.status(step=step + 1)
        stop = stopped_early or cancelled()
        if stop or last or (step + 1) % (config.checkpoint_every or eval_every) == 0:
            checkpoint.write(step + 1, state, scorer, tie, optimizer)
        if stop:
            break
    state.load_best(scorer)
    return Trained(
        num_steps=step + 1 if batches else 0,
        best_step=state.best_step,
        best_nll=state.best_nll,
        stopped_early=stopped_early,
        cancelled=cancelled() and not last,
    )


@torch.no_grad()
def score_rows(scorer: RewardScorer, rows: TrainingRows, config: RewardConfig) -> tuple[Tensor, Tensor]:
    """Rewards of chosen and of rejected, each (K, N) float32 on the CPU."""
    was_training = scorer.training
    scorer.eval()
    chosen, rejected = torch.zeros(2, len(scorer.heads), len(rows))
    for micro in token_budget_batches([row.num_tokens for row in rows.rows], token_budget=config.token_budget):
        with precision_context(config, scorer.heads.device):
            rewards = scorer([rows.rows[index] for index in micro]).cpu()
        chosen[:, micro], rejected[:, micro] = rewards[:, 0::2], rewards[:, 1::2]
    scorer.train(was_training)
    return chosen, rejected


def evaluate_rows(scorer: RewardScorer, rows: TrainingRows, config: RewardConfig) -> tuple[float, dict[str, float]]:
    """Held-out NLL of the mean reward, and metrics to log."""
    chosen, rejected = score_rows(scorer, rows, config)
    margins = (chosen - rejected).mean(0)
    nll = negative_log_likelihood(margins.numpy(), rows.p_chosen.numpy(), rows.weight.numpy())
    correct = (margins > 0).float() + 0.5 * (margins == 0).float()
    decided = rows.p_chosen > 0.5
    metrics = {
        "eval/nll": nll,
        "eval/accuracy": float(correct[decided].mean()) if decided.any() else float("nan"),
        "eval/rewards/margins": float(margins.mean()),
    }
    if len(scorer.heads) > 1:
        metrics["eval/reward/std"] = float((chosen - rejected).std(0, correction=1).mean())
    return nll, metrics


def _step_metrics(loss: Tensor, margins: Tensor, grad_norm: Tensor, learning_rate: float) -> dict[str, float]:
    return {
        "loss": float(loss),
        "rewards/margins": float(margins.mean()),
        "rewards/accuracies": float((margins > 0).float().mean() + 0.5 * (margins == 0).float().mean()),
        "grad_norm": float(grad_norm),
        "learning_rate": learning_rate,
    }


def _sum_over_processes(parameters: list[torch.nn.Parameter], *values: Tensor) -> None:
    """Adds gradients and values over processes; each process computed other micro-batches of the same step."""
    if not dist.is_initialized():
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
    for value in values:
        dist.all_reduce(value)
