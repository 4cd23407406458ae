"""Training of a reward model: all weights or adapters, one head or K.

Bradley-Terry on pairs (Ouyang et al. 2022, section 3.5), with what `rewardkit.losses` adds. Where we differ:
1. Both answers of a pair share their prompt in one packed row; loss and gradient equal the padded form.
2. A step is normalised by the weights of its whole batch, so micro-batches and processes never change it.
3. K heads are trained in one pass over the trunk, each on its own bootstrap of the rows.
4. The best checkpoint by held-out negative log-likelihood is kept, not the last.

The objective of `rewardkit.training.loop`: the reduced loss of a step, its weights, held-out evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rewardkit.config import RewardConfig
from rewardkit.distributed import collectives
from rewardkit.distributed.optimization import autocast
from rewardkit.distributed.sharding import Sharded
from rewardkit.losses import (
    PreferenceLoss,
    bradley_terry_loss,
    centring_penalty,
    crowd_bradley_terry_loss,
    davidson_loss,
    rao_kupper_loss,
)
from rewardkit.network.classifier import RewardScorer
from rewardkit.network.models import PRESETS
from rewardkit.network.packed_rows import Branched, token_budget_batches
from rewardkit.stats.metrics import negative_log_likelihood
from rewardkit.training.loop import HeldOut, LoopOptions, MicroBatch, micro_batches
from rewardkit.training.rows import TrainingRows
from rewardkit.training.steps import Part, weighted
from rewardkit.weights.offload import activations_away


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
        # auto is resolved before, and means this where rows name nobody; a pair of its own is a ranking of two
        case "auto" | "bradley_terry" | "plackett_luce":
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


def member_counts(num_examples: int, config: RewardConfig) -> Tensor:
    """(K, N) float32: how often each member sees each example.

    With bootstrap and K > 1, member k sees example n as often as N draws with replacement choose it (Efron 1979); the
    first member of K = 1 sees every example once.
    """
    counts = torch.ones(config.ensemble, num_examples)
    if config.bootstrap and config.ensemble > 1:
        for member in range(config.ensemble):
            rng = np.random.default_rng((config.seed, 1, member))
            numbers = rng.integers(0, num_examples, num_examples)
            counts[member] = torch.from_numpy(np.bincount(numbers, minlength=num_examples)).float()
    return counts


def member_weights(rows: TrainingRows, config: RewardConfig) -> Tensor:
    """(K, N) float32: the weight of each row for each member."""
    return member_counts(len(rows), config) * rows.weight


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


class ScorerObjective:
    """A scorer and the rows of tokens that it is trained on: what objectives of every loss share.

    Args:
        examples: what a batch is drawn from.
        sharded: the scorer with sharded weights; None where every process holds all of them.
    """

    def __init__(
        self,
        scorer: RewardScorer,
        examples: Sequence[Branched],
        config: RewardConfig,
        sharded: Sharded | None = None,
    ) -> None:
        self.network, self.examples, self.config, self.sharded = scorer, examples, config, sharded
        self.extra = TieParameter().to(scorer.heads.device)

    @property
    def num_examples(self) -> int:
        return len(self.examples)

    @property
    def is_sharded(self) -> bool:
        return self.sharded is not None

    @property
    def device(self) -> torch.device:
        return self.network.heads.device

    def parameter_groups(self) -> list[tuple[list[torch.nn.Parameter], float]]:
        """Trained parameters, with weight decay on matrices of the trunk only."""
        trained = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        decayed = [p for name, p in trained if p.dim() >= 2 and name != "heads"]
        others = [p for name, p in trained if p.dim() < 2 or name == "heads"]
        ties = list(self.extra.parameters()) if self.config.likelihood in ("rao_kupper", "davidson") else []
        return [(decayed, self.config.weight_decay), (others, 0.0), (ties, 0.0)]

    def num_tokens(self, batch: Sequence[int]) -> int:
        """Tokens computed, the prompt of a row once."""
        return sum(self.examples[index].num_tokens for index in batch)

    def micro_batches(self, batch: Sequence[int]) -> list[MicroBatch]:
        """This process's share of a batch."""
        lengths = [self.examples[index].num_tokens for index in batch]
        return micro_batches(lengths, token_budget=self.config.token_budget, equally_many=self.is_sharded)

    def rewards(self, rows: Sequence[Branched]) -> Tensor:
        """(K + C, S) scores of what is read of the rows, by every head."""
        away = activations_away(self.config.offload_activations, self.network)
        with autocast(self.config.precision, self.device), away:
            return scored(self.network, rows, self.sharded)

    def total(self, batch: Sequence[int]) -> float:
        """Every head has a normaliser of its own, see `prepare` of each objective."""
        return 1.0


class RewardObjective(ScorerObjective):
    """A scorer trained on pairs.

    The loss of a step is the mean over members of sum_n(w_kn loss_kn) / sum_n(w_kn), n over the whole batch, plus the
    same over criteria.
    """

    names = ("rewards/margins", "rewards/accuracies")

    def __init__(
        self,
        scorer: RewardScorer,
        rows: TrainingRows,
        held_out: TrainingRows,
        config: RewardConfig,
        sharded: Sharded | None = None,
    ) -> None:
        super().__init__(scorer, rows.rows, config, sharded)
        self.rows, self.held_out = rows, held_out
        self.weights = head_weights(rows, config)  # (K + C, N)

    def prepare(self, batch: Sequence[int]) -> Tensor:
        """(K + C,): what every head's weighted sum of losses is divided by."""
        num_members, num_criteria = self.config.ensemble, len(self.rows.criteria)
        counts = torch.tensor([num_members] * num_members + [num_criteria] * num_criteria)
        return (self.weights[:, list(batch)].sum(1).clamp_min(1e-12) * counts).to(self.device)

    def part(self, indices: Sequence[int], prepared: Tensor | None, *, measures: bool) -> Part:
        """Loss of some pairs; margins and accuracies of the members."""
        assert prepared is not None
        numbers = torch.tensor(indices)
        rewards = self.rewards([self.rows.rows[index] for index in indices])
        losses, margins = head_losses(rewards, self.rows, numbers, self.config, self.extra)
        loss = ((losses * self.weights[:, numbers].to(self.device)).sum(1) / prepared).sum()
        return self.measured(loss, margins)

    def measured(self, loss: Tensor, margins: Tensor) -> Part:
        """The loss with the figures of `names`, from margins (K + C, B)."""
        margins = margins[: self.config.ensemble].detach()
        ones = torch.ones_like(margins)
        sums, weights = weighted([(margins, ones), ((margins > 0).float() + 0.5 * (margins == 0).float(), ones)])
        return Part(loss=loss, sums=sums, weights=weights)

    def evaluate(self) -> HeldOut:
        return evaluate_rows(self.network, self.held_out, self.config, self.sharded)


def loop_options(config: RewardConfig) -> LoopOptions:
    """The numbers of the loop."""
    return LoopOptions(
        learning_rate=peak_learning_rate(config),
        warmup_share=config.warmup_share,
        max_grad_norm=config.max_grad_norm,
        eval_every=config.eval_every,
        checkpoint_every=config.checkpoint_every,
        patience=config.patience,
        optimizer=config.optimizer,
        trained_weights=config.trained_weights,
        seed=config.seed,
    )


def peak_learning_rate(config: RewardConfig) -> float:
    """The configured one, or the default for how the model is trained."""
    if config.learning_rate:
        return config.learning_rate
    if config.model in PRESETS:
        return 5e-4
    return 1e-4 if config.mode == "lora" else 1e-5


def scored(scorer: RewardScorer, rows: Sequence[Branched], sharded: Sharded | None) -> Tensor:
    """(K + C, S) scores; with sharded weights every process has to call it equally often."""
    return scorer(rows) if sharded is None else sharded.run(lambda: scorer(rows))


@torch.no_grad()
def score_rows(
    scorer: RewardScorer, rows: TrainingRows, config: RewardConfig, sharded: Sharded | None = None
) -> tuple[Tensor, Tensor]:
    """Rewards of chosen and of rejected by every head, each (K + C, N) float32 on the CPU."""
    was_training, device = scorer.training, scorer.heads.device
    rank, world_size = collectives.rank(), collectives.world_size()
    scorer.eval()
    chosen, rejected = torch.zeros(2, len(scorer.heads), len(rows), device=device)
    lengths = [row.num_tokens for row in rows.rows]
    micros = token_budget_batches(lengths, token_budget=config.token_budget)
    own = micros[rank::world_size]
    for number in range(len(micros[::world_size]) if sharded else len(own)):
        micro = own[number] if number < len(own) else micros[-1]
        with autocast(config.precision, device):
            rewards = scored(scorer, [rows.rows[index] for index in micro], sharded)
        if number >= len(own):  # computed along with the others
            break
        chosen[:, micro], rejected[:, micro] = rewards[:, 0::2], rewards[:, 1::2]
    collectives.all_reduce_sum([chosen, rejected])
    scorer.train(was_training)
    return chosen.cpu(), rejected.cpu()


def evaluate_rows(
    scorer: RewardScorer, rows: TrainingRows, config: RewardConfig, sharded: Sharded | None = None
) -> HeldOut:
    """The NLL of the mean reward over held-out rows, nats per pair, and other metrics."""
    chosen, rejected = score_rows(scorer, rows, config, sharded)
    differences = chosen - rejected
    members = differences[: config.ensemble]
    margins = members.mean(0)
    nll = negative_log_likelihood(margins.numpy(), rows.p_chosen.numpy(), rows.weight.numpy())
    metrics = {"nll": nll, "accuracy": accuracy(margins, rows.p_chosen), "rewards/margins": float(margins.mean())}
    if len(members) > 1:
        metrics["reward/std"] = float(members.std(0, correction=1).mean())
    for number, name in enumerate(rows.criteria):
        judged = rows.criterion_weight[number] > 0
        p_chosen, head = rows.criterion_p[number][judged], differences[config.ensemble + number][judged]
        better = torch.where(p_chosen >= 0.5, head, -head)
        metrics[f"accuracy/{name}"] = accuracy(better, torch.maximum(p_chosen, 1.0 - p_chosen))
    return HeldOut(loss=nll, metrics=metrics)


def accuracy(margins: Tensor, p_chosen: Tensor) -> float:
    """Share of decided pairs (p_chosen above 0.5) whose margin is positive, a zero counted half; NaN without any."""
    correct = ((margins > 0).float() + 0.5 * (margins == 0).float())[p_chosen > 0.5]
    return float(correct.mean()) if len(correct) else float("nan")
