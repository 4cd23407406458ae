"""Kahneman-Tversky optimisation: the policy learns from single completions that are desirable or not.

loss = lambda_D (1 - sigma(beta (r - z))) of a desirable completion, lambda_U (1 - sigma(beta (z - r))) of another one,
r = log pi(y|x) / ref(y|x), z = max(0, mean of r over completions of other prompts), an estimate of the KL
of policy to reference that carries no gradient (Ethayarajh et al. 2024, eq. 8, arXiv 2402.01306). Where we differ:
1. z is the mean over the whole batch, so micro-batches and processes never change a step.
2. Every row has one partner, the next row of another prompt, whose completion stands behind its prompt in z; so that
   its log-probability under the reference, too, is computed once.
3. A pair of preferences gives two rows, which weigh 2 p_chosen - 1: a tie says of neither that it is good.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from alignment.config.training import KtoConfig
from alignment.losses.anchored import kto_loss
from alignment.offline.run import LearningRates, Recipe, train_policy
from alignment.policy.data import Labelled
from alignment.policy.policy_forward import Forward
from alignment.policy.reference import LiveReference
from alignment.policy.rows import PolicyRows, labelled_rows
from rewardkit.data.training_data import LoadedRows
from rewardkit.network.logps import CompletionLogps
from rewardkit.run.training_command import Results, RunContext
from rewardkit.training.steps import Part, weighted


class KtoLoss:
    """The loss of single completions, given log-probabilities under policy and reference."""

    names: tuple[str, ...] = ("rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected", "kl")
    reads_squares = False

    def __init__(self, config: KtoConfig, forward: Forward, reference: LiveReference | None) -> None:
        self.config, self.forward, self.reference = config, forward, reference

    def total(self, rows: PolicyRows, batch: Sequence[int]) -> float:
        return max(float(rows.weight[list(batch)].sum()), 1e-12)

    @torch.no_grad()
    def prepare(self, rows: PolicyRows, batch: Sequence[int]) -> Tensor:
        """Computes the baseline z of the batch, a scalar."""
        if self.config.loss == "apo_zero_unpaired":
            return torch.zeros((), device=self.forward.device)
        partners = [rows.partners[index] for index in batch]
        policy = self.forward.sums(partners)
        if self.reference is not None:
            reference = self.reference.all_sums(partners)
        else:
            assert rows.partner_reference is not None
            reference = rows.partner_reference[list(batch)].to(policy)
        return (policy - reference).mean().clamp_min(0.0)

    def part(self, logps: CompletionLogps, rows: PolicyRows, indices: Sequence[int], prepared: Tensor | None) -> Part:
        assert prepared is not None
        picked = list(indices)
        policy = logps.sums()
        device = policy.device
        if self.reference is not None:
            reference = self.reference.sums([rows.rows[index] for index in picked])[:, 0]
        else:
            assert rows.reference is not None
            reference = rows.reference[picked, 0].to(device)
        weight, desirable = rows.weight[picked].to(device), rows.desirable[picked].to(device)
        ratios = policy - reference
        outcome = kto_loss(
            ratios,
            desirable,
            kl=prepared,
            beta=self.config.beta,
            desirable_weight=self.config.desirable_weight,
            undesirable_weight=self.config.undesirable_weight,
        )
        rewards, good, bad = outcome.rewards, desirable.float(), (~desirable).float()
        kl = prepared.expand(len(picked))
        sums, weights = weighted(
            [(rewards, good), (rewards, bad), (policy, good), (policy, bad), (kl, torch.ones_like(good))]
        )
        return Part(loss=(outcome.losses * weight).sum(), sums=sums, weights=weights)


def train_kto(context: RunContext[KtoConfig], loaded: LoadedRows[Labelled] | None) -> Results | None:
    """Trains and saves; returns the results, or None where it was asked to stop and can be continued."""
    config = context.config
    recipe = Recipe[Labelled](
        method="Kahneman-Tversky optimisation (KTO)",
        texts=lambda row: [*(message.content for message in row.prompt), row.completion],
        tokenise=labelled_rows,
        loss=lambda forward, reference: KtoLoss(config, forward, reference),
        learning_rates=LearningRates(small=1e-4, lora=1e-5, full=1e-6),
        needs_reference=True,
    )
    return train_policy(context, loaded, recipe)
