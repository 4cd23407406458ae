"""What the training of a reward model is made of: the reduced loss of a step, its weights, its optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

from rewardkit.config import RewardConfig
from rewardkit.distributed.optimization import adamw
from rewardkit.losses import (
    PreferenceLoss,
    bradley_terry_loss,
    centring_penalty,
    crowd_bradley_terry_loss,
    davidson_loss,
    rao_kupper_loss,
)
from rewardkit.network.models import PRESETS, RewardScorer
from rewardkit.network.packed_rows import divide, token_budget_batches
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
    rank, world = share
    device = scorer.heads.device
    lengths = [rows.rows[index].num_tokens for index in batch]
    mine = divide(lengths, world)[rank]
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
