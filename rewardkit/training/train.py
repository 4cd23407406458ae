"""Training of a reward model: all weights or adapters, one head or K.

Bradley-Terry on pairs (Ouyang et al. 2022, section 3.5), with what `rewardkit.losses` adds. Where we differ:
1. Both answers of a pair share their prompt in one packed row; loss and gradient equal the padded form.
2. A step is normalised by the weights of its whole batch, so micro-batches and processes never change it.
3. K heads are trained in one pass over the trunk, each on its own bootstrap of the rows.
4. The best checkpoint by held-out negative log-likelihood is kept, not the last.

What the training of a reward model is made of: the reduced loss of a step, its weights, its optimizer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rewardkit.config import RewardConfig
from rewardkit.distributed import collectives
from rewardkit.distributed.checkpoint import Checkpoint, write_aside
from rewardkit.distributed.optimization import adamw, all_reduce_gradients, autocast, schedule
from rewardkit.losses import (
    PreferenceLoss,
    bradley_terry_loss,
    centring_penalty,
    crowd_bradley_terry_loss,
    davidson_loss,
    rao_kupper_loss,
)
from rewardkit.network.models import PRESETS, RewardScorer
from rewardkit.network.packed_rows import divide, epoch_order, token_budget_batches
from rewardkit.run.directory import Run
from rewardkit.stats.metrics import negative_log_likelihood
from rewardkit.training.rows import TrainingRows


class TieParameter(torch.nn.Module):
    """The learned scalar of a likelihood with ties: t = softplus(raw) for Rao-Kupper, log nu = raw for Davidson."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = torch.nn.Parameter(torch.tensor(0.0))


def pair_losses(
    rewards: Tensor, rows: TrainingRows, indices: Tensor, config: RewardConfig, tie: TieParameter
) -> PreferenceLoss:
    """Losses of B pairs under the configured likelihood, for one member.

    Args:
        rewards: (2B,) scores, chosen and rejected in turn.
        indices: (B,) which rows they are.
    """
    chosen, rejected = rewards[0::2], rewards[1::2]
    device = rewards.device
    p_chosen = rows.p_chosen[indices].to(device)
    match config.likelihood:
        case "bradley_terry":
            result = bradley_terry_loss(
                chosen,
                rejected,
                p_chosen=p_chosen,
                margin=rows.margin[indices].to(device) if config.use_margin else None,
                label_smoothing=config.label_smoothing,
            )
        case "rao_kupper":
            shares = rows.outcome_shares[indices].to(device)
            threshold = torch.nn.functional.softplus(tie.raw)
            result = rao_kupper_loss(chosen, rejected, outcome_shares=shares, tie_threshold=threshold)
        case "davidson":
            shares = rows.outcome_shares[indices].to(device)
            result = davidson_loss(chosen, rejected, outcome_shares=shares, log_tie=tie.raw)
        case "crowd":
            logits = rows.reliability_logits[indices].to(device)
            result = crowd_bradley_terry_loss(chosen, rejected, reliability_logits=logits, p_chosen=p_chosen)
    if config.centring:
        penalty = config.centring * centring_penalty(chosen, rejected)
        return PreferenceLoss(losses=result.losses + penalty, margins=result.margins)
    return result


def member_weights(rows: TrainingRows, config: RewardConfig) -> Tensor:
    """(K, N) float32: the weight of each row for each member.

    With bootstrap and K > 1, member k sees row n as often as N draws with replacement choose it (Efron 1979); the first
    member of K = 1 sees every row once.
    """
    counts = torch.ones(config.ensemble, len(rows))
    if config.bootstrap and config.ensemble > 1:
        for member in range(config.ensemble):
            rng = np.random.default_rng((config.seed, 1, member))
            drawn = rng.integers(0, len(rows), len(rows))
            counts[member] = torch.from_numpy(np.bincount(drawn, minlength=len(rows))).float()
    return counts * rows.weight


def head_weights(rows: TrainingRows, config: RewardConfig) -> Tensor:
    """(K + C, N) float32: the weight of each row for each member, then for each criterion."""
    weights = member_weights(rows, config)
    return torch.cat((weights, rows.criterion_weight)) if rows.criteria else weights


def head_losses(
    rewards: Tensor, rows: TrainingRows, indices: Tensor, config: RewardConfig, tie: TieParameter
) -> tuple[Tensor, Tensor]:
    """Losses and margins, each (K + C, B) float32, of B pairs under the members' likelihood and the criteria's.

    A criterion's head is Bradley-Terry on the judgments by that criterion.

    Args:
        rewards: (K + C, 2B) scores, chosen and rejected in turn.
        indices: (B,) which rows they are.
    """
    results = [pair_losses(member, rows, indices, config, tie) for member in rewards[: config.ensemble]]
    for number in range(len(rows.criteria)):
        p_chosen = rows.criterion_p[number, indices].to(rewards.device)
        head = rewards[config.ensemble + number]
        results.append(bradley_terry_loss(head[0::2], head[1::2], p_chosen=p_chosen))
    return torch.stack([result.losses for result in results]), torch.stack([result.margins for result in results])


def backward(
    scorer: RewardScorer,
    rows: TrainingRows,
    batch: Sequence[int],
    weights: Tensor,
    config: RewardConfig,
    tie: TieParameter,
    *,
    precision: AbstractContextManager[object],
    share: tuple[int, int] = (0, 1),
) -> tuple[Tensor, Tensor]:
    """Adds the gradient of one optimizer step, micro-batch by micro-batch.

    The step's loss is the mean over members of sum_n(w_kn loss_kn) / sum_n(w_kn), n over the whole batch, plus the same
    over criteria, so that neither the split into micro-batches nor the number of processes changes it.

    Args:
        weights: (K + C, N), see `head_weights`.
        share: rank and number of processes; each computes rows of about as many tokens.

    Returns:
        The loss (a detached scalar, this process's part) and the members' margins, (K, B), zero where another process
        has them.
    """
    rank, world_size = share
    device = scorer.heads.device
    lengths = [rows.rows[index].num_tokens for index in batch]
    mine = divide(lengths, world_size)[rank]
    counts = torch.tensor([config.ensemble] * config.ensemble + [len(rows.criteria)] * len(rows.criteria))
    normalisers = (weights[:, batch].sum(1).clamp_min(1e-12) * counts).to(device)
    loss_sum = torch.zeros((), device=device)
    margins = torch.zeros(config.ensemble, len(batch), device=device)
    for micro in token_budget_batches([lengths[place] for place in mine], token_budget=config.token_budget):
        places = [mine[place] for place in micro]
        indices = torch.tensor([batch[place] for place in places])
        with precision:
            rewards = scorer([rows.rows[index] for index in indices.tolist()])
        losses, micro_margins = head_losses(rewards, rows, indices, config, tie)
        loss = ((losses * weights[:, indices].to(device)).sum(1) / normalisers).sum()
        loss.backward()
        loss_sum += loss.detach()
        margins[:, places] = micro_margins[: config.ensemble]
    return loss_sum, margins


def make_optimizer(scorer: RewardScorer, tie: TieParameter, config: RewardConfig) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices of the trunk only."""
    trained = [(name, p) for name, p in scorer.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trained if p.dim() >= 2 and name != "heads"]
    others = [p for name, p in trained if p.dim() < 2 or name == "heads"]
    ties = list(tie.parameters()) if config.likelihood in ("rao_kupper", "davidson") else []
    return adamw([(decayed, config.weight_decay), (others, 0.0), (ties, 0.0)], peak_learning_rate(config))


def peak_learning_rate(config: RewardConfig) -> float:
    """The configured one, or the default for how the model is trained."""
    if config.learning_rate:
        return config.learning_rate
    if config.model in PRESETS:
        return 5e-4
    return 1e-4 if config.mode == "lora" else 1e-5


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
    rank, world_size = collectives.rank(), collectives.world_size()
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
        run.status(num_steps=len(batches), step=state.step, first_step=state.step, num_processes=world_size)
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
        loss, margins = backward(
            scorer, rows, batch, weights, config, tie, precision=precision, share=(rank, world_size)
        )
        all_reduce_gradients(parameters, loss, margins)
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
        asked = collectives.any_true(cancelled(), device) and not last
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
    rank, world_size = collectives.rank(), collectives.world_size()
    scorer.eval()
    chosen, rejected = torch.zeros(2, len(scorer.heads), len(rows), device=device)
    lengths = [row.num_tokens for row in rows.rows]
    for micro in token_budget_batches(lengths, token_budget=config.token_budget)[rank::world_size]:
        with autocast(config.precision, device):
            rewards = scorer([rows.rows[index] for index in micro])
        chosen[:, micro], rejected[:, micro] = rewards[:, 0::2], rewards[:, 1::2]
    collectives.all_reduce_sum([chosen, rejected])
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
