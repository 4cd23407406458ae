"""Direct preference optimisation and its family: the policy learns from pairs, without a reward model.

loss = -log sigma(beta d), d = log pi(y_c|x) / ref(y_c|x) - log pi(y_r|x) / ref(y_r|x)  (Rafailov et al. 2023, eq. 7,
arXiv 2305.18290); the other losses are in `alignment.losses`, each with its paper. Where we differ:
1. Chosen and rejected share their prompt in one packed row; loss and gradient equal the padded form.
2. A step is the weighted mean over the pairs of its whole batch: micro-batches and processes never change it.
3. Labels may be soft: a pair with p_chosen p takes the loss as is with p and with the two exchanged with 1 - p.
4. The reference is computed once, by the policy before its first step; `--reference live` computes it in every step.
5. beta multiplies the log-ratio margin: a small beta lets the policy move far from the reference before a pair counts
   as learned, a large one holds it close.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.config import DpoConfig
from alignment.objective import Part, weighted
from alignment.policy_rows import PolicyRows, preference_rows
from alignment.policy_run import LearningRates, Recipe, train_policy
from alignment.reference import LiveReference
from rewardkit.data import Preference
from rewardkit.interruption import Interruption
from rewardkit.logps import CompletionLogps
from rewardkit.progress import Progress
from rewardkit.runs import Run
from rewardkit.training_data import LoadedRows


class DpoObjective:
    """A loss of pairs, given log-probabilities under policy and reference."""

    names: tuple[str, ...] = (
        "rewards/chosen",
        "rewards/rejected",
        "rewards/accuracies",
        "logps/chosen",
        "logps/rejected",
    )

    def __init__(self, config: DpoConfig, reference: LiveReference | None) -> None:
        self.config, self.reference = config, reference

    def total(self, rows: PolicyRows, batch: Sequence[int]) -> float:
        """Weights of the batch's pairs."""
        return max(float(rows.weight[list(batch)].sum()), 1e-12)

    def prepare(self, rows: PolicyRows, batch: Sequence[int]) -> Tensor | None:
        """Nothing."""

    def part(self, logps: CompletionLogps, rows: PolicyRows, indices: Sequence[int], prepared: Tensor | None) -> Part:
        """Weighted sum of the pairs' losses."""
        picked = list(indices)
        policy = logps.sums().view(-1, 2)
        device = policy.device
        reference = self._reference(rows, picked).to(device)
        weight, p_chosen = rows.weight[picked].to(device), rows.p_chosen[picked].to(device)
        ratios = policy - reference
        scaled = self.config.beta * (ratios[:, 0] - ratios[:, 1])
        losses = -(p_chosen * F.logsigmoid(scaled) + (1.0 - p_chosen) * F.logsigmoid(-scaled))
        rewards = self.config.beta * ratios.detach()
        margins = rewards[:, 0] - rewards[:, 1]
        ones = torch.ones_like(weight)
        right = (margins > 0).float() + 0.5 * (margins == 0).float()
        sums, weights = weighted(
            [
                (rewards[:, 0], ones),
                (rewards[:, 1], ones),
                (right, (p_chosen > 0.5).float()),
                (policy[:, 0], ones),
                (policy[:, 1], ones),
            ]
        )
        return Part(loss=(losses * weight).sum(), sums=sums, weights=weights)

    def _reference(self, rows: PolicyRows, indices: list[int]) -> Tensor:
        if self.reference is not None:
            return self.reference.sums([rows.rows[index] for index in indices])
        assert rows.reference is not None
        return rows.reference[indices]


def train_dpo(
    config: DpoConfig,
    run: Run | None,
    loaded: LoadedRows[Preference] | None,
    interruption: Interruption,
    progress: Progress,
) -> Mapping[str, Any] | None:
    """Trains and saves; returns the results, or None where it was asked to stop and can be continued."""
    recipe = Recipe[Preference](
        method="direct preference optimisation (DPO)",
        texts=lambda row: [*(message.content for message in row.prompt), row.chosen, row.rejected],
        tokenise=preference_rows,
        objective=lambda _forward, reference: DpoObjective(config, reference),
        learning_rates=LearningRates(made=1e-4, lora=1e-5, full=1e-6),
        needs_reference=True,
    )
    return train_policy(config, run, loaded, interruption, progress, recipe)
