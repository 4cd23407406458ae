"""A policy's log-probabilities over many rows: micro-batches by token budget, shared out to processes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alignment.config import Precision
from rewardkit import processes
from rewardkit.batch import Branched, divide, token_budget_batches
from rewardkit.logps import CompletionLogps, completion_logps
from rewardkit.optimization import autocast

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Forward:
    """How rows go through a network.

    Attributes:
        packed: whether they run packed.
        token_budget: tokens per micro-batch.
    """

    network: PreTrainedModel | PeftModel
    packed: bool
    token_budget: int
    precision: Precision

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.network.get_input_embeddings().weight.device  # pyright: ignore

    def autocast(self) -> AbstractContextManager[object]:
        """The number format of matrix products."""
        return autocast(self.precision, self.device)

    def logps(
        self,
        rows: Sequence[Branched],
        *,
        keep: Tensor | None = None,
        with_entropy: bool = False,
        temperature: float = 1.0,
    ) -> CompletionLogps:
        """Log-probabilities of one micro-batch."""
        options = {"packed": self.packed, "with_entropy": with_entropy, "temperature": temperature}
        with self.autocast():
            return completion_logps(self.network, rows, keep=keep, **options)

    def micro_batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Places of this process's share of rows of the given lengths, by micro-batch."""
        rank, world = processes.rank_and_size()
        mine = divide(lengths, world)[rank]
        micros = token_budget_batches([lengths[place] for place in mine], token_budget=self.token_budget)
        return [[mine[place] for place in micro] for micro in micros]

    @torch.no_grad()
    def sums(self, rows: Sequence[Branched]) -> Tensor:
        """(N, S) float32 log-probabilities of the branches, S alike in all rows; in every process all of them."""
        found = torch.zeros(len(rows), len(rows[0].branches), device=self.device)
        for micro in self.micro_batches([row.num_tokens for row in rows]):
            found[micro] = self.logps([rows[place] for place in micro]).sums().view(len(micro), -1)
        processes.add_up([found])
        return found
