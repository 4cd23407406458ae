"""Direct preference optimisation and its family: the policy learns from pairs, without a reward model.

loss = -log sigma(beta d), d = log pi(y_c|x) / ref(y_c|x) - log pi(y_r|x) / ref(y_r|x)  (Rafailov et al. 2023, eq. 7,
arXiv 2305.18290); the other losses are in `alignment.losses.pair`, each with its paper. Where we differ:
1. Chosen and rejected share their prompt in one packed row; loss and gradient equal the padded form.
2. A step is the weighted mean over the pairs of its whole batch: micro-batches and processes never change it.
3. Labels may be soft: a pair with p_chosen p takes the loss as is with p and with the two exchanged with 1 - p.
4. The reference is computed once, by the policy before its first step; `--reference live` computes it in every step.
5. Where pairs are weighted by the policy's own probabilities (WPO), the divisor stays: a batch of unlikely pairs makes
   a smaller step, as in TRL 1.16.
6. beta multiplies the log-ratio margin: a small beta lets the policy move far from the reference before a pair counts
   as learned, a large one holds it close.
Online DPO puts its pairs together by the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alignment.config.loss_names import PAIR_LOSSES
from alignment.config.training import DpoConfig
from alignment.losses.by_name import PairLogps, pair_loss
from alignment.losses.pair import PairLoss
from alignment.losses.pair_tokens import wpo_weights
from alignment.losses.reference_free import sft_term
from alignment.offline.run import LearningRates, Recipe, train_policy
from alignment.policy.policy_forward import Forward
from alignment.policy.reference import LiveReference
from alignment.policy.rows import PolicyRows, preference_rows
from rewardkit.data.records import Preference
from rewardkit.data.training_data import LoadedRows
from rewardkit.network.logps import CompletionLogps
from rewardkit.run.training_command import Results, RunContext
from rewardkit.training.steps import Part, weighted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


PAIR_METRICS = ("rewards/chosen", "rewards/rejected", "rewards/accuracies", "logps/chosen", "logps/rejected")


def pair_logps(policy: Tensor, reference: Tensor | None, lengths: Tensor) -> PairLogps:
    """Names the columns of pair log-probabilities as `PairLogps`.

    Args:
        policy, reference: (B, 2) summed log-probabilities, nats, chosen before rejected; no reference for some losses.
        lengths: (B, 2) in tokens.
    """
    return PairLogps(
        chosen=policy[:, 0],
        rejected=policy[:, 1],
        reference_chosen=None if reference is None else reference[:, 0],
        reference_rejected=None if reference is None else reference[:, 1],
        chosen_lengths=lengths[:, 0],
        rejected_lengths=lengths[:, 1],
    )


def pair_columns(loss: PairLoss, policy: Tensor, decided: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Returns values and weights of PAIR_METRICS.

    Args:
        policy: (B, 2) log-probabilities.
        decided: (B,) 1.0 where the label says which completion is better, else 0.0.
    """
    ones = torch.ones_like(loss.chosen_rewards)
    return [
        (loss.chosen_rewards, ones),
        (loss.rejected_rewards, ones),
        (loss.accuracies, decided),
        (policy[:, 0], ones),
        (policy[:, 1], ones),
    ]


ROW, CHOSEN_SLOPE, REJECTED_SLOPE, LOSS, CHOSEN_REWARD, REJECTED_REWARD = range(6)


class DpoLoss:
    """A loss of pairs, given log-probabilities under policy and reference.

    Losses that compare pairs with each other (`whole_batch`) are computed for the batch first, without gradient of the
    policy; their slope by every log-probability is then what the micro-batches pass back.
    """

    names: tuple[str, ...] = PAIR_METRICS

    def __init__(self, config: DpoConfig, forward: Forward, reference: LiveReference | None) -> None:
        self.config, self.forward, self.reference = config, forward, reference
        self.options, self.traits = config.options, PAIR_LOSSES[config.loss]
        self.reads_squares = config.use_weighting

    def total(self, rows: PolicyRows, batch: Sequence[int]) -> float:
        return max(float(rows.weight[list(batch)].sum()), 1e-12)

    def prepare(self, rows: PolicyRows, batch: Sequence[int]) -> Tensor | None:
        """Computes (B, 6) float64 for a loss of whole batches: row, slopes, loss and rewards; None for other losses."""
        if not self.traits.whole_batch:
            return None
        indices = list(batch)
        pairs = [rows.rows[index] for index in indices]
        lengths = torch.tensor([[len(branch) for branch in pair.branches] for pair in pairs])
        policy = self.forward.sums(pairs)
        reference = self.reference.all_sums(pairs) if self.reference is not None else self._precomputed(rows, indices)
        with torch.enable_grad():
            policy.requires_grad_()
            loss = self._loss(policy, reference.to(policy), lengths.to(policy.device), rows, indices)
            (slope,) = torch.autograd.grad(loss.losses.sum(), policy)
        columns = [slope[:, 0], slope[:, 1], loss.losses.detach(), loss.chosen_rewards, loss.rejected_rewards]
        numbers = torch.tensor(indices, dtype=torch.float64, device=policy.device)
        return torch.stack([numbers, *(column.double() for column in columns)], dim=1)

    def part(self, logps: CompletionLogps, rows: PolicyRows, indices: Sequence[int], prepared: Tensor | None) -> Part:
        picked = list(indices)
        policy = self.forward.branch_sums(logps).view(-1, 2)
        if prepared is None:
            reference = None
            if self.traits.needs_reference:
                live = self.reference.sums([rows.rows[index] for index in picked]) if self.reference else None
                reference = (self._precomputed(rows, picked) if live is None else live).to(policy.device)
            loss = self._loss(policy, reference, logps.lengths.view(-1, 2), rows, picked)
            if logps.log_squares is not None:
                weights = wpo_weights(logps.token_logps, logps.log_squares, logps.branch, logps.lengths)
                loss = replace(loss, losses=loss.losses * weights)
        else:
            loss = _from_whole_batch(policy, picked, prepared)
        decided = (rows.p_chosen[picked] > 0.5).float().to(policy.device)
        sums, weights = weighted(pair_columns(loss, policy, decided))
        return Part(loss=loss.losses.sum(), sums=sums, weights=weights)

    def _loss(
        self, policy: Tensor, reference: Tensor | None, lengths: Tensor, rows: PolicyRows, indices: list[int]
    ) -> PairLoss:
        """Computes weighted losses from (B, 2) log-probabilities."""
        pairs = pair_logps(policy, reference, lengths)
        p_chosen = rows.p_chosen[indices]
        margin = rows.margin[indices].to(policy.device) if self.config.use_margin else None
        is_soft = bool((p_chosen < 1.0).any())
        loss = pair_loss(pairs, self.options, p_chosen=p_chosen.to(policy.device) if is_soft else None, margin=margin)
        losses = loss.losses
        if self.config.sft_weight:
            losses = losses + self.config.sft_weight * sft_term(policy[:, 0], lengths[:, 0])
        return replace(loss, losses=losses * rows.weight[indices].to(policy.device))

    def _precomputed(self, rows: PolicyRows, indices: list[int]) -> Tensor:
        assert rows.reference is not None
        return rows.reference[indices]


def _from_whole_batch(policy: Tensor, indices: list[int], prepared: Tensor) -> PairLoss:
    """Builds the losses of some pairs from the slopes computed over the whole batch."""
    places = (prepared[None, :, ROW] == torch.tensor(indices, device=policy.device)[:, None]).int().argmax(1)
    mine = prepared[places].to(policy.dtype)
    slid = (mine[:, [CHOSEN_SLOPE, REJECTED_SLOPE]] * policy).sum(1)
    return PairLoss(
        losses=mine[:, LOSS] + slid - slid.detach(),
        chosen_rewards=mine[:, CHOSEN_REWARD],
        rejected_rewards=mine[:, REJECTED_REWARD],
    )


def rows_for(
    config: DpoConfig,
    preferences: Sequence[Preference],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    keeps_marks: bool = True,
) -> PolicyRows:
    """Tokenises pairs.

    Raises:
        ValueError: if the loss takes no soft labels and a row has one.
    """
    soft = sum(row.p_chosen < 1.0 for row in preferences)
    if soft and not PAIR_LOSSES[config.loss].soft_labels:
        raise ValueError(f"loss {config.loss} takes no soft labels, {soft} rows have a p_chosen below 1")
    return preference_rows(preferences, tokenizer, max_length=max_length, keeps_marks=keeps_marks)


def train_dpo(context: RunContext[DpoConfig], loaded: LoadedRows[Preference] | None) -> Results | None:
    """Trains and saves; returns the results, or None where it was asked to stop and can be continued."""
    config = context.config
    recipe = Recipe[Preference](
        method=f"direct preference optimisation, loss {config.loss}: {PAIR_LOSSES[config.loss].summary}",
        texts=lambda row: [*(message.content for message in row.prompt), row.chosen, row.rejected],
        tokenise=partial(rows_for, config),
        loss=lambda forward, reference: DpoLoss(config, forward, reference),
        learning_rates=LearningRates(small=1e-4, lora=1e-5, full=1e-6),
        needs_reference=PAIR_LOSSES[config.loss].needs_reference,
    )
    return train_policy(context, loaded, recipe)
