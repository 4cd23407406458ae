"""What a process reward model is trained on: rows of tokens read at the ends of steps, and the loss of their labels.

Binary cross entropy at step ends (Lightman et al. 2024, section 2.6, arXiv 2305.20050), with soft labels kept as they
are (Wang et al. 2024, arXiv 2312.08935). Where we differ:
1. A neutral step is a label of 0.5, not counted as right or wrong; a step without a label is read and not trained on.
2. A step of the optimizer is normalised by the judged steps of its whole batch, so micro-batches never change it.
3. K heads are trained in one pass over the trunk, each on its own bootstrap of the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rewardkit.config import RewardConfig
from rewardkit.data.stepwise.stepped_answer import SEPARATOR, SteppedAnswer
from rewardkit.distributed.optimization import autocast
from rewardkit.losses import step_losses
from rewardkit.network.classifier import RewardScorer
from rewardkit.network.packed_rows import Branched
from rewardkit.reward.process_reward import step_logits, step_rows
from rewardkit.stats.metrics import negative_log_likelihood
from rewardkit.training.loop import HeldOut
from rewardkit.training.reward_objective import ScorerObjective, member_counts
from rewardkit.training.steps import Part, weighted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class StepTrainingRows:
    """Tokenised answers in steps.

    Attributes:
        answers: those that have a label, in order.
        rows: of all answers in turn, one row each, or several of one that is too long.
        labels: by row, (E,) float32 labels of what is read; nan where a step was not judged.
        starts: (N + 1,) number of the first row of each answer, then of all.
        num_cut: answers longer than `max_length`.
        num_unjudged: answers left out, because none of their steps has a label.
    """

    answers: Sequence[SteppedAnswer]
    rows: Sequence[Branched]
    labels: Sequence[Tensor]
    starts: Sequence[int]
    num_cut: int = 0
    num_unjudged: int = 0


def step_training_rows(
    answers: Sequence[SteppedAnswer], tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> StepTrainingRows:
    """Tokenises answers and lays their labels beside what is read."""
    judged = [answer for answer in answers if answer.num_judged]
    of_answers, num_cut = step_rows(
        [answer.prompt for answer in judged],
        [answer.steps for answer in judged],
        tokenizer,
        separator=SEPARATOR,
        max_length=max_length,
    )
    labels: list[Tensor] = []
    for answer, rows in zip(judged, of_answers, strict=True):
        numbers = torch.tensor([float("nan") if label is None else label for label in answer.labels])
        labels += numbers.split([len(row.read_places[0]) for row in rows])
    return StepTrainingRows(
        answers=judged,
        rows=[row for rows in of_answers for row in rows],
        labels=labels,
        starts=np.cumsum([0, *map(len, of_answers)]).tolist(),
        num_cut=num_cut,
        num_unjudged=len(answers) - len(judged),
    )


class StepObjective(ScorerObjective):
    """A scorer trained on steps.

    The loss of a step of the optimizer is the mean over members of sum_s(w_k loss_ks) / sum_s(w_k), s over the judged
    steps of the whole batch, w_k how often the member's bootstrap drew their row.
    """

    names = ("steps/probability", "steps/accuracies")

    def __init__(
        self,
        scorer: RewardScorer,
        rows: StepTrainingRows,
        held_out: StepTrainingRows,
        config: RewardConfig,
        weights: Tensor | None = None,
    ) -> None:
        super().__init__(scorer, rows.rows, config)
        self.rows, self.held_out = rows, held_out
        self.weights = member_counts(len(rows.rows), config) if weights is None else weights  # (K, R)

    def prepare(self, batch: Sequence[int]) -> Tensor:
        """(K,): what every head's weighted sum of losses is divided by."""
        num_judged = torch.tensor([int((~self.rows.labels[index].isnan()).sum()) for index in batch])
        totals = (self.weights[:, list(batch)] * num_judged).sum(1)
        return (totals.clamp_min(1e-12) * self.config.ensemble).to(self.device)

    def part(self, indices: Sequence[int], prepared: Tensor | None, *, measures: bool) -> Part:
        """Loss of some rows; mean probability and accuracy of the members on their steps."""
        assert prepared is not None
        logits = self.rewards([self.examples[index] for index in indices])  # (K, E)
        labels = torch.cat([self.rows.labels[index] for index in indices])
        weights = torch.cat(
            [self.weights[:, index, None].expand(-1, len(self.rows.labels[index])) for index in indices], dim=1
        )
        judged = ~labels.isnan()
        labels, weights = labels[judged].to(self.device), weights[:, judged].to(self.device)
        logits = logits[:, judged.to(self.device)]
        smooth = self.config.label_smoothing
        losses = step_losses(logits, labels * (1.0 - 2.0 * smooth) + smooth)
        loss = ((losses * weights).sum(1) / prepared).sum()
        decided = (labels != 0.5).float().expand_as(logits)
        right = ((logits > 0) == (labels > 0.5)).float()
        sums, of_metrics = weighted([(logits.sigmoid(), torch.ones_like(logits)), (right, decided)])
        return Part(loss=loss, sums=sums, weights=of_metrics)

    def evaluate(self) -> HeldOut:
        """The NLL of the mean logit over held-out steps, nats per step, and other metrics."""
        logits = np.concatenate(held_out_logits(self.network, self.held_out, self.config), axis=1)
        labels = torch.cat(list(self.held_out.labels)).double().numpy()
        judged = ~np.isnan(labels)
        mean, labels = logits.mean(0)[judged], labels[judged]
        nll = negative_log_likelihood(mean, labels)
        decided = labels != 0.5
        accuracy = float(((mean > 0) == (labels > 0.5))[decided].mean()) if decided.any() else float("nan")
        metrics = {"nll": nll, "accuracy": accuracy}
        if len(logits) > 1:
            metrics["reward/std"] = float(logits[:, judged].std(0, ddof=1).mean())
        return HeldOut(loss=nll, metrics=metrics)


def held_out_logits(scorer: RewardScorer, rows: StepTrainingRows, config: RewardConfig) -> list[np.ndarray]:
    """By answer, (K, S) float64 logits of its steps; every process computes all of them."""
    was_training = scorer.training
    scorer.eval()
    with autocast(config.precision, scorer.heads.device):
        of_rows = step_logits(scorer, rows.rows, token_budget=config.token_budget)
    scorer.train(was_training)
    return [np.concatenate(of_rows[start:end], axis=1) for start, end in pairwise(rows.starts)]
