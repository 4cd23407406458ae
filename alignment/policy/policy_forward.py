"""A policy's log-probabilities over many rows: micro-batches by token budget, shared out to processes.

What the shared training loop asks of an algorithm: a loss for some rows of a batch, and what to log of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from alignment.config.training import Precision
from alignment.policy.rows import PolicyRows
from rewardkit.distributed import collectives
from rewardkit.distributed.optimization import autocast
from rewardkit.distributed.sharding import Sharded
from rewardkit.network.logps import CompletionLogps, completion_logps
from rewardkit.network.packed_rows import Branched, divide, token_budget_batches

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """Some rows of a batch.

    Attributes:
        places: of the rows in the batch.
        share: 1.0; 0.0 where a process only keeps the others company: its rows are counted elsewhere.
    """

    places: list[int]
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Forward:
    """How rows go through a network.

    Attributes:
        packed: whether they run packed.
        token_budget: tokens per micro-batch.
        sharded: the network with its weights in parts; None where every process holds all of them.
    """

    network: PreTrainedModel | PeftModel
    packed: bool
    token_budget: int
    precision: Precision
    sharded: Sharded | None = None

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
        options: dict[str, Any] = {"packed": self.packed, "with_entropy": with_entropy, "temperature": temperature}
        compute = partial(completion_logps, self.network, rows, keep=keep, **options)
        with self.autocast():
            if self.sharded is None:
                return compute()
            return CompletionLogps(**self.sharded.run(lambda: vars(compute())))

    def micro_batches(self, lengths: Sequence[int]) -> list[MicroBatch]:
        """This process's share of rows of the given lengths; equally many in all processes if weights are in parts."""
        rank, world_size = collectives.rank(), collectives.world_size()
        shares = divide(lengths, world_size)
        mine = self._micro_batches(shares[rank], lengths)
        if self.sharded is None:
            return mine
        shortest = min(range(len(lengths)), key=lengths.__getitem__)
        most = max(len(self._micro_batches(share, lengths)) for share in shares)
        return mine + [MicroBatch(places=[shortest], share=0.0)] * (most - len(mine))

    def _micro_batches(self, share: Sequence[int], lengths: Sequence[int]) -> list[MicroBatch]:
        micros = token_budget_batches([lengths[place] for place in share], token_budget=self.token_budget)
        return [MicroBatch(places=[share[place] for place in micro]) for micro in micros]

    @torch.no_grad()
    def sums(self, rows: Sequence[Branched]) -> Tensor:
        """(N, S) float32 log-probabilities of the branches, S alike in all rows; in every process all of them."""
        found = torch.zeros(len(rows), len(rows[0].branches), device=self.device)
        for micro in self.micro_batches([row.num_tokens for row in rows]):
            sums = self.logps([rows[place] for place in micro.places]).sums()
            found[micro.places] += sums.view(len(micro.places), -1) * micro.share
        collectives.all_reduce_sum([found])
        return found


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
