"""What a policy drew in a step, as rows of tokens, and how a part of it goes through a network.

Nothing is padded: the C tokens of N completions lie flat, one completion after another, and whatever is known of tokens
(log-probabilities, values, advantages) has the same layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rewardkit.data.records import Message
from rewardkit.network.packed_rows import Branched, branches_within
from rewardkit.training.loop import micro_batches


@dataclass(frozen=True, kw_only=True)
class Micro:
    """A micro-batch of rollouts.

    Attributes:
        rows: prompts with some of their completions.
        branches: (S,) int64, numbers of these completions, 0 to N - 1, in order of rows.
        tokens: (M,) int64, places of their tokens among the C.
        share: 1.0; 0.0 where a process only computes along with the others, see `rewardkit.training.loop.MicroBatch`.
    """

    rows: tuple[Branched, ...]
    branches: Tensor
    tokens: Tensor
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """G completions of each of P prompts, those of a prompt one after another: N = P G.

    Attributes:
        numbers: (P,) of the prompts, in the file they come from.
        prompts: (P,) conversations.
        columns: (P,) what else each prompt's row holds.
        rows: (P,) token ids, a branch for each completion with the token that ended it.
        texts: (N,) completions without their end.
        finished: (N,) bool, whether each ended by itself.
        logps: (C,) float32, nats, of the tokens under the sampler at its temperature; not a number of those that it did
            not draw.
    """

    numbers: tuple[int, ...]
    prompts: tuple[tuple[Message, ...], ...]
    columns: tuple[Mapping[str, Any], ...]
    rows: tuple[Branched, ...]
    texts: tuple[str, ...]
    finished: Tensor
    logps: Tensor

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def group_size(self) -> int:
        return len(self.texts) // len(self.rows)

    @cached_property
    def lengths(self) -> Tensor:
        """(N,) int64, tokens of the completions."""
        return torch.tensor([len(branch) for row in self.rows for branch in row.branches])

    @cached_property
    def branch(self) -> Tensor:
        """(C,) int64, the completion of each token."""
        return torch.repeat_interleave(torch.arange(len(self)), self.lengths)

    @cached_property
    def starts(self) -> Tensor:
        """(N,) int64, index of each completion's first token among the C."""
        return self.lengths.cumsum(0) - self.lengths

    @property
    def num_tokens(self) -> int:
        """Tokens of the full sequences, the prompt counted once per completion."""
        return sum(row.num_padded_free_tokens for row in self.rows)

    def take(self, groups: Sequence[int]) -> Rollouts:
        size = self.group_size
        branches = [group * size + index for group in groups for index in range(size)]
        return Rollouts(
            numbers=tuple(self.numbers[group] for group in groups),
            prompts=tuple(self.prompts[group] for group in groups),
            columns=tuple(self.columns[group] for group in groups),
            rows=tuple(self.rows[group] for group in groups),
            texts=tuple(self.texts[branch] for branch in branches),
            finished=self.finished[branches],
            logps=self.logps[self.places(branches)],
        )

    def places(self, branches: Sequence[int]) -> Tensor:
        """Returns (M,) int64, indices of the completions' tokens among the C."""
        parts = [torch.arange(start, start + length) for start, length in self._spans(branches)]
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)

    def micro_batches(
        self, branches: Sequence[int], *, token_budget: int, together: bool = False, equally_many: bool = False
    ) -> list[Micro]:
        """This process's share of some completions, by micro-batch; a prompt is computed once per micro-batch.

        Args:
            branches: those of a prompt keep this order.
            together: those of a prompt stay in one micro-batch, also where they are more than the budget.
            equally_many: whether all processes need equally many, as sharded weights do.
        """
        size = self.group_size
        chosen: dict[int, list[int]] = {}
        for branch in branches:
            chosen.setdefault(branch // size, []).append(branch)
        parts: list[tuple[Branched, list[int]]] = []
        for group, numbers in chosen.items():
            whole = self.rows[group]
            row = Branched(prompt=whole.prompt, branches=tuple(whole.branches[number % size] for number in numbers))
            for part in [slice(None)] if together else branches_within(row, token_budget):
                parts.append((Branched(prompt=row.prompt, branches=row.branches[part]), numbers[part]))
        lengths = [row.num_tokens for row, _ in parts]
        return [
            self._micro([parts[index] for index in micro.places], micro.share)
            for micro in micro_batches(lengths, token_budget=token_budget, equally_many=equally_many)
        ]

    def _micro(self, parts: Sequence[tuple[Branched, list[int]]], share: float) -> Micro:
        numbers, rows = [number for _, part in parts for number in part], tuple(row for row, _ in parts)
        return Micro(rows=rows, branches=torch.tensor(numbers), tokens=self.places(numbers), share=share)

    def _spans(self, branches: Sequence[int]) -> list[tuple[int, int]]:
        picked = list(branches)
        return list(zip(self.starts[picked].tolist(), self.lengths[picked].tolist(), strict=True))


def joined(parts: Sequence[Rollouts]) -> Rollouts:
    """Rollouts of the same group size, one after another."""
    return Rollouts(
        numbers=tuple(number for part in parts for number in part.numbers),
        prompts=tuple(prompt for part in parts for prompt in part.prompts),
        columns=tuple(columns for part in parts for columns in part.columns),
        rows=tuple(row for part in parts for row in part.rows),
        texts=tuple(text for part in parts for text in part.texts),
        finished=torch.cat([part.finished for part in parts]),
        logps=torch.cat([part.logps for part in parts]),
    )
