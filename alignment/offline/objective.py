"""What the loop (`rewardkit.training.loop`) trains here: a policy on fixed rows, by one of the losses SFT, DPO, KTO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from alignment.config.training import TrainingConfig
from alignment.policy.policy_forward import Forward
from alignment.policy.rows import PolicyRows
from rewardkit.distributed import collectives
from rewardkit.network.logps import CompletionLogps
from rewardkit.training.loop import HeldOut, LoopOptions, MicroBatch, sum_parts
from rewardkit.training.steps import Part, means

EVALUATION_BATCH = 256  # held-out rows that are one batch to a loss
TOKEN_METRICS = ("entropy", "mean_token_accuracy")  # of every loss


class RowLoss(Protocol):
    """A loss that is a sum over rows, divided by a total over the whole batch, so that no split of it changes a step.

    Attributes:
        names: of the M metrics.
        reads_squares: whether it reads `CompletionLogps.log_squares`.
    """

    names: tuple[str, ...]
    reads_squares: bool

    def total(self, rows: PolicyRows, batch: Sequence[int]) -> float:
        """What the sum of losses of a batch is divided by."""
        ...

    def prepare(self, rows: PolicyRows, batch: Sequence[int]) -> Tensor | None:
        """What is needed of the whole batch before its micro-batches; called in every process."""
        ...

    def part(self, logps: CompletionLogps, rows: PolicyRows, indices: Sequence[int], prepared: Tensor | None) -> Part:
        """Loss and metrics of some rows, given the policy's log-probabilities of their branches."""
        ...


@dataclass(frozen=True, kw_only=True)
class PolicyObjective:
    """A policy, its loss and the rows it is trained on.

    Attributes:
        forward: of the policy.
        extra: an empty module: nothing is trained besides the policy.
    """

    forward: Forward
    loss: RowLoss
    rows: PolicyRows
    held_out: PolicyRows
    weight_decay: float = 0.0
    extra: torch.nn.Module = field(default_factory=torch.nn.Module)

    @property
    def names(self) -> tuple[str, ...]:
        return (*TOKEN_METRICS, *self.loss.names)

    @property
    def network(self) -> torch.nn.Module:
        return self.forward.network

    @property
    def device(self) -> torch.device:
        return self.forward.device

    @property
    def is_sharded(self) -> bool:
        return self.forward.sharded is not None

    def parameter_groups(self) -> list[tuple[list[torch.nn.Parameter], float]]:
        """Returns the parameter groups: weight decay applies to matrices only."""
        trained = [p for p in self.network.parameters() if p.requires_grad]
        return [([p for p in trained if p.dim() >= 2], self.weight_decay), ([p for p in trained if p.dim() < 2], 0.0)]

    def num_tokens(self, batch: Sequence[int]) -> int:
        """Tokens of the full sequences, the prompt counted once per branch."""
        return sum(self.rows.rows[index].num_padded_free_tokens for index in batch)

    def micro_batches(self, batch: Sequence[int]) -> list[MicroBatch]:
        return self.forward.micro_batches([self.rows.rows[index].num_tokens for index in batch])

    def total(self, batch: Sequence[int]) -> float:
        return self.loss.total(self.rows, batch)

    def prepare(self, batch: Sequence[int]) -> Tensor | None:
        return self.loss.prepare(self.rows, batch)

    def part(self, indices: Sequence[int], prepared: Tensor | None, *, measures: bool) -> Part:
        """Loss of some rows, with `measures` also entropy and token accuracy."""
        branched = [self.rows.rows[index] for index in indices]
        logps = self.forward.logps(
            branched,
            keep=self.rows.keep_of(indices),
            with_entropy=measures,
            with_squares=self.loss.reads_squares,
        )
        part = self.loss.part(logps, self.rows, indices, prepared)
        sums, weights = torch.zeros(2, len(TOKEN_METRICS), device=part.loss.device)
        if logps.entropy is not None and logps.is_top is not None:
            sums[0], sums[1] = logps.entropy.detach().sum(), logps.is_top.sum()
            weights[:] = logps.lengths.sum()
        return Part(loss=part.loss, sums=torch.cat((sums, part.sums)), weights=torch.cat((weights, part.weights)))

    @torch.no_grad()
    def evaluate(self) -> HeldOut:
        """Computes the loss and all metrics over the held-out rows."""
        was_training = self.network.training
        self.network.eval()
        on_held_out = replace(self, rows=self.held_out)
        sums = torch.zeros(2, 1 + len(self.names), device=self.device)
        for start in range(0, len(self.held_out), EVALUATION_BATCH):
            batch = range(start, min(start + EVALUATION_BATCH, len(self.held_out)))
            sums += sum_parts(on_held_out, batch, measures=True, learns=False)
        collectives.all_reduce_sum([sums])
        self.network.train(was_training)
        metrics = means(("loss", *self.names), sums)
        return HeldOut(loss=metrics["loss"], metrics=metrics)


def loop_options(config: TrainingConfig, *, learning_rate: float) -> LoopOptions:
    """Returns the options of the training loop.

    Args:
        learning_rate: the peak.
    """
    return LoopOptions(
        learning_rate=learning_rate,
        warmup_share=config.warmup_share,
        max_grad_norm=config.max_grad_norm,
        eval_every=config.eval_every,
        checkpoint_every=config.checkpoint_every,
        measures_every=config.entropy_every,
        keep=config.keep,
        optimizer=config.optimizer,
        trained_weights=config.trained_weights,
        seed=config.seed,
    )
