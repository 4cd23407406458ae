"""Training of a reward model: all weights or adapters, one head or K.

Bradley-Terry on pairs (Ouyang et al. 2022, section 3.5), with what `rewardkit.losses` adds. Where we differ:
1. Both answers of a pair share their prompt in one packed row; loss and gradient equal the padded form.
2. A step is normalised by the weights of its whole batch, so micro-batches and processes never change it.
3. K heads are trained in one pass over the trunk, each on its own bootstrap of the rows.
4. The best checkpoint by held-out negative log-likelihood is kept, not the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rewardkit.config import RewardConfig
from rewardkit.distributed import collectives
from rewardkit.distributed.checkpoint import Checkpoint, write_aside
from rewardkit.distributed.optimization import add_up_step, autocast, schedule
from rewardkit.network.models import RewardScorer
from rewardkit.network.packed_rows import epoch_order, token_budget_batches
from rewardkit.run.directory import Run
from rewardkit.stats.metrics import negative_log_likelihood
from rewardkit.training.rows import TrainingRows
from rewardkit.training.training import (
    TieParameter,
    backward,
    head_weights,
    make_optimizer,
    peak_learning_rate,
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
        tie: the learned parameter of a likelihood with ties.
    """

    num_steps: int
    best_step: int
    best_nll: float
    stopped_early: bool
    cancelled: bool
    tie: TieParameter


def train(
    scorer: RewardScorer,
    rows: TrainingRows,
    held_out: TrainingRows,
    config: RewardConfig,
    run: Run | None,
    *,
    checkpoint: Checkpoint,
    cancelled: Callable[[], bool] = lambda: False,
    show: Callable[[int, int, Mapping[str, float]], None] = lambda step, num_steps, metrics: None,
) -> Trained:
    """Trains in place and leaves the best weights in `scorer`.

    Args:
        run: where metrics go; None in all processes but the first, which write nothing.
        checkpoint: where training state is kept; one that holds a state is continued from it.
        cancelled: asked after every step.
        show: told of every step, how many there are, and its metrics.

    Raises:
        FloatingPointError: if loss or gradient is not finite; the batch is noted beside the checkpoint.
    """
    device = scorer.heads.device
    rank, world = collectives.rank_and_size()
    tie = TieParameter().to(device)
    optimizer = make_optimizer(scorer, tie, config)
    weights = head_weights(rows, config)
    batches = [
        batch
        for epoch in range(config.epochs)
        for batch in epoch_order(len(rows), batch_size=config.batch_size, seed=config.seed, epoch=epoch)
    ]
    eval_every = config.eval_every or max(1, len(batches) // 10)
    state = checkpoint.restore(scorer, tie, optimizer)
    if run:
        run.status(num_steps=len(batches), step=state.step, first_step=state.step, num_processes=world)
        run.truncate_metrics(state.step)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    scorer.train()
    stopped_early = bool(config.patience) and state.num_without_gain >= config.patience
    asked = False
    while state.step < len(batches) and not stopped_early and not asked:
        started = time.perf_counter()
        batch, step = batches[state.step], state.step + 1
        learning_rate = peak_learning_rate(config) * schedule(state.step, len(batches), config.warmup_share)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        precision = autocast(config.precision, device)
        loss, margins = backward(scorer, rows, batch, weights, config, tie, precision=precision, share=(rank, world))
        add_up_step(parameters, loss, margins)
        grad_norm = torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        if not torch.isfinite(grad_norm + loss):
            noted = f", batch noted in {write_aside(checkpoint.dir, step, batch)}" if run else ""
            raise FloatingPointError(f"step {step}: loss {float(loss)}, gradient norm {float(grad_norm)}{noted}")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        metrics = _step_metrics(loss, margins, grad_norm, learning_rate)
        metrics["time/step_s"] = time.perf_counter() - started
        metrics["tokens_per_s"] = sum(rows.rows[i].num_tokens for i in batch) / metrics["time/step_s"]
        state = state.after_step()
        last = step == len(batches)
        if step % eval_every == 0 or last:
            nll, eval_metrics = evaluate_rows(scorer, held_out, config)
            metrics |= eval_metrics
            state = state.after_evaluation(nll)
            stopped_early = bool(config.patience) and state.num_without_gain >= config.patience and not last
            if run and state.best_step == step:
                checkpoint.write_best(step, scorer, tie)
        asked = collectives.any_says(cancelled(), device) and not last
        if run:
            run.log(step, metrics)
            run.status(step=step)
            show(step, len(batches), metrics)
            if stopped_early or asked or last or step % (config.checkpoint_every or eval_every) == 0:
                checkpoint.write(state, scorer, tie, optimizer)
    if run and not asked:
        checkpoint.load_best(state, scorer, tie)
    return Trained(
        num_steps=state.step,
        best_step=state.best_step,
        best_nll=state.best_nll,
        stopped_early=stopped_early,
        cancelled=asked,
        tie=tie,
    )


@torch.no_grad()
def score_rows(scorer: RewardScorer, rows: TrainingRows, config: RewardConfig) -> tuple[Tensor, Tensor]:
    """Rewards of chosen and of rejected by every head, each (K + C, N) float32 on the CPU."""
    was_training, device = scorer.training, scorer.heads.device
    rank, world = collectives.rank_and_size()
    scorer.eval()
    chosen, rejected = torch.zeros(2, len(scorer.heads), len(rows), device=device)
    lengths = [row.num_tokens for row in rows.rows]
    for micro in token_budget_batches(lengths, token_budget=config.token_budget)[rank::world]:
        with autocast(config.precision, device):
            rewards = scorer([rows.rows[index] for index in micro])
        chosen[:, micro], rejected[:, micro] = rewards[:, 0::2], rewards[:, 1::2]
    collectives.add_up([chosen, rejected])
    scorer.train(was_training)
    return chosen.cpu(), rejected.cpu()


def evaluate_rows(scorer: RewardScorer, rows: TrainingRows, config: RewardConfig) -> tuple[float, dict[str, float]]:
    """Held-out NLL of the mean reward, and metrics to log."""
    chosen, rejected = score_rows(scorer, rows, config)
    differences = chosen - rejected
    members = differences[: config.ensemble]
    margins = members.mean(0)
    nll = negative_log_likelihood(margins.numpy(), rows.p_chosen.numpy(), rows.weight.numpy())
    metrics = {
        "eval/nll": nll,
        "eval/accuracy": accuracy(margins, rows.p_chosen),
        "eval/rewards/margins": float(margins.mean()),
    }
    if len(members) > 1:
        metrics["eval/reward/std"] = float(members.std(0, correction=1).mean())
    for number, name in enumerate(rows.criteria):
        judged = rows.criterion_weight[number] > 0
        p_chosen, head = rows.criterion_p[number][judged], differences[config.ensemble + number][judged]
        better = torch.where(p_chosen >= 0.5, head, -head)
        metrics[f"eval/accuracy/{name}"] = accuracy(better, torch.maximum(p_chosen, 1.0 - p_chosen))
    return nll, metrics


def accuracy(margins: Tensor, p_chosen: Tensor) -> float:
    """Share of decided pairs (p_chosen above 0.5) whose margin is positive, a zero counted half; NaN without any."""
    correct = ((margins > 0).float() + 0.5 * (margins == 0).float())[p_chosen > 0.5]
    return float(correct.mean()) if len(correct) else float("nan")


def _step_metrics(loss: Tensor, margins: Tensor, grad_norm: Tensor, learning_rate: float) -> dict[str, float]:
    return {
        "loss": float(loss),
        "rewards/margins": float(margins.mean()),
        "rewards/accuracies": float((margins > 0).float().mean() + 0.5 * (margins == 0).float().mean()),
        "grad_norm": float(grad_norm),
        "learning_rate": learning_rate,
    }
