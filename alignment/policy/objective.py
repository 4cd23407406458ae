"""What the shared training loop asks of an algorithm: a loss for some rows of a batch, and what to log of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from alignment.policy.rows import PolicyRows
from rewardkit.network.logps import CompletionLogps


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a micro-batch adds to a step.

    Attributes:
        loss: scalar, a sum over its rows (or tokens) that the loop divides by the `total` of the whole batch.
        sums, weights: (M,) float32, detached: of every metric, the weighted sum and the sum of weights.
    """

    loss: Tensor
    sums: Tensor
    weights: Tensor


class Objective(Protocol):
    """A loss that is a sum over rows, divided by a total over the whole batch, so that no split of it changes a step.

    Attributes:
        names: of the M metrics.
    """

    names: tuple[str, ...]

    def total(self, rows: PolicyRows, batch: Sequence[int]) -> float:
        """What the sum of losses of a batch is divided by."""
        ...

    def prepare(self, rows: PolicyRows, batch: Sequence[int]) -> Tensor | None:
        """What is needed of the whole batch before its micro-batches; called in every process."""
        ...

    def part(self, logps: CompletionLogps, rows: PolicyRows, indices: Sequence[int], prepared: Tensor | None) -> Part:
        """Loss and metrics of some rows, given the policy's log-probabilities of their branches."""
        ...


def weighted(values: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Sums and weights of metrics, each given as values and their weights of the same shape."""
    with torch.no_grad():
        sums = [(value.detach() * weight).sum() for value, weight in values]
        return torch.stack(sums), torch.stack([weight.sum() for _, weight in values])
