"""Supervised fine-tuning: the next token of demonstrations (Ouyang et al. 2022, arXiv 2203.02155, section 3.5).

loss = -sum_n w_n sum_t log pi(y_nt | x_n, y_n<t) / sum_n w_n T_n, over completion tokens only. Where we differ:
1. The mean is over the tokens of the whole batch, so micro-batches, processes and packing never change a step.
2. Rows stand one after another in a batch and do not see each other; there is no padding and no truncated packing.
3. Every completion ends with one end token, also of the last of several turns.
4. A conversation that is too long loses its oldest turns and the start of its prompt, then the end of what is trained
   on; BOS, system prompt and role marks stay. What is cut is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from alignment.config.training import SftConfig
from alignment.offline.run import LearningRates, Recipe, train_policy
from alignment.policy.data import Demonstration
from alignment.policy.rows import PolicyRows, demonstration_rows
from rewardkit.data.training_data import LoadedRows
from rewardkit.network.logps import CompletionLogps
from rewardkit.run.training_command import Results, RunContext
from rewardkit.training.steps import Part


class SftLoss:
    """Negative log-likelihood of completion tokens."""

    names: tuple[str, ...] = ()
    reads_squares = False

    def total(self, rows: PolicyRows, batch: Sequence[int]) -> float:
        return max(float(rows.weight[list(batch)] @ rows.num_targets[list(batch)]), 1e-12)

    def prepare(self, rows: PolicyRows, batch: Sequence[int]) -> Tensor | None:
        return None

    def part(self, logps: CompletionLogps, rows: PolicyRows, indices: Sequence[int], prepared: Tensor | None) -> Part:
        weight = rows.weight[list(indices)].to(logps.token_logps.device)
        loss = -(logps.sums() * weight).sum()
        return Part(loss=loss, sums=loss.new_zeros(0), weights=loss.new_zeros(0))


def train_sft(context: RunContext[SftConfig], loaded: LoadedRows[Demonstration] | None) -> Results | None:
    """Trains and saves; returns the results, or None where it was asked to stop and can be continued."""
    recipe = Recipe[Demonstration](
        method="supervised fine-tuning (SFT)",
        texts=lambda row: [turn.content for turn in row.turns],
        tokenise=partial(demonstration_rows, all_turns=context.config.train_on == "all"),
        loss=lambda _forward, _reference: SftLoss(),
        learning_rates=LearningRates(small=1e-3, lora=2e-4, full=2e-5),
        needs_reference=False,
    )
    return train_policy(context, loaded, recipe)
